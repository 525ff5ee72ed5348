//! Where the exercises are, and how they are built.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use tcp_pitfalls::classroom::Exercise;
use tcp_pitfalls::lab::server::Target;

/// The manifest of the exercises, by which their repository is recognised.
const MANIFEST: &str = "chapters/Cargo.toml";

/// A copy of the repository with a student's work in it.
pub(super) struct Workshop {
    root: PathBuf,
}

impl Workshop {
    /// The copy that the current folder is in, as cargo does it, and else the one that this program was built in.
    ///
    /// So a teacher's program examines a student's copy when it is started there.
    pub(super) fn find() -> Result<Self> {
        let here = env::current_dir().context("cannot tell the current folder")?;
        let built_in = Path::new(env!("CARGO_MANIFEST_DIR"));
        let has_exercises = |folder: &&Path| folder.join(MANIFEST).is_file();
        match here.ancestors().chain([built_in]).find(has_exercises) {
            Some(root) => Ok(Workshop { root: root.to_owned() }),
            None => bail!("there are no exercises here: no folder above this one has {MANIFEST}"),
        }
    }

    /// Where the progress is kept.
    pub(super) fn progress(&self) -> PathBuf {
        self.root.join(".tcp-pitfalls-progress.json")
    }

    pub(super) fn folder(&self, exercise: &Exercise) -> PathBuf {
        self.root.join(exercise.folder)
    }

    /// The student's file.
    pub(super) fn file(&self, exercise: &Exercise) -> PathBuf {
        self.folder(exercise).join("main.rs")
    }

    pub(super) fn readme(&self, exercise: &Exercise) -> PathBuf {
        self.folder(exercise).join("README.md")
    }

    /// What the student's file was at the beginning.
    pub(super) fn starter(&self, exercise: &Exercise) -> PathBuf {
        self.root.join(format!("tests/classroom/src/bin/starter_{}.rs", exercise.id))
    }

    /// A solution.
    pub(super) fn solution(&self, exercise: &Exercise) -> PathBuf {
        self.root.join(format!("chapters/solutions/src/bin/solution_{}.rs", exercise.id))
    }

    /// A name for a copy of the student's file that no other copy has.
    pub(super) fn backup(&self, exercise: &Exercise) -> PathBuf {
        let mut backup = self.folder(exercise).join("main.rs.backup");
        let mut number = 1;
        while backup.exists() {
            number += 1;
            backup.set_file_name(format!("main.rs.backup-{number}"));
        }
        backup
    }

    /// A page of the book.
    pub(super) fn page(&self, name: &str) -> PathBuf {
        self.root.join("book/src").join(name)
    }

    /// A path as it is written from the root.
    pub(super) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// Builds these exercises. Those that compile become servers, the others a sentence. What cargo says goes to the
    /// terminal as it is.
    pub(super) fn build(&self, exercises: &[&'static Exercise]) -> Result<Vec<Result<Target>>> {
        let bin = |exercise: &Exercise| format!("exercise_{}", exercise.id);
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.current_dir(&self.root).args(["build", "--keep-going", "--package", "exercises"]);
        command.args(exercises.iter().flat_map(|exercise| ["--bin".into(), bin(exercise)]));
        // The messages name the programs that were built, wherever cargo was told to put them.
        command.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut building = command.spawn().context("cannot run `cargo`, which builds the exercises")?;
        let mut programs: HashMap<String, String> = HashMap::new();
        if let Some(messages) = building.stdout.take() {
            for line in BufReader::new(messages).lines() {
                programs.extend(serde_json::from_str(&line?).ok().as_ref().and_then(program));
            }
        }
        building.wait().context("cannot wait for `cargo`")?;
        let target = |exercise: &&'static Exercise| match programs.get(&bin(exercise)) {
            Some(program) => Ok(Target::Command(vec![program.clone(), "{addr}".into()].into())),
            None => Err(anyhow!("it does not compile")),
        };
        Ok(exercises.iter().map(target).collect())
    }
}

/// The program that a message of cargo tells of: its name and where it is.
fn program(message: &Value) -> Option<(String, String)> {
    let path = message["executable"].as_str()?;
    Some((message["target"]["name"].as_str()?.to_owned(), path.to_owned()))
}
