//! The classroom: that its exercises keep what they promise, and that `check` and `reset` serve a student as they should.

mod common;

use std::collections::HashSet;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::slice;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tcp_pitfalls::classroom::{self, Check, Exercise};
use tcp_pitfalls::examination::{self, Hurry, Job};
use tcp_pitfalls::lab::server::{Connection, Target};
use tcp_pitfalls::probes::{Finding, Probe, Verdict};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcp-pitfalls");

/// The exercise that the runner is tried with.
const ID: &str = "04";

/// Servers for it in other languages.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/classroom/parcels.py");
const GO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/classroom/parcels.go");

/// How long compiling may take on a busy machine.
const COMPILING: Duration = Duration::from_secs(300);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn exercise() -> &'static Exercise {
    classroom::find(ID).expect("there is this exercise")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn solution_of(exercise: &Exercise) -> PathBuf {
    root().join(format!("chapters/solutions/src/bin/solution_{}.rs", exercise.id))
}

fn starter_of(exercise: &Exercise) -> PathBuf {
    root().join(format!("tests/classroom/src/bin/starter_{}.rs", exercise.id))
}

// What each exercise has to have.

#[test]
fn points_and_names_are_as_agreed() {
    let mut names = HashSet::new();
    for exercise in classroom::ALL {
        let points: u32 = exercise.checks.iter().map(|check| check.points).sum();
        assert_eq!(points, if exercise.id == "capstone" { 20 } else { 10 }, "{}", exercise.id);
        let falls = exercise.checks.iter().filter(|check| check.starter_falls).count();
        assert!(falls >= 2, "{}: something is to be mended", exercise.id);
        for Check { name, .. } in exercise.checks {
            assert!(names.insert((exercise.id, name)), "{name} is the name of two checks");
            let kebab =
                |part: &str| !part.is_empty() && part.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
            assert!(name.split('-').all(kebab), "{name} is in kebab-case");
        }
    }
}

#[test]
fn every_exercise_has_a_task_three_hints_and_a_table_of_its_checks() {
    for exercise in classroom::ALL {
        let readme = read(root().join(exercise.folder).join("README.md"));
        let section = |heading: &str| {
            let (_, rest) =
                readme.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("{}: {heading}", exercise.id));
            rest.split("\n## ").next().unwrap_or_default()
        };
        assert!(readme.starts_with("# Exercise ") || exercise.id == "capstone", "{}", exercise.id);
        let checks = section("Checks");
        for Check { name, points, .. } in exercise.checks {
            let row = checks.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
            let row = row.unwrap_or_else(|| panic!("{}: the table names {name}", exercise.id));
            let last = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
            assert_eq!(last.trim(), points.to_string(), "{row}");
        }
        let rows = checks.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, exercise.checks.len(), "{}: the table names no other checks", exercise.id);
        // They are where nobody reads them by mistake.
        assert!(section("Hints").contains(&format!("`cargo run -- check {} --hint`", exercise.id)), "{}", exercise.id);
        let hints = read(root().join(exercise.folder).join("hints.md"));
        let headings: Vec<&str> = hints.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(headings, ["## Hint 1", "## Hint 2", "## Hint 3"], "{}", exercise.id);
    }
}

#[test]
fn starters_tell_what_to_achieve() {
    for exercise in classroom::ALL {
        assert!(read(starter_of(exercise)).contains("TODO"), "{}", exercise.id);
    }
}

/// In a student's copy this is not so, and need not be.
#[test]
#[ignore = "a student's exercises differ from the starters"]
fn every_exercise_is_its_starter() {
    for exercise in classroom::ALL {
        let (mine, starter) = (root().join(exercise.folder).join("main.rs"), starter_of(exercise));
        assert!(read(&mine) == read(&starter), "{} differs from {}", mine.display(), starter.display());
    }
}

/// Where the solutions, starters and wrong servers are, built.
fn servers() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args([
                "build",
                "--package",
                "solutions",
                "--package",
                "classroom-servers",
                "--package",
                "exercises",
                "--bins",
            ])
            .current_dir(root())
            .output()
            .expect("cargo starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(!said.contains("warning: "), "they compile without warnings:\n{said}");
        Path::new(PROGRAM).with_file_name("").join("../debug")
    })
}

/// A server of these, and whether it falls, for each check of which that is known.
struct Case {
    name: String,
    target: Target,
    expected: Vec<(Probe, bool)>,
}

impl Case {
    fn new(exercise: &Exercise, kind: &str, options: &[&str], falls: impl Fn(&Check) -> Option<bool>) -> Self {
        let program = format!("{kind}_{}", exercise.id);
        let path = servers().join(&program).with_extension(env::consts::EXE_EXTENSION);
        let command = [path.to_str().unwrap()].into_iter().chain(options.iter().copied()).chain(["{addr}"]);
        let target = Target::Command(command.map(str::to_owned).collect::<Vec<_>>().into());
        let expected = exercise.checks.iter().filter_map(|check| Some((check.probe(), falls(check)?))).collect();
        Case { name: format!("{program} {}", options.join(" ")), target, expected }
    }
}

/// Runs all checks of each case, and expects that it falls into those it is meant to fall into and into no other.
fn expect_cases(cases: &[Case], at_once: usize) {
    // What is judged by time wants the machine for itself.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let terms = classroom::terms(1);
    let expected = cases.iter().flat_map(|case| case.expected.iter().map(move |(probe, falls)| (case, probe, *falls)));
    let expected: Vec<_> = expected.collect();
    let jobs = expected.iter().map(|(case, probe, _)| Job { probe, target: &case.target, terms: &terms });
    let jobs: Vec<Job<'_>> = jobs.collect();
    let findings = examination::run(&jobs, at_once, || ());
    let mut surprises = Vec::new();
    for (((case, probe, falls), job), mut finding) in expected.iter().zip(&jobs).zip(findings) {
        // A busy machine excuses what is late, and so hides it. Nothing makes it accuse anybody.
        for _ in 0..3 {
            if *falls && finding.verdict != Verdict::Falls || finding.verdict == Verdict::Skipped {
                finding = examination::run(slice::from_ref(job), 1, || ()).remove(0);
            }
        }
        let Finding { verdict, evidence } = finding;
        let is_right = match verdict {
            Verdict::Falls => *falls,
            Verdict::Holds => !falls,
            Verdict::Note => !falls || evidence.sentence.contains("too busy"),
            Verdict::Skipped => !cfg!(target_os = "linux"),
            Verdict::Differs => false,
        };
        if !is_right {
            surprises.push(format!("{} {} {}: {evidence}", case.name, verdict.word(), probe.name));
        }
    }
    assert!(surprises.is_empty(), "\n{}", surprises.join("\n"));
}

#[test]
#[ignore = "compiles all exercises and examines each several times"]
fn every_solution_holds() {
    let solution = |exercise| Case::new(exercise, "solution", &[], |_| Some(false));
    expect_cases(&classroom::ALL.iter().map(solution).collect::<Vec<_>>(), 8);
}

#[test]
#[ignore = "compiles all exercises and examines each several times"]
fn every_starter_falls_into_just_what_it_is_meant_to() {
    let starter = |exercise| Case::new(exercise, "starter", &[], |check: &Check| Some(check.starter_falls));
    expect_cases(&classroom::ALL.iter().map(starter).collect::<Vec<_>>(), 8);
}

#[test]
#[ignore = "compiles all exercises and examines each several times"]
fn every_check_has_a_server_that_fails_just_it() {
    let mut cases = Vec::new();
    for exercise in classroom::ALL {
        for &Check { name: fault, .. } in exercise.checks.iter().filter(|check| check.name != "as-the-task-says") {
            // What the task says finds most of the others' mistakes as well. Its own are in tests/as_the_task_says.rs.
            let only = |check: &Check| match check.name {
                "as-the-task-says" => None,
                // Its silent customer keeps nobody waiting there, either.
                "gone-before-ticket" if fault == "one-at-a-time" => None,
                name => Some(name == fault),
            };
            cases.push(Case::new(exercise, "wrong", &["--fault", fault], only));
        }
    }
    expect_cases(&cases, 8);
}

#[test]
#[ignore = "compiles all exercises and examines each several times"]
fn what_is_late_or_out_of_order_is_found() {
    let mut cases = Vec::new();
    for exercise in classroom::ALL {
        for (fault, finder) in common::faults(exercise) {
            if finder != "as-the-task-says" && finder != fault {
                let falls = |check: &Check| (check.name == finder).then_some(true);
                cases.push(Case::new(exercise, "wrong", &["--fault", &fault], falls));
            }
        }
    }
    // Fewer: what falls only by being late is not judged on a busy machine. Six of them need a quarter of a processor.
    expect_cases(&cases, 6);
}

// The runner, driven as a person drives it.

/// A fresh copy of the repository. Removed when dropped.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn new(name: &str) -> Self {
        let copy = Copy { root: env::temp_dir().join(format!("tcp-pitfalls-{name}-{}", std::process::id())) };
        common::copy_folder(root(), &copy.root).expect("the repository can be copied");
        for exercise in classroom::ALL {
            fs::copy(starter_of(exercise), copy.root.join(exercise.folder).join("main.rs")).unwrap();
        }
        let _ = fs::remove_file(copy.root.join(".tcp-pitfalls-progress.json"));
        copy
    }

    fn file(&self) -> PathBuf {
        self.root.join(exercise().folder).join("main.rs")
    }

    fn solve(&self) {
        fs::copy(solution_of(exercise()), self.file()).expect("the solution can be pasted in");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(&self.root).env("LC_ALL", "C.UTF-8");
        // A student has set none of these.
        for variable in ["CARGO_TARGET_DIR", "CARGO", "RUSTFLAGS", "WT_SESSION"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs the program to its end. What it prints has to fit the screen.
    #[track_caller]
    fn run(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        child.stdin.take().unwrap().write_all(input.as_bytes()).expect("it takes the input");
        let said = Said::from(child.wait_with_output().expect("it ends"));
        // A command to type is one line, whatever the student's own part of it is.
        for line in said.out.lines().filter(|line| !line.contains("{addr}")) {
            assert!(line.chars().count() <= 80, "{arguments:?}: this line is too long for the screen: {line}");
        }
        said
    }

    #[track_caller]
    fn expect(&self, arguments: &[&str], status: i32, parts: &[&str]) -> Said {
        let said = self.run(arguments, "");
        assert_eq!(said.status, Some(status), "{arguments:?}\n{}{}", said.out, said.err);
        for part in parts {
            assert!(said.out.contains(part), "{arguments:?} says {part:?}:\n{}{}", said.out, said.err);
        }
        said
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Said { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

#[test]
#[ignore = "compiles an exercise several times"]
fn a_student_works_through_an_exercise() {
    let copy = Copy::new("student");
    copy.expect(&["check"], 0, &["The parcel office", "not begun", "0 of ", "Next: 01", "cargo run -- check 01"]);

    // As it was given. The short name means the same.
    let fallen = exercise().checks.iter().filter(|check| check.starter_falls);
    let names: Vec<&str> = fallen.map(|check| check.name).collect();
    let said = copy.expect(&["check", "4"], 1, &names);
    for part in ["✓ holds", "✗ falls", "client 1  sends", "expected", "^ byte", "Why it matters: "] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    for part in ["In the book: chapter 4, \"Half a header\"", "cargo run -- check 04 --hint"] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    // One story, and below it what to type. All of them if asked for.
    assert_eq!(said.out.matches("Why it matters: ").count(), 1, "{}", said.out);
    let said = copy.expect(&["check", ID, "--all-details"], 1, &names);
    assert_eq!(said.out.matches("Why it matters: ").count(), names.len(), "{}", said.out);
    copy.expect(&["check"], 0, &["✗ begun", "Next: 01"]);

    // A typing error.
    let starter = read(copy.file());
    fs::write(copy.file(), format!("{starter}\nfn half(")).unwrap();
    let said = copy.expect(&["check", ID], 1, &["it does not compile"]);
    assert!(said.err.contains("error: ") && said.err.contains("main.rs:"), "cargo says why: {}", said.err);

    // A server that ends at once.
    fs::write(copy.file(), "fn main() { panic!(\"the window is shut\") }").unwrap();
    copy.expect(&["check", ID], 1, &["process has ended", "the window is shut"]);

    // A long sentence about it is shown in whole, for what came is at its end.
    let impatient = r"fn main() {
        let listener = std::net::TcpListener::bind(std::env::args().last().unwrap()).unwrap();
        for stream in listener.incoming() { let _ = std::io::Read::read(&mut stream.unwrap(), &mut [0; 9]); }
    }";
    fs::write(copy.file(), impatient).unwrap();
    let said = copy.expect(&["check", ID, "--all-details"], 1, &[]);
    let words = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let whole = ["the end of the connection", "a reset of the connection"].map(|got| format!("bytes), got {got}"));
    assert!(whole.iter().any(|whole| words.contains(whole)), "{}", said.out);

    // Stuck.
    for number in 1..=3 {
        copy.expect(&["check", ID, "--hint"], 0, &[&format!("hint {number} of 3")]);
    }
    copy.expect(&["check", ID, "--hint"], 0, &["hint 3 of 3", "the last one"]);
    copy.expect(&["check"], 0, &["3 hints"]);

    copy.solve();
    let compare = "Compare with    chapters/solutions/src/bin/solution_04.rs";
    copy.expect(&["check", ID], 0, &["10 of 10 points", compare, "Next: 05"]);
    copy.expect(&["check"], 0, &["✓ done", "10 of 10 points", "10 of 90 points"]);

    // From the beginning.
    let said = copy.run(&["reset", ID], "n\n");
    assert!(said.out.contains("Nothing was changed"), "{}", said.out);
    assert_eq!(read(copy.file()), read(solution_of(exercise())));
    copy.expect(&["reset", ID, "--yes"], 0, &["main.rs.backup"]);
    assert_eq!(read(copy.file()), read(starter_of(exercise())));
    assert_eq!(read(copy.file().with_file_name("main.rs.backup")), read(solution_of(exercise())));
    copy.expect(&["check"], 0, &["0 of 90 points"]);
    copy.expect(&["reset", ID, "--yes"], 0, &["is as it was at the beginning"]);
}

#[test]
fn a_garbled_progress_file_is_said_to_be_so() {
    let copy = Copy::new("garbled");
    fs::write(copy.root.join(".tcp-pitfalls-progress.json"), "{").unwrap();
    let said = copy.run(&["check"], "");
    assert_eq!(said.status, Some(2), "{}", said.out);
    assert!(said.err.starts_with("error: your progress in ") && said.err.contains("Delete that file"), "{}", said.err);
}

#[test]
fn more_points_than_there_are_are_not_believed() {
    let copy = Copy::new("forged");
    let forged = r#"{"exercises": {"04": {"checked": {"points": 11, "done": true}}}}"#;
    fs::write(copy.root.join(".tcp-pitfalls-progress.json"), forged).unwrap();
    let said = copy.expect(&["check"], 0, &["0 of 90 points"]);
    assert!(said.err.contains("is not believed"), "{}", said.err);
}

#[test]
fn what_was_not_judged_is_not_in_the_sum() {
    let copy = Copy::new("not-judged");
    let seven = r#"{"exercises": {"04": {"checked": {"points": 7, "not_judged": 3, "done": false}}}}"#;
    fs::write(copy.root.join(".tcp-pitfalls-progress.json"), seven).unwrap();
    copy.expect(&["check"], 0, &["7 of 7, 3 not judged", "7 of 87 points, 3 not judged"]);
}

#[test]
fn only_who_is_in_a_hurry_has_checks_ended() {
    let serve = |_: &Connection<'_>| Ok(());
    let target = Target::in_process(serve);
    let terms = classroom::terms(1);
    let probe = exercise().checks.iter().find(|check| check.name == "plain-parcels").unwrap().probe();
    let job = || [Job { probe: &probe, target: &target, terms: &terms }];
    let now = Instant::now();
    let (ended, _) = examination::run_recorded(&job(), 1, Some(Hurry { enough: now, last: now }), || ()).remove(0);
    assert!(ended.verdict == Verdict::Skipped && ended.evidence.own_lack, "{}", ended.evidence);
    let (judged, _) = examination::run_recorded(&job(), 1, None, || ()).remove(0);
    assert!(!judged.evidence.own_lack, "{}", judged.evidence);
}

#[test]
fn without_unicode_and_colour_the_words_remain() {
    let copy = Copy::new("plain");
    let done = r#"{"exercises": {"04": {"checked": {"points": 10, "done": true}}}}"#;
    fs::write(copy.root.join(".tcp-pitfalls-progress.json"), done).unwrap();
    let out = copy.command(&["check"]).env("LC_ALL", "C").output().unwrap().stdout;
    let out = String::from_utf8(out).unwrap();
    assert!(out.is_ascii() && !out.contains('\x1b') && out.contains("+ done"), "{out}");
}

#[test]
#[cfg(unix)]
fn another_cargo_is_waited_for_with_a_word() {
    let copy = Copy::new("lock");
    let folder = copy.root.join("target/debug");
    fs::create_dir_all(&folder).unwrap();
    let lock = fs::File::create(folder.join(".cargo-lock")).unwrap();
    // A cargo that builds nothing.
    let check = || Said::from(copy.command(&["check", ID]).env("CARGO", "true").output().unwrap());
    let said = check();
    assert!(!said.err.contains("Another cargo"), "{}", said.err);
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let said = check();
    assert!(
        said.err.contains("Another cargo is building in ") && said.out.contains("it does not compile"),
        "{}",
        said.err
    );
}

#[test]
fn what_cannot_be_kept_costs_no_findings() {
    let copy = Copy::new("unkept");
    // In the way of the file that is to be written, as in a folder of somebody else's.
    fs::create_dir(copy.root.join(".tcp-pitfalls-progress.json.new")).unwrap();
    let said = Said::from(copy.command(&["check", ID]).env("CARGO", "true").output().unwrap());
    assert_eq!(said.status, Some(1), "{}", said.err);
    assert!(said.out.contains("it does not compile"), "{}", said.out);
    assert!(said.err.contains("warning: cannot keep your progress"), "{}", said.err);
}

/// A server that leaves a child behind, which writes full points wherever it may, for as long as it lives.
#[cfg(target_os = "linux")]
const FORGER: &str = r#"import glob, os, sys, time
open(sys.argv[1] + ".ran", "w")
if os.fork() == 0:
    os.setsid()
    for _ in range(3000):
        for name in glob.glob("/tmp/*/grades.*") + glob.glob(sys.argv[1] + "/*") + [".tcp-pitfalls-progress.json"]:
            try: open(name, "w").write('{"points": 90, "of": 90, "exercises": []}')
            except OSError: pass
        time.sleep(0.01)
"#;

#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs root, and makes a user who is a student"]
fn grades_cannot_be_forged() {
    let Some(python) = python() else { return };
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root can become somebody else");
    }
    let copy = Copy::new("forging");
    let results = copy.root.with_extension("results");
    fs::write(copy.root.join("forger.py"), FORGER).unwrap();
    for exercise in classroom::ALL {
        let line = format!("{python} forger.py {} {{addr}}\n", results.display());
        fs::write(copy.root.join(exercise.folder).join("command"), line).unwrap();
    }
    let graded = Command::new(root().join("tools/grade.sh")).arg(&copy.root).arg(&results).output().unwrap();
    let said = String::from_utf8_lossy(&graded.stderr);
    assert_eq!(graded.status.code(), Some(1), "{said}");
    let (points, of, _) = result(&results.join("grades.json"));
    assert_eq!((points, of), (0, 90), "{said}");
    let ran = results.with_extension("results.ran");
    assert!(ran.exists(), "it tried: {said}");
    fs::remove_file(ran).unwrap();
    fs::remove_dir_all(results).unwrap();
}

#[test]
fn wrong_usage_says_what_to_do() {
    for (arguments, said) in [
        (&["check", "7"][..], "capstone"),
        (&["check", "--hint"], "[EXERCISE]"),
        (&["check", "--watch"], "[EXERCISE]"),
        (&["check", "--all", "--", "my_server", "{addr}"], "each has a protocol of its own"),
        (&["check", ID, "--", "my_server"], "Write {addr} there"),
        (&["check", ID, "--", "no-such-program-here", "{addr}"], "cannot start \"no-such-program-here\""),
        (&["check", ID, "--", "python3", "tests/classroom/parcel.py", "{addr}"], "Its folder holds parcels.py"),
        (&["check", ID, "--json", "no-such-folder-here/grades.json"], "cannot write "),
        (&["reset"], "<EXERCISE>"),
    ] {
        let (code, out, err) = common::run(PROGRAM, arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {out}{err}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
}

/// The program, checking again whenever a file is saved. Ended when dropped.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Watching { child, lines }
    }

    #[track_caller]
    fn says(&self, part: &str) {
        let mut said = String::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(COMPILING) else { panic!("it never said {part:?}:\n{said}") };
            if line.contains(part) {
                return;
            }
            said += &(line + "\n");
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "compiles an exercise several times"]
fn a_save_is_noticed() {
    let copy = Copy::new("watch");
    for options in [&["--watch"][..], &["--watch", "--poll"]] {
        fs::copy(starter_of(exercise()), copy.file()).unwrap();
        let watching = Watching::start(copy.command(&[&["check", ID], options].concat()));
        watching.says("✗ falls");
        watching.says("Waiting for you to save");
        fs::write(copy.file(), "fn main(").unwrap();
        watching.says("it does not compile");
        watching.says("Waiting for you to save");
        // As many editors save: a new file in the place of the old one.
        let new = copy.file().with_extension("new");
        fs::copy(solution_of(exercise()), &new).unwrap();
        fs::rename(&new, copy.file()).unwrap();
        watching.says("10 of 10 points");
        watching.says("Waiting for you to save");
    }
}

/// How many points the result in this JSON file has, of how many, and what fell.
fn result(file: &Path) -> (u64, u64, Vec<String>) {
    let result: Value = serde_json::from_str(&read(file)).expect("the result is JSON");
    let checks = result["exercises"].as_array().unwrap().iter().flat_map(|it| it["checks"].as_array().unwrap());
    let falls = checks.filter(|check| check["verdict"] == "falls").map(|it| it["name"].as_str().unwrap().to_owned());
    (result["points"].as_u64().unwrap(), result["of"].as_u64().unwrap(), falls.collect())
}

#[test]
#[ignore = "compiles all exercises, and examines each"]
fn a_teacher_gets_grades() {
    let copy = Copy::new("teacher");
    copy.solve();
    // One that does not compile keeps nobody from a grade for the others.
    fs::write(copy.root.join(classroom::ALL[0].folder).join("main.rs"), "fn main(").unwrap();
    copy.expect(
        &["check", "--all", "--json", "grades.json", "--junit", "grades.xml"],
        1,
        &["it does not compile", "10 of 10 points", " of 90 points"],
    );
    let (points, of, falls) = result(&copy.root.join("grades.json"));
    assert_eq!(of, 90);
    let (mut expected_points, mut expected_falls) = (0, Vec::new());
    for (index, exercise) in classroom::ALL.iter().enumerate() {
        for check in exercise.checks {
            if exercise.id == ID || index > 0 && !check.starter_falls {
                expected_points += u64::from(check.points);
            } else {
                expected_falls.push(check.name);
            }
        }
    }
    assert_eq!((points, falls), (expected_points, expected_falls.iter().map(|&name| name.to_owned()).collect()));
    let xml = read(copy.root.join("grades.xml"));
    for exercise in classroom::ALL {
        assert!(xml.contains(&format!("<testsuite name=\"{} {}\"", exercise.id, exercise.title)), "{xml}");
    }
    assert_eq!(xml.matches("name=\"not_judged\"").count(), classroom::ALL.len(), "{xml}");
    assert_eq!(xml.matches("<failure ").count() + xml.matches("<error ").count(), expected_falls.len());
    if let Some(python) = python() {
        let parse = "import sys, xml.etree.ElementTree as it; print(len(it.parse(sys.argv[1]).findall('.//testcase')))";
        let file = copy.root.join("grades.xml");
        let parsed = Command::new(python).args(["-c", parse]).arg(file).output().unwrap();
        let checks: usize = classroom::ALL.iter().map(|exercise| exercise.checks.len()).sum();
        assert_eq!(String::from_utf8_lossy(&parsed.stdout).trim(), checks.to_string());
    }
}

fn python() -> Option<&'static str> {
    let works = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let found = ["python3", "python"].into_iter().find(works);
    if found.is_none() {
        println!("skipped: python is not installed");
    }
    found
}

#[test]
#[ignore = "examines a server several times"]
fn a_command_is_remembered() {
    let Some(python) = python() else { return };
    let copy = Copy::new("command");
    let server = copy.file().with_file_name("server.py");
    fs::copy(PYTHON, &server).unwrap();
    let done = ["10 of 10 points", "Next: 05", "05_bufread_lines/exercise/server.py {addr}"];
    // Wherever it is given, it is kept as it is written from the root.
    let given = copy
        .command(&["check", ID, "--", python, "server.py", "{addr}"])
        .current_dir(server.parent().unwrap())
        .output()
        .unwrap();
    assert_eq!(given.status.code(), Some(0), "{}", String::from_utf8_lossy(&given.stderr));
    let command = format!("{python} {}/server.py {{addr}}", exercise().folder);
    assert_eq!(read(copy.file().with_file_name("command")).trim(), command);
    copy.expect(&["check", ID], 0, &done);

    // What can't be kept costs no findings.
    let progress = copy.root.join(".tcp-pitfalls-progress.json");
    fs::write(&progress, "{").unwrap();
    let said = copy.expect(&["check", ID], 0, &done);
    assert!(said.err.contains("warning: your progress"), "{}", said.err);
    fs::remove_file(&progress).unwrap();

    // Standard output is for programs alone.
    let said = Said::from(copy.command(&["check", ID, "--json", "-"]).output().unwrap());
    let result: Value = serde_json::from_str(&said.out).expect("standard output is JSON");
    let exercise = &result["exercises"][0];
    assert_eq!((exercise["command"].as_str(), exercise["language"].as_str()), (Some(&*command), Some("Python")));
    assert!(said.err.contains("10 of 10 points"), "{}", said.err);

    // The starter in Rust, which is there as well, takes nothing from it.
    fs::remove_file(copy.file().with_file_name("command")).unwrap();
    copy.expect(&["check", ID], 1, &["main.rs"]);
    copy.expect(&["check"], 0, &["10 of 90 points"]);
}

#[test]
#[ignore = "examines a server several times"]
fn what_stands_beside_a_named_file_is_watched() {
    let Some(python) = python() else { return };
    let copy = Copy::new("beside");
    let (own, more) = (copy.root.join("own"), copy.root.join("more.txt"));
    fs::create_dir(&own).unwrap();
    fs::write(own.join("server.py"), format!("import part\n{}", read(PYTHON))).unwrap();
    fs::write(own.join("part.py"), "").unwrap();
    fs::write(&more, "").unwrap();
    let check = ["check", ID, "--watch", "--also", "more.txt", "--", python, "own/server.py", "{addr}"];
    let watching = Watching::start(copy.command(&check));
    watching.says("Waiting for you to save");
    fs::write(own.join("part.py"), "raise SystemExit(3)").unwrap();
    watching.says("own/part.py has changed");
    watching.says("a client could not connect");
    watching.says("Waiting for you to save");
    fs::write(more, "more").unwrap();
    watching.says("more.txt has changed");
}

/// Checks a good server and a naive one, started by this command.
fn expect_language(name: &str, command: &[&str]) {
    let copy = Copy::new(name);
    let check = ["check", ID, "--json", "result.json", "--"];
    copy.expect(&[&check, command, &["{addr}"]].concat(), 0, &["10 of 10 points"]);
    assert_eq!(result(&copy.root.join("result.json")), (10, 10, Vec::new()));
    copy.expect(&[&check, command, &["--naive", "{addr}"]].concat(), 1, &["header-in-pieces", "Check again"]);
    let (points, _, falls) = result(&copy.root.join("result.json"));
    assert!(points < 10 && falls.iter().any(|name| name == "joined-parcels"), "{falls:?}");
}

#[test]
#[ignore = "examines two servers, of which one is silent where it should not be"]
fn a_python_server_is_checked_as_well() {
    if let Some(python) = python() {
        expect_language("python", &[python, PYTHON]);
    }
}

#[test]
#[ignore = "examines two servers, of which one is silent where it should not be"]
fn a_go_server_is_checked_as_well() {
    let program = env::temp_dir().join(format!("tcp-pitfalls-parcels-{}", std::process::id()));
    let program = program.with_extension(env::consts::EXE_EXTENSION);
    match Command::new("go").args(["build", "-o"]).arg(&program).arg(GO).output() {
        Err(_) => println!("skipped: go is not installed"),
        Ok(built) => {
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
            expect_language("go", &[program.to_str().unwrap()]);
            let _ = fs::remove_file(program);
        }
    }
}

/// Says which misbehaviour `misbehaving_server` shall show. It is this program itself, started by the runner.
const MISBEHAVIOUR: &str = "TCP_PITFALLS_MISBEHAVIOUR";

/// Not a test: the server of the next one. Without the variable it does nothing.
#[test]
fn misbehaving_server() {
    let Ok(misbehaviour) = env::var(MISBEHAVIOUR) else { return };
    let addr = env::args().next_back().expect("the address is the last argument");
    let serve: fn(TcpStream) -> io::Result<()> = match misbehaviour.as_str() {
        "never-listens" => loop {
            thread::park();
        },
        "ends-at-once" => {
            eprintln!("I have nothing to say to {addr}");
            std::process::exit(101);
        }
        "hangs" => |stream| io::copy(&mut &stream, &mut io::sink()).map(drop),
        "floods" => |mut stream| loop {
            stream.write_all(&[b'x'; 4096])?;
        },
        other => panic!("no such misbehaviour: {other}"),
    };
    for stream in TcpListener::bind(&addr).expect("the address is free").incoming() {
        thread::spawn(move || serve(stream.expect("a client is accepted")));
    }
}

#[test]
#[ignore = "waits for servers that are silent"]
fn a_misbehaving_server_gets_a_sentence() {
    let copy = Copy::new("misbehaving");
    let me = env::current_exe().unwrap();
    let me = me.to_str().unwrap();
    for (misbehaviour, said) in [
        ("never-listens", "listens nowhere"),
        ("ends-at-once", "I have nothing to say to"),
        ("hangs", "nothing for "),
        ("floods", "flood"),
    ] {
        let mut command =
            copy.command(&["check", ID, "--", me, "--exact", "misbehaving_server", "--nocapture", "{addr}"]);
        let said_all = Said::from(command.env(MISBEHAVIOUR, misbehaviour).output().unwrap());
        assert_eq!(said_all.status, Some(1), "{misbehaviour}: {}{}", said_all.out, said_all.err);
        assert!(said_all.out.contains(said), "{misbehaviour}: {}", said_all.out);
    }
}
