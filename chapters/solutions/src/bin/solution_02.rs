//! Exercise 2, the ticket window: a model answer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long one customer may take to say a name.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// How many bytes a name may have, so that nobody can fill the memory in the time there is.
const LONGEST_NAME: usize = 1024;

fn main() -> Result<()> {
    let addr = std::env::args().skip(1).next_back().context("give the address as the last argument")?;
    let listener = TcpListener::bind(&addr).with_context(|| format!("cannot listen on \"{addr}\""))?;
    println!("listening on {}", listener.local_addr()?);
    let mut number = 1;
    // Whatever goes wrong here is about one customer, and the window stays open for the others.
    loop {
        match listener.accept() {
            Ok((stream, _customer)) => match serve(&stream, number) {
                Ok(()) => number += 1,
                Err(error) => eprintln!("a customer went without a ticket: {error}"),
            },
            Err(error) => eprintln!("cannot call a customer, going on: {error}"),
        }
    }
}

/// Serves the customer at the window: hears a name, and hands out the ticket with this number.
fn serve(mut stream: &TcpStream, number: u32) -> io::Result<()> {
    let name = match hear_name(stream, Instant::now() + TIME_LIMIT) {
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            stream.write_all(b"too slow\n")?;
            return Err(error);
        }
        heard => heard?,
    };
    let ticket = [format!("ticket {number} for ").as_bytes(), &name, b"\n"].concat();
    // The customer has said a name, so the number is spent, even if nobody is there to take the ticket.
    if let Err(error) = stream.write_all(&ticket) {
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
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            // Unix says WouldBlock when the time is up, Windows says TimedOut. The loop looks at the clock itself.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        heard.extend_from_slice(&buffer[..count]);
        if let Some(end) = heard.iter().position(|&byte| byte == b'\n') {
            heard.truncate(end);
            if heard.ends_with(b"\r") {
                heard.pop();
            }
            return Ok(heard);
        }
        if heard.len() > LONGEST_NAME {
            return Err(io::Error::new(ErrorKind::InvalidData, "the name doesn't end"));
        }
    }
}
