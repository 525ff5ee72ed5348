//! Every probe, on a server that falls and on one that holds. (The staircase has more of both.)

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use tcp_pitfalls::lab::recording::Recorder;
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::probes::{self, Finding, Needs, Terms, Verdict};
use tcp_pitfalls::{chapter_04, chapter_05};

const STEP_6: &str = env!("CARGO_BIN_EXE_06_graceful_shutdown");

/// For each probe, the chapter's program and the pitfall that it falls into.
const PITFALLS: &[(&str, &str, &str)] = &[
    ("bare-port", env!("CARGO_BIN_EXE_01_listen"), "every-interface"),
    ("every-interface", env!("CARGO_BIN_EXE_01_listen"), "every-interface"),
    ("port-taken", env!("CARGO_BIN_EXE_01_listen"), "every-interface"),
    ("restart", env!("CARGO_BIN_EXE_01_listen"), "restart"),
    ("next-client", env!("CARGO_BIN_EXE_02_accept_blocking"), "next-client"),
    ("reset-before-accept", env!("CARGO_BIN_EXE_02_accept_blocking"), "reset-before-accept"),
    ("idle-client", env!("CARGO_BIN_EXE_03_thread_per_conn"), "idle-client"),
    ("crowd", env!("CARGO_BIN_EXE_03_thread_per_conn"), "idle-client"),
    ("out-of-descriptors", env!("CARGO_BIN_EXE_03_thread_per_conn"), "out-of-descriptors"),
    ("no-leak", env!("CARGO_BIN_EXE_03_thread_per_conn"), "no-leak"),
    ("split-message", env!("CARGO_BIN_EXE_04_partial_read_write"), "split-message"),
    ("joined-messages", env!("CARGO_BIN_EXE_04_partial_read_write"), "split-message"),
    ("every-byte", env!("CARGO_BIN_EXE_04_partial_read_write"), "every-byte"),
    ("half-close", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "half-close"),
    ("prompt-answer", env!("CARGO_BIN_EXE_04_partial_read_write"), "prompt-answer"),
    ("endless-line", env!("CARGO_BIN_EXE_05_bufread_lines"), "endless-line"),
    ("crlf", env!("CARGO_BIN_EXE_04_partial_read_write"), "prompt-answer"),
    ("not-utf8", env!("CARGO_BIN_EXE_05_bufread_lines"), "not-utf8"),
    ("withheld-answer", env!("CARGO_BIN_EXE_05_bufread_lines"), "withheld-answer"),
    ("pipelined-lines", env!("CARGO_BIN_EXE_05_bufread_lines"), "pipelined-lines"),
    ("refuses-after-stop", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "refuses-after-stop"),
    ("finishes-line", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "finishes-line"),
    ("closes-idle", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "stuck-client"),
    ("stuck-client", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "stuck-client"),
    ("clean-exit", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "finishes-line"),
];

fn command(program: &str, option: &str) -> Target {
    Target::Command([program, "serve", "{addr}", option].map(str::to_owned).to_vec().into())
}

#[test]
fn each_falls_on_its_pitfall() {
    // Windows gives out a port in TIME_WAIT without being asked to.
    let pitfalls = PITFALLS.iter().copied().filter(|(name, ..)| !cfg!(windows) || *name != "restart");
    let target = |pitfall, program| command(program, &format!("--pitfall={pitfall}"));
    let targets: Vec<_> = pitfalls.map(|(name, program, pitfall)| (name, target(pitfall, program))).collect();
    // Shorter than the full limit: what these owe will never come.
    let terms = Terms { limit: Duration::from_secs(2), grace: Duration::from_secs(1), ..Terms::default() };
    common::expect(Verdict::Falls, &targets, &terms);
}

#[test]
fn each_holds_on_the_last_step() {
    let targets: Vec<_> = PITFALLS.iter().map(|(name, ..)| (*name, command(STEP_6, "--grace=2"))).collect();
    common::expect(Verdict::Holds, &targets, &Terms { grace: Duration::from_secs(2), ..Terms::default() });
}

#[test]
fn each_probe_has_both_and_a_text_for_people() {
    let tried: BTreeSet<&str> = PITFALLS.iter().copied().map(|(name, ..)| name).collect();
    let all: BTreeSet<&str> = probes::all().map(|probe| probe.name).collect();
    assert_eq!(tried, all);
    for probe in probes::all() {
        for text in [probe.does, probe.remedy.unwrap()] {
            assert!(text.len() > 20 && !text.ends_with('.'), "{}: {text}", probe.name);
        }
    }
}

/// Runs a probe on a server of this process.
fn in_process(name: &str, target: &Target) -> Finding {
    probes::find(name).unwrap().run(target, &Terms::default(), &Recorder::new())
}

#[test]
fn a_server_without_a_command_is_not_accused_of_what_needs_one() {
    let target = Target::in_process(|connection| chapter_04::server::echo_lines(connection.stream, connection.stream));
    for probe in probes::all() {
        if matches!(probe.needs, Needs::Command | Needs::CommandOnLinux | Needs::Signals) {
            assert_eq!(in_process(probe.name, &target).verdict, Verdict::Skipped, "{}", probe.name);
        }
    }
}

#[test]
fn a_line_that_is_refused_with_a_text_is_no_pitfall() {
    let refuses = |mut stream: &TcpStream| -> std::io::Result<()> {
        let mut line = Vec::new();
        let mut reader = BufReader::new(stream);
        while reader.read_until(b'\n', &mut line)? > 0 {
            match std::str::from_utf8(&line) {
                Ok(text) => stream.write_all(format!("echo: {text}").as_bytes())?,
                Err(_) => stream.write_all(b"error: not UTF-8\n")?,
            }
            line.clear();
        }
        Ok(())
    };
    let target = Target::in_process(move |connection| refuses(connection.stream));
    let finding = in_process("not-utf8", &target);
    assert_eq!(finding.verdict, Verdict::Holds, "{}", finding.evidence);
}

#[test]
fn a_line_that_is_too_long_may_be_answered_by_the_end_alone() {
    let target = Target::in_process(|connection| {
        let served = chapter_05::buf_stream::echo_lines(connection.stream, 1024);
        chapter_04::close::close(connection.stream);
        served
    });
    let finding = in_process("endless-line", &target);
    assert_eq!(finding.verdict, Verdict::Holds, "{}", finding.evidence);
}

#[test]
fn a_silent_client_that_is_dropped_was_not_served_beside() {
    // One thread, and a short read timeout: client 2 is answered, but only since client 1 is cut off.
    let target = command(env!("CARGO_BIN_EXE_02_accept_blocking"), "--read-timeout=1");
    let finding = in_process("idle-client", &target);
    assert_eq!(finding.verdict, Verdict::Falls, "{}", finding.evidence);
}
