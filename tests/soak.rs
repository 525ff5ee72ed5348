//! Staying power: the servers of steps 6 and 8 under a mix of hostile clients, beside well-behaved ones who must get every byte.
//!
//! Not part of `cargo test`, for it takes its time: 30 s, or as many as `SOAK_SECONDS` says, for both at the same time.
//!
//! ```sh
//! cargo test --release --test soak -- --ignored --nocapture
//! ```
#![cfg(target_os = "linux")]

mod common;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use common::{LIMIT, Server};
use rustix::process::Signal;
use tcp_pitfalls::lab::kernel::descriptors;
use tcp_pitfalls::lab::wait::wait_until;

const GOOD: usize = 32;
const HOSTILE: usize = 200;

/// The lines of one batch are sent with one write, small enough to arrive together.
const BATCH: usize = 50;

/// What the process has at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holdings {
    descriptors: usize,
    threads: usize,
}

fn holdings(server: &Server) -> Holdings {
    let threads = fs::read_dir(format!("/proc/{}/task", server.id())).map_or(0, Iterator::count);
    Holdings { descriptors: descriptors(server.id()).unwrap_or(0), threads }
}

/// Resident memory, in KiB.
fn resident(server: &Server) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What all clients share.
struct Field {
    addr: SocketAddr,
    over: AtomicBool,
    stopping: AtomicBool,
    answered: AtomicUsize,
    hostile: AtomicUsize,
}

impl Field {
    fn connect(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.addr, LIMIT).ok()?;
        stream.set_read_timeout(Some(LIMIT)).ok()?;
        stream.set_write_timeout(Some(LIMIT)).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(stream)
    }

    /// Asks batch after batch on one connection and checks every answer. Ends when the field is over, or when the server
    /// has closed between two batches: within a batch it owes every answer.
    fn behave(&self, client: usize) {
        let Some(stream) = self.connect() else {
            assert!(self.stopping.load(SeqCst), "client {client} wasn't let in");
            return;
        };
        let mut answers = BufReader::new(&stream);
        for round in 0.. {
            if self.over.load(SeqCst) {
                return;
            }
            let line = |number: usize| format!("client {client}, round {round}, line {number}\n");
            let batch: String = (0..BATCH).map(line).collect();
            if let Err(error) = (&stream).write_all(batch.as_bytes()) {
                assert!(self.stopping.load(SeqCst), "client {client} lost its connection: {error}");
                return;
            }
            for number in 0..BATCH {
                let mut answer = String::new();
                let read = answers.read_line(&mut answer);
                if number == 0 && matches!(read, Ok(0) | Err(_)) {
                    // The server is stopping, and this batch came too late for it.
                    assert!(self.stopping.load(SeqCst), "client {client} lost its connection: {read:?}");
                    return;
                }
                assert_eq!(answer, format!("echo: {}", line(number)), "client {client}: {read:?}");
            }
            self.answered.fetch_add(BATCH, SeqCst);
        }
    }

    /// One bad turn after another, each on a connection of its own. Nothing that happens to these clients matters.
    fn misbehave(&self, client: usize) {
        for turn in client.. {
            if self.over.load(SeqCst) {
                return;
            }
            let Some(stream) = self.connect() else { continue };
            let _ = misbehave(&stream, turn);
            self.hostile.fetch_add(1, SeqCst);
        }
    }
}

fn misbehave(mut stream: &TcpStream, turn: usize) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    let a_while = Some(Duration::from_millis(100));
    match turn % 7 {
        // Silent, for a while.
        0 => {
            stream.set_read_timeout(a_while)?;
            stream.read_exact(&mut buffer)?;
        }
        // A line byte by byte, and another that never ends.
        1 => {
            for byte in b"slow\nand never whol" {
                stream.write_all(&[*byte])?;
            }
            stream.set_read_timeout(a_while)?;
            while stream.read(&mut buffer)? > 0 {}
        }
        // A reset with answers on their way.
        2 => {
            stream.write_all(&b"line\n".repeat(1000))?;
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
        }
        // A line without an end.
        3 => {
            for _ in 0..64 {
                stream.write_all(&[b'x'; 16 * 1024])?;
            }
            while stream.read(&mut buffer)? > 0 {}
        }
        // Says everything at once, ends its side, and reads to the end.
        4 => {
            stream.write_all(&b"line\n".repeat(1000))?;
            stream.shutdown(Shutdown::Write)?;
            while stream.read(&mut buffer)? > 0 {}
        }
        // Asks and never reads.
        5 => {
            stream.set_write_timeout(a_while)?;
            while stream.write(&[b'\n'; 4096])? > 0 {}
        }
        // Leaves at once.
        _ => {}
    }
    Ok(())
}

/// Lets all clients loose until `enough`, which may stop the server. Returns how many lines were answered to the
/// well-behaved ones, and how many bad turns there were.
fn run(server: &Server, enough: impl FnOnce(&Field)) -> (usize, usize) {
    let field = Field {
        addr: server.addr,
        over: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        answered: AtomicUsize::new(0),
        hostile: AtomicUsize::new(0),
    };
    thread::scope(|scope| {
        let good: Vec<_> = (0..GOOD)
            .map(|client| {
                scope.spawn({
                    let field = &field;
                    move || field.behave(client)
                })
            })
            .collect();
        for client in 0..HOSTILE {
            let field = &field;
            scope.spawn(move || field.misbehave(client));
        }
        enough(&field);
        field.over.store(true, SeqCst);
        for client in good {
            client.join().expect("a well-behaved client got every byte in order");
        }
    });
    (field.answered.into_inner(), field.hostile.into_inner())
}

#[test]
#[ignore = "takes 30 s, or SOAK_SECONDS"]
fn step_6_outlives_its_clients() {
    outlives_its_clients("step 6", env!("CARGO_BIN_EXE_06_graceful_shutdown"));
}

/// Whose threads serve one client after another.
#[test]
#[ignore = "takes 30 s, or SOAK_SECONDS"]
fn step_8_outlives_its_clients() {
    outlives_its_clients("step 8", env!("CARGO_BIN_EXE_08_deadlines"));
}

fn outlives_its_clients(name: &str, program: &str) {
    let seconds = env::var("SOAK_SECONDS").map_or(30, |seconds| seconds.parse().expect("SOAK_SECONDS is a number"));
    let mut server = Server::start(program, &["--grace=5"]);

    // A first round, for what is allocated once.
    let wait = |time: Duration| {
        let start = Instant::now();
        move |_: &Field| _ = wait_until(time + Duration::from_secs(1), || (start.elapsed() >= time).then_some(()))
    };
    run(&server, wait(Duration::from_secs(2)));
    let settled =
        || wait_until(LIMIT, || Some(holdings(&server)).filter(|now| now.threads <= 2)).expect("handlers end");
    let (before, resident_before) = (settled(), resident(&server));

    let (answered, hostile) = run(&server, wait(Duration::from_secs(seconds)));
    assert_eq!(settled(), before, "descriptors and threads are back where they were");
    let resident_after = resident(&server);
    println!("{name}: {answered} lines answered to {GOOD} clients, beside {hostile} bad turns of {HOSTILE} others");
    println!("{name}: {before:?} before and after; resident {resident_before} KiB before, {resident_after} KiB after");
    assert!(resident_after < resident_before + 32 * 1024, "memory doesn't grow with what has passed");

    // And now a stop in the middle of it.
    let (answered, hostile) = run(&server, |field| {
        wait_until(LIMIT, || (field.answered.load(SeqCst) > 1000).then_some(())).expect("clients are served");
        field.stopping.store(true, SeqCst);
        server.signal(Signal::TERM);
        let refuses = || TcpStream::connect_timeout(&field.addr, LIMIT).is_err().then_some(());
        wait_until(LIMIT, refuses).expect("new clients are refused");
    });
    let (status, said) = server.wait();
    let summary = said.lines().find(|line| line.starts_with("stopped: ")).unwrap_or_default();
    println!("{name}: a stop under load, {answered} lines and {hostile} bad turns in: {status}, \"{summary}\"");
    assert!(status.success(), "{status}: {said}");
}
