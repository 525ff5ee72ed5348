//! The check `as-the-task-says` finds servers with one fault against their task, whatever the seed, and none without.

mod common;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

use tcp_pitfalls::classroom::{self, Check, Exercise};
use tcp_pitfalls::lab::process;
use tcp_pitfalls::lab::recording::Recorder;
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::probes::Verdict;

/// For each exercise, what is wrong with a server that nothing else is wrong with. tests/classroom/src/bin/ has them.
const FAULTS: [(&str, &[&str]); 8] = [
    (
        "01",
        &[
            "announces-on-stderr",
            "ends-with-status-0",
            "everywhere",
            "falls-back-when-taken",
            "ipv4-everywhere",
            "keeps-open",
            "needs-no-brackets",
            "port-overflows",
            "quotes-tidied",
            "range-untold",
            "refuses-ipv6",
            "reset-ends-door",
            "shows-mapped",
            "shows-own-address",
            "shows-port",
            "stands-there-twice",
            "takes-a-plus",
            "waits-for-a-word",
        ],
    ),
    (
        "02",
        &[
            "end-spends-number",
            "end-will-do",
            "ends-at-nul",
            "half-a-name-will-do",
            "is-text",
            "keeps-open",
            "keeps-return",
            "limit-8-seconds",
            "limit-half-a-second",
            "one-read",
            "other-words",
            "reset-ends-window",
            "short-names",
            "slow-speaker-not-told",
            "slow-spends-number",
            "strips-blanks",
            "strips-blanks-behind",
            "strips-returns",
        ],
    ),
    (
        "03",
        &[
            "ascii-only",
            "busy-without-end",
            "end-keeps-seat",
            "ends-at-vertical-tab",
            "fire-ends-all",
            "fire-goes-on",
            "fire-is-answered",
            "first-word",
            "five-seats",
            "idle-limit",
            "lower-case",
            "one-order",
            "one-read",
            "other-words",
            "reads-once",
            "reset-frees-two",
            "seated-with-order",
            "strips-blanks",
            "two-ends",
        ],
    ),
    (
        "04",
        &[
            "answers-late",
            "counts-header",
            "counts-the-rest",
            "drains-for-ever",
            "empty-ends",
            "ends-at-nul",
            "half-header-not-told",
            "idle-limit",
            "limit-64-kib",
            "limit-too-high",
            "limit-too-low",
            "little-endian",
            "no-contents-not-told",
            "one-client",
            "plain-refusals",
            "reads-once",
            "refusal-goes-on",
            "reverses-refusals",
            "strips-newline",
        ],
    ),
    (
        "05",
        &[
            "all-alphabets",
            "any-case",
            "counts-characters",
            "empty-text-refused",
            "ends-at-nul",
            "error-for-each-part",
            "errors-overtake",
            "idle-limit",
            "keeps-descriptors",
            "limit-too-high",
            "limit-too-low",
            "needs-no-blank",
            "one-client",
            "quit-drops-answers",
            "quit-with-more",
            "reads-once",
            "rest-is-a-command",
            "strips-blanks-before",
            "strips-blanks-behind",
            "strips-returns",
            "tab-is-a-blank",
        ],
    ),
    (
        "06",
        &[
            "always-3-seconds",
            "announces-on-stderr",
            "any-case",
            "blanks-before",
            "counted-at-the-end",
            "counts-errors",
            "ends-with-status-1",
            "error-ends",
            "grace-1-second",
            "grace-8-seconds",
            "grace-for-each-byte",
            "half-is-dropped",
            "idle-limit",
            "keeps-open",
            "number-and-more",
            "one-client",
            "one-read",
            "silent-client-hears-nothing",
            "small-numbers",
            "tally-on-stderr",
            "tally-says-otherwise",
            "two-tallies",
        ],
    ),
    (
        "capstone",
        &[
            "all-alphabets",
            "any-case",
            "bad-name-before-joined",
            "grace-1-second",
            "guest-cant-leave",
            "guests-hear",
            "guests-hear-no-bye",
            "half-is-dropped",
            "half-line-will-do",
            "idle-limit",
            "is-text",
            "joiner-hears-itself",
            "joins-twice",
            "limit-too-high",
            "limit-too-low",
            "long-line-not-told-to-others",
            "long-names",
            "name-stays-taken",
            "names-in-any-case",
            "names-of-eight",
            "names-without-blanks",
            "short-names",
            "sorts-in-any-case",
            "strips-blanks",
            "strips-returns",
            "unknown-before-joining",
        ],
    ),
    (
        "08",
        &[
            "announces-on-stderr",
            "counts-from-2",
            "end-is-told",
            "ends-with-status-143",
            "errors-are-counted",
            "half-a-line-is-not-counted",
            "half-a-line-is-not-told",
            "half-at-the-end-is-answered",
            "idle-limit-1-second",
            "is-text",
            "keeps-open",
            "line-limit-1-second",
            "one-customer",
            "one-number",
            "one-number-for-all",
            "one-read",
            "other-words",
            "short-lines",
            "silence-is-not-counted",
            "silence-is-reset",
            "silence-is-told",
            "strips-blanks",
            "strips-return",
            "tally-on-stderr",
            "tally-says-otherwise",
            "told-and-kept",
            "waits-at-the-end",
        ],
    ),
];

/// With how many seeds each server is examined.
const SEEDS: u64 = 10;

/// The check of this exercise.
fn check(id: &str) -> &'static Check {
    let exercise: &'static Exercise = classroom::find(id).expect("there is this exercise");
    exercise.checks.iter().find(|check| check.probe.name == "as-the-task-says").expect("every exercise has it")
}

/// Builds the model answers and the wrong servers, and says where they are.
fn servers() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--package=solutions", "--package=classroom-servers", "--bins"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.expect("cargo starts").success());
    Path::new(env!("CARGO_BIN_EXE_tcp-pitfalls")).with_file_name("")
}

/// Runs all of these, many at a time: most of them wait.
fn side_by_side<J: Sync, R: Send>(jobs: &[J], run: impl Fn(&J) -> R + Sync) -> Vec<R> {
    process::raise_descriptor_limit();
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, SeqCst)) {
                    let result = run(job);
                    results.lock().expect("nothing panics while it holds this lock").push(result);
                }
            });
        }
    });
    results.into_inner().expect("nothing panics while it holds this lock")
}

/// Plays with one server, with as many seeds as tell something, and says what is surprising about it.
fn examine(folder: &Path, id: &str, fault: Option<&str>) -> Option<String> {
    let kind = if fault.is_some() { "wrong" } else { "solution" };
    let program = folder.join(format!("{kind}_{id}")).with_extension(env::consts::EXE_EXTENSION);
    let command = [program.to_str()?].into_iter().chain(fault.into_iter().flat_map(|fault| ["--fault", fault]));
    let target = Target::Command(command.chain(["{addr}"]).map(str::to_owned).collect::<Vec<_>>().into());
    let (mut falls, mut played, mut evidence) = (0_u8, 0_u8, Vec::new());
    let began = Instant::now();
    for seed in 1..=SEEDS {
        let terms = classroom::terms(seed);
        let finding = check(id).probe.run(&target, &terms, &Recorder::new());
        played += 1;
        let by_dice = finding.evidence.sentence.starts_with("in conversation ");
        if finding.verdict == Verdict::Falls {
            falls += 1;
            evidence.push(format!("seed {seed}: {}", finding.evidence));
        }
        // The tables, and the conversations with a pause, are the same with every seed.
        if seed == 2 && falls == 2 && !by_dice && fault.is_some() {
            break;
        }
    }
    let mean = began.elapsed().as_secs_f32() / f32::from(played);
    let name = fault.unwrap_or("nothing wrong");
    println!("{id:8}  {name:32}  falls with {falls:2} of {played:2} seeds, {mean:4.1} s a pass");
    let right = if fault.is_some() { falls + 1 >= played } else { falls == 0 };
    (!right).then(|| format!("{id} with {name} fell with {falls} of {played} seeds\n{}", evidence.join("\n")))
}

#[test]
#[ignore = "plays for minutes"]
fn every_fault_is_found_and_no_model_answer_falls() {
    let folder = servers();
    let jobs: Vec<(&str, Option<&str>)> = FAULTS
        .iter()
        .flat_map(|&(id, faults)| {
            [None].into_iter().chain(faults.iter().copied().map(Some)).map(move |fault| (id, fault))
        })
        .collect();
    let surprises = side_by_side(&jobs, |&(id, fault)| examine(&folder, id, fault));
    let surprises: Vec<String> = surprises.into_iter().flatten().collect();
    assert!(surprises.is_empty(), "\n{}", surprises.join("\n\n"));
}
