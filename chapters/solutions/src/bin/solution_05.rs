//! Exercise 5, the switchboard: a model answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The longest line that is accepted, in bytes, its end not counted.
const LONGEST: usize = 1024;

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

fn serve(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    let mut answers = Vec::new();
    let mut rest_of_long_line = false;
    loop {
        // Never wait with answers in your hands. While a newline is in the buffer, there is no waiting. (That the
        // buffer isn't empty would not be enough: half a line may be in it.)
        if !reader.buffer().contains(&b'\n') {
            stream.write_all(&answers)?;
            answers.clear();
        }
        // Two bytes more than the longest line: they are its end, or it is too long.
        line.clear();
        reader.by_ref().take(LONGEST as u64 + 2).read_until(b'\n', &mut line)?;
        let Some(text) = line.strip_suffix(b"\n") else {
            if line.len() < LONGEST + 2 {
                // The client ended its side. A line without its end is no command.
                break;
            }
            if !rest_of_long_line {
                answers.extend_from_slice(b"error: line too long\n");
            }
            rest_of_long_line = true;
            continue;
        };
        if std::mem::take(&mut rest_of_long_line) {
            continue;
        }
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.len() > LONGEST {
            answers.extend_from_slice(b"error: line too long\n");
        } else if carry_out(text, &mut answers) == Next::HangUp {
            break;
        }
    }
    stream.write_all(&answers)?;
    close(stream);
    Ok(())
}

/// What the server does after a command.
#[derive(PartialEq)]
enum Next {
    Listen,
    HangUp,
}

/// Carries out one command. Its text may be any bytes.
fn carry_out(command: &[u8], answers: &mut Vec<u8>) -> Next {
    if let Some(text) = command.strip_prefix(b"UPPER ") {
        answers.extend(text.iter().map(u8::to_ascii_uppercase));
        answers.push(b'\n');
    } else if let Some(text) = command.strip_prefix(b"LEN ") {
        answers.extend_from_slice(format!("{}\n", text.len()).as_bytes());
    } else if command == b"QUIT" {
        answers.extend_from_slice(b"bye\n");
        return Next::HangUp;
    } else {
        answers.extend_from_slice(b"error: say UPPER text, LEN text, or QUIT\n");
    }
    Next::Listen
}

/// Ends a connection so that the last answer arrives: closed with bytes unread, it would be reset. Reads what the client
/// still sends, for a second at most.
fn close(mut stream: &TcpStream) {
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let deadline = Instant::now() + Duration::from_secs(1);
    let mut unread = [0; 4096];
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        if stream.set_read_timeout(Some(left)).is_err() || !matches!(stream.read(&mut unread), Ok(1..)) {
            return;
        }
    }
}
