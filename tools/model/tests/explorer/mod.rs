//! Playing a scenario in every order.

#![allow(dead_code)]

use std::env;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

/// Plays it in all orders that differ, until one of them panics or ends in a deadlock.
pub(crate) fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    explore_within(None, scenario);
}

/// Plays it in all orders in which at most so many threads are interrupted before they have to wait: few are enough for
/// most mistakes.
pub(crate) fn explore_within(interruptions: Option<usize>, scenario: impl Fn() + Send + Sync + 'static) {
    let orders = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&orders);
    let mut explorer = loom::model::Builder::new();
    explorer.preemption_bound = interruptions.or(explorer.preemption_bound);
    explorer.check(move || {
        counted.fetch_add(1, Relaxed);
        scenario();
    });
    println!("{}: {} orders", thread::current().name().unwrap_or("main"), orders.load(Relaxed));
}

/// Runs a test of this program that must fail, and looks for the reason.
#[track_caller]
pub(crate) fn finds(test: &str, finding: &str) {
    let output = Command::new(env::current_exe().unwrap()).args(["--exact", test, "--ignored", "--nocapture"]).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{test} finds nothing");
    assert!(said.contains(finding), "{test} finds something else: {said}");
}
