//! Chapter 2: one client after the other.

mod common;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use common::{Peer, Script, Server, Sink};
use tcp_pitfalls::chapter_02::server::{echo_reads, serve};

const PROGRAM: &str = env!("CARGO_BIN_EXE_02_accept_blocking");

#[test]
fn a_silent_client_holds_up_all_behind_it() {
    let server = Server::start(PROGRAM, &[]);
    let mut first = server.connect();
    first.ask("I am first");
    let mut second = server.connect();
    second.send("me too\n");
    // Not the time but the order shows it: client 2 has asked, and three answers to client 1 come before its own.
    for _ in 0..3 {
        first.ask("still here");
    }
    assert!(second.has_nothing());
    drop(first);
    assert_eq!(second.line(), "echo: me too");
}

#[test]
fn a_read_timeout_bounds_how_long() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || serve(&listener, Some(Duration::from_millis(50))));
    let mut silent = Peer::connect(addr);
    let mut next = Peer::connect(addr);
    next.ask("my turn");
    silent.expect_end();
}

#[test]
fn clients_that_reset_do_not_end_the_loop() {
    let server = Server::start(PROGRAM, &[]);
    let mut first = server.connect();
    first.ask("one");
    for _ in 0..3 {
        let hasty = server.connect();
        socket2::SockRef::from(&hasty.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    drop(first);
    server.connect().ask("two");
}

#[test]
fn a_client_can_write_and_leave_before_it_is_accepted() {
    let server = Server::start(PROGRAM, &[]);
    let mut first = server.connect();
    first.ask("one");
    let mut gone = server.connect();
    gone.send("nobody reads the answer\n");
    drop(gone);
    drop(first);
    server.connect().ask("two");
}

#[test]
fn each_read_is_answered_until_the_end() {
    let mut sink = Sink::default();
    echo_reads(Script::in_pieces(b"one\ntwo\n", 4), &mut sink).unwrap();
    assert_eq!(String::from_utf8_lossy(&sink.bytes), "echo: one\necho: two\n");
}

#[test]
fn a_reset_is_an_error_and_not_the_end() {
    let mut sink = Sink::default();
    let error = echo_reads(Script::reset_after(b"one\n"), &mut sink).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(sink.bytes, b"echo: one\n");
}

#[test]
fn a_timeout_of_zero_is_refused() {
    let (code, _, err) = common::run(PROGRAM, &["serve", "--read-timeout=0"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("--read-timeout"), "{err}");
}
