//! Chapter 8: how long a client may take.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use common::{LIMIT, Peer, Server};
use tcp_pitfalls::chapter_06::stop::Stop;
use tcp_pitfalls::chapter_08::deadlines::{Limits, ReadInTime, TooSlow, WriteInTime};
use tcp_pitfalls::chapter_08::server::Options;
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::lab::wait::wait_until;
use tcp_pitfalls::probes::{Terms, Verdict};

const PROGRAM: &str = env!("CARGO_BIN_EXE_08_deadlines");
const SHORT: [&str; 3] = ["--line-time=1", "--idle-time=1", "--write-time=1"];
const MOMENT: Duration = Duration::from_millis(50);

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

/// Limits that never end a wait of these tests, but for those that a test sets.
fn generous() -> Limits {
    Limits { line: LIMIT * 10, idle: LIMIT * 10, write: LIMIT * 10 }
}

/// A connection, and a stop.
fn client_and_stop() -> (Peer, TcpStream, Stop) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Peer::connect(listener.local_addr().unwrap());
    (client, listener.accept().unwrap().0, Stop::new().unwrap())
}

#[test]
fn half_a_line_ends_with_an_error_when_its_time_is_over() {
    let (mut client, stream, stop) = client_and_stop();
    let mut reader = ReadInTime::new(&stream, &stop, Limits { line: MOMENT, ..generous() });
    client.send("whole\nhal");
    let mut got = Vec::new();
    let began = Instant::now();
    let error = reader.read_to_end(&mut got).unwrap_err();
    assert!(began.elapsed() >= MOMENT, "it is not ended early");
    assert_eq!((error.kind(), reader.too_slow), (ErrorKind::TimedOut, Some(TooSlow::Line)));
    assert_eq!(got, b"whole\nhal");
}

#[test]
fn a_byte_now_and_then_gives_a_line_no_more_time() {
    let (client, stream, stop) = client_and_stop();
    let mut reader = ReadInTime::new(&stream, &stop, Limits { line: MOMENT * 10, ..generous() });
    thread::scope(|scope| {
        // A byte every few milliseconds until the other side has given up. If it never does, the end comes instead.
        scope.spawn(move || {
            wait_until(LIMIT, || (&client.stream).write_all(b"x").err());
            drop(client);
        });
        let error = reader.read_to_end(&mut Vec::new()).expect_err("the line has a limit, however often a byte comes");
        assert_eq!((error.kind(), reader.too_slow), (ErrorKind::TimedOut, Some(TooSlow::Line)));
        stream.shutdown(Shutdown::Both).unwrap();
    });
}

#[test]
fn silence_between_two_lines_is_the_end_when_its_time_is_over() {
    let (mut client, stream, stop) = client_and_stop();
    let mut reader = ReadInTime::new(&stream, &stop, Limits { idle: MOMENT, ..generous() });
    client.send("one\n");
    let mut got = Vec::new();
    reader.read_to_end(&mut got).unwrap();
    assert_eq!((&*got, reader.too_slow), (&b"one\n"[..], Some(TooSlow::Idle)));
}

#[test]
fn at_the_stop_half_a_line_has_its_time_and_no_more() {
    let (mut client, stream, stop) = client_and_stop();
    let mut reader = ReadInTime::new(&stream, &stop, Limits { line: MOMENT, ..generous() });
    client.send("hal");
    assert_eq!(reader.read(&mut [0; 8]).unwrap(), 3);
    stop.begin();
    assert!(reader.read(&mut [0; 8]).is_err());
    assert_eq!(reader.too_slow, Some(TooSlow::Line));
}

#[test]
fn at_the_stop_an_idle_client_is_not_called_slow() {
    let (_client, stream, stop) = client_and_stop();
    let mut reader = ReadInTime::new(&stream, &stop, generous());
    stop.begin();
    assert_eq!((reader.read(&mut [0]).unwrap(), reader.too_slow), (0, None));
}

#[test]
fn an_answer_that_nobody_takes_is_given_up() {
    let (client, stream, _) = client_and_stop();
    let mut writer = WriteInTime::new(&stream, MOMENT);
    // More than all buffers hold.
    let error = writer.write_all(&vec![b'x'; 64 * 1024 * 1024]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{error}");
    assert_eq!(writer.too_slow, Some(TooSlow::Answer));
    drop(client);
}

#[test]
fn the_client_can_read_that_it_was_too_slow() {
    let server = Server::start(PROGRAM, &SHORT);
    let mut client = server.connect();
    client.send("whole\nhal");
    assert_eq!(client.line(), "echo: whole");
    assert_eq!(client.line(), "error: too slow (limit 1 s)");
    client.expect_end();
}

#[test]
#[cfg(unix)]
fn the_slow_are_counted_at_the_stop() {
    let mut server = Server::start(PROGRAM, &SHORT);
    let [mut slow, mut idle] = [server.connect(), server.connect()];
    slow.send("hal");
    assert_eq!(slow.line(), "error: too slow (limit 1 s)");
    idle.expect_end();
    // Who has been told is counted already, since that comes first.
    server.signal(rustix::process::Signal::TERM);
    let (status, said) = server.wait();
    assert!(status.success(), "{status}: {said}");
    assert!(said.contains("too slow: 1 in a line, 1 idle, 0 to take an answer"), "{said}");
    assert!(said.contains(", 0 cut"), "{said}");
}

#[test]
fn limits_have_defaults_and_are_never_zero() {
    let limits = Arguments::parse_from(["server"]).options.limits();
    assert_eq!([limits.line, limits.idle, limits.write].map(|limit| limit.as_secs()), [10, 75, 10]);
    for option in ["--line-time=0", "--idle-time=0", "--write-time=0", "--line-time=soon"] {
        assert!(Arguments::try_parse_from(["server", option]).is_err(), "{option}");
    }
}

/// The server with all its limits at so many seconds, or a pitfall.
fn server(seconds: u64, pitfall: Option<&str>) -> Target {
    let limits = ["line", "idle", "write"].map(|what| format!("--{what}-time={seconds}"));
    let arguments = [PROGRAM, "serve", "{addr}"].map(str::to_owned).into_iter().chain(limits);
    Target::Command(arguments.chain(pitfall.map(|name| format!("--pitfall={name}"))).collect::<Vec<_>>().into())
}

fn terms(seconds: u64, limit: Duration) -> Terms {
    Terms { deadline: Some(Duration::from_secs(seconds)), limit, ..Terms::default() }
}

#[test]
fn pitfalls_spring() {
    // What they owe will never come, so they are given little more.
    let little = Duration::from_secs(2);
    let falls = ["slow-reader", "idle-limit"].map(|name| (name, server(1, Some(name))));
    common::expect(Verdict::Falls, &falls, &terms(1, little));
    // The client sends a byte a second, so a timeout of one second would be a race.
    common::expect(Verdict::Falls, &[("slow-line", server(3, Some("slow-line")))], &terms(3, little));
}

#[test]
fn what_a_pitfall_does_limit_holds() {
    // A timeout for each read is enough for who says nothing at all, which is why it is believed.
    common::expect(Verdict::Holds, &[("idle-limit", server(1, Some("slow-line")))], &terms(1, LIMIT));
    common::expect(Verdict::Holds, &[("slow-line", server(2, Some("slow-reader")))], &terms(2, LIMIT));
}

#[test]
fn the_step_holds() {
    // More than a byte's pause, or time begun anew with every byte would hold as well.
    let holds = ["slow-line", "slow-reader", "idle-limit"].map(|name| (name, server(2, None)));
    common::expect(Verdict::Holds, &holds, &terms(2, LIMIT));
}
