//! The Go servers of the chapters: `chapters/NN_name/go/main.go`, examined as the steps are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use anyhow::{Context, Result, bail};

use crate::lab::server::Target;
use crate::probes::Verdict::{self, Holds, Skipped};
use crate::staircase::{self, EXPECTED, GRACE, STEPS, Staircase};

/// Where a probe says something else of a Go server than of the Rust server of the same step.
pub const DIFFERENT: [(&str, usize, Verdict); 5] = [
    // Fprintf gives the whole answer to one Write, and Go sets TCP_NODELAY on every connection. So nothing is slow, and
    // what goes wrong is that two lines in one write get one answer: `joined-messages`.
    ("prompt-answer", 2, Skipped),
    ("prompt-answer", 3, Skipped),
    // %s takes bytes as they are, where Rust's first servers made a `String` of them.
    ("not-utf8", 1, Skipped),
    ("not-utf8", 2, Holds),
    ("not-utf8", 3, Holds),
];

/// What a probe says of the six Go servers, where it isn't skipped.
pub fn expected(probe: &str) -> Option<Vec<Verdict>> {
    let (_, mut expected) = EXPECTED.iter().copied().find(|(name, _)| *name == probe)?;
    for (_, step, verdict) in DIFFERENT.iter().filter(|(name, ..)| *name == probe) {
        expected[step - 1] = *verdict;
    }
    Some(expected.to_vec())
}

/// The only step beyond the six that has a twin in Go.
const DEADLINES: &str = "08_deadlines";

/// How many folders this process has made for them: tests build theirs at the same time.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// The Go servers, built into a folder of their own. Dropping this removes it.
pub struct GoServers {
    folder: PathBuf,
}

impl GoServers {
    /// Whether there is a `go` to build them with.
    pub fn can_be_built() -> bool {
        Command::new("go").arg("version").output().is_ok()
    }

    /// Builds them.
    ///
    /// # Errors
    /// A sentence, if `go` isn't installed or refuses a server.
    pub fn build() -> Result<Self> {
        if !Self::can_be_built() {
            bail!(
                "`go` is not installed, which builds the Go servers. Get it from https://go.dev/dl, or from your system"
            );
        }
        let number = NUMBER.fetch_add(1, SeqCst);
        let folder = env::temp_dir().join(format!("tcp-pitfalls-go-{}-{number}", process::id()));
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("chapters");
        if !sources.is_dir() {
            bail!(
                "the Go servers are built from the repository, which is not in {} any more. Run this in a clone of it",
                env!("CARGO_MANIFEST_DIR")
            );
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let servers = GoServers { folder };
        // One after the other: with an empty cache, the first compiles Go's standard library for all of them.
        STEPS.iter().chain([&DEADLINES]).try_for_each(|step| build(step, &servers.program(step)))?;
        Ok(servers)
    }

    fn program(&self, step: &str) -> PathBuf {
        self.folder.join(step).with_extension(env::consts::EXE_EXTENSION)
    }

    /// The server of a step, from 1 to 6, as a command with these flags.
    pub fn server(&self, step: usize, flags: &[&str]) -> Target {
        self.command(STEPS[step - 1], flags)
    }

    /// The server with deadlines, as a command with these flags.
    pub fn with_deadlines(&self, flags: &[&str]) -> Target {
        self.command(DEADLINES, flags)
    }

    fn command(&self, step: &str, flags: &[&str]) -> Target {
        let program = self.program(step).to_string_lossy().into_owned();
        let flags = flags.iter().copied().chain(["{addr}"]).map(str::to_owned);
        Target::Command([program].into_iter().chain(flags).collect::<Vec<_>>().into())
    }

    /// Runs the whole table and calls `done` after each of its cells.
    pub fn staircase(&self, done: impl Fn() + Sync) -> Staircase {
        let grace = [&*format!("-grace={}s", GRACE.as_secs())];
        let server = |step| self.server(step, if step == STEPS.len() { &grace } else { &[] });
        let targets: Vec<Target> = (1..=STEPS.len()).map(server).collect();
        let terms = staircase::terms();
        staircase::examine(&STEPS, |_| (&targets, &terms), expected, done)
    }
}

impl Drop for GoServers {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn build(step: &str, to: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("chapters").join(step).join("go").join("main.go");
    let built = Command::new("go").args(["build", "-o"]).arg(to).arg(&source).output();
    let built = built.context("cannot run `go build`")?;
    if !built.status.success() {
        bail!("`go build` failed for {}: {}", source.display(), String::from_utf8_lossy(&built.stderr).trim());
    }
    Ok(())
}
