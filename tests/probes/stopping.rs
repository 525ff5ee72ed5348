//! The probes of stopping on servers with one fault each, and on right ones that stop in unusual ways.

#![cfg(target_os = "linux")]

use std::process::Command;
use std::time::Duration;

use tcp_pitfalls::dialogue::{Answer, Dialogue, Exchange, Lines, Template};
use tcp_pitfalls::lab::server::{Launch, Target};
use tcp_pitfalls::probes::{self, Terms, Verdict};

use crate::common;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/stopping.py");

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

fn server(fault: &str) -> Target {
    // Many are started at the same time, and beside other tests.
    let start = Duration::from_secs(60);
    let command = ["python3", SERVER, "{addr}", fault].map(str::to_owned).to_vec();
    Target::Command(Launch { start, ..command.into() })
}

/// Whether there is what the servers are written in. Where there isn't, nothing is tested here.
fn python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: there is no python3");
    }
    found
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
    if !python() {
        return;
    }
    let targets: Vec<_> = FAULTS.iter().map(|&(fault, probe)| (probe, server(fault))).collect();
    common::expect(Verdict::Falls, &targets, &terms(true));
}

#[test]
fn a_server_without_a_fault_holds_with_last_words_or_without() {
    if !python() {
        return;
    }
    let of_chapter_6 = || probes::all().filter(|probe| probe.chapter == 6 && probe.name != "queued-requests");
    let targets: Vec<_> = ["none", "says-bye"]
        .into_iter()
        .flat_map(|fault| of_chapter_6().map(move |probe| (probe.name, server(fault))))
        .collect();
    common::expect(Verdict::Holds, &targets, &terms(true));
}

#[test]
fn a_flag_that_nobody_sees_is_one_fault() {
    if !python() {
        return;
    }
    common::expect(Verdict::Skipped, &[("closes-idle", server("flag-only"))], &terms(true));
}

#[test]
fn a_short_grace_that_counts_from_the_start_falls_without_being_told() {
    if !python() {
        return;
    }
    let terms = Terms { grace: Duration::from_secs(10), ..terms(true) };
    common::expect(Verdict::Falls, &[("finishes-line", server("grace-from-start"))], &terms);
}

#[test]
fn a_server_may_first_accept_whoever_comes_until_nobody_does() {
    if !python() {
        return;
    }
    let names = ["refuses-after-stop", "finishes-line", "stuck-client"];
    common::expect(Verdict::Holds, &names.map(|name| (name, server("accepts-until-it-is-quiet"))), &terms(true));
}

#[test]
fn a_server_may_go_on_listening_for_a_moment_when_it_has_ended_what_is_idle() {
    if !python() {
        return;
    }
    for (_, finding) in common::findings(&[("unread-answer-at-stop", server("refuses-late"))], &terms(true)) {
        assert_ne!(finding.verdict, Verdict::Falls, "{}", finding.evidence);
    }
}

#[test]
fn a_client_that_the_kernel_keeps_back_until_it_speaks_need_not_be_closed() {
    if !python() {
        return;
    }
    common::expect(Verdict::Holds, &[("closes-idle", server("accepts-who-speaks"))], &terms(true));
}

#[test]
fn a_server_that_lets_go_of_slow_clients_soon_is_not_accused_of_its_stop() {
    if !python() {
        return;
    }
    let names = ["closes-idle", "stuck-client", "finishes-line", "refuses-after-stop"];
    for (name, finding) in common::findings(&names.map(|name| (name, server("short-limit"))), &terms(true)) {
        assert_ne!(finding.verdict, Verdict::Falls, "{name}: {}", finding.evidence);
    }
}

#[test]
fn a_request_that_waits_in_the_accept_queue_is_not_being_worked_on() {
    if !python() {
        return;
    }
    for (name, finding) in common::findings(&[("finishes-answer", server("accepts-late"))], &terms(true)) {
        assert_ne!(finding.verdict, Verdict::Falls, "{name}: {}", finding.evidence);
    }
}

#[test]
fn an_answer_that_fits_the_clients_window_proves_nothing() {
    if !python() {
        return;
    }
    let exchange = Exchange {
        request: Template::around_number(b"m", b"\n"),
        answer: Answer::Bytes(Template::around_number(b"echo: m", b"\n")),
    };
    let dialogue = Dialogue { claimed: true, joined: true, ..Dialogue::of(exchange) };
    let terms = Terms { dialogue, grace: Duration::from_secs(2), ..Terms::default() };
    for (_, finding) in common::findings(&[("unread-answer-at-stop", server("none"))], &terms) {
        assert_eq!(finding.verdict, Verdict::Skipped, "{}", finding.evidence);
        assert!(finding.evidence.sentence.contains("a longer answer"), "{}", finding.evidence);
    }
}

#[test]
fn eight_slow_requests_are_given_the_time_they_take() {
    if !python() {
        return;
    }
    let server = |fault: &str| {
        Target::command(&["python3", SERVER, "{addr}", fault, "9"].map(str::to_owned)).expect("it has an {addr}")
    };
    let terms = Terms { grace: Duration::from_secs(9), ..terms(true) };
    common::expect(Verdict::Falls, &[("queued-requests", server("keeps-one-slow"))], &terms);
    common::expect(Verdict::Holds, &[("queued-requests", server("none"))], &terms);
    // One fault, one probe: finishes-answer falls there.
    common::expect(Verdict::Skipped, &[("queued-requests", server("slow-is-idle"))], &terms);
}

#[test]
fn an_end_by_the_very_signal_differs_if_a_client_was_let_finish() {
    if !python() {
        return;
    }
    common::expect(Verdict::Differs, &[("clean-exit", server("by-the-signal"))], &terms(true));
}

#[test]
fn what_the_signal_simply_kills_is_told_so_once() {
    if !python() {
        return;
    }
    let others = probes::all()
        .filter(|probe| probe.chapter == 6 && !["finishes-line", "half-close-while-working"].contains(&probe.name));
    let skipped: Vec<_> = others.map(|probe| (probe.name, server("no-handler"))).collect();
    common::expect(Verdict::Skipped, &skipped, &terms(false));
    common::expect(Verdict::Falls, &[("finishes-line", server("no-handler"))], &terms(false));
    // As process.exit(0) in a handler does.
    let names = ["refuses-after-stop", "unread-answer-at-stop", "closes-idle", "stuck-client"];
    common::expect(Verdict::Skipped, &names.map(|name| (name, server("dies-at-once"))), &terms(false));
    common::expect(Verdict::Falls, &[("finishes-line", server("dies-at-once"))], &terms(false));
    // As a JVM that nobody told otherwise.
    common::expect(Verdict::Skipped, &[("stuck-client", server("slow-to-die"))], &terms(false));
    // As Erlang does it: not killed, but what was begun is dropped all the same.
    let names = ["stuck-client", "refuses-after-stop"];
    common::expect(Verdict::Skipped, &names.map(|name| (name, server("slow-to-end"))), &terms(false));
    common::expect(Verdict::Falls, &[("finishes-line", server("slow-to-end"))], &terms(false));
}

#[test]
fn a_server_that_never_gets_the_signal_is_not_accused() {
    if !python() {
        return;
    }
    let command = ["sh", "-c", "trap '' TERM; exec python3 \"$0\" \"$@\"", SERVER, "{addr}", "no-handler"];
    let deaf = Target::command(&command.map(str::to_owned)).unwrap();
    let names =
        ["stops-when-quiet", "refuses-after-stop", "finishes-line", "closes-idle", "stuck-client", "clean-exit"];
    common::expect(Verdict::Skipped, &names.map(|name| (name, deaf.clone())), &terms(true));
}
