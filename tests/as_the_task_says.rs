//! The check `as-the-task-says` finds servers with one fault against their task, whatever the seed, and none without.

mod common;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

use tcp_pitfalls::classroom::{self, Exercise};
use tcp_pitfalls::lab::process;
use tcp_pitfalls::lab::recording::Recorder;
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::probes::Verdict;

/// With how many seeds each server is examined.
const SEEDS: u64 = 10;

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
fn examine(folder: &Path, exercise: &Exercise, fault: Option<&str>) -> Option<String> {
    let id = exercise.id;
    let check = exercise.checks.iter().find(|check| check.name == "as-the-task-says").expect("every exercise has it");
    let kind = if fault.is_some() { "wrong" } else { "solution" };
    let program = folder.join(format!("{kind}_{id}")).with_extension(env::consts::EXE_EXTENSION);
    let command = [program.to_str()?].into_iter().chain(fault.into_iter().flat_map(|fault| ["--fault", fault]));
    let target = Target::Command(command.chain(["{addr}"]).map(str::to_owned).collect::<Vec<_>>().into());
    let (mut falls, mut played, mut evidence) = (0_u8, 0_u8, Vec::new());
    let began = Instant::now();
    for seed in 1..=SEEDS {
        let terms = classroom::terms(seed);
        let finding = check.probe().run(&target, &terms, &Recorder::new());
        // A machine too busy to judge it has told nothing.
        if matches!(finding.verdict, Verdict::Note | Verdict::Skipped) {
            continue;
        }
        played += 1;
        let by_dice = finding.evidence.sentence.starts_with("in conversation ");
        if finding.verdict == Verdict::Falls {
            falls += 1;
            evidence.push(format!("seed {seed}: {}", finding.evidence));
        }
        // The tables, and the conversations with a pause, are the same with every seed.
        if falls == played && !by_dice && fault.is_some() {
            break;
        }
    }
    let mean = began.elapsed().as_secs_f32() / f32::from(played.max(1));
    let name = fault.unwrap_or("nothing wrong");
    println!("{id:8}  {name:32}  falls with {falls:2} of {played:2} seeds, {mean:4.1} s a pass");
    let right = if fault.is_some() { falls > 0 && falls + 1 >= played } else { played > 0 && falls == 0 };
    (!right).then(|| format!("{id} with {name} fell with {falls} of {played} seeds\n{}", evidence.join("\n")))
}

#[test]
#[ignore = "plays for minutes"]
fn every_fault_is_found_and_no_model_answer_falls() {
    let folder = servers();
    let mut jobs: Vec<(&Exercise, Option<String>)> = classroom::ALL
        .iter()
        .flat_map(|exercise| {
            let faults = common::faults(exercise).into_iter();
            let faults = faults.filter(|(_, finder)| finder == "as-the-task-says").map(|(fault, _)| Some(fault));
            [None].into_iter().chain(faults).map(move |fault| (exercise, fault))
        })
        .collect();
    // The model answers take all the seeds, and begin first.
    jobs.sort_by_key(|(_, fault)| fault.is_some());
    let surprises = side_by_side(&jobs, |(exercise, fault)| examine(&folder, exercise, fault.as_deref()));
    let surprises: Vec<String> = surprises.into_iter().flatten().collect();
    assert!(surprises.is_empty(), "\n{}", surprises.join("\n\n"));
}
