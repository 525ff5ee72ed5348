//! Chapter 3: a thread for each connection, and what bounds them.

mod common;

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use common::{Peer, Server};
use tcp_pitfalls::chapter_02::server::echo_reads;
use tcp_pitfalls::chapter_03::backoff::Backoff;
use tcp_pitfalls::chapter_03::permits::Permits;
use tcp_pitfalls::chapter_03::server::{Options, serve};
#[cfg(target_os = "linux")]
use tcp_pitfalls::lab::wait::wait_until;

const PROGRAM: &str = env!("CARGO_BIN_EXE_03_thread_per_conn");

/// Serves in this process with at most `max_connections` at once.
fn start(max_connections: usize, handle: fn(&TcpStream) -> io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || serve(&listener, &Options { max_connections, stack_size: 128 * 1024 }, handle));
    addr
}

fn echo(stream: &TcpStream) -> io::Result<()> {
    echo_reads(stream, stream)
}

fn fail(_: &TcpStream) -> io::Result<()> {
    Err(io::Error::other("as the test wants it"))
}

fn panic_at_once(stream: &TcpStream) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    assert_ne!(line, "panic\n", "as the test asked for");
    echo(stream)
}

#[test]
fn nobody_waits_for_a_silent_client() {
    let server = Server::start(PROGRAM, &[]);
    let silent = server.connect();
    server.connect().ask("hello");
    assert!(silent.has_nothing(), "the silent client is still connected");
}

#[test]
fn a_client_over_the_limit_waits_in_the_queue() {
    let addr = start(2, echo);
    let (mut first, mut second) = (Peer::connect(addr), Peer::connect(addr));
    first.ask("one");
    second.ask("two");
    let mut third = Peer::connect(addr);
    third.send("three\n");
    for _ in 0..3 {
        first.ask("still here");
    }
    assert!(third.has_nothing());
    drop(second);
    assert_eq!(third.line(), "echo: three");
}

#[test]
fn a_panic_ends_its_connection_alone_and_gives_the_permit_back() {
    let addr = start(2, panic_at_once);
    let mut calm = Peer::connect(addr);
    calm.send("calm\n");
    // The only other permit: if a panic kept it, the second of these would never be served.
    for _ in 0..3 {
        let mut panicking = Peer::connect(addr);
        panicking.send("panic\n");
        panicking.expect_end();
    }
    calm.ask("still here");
}

#[test]
fn an_error_gives_the_permit_back() {
    let addr = start(1, fail);
    // The second would wait for ever for the only permit.
    for _ in 0..3 {
        Peer::connect(addr).expect_end();
    }
}

#[test]
fn a_permit_is_given_back_when_it_is_dropped() {
    let permits = Permits::new(1);
    let first = permits.acquire();
    let (sender, taken) = mpsc::channel();
    let second = thread::spawn(move || {
        permits.acquire();
        sender.send(()).unwrap();
    });
    assert!(taken.try_recv().is_err(), "there is only one permit");
    drop(first);
    taken.recv_timeout(common::LIMIT).expect("the permit has been given back");
    second.join().unwrap();
}

#[test]
fn pauses_grow_up_to_a_second_and_begin_anew() {
    let (mut backoff, error) = (Backoff::default(), io::Error::other("no descriptor is left"));
    let pauses: Vec<u128> = (0..10).map(|_| backoff.after(&error).as_millis()).collect();
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    backoff.reset();
    assert_eq!(backoff.after(&error).as_millis(), 5);
}

#[test]
#[cfg(target_os = "linux")]
fn a_client_that_could_be_taken_ends_the_pauses() {
    let server = Server::start_short_of(PROGRAM, &[], Some(16));
    let begun = |times: usize| {
        let said = || (server.output().matches("pausing for 5ms").count() >= times).then_some(());
        wait_until(common::LIMIT, said).expect("it says that it pauses");
    };
    for times in 1..=2 {
        let clients: Vec<Peer> = (0..20).map(|_| server.connect()).collect();
        begun(times);
        drop(clients);
        server.connect().ask("is there room again?");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn threads_that_have_ended_leave_no_memory_mapped() {
    let server = Server::start(PROGRAM, &[]);
    let mappings = || std::fs::read_to_string(format!("/proc/{}/maps", server.id())).unwrap().lines().count();
    let serve = |clients: usize| (0..clients).for_each(|_| server.connect().ask("hello"));
    serve(100);
    let before = mappings();
    serve(100);
    // A thread that nobody has joined or let go of keeps at least its stack and the page that guards it.
    wait_until(common::LIMIT, || (mappings() < before + 100).then_some(())).expect("their stacks are unmapped");
}

#[test]
fn without_a_thread_to_be_had_the_server_goes_on() {
    // No system has a stack of this size to give.
    let mut server = Server::start(PROGRAM, &["--stack-size=140737488355328"]);
    for _ in 0..3 {
        server.connect().expect_end();
    }
    server.kill();
    let (_, said) = server.wait();
    // The last may not have been written when the server was killed.
    assert!(said.matches("cannot take a client, pausing for").count() >= 2, "{said}");
}

#[test]
#[cfg(target_os = "linux")]
fn threads_are_named_after_their_client() {
    let server = Server::start(PROGRAM, &[]);
    let mut client = server.connect();
    client.ask("who serves me?");
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
    let names: Vec<String> =
        tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap()).collect();
    let client = client.stream.local_addr().unwrap().to_string();
    // The kernel keeps 15 bytes.
    assert!(names.iter().any(|name| client.starts_with(name.trim_end()) && name.len() > 9), "{client}: {names:?}");
}
