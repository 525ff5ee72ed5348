//! The Go servers of the chapters: what the probes say of them, and of the mistakes that they can be run with.

mod common;

use std::env;
use std::net::{Ipv6Addr, TcpListener};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tcp_pitfalls::go::{DIFFERENT, GoServers};
use tcp_pitfalls::probes::{Terms, Verdict};
use tcp_pitfalls::staircase::EXPECTED;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcp-pitfalls");

/// The steps, the mistakes they can be run with, and the probes that find each.
const PITFALLS: [(usize, &str, &[&str]); 13] = [
    (1, "every-interface", &["every-interface"]),
    (1, "port-taken", &["bare-port", "port-taken"]),
    (2, "next-client", &["next-client"]),
    (2, "reset-before-accept", &["reset-before-accept"]),
    (3, "idle-client", &["idle-client", "crowd"]),
    (3, "out-of-descriptors", &["out-of-descriptors"]),
    (4, "split-message", &["split-message", "joined-messages", "pipelined-lines"]),
    (4, "every-byte", &["every-byte"]),
    (5, "endless-line", &["endless-line"]),
    (5, "withheld-answer", &["withheld-answer"]),
    (5, "pipelined-lines", &["joined-messages", "pipelined-lines"]),
    (6, "finishes-line", &["refuses-after-stop", "finishes-line", "closes-idle", "stuck-client"]),
    (6, "stuck-client", &["refuses-after-stop", "finishes-line", "closes-idle", "stuck-client"]),
];

fn can_be_built() -> bool {
    let can = GoServers::can_be_built();
    if !can {
        println!("skipped: go is not installed");
    }
    can
}

#[test]
#[ignore = "starts hundreds of servers, for half a minute"]
fn they_are_judged_as_the_course_says() {
    if can_be_built() {
        let (code, out, err) = common::run(PROGRAM, &["--go", "--json"]);
        assert_eq!(code, Some(0), "{err}");
        let staircase: Value = serde_json::from_str(&out).expect("the output is JSON");
        // The program has compared each verdict with the expected one.
        assert_eq!(staircase["surprises"], serde_json::json!([]), "{err}");
        assert_eq!(staircase["probes"].as_array().map(Vec::len), Some(EXPECTED.len()));
    }
}

#[test]
#[ignore = "starts hundreds of servers, for half a minute"]
fn each_falls_on_its_pitfall() {
    if can_be_built() {
        let servers = GoServers::build().expect("they compile");
        let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        let targets: Vec<_> = PITFALLS
            .into_iter()
            // It is for IPv6 clients that this one does not listen.
            .filter(|(_, pitfall, _)| has_ipv6 || *pitfall != "every-interface")
            .flat_map(|(step, pitfall, probes)| probes.iter().map(move |&probe| (step, pitfall, probe)))
            .map(|(step, pitfall, probe)| (probe, servers.server(step, &["-pitfall", pitfall])))
            .collect();
        // Shorter than the full limit: what these owe will never come.
        let terms = Terms { limit: Duration::from_secs(2), grace: Duration::from_secs(1), ..Terms::default() };
        common::expect(Verdict::Falls, &targets, &terms);
    }
}

#[test]
#[ignore = "builds the Go servers, and waits for deadlines"]
fn the_one_with_deadlines_keeps_them() {
    if can_be_built() {
        let servers = GoServers::build().expect("they compile");
        let names =
            ["slow-reader", "slow-line", "idle-limit", "crowd", "split-message", "pipelined-lines", "half-close"];
        let flags = ["-line=2s", "-idle=2s", "-write=2s"];
        let targets = names.map(|name| (name, servers.with_deadlines(&flags)));
        let terms = Terms { deadline: Some(Duration::from_secs(2)), ..Terms::default() };
        common::expect(Verdict::Holds, &targets, &terms);
    }
}

#[test]
fn what_go_does_better_is_what_rust_falls_into() {
    for (probe, step, _) in DIFFERENT {
        let (_, rust) = EXPECTED.iter().copied().find(|(name, _)| *name == probe).expect("there is such a probe");
        assert_eq!(rust[step - 1], Verdict::Falls, "{probe} on step {step}");
    }
}

#[test]
fn without_go_it_says_so() {
    // Only what has a `go` in it: some systems look for libraries along the path as well.
    let path = env::var_os("PATH").unwrap_or_default();
    let go = format!("go{}", env::consts::EXE_SUFFIX);
    let without_go = env::join_paths(env::split_paths(&path).filter(|folder| !folder.join(&go).exists())).unwrap();
    let output = Command::new(PROGRAM).arg("--go").env("PATH", without_go).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: `go` is not installed"), "{said}");
}
