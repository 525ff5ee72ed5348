//! What holds for any stream, tried with random ones. A failure prints a seed: `arbtest(property).seed(…)` plays it
//! again, and with `.minimize()` looks for a smaller one.

mod streams;

use std::time::Duration;

use arbtest::arbtest;

/// Spends a moment on random streams, short ones first.
fn holds(property: fn(&mut arbitrary::Unstructured<'_>) -> arbitrary::Result<()>) {
    arbtest(property).size_max(1024).budget(Duration::from_millis(600)).run();
}

#[test]
fn a_line_reader_finds_what_is_there() {
    holds(streams::line_reader_agrees);
}

#[test]
fn a_frame_reader_finds_what_is_there_and_leaves_the_rest() {
    holds(streams::read_frame_agrees);
}

#[test]
fn step_4_answers_what_is_asked() {
    holds(streams::echo_of_step_4_agrees);
}

#[test]
fn step_5_answers_what_is_asked_before_it_waits() {
    holds(streams::echo_of_step_5_agrees);
}
