//! What the book shows of runs: scenes as data, and tables, differences and what commands print as text, all written by
//! what they speak of.
//!
//! A second run is never quite the same: ports and times are others, the kernel cuts a big transfer elsewhere, and two
//! threads take turns differently. `compare` leaves that out, and a file is written anew only if more has changed. What is
//! committed is always one run, as it was seen.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anstream::println;
use anyhow::{Context, Result, bail};
use regex::Regex;
use similar::TextDiff;
use tcp_pitfalls::go::GoServers;
use tcp_pitfalls::staircase::{BEYOND, STEPS};

use crate::compare;
use crate::fault::Fault;
use crate::stairs;

/// Other commands that pages show, as the reader types them: the file's name, and the command.
const COMMANDS: &[(&str, &str)] = &[
    ("commands/explain-idle-client", "cargo run -- explain idle-client"),
    ("commands/listen-without-port", "cargo run --bin 01_listen -- serve 8080"),
    ("commands/listen-port-taken", "cargo run -- probe --only port-taken -- target/debug/01_listen serve {addr}"),
    ("commands/probe-step-3", "cargo run -- probe --chapter 4 -- target/debug/03_thread_per_conn serve {addr}"),
    (
        "commands/probe-json",
        "cargo run -- probe --json --only idle-client -- target/debug/02_accept_blocking serve {addr}",
    ),
    ("claims/addresses", "go run book/go/claims/addresses/main.go"),
    ("claims/long_line", "go run book/go/claims/long_line/main.go"),
    ("claims/closing", "go run book/go/claims/closing/main.go"),
    ("claims/end_of_file", "go run book/go/claims/end_of_file/main.go"),
    ("claims/write", "go run book/go/claims/write/main.go"),
    ("claims/wait_group", "go run book/go/claims/wait_group/main.go"),
    ("claims/context", "go run book/go/claims/context/main.go"),
];

/// Commands whose output has ports and times in it. Their numbers may be others in another run, and so their line breaks.
const MEASURED: [&str; 3] = ["commands/listen-port-taken.txt", "commands/probe-json.txt", "commands/probe-step-3.txt"];

/// How a prober begins to say that the machine is busy.
const BUSY: &str = "note: this machine was busy";

/// What a run gave.
struct Recorded {
    /// Each file's name in `book/recorded`, and its text.
    files: BTreeMap<String, String>,
    /// What was not run here, and why.
    skipped: Vec<String>,
    /// What ran, and not as it should.
    failed: Vec<Fault>,
}

/// Runs everything that the book shows, and writes down what has changed: without the folder, all of it.
pub fn record(root: &Path) -> Result<()> {
    let recorded = run(root)?;
    let (mut changed, count) = (0, recorded.files.len());
    for (name, text) in &recorded.files {
        let path = folder(root).join(name);
        if let Ok(committed) = fs::read_to_string(&path)
            && difference(name, &committed, text)?.is_none()
        {
            continue;
        }
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("written  book/recorded/{name}");
        changed += 1;
    }
    // Its evidence is of one run, and takes a run of its own: the check looks at the verdicts alone.
    let programs = env::current_exe()?.parent().context("this program has no folder")?.to_owned();
    let run = |arguments: &[&str]| Ok(start(root, &programs.join("tcp-pitfalls"), arguments)?.text);
    for name in stairs::record(root, run)? {
        println!("written  book/recorded/{name}");
    }
    for name in stale(root, &recorded)? {
        println!("nothing writes this any more, so remove it: book/recorded/{name}");
    }
    for why in &recorded.skipped {
        println!("skipped  {why}");
    }
    println!("{changed} of {count} recordings were written anew; the others are as they were.");
    if !recorded.failed.is_empty() {
        let failed: Vec<String> = recorded.failed.iter().map(ToString::to_string).collect();
        bail!("not all went as it should:\n{}", failed.join("\n"));
    }
    Ok(())
}

/// Finds recordings that no run would write any more as they are. Nothing means that it can't be told here.
pub fn check(root: &Path) -> Result<Option<Vec<Fault>>> {
    // On a busy machine two who run side by side may meet in another order, once. What has changed differs each time.
    const RUNS: usize = 3;
    // Recorded on Linux, whose /proc and errors they show.
    if !cfg!(target_os = "linux") {
        return Ok(None);
    }
    let mut recorded = run(root)?;
    let mut differing = differing(root, &recorded)?;
    for _ in 1..RUNS {
        if differing.is_empty() || !recorded.failed.is_empty() {
            break;
        }
        let names = differing.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        println!("run once more, since this was another run: {names}");
        recorded = run(root)?;
        let again = self::differing(root, &recorded)?;
        differing.retain(|name, _| again.contains_key(name));
    }
    let mut faults = std::mem::take(&mut recorded.failed);
    faults.extend(differing.into_values());
    for name in stale(root, &recorded)? {
        faults.push(Fault::in_file(format!("book/recorded/{name}"), "nothing writes this any more: remove it"));
    }
    for why in &recorded.skipped {
        println!("skipped {why}");
    }
    Ok(Some(faults))
}

/// What is committed otherwise than this run gave it, by the name of its file.
fn differing(root: &Path, recorded: &Recorded) -> Result<BTreeMap<String, Fault>> {
    let mut differing = BTreeMap::new();
    for (name, text) in &recorded.files {
        let what = match fs::read_to_string(folder(root).join(name)) {
            Err(_) => "is not there yet. Run `cargo book record`".to_owned(),
            Ok(committed) => match difference(name, &committed, text)? {
                None => continue,
                Some(difference) => {
                    format!("a run no longer gives this. If that is right, run `cargo book record`:\n{difference}")
                }
            },
        };
        differing.insert(name.clone(), Fault::in_file(format!("book/recorded/{name}"), what));
    }
    Ok(differing)
}

/// In what a recording with this name differs from what is committed.
fn difference(name: &str, committed: &str, now: &str) -> Result<Option<String>> {
    if Path::new(name).extension() == Some("json".as_ref()) {
        let now = serde_json::from_str(now).with_context(|| format!("{name} can't be read back"))?;
        return match serde_json::from_str(committed) {
            Ok(committed) => compare::scenes(&committed, &now),
            Err(error) => Ok(Some(format!("it can't be read: {error}"))),
        };
    }
    if MEASURED.contains(&name) {
        let words = |text: &str| text.split_whitespace().map(|word| format!("{word}\n")).collect::<String>();
        let (committed, now) = (words(committed), words(now));
        return Ok(compare::difference(&committed, &compare::with_numbers_of(&committed, &now, |_, _| true)));
    }
    if name.starts_with("staircase") {
        // A note is a figure and no verdict. Whether it could be had in time is chance.
        let note = Regex::new(r"\bn\b")?;
        return Ok(compare::difference(&note.replace_all(committed, "-"), &note.replace_all(now, "-")));
    }
    Ok(compare::difference(committed, now))
}

/// Where recordings are committed.
pub fn folder(root: &Path) -> PathBuf {
    root.join("book/recorded")
}

/// Files of chapters that no run gives.
fn stale(root: &Path, recorded: &Recorded) -> Result<Vec<String>> {
    let mut stale = Vec::new();
    for step in STEPS.iter().chain(BEYOND) {
        let chapter = number(step);
        let Ok(entries) = fs::read_dir(folder(root).join(chapter)) else { continue };
        for entry in entries {
            let name = format!("{chapter}/{}", entry?.file_name().to_string_lossy());
            if !recorded.files.contains_key(&name) {
                stale.push(name);
            }
        }
    }
    stale.sort();
    Ok(stale)
}

/// `04` of `04_partial_read_write`.
fn number(step: &str) -> &str {
    step.split('_').next().unwrap_or(step)
}

/// Builds and runs everything.
fn run(root: &Path) -> Result<Recorded> {
    let built = Command::new(cargo())
        .args(["build", "--quiet", "--package", "tcp-pitfalls", "--bins", "--features", "async"])
        .current_dir(root)
        .status()
        .context("cannot start cargo")?;
    if !built.success() {
        bail!("the programs of the chapters can't be built");
    }
    // This program was built by the same cargo, into the same folder.
    let programs = env::current_exe()?.parent().context("this program has no folder")?.to_owned();
    let mut recorded = Recorded { files: BTreeMap::new(), skipped: Vec::new(), failed: Vec::new() };
    chapters(root, &programs, &mut recorded)?;
    restarts(root, &programs, &mut recorded)?;
    differences(root, &mut recorded)?;
    staircases(root, &programs, &mut recorded)?;
    commands(root, &programs, &mut recorded)?;
    Ok(recorded)
}

/// Every scene of every chapter.
fn chapters(root: &Path, programs: &Path, recorded: &mut Recorded) -> Result<()> {
    for step in STEPS.iter().chain(BEYOND) {
        let chapter = number(step);
        let folder = empty_folder(programs, chapter)?;
        let output = start(root, &programs.join(step), &[OsStr::new("--record"), folder.as_os_str()])?;
        if !output.succeeded {
            let what = format!("the demonstration did not go as it should:\n{}", output.errors);
            recorded.failed.push(Fault::in_file(format!("chapters/{step}/main.rs"), what));
        }
        take(&folder, chapter, recorded).with_context(|| format!("{step} has recorded nothing"))?;
    }
    Ok(())
}

/// The scenes with HAProxy, which are played by tests.
fn restarts(root: &Path, programs: &Path, recorded: &mut Recorded) -> Result<()> {
    let folder = empty_folder(programs, "restarts")?;
    let test = "cargo test --quiet --test haproxy";
    let played = Command::new(cargo())
        .args(test.split(' ').skip(1))
        .current_dir(root)
        .env("TCP_PITFALLS_RECORD", &folder)
        .output()
        .with_context(|| format!("cannot start {test}"))?;
    if !played.status.success() {
        let what = format!("`{test}` fails:\n{}", String::from_utf8_lossy(&played.stdout));
        recorded.failed.push(Fault::in_file("tests/haproxy.rs", what));
    } else if fs::read_dir(&folder)?.next().is_none() {
        recorded.skipped.push("the scenes of the restarts: haproxy is not installed".into());
    }
    take(&folder, "restarts", recorded)
}

/// A folder for recordings of this run alone.
fn empty_folder(programs: &Path, name: &str) -> Result<PathBuf> {
    let folder = programs.join("recorded").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    Ok(folder)
}

/// Takes what was recorded into a folder.
fn take(folder: &Path, name: &str, recorded: &mut Recorded) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        recorded.files.insert(name, fs::read_to_string(entry.path())?);
    }
    Ok(())
}

fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// What each step's server changes in that of the step before.
fn differences(root: &Path, recorded: &mut Recorded) -> Result<()> {
    for pair in STEPS.windows(2) {
        let [before, after] = [pair[0], pair[1]].map(|step| format!("chapters/{step}/server.rs"));
        let text = |name: &str| -> Result<String> {
            let text = fs::read_to_string(root.join(name)).with_context(|| format!("cannot read {name}"))?;
            // Marks for the book, which are no part of the lesson.
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("// ANCHOR"));
            Ok(lines.map(|line| format!("{line}\n")).collect())
        };
        let (old, new) = (text(&before)?, text(&after)?);
        let diff = TextDiff::from_lines(&old, &new).unified_diff().header(&before, &after).to_string();
        recorded.files.insert(format!("{}/server.diff", number(pair[1])), diff);
    }
    Ok(())
}

/// The tables of all probes on all servers.
fn staircases(root: &Path, programs: &Path, recorded: &mut Recorded) -> Result<()> {
    let program = programs.join("tcp-pitfalls");
    let mut record = |name: &str, arguments: &[&str]| -> Result<()> {
        let output = start(root, &program, arguments)?;
        if !output.succeeded {
            let what = format!("the probes do not say what the course says:\n{}", output.errors);
            recorded.failed.push(Fault::in_file(format!("book/recorded/{name}"), what));
        }
        // The table stands behind what was skipped and why, and behind a legend.
        let table = output.text.split("\n\n").find(|part| part.trim_start().starts_with('1'));
        let table = table.context("the staircase has no table")?;
        recorded.files.insert(name.to_owned(), format!("{}\n", table.trim_end()));
        Ok(())
    };
    record("staircase.txt", &[])?;
    if GoServers::can_be_built() {
        record("staircase-go.txt", &["--go"])?;
    } else {
        recorded.skipped.push("the staircase of the Go servers: go is not installed".into());
    }
    Ok(())
}

fn commands(root: &Path, programs: &Path, recorded: &mut Recorded) -> Result<()> {
    let has_go = GoServers::can_be_built();
    for &(name, command) in COMMANDS {
        let words: Vec<&str> = command.split(' ').collect();
        let (program, rest) = match words[..] {
            ["cargo", "run", "--bin", program, "--", ref rest @ ..] => (programs.join(program), rest),
            ["cargo", "run", "--", ref rest @ ..] => (programs.join("tcp-pitfalls"), rest),
            ["go", ref rest @ ..] if !rest.last().is_some_and(|file| root.join(file).exists()) => {
                recorded.skipped.push(format!("{name}: its program is not there"));
                continue;
            }
            ["go", ..] if !has_go => {
                recorded.skipped.push(format!("{name}: go is not installed"));
                continue;
            }
            ["go", ref rest @ ..] => (PathBuf::from("go"), rest),
            _ => bail!("cargo book record can't run this: {command}"),
        };
        let arguments = rest.iter().map(|&word| match word.strip_prefix("target/debug/") {
            // Where it is, if that is elsewhere.
            Some(name) => programs.join(name),
            None => word.into(),
        });
        let output = start(root, &program, &arguments.collect::<Vec<_>>())?;
        // What else this machine has to do is no part of what the command says.
        let errors: String = output.errors.split_inclusive('\n').filter(|line| !line.starts_with(BUSY)).collect();
        let text = format!("$ {command}\n{}{errors}", output.text);
        let text = text.replace(&format!("{}/", programs.display()), "target/debug/");
        recorded.files.insert(format!("{name}.txt"), text);
    }
    Ok(())
}

struct Output {
    succeeded: bool,
    text: String,
    errors: String,
}

/// Runs a program to its end, with nothing that it could take for a terminal.
fn start(root: &Path, program: &Path, arguments: &[impl AsRef<OsStr>]) -> Result<Output> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .stdin(Stdio::null())
        .env_remove("CLICOLOR_FORCE")
        .env_remove("RUST_BACKTRACE")
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Output { succeeded: output.status.success(), text: text(output.stdout), errors: text(output.stderr) })
}
