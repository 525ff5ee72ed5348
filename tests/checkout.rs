//! The course as people get it: its files out of git, and its command installed.

mod common;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `core.autocrlf`, which installers for Windows set, must not change files that tests and programs compare byte by byte.
#[test]
fn every_line_ends_alike_on_every_system() {
    let listed = Command::new("git").args(["ls-files", "--eol"]).current_dir(root()).output();
    let Some(listed) = listed.ok().filter(|listed| listed.status.success()) else {
        assert!(env::var_os("CI").is_none(), "in CI this is a checkout, and there is a git");
        println!("skipped: this is no checkout, or there is no git");
        return;
    };
    // A line for each file: `i/lf w/lf attr/text=auto eol=lf`, a tab and the file.
    for line in String::from_utf8(listed.stdout).unwrap().lines() {
        let binary = line.starts_with("i/-text");
        let deleted = line.contains(" w/ ");
        let alike = ["i/lf", "i/none"].iter().any(|start| line.starts_with(start))
            && (line.contains(" w/lf ") || line.contains(" w/none ") || deleted)
            && line.contains("eol=lf");
        assert!(binary || alike, ".gitattributes, the file as committed or the file here has other line ends: {line}");
    }
}

/// A command run where it was installed, outside of any checkout.
struct Installed {
    folder: PathBuf,
}

impl Installed {
    /// Installs from a copy, which is then removed.
    ///
    /// Its target folder is its own: cargo takes no notice of a copy that differs in its path alone, and would install
    /// the program that knows the way to this repository.
    fn new() -> Self {
        let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
        let repository = work.join("repository");
        let folder = env::temp_dir().join(format!("tcp-pitfalls-installed-{}", std::process::id()));
        let installed = Installed { folder };
        common::copy_folder(root(), &repository).expect("the repository can be copied");
        let status = Command::new(env!("CARGO"))
            .args(["install", "--debug", "--offline", "--locked", "--path"])
            .arg(&repository)
            .arg("--target-dir")
            .arg(work.join("target"))
            .arg("--root")
            .arg(&installed.folder)
            .current_dir(env::temp_dir())
            .status();
        assert!(status.expect("cargo starts").success(), "cargo install --path fails");
        fs::remove_dir_all(&repository).expect("the copy can be removed");
        installed
    }

    fn program(&self, name: &str) -> String {
        self.folder.join("bin").join(name).with_extension(env::consts::EXE_EXTENSION).display().to_string()
    }

    #[track_caller]
    fn expect(&self, arguments: &[&str], status: i32, part: &str) {
        let mut program = Command::new(self.program("tcp-pitfalls"));
        let output =
            program.args(arguments).current_dir(&self.folder).stdin(Stdio::null()).output().expect("it starts");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?} says {part:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
#[ignore = "compiles the course anew"]
fn the_installed_command_works_without_the_repository_or_says_what_it_lacks() {
    let installed = Installed::new();
    let probe = ["probe", "--only", "idle-client", "--"];
    // This is how it starts the servers of the staircase, whose own test takes half a minute.
    let itself = installed.program("tcp-pitfalls");
    installed.expect(&[&probe[..], &[&itself, "step", "3", "{addr}"]].concat(), 0, "1 held");
    installed.expect(
        &[&probe[..], &[&installed.program("02_accept_blocking"), "serve", "{addr}"]].concat(),
        1,
        "1 fell",
    );
    installed.expect(&["list"], 0, "idle-client");
    installed.expect(&["explain", "idle-client"], 0, "cargo run --bin");
    // What needs the repository.
    installed.expect(&["check"], 2, "there are no exercises here");
    installed.expect(&["check", "04"], 2, "there are no exercises here");
    installed.expect(&["reset", "04"], 2, "there are no exercises here");
    installed.expect(&["bench", "--", &itself, "step", "3", "{addr}"], 1, "Cargo.toml");
    installed.expect(&["--go"], 1, "`go build`");
}
