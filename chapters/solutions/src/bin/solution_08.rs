//! A counter that waits for nobody: for each thing that it waits for there is a point in time at which it is over.

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long a customer has from the first byte of a line to its end.
const LINE_TIME: Duration = Duration::from_secs(2);
/// How long it may say nothing between two lines.
const IDLE_TIME: Duration = Duration::from_secs(4);
/// How long it has to take an answer.
const TAKING_TIME: Duration = Duration::from_secs(3);
/// How long one who was told to go may go on talking.
const FAREWELL_TIME: Duration = Duration::from_millis(1500);
/// So that nobody can fill the memory in the time there is.
const LONGEST_LINE: usize = 1000;

fn main() -> Result<()> {
    let addr = env::args().skip(1).last().context("say where to listen, as in 127.0.0.1:8080")?;
    let listener = TcpListener::bind(&addr).with_context(|| format!("cannot listen on \"{addr}\""))?;
    let lost = Arc::new(AtomicU32::new(0));
    let tally = Arc::clone(&lost);
    ctrlc::set_handler(move || {
        println!("tally: places lost {}", tally.load(SeqCst));
        process::exit(0);
    })
    .context("cannot ask to be told about signals")?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, customer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                eprintln!("cannot accept a customer: {error}");
                continue;
            }
        };
        let lost = Arc::clone(&lost);
        let serving = thread::Builder::new().spawn(move || {
            if let Err(error) = serve(&stream, &lost) {
                eprintln!("{customer}: {error}");
            }
        });
        if let Err(error) = serving {
            eprintln!("no clerk for {customer}: {error}");
        }
    }
}

fn serve(stream: &TcpStream, lost: &AtomicU32) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // What has come of the next line.
    let mut line = Vec::new();
    let served = talk(stream, &mut line);
    if served.as_ref().is_err_and(|error| error.kind() == ErrorKind::TimedOut) {
        lost.fetch_add(1, SeqCst);
        if !line.is_empty() {
            write_before(stream, Instant::now() + TAKING_TIME, b"error: too slow\n")?;
            return part(stream);
        }
    }
    served
}

/// Answers lines until the customer ends its side, or something is over in vain, which is the error `TimedOut`.
fn talk(stream: &TcpStream, line: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut number = 0;
    let mut deadline = Instant::now() + IDLE_TIME;
    loop {
        let count = read_before(stream, deadline, &mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        if line.is_empty() {
            deadline = Instant::now() + LINE_TIME;
        }
        for &byte in &buffer[..count] {
            line.push(byte);
            if byte == b'\n' {
                number += 1;
                let answer = [format!("{number}: ").as_bytes(), line].concat();
                line.clear();
                write_before(stream, Instant::now() + TAKING_TIME, &answer)?;
                // What stands behind this newline is the beginning of the next line.
                deadline = Instant::now() + if buffer[..count].ends_with(b"\n") { IDLE_TIME } else { LINE_TIME };
            }
        }
        if line.len() > LONGEST_LINE {
            return Err(io::Error::new(ErrorKind::InvalidData, "the line doesn't end"));
        }
    }
}

/// What is left until then, or the error `TimedOut`: the system would take a time of zero for none.
fn left_until(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Reads once. The system's time limit is for one call, so each gets what is left.
fn read_before(mut stream: &TcpStream, deadline: Instant, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.set_read_timeout(Some(left_until(deadline)?))?;
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
    let deadline = Instant::now() + FAREWELL_TIME;
    let mut unheard = [0; 4096];
    while let Ok(1..) = read_before(stream, deadline, &mut unheard) {}
    Ok(())
}
