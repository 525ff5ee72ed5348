//! Two servers of step 8 behind HAProxy, replaced in turn under clients.
//!
//! Drained first, no client notices. By a plain SIGTERM, some lines have to be asked again, and none is cut or wrong.
#![cfg(unix)]

mod common;

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use common::{LIMIT, Peer};
use rustix::process::{Pid, Signal, kill_process};
use tcp_pitfalls::lab::port::{self, Port};
use tcp_pitfalls::lab::process::Process;
use tcp_pitfalls::lab::wait::wait_until;

const STEP_8: &str = env!("CARGO_BIN_EXE_08_deadlines");
const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/haproxy/haproxy.cfg");

/// How often each server is replaced.
const ROUNDS: usize = 3;
/// Clients with a connection for each line, and clients that ask many on one.
const SHORT: usize = 4;
const LASTING: usize = 2;

// ANCHOR: client
/// Asks lines through a balancer, so many on a connection, and then leaves: a server is drained when all have left.
struct Client {
    addr: SocketAddr,
    lines_each: usize,
    /// The connection, and how many lines may still be asked on it.
    connection: Option<(BufReader<TcpStream>, usize)>,
    /// How many lines had to be asked again.
    repeated: usize,
}

impl Client {
    fn ask(&mut self, line: &str) -> io::Result<String> {
        loop {
            let (mut connection, left) = match self.connection.take() {
                // Look before sending: a connection may have been ended while nothing was asked.
                Some((connection, left)) if left > 0 && is_open(connection.get_ref()) => (connection, left),
                _ => (connect(self.addr)?, self.lines_each),
            };
            let sent = connection.get_ref().write_all(format!("{line}\n").as_bytes());
            let mut answer = String::new();
            match sent.and_then(|()| connection.read_line(&mut answer)) {
                Ok(_) if answer.ends_with('\n') => {
                    self.connection = Some((connection, left - 1));
                    return Ok(answer);
                }
                // The end, and not a byte of an answer: the connection was ended before this line was read. An echo may
                // be asked for again. A payment may not, unless it has a number that the server knows.
                Ok(0) => self.repeated += 1,
                // Half a line is no answer, even if it looks like one.
                Ok(_) => return Err(io::Error::new(ErrorKind::UnexpectedEof, format!("cut: {answer:?}"))),
                Err(error) => return Err(error),
            }
        }
    }
}

fn connect(addr: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&addr, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

/// Whether the other side has neither ended nor reset it, as far as is known here.
fn is_open(stream: &TcpStream) -> bool {
    let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let blocking = stream.set_nonblocking(false);
    blocking.is_ok() && peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
// ANCHOR_END: client

/// A server that can be replaced by another at the same address.
struct Server {
    name: &'static str,
    port: Port,
    process: Process,
}

fn addr(port: &Port) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port.number))
}

fn start(port: &Port) -> Process {
    let addr = addr(port);
    let process = Process::start(&[STEP_8.to_owned(), "serve".into(), addr.to_string()], None).unwrap();
    wait_until(LIMIT, || process.output().contains("listening on").then_some(())).expect("it listens");
    // That it listens doesn't say that it serves.
    Peer::connect(addr).ask("are you there?");
    process
}

impl Server {
    fn new(name: &'static str) -> Self {
        let port = port::draw().unwrap();
        let process = start(&port);
        Server { name, port, process }
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Stops it by SIGTERM, and returns its last words.
    fn stop(&mut self) -> String {
        self.signal(Signal::TERM);
        let status = self.process.exits_within(LIMIT).expect("it stops");
        assert!(status.success(), "{status}");
        self.process.last_output()
    }
}

struct Haproxy {
    child: Child,
    front: Port,
    stats: PathBuf,
}

impl Haproxy {
    /// None, with a word, where it isn't installed.
    fn start(servers: &[Server; 2]) -> Option<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let front = port::draw().unwrap();
        // Its path has to be short: about a hundred bytes.
        let stats = env::temp_dir().join(format!("haproxy-{}-{}", process::id(), NUMBER.fetch_add(1, SeqCst)));
        let started = Command::new("haproxy")
            .args(["-db", "-f", CONFIGURATION])
            .env("STATS", &stats)
            .env("FRONT", addr(&front).to_string())
            .env("S1", addr(&servers[0].port).to_string())
            .env("S2", addr(&servers[1].port).to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!("skipped: haproxy is not installed");
                return None;
            }
            Err(error) => panic!("cannot start haproxy: {error}"),
        };
        let haproxy = Haproxy { child, front, stats };
        let listens = || UnixStream::connect(&haproxy.stats).ok().map(drop);
        wait_until(LIMIT, listens).expect("haproxy listens on its socket");
        for server in servers {
            haproxy.wait_until_up(server);
        }
        Some(haproxy)
    }

    /// What it says to a command.
    fn tell(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(&self.stats).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    }

    /// A column of its statistics, for one of the servers.
    fn stat(&self, server: &Server, column: &str) -> String {
        let table = self.tell("show stat");
        let mut lines = table.lines();
        let index =
            lines.next().and_then(|head| head.trim_start_matches("# ").split(',').position(|one| one == column));
        let row = lines.find(|line| line.starts_with(&format!("echo,{},", server.name)));
        row.and_then(|row| row.split(',').nth(index?)).expect("there is such a figure").to_owned()
    }

    fn wait_until_up(&self, server: &Server) {
        self.wait_until(server, "UP");
    }

    fn wait_until(&self, server: &Server, status: &str) {
        wait_until(LIMIT, || (self.stat(server, "status") == status).then_some(())).expect("its check says so");
    }

    // ANCHOR: replace
    /// Replaces a server, and no client notices.
    fn replace(&self, server: &mut Server) -> String {
        // Nobody new comes.
        self.tell(&format!("set server echo/{} state drain", server.name));
        // Nobody is left. Asked twice, since a client may just have been sent there.
        let mut empty = 0;
        let is_empty = || {
            empty = if self.stat(server, "scur") == "0" { empty + 1 } else { 0 };
            (empty == 2).then_some(())
        };
        wait_until(LIMIT, is_empty).expect("every client leaves after some lines");
        let last_words = server.stop();
        // The new one has answered before anybody is sent to it.
        server.process = start(&server.port);
        self.tell(&format!("set server echo/{} state ready", server.name));
        self.wait_until_up(server);
        last_words
    }
    // ANCHOR_END: replace
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.stats);
    }
}

/// What the clients have counted.
#[derive(Default)]
struct Field {
    over: AtomicBool,
    answered: [AtomicUsize; SHORT + LASTING],
    repeated: AtomicUsize,
}

impl Field {
    /// Asks one line after the other until it is over. Every answer is whole and right.
    fn ask(&self, number: usize, addr: SocketAddr) {
        let lines_each = if number < SHORT { 1 } else { 50 };
        let mut client = Client { addr, lines_each, connection: None, repeated: 0 };
        for line in 0.. {
            if self.over.load(SeqCst) {
                break;
            }
            // Some are long, and come in pieces.
            let long = if line % 16 == 0 { "x".repeat(30_000) } else { String::new() };
            let line = format!("client {number}, line {line}{long}");
            let answer = client.ask(&line).unwrap_or_else(|error| panic!("client {number}: {error}"));
            assert!(answer == format!("echo: {line}\n"), "client {number} got another answer");
            self.answered[number].fetch_add(1, SeqCst);
        }
        self.repeated.fetch_add(client.repeated, SeqCst);
    }

    /// Waits until every client has had some more answers.
    fn wait(&self) {
        let answered = || self.answered.each_ref().map(|count| count.load(SeqCst));
        let before = answered();
        let more = || answered().iter().zip(before).all(|(now, before)| *now > before + 5).then_some(());
        wait_until(LIMIT, more).expect("all clients are served");
    }
}

/// Ends the clients' asking when it is dropped: after a failure as well, or their threads would be waited for for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Lets clients ask while each server is replaced some times, and returns how many lines were asked again.
fn under_clients(haproxy: &Haproxy, servers: &mut [Server; 2], replace: impl Fn(&mut Server)) -> usize {
    let field = Field::default();
    let front = addr(&haproxy.front);
    thread::scope(|scope| {
        let asking: Vec<_> = (0..SHORT + LASTING)
            .map(|number| {
                scope.spawn({
                    let field = &field;
                    move || field.ask(number, front)
                })
            })
            .collect();
        let over = Over(&field.over);
        for _ in 0..ROUNDS {
            for server in &mut *servers {
                field.wait();
                replace(server);
            }
        }
        field.wait();
        drop(over);
        for client in asking {
            client.join().unwrap();
        }
    });
    let answered: usize = field.answered.iter().map(|count| count.load(SeqCst)).sum();
    let repeated = field.repeated.load(SeqCst);
    println!("{answered} lines answered, {repeated} of them asked again, {} replacements", 2 * ROUNDS);
    repeated
}

#[test]
fn drained_and_replaced_no_answer_is_lost() {
    let mut servers = ["s1", "s2"].map(Server::new);
    let Some(haproxy) = Haproxy::start(&servers) else { return };
    let repeated = under_clients(&haproxy, &mut servers, |server| {
        let last_words = haproxy.replace(server);
        assert!(last_words.contains("stopped: 0 connections finished, 0 cut"), "{last_words}");
    });
    assert_eq!(repeated, 0, "no client had to ask again");
    for server in &servers {
        for column in ["econ", "eresp", "wretr", "wredis"] {
            assert_eq!(haproxy.stat(server, column), "0", "{column} of {}", server.name);
        }
        assert_ne!(haproxy.stat(server, "stot"), "0", "{} has served", server.name);
    }
}

#[test]
fn by_a_plain_signal_every_line_is_answered_in_the_end() {
    let mut servers = ["s1", "s2"].map(Server::new);
    let Some(haproxy) = Haproxy::start(&servers) else { return };
    // How often a client must ask again is chance.
    under_clients(&haproxy, &mut servers, |server| {
        server.stop();
        server.process = start(&server.port);
        haproxy.wait_until_up(server);
    });
}

#[test]
fn a_halted_server_is_found_by_a_check_that_asks() {
    let servers = ["s1", "s2"].map(Server::new);
    let Some(haproxy) = Haproxy::start(&servers) else { return };
    // Its kernel still connects whoever comes, so a check that only connects would find it well.
    servers[0].signal(Signal::STOP);
    haproxy.wait_until(&servers[0], "DOWN");
    servers[0].signal(Signal::CONT);
    haproxy.wait_until_up(&servers[0]);
}
