//! Exercise 3, six seats: a server with one mistake.
//!
//! `wrong_03 --fault NAME ADDR` does all that the exercise asks for, except one thing. NAME is a check, which finds it, or a
//! fault that only `as-the-task-says` finds; tests/as_the_task_says.rs has them all.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How many guests can sit at the counter.
const SEATS: usize = 6;

/// How long a guest who was turned away may stay at the door.
const FAREWELL: Duration = Duration::from_secs(1);

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
        let seat = Seat::take(&taken);
        if seat.is_none() && wrong("lingering-seventh") {
            // In the thread that lets guests in, though for no more than a second.
            let _ = turn_away(&stream);
            continue;
        }
        // A thread for both: this one lets guests in, and waits for none of them.
        let visit = thread::Builder::new().spawn(move || match seat {
            Some(seat) => {
                let visit = panic::catch_unwind(|| wait_on(&stream));
                let ended_so = match &visit {
                    Ok(Ok(())) if wrong("end-keeps-seat") => true,
                    Ok(Err(_)) => wrong("reset-gives-seat-back"),
                    Err(_) => wrong("panic-gives-seat-back"),
                    Ok(Ok(())) => false,
                };
                if matches!(visit, Ok(Err(_))) && wrong("reset-frees-two") {
                    seat.0.fetch_update(SeqCst, SeqCst, |taken: usize| taken.checked_sub(1)).ok();
                }
                if visit.is_err() && wrong("fire-ends-all") {
                    std::process::exit(1);
                }
                if ended_so {
                    // As if the seat were given back by a line that this visit did not reach.
                    std::mem::forget(seat);
                }
                drop(stream);
                visit.unwrap_or(Ok(()))
            }
            None => turn_away(&stream),
        });
        // The guest went into the closure, and leaves with it. So does the seat.
        if let Err(error) = visit {
            eprintln!("cannot serve a guest, going on: {error}");
        }
    }
}

/// Whether this is the mistake to make.
fn wrong(check: &str) -> bool {
    std::env::args().nth(2).is_some_and(|name| name == check)
}

/// A taken seat. However a visit ends, by leaving, by an error or by a panic, this is dropped then.
struct Seat(Arc<AtomicUsize>);

impl Seat {
    /// Takes a seat, if one is free.
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let seats = match () {
            () if wrong("six-and-no-more") => SEATS + 1,
            () if wrong("five-seats") => SEATS - 1,
            () => SEATS,
        };
        if wrong("counted-in-thread") {
            // As a thread does that says "seated" first: until then everybody finds the seat free.
            if taken.load(SeqCst) >= seats {
                return None;
            }
            let (seat, count) = (Seat(Arc::clone(taken)), Arc::clone(taken));
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(50));
                count.fetch_add(1, SeqCst);
            });
            return Some(seat);
        }
        let one_more = |taken| (taken < seats).then_some(taken + 1);
        taken.fetch_update(SeqCst, SeqCst, one_more).ok().map(|_| Seat(Arc::clone(taken)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Tells a guest that every seat is taken.
fn turn_away(mut stream: &TcpStream) -> io::Result<()> {
    if wrong("busy-after-3-seconds") {
        thread::sleep(Duration::from_secs(3));
    }
    stream.write_all(if wrong("other-words") { b"sorry, busy\n" } else { b"busy\n" })?;
    if wrong("busy-can-be-read") {
        return Ok(());
    }
    if wrong("busy-without-end") {
        stream.set_read_timeout(Some(10 * FAREWELL))?;
        return io::copy(&mut stream, &mut io::sink()).map(drop);
    }
    stream.shutdown(Shutdown::Write)?;
    // Closed with an order unread, the connection would be reset, and the guest might never read `busy`. So read until
    // the guest goes, but not longer than is polite.
    let deadline = Instant::now() + FAREWELL;
    let mut unwanted = [0; 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        if stream.read(&mut unwanted)? == 0 || wrong("reads-once") {
            return Ok(());
        }
    }
}

/// Serves a guest from sitting down to leaving.
fn wait_on(mut stream: &TcpStream) -> io::Result<()> {
    if wrong("idle-limit") {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    }
    let mut reader = BufReader::new(stream);
    if wrong("seated-with-order") {
        reader.fill_buf()?;
    }
    stream.write_all(b"seated\n")?;
    if wrong("one-read") {
        // What one read returns is one order.
        loop {
            let read = reader.fill_buf()?;
            if read.is_empty() {
                return Ok(());
            }
            let served = cook(String::from_utf8_lossy(read).trim_end_matches('\n'));
            let length = read.len();
            reader.consume(length);
            stream.write_all(format!("{served}\n").as_bytes())?;
        }
    }
    for order in reader.lines() {
        let order = order?;
        let order = match () {
            () if wrong("strips-blanks") => order.trim().to_owned(),
            () if wrong("ends-at-vertical-tab") => order.split('\u{b}').next().unwrap_or_default().to_owned(),
            () if wrong("first-word") => order.split(' ').next().unwrap_or_default().to_owned(),
            () if wrong("lower-case") => order.to_lowercase(),
            () if wrong("ascii-only") => order.chars().filter(char::is_ascii).collect(),
            () => order,
        };
        let served = match panic::catch_unwind(|| cook(&order)) {
            Ok(served) => served,
            Err(_) if wrong("fire-is-answered") => "sorry".into(),
            Err(_) if wrong("fire-goes-on") => continue,
            Err(panic) => panic::resume_unwind(panic),
        };
        stream.write_all(format!("{served}{}\n", if wrong("two-ends") { "\r" } else { "" }).as_bytes())?;
        if wrong("one-order") {
            return Ok(());
        }
    }
    Ok(())
}

/// Prepares what a guest has ordered. This is not yours: leave it as it is, with its bug.
fn cook(order: &str) -> String {
    assert!(order != "fire", "the kitchen burns");
    format!("here is your {order}")
}
