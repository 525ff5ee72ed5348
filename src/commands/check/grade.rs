//! Examining the servers of exercises.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::launch::Launch;
use tcp_pitfalls::classroom::{self, Check, Exercise};
use tcp_pitfalls::examination::{self, Hurry, Job};
use tcp_pitfalls::lab::recording::{Recorder, Recording};
use tcp_pitfalls::lab::server::{LIMIT, Target};
use tcp_pitfalls::lab::{kernel, load, random};
use tcp_pitfalls::probes::{Finding, Needs, Probe, Terms, Verdict};
use tcp_pitfalls::show::screen;

/// How many checks run side by side. Most of them wait most of the time.
const AT_ONCE: usize = 8;

/// How long all checks of one exercise may take together for a student, if the server hangs. A right one needs half of it.
const TOGETHER: Duration = Duration::from_secs(14);

/// How long they may take if it doesn't. On a machine that had ten times as much to do as it could, a right server needed
/// 40 s.
const AT_MOST: Duration = Duration::from_secs(50);

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
    /// The points it earns: none if it falls or was not judged.
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

    /// How many of its checks came to this verdict.
    pub(super) fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|checked| checked.finding.verdict == verdict).count()
    }

    /// Whether there is nothing left to mend. What this system can't examine is not held against the student.
    pub(super) fn is_done(&self) -> bool {
        self.count(Verdict::Falls) == 0 && self.count(Verdict::Holds) > 0 && !self.is_unfinished()
    }

    /// Whether something was not examined that can be the next time, such as for want of time.
    pub(super) fn is_unfinished(&self) -> bool {
        self.checks.iter().any(|checked| checked.finding.evidence.own_lack)
    }

    pub(super) fn points(&self) -> u32 {
        self.checks.iter().map(Checked::points).sum()
    }

    /// What the checks count together that were judged.
    pub(super) fn of(&self) -> u32 {
        of(self.exercise) - self.not_judged()
    }

    /// What those count that were skipped. It is held against nobody.
    pub(super) fn not_judged(&self) -> u32 {
        let skipped = self.checks.iter().filter(|checked| checked.finding.verdict == Verdict::Skipped);
        skipped.map(|checked| checked.check.points).sum()
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

/// Runs every check of each exercise on its server, one exercise after the other, or says in each why there is none.
///
/// Without a seed, the random conversations are others each time. A student who waits is in a hurry; grading never is.
pub(super) fn grade(servers: Vec<Server>, seed: Option<u64>, in_a_hurry: bool) -> Vec<Graded> {
    // Few digits, to be typed.
    let random = || random::seed() % 10_000;
    let terms = classroom::terms(seed.unwrap_or_else(random));
    let bar = screen::progress(servers.iter().map(|server| server.exercise.checks.len()).sum(), "checking");
    let graded = |Server { exercise, launch, target }: Server| {
        let began = Instant::now();
        // A server that never listens is said to do so once, and not by each check after 10 s.
        let reached = target.and_then(|mut target| {
            // A machine that has a hundred other things to do takes most of a minute to start a program.
            if let Target::Command(launch) = &mut target {
                launch.start *= if load::overload().is_some() { 3 } else { 1 };
            }
            let took = reach(exercise, &target)?;
            Ok((target, took))
        });
        let (mut target, took) = match reached {
            Ok(reached) => reached,
            Err(problem) => return Graded::hopeless(exercise, launch, format!("{problem:#}")),
        };
        // It listens, and if it is late from now on, that is because so many are started side by side.
        if let Target::Command(launch) = &mut target {
            launch.start *= 2;
        }
        // Where a program takes long to start, everything does. But one that is slow by itself may hang as well.
        let terms = Terms { limit: terms.limit.max(3 * took).min(LIMIT), ..terms.clone() };
        // The last check takes the longest, so it comes first.
        let checks = exercise.checks.iter().rev();
        let probes: Vec<Probe> = checks.clone().map(Check::probe).collect();
        let jobs: Vec<Job<'_>> = probes.iter().map(|probe| Job { probe, target: &target, terms: &terms }).collect();
        let hurry = in_a_hurry.then(|| Hurry { enough: began + TOGETHER, last: began + AT_MOST });
        let found = examination::run_recorded(&jobs, AT_ONCE, hurry, || bar.inc(1));
        let checked = checks.zip(found).map(|(check, (finding, recording))| Checked { check, finding, recording });
        let mut checks: Vec<Checked> = checked.collect();
        checks.reverse();
        Graded { exercise, launch, problem: None, checks }
    };
    let graded = servers.into_iter().map(graded).collect();
    bar.finish_and_clear();
    graded
}

/// Starts the server, and connects once. Gives how long that took.
fn reach(exercise: &Exercise, target: &Target) -> Result<Duration> {
    let began = Instant::now();
    let mut server = target.start(&Recorder::new(), None)?;
    let client = server.connect("a client")?;
    let took = began.elapsed();
    let gets_signals = exercise.checks.iter().any(|check| check.needs == Needs::Signals);
    // The student can change that, so it is none of the things that can't be judged.
    if gets_signals && server.id().and_then(|id| kernel::listens(id, server.addr())) == Some(false) {
        bail!(
            "the program that listens is not the one that was started, which gets the signals: start it without a \
             wrapper, or let that exec it"
        );
    }
    client.leave();
    Ok(took)
}
