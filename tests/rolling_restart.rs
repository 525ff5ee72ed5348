//! A new process takes over while the old one drains, and no client loses an answer: the listener is handed on.
//!
//! Both processes have the same listening socket, so there is one queue. A client in it is served by whichever accepts
//! next. With a socket for each process (SO_REUSEPORT) there are two queues, and closing one resets whoever comes
//! between its last accept and its end.
#![cfg(unix)]

mod common;

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use clap::Parser;
use common::LIMIT;
use rustix::process::{Pid, Signal, kill_process};
use tcp_pitfalls::chapter_06::server::{Options, Server};
use tcp_pitfalls::lab::wait::wait_until;

/// Tells this program to be the server, with the listener as its standard input.
const SERVE: &str = "TCP_PITFALLS_SERVE_STANDARD_INPUT";

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

/// Not a test: the server of the other. Without the variable it does nothing.
#[test]
fn server() {
    if env::var_os(SERVE).is_none() {
        return;
    }
    // ANCHOR: inherit
    let listener = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    let server = Arc::new(Server::new(&Arguments::parse_from(["server"]).options).unwrap());
    let on_signal = Arc::clone(&server);
    ctrlc::set_handler(move || _ = on_signal.stop()).unwrap();
    println!("\nserving");
    server.serve(listener).unwrap();
    // ANCHOR_END: inherit
}

/// Starts a server with this listener, and waits until it can be told to stop.
fn start(listener: &TcpListener) -> Child {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "server", "--nocapture"])
        .env(SERVE, "yes")
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.find(|line| line.as_ref().is_ok_and(|line| line == "serving")).expect("the server starts").unwrap();
    // What else it prints goes nowhere, and must not stop it.
    thread::spawn(move || lines.for_each(drop));
    child
}

fn stop(mut child: Child) {
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = wait_until(LIMIT, || child.try_wait().unwrap()).expect("the server stops");
    assert!(status.success(), "{status}");
}

/// Asks one line, on connections of its own, until it is answered. A server may close a connection before it has read
/// anything from it; to reset it or to answer half is a loss.
fn ask(addr: SocketAddr, line: &str, reconnects: &AtomicUsize) {
    loop {
        let mut stream = TcpStream::connect_timeout(&addr, LIMIT).expect("somebody listens all the time");
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(format!("{line}\n").as_bytes()).expect("the connection isn't reset");
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer).expect("the connection isn't reset");
        if answer == format!("echo: {line}\n") {
            return;
        }
        assert_eq!(answer, "", "an answer is whole or not given");
        reconnects.fetch_add(1, SeqCst);
    }
}

#[test]
fn no_answer_is_lost_when_the_listener_is_handed_on() {
    const CLIENTS: usize = 8;
    const RESTARTS: usize = 5;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (done, asked, reconnects) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut serving = start(&listener);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (done, asked, reconnects) = (&done, &asked, &reconnects);
            scope.spawn(move || {
                for number in 0.. {
                    if done.load(SeqCst) {
                        break;
                    }
                    ask(addr, &format!("client {client}, line {number}"), reconnects);
                    asked.fetch_add(1, SeqCst);
                }
            });
        }
        for _ in 0..RESTARTS {
            // Some have been served by the one that goes, and some are by the one that comes.
            let so_far = asked.load(SeqCst);
            wait_until(LIMIT, || (asked.load(SeqCst) > so_far + 50).then_some(())).expect("clients are served");
            let next = start(&listener);
            stop(std::mem::replace(&mut serving, next));
        }
        done.store(true, SeqCst);
    });
    stop(serving);
    println!("{} lines answered, {} after another connection", asked.load(SeqCst), reconnects.load(SeqCst));
}

/// Why the listener is handed on: with a socket for each process, half of those who wait are lost with the one that goes.
#[cfg(target_os = "linux")]
#[test]
fn closing_one_of_two_listeners_resets_its_queue() {
    use std::io::Read;
    use std::time::{Duration, Instant};

    use socket2::{Domain, Socket, Type};

    const CLIENTS: usize = 64;

    let migrates = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req");
    if migrates.is_ok_and(|setting| setting.trim() != "0") {
        println!("not tried: net.ipv4.tcp_migrate_req is on, and a closed listener's clients go to another");
        return;
    }
    let listen = |addr: SocketAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&addr.into()).unwrap();
        socket.listen(128).unwrap();
        TcpListener::from(socket)
    };
    // ANCHOR: two_queues
    let old = listen(SocketAddr::from(([127, 0, 0, 1], 0)));
    let addr = old.local_addr().unwrap();
    let new = listen(addr);
    // The kernel has told all of them that they are connected, and half of them wait at the socket that will close.
    let mut clients: Vec<TcpStream> =
        (0..CLIENTS).map(|_| TcpStream::connect_timeout(&addr, LIMIT).expect("somebody listens")).collect();
    drop(old);
    // ANCHOR_END: two_queues

    new.set_nonblocking(true).unwrap();
    let mut served = 0;
    while let Ok((stream, _)) = new.accept() {
        (&stream).write_all(b"!").unwrap();
        served += 1;
    }
    let end = Instant::now() + LIMIT;
    let is_reset = |client: &mut TcpStream| {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        client.set_read_timeout(Some(left)).unwrap();
        client.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    };
    let reset = clients.iter_mut().map(is_reset).filter(|&reset| reset).count();
    println!("{reset} of {CLIENTS} clients were reset");
    assert_eq!(reset + served, CLIENTS);
    assert!(reset > 0, "the kernel gave none to the socket that closed");
}
