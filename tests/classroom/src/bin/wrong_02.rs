//! Exercise 2, the ticket window: a server with one mistake.
//!
//! `wrong_02 --fault NAME ADDR` does all that the exercise asks for, except one thing. NAME is a check, which finds it, or a
//! fault that only `as-the-task-says` finds; tests/as_the_task_says.rs has them all.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long one customer may take to say a name.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// How many bytes a name may have, so that nobody can fill the memory in the time there is.
const LONGEST_NAME: usize = 1024;

/// How long one customer has in fact.
fn time_limit() -> Duration {
    match () {
        () if wrong("limit-half-a-second") => Duration::from_millis(500),
        () if wrong("limit-8-seconds") => 4 * TIME_LIMIT,
        () => TIME_LIMIT,
    }
}

fn main() -> Result<()> {
    let addr = std::env::args().skip(1).next_back().context("give the address as the last argument")?;
    let listener = TcpListener::bind(&addr).with_context(|| format!("cannot listen on \"{addr}\""))?;
    println!("listening on {}", listener.local_addr()?);
    let number = Arc::new(AtomicU32::new(1));
    // Whatever goes wrong here is about one customer, and the window stays open for the others.
    loop {
        match listener.accept() {
            Ok((stream, _customer)) if wrong("one-at-a-time") => {
                // As many windows as customers: a silent one doesn't keep its place.
                let number = Arc::clone(&number);
                thread::spawn(move || serve(&stream, &number));
            }
            Ok((stream, _customer)) => match serve(&stream, &number) {
                Ok(()) if wrong("keeps-open") => std::mem::forget(stream),
                Ok(()) => {}
                Err(_) if wrong("no-name-no-number") => drop(number.fetch_add(1, SeqCst)),
                Err(error) if wrong("reset-ends-window") && error.kind() == ErrorKind::ConnectionReset => {
                    return Err(error.into());
                }
                Err(error) if wrong("end-spends-number") && error.kind() == ErrorKind::UnexpectedEof => {
                    number.fetch_add(1, SeqCst);
                }
                Err(error) if wrong("slow-spends-number") && error.kind() == ErrorKind::TimedOut => {
                    number.fetch_add(1, SeqCst);
                }
                Err(error) => eprintln!("a customer went without a ticket: {error}"),
            },
            Err(error) => eprintln!("cannot call a customer, going on: {error}"),
        }
    }
}

/// Whether this is the mistake to make.
fn wrong(check: &str) -> bool {
    std::env::args().nth(2).is_some_and(|name| name == check)
}

/// Serves the customer at the window: hears a name, and hands out the ticket with the next number.
fn serve(mut stream: &TcpStream, number: &AtomicU32) -> io::Result<()> {
    let mut name = match hear_name(stream, Instant::now() + time_limit()) {
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            stream.write_all(if wrong("other-words") { b"Too slow!\n" } else { b"too slow\n" })?;
            return Err(error);
        }
        heard => heard?,
    };
    if wrong("numbered-tickets") {
        // One word is all that scanf("%s") would have read.
        name.truncate(name.iter().position(|&byte| byte == b' ').unwrap_or(name.len()));
    }
    let name = match () {
        () if wrong("strips-blanks") => name.trim_ascii().to_vec(),
        () if wrong("strips-blanks-behind") => name.trim_ascii_end().to_vec(),
        () if wrong("strips-returns") => name.split(|&byte| byte == b'\r').collect::<Vec<_>>().concat(),
        () if wrong("is-text") => String::from_utf8_lossy(&name).into_owned().into_bytes(),
        () if wrong("ends-at-nul") => name.split(|&byte| byte == 0).next().unwrap_or_default().to_vec(),
        () => name,
    };
    let number = number.fetch_add(1, SeqCst);
    let ticket = [format!("ticket {number} for ").as_bytes(), &name, b"\n"].concat();
    // The customer has said a name, so the number is spent, even if nobody is there to take the ticket.
    if let Err(error) = stream.write_all(&ticket) {
        assert!(!wrong("gone-before-ticket"), "the ticket was not taken: {error}");
        eprintln!("ticket {number} was not taken: {error}");
    }
    Ok(())
}

/// Reads up to the end of the first line, for which there is time until `deadline`.
fn hear_name(mut stream: &TcpStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut heard = Vec::new();
    let mut buffer = [0; 256];
    loop {
        // The system's time limit is for one read. What is left of the customer's time shrinks with each.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() && !heard.is_empty() && wrong("half-a-name-will-do") {
            return Ok(heard);
        }
        if left.is_zero() && !heard.is_empty() && wrong("slow-speaker-not-told") {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if left.is_zero() && !wrong("dripping-client") && !wrong("time-of-nothing") {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(match left {
            _ if wrong("silent-client") => None,
            _ if wrong("dripping-client") => Some(TIME_LIMIT),
            left => Some(left),
        })?;
        let count = match stream.read(&mut buffer) {
            Ok(0) if wrong("end-will-do") && !heard.is_empty() => return Ok(heard),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if wrong("dripping-client") && error.kind() == ErrorKind::WouldBlock => {
                return Err(ErrorKind::TimedOut.into());
            }
            // Unix says WouldBlock when the time is up, Windows says TimedOut. The loop looks at the clock itself.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        heard.extend_from_slice(&buffer[..count]);
        if let Some(end) = heard.iter().position(|&byte| byte == b'\n') {
            heard.truncate(end);
            if heard.ends_with(b"\r") && !wrong("keeps-return") {
                heard.pop();
            }
            return Ok(heard);
        }
        if wrong("one-read") {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if heard.len() > if wrong("short-names") { 256 } else { LONGEST_NAME } {
            return Err(io::Error::new(ErrorKind::InvalidData, "the name doesn't end"));
        }
    }
}
