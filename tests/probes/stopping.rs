//! The probes of stopping on servers with one fault each, and on right ones that stop in unusual ways.

#![cfg(target_os = "linux")]

use std::time::Duration;

use tcp_pitfalls::dialogue::{Answer, Dialogue, Exchange, Lines, Template};
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::probes::{self, Terms, Verdict};

use crate::common;

/// The fault of a server, and a probe that falls because of it.
const FAULTS: &[(&str, &str)] = &[
    ("flag-only", "stops-when-quiet"),
    ("accepts-on", "refuses-after-stop"),
    ("queue-reset", "serves-queue"),
    ("no-drain", "unread-answer-at-stop"),
    ("forgets-unsent", "unread-answer-at-stop"),
    ("no-handler", "finishes-line"),
    ("half-in-kernel", "finishes-line"),
    ("grace-from-start", "finishes-line"),
    ("slow-is-idle", "finishes-answer"),
    ("end-drops-slow", "half-close-while-working"),
    ("never-spoken-kept", "closes-idle"),
    ("whole-grace", "stuck-client"),
    ("drains-after-the-grace", "stuck-client"),
    ("slow-to-die", "stuck-client"),
    ("status-3", "clean-exit"),
];

fn server(fault: &str) -> Option<Target> {
    common::python("stopping.py", &["{addr}", fault])
}

/// Probes, each on a server with this fault. None where there is no Python.
fn servers<'a>(faults: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, Target)> {
    faults.into_iter().filter_map(|(probe, fault)| Some((probe, server(fault)?))).collect()
}

/// Lines, of which some take their time.
fn terms(claimed: bool) -> Terms {
    let slow = Exchange {
        request: Template::around_number(b"slow", b"\n"),
        answer: Answer::Bytes(Template::around_number(b"echo: slow", b"\n")),
    };
    let dialogue = Dialogue { claimed, slow: Some(slow), ..Dialogue::lines(Lines::of_the_course()) };
    Terms { dialogue, grace: Duration::from_secs(2), ..Terms::default() }
}

#[test]
fn each_fault_falls() {
    let targets = servers(FAULTS.iter().map(|&(fault, probe)| (probe, fault)));
    common::expect(Verdict::Falls, &targets, &terms(true));
}

#[test]
fn a_server_without_a_fault_holds_with_last_words_or_without() {
    let of_chapter_6 = || probes::all().filter(|probe| probe.chapter == 6 && probe.name != "queued-requests");
    let each = |fault| of_chapter_6().map(move |probe| (probe.name, fault));
    common::expect(
        Verdict::Holds,
        &servers(["none", "says-bye", "tells-everybody"].into_iter().flat_map(each)),
        &terms(true),
    );
}

#[test]
fn a_flag_that_nobody_sees_is_one_fault() {
    common::expect(Verdict::Skipped, &servers([("closes-idle", "flag-only")]), &terms(true));
}

#[test]
fn a_short_grace_that_counts_from_the_start_falls_without_being_told() {
    let terms = Terms { grace: Duration::from_secs(10), ..terms(true) };
    common::expect(Verdict::Falls, &servers([("finishes-line", "grace-from-start")]), &terms);
}

#[test]
fn a_server_may_first_accept_whoever_comes_until_nobody_does() {
    let names = ["refuses-after-stop", "finishes-line", "stuck-client"];
    common::expect(Verdict::Holds, &servers(names.map(|name| (name, "accepts-until-it-is-quiet"))), &terms(true));
}

#[test]
fn a_server_may_go_on_listening_for_a_moment_when_it_has_ended_what_is_idle() {
    common::expect_no_fall(&servers([("unread-answer-at-stop", "refuses-late")]), &terms(true));
}

#[test]
fn a_client_that_the_kernel_keeps_back_until_it_speaks_need_not_be_closed() {
    common::expect(Verdict::Holds, &servers([("closes-idle", "accepts-who-speaks")]), &terms(true));
}

#[test]
fn a_server_that_lets_go_of_slow_clients_soon_is_not_accused_of_its_stop() {
    let names = ["closes-idle", "stuck-client", "finishes-line", "refuses-after-stop"];
    common::expect_no_fall(&servers(names.map(|name| (name, "short-limit"))), &terms(true));
}

#[test]
fn a_request_that_waits_in_the_accept_queue_is_not_being_worked_on() {
    common::expect_no_fall(&servers([("finishes-answer", "accepts-late")]), &terms(true));
}

#[test]
fn an_answer_that_fits_the_clients_window_proves_nothing() {
    let exchange = Exchange {
        request: Template::around_number(b"m", b"\n"),
        answer: Answer::Bytes(Template::around_number(b"echo: m", b"\n")),
    };
    let dialogue = Dialogue { claimed: true, joined: true, ..Dialogue::of(exchange) };
    let terms = Terms { dialogue, grace: Duration::from_secs(2), ..Terms::default() };
    for (_, finding) in common::findings(&servers([("unread-answer-at-stop", "none")]), &terms) {
        assert_eq!(finding.verdict, Verdict::Skipped, "{}", finding.evidence);
        assert!(finding.evidence.sentence.contains("a longer answer"), "{}", finding.evidence);
    }
}

#[test]
fn eight_slow_requests_are_given_the_time_they_take() {
    let queued = |fault| {
        let server = common::python("stopping.py", &["{addr}", fault, "9"]);
        server.map(|server| ("queued-requests", server)).into_iter().collect::<Vec<_>>()
    };
    let terms = Terms { grace: Duration::from_secs(9), ..terms(true) };
    common::expect(Verdict::Falls, &queued("keeps-one-slow"), &terms);
    common::expect(Verdict::Holds, &queued("none"), &terms);
    // One fault, one probe: finishes-answer falls there.
    common::expect_no_fall(&queued("slow-is-idle"), &terms);
}

#[test]
fn an_end_by_the_very_signal_differs_if_a_client_was_let_finish() {
    common::expect(Verdict::Differs, &servers([("clean-exit", "by-the-signal")]), &terms(true));
}

#[test]
fn what_the_signal_simply_kills_is_told_so_once() {
    let others = probes::all()
        .filter(|probe| probe.chapter == 6 && !["finishes-line", "half-close-while-working"].contains(&probe.name));
    common::expect(Verdict::Skipped, &servers(others.map(|probe| (probe.name, "no-handler"))), &terms(false));
    common::expect(Verdict::Falls, &servers([("finishes-line", "no-handler")]), &terms(false));
    // As process.exit(0) in a handler does.
    let names = ["refuses-after-stop", "unread-answer-at-stop", "closes-idle", "stuck-client"];
    common::expect(Verdict::Skipped, &servers(names.map(|name| (name, "dies-at-once"))), &terms(false));
    common::expect(Verdict::Falls, &servers([("finishes-line", "dies-at-once")]), &terms(false));
    // As a JVM that nobody told otherwise.
    common::expect(Verdict::Skipped, &servers([("stuck-client", "slow-to-die")]), &terms(false));
    // As Erlang does it: not killed, but what was begun is dropped all the same.
    let names = ["stuck-client", "refuses-after-stop"];
    common::expect(Verdict::Skipped, &servers(names.map(|name| (name, "slow-to-end"))), &terms(false));
    common::expect(Verdict::Falls, &servers([("finishes-line", "slow-to-end")]), &terms(false));
}

#[test]
fn a_server_that_never_gets_the_signal_is_not_accused() {
    let Some(Target::Command(mut deaf)) = server("no-handler") else { return };
    deaf.command.splice(..0, ["sh", "-c", "trap '' TERM; exec \"$0\" \"$@\""].map(str::to_owned));
    let deaf = Target::Command(deaf);
    let names =
        ["stops-when-quiet", "refuses-after-stop", "finishes-line", "closes-idle", "stuck-client", "clean-exit"];
    common::expect(Verdict::Skipped, &names.map(|name| (name, deaf.clone())), &terms(true));
}
