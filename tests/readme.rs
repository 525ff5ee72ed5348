//! The README can't go stale: its commands are run, and its table is the one the tests expect.

mod common;

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use tcp_pitfalls::probes::{self, Finding, Verdict};
use tcp_pitfalls::show::screen;
use tcp_pitfalls::staircase::{BEYOND, EXPECTED, HEADLINES, LEGEND, Row, STEPS, Staircase};

const README: &str = include_str!("../README.md");
const ALIASES: &str = include_str!("../.cargo/config.toml");

/// The lines of the fenced blocks of this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in README.lines() {
        match line.strip_prefix("```") {
            Some(fence) => inside = fence == language,
            None if inside => lines.push(line),
            None => {}
        }
    }
    lines
}

/// All commands in shell blocks and in the table of the chapters, but for the one that runs this.
fn commands() -> Vec<&'static str> {
    let table = README.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let table = table.filter(|cell| cell.starts_with("cargo"));
    blocks("sh").into_iter().chain(table).filter(|&command| command != "cargo test").collect()
}

/// The program that `cargo run` would start, and its arguments.
fn program(command: &str) -> Option<(String, Vec<String>)> {
    let rest = command.strip_prefix("cargo run")?;
    let (cargo, own) = rest.split_once(" -- ").unwrap_or((rest, ""));
    // All binaries are built into one folder.
    let name = cargo.trim().strip_prefix("--bin ").unwrap_or("tcp-pitfalls");
    let program = Path::new(env!("CARGO_BIN_EXE_tcp-pitfalls")).with_file_name(name);
    let program = program.with_extension(env::consts::EXE_EXTENSION).to_str()?.to_owned();
    Some((program, shlex::split(own)?))
}

#[test]
fn its_commands_run() {
    thread::scope(|scope| {
        for command in commands() {
            scope.spawn(move || run(command));
        }
    });
}

fn run(command: &str) {
    if command.starts_with("git diff --no-index ") {
        for file in command.split_whitespace().skip(3) {
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists(), "{command}");
        }
        return;
    }
    // Compiles mdBook and opens a window. `.ci/run` builds the book.
    if command == "cargo book --open" {
        assert!(ALIASES.contains("\nbook = "), "{ALIASES}");
        return;
    }
    // Compiles tokio. `tests/09_async.rs` runs the same, where that is wanted.
    if command == "cargo run --features async --bin 09_async" {
        return;
    }
    let (program, arguments) = program(command).unwrap_or_else(|| panic!("no test knows how to run: {command}"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // The reader's own server is not here, nor is the reader's progress this test's to change, and `tests/staircase.rs`
    // runs the staircase. But there has to be such a command.
    if ["cargo run", "cargo run -- --beyond"].contains(&command)
        || command.contains("my_server.py")
        || arguments.first() == Some(&"check")
    {
        is_understood(&program, &arguments);
        return;
    }
    if arguments.first() == Some(&"serve") && !arguments.contains(&"--help") {
        serves(&program, &arguments);
        return;
    }
    // The server that is examined as an example is one that falls.
    let expected = i32::from(arguments.first() == Some(&"probe"));
    let target = "target/debug/03_thread_per_conn";
    let built = env!("CARGO_BIN_EXE_03_thread_per_conn");
    let arguments: Vec<&str> =
        arguments.into_iter().map(|argument| if argument == target { built } else { argument }).collect();
    let (code, out, err) = common::run(&program, &arguments);
    assert_eq!(code, Some(expected), "{command}\n{out}\n{err}");
}

/// The program knows this command and its options: asked for help at their end, it gives it.
fn is_understood(program: &str, arguments: &[&str]) {
    let own = arguments.split(|&argument| argument == "--").next().unwrap_or_default();
    let (code, out, err) = common::run(program, &[own, &["--help"]].concat());
    assert!(code == Some(0) && out.contains("Usage: "), "{arguments:?}\n{out}\n{err}");
}

/// A server says where it listens, or that the port is in use: 8080 is everybody's.
fn serves(program: &str, arguments: &[&str]) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the chapter's program starts");
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert!(
        first == "listening on 127.0.0.1:8080\n" || error.contains("port 8080 is already in use"),
        "{arguments:?}: {first} {error}"
    );
}

#[test]
fn its_table_is_what_the_staircase_test_expects() {
    let finding = |&verdict: &Verdict| Finding { verdict, evidence: "".into() };
    let row = |(name, verdicts): &(&'static str, [Verdict; 6])| Row {
        name: (*name).to_owned(),
        chapter: probes::find(name).unwrap().chapter,
        headline: HEADLINES.contains(name),
        findings: verdicts.iter().map(finding).collect(),
    };
    let staircase = Staircase {
        steps: STEPS.map(Into::into).to_vec(),
        probes: EXPECTED.iter().map(row).collect(),
        surprises: Vec::new(),
    };
    let table = anstream::adapter::strip_str(&staircase.table(false)).to_string();
    assert_eq!(blocks("text").join("\n") + "\n", table, "copy this into the README:\n{table}");
    assert!(table.lines().count() + screen::wrap(LEGEND, 80).len() <= 24 - 3, "with what stands between and below");
    for table in [staircase.table(false), staircase.table(true)] {
        let table = anstream::adapter::strip_str(&table).to_string();
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    }
}

#[test]
fn every_chapter_has_its_command() {
    let ends = |step: &str| commands().iter().any(|command| command.ends_with(&format!(" --bin {step}")));
    for step in STEPS.iter().chain(BEYOND).chain(&["09_async"]) {
        assert!(ends(step), "{step}");
    }
}
