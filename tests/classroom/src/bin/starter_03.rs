//! Exercise 3: six seats.
//!
//! The README beside this file says what the counter has to do. Check your work with `cargo run -- check 03`.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use anyhow::{Context, Result};

/// How many guests can sit at the counter.
const SEATS: usize = 6;

fn main() -> Result<()> {
    let addr = std::env::args().skip(1).next_back().context("give the address as the last argument")?;
    let listener = TcpListener::bind(&addr).with_context(|| format!("cannot listen on \"{addr}\""))?;
    println!("listening on {}", listener.local_addr()?);
    let taken = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _guest)) => stream,
            Err(error) => {
                eprintln!("cannot let a guest in, going on: {error}");
                continue;
            }
        };
        // Only this thread takes seats, so none can be taken between the look and the taking.
        if taken.load(SeqCst) == SEATS {
            let _ = turn_away(&stream);
            continue;
        }
        taken.fetch_add(1, SeqCst);
        let seat = Arc::clone(&taken);
        let seated = thread::Builder::new().spawn(move || -> io::Result<()> {
            wait_on(&stream)?;
            // TODO: give the seat back in whatever way the guest's visit ends.
            seat.fetch_sub(1, SeqCst);
            Ok(())
        });
        if let Err(error) = seated {
            eprintln!("cannot seat a guest, going on: {error}");
            taken.fetch_sub(1, SeqCst);
        }
    }
}

/// Tells a guest that every seat is taken.
// TODO: make sure that a guest who has ordered already can read this as well.
fn turn_away(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(b"busy\n")
}

/// Serves a guest from sitting down to leaving.
fn wait_on(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(b"seated\n")?;
    for order in BufReader::new(stream).lines() {
        let served = cook(&order?);
        stream.write_all(format!("{served}\n").as_bytes())?;
    }
    Ok(())
}

/// Prepares what a guest has ordered. This is not yours: leave it as it is, with its bug.
fn cook(order: &str) -> String {
    assert!(order != "fire", "the kitchen burns");
    format!("here is your {order}")
}
