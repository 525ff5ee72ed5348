//! Exercise 1: a door with a sign.
//!
//! The README beside this file says what the door has to do. Check your work with `cargo run -- check 01`.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let addr = std::env::args().skip(1).next_back().context("give the address as the last argument")?;
    let listener = listen(&addr)?;
    // TODO: name the address that callers have to dial, also when the system has chosen its port.
    println!("listening on {addr}");
    loop {
        match listener.accept() {
            // One caller who has gone already must not close the door for the next.
            Ok((stream, caller)) => drop(greet(stream, caller)),
            Err(error) => eprintln!("cannot let a caller in, going on: {error}"),
        }
    }
}

/// Listens on `addr`, as the operator has typed it.
// TODO: take ":8080" for every address of this machine, of both families.
// TODO: for an address that is no good, end with a sentence that quotes it and says what is wrong with it.
// TODO: for an address that somebody else holds, end with a sentence that names its port and says that it is in use.
fn listen(addr: &str) -> Result<TcpListener> {
    Ok(TcpListener::bind(addr)?)
}

/// Shows a caller the sign, and closes.
fn greet(mut stream: impl Write, caller: SocketAddr) -> io::Result<()> {
    let sign = format!("welcome, {}\n", shown(caller.ip()));
    stream.write_all(sign.as_bytes())
}

/// The caller's address as the caller knows it.
// TODO: when one listener takes both families, greet callers of each by an address of their own family.
fn shown(ip: IpAddr) -> IpAddr {
    ip
}
