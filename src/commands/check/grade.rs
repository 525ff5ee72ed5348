//! Examining the servers of exercises.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use anyhow::Result;

use super::launch::Launch;
use tcp_pitfalls::classroom::{self, Check, Exercise};
use tcp_pitfalls::examination::{self, Job};
use tcp_pitfalls::lab::recording::{Recorder, Recording};
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::probes::{Finding, Verdict};
use tcp_pitfalls::show::screen;

/// How many checks run side by side. Most of them wait most of the time.
const AT_ONCE: usize = 8;

/// The server of one exercise.
pub(super) struct Server {
    pub(super) exercise: &'static Exercise,
    /// The command that starts it, if it isn't the exercise's Rust file.
    pub(super) launch: Option<Launch>,
    /// How it is started, or why it can't be.
    pub(super) target: Result<Target>,
}

/// What was found out about one exercise.
pub(super) struct Graded {
    /// The exercise.
    pub(super) exercise: &'static Exercise,
    /// The command that started its server, if it isn't the exercise's Rust file.
    pub(super) launch: Option<Launch>,
    /// Why no check could be run, if so: it does not compile, or nobody could connect. Every check falls then.
    pub(super) problem: Option<String>,
    /// Each of its checks.
    pub(super) checks: Vec<Checked>,
}

/// What was found out by one check.
pub(super) struct Checked {
    pub(super) check: &'static Check,
    pub(super) finding: Finding,
    pub(super) recording: Recording,
}

impl Checked {
    /// The points it earns: none if it falls or could not be run.
    pub(super) fn points(&self) -> u32 {
        if matches!(self.finding.verdict, Verdict::Falls | Verdict::Skipped) { 0 } else { self.check.points }
    }
}

impl Graded {
    fn hopeless(exercise: &'static Exercise, launch: Option<Launch>, problem: String) -> Self {
        let falls = |check| Checked { check, finding: Finding::falls(&*problem), recording: Recording::default() };
        let checks = exercise.checks.iter().map(falls).collect();
        Graded { exercise, launch, problem: Some(problem), checks }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|checked| checked.finding.verdict == verdict).count()
    }

    pub(super) fn holds(&self) -> usize {
        self.count(Verdict::Holds)
    }

    pub(super) fn falls(&self) -> usize {
        self.count(Verdict::Falls)
    }

    pub(super) fn skipped(&self) -> usize {
        self.count(Verdict::Skipped)
    }

    /// Whether there is nothing left to mend. What this system can't examine is not held against the student.
    pub(super) fn is_done(&self) -> bool {
        self.problem.is_none() && self.falls() == 0 && self.holds() > 0
    }

    pub(super) fn points(&self) -> u32 {
        self.checks.iter().map(Checked::points).sum()
    }

    pub(super) fn of(&self) -> u32 {
        of(self.exercise)
    }

    /// The command that starts the server.
    pub(super) fn command(&self) -> String {
        let rust = || format!("cargo run --package exercises --bin exercise_{} -- {{addr}}", self.exercise.id);
        self.launch.as_ref().map_or_else(rust, Launch::line)
    }

    /// What the server is written in.
    pub(super) fn language(&self) -> &'static str {
        self.launch.as_ref().map_or("Rust", |launch| launch.language().unwrap_or("unknown"))
    }
}

/// What all checks of an exercise count together.
pub(super) fn of(exercise: &Exercise) -> u32 {
    exercise.checks.iter().map(|check| check.points).sum()
}

/// Runs every check of each exercise on its server, or says in each why there is none.
///
/// Without a seed, the random conversations are others each time.
pub(super) fn grade(servers: Vec<Server>, seed: Option<u64>) -> Vec<Graded> {
    // Few digits, to be typed.
    let random = || RandomState::new().build_hasher().finish() % 10_000;
    let terms = classroom::terms(seed.unwrap_or_else(random));
    // A server that never listens is said to do so once, and not by each check after 10 s.
    let reached = servers.into_iter().map(|server| {
        let target = server.target.and_then(|target| reach(&target).map(|()| target));
        Server { target, ..server }
    });
    let reached: Vec<Server> = reached.collect();
    let mut jobs = Vec::new();
    for Server { exercise, target, .. } in &reached {
        if let Ok(target) = target {
            jobs.extend(exercise.checks.iter().map(|check| Job { probe: &check.probe, target, terms: &terms }));
        }
    }
    let bar = screen::progress(jobs.len(), "checking");
    let mut found = examination::run_recorded(&jobs, AT_ONCE, || bar.inc(1)).into_iter();
    bar.finish_and_clear();
    drop(jobs);
    let graded = |Server { exercise, launch, target }| {
        if let Err(problem) = target {
            return Graded::hopeless(exercise, launch, format!("{problem:#}"));
        }
        let checked = exercise.checks.iter().zip(&mut found);
        let checks = checked.map(|(check, (finding, recording))| Checked { check, finding, recording }).collect();
        Graded { exercise, launch, problem: None, checks }
    };
    reached.into_iter().map(graded).collect()
}

/// Starts the server, and connects once.
fn reach(target: &Target) -> Result<()> {
    let mut server = target.start(&Recorder::new(), None)?;
    server.connect("a client").map(drop)
}
