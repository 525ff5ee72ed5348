//! Where the exercises are, and how they are built.

use std::collections::HashMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::{self, Path, PathBuf};
use std::process::{Command, Stdio};
#[cfg(unix)]
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
#[cfg(unix)]
use rustix::fs::FlockOperation;
use serde_json::Value;

use super::grade::Server;
use super::launch::{Launch, join};
use tcp_pitfalls::classroom::Exercise;
use tcp_pitfalls::lab::server::Target;
#[cfg(unix)]
use tcp_pitfalls::lab::wait::wait_until;
#[cfg(unix)]
use tcp_pitfalls::show::screen::eprintln;

/// The manifest of the exercises, by which their repository is recognised.
const MANIFEST: &str = "chapters/Cargo.toml";

/// How long another cargo is waited for without a word.
#[cfg(unix)]
const WORDLESS: Duration = Duration::from_secs(2);

/// A copy of the repository with a student's work in it.
pub(super) struct Workshop {
    root: PathBuf,
    /// The command under which everything is run that students wrote. Empty for none.
    pub(super) under: Vec<String>,
}

impl Workshop {
    /// The copy that the current folder is in, as cargo does it, and else the one that this program was built in.
    ///
    /// So a teacher's program examines a student's copy when it is started there.
    pub(super) fn find() -> Result<Self> {
        let here = env::current_dir().context("cannot tell the current folder")?;
        let built_in = Path::new(env!("CARGO_MANIFEST_DIR"));
        let has_exercises = |folder: &&Path| folder.join(MANIFEST).is_file();
        let Some(root) = here.ancestors().chain([built_in]).find(has_exercises) else {
            bail!("there are no exercises here: no folder above this one has {MANIFEST}");
        };
        Ok(Workshop { root: root.to_owned(), under: Vec::new() })
    }

    /// Makes it the current folder, in which servers are started: paths in a student's command begin there. Gives the
    /// command as it is written from there.
    pub(super) fn enter(&self, command: &[String]) -> Result<Vec<String>> {
        let moved = |(index, word): (usize, &String)| {
            if !Path::new(word).is_file() {
                return Ok(word.clone());
            }
            let file = path::absolute(word)?;
            // The program with `./`, since one of a bare name would be looked for in PATH.
            let here = Path::new(if index == 0 { "." } else { "" });
            let file = file.strip_prefix(&self.root).map_or(file.clone(), |inside| here.join(inside));
            Ok(file.to_string_lossy().into_owned())
        };
        let command: io::Result<_> = command.iter().enumerate().map(moved).collect();
        let cannot = || format!("cannot work in {}", self.root.display());
        env::set_current_dir(&self.root).with_context(cannot)?;
        command.with_context(cannot)
    }

    /// Whether anything may be kept in it.
    pub(super) fn keeps(&self) -> bool {
        self.under.is_empty()
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

    /// The command that starts the student's server, in a file of one line.
    pub(super) fn command(&self, exercise: &Exercise) -> PathBuf {
        self.folder(exercise).join("command")
    }

    /// What the student's file was at the beginning.
    pub(super) fn starter(&self, exercise: &Exercise) -> PathBuf {
        self.root.join(format!("tests/classroom/src/bin/starter_{}.rs", exercise.id))
    }

    /// Whether the student's file is still what it was then.
    pub(super) fn is_at_the_beginning(&self, exercise: &Exercise) -> bool {
        matches!((fs::read(self.file(exercise)), fs::read(self.starter(exercise))), (Ok(mine), Ok(then)) if mine == then)
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

    /// The text of a page of the book.
    pub(super) fn page(&self, name: &str) -> PathBuf {
        self.root.join("book/src").join(name).with_extension("md")
    }

    /// The same page, as it is built.
    pub(super) fn built_page(&self, name: &str) -> PathBuf {
        self.root.join("book/book").join(name)
    }

    /// A path as it is written from the root.
    pub(super) fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// The command of an exercise that was remembered, if there is one.
    pub(super) fn remembered(&self, exercise: &Exercise) -> Result<Option<Launch>> {
        match self.line(&self.command(exercise))? {
            Some(words) => self.launch(exercise, words).map(Some),
            None => Ok(None),
        }
    }

    /// The server of an exercise that these words start, when it was built by the command in another file, if that is there.
    pub(super) fn launch(&self, exercise: &Exercise, words: Vec<String>) -> Result<Launch> {
        Ok(Launch { words, build: self.line(&self.folder(exercise).join("build"))? })
    }

    /// The words in a file of one line, if it is there.
    fn line(&self, path: &Path) -> Result<Option<Vec<String>>> {
        let shown = self.shown(path);
        match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            text => {
                let text = text.with_context(|| format!("cannot read {shown}"))?;
                Launch::parse(&text).map(Some).with_context(|| format!("{shown} can't be understood"))
            }
        }
    }

    /// Keeps the command of an exercise, for every later check of it.
    pub(super) fn remember(&self, exercise: &Exercise, launch: &Launch) -> Result<()> {
        let (path, line) = (self.command(exercise), launch.line() + "\n");
        if fs::read_to_string(&path).is_ok_and(|kept| kept == line) {
            return Ok(());
        }
        fs::write(&path, line).with_context(|| format!("cannot keep the command in {}", self.shown(&path)))
    }

    /// The server of each exercise: by the command that was remembered, or else the Rust file, built.
    pub(super) fn servers(&self, exercises: &[&'static Exercise]) -> Result<Vec<Server>> {
        let launches: Vec<_> = exercises.iter().map(|exercise| self.remembered(exercise)).collect();
        let rust = exercises.iter().zip(&launches).filter(|(_, launch)| matches!(launch, Ok(None)));
        let rust: Vec<_> = rust.map(|(exercise, _)| *exercise).collect();
        let mut built = if rust.is_empty() { Vec::new() } else { self.build(&rust)? }.into_iter();
        let server = |(exercise, launch): (&&'static Exercise, Result<Option<Launch>>)| match launch {
            Ok(Some(launch)) => self.server(exercise, launch),
            Ok(None) => {
                let target = built.next().unwrap_or_else(|| Err(anyhow!("it was not built")));
                Server { exercise, launch: None, target }
            }
            Err(error) => Server { exercise, launch: None, target: Err(error) },
        };
        Ok(exercises.iter().zip(launches).map(server).collect())
    }

    /// The server that a command starts, built if it has to be.
    pub(super) fn server(&self, exercise: &'static Exercise, launch: Launch) -> Server {
        let target = self.build_by(&launch).and_then(|()| launch.target(&self.under));
        Server { exercise, launch: Some(launch), target }
    }

    /// Runs the student's own build. What it says goes to the terminal as it is.
    fn build_by(&self, launch: &Launch) -> Result<()> {
        let Some(build) = &launch.build else { return Ok(()) };
        let shown = join(build);
        let mut command = self.run(&build[0]);
        // Nothing but the result belongs on standard output.
        command.args(&build[1..]).stdin(Stdio::null()).stdout(io::stderr());
        let status = command.status().with_context(|| format!("cannot run the build, `{shown}`"))?;
        if status.success() { Ok(()) } else { Err(anyhow!("it does not compile: `{shown}` ended with {status}")) }
    }

    /// A command for what students wrote, in the workshop.
    fn run(&self, program: impl AsRef<OsStr>) -> Command {
        let mut words = self.under.iter().map(AsRef::as_ref).chain([program.as_ref()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(&self.root);
        command
    }

    /// Builds these exercises. Those that compile become servers, the others a sentence. What cargo says goes to the
    /// terminal as it is.
    pub(super) fn build(&self, exercises: &[&'static Exercise]) -> Result<Vec<Result<Target>>> {
        let bin = |exercise: &Exercise| format!("exercise_{}", exercise.id);
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        self.wait_for_cargo();
        let mut command = self.run(cargo);
        command.args(["build", "--keep-going", "--package", "exercises"]);
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
            Some(program) => {
                Ok(Target::Command([&self.under[..], &[program.clone(), "{addr}".into()]].concat().into()))
            }
            None => Err(anyhow!("it does not compile")),
        };
        Ok(exercises.iter().map(target).collect())
    }
}

impl Workshop {
    /// Waits until no other cargo builds here, and says that it does if that takes longer than a moment.
    ///
    /// cargo would wait as well, and say so, but not whom for.
    #[cfg(unix)]
    fn wait_for_cargo(&self) {
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from);
        let Ok(lock) = fs::File::open(target.join("debug/.cargo-lock")) else { return };
        // Free again when `lock` is dropped.
        let free = || rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared).is_ok().then_some(());
        if wait_until(WORDLESS, free).is_none() {
            eprintln!("Another cargo is building in {}. Waiting for it.", target.display());
        }
    }

    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "as on Unix")]
    fn wait_for_cargo(&self) {}
}

/// The program that a message of cargo tells of: its name and where it is.
fn program(message: &Value) -> Option<(String, String)> {
    let path = message["executable"].as_str()?;
    Some((message["target"]["name"].as_str()?.to_owned(), path.to_owned()))
}
