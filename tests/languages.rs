//! What the page "In Python, JavaScript, Go and C" says of each language is so: programs in it have seen every trap.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/languages")
}

/// Runs a command, if its program is installed.
fn run(command: &[&str], file: &str) -> Option<Output> {
    let program = Command::new(command[0]).args(&command[1..]).current_dir(folder()).output();
    if program.is_err() {
        println!("skipped: {} is not installed", command[0]);
    }
    let output = program.ok()?;
    assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output)
}

/// Every trap that the program has seen is named in the page's section, and no other.
fn expect_told(section: &str, seen: Option<Output>) {
    let Some(seen) = seen else { return };
    let page = fs::read_to_string(folder().join("../../book/src/other_languages.md")).unwrap();
    let (_, rest) = page.split_once(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("a section {section}"));
    let rest = rest.split("\n## ").next().unwrap();
    let mut told: Vec<&str> = rest.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    let mut seen: Vec<&str> = seen.lines().collect();
    told.sort_unstable();
    seen.sort_unstable();
    assert_eq!(told, seen, "{section}");
}

#[test]
fn python() {
    expect_told("Python", run(&["python3", "traps.py"], "traps.py"));
}

#[test]
fn javascript() {
    expect_told("JavaScript (Node.js)", run(&["node", "traps.js"], "traps.js"));
}

#[test]
fn go() {
    expect_told("Go", run(&["go", "run", "traps.go"], "traps.go"));
}

#[test]
#[cfg(target_os = "linux")]
fn c() {
    let program = env::temp_dir().join(format!("tcp-pitfalls-traps-{}", std::process::id()));
    let path = program.to_str().expect("the temporary folder's name is text");
    if run(&["cc", "-Wall", "-Wno-unused-result", "-o", path, "traps.c"], "traps.c").is_some() {
        expect_told("C", run(&[path], "traps.c"));
        let _ = fs::remove_file(program);
    }
}
