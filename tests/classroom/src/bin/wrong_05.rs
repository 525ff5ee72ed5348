//! Exercise 5 with one mistake: `wrong_05 --check NAME ADDR` falls into that check, and into no other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

const LONGEST: usize = 1024;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [flag, check, addr] = &arguments[..] else { anyhow::bail!("usage: wrong_05 --check NAME ADDR") };
    anyhow::ensure!(flag == "--check", "usage: wrong_05 --check NAME ADDR");
    let listener = TcpListener::bind(addr).with_context(|| format!("cannot listen on {addr}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _peer) = listener.accept()?;
        let mistake = check.clone();
        thread::spawn(move || serve(&stream, &mistake));
    }
}

fn serve(mut stream: &TcpStream, mistake: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    let mut answers = Vec::new();
    let mut too_long = false;
    loop {
        let another_waits = match mistake {
            // Half a line in the buffer is no reason to wait with answers.
            "joined-commands" => !reader.buffer().is_empty() && !too_long,
            // Each answer with a write of its own.
            "one-write" => false,
            _ => reader.buffer().contains(&b'\n'),
        };
        if !another_waits {
            stream.write_all(&answers)?;
            answers.clear();
        }
        line.clear();
        reader.by_ref().take(LONGEST as u64 + 2).read_until(b'\n', &mut line)?;
        let Some(text) = line.strip_suffix(b"\n") else {
            if line.len() < LONGEST + 2 {
                if mistake == "leaving" {
                    // Who knows what the rest of it would have been?
                    carry_out(&line, &mut answers, mistake);
                }
                break;
            }
            // It is known to be too long, and not said before it ends.
            if !too_long && mistake != "longest-line" {
                answers.extend_from_slice(b"error: line too long\n");
            }
            too_long = true;
            continue;
        };
        if std::mem::take(&mut too_long) {
            if mistake == "longest-line" {
                answers.extend_from_slice(b"error: line too long\n");
            }
            continue;
        }
        let text = match text.strip_suffix(b"\r") {
            Some(text) if mistake != "carriage-return" => text,
            _ => text,
        };
        if text.len() > LONGEST {
            answers.extend_from_slice(b"error: line too long\n");
        } else if carry_out(text, &mut answers, mistake) {
            break;
        }
    }
    stream.write_all(&answers)?;
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    io::copy(&mut stream, &mut io::sink())?;
    Ok(())
}

/// Carries out one command, and says whether it was the last.
fn carry_out(command: &[u8], answers: &mut Vec<u8>, mistake: &str) -> bool {
    if let Some(text) = command.strip_prefix(b"UPPER ") {
        if mistake == "any-bytes" {
            // Text is made of what is none.
            answers.extend_from_slice(String::from_utf8_lossy(text).to_ascii_uppercase().as_bytes());
        } else {
            answers.extend(text.iter().map(u8::to_ascii_uppercase));
        }
        answers.push(b'\n');
    } else if let Some(text) = command.strip_prefix(b"LEN ") {
        answers.extend_from_slice(format!("{}\n", text.len()).as_bytes());
    } else if command == b"QUIT" {
        answers.extend_from_slice(b"bye\n");
        return true;
    } else {
        answers.extend_from_slice(b"error: say UPPER text, LEN text, or QUIT\n");
        // One wrong word, and the client is out.
        return mistake == "four-commands";
    }
    false
}
