//! Exercise 8, the counter that waits for nobody: a server with one mistake.
//!
//! `wrong_08 --fault NAME ADDR` does all that the exercise asks for, except one thing. NAME is a check, which finds it, or a
//! fault that another check finds; tests/classroom.rs and tests/as_the_task_says.rs have them all.

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::SockRef;

const FAREWELL_TIME: Duration = Duration::from_millis(1500);
/// Longer than any check waits.
const FOR_EVER: Duration = Duration::from_secs(600);

fn line_time() -> Duration {
    Duration::from_millis(match () {
        () if wrong("line-limit-1-second") => 1000,
        () if wrong("line-limit-8-seconds") => 8000,
        () => 2000,
    })
}

fn idle_time(number: u32) -> Duration {
    Duration::from_millis(match () {
        () if wrong("idle-limit-1-second") => 1000,
        () if wrong("silent-customers") => 3500,
        () if wrong("idle-limit-8-seconds") => 8000,
        () if wrong("waits-for-first-word") && number == 0 => 600_000,
        () if wrong("limit-for-first-word-alone") && number > 0 => 600_000,
        () => 4000,
    })
}

fn taking_time() -> Duration {
    match () {
        () if wrong("full-hands") => Duration::from_millis(500),
        () if wrong("answers-for-ever") => FOR_EVER,
        () if wrong("answers-in-8-seconds") => Duration::from_secs(8),
        () => Duration::from_secs(3),
    }
}

fn longest_line() -> usize {
    if wrong("short-lines") { 500 } else { 1000 }
}

/// Whether this is the mistake to make.
fn wrong(fault: &str) -> bool {
    env::args().nth(2).is_some_and(|name| name == fault)
}

/// What all clerks share.
#[derive(Default)]
struct Office {
    lost: AtomicU32,
    number: AtomicU32,
}

fn main() -> Result<()> {
    let addr = env::args().skip(1).last().context("say where to listen, as in 127.0.0.1:8080")?;
    let listener = TcpListener::bind(&addr).with_context(|| format!("cannot listen on \"{addr}\""))?;
    let office = Arc::new(Office::default());
    let tally = Arc::clone(&office);
    ctrlc::set_handler(move || {
        let lost = tally.lost.load(SeqCst);
        if wrong("waits-at-the-end") {
            thread::sleep(Duration::from_secs(4));
        }
        match () {
            () if wrong("tally-on-stderr") => eprintln!("tally: places lost {lost}"),
            () if wrong("tally-says-otherwise") => println!("tally: {lost} places lost"),
            () => println!("tally: places lost {lost}"),
        }
        process::exit(if wrong("ends-with-status-143") { 143 } else { 0 });
    })
    .context("cannot ask to be told about signals")?;
    if wrong("announces-on-stderr") {
        eprintln!("listening on {}", listener.local_addr()?);
    } else {
        println!("listening on {}", listener.local_addr()?);
    }
    loop {
        let Ok((stream, customer)) = listener.accept() else { continue };
        let office = Arc::clone(&office);
        let serving = thread::Builder::new().spawn(move || {
            if let Err(error) = serve(&stream, &office) {
                eprintln!("{customer}: {error}");
            }
            if wrong("keeps-open") {
                std::mem::forget(stream);
            }
        });
        if wrong("one-customer") {
            let _ = serving.map(thread::JoinHandle::join);
        }
    }
}

fn serve(mut stream: &TcpStream, office: &Office) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut line = Vec::new();
    let served = talk(stream, &mut line, office);
    let is_over = served.as_ref().is_err_and(|error| error.kind() == ErrorKind::TimedOut);
    let counts = match () {
        () if wrong("tally-adds-up") => true,
        () if wrong("silence-is-not-counted") => is_over && !line.is_empty(),
        () if wrong("errors-are-counted") => served.is_err(),
        () if wrong("half-a-line-is-not-counted") => is_over && line.is_empty(),
        () => is_over,
    };
    if counts {
        office.lost.fetch_add(1, SeqCst);
    }
    if wrong("half-at-the-end-is-answered") && served.is_ok() && !line.is_empty() {
        return stream.write_all(&[b"1: ", &line[..], b"\n"].concat());
    }
    if wrong("end-is-told") && served.is_ok() && !line.is_empty() {
        return stream.write_all(b"error: too slow\n");
    }
    if !is_over {
        return served;
    }
    if line.is_empty() {
        if wrong("silence-is-told") {
            return stream.write_all(b"error: too slow\n");
        }
        if wrong("silence-is-reset") {
            return SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        return served;
    }
    if wrong("half-a-line-is-not-told") {
        return served;
    }
    let word: &[u8] = if wrong("other-words") { b"error: too slow (2 s)\n" } else { b"error: too slow\n" };
    write_before(stream, Instant::now() + taking_time(), word)?;
    match () {
        () if wrong("closes-at-once") => Ok(()),
        () if wrong("told-and-kept") => {
            thread::sleep(FOR_EVER);
            Ok(())
        }
        () => part(stream),
    }
}

/// Answers lines until the customer ends its side, or something is over in vain, which is the error `TimedOut`.
fn talk(stream: &TcpStream, line: &mut Vec<u8>, office: &Office) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut number = u32::from(wrong("counts-from-2"));
    let came = Instant::now();
    let mut deadline = came + idle_time(number);
    let mut answered = came;
    loop {
        if wrong("good-customer") {
            // One limit for the connection as a whole.
            deadline = deadline.min(came + idle_time(number));
        }
        let count = if wrong("half-a-line") && !line.is_empty() {
            // Whoever stops to think has done so for good.
            read_before(stream, deadline.min(Instant::now() + line_time() / 2), &mut buffer)?
        } else if wrong("dripping-customer") && !line.is_empty() {
            read_before(stream, Instant::now() + line_time(), &mut buffer)?
        } else {
            read_before(stream, deadline, &mut buffer)?
        };
        if count == 0 {
            return Ok(());
        }
        if line.is_empty() {
            deadline = if wrong("line-time-from-answer") { answered } else { Instant::now() } + line_time();
        }
        for &byte in &buffer[..count] {
            line.push(byte);
            if byte != b'\n' {
                continue;
            }
            number += u32::from(!wrong("one-number"));
            if wrong("one-number-for-all") {
                number = office.number.fetch_add(1, SeqCst) + 1;
            }
            let said = match () {
                () if wrong("strips-blanks") => [line.trim_ascii(), b"\n"].concat(),
                () if wrong("strips-return") => {
                    [line.strip_suffix(b"\r\n").unwrap_or(&line[..line.len() - 1]), b"\n"].concat()
                }
                () if wrong("is-text") => String::from_utf8_lossy(line).into_owned().into_bytes(),
                () => line.clone(),
            };
            line.clear();
            if said.len() > longest_line() + 1 {
                return Err(io::Error::new(ErrorKind::InvalidData, "the line is too long"));
            }
            if said == b"\n" && wrong("numbered-lines") {
                number -= 1;
                continue;
            }
            write_before(stream, Instant::now() + taking_time(), &[format!("{number}: ").as_bytes(), &said].concat())?;
            let half = !buffer[..count].ends_with(b"\n") && !wrong("rest-is-silence");
            answered = Instant::now();
            deadline = answered + if half { line_time() } else { idle_time(number) };
            if wrong("one-read") {
                break;
            }
        }
        if line.len() > longest_line() {
            return Err(io::Error::new(ErrorKind::InvalidData, "the line doesn't end"));
        }
    }
}

/// What is left until then, or the error `TimedOut`: the system would take a time of zero for none.
fn left_until(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() && !wrong("time-of-nothing") { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Reads once. The system's time limit is for one call, so each gets what is left.
fn read_before(mut stream: &TcpStream, deadline: Instant, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let left = left_until(deadline)?;
        if wrong("whole-seconds") {
            // What is below a second is zero, and zero an error that nobody looks at.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(left.as_secs())));
        } else {
            stream.set_read_timeout(Some(left))?;
        }
        match stream.read(buffer) {
            Err(error) if is_nothing_yet(&error) => {}
            read => return read,
        }
    }
}

/// Writes all of it.
fn write_before(mut stream: &TcpStream, deadline: Instant, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(left_until(deadline)?))?;
        match stream.write(bytes) {
            Err(error) if is_nothing_yet(&error) => {}
            written => bytes = &bytes[written?..],
        }
    }
    Ok(())
}

/// Unix says `WouldBlock` when the time is up, Windows says `TimedOut`. Whether it is up the caller sees by the clock.
fn is_nothing_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Ends the connection so that what was said last can be read, also by a customer who goes on talking for a moment.
fn part(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let farewell = if wrong("listens-for-ever") { FOR_EVER } else { FAREWELL_TIME };
    let deadline = Instant::now() + farewell;
    let mut unheard = [0; 4096];
    while let Ok(1..) = read_before(stream, deadline, &mut unheard) {}
    Ok(())
}
