//! Chapter 9: tasks instead of threads.
#![cfg(feature = "async")]

mod common;

use std::time::Duration;

use common::{LIMIT, Peer, Server};
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::lab::wait::wait_until;
use tcp_pitfalls::probes::{Terms, Verdict};

const PROGRAM: &str = env!("CARGO_BIN_EXE_09_async");

#[test]
fn nobody_waits_for_silent_clients() {
    let server = Server::start(PROGRAM, &[]);
    let silent: Vec<Peer> = (0..100).map(|_| server.connect()).collect();
    server.connect().ask("hello");
    assert!(silent.iter().all(Peer::has_nothing));
}

#[test]
fn more_clients_may_be_allowed_than_threads_could_serve() {
    Server::start(PROGRAM, &["--max-connections=50000"]).connect().ask("hello");
}

#[test]
fn a_client_over_the_limit_waits_in_the_queue() {
    let server = Server::start(PROGRAM, &["--max-connections=1"]);
    let mut first = server.connect();
    first.ask("one");
    let mut second = server.connect();
    second.send("two\n");
    for _ in 0..3 {
        first.ask("still here");
    }
    assert!(second.has_nothing());
    drop(first);
    assert_eq!(second.line(), "echo: two");
}

#[test]
fn a_refused_line_is_told_in_a_way_that_can_be_read() {
    let server = Server::start(PROGRAM, &["--limit=10"]);
    let mut client = server.connect();
    client.send(vec![b'x'; 256 * 1024]);
    assert_eq!(client.line(), "error: line too long (limit 10 bytes)");
    client.expect_end();
}

#[test]
fn the_client_can_read_that_it_was_too_slow() {
    let server = Server::start(PROGRAM, &["--line-time=1"]);
    let mut client = server.connect();
    client.send("whole\nhal");
    assert_eq!(client.line(), "echo: whole");
    assert_eq!(client.line(), "error: too slow (limit 1 s)");
    client.expect_end();
}

#[cfg(unix)]
mod signals {
    use rustix::process::Signal;

    use super::*;

    #[test]
    fn a_line_in_progress_may_finish_and_the_idle_are_ended() {
        let mut server = Server::start(PROGRAM, &["--grace=60"]);
        let [mut client, mut idle] = [server.connect(), server.connect()];
        idle.ask("hello");
        client.send("whole\nhal");
        assert_eq!(client.line(), "echo: whole");
        server.signal(Signal::TERM);
        idle.expect_end();
        client.send("f\n");
        assert_eq!(client.line(), "echo: half");
        client.expect_end();
        drop((client, idle));
        let (status, said) = server.wait();
        assert!(status.success(), "{status}: {said}");
        assert!(said.contains("stopped: 2 connections finished, 0 cut"), "{said}");
    }

    #[test]
    fn what_is_left_after_the_grace_time_is_cut_and_counted() {
        let mut server = Server::start(PROGRAM, &["--grace=0"]);
        let mut client = server.connect();
        client.send("whole\nhal");
        assert_eq!(client.line(), "echo: whole");
        server.signal(Signal::TERM);
        client.expect_end();
        let (status, said) = server.wait();
        assert!(status.success(), "{status}: {said}");
        assert!(said.contains("stopped: 0 connections finished, 1 cut"), "{said}");
    }

    #[test]
    fn a_second_signal_ends_it_at_once_with_a_failure() {
        let mut server = Server::start(PROGRAM, &["--grace=3600"]);
        let [mut client, mut idle] = [server.connect(), server.connect()];
        client.send("whole\nhal");
        assert_eq!(client.line(), "echo: whole");
        idle.ask("hello");
        server.signal(Signal::TERM);
        idle.expect_end();
        server.signal(Signal::TERM);
        assert_eq!(server.wait().0.code(), Some(1));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_pause_of_the_accept_loop_hears_of_the_stop() {
        let mut server = Server::start_short_of(PROGRAM, &[], Some(16));
        let clients: Vec<Peer> = (0..20).map(|_| server.connect()).collect();
        let pausing = || server.output().contains("pausing for").then_some(());
        wait_until(LIMIT, pausing).expect("it says that it pauses");
        server.signal(Signal::TERM);
        assert!(server.wait().0.success());
        drop(clients);
    }
}

#[test]
fn pitfalls_spring() {
    let pitfall = |name: &str| {
        let arguments = [PROGRAM, "serve", "{addr}", &format!("--pitfall={name}")].map(str::to_owned);
        Target::Command(arguments.to_vec().into())
    };
    let terms = Terms { limit: Duration::from_secs(2), grace: Duration::from_secs(1), ..Terms::default() };
    let names = ["split-message", "idle-client", "finishes-line", "out-of-descriptors", "deaf-client"];
    common::expect(Verdict::Falls, &names.map(|name| (name, pitfall(name))), &terms);
}
