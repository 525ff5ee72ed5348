//! Exercise 2: the ticket window.
//!
//! The README beside this file says what the window has to do. Check your work with `cargo run -- check 02`.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// How long one customer may take to say a name.
// TODO: when you use it, delete the next line, or the compiler will wonder what it is for.
#[expect(dead_code, reason = "nobody keeps to it yet")]
const TIME_LIMIT: Duration = Duration::from_secs(2);

fn main() -> Result<()> {
    let addr = std::env::args().skip(1).next_back().context("give the address as the last argument")?;
    let listener = TcpListener::bind(&addr).with_context(|| format!("cannot listen on \"{addr}\""))?;
    println!("listening on {}", listener.local_addr()?);
    let mut number = 0;
    // TODO: keep the window open, whatever a customer does or does not do.
    loop {
        let (stream, _customer) = listener.accept()?;
        number += 1;
        serve(&stream, number)?;
    }
}

/// Serves the customer at the window: hears a name, and hands out the ticket with this number.
// TODO: don't wait longer than the time limit for the whole name, and tell a customer who needs longer `too slow`.
// TODO: spend a number only on a customer who has said a whole name.
fn serve(mut stream: &TcpStream, number: u32) -> io::Result<()> {
    let mut name = String::new();
    BufReader::new(stream).read_line(&mut name)?;
    let name = name.trim_end_matches(['\r', '\n']);
    stream.write_all(format!("ticket {number} for {name}\n").as_bytes())
}
