//! Exercise 8: a counter with a clock. Its task is in README.md, beside this file.
//!
//! `cargo run -- check 08` says how far you are.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// How long a customer has for a line.
const LINE_TIME: Duration = Duration::from_secs(2);

fn main() -> Result<()> {
    let addr = env::args().skip(1).last().context("say where to listen, as in 127.0.0.1:8080")?;
    let listener = TcpListener::bind(&addr).with_context(|| format!("cannot listen on \"{addr}\""))?;
    // How many customers have lost their places, all together.
    let lost = Arc::new(AtomicU32::new(0));
    let tally = Arc::clone(&lost);
    // Runs on a thread of its own when SIGTERM or Ctrl-C comes.
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

/// Serves one customer until it leaves, or loses its place.
// TODO: give a line two seconds from its first byte to its end, however many reads it takes, and tell a customer who needs
//       longer `error: too slow`, so that it can read that.
// TODO: give a customer who says nothing four seconds, and one who takes no answer three.
// TODO: count, before it is told anything, each customer who loses its place.
fn serve(mut stream: &TcpStream, _lost: &AtomicU32) -> io::Result<()> {
    // The clock at the counter.
    stream.set_read_timeout(Some(LINE_TIME))?;
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    let mut number = 0;
    while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
        number += 1;
        stream.write_all(&[format!("{number}: ").as_bytes(), &line].concat())?;
        line.clear();
    }
    Ok(())
}
