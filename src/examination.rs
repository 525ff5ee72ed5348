//! Many probes on one server or on several, some at the same time.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::lab::client::Client;
use crate::lab::process;
use crate::lab::recording::{Recorder, Recording};
use crate::lab::server::Target;
use crate::lab::{lack, lock};
use crate::probes::{Finding, Probe, Terms};

/// One probe to run on one server.
pub struct Job<'a> {
    /// The probe.
    pub probe: &'static Probe,
    /// The server.
    pub target: &'a Target,
    /// What was agreed with it.
    pub terms: &'a Terms,
}

impl Job<'_> {
    fn run(&self) -> (Finding, Recorder) {
        let recorder = Recorder::new();
        (self.probe.run(self.target, self.terms, &recorder), recorder)
    }
}

/// Runs all jobs, `at_once` side by side, and those that must be alone at the end. Calls `done` after each.
///
/// The findings come in the order of the jobs.
pub fn run(jobs: &[Job<'_>], at_once: usize, done: impl Fn() + Sync) -> Vec<Finding> {
    run_keeping(jobs, at_once, done, |finding, _| finding, Finding::skipped)
}

/// Does the same, and keeps what was written down of each.
pub fn run_recorded(jobs: &[Job<'_>], at_once: usize, done: impl Fn() + Sync) -> Vec<(Finding, Recording)> {
    let keep = |finding, recorder: &Recorder| (finding, recorder.recording());
    run_keeping(jobs, at_once, done, keep, |why| (Finding::skipped(why), Recording::default()))
}

fn run_keeping<K: Send>(
    jobs: &[Job<'_>],
    at_once: usize,
    done: impl Fn() + Sync,
    keep: impl Fn(Finding, &Recorder) -> K + Sync,
    skipped: impl Fn(&'static str) -> K,
) -> Vec<K> {
    process::raise_descriptor_limit();
    let kept: Vec<Mutex<Option<K>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let run = |index: usize| {
        let (finding, recorder) = jobs[index].run();
        *lock(&kept[index]) = Some(keep(finding, &recorder));
        done();
    };
    let (alone, together): (Vec<usize>, Vec<usize>) = (0..jobs.len()).partition(|&index| jobs[index].probe.runs_alone);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&index) = together.get(next.fetch_add(1, SeqCst)) {
            run(index);
        }
    };
    thread::scope(|scope| {
        for _ in 1..at_once {
            drop(lack::spawn_scoped(scope, work));
        }
        // One works here, even if this machine has no other thread to give.
        work();
    });
    alone.into_iter().for_each(run);
    let taken = |cell: Mutex<Option<K>>| cell.into_inner().ok().flatten();
    kept.into_iter().map(|cell| taken(cell).unwrap_or_else(|| skipped("it was not run"))).collect()
}

/// Runs probes one after the other on a server that is running already and is not started anew for each.
///
/// When one of them has ended it, that is not held against the others.
pub fn run_in_turn(addr: SocketAddr, probes: &[&'static Probe], terms: &Terms, done: impl Fn()) -> Vec<Finding> {
    let target = Target::Address(addr);
    let mut gone_since = None;
    let mut findings = Vec::new();
    for &probe in probes {
        let finding = match gone_since {
            Some(name) => Finding::skipped(format!("nobody listens on {addr} any more since the probe {name}")),
            None => Job { probe, target: &target, terms }.run().0,
        };
        findings.push(finding);
        let still_there = || Client::connect(addr, "client", &Recorder::new(), Duration::from_secs(2)).is_ok();
        if gone_since.is_none() && !still_there() {
            gone_since = Some(probe.name);
        }
        done();
    }
    findings
}
