//! Chapter 6: stopping.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use clap::Parser;
use common::{LIMIT, Peer};
use tcp_pitfalls::chapter_06::connections::{Connections, Stopped};
use tcp_pitfalls::chapter_06::server::{Options, Server};
use tcp_pitfalls::chapter_06::stop::{Stop, UntilStop};
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
    let server = Arc::new(Server::new(&options).unwrap());
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
fn a_full_server_stops_as_well() {
    let Started { server, addr, serving } = start(&["--max-connections=1"]);
    let mut only = Peer::connect(addr);
    only.ask("hello");
    server.stop();
    only.expect_end();
    serving.join().unwrap();
}

#[test]
fn a_client_over_the_limit_waits_until_a_place_is_free() {
    let Started { addr, .. } = start(&["--max-connections=1"]);
    let mut first = Peer::connect(addr);
    first.ask("one");
    let mut second = Peer::connect(addr);
    second.send("two\n");
    for _ in 0..3 {
        first.ask("still here");
    }
    assert!(second.has_nothing());
    drop(first);
    assert_eq!(second.line(), "echo: two");
}

#[test]
fn a_stop_lets_in_the_queue_though_every_place_is_taken() {
    let Started { server, addr, serving } = start(&["--max-connections=1"]);
    let mut only = Peer::connect(addr);
    only.send("whole\nhal");
    assert_eq!(only.line(), "echo: whole");
    let mut queued = Peer::connect(addr);
    queued.send("me too\n");
    server.stop();
    assert_eq!(queued.line(), "echo: me too");
    queued.expect_end();
    only.send("f\n");
    assert_eq!(only.line(), "echo: half");
    only.expect_end();
    drop((only, queued));
    assert_eq!(serving.join().unwrap(), Stopped { finished: 2, cut: 0 });
}

#[test]
fn a_client_that_never_pauses_is_ended_between_two_lines() {
    let Started { server, addr, serving } = start(&["--grace=60"]);
    let client = Peer::connect(addr);
    let mut writer = client.stream.try_clone().unwrap();
    let reading = thread::spawn(move || {
        let mut answers = Vec::new();
        // It may end with a reset: the client goes on sending for longer than the server waits.
        let _ = (&client.stream).read_to_end(&mut answers);
        answers
    });
    let (sender, some_sent) = mpsc::channel();
    let writing = thread::spawn(move || {
        while writer.write_all(&b"again and again\n".repeat(100)).is_ok() {
            let _ = sender.send(());
        }
    });
    for _ in 0..100 {
        some_sent.recv_timeout(LIMIT).expect("the client can send");
    }
    server.stop();
    assert_eq!(serving.join().unwrap(), Stopped { finished: 1, cut: 0 });
    writing.join().unwrap();
    let answers = reading.join().unwrap();
    let whole = answers.chunks_exact(22).filter(|answer| *answer == b"echo: again and again\n").count();
    assert!(whole > 0 && whole * 22 == answers.len(), "{whole} whole answers in {} bytes", answers.len());
}

#[test]
#[cfg(target_os = "linux")]
fn an_answer_that_is_not_read_yet_survives_a_line_after_the_stop() {
    use tcp_pitfalls::lab::kernel::unread;

    const LINE: usize = 30_000;
    for _ in 0..5 {
        let Started { server, addr, serving } = start(&[]);
        let mut client = Peer::connect(addr);
        client.send([&vec![b'x'; LINE][..], b"\n"].concat());
        let arrived = || unread(client.stream.local_addr().ok()?, addr).filter(|&count| count > LINE);
        wait_until(LIMIT, arrived).expect("the whole answer waits at the client");
        server.stop();
        wait_until_refused(addr);
        client.send("one more\n");
        assert_eq!(client.line().len(), "echo: ".len() + LINE);
        // Who was faster, this line or the news of the stop, is chance. That the answer is whole is not.
        assert!(["", "echo: one more\n"].contains(&&*client.rest()));
        drop(client);
        assert_eq!(serving.join().unwrap().cut, 0);
    }
}

#[test]
fn a_refused_line_is_told_in_a_way_that_can_be_read() {
    let Started { addr, .. } = start(&["--limit=10"]);
    let mut client = Peer::connect(addr);
    // More than the server will ever read as a line: to close with the rest unread would destroy the answer.
    client.send(vec![b'x'; 256 * 1024]);
    assert_eq!(client.line(), "error: line too long (limit 10 bytes)");
    client.expect_end();
}

/// A connection, and a stop.
fn client_and_stop() -> (Peer, TcpStream, Stop) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Peer::connect(listener.local_addr().unwrap());
    (client, listener.accept().unwrap().0, Stop::new().unwrap())
}

/// What one read gives.
fn read(mut reader: impl Read) -> Vec<u8> {
    let mut buffer = [0; 1024];
    let count = reader.read(&mut buffer).unwrap();
    buffer[..count].to_vec()
}

#[test]
fn a_stop_begins_once_and_everybody_learns_of_it() {
    let (mut client, stream, stop) = client_and_stop();
    client.send("hello\n");
    let ready = stop.wait(&stream).unwrap();
    assert!(ready.input && !ready.stop);
    read(&stream);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| stop.wait(&stream).unwrap())).collect();
        assert!(stop.begin());
        for thread in waiting {
            let ready = thread.join().unwrap();
            assert!(ready.stop && !ready.input);
        }
    });
    assert!(!stop.begin());
    assert!(stop.wait(&stream).unwrap().stop, "the news stays");
}

#[test]
fn a_stop_between_two_lines_is_the_end() {
    let (_client, stream, stop) = client_and_stop();
    stop.begin();
    assert_eq!(read(UntilStop::new(&stream, &stop)), b"");
}

#[test]
fn what_has_arrived_is_read_and_the_line_that_has_begun_to_its_end() {
    let (mut client, stream, stop) = client_and_stop();
    let mut reader = UntilStop::new(&stream, &stop);
    client.send("one\ntw");
    // Peeked at before the stop, so that they have arrived.
    wait_until(LIMIT, || (stream.peek(&mut [0; 6]).unwrap() == 6).then_some(())).expect("six bytes arrive");
    stop.begin();
    assert_eq!(read(&mut reader), b"one\ntw");
    client.send("o\ntoo late\n");
    assert_eq!(read(&mut reader), b"o\n");
    assert_eq!(read(&mut reader), b"");
}

#[test]
fn a_client_that_ends_in_mid_line_ends_the_wait_for_the_rest() {
    let (mut client, stream, stop) = client_and_stop();
    let mut reader = UntilStop::new(&stream, &stop);
    client.send("hal");
    assert_eq!(read(&mut reader), b"hal");
    stop.begin();
    drop(client);
    assert_eq!(read(&mut reader), b"");
}

#[test]
fn a_connection_is_counted_before_its_thread_starts() {
    let (mut client, stream, _) = client_and_stop();
    let connections = Connections::new(10);
    let seated = connections.enter(stream);
    connections.close();
    assert_eq!(connections.wait_until(Instant::now()), 0, "it is open, though it has no thread yet");
    drop(seated);
    assert_eq!(connections.wait_until(Instant::now() + LIMIT), 1);
    client.expect_end();
}

#[test]
fn a_panic_gives_the_seat_back() {
    let (mut client, stream, _) = client_and_stop();
    let connections = Connections::new(1);
    let seated = connections.enter(stream);
    let panicked = thread::spawn(move || {
        let _seated = seated;
        panic!("as the test wants it");
    });
    assert!(panicked.join().is_err());
    client.expect_end();
    connections.wait_for_room();
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

    #[cfg(target_os = "linux")]
    use tcp_pitfalls::lab::wait::wait_until;

    use super::wait_until_refused;
    #[cfg(target_os = "linux")]
    use crate::common::LIMIT;
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
        tcp_pitfalls::chapter_01::listen::listen(&server.addr.to_string()).unwrap();
    }

    /// Halts the server, so that what comes next finds it as it is: bytes stay in the kernel, clients in the queue.
    #[cfg(target_os = "linux")]
    fn halt(server: &Server) {
        server.signal(Signal::STOP);
        let halted =
            || std::fs::read_to_string(format!("/proc/{}/stat", server.id())).ok()?.contains(") T ").then_some(());
        wait_until(LIMIT, halted).expect("the process halts");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn half_lines_that_the_kernel_holds_at_the_signal_may_finish() {
        let mut server = Server::start(PROGRAM, &["--grace=30"]);
        let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.ask("hello");
        }
        halt(&server);
        for client in &mut clients {
            client.send("whole\nhal");
        }
        server.signal(Signal::TERM);
        server.signal(Signal::CONT);
        for client in &mut clients {
            assert_eq!(client.line(), "echo: whole");
        }
        for client in &mut clients {
            client.send("f\n");
            assert_eq!(client.line(), "echo: half");
            client.expect_end();
        }
        drop(clients);
        let (status, said) = server.wait();
        assert!(status.success(), "{status}");
        assert!(said.contains("stopped: 50 connections finished, 0 cut"), "{said}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn clients_in_the_queue_at_the_signal_are_served() {
        let mut server = Server::start(PROGRAM, &[]);
        halt(&server);
        let mut clients: Vec<_> = (0..5).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send("I was told that I am connected\n");
        }
        server.signal(Signal::TERM);
        server.signal(Signal::CONT);
        for client in &mut clients {
            assert_eq!(client.line(), "echo: I was told that I am connected");
            client.expect_end();
        }
        assert!(server.wait().0.success());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn it_stops_with_hardly_a_descriptor_left() {
        // About eight are left for clients. One more, one less: each leaves accept in another state.
        let start = |clients| {
            let server = Server::start_short_of(PROGRAM, &["--grace=1"], Some(16));
            let clients: Vec<_> = (0..clients).map(|_| server.connect()).collect();
            (server, clients)
        };
        let mut started: Vec<_> = (6..=13).map(start).collect();
        for (server, clients) in &mut started {
            for client in clients {
                client.send("whole\nhal");
            }
            server.signal(Signal::TERM);
        }
        for (server, clients) in &mut started {
            let (status, said) = server.wait();
            assert!(status.success(), "with {} clients: {status}: {said}", clients.len());
            // More clients than descriptors: it doesn't try again at once, and again.
            assert!(clients.len() < 13 || said.contains("cannot take a client, pausing for"), "{said}");
        }
    }

    /// The book's chapter 6 tells of this one.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_log_that_nobody_reads_holds_no_client_and_a_second_signal_ends_it() {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};

        use crate::common::Peer;

        let mut command = Command::new(PROGRAM);
        command.args(["serve", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        // A line of log for each, and a pipe holds 64 KiB (pipe(7)).
        for _ in 0..1_500 {
            Peer::connect(addr).send("half a line");
        }
        Peer::connect(addr).ask("who is served?");
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, Signal::TERM).unwrap();
        wait_until_refused(addr);
        rustix::process::kill_process(id, Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn descriptors_are_back_where_they_were() {
        use tcp_pitfalls::lab::kernel::descriptors;

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
        let back = wait_until(LIMIT, || (descriptors(server.id())? == with_one).then_some(()));
        back.expect("50 clients leave no descriptor behind");
    }
}
