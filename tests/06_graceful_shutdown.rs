//! Chapter 6: stopping.

mod common;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use clap::Parser;
use common::{LIMIT, Peer};
use tcp_pitfalls::chapter_06::connections::Connections;
use tcp_pitfalls::chapter_06::server::{Options, Server, Stopped};
use tcp_pitfalls::chapter_06::waker::Waker;
use tcp_pitfalls::lab::wait::wait_until;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

/// The step's server in this process.
struct Started {
    server: Arc<Server>,
    addr: SocketAddr,
    serving: JoinHandle<Stopped>,
}

fn start(arguments: &[&str]) -> Started {
    let options = Arguments::parse_from(["server"].iter().chain(arguments)).options;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = Arc::new(Server::new(&listener, &options).unwrap());
    let serving = thread::spawn({
        let server = Arc::clone(&server);
        move || server.serve(listener).unwrap()
    });
    Started { server, addr, serving }
}

#[track_caller]
fn wait_until_refused(addr: SocketAddr) {
    wait_until(LIMIT, || TcpStream::connect_timeout(&addr, LIMIT).is_err().then_some(())).expect("clients are refused");
}

#[test]
fn idle_connections_are_closed_at_once() {
    let Started { server, addr, serving } = start(&[]);
    let mut idle = Peer::connect(addr);
    idle.ask("hello");
    assert!(server.stop());
    idle.expect_end();
    // On Windows it is this that wakes the connection's thread.
    drop(idle);
    assert_eq!(serving.join().unwrap(), Stopped { finished: 1, cut: 0 });
}

#[test]
fn a_line_in_progress_may_finish() {
    let Started { server, addr, serving } = start(&[]);
    let mut client = Peer::connect(addr);
    client.send("whole\nhal");
    assert_eq!(client.line(), "echo: whole");
    server.stop();
    wait_until_refused(addr);
    client.send("f\n");
    assert_eq!(client.line(), "echo: half");
    client.expect_end();
    assert_eq!(serving.join().unwrap().cut, 0);
}

#[test]
fn what_is_left_after_the_grace_time_is_cut_and_counted() {
    let Started { server, addr, serving } = start(&["--grace=0"]);
    let mut client = Peer::connect(addr);
    client.send("whole\nhal");
    assert_eq!(client.line(), "echo: whole");
    server.stop();
    assert_eq!(serving.join().unwrap(), Stopped { finished: 0, cut: 1 });
    client.expect_end();
}

#[test]
fn clients_in_the_queue_are_served() {
    let Started { server, addr, serving } = start(&["--max-connections=1"]);
    let mut first = Peer::connect(addr);
    first.ask("hello");
    let mut queued = Peer::connect(addr);
    queued.send("I was told that I am connected\n");
    server.stop();
    first.expect_end();
    drop(first);
    assert_eq!(queued.line(), "echo: I was told that I am connected");
    queued.expect_end();
    assert_eq!(serving.join().unwrap().cut, 0);
}

#[test]
fn a_stop_begins_once() {
    let Started { server, serving, .. } = start(&[]);
    assert!(server.stop());
    assert!(!server.stop());
    assert_eq!(serving.join().unwrap(), Stopped { finished: 0, cut: 0 });
}

#[test]
fn a_full_server_stops_as_well() {
    let Started { server, addr, serving } = start(&["--max-connections=1"]);
    let mut only = Peer::connect(addr);
    only.ask("hello");
    server.stop();
    only.expect_end();
    serving.join().unwrap();
}

#[test]
fn a_waker_wakes_accept_and_is_known_for_it() {
    for addr in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        let Ok(listener) = TcpListener::bind(addr) else {
            println!("not tried: this machine has no {addr}");
            continue;
        };
        let waker = Waker::new(listener.local_addr().unwrap());
        waker.wake();
        let (_, peer) = listener.accept().unwrap();
        assert!(waker.is(peer), "{addr}: {peer}");
        let client = TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port()));
        if client.is_ok() {
            let (_, peer) = listener.accept().unwrap();
            assert!(!waker.is(peer), "{addr}: {peer} is a client");
        }
    }
}

#[test]
fn a_connection_is_counted_before_its_thread_starts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Peer::connect(listener.local_addr().unwrap());
    let connections = Connections::new(10);
    let seat = connections.enter(listener.accept().unwrap().0);
    connections.stop();
    assert_eq!(connections.wait_until(Instant::now()), 0, "it is open, though it has no thread yet");
    drop(seat);
    assert_eq!(connections.wait_until(Instant::now() + LIMIT), 1);
    client.expect_end();
}

#[test]
fn a_panic_gives_the_seat_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Peer::connect(listener.local_addr().unwrap());
    let connections = Connections::new(1);
    let seat = connections.enter(listener.accept().unwrap().0);
    let panicked = thread::spawn(move || {
        let _seat = seat;
        panic!("as the test wants it");
    });
    assert!(panicked.join().is_err());
    client.expect_end();
    assert!(connections.wait_for_room());
}

#[test]
fn the_grace_time_is_five_seconds_unless_told_otherwise() {
    assert_eq!(Arguments::parse_from(["server"]).options.grace, 5);
    assert!(Arguments::try_parse_from(["server", "--grace=soon"]).is_err());
}

/// Signals are the whole process's, so these run in child processes.
#[cfg(unix)]
mod signals {
    use rustix::process::Signal;

    use super::wait_until_refused;
    use crate::common::Server;

    const PROGRAM: &str = env!("CARGO_BIN_EXE_06_graceful_shutdown");

    #[test]
    fn each_of_them_stops_the_server_with_status_0() {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let mut server = Server::start(PROGRAM, &[]);
            let mut idle = server.connect();
            idle.ask("hello");
            server.signal(signal);
            idle.expect_end();
            let (status, said) = server.wait();
            assert!(status.success(), "{signal:?}: {status}");
            assert!(said.contains("stopped: 1 connection finished, 0 cut"), "{said}");
        }
    }

    #[test]
    fn a_second_signal_ends_it_at_once_with_a_failure() {
        let mut server = Server::start(PROGRAM, &["--grace=3600"]);
        let mut client = server.connect();
        client.send("whole\nhal");
        assert_eq!(client.line(), "echo: whole");
        server.signal(Signal::TERM);
        wait_until_refused(server.addr);
        server.signal(Signal::TERM);
        let (status, said) = server.wait();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(!said.contains("stopped"), "it ended in the middle of its stop: {said}");
    }

    #[test]
    fn the_port_can_be_used_again_at_once() {
        let mut server = Server::start(PROGRAM, &[]);
        server.connect().ask("hello");
        let idle = server.connect();
        server.signal(Signal::TERM);
        server.wait();
        drop(idle);
        tcp_pitfalls::chapter_01::server::listen(&server.addr.to_string()).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn descriptors_are_back_where_they_were() {
        use tcp_pitfalls::lab::kernel::descriptors;
        use tcp_pitfalls::lab::wait::wait_until;

        let server = Server::start(PROGRAM, &[]);
        // Connected all the time, so that the number with one client is known for sure.
        let mut staying = server.connect();
        staying.ask("hello");
        let with_one = descriptors(server.id()).unwrap();
        let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.ask("hello");
        }
        assert_eq!(descriptors(server.id()).unwrap(), with_one + 50);
        drop(clients);
        let back = wait_until(super::LIMIT, || (descriptors(server.id())? == with_one).then_some(()));
        back.expect("50 clients leave no descriptor behind");
    }
}
