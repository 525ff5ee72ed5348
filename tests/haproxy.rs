//! Two servers of step 8 behind HAProxy, replaced in turn under clients.
//!
//! Drained first, no client notices. By a plain SIGTERM, some lines have to be asked again, and none is cut or wrong.
//!
//! Each scene is shown by `--nocapture`, and recorded for the book where `TCP_PITFALLS_RECORD` says.
#![cfg(unix)]

mod common;

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use common::{LIMIT, Peer};
use tcp_pitfalls::lab::client::{self, Reply};
use tcp_pitfalls::lab::port::{self, Port};
use tcp_pitfalls::lab::process::Process;
use tcp_pitfalls::lab::recording::{Recorder, with_thousands};
use tcp_pitfalls::lab::signal::Signal;
use tcp_pitfalls::lab::wait::wait_until;
use tcp_pitfalls::probes::{Finding, Verdict};
use tcp_pitfalls::show::scene::{Run, Scene};

const STEP_8: &str = env!("CARGO_BIN_EXE_08_deadlines");
const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/haproxy/haproxy.cfg");
/// The variable by which `cargo book record` says in which folder it wants the scenes.
const RECORD: &str = "TCP_PITFALLS_RECORD";

/// The last words of a server that nobody was on.
const NOBODY_LEFT: &str = "stopped: 0 connections finished, 0 cut";

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

/// A server of step 8 that can be replaced by another at the same address.
struct Server {
    /// What it is called in HAProxy's configuration.
    name: &'static str,
    port: Port,
    process: Process,
    recorder: Recorder,
}

impl Server {
    fn new(name: &'static str, recorder: &Recorder) -> Self {
        let port = port::draw().unwrap();
        let process = Self::process(port.addr());
        Server { name, port, process, recorder: recorder.clone() }
    }

    fn process(addr: SocketAddr) -> Process {
        let process = Process::start(&[STEP_8.to_owned(), "serve".into(), addr.to_string()], None).unwrap();
        wait_until(LIMIT, || process.output().contains("listening on").then_some(())).expect("it listens");
        // That it listens doesn't say that it serves.
        Peer::connect(addr).ask("are you there?");
        process
    }

    /// Stops it by SIGTERM, and returns its last words.
    fn stop(&mut self) -> String {
        self.process.signal(Signal::Term).unwrap();
        let status = self.process.exits_within(LIMIT).expect("it stops");
        assert!(status.success(), "{status}");
        let said = self.process.last_output();
        let last_words = said.lines().find(|line| line.starts_with("stopped: ")).unwrap_or_default().to_owned();
        self.recorder.note(self.name, format!("gets SIGTERM. Its last words: {last_words}"));
        last_words
    }

    fn start(&mut self) {
        self.process = Self::process(self.port.addr());
        self.recorder.note(self.name, "is started anew, and answers");
    }
}

struct Haproxy {
    process: Process,
    front: Port,
    stats: PathBuf,
    recorder: Recorder,
}

impl Haproxy {
    fn start(servers: &[Server; 2], recorder: &Recorder) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let front = port::draw().unwrap();
        // Its path has to be short: about a hundred bytes.
        let stats = env::temp_dir().join(format!("haproxy-{}-{}", process::id(), NUMBER.fetch_add(1, SeqCst)));
        let command = [
            "env".to_owned(),
            format!("STATS={}", stats.display()),
            format!("FRONT={}", front.addr()),
            format!("S1={}", servers[0].port.addr()),
            format!("S2={}", servers[1].port.addr()),
        ];
        let command = command.into_iter().chain(["haproxy", "-db", "-f", CONFIGURATION].map(str::to_owned));
        let process = Process::start(&command.collect::<Vec<_>>(), None).expect("`env` starts");
        let haproxy = Haproxy { process, front, stats, recorder: recorder.clone() };
        let listens = || UnixStream::connect(&haproxy.stats).ok().map(drop);
        assert!(wait_until(LIMIT, listens).is_some(), "haproxy says: {}", haproxy.process.output());
        for server in servers {
            haproxy.wait_until(server.name, "UP");
        }
        haproxy
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
    fn stat(&self, server: &str, column: &str) -> String {
        let table = self.tell("show stat");
        let mut lines = table.lines();
        let index =
            lines.next().and_then(|head| head.trim_start_matches("# ").split(',').position(|one| one == column));
        let row = lines.find(|line| line.starts_with(&format!("echo,{server},")));
        row.and_then(|row| row.split(',').nth(index?)).expect("there is such a figure").to_owned()
    }

    fn wait_until(&self, server: &str, status: &str) {
        wait_until(LIMIT, || (self.stat(server, "status") == status).then_some(())).expect("its check says so");
    }

    // ANCHOR: replace
    /// Replaces a server, and no client notices.
    fn replace(&self, server: &mut Server) -> String {
        // Nobody new comes.
        self.set(server, "drain");
        // Nobody is left.
        self.wait_until_empty(server);
        let last_words = server.stop();
        // The new one has answered before anybody is sent to it.
        server.start();
        self.set(server, "ready");
        self.wait_until(server.name, "UP");
        last_words
    }

    fn set(&self, server: &Server, state: &str) {
        let command = format!("set server echo/{} state {state}", server.name);
        self.recorder.note("HAProxy", format!("is told: {command}"));
        self.tell(&command);
    }

    fn wait_until_empty(&self, server: &Server) {
        // Asked twice, since a client may just have been sent there.
        let mut empty = 0;
        let is_empty = || {
            empty = if self.stat(server.name, "scur") == "0" { empty + 1 } else { 0 };
            (empty == 2).then_some(())
        };
        wait_until(LIMIT, is_empty).expect("every client leaves after some lines");
        self.recorder.note("HAProxy", format!("has nobody on {} any more", server.name));
    }
    // ANCHOR_END: replace

    fn connect(&self, who: &str) -> client::Client {
        client::Client::connect(self.front.addr(), who, &self.recorder, LIMIT).unwrap()
    }

    /// One client was sent to this server.
    fn has_served(&self, server: &str) {
        assert_eq!(self.stat(server, "stot"), "1");
        self.recorder.note(server, "has served this one");
    }

    /// A client sends a line, and it lies in HAProxy until `meanwhile` is over.
    fn send_on_the_way(&self, client: &mut client::Client, line: &str, meanwhile: impl FnOnce()) {
        self.process.halt().unwrap();
        self.recorder.note("HAProxy", "is halted: what is sent now is on its way");
        client.send(format!("{line}\n").as_bytes());
        meanwhile();
        self.recorder.note("HAProxy", "goes on");
        self.process.go_on().unwrap();
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.stats);
    }
}

/// HAProxy with two servers behind it, and all that happens there.
struct Stage {
    haproxy: Haproxy,
    servers: [Server; 2],
    recorder: Recorder,
}

impl Stage {
    /// None, with a word, where HAProxy isn't installed.
    fn set() -> Option<Self> {
        if Command::new("haproxy").arg("-v").output().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            println!("skipped: haproxy is not installed");
            return None;
        }
        let recorder = Recorder::new();
        let servers = ["s1", "s2"].map(|name| Server::new(name, &recorder));
        let haproxy = Haproxy::start(&servers, &recorder);
        Some(Stage { haproxy, servers, recorder })
    }

    fn run(self, caption: &str, finding: Finding) -> Run {
        Run { caption: caption.to_owned(), finding, recording: self.recorder.recording() }
    }
}

/// Prints a scene, and writes it down for the book if it is to.
fn show(name: &str, pitfall: Run, cure: Run) {
    let scene = Scene { chapter: "restarts".into(), name: name.to_owned(), pitfall, cure };
    for (side, run) in scene.sides() {
        println!("{}", run.transcript(side));
    }
    if let Some(folder) = env::var_os(RECORD) {
        let path = Path::new(&folder).join(name).with_extension("json");
        fs::write(path, serde_json::to_string_pretty(&scene.shortened()).unwrap() + "\n").unwrap();
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

/// Lets clients ask while each server is replaced some times. Returns how many lines were answered, and how many of them
/// were asked again.
fn under_clients(stage: &mut Stage, replace: impl Fn(&Haproxy, &mut Server)) -> (usize, usize) {
    let field = Field::default();
    let front = stage.haproxy.front.addr();
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
            for server in &mut stage.servers {
                field.wait();
                replace(&stage.haproxy, server);
            }
        }
        field.wait();
        drop(over);
        for client in asking {
            client.join().unwrap();
        }
    });
    let answered = field.answered.iter().map(|count| count.load(SeqCst)).sum();
    let repeated = field.repeated.load(SeqCst);
    stage.recorder.number_by_chance(with_thousands(answered), "how many lines are asked is a matter of speed");
    (answered, repeated)
}

/// Sends a line, and has its answer.
fn ask(client: &mut client::Client, line: &str) {
    client.send(format!("{line}\n").as_bytes());
    assert_eq!(client.line(LIMIT), Reply::Line(format!("echo: {line}\n").into()));
}

#[test]
fn a_line_on_its_way_is_lost_unless_the_server_was_drained() {
    let (Some(mut plain), Some(mut drained)) = (Stage::set(), Stage::set()) else { return };

    let mut client = plain.haproxy.connect("client 1");
    ask(&mut client, "one");
    plain.haproxy.send_on_the_way(&mut client, "two", || _ = plain.servers[0].stop());
    assert_eq!(client.line(LIMIT), Reply::End(Vec::new()), "HAProxy ends it in order");
    let mut client = plain.haproxy.connect("client 1");
    ask(&mut client, "two");
    plain.haproxy.has_served("s2");
    drop(client);
    let pitfall = plain.run(
        "the client was sent to the server s1, which gets SIGTERM",
        Finding::falls(
            "client 1 sent \"two\" and saw the end of the connection, without an answer: s1 owed nothing when it stopped. On a \
             new connection s2 answered",
        ),
    );

    let mut client = drained.haproxy.connect("client 1");
    ask(&mut client, "one");
    let Stage { haproxy, servers: [server, _], .. } = &mut drained;
    let haproxy = &*haproxy;
    let replaced = thread::scope(|scope| {
        let replacing = scope.spawn(|| haproxy.replace(server));
        haproxy.wait_until("s1", "DRAIN");
        haproxy.send_on_the_way(&mut client, "two", || {});
        assert_eq!(client.line(LIMIT), Reply::Line("echo: two\n".into()));
        let mut next = haproxy.connect("client 2");
        ask(&mut next, "three");
        // Nobody new is sent to a server that is drained.
        haproxy.has_served("s2");
        drop((next, client));
        replacing.join().unwrap()
    });
    assert_eq!(replaced, NOBODY_LEFT);
    let cure = drained.run(
        "s1 is drained first, and gets SIGTERM when nobody is left",
        Finding::holds("\"two\" was answered, client 2 was sent to s2, and when s1 stopped it had no client"),
    );
    show("line-on-its-way", pitfall, cure);
}

#[test]
fn drained_and_replaced_no_answer_is_lost() {
    let (Some(mut plain), Some(mut drained)) = (Stage::set(), Stage::set()) else { return };

    let (answered, repeated) = under_clients(&mut plain, |haproxy, server| {
        let last_words = server.stop();
        let count = last_words.split(' ').nth(1).unwrap_or_default();
        server.recorder.number_by_chance(count, "so many are connected in the moment of the signal");
        server.start();
        haproxy.wait_until(server.name, "UP");
    });
    plain.recorder.number_by_chance(repeated, "a line is lost if it crosses with the end of its server");
    plain.recorder.either_by_chance(&["connections finished", "connection finished"], "it may be one");
    let pitfall = plain.run(
        "each of two servers gets SIGTERM three times, under six clients",
        Finding {
            verdict: Verdict::Note,
            evidence: format!(
                "{} lines answered in the end, {repeated} of them asked again. None was cut or wrong",
                with_thousands(answered)
            )
            .into(),
        },
    );

    let (answered, repeated) = under_clients(&mut drained, |haproxy, server| {
        assert_eq!(haproxy.replace(server), NOBODY_LEFT);
    });
    assert_eq!(repeated, 0, "no client had to ask again");
    for server in ["s1", "s2"] {
        for column in ["econ", "eresp", "wretr", "wredis"] {
            assert_eq!(drained.haproxy.stat(server, column), "0", "{column} of {server}");
        }
        assert_ne!(drained.haproxy.stat(server, "stot"), "0", "{server} has served");
    }
    let cure = drained.run(
        "each of them is drained first",
        Finding::holds(format!(
            "{} lines answered, 0 of them asked again, and HAProxy counts no error and no retry",
            with_thousands(answered)
        )),
    );
    show("replaced-in-turn", pitfall, cure);
}

#[test]
fn a_halted_server_is_found_by_a_check_that_asks() {
    let Some(Stage { haproxy, servers, .. }) = Stage::set() else { return };
    // Its kernel still connects whoever comes, so a check that only connects would find it well.
    servers[0].process.halt().unwrap();
    haproxy.wait_until("s1", "DOWN");
    servers[0].process.go_on().unwrap();
    haproxy.wait_until("s1", "UP");
}
