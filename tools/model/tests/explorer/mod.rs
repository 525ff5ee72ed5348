//! Playing a scenario in every order.

#![allow(dead_code)]

use std::env;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use loom::model::Builder;

/// Plays it in all orders that differ, until one of them panics or ends in a deadlock.
pub(crate) fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    explore_with(&Builder::new(), scenario);
}

/// Plays it in all orders in which threads are interrupted at most three times, for scenarios that have too many
/// others. `LOOM_MAX_PREEMPTIONS` sets another number.
pub(crate) fn explore_likely(scenario: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(3);
    explore_with(&builder, scenario);
}

fn explore_with(builder: &Builder, scenario: impl Fn() + Send + Sync + 'static) {
    let orders = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&orders);
    builder.check(move || {
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
