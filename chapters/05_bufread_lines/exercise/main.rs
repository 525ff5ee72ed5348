//! Exercise 5: the switchboard. Read README.md beside this file, then mend the server.
//!
//! `cargo run -- check 05` says how far you are.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

// This part is done: it listens, and serves each client on a thread of its own.
fn main() -> Result<()> {
    let addr = std::env::args().skip(1).last().context("give an address to listen on, such as 127.0.0.1:8080")?;
    let listener = TcpListener::bind(&addr).with_context(|| format!("cannot listen on {addr}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept() {
            Ok((stream, peer)) => {
                // Its error is that there is no more room for a thread. `thread::spawn` would panic.
                let visit = thread::Builder::new().spawn(move || {
                    if let Err(error) = serve(&stream) {
                        eprintln!("{peer}: {error}");
                    }
                });
                if let Err(error) = visit {
                    eprintln!("cannot serve {peer}: {error}");
                }
            }
            // Out of descriptors, say: that passes when a client leaves.
            Err(error) => {
                eprintln!("cannot accept a client: {error}");
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

/// Carries out the commands of one client.
fn serve(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    // TODO: A line is bytes, at most 1024 of them, and ends with `\n` or `\r\n`. This one is text, and as long as the
    // client likes.
    let mut line = String::new();
    // TODO: At the end of the stream, what has no newline is no command: don't carry it out, and don't answer it.
    while reader.read_line(&mut line)? > 0 {
        let command = line.strip_suffix('\n').unwrap_or(&line);
        // TODO: Commands that come together are answered together, with one write. Yet no answer may wait while the
        // server waits.
        if let Some(text) = command.strip_prefix("UPPER ") {
            writeln!(stream, "{}", text.to_uppercase())?;
        } else if let Some(text) = command.strip_prefix("LEN ") {
            writeln!(stream, "{}", text.chars().count())?;
        } else if command == "QUIT" {
            // TODO: The client has to be able to read this, whatever else it has sent.
            return writeln!(stream, "bye");
        } else {
            writeln!(stream, "error: unknown command")?;
        }
        line.clear();
    }
    Ok(())
}
