//! Exercise 5, the switchboard: a server with one mistake.
//!
//! `wrong_05 --fault NAME ADDR` does all that the exercise asks for, except one thing. NAME is a check, which finds it, or a
//! fault that only `as-the-task-says` finds; tests/as_the_task_says.rs has them all.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

const LONGEST: usize = 1024;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [_fault, name, addr] = &arguments[..] else { anyhow::bail!("usage: wrong_05 --fault NAME ADDR") };
    let listener = TcpListener::bind(addr).with_context(|| format!("cannot listen on {addr}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _peer) = listener.accept()?;
        let mistake = name.clone();
        if mistake == "one-client" {
            let _ = serve(&stream, &mistake);
            continue;
        }
        thread::spawn(move || {
            let served = serve(&stream, &mistake);
            if mistake == "keeps-descriptors" {
                let _ = stream.shutdown(Shutdown::Both);
                std::mem::forget(stream);
            }
            served
        });
    }
}

fn serve(mut stream: &TcpStream, mistake: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if mistake == "idle-limit" {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    }
    let longest = match mistake {
        "limit-too-low" => LONGEST - 1,
        "limit-too-high" => LONGEST + 1,
        _ => LONGEST,
    };
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
            if mistake == "rest-is-a-command" {
                answers.extend_from_slice(b"error: line too long\n");
                continue;
            }
            // It is known to be too long, and not said before it ends.
            if (!too_long || mistake == "error-for-each-part") && mistake != "longest-line" {
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
        let text = match mistake {
            "strips-blanks-behind" => text.trim_ascii_end(),
            "strips-blanks-before" => text.trim_ascii_start(),
            "strips-returns" => &text[..text.iter().rposition(|&byte| byte != b'\r').map_or(0, |at| at + 1)],
            "ends-at-nul" => text.split(|&byte| byte == 0).next().unwrap_or_default(),
            _ => text,
        };
        if text.len() > longest {
            answers.extend_from_slice(b"error: line too long\n");
        } else if carry_out(text, &mut answers, mistake) {
            break;
        }
    }
    stream.write_all(&answers)?;
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    if mistake == "reads-once" {
        let _ = stream.read(&mut [0; 4096])?;
        return Ok(());
    }
    io::copy(&mut stream, &mut io::sink())?;
    Ok(())
}

/// Carries out one command, and says whether it was the last.
fn carry_out(command: &[u8], answers: &mut Vec<u8>, mistake: &str) -> bool {
    let upper = command.to_ascii_uppercase();
    match mistake {
        "empty-text-refused" if command.ends_with(b" ") && command.len() < 7 => {
            answers.extend_from_slice(b"error: say something\n");
            return false;
        }
        "needs-no-blank" if command == b"LEN" => {
            answers.extend_from_slice(b"0\n");
            return false;
        }
        "tab-is-a-blank" if command.starts_with(b"UPPER\t") => {
            answers.extend(command[6..].iter().map(u8::to_ascii_uppercase).chain([b'\n']));
            return false;
        }
        "any-case" if upper.starts_with(b"LEN ") && !command.starts_with(b"LEN ") => {
            answers.extend_from_slice(format!("{}\n", command.len() - 4).as_bytes());
            return false;
        }
        "counts-characters" if command.starts_with(b"LEN ") => {
            let characters = String::from_utf8_lossy(&command[4..]).chars().count();
            answers.extend_from_slice(format!("{characters}\n").as_bytes());
            return false;
        }
        "all-alphabets" if command.starts_with(b"UPPER ") => {
            let text = std::str::from_utf8(&command[6..]).map(str::to_uppercase);
            answers.extend_from_slice(&text.map_or(command[6..].to_ascii_uppercase(), String::into_bytes));
            answers.push(b'\n');
            return false;
        }
        "quit-with-more" if command.starts_with(b"QUIT") => {
            answers.extend_from_slice(b"bye\n");
            return true;
        }
        "quit-drops-answers" if command == b"QUIT" => {
            answers.clear();
            answers.extend_from_slice(b"bye\n");
            return true;
        }
        "errors-overtake" if ![&b"UPPER "[..], b"LEN ", b"QUIT"].iter().any(|known| command.starts_with(known)) => {
            let earlier = std::mem::replace(answers, b"error: say UPPER text, LEN text, or QUIT\n".to_vec());
            answers.extend_from_slice(&earlier);
            return false;
        }
        _ => {}
    }
    if let Some(text) = command.strip_prefix(b"UPPER ") {
        let text = if mistake == "four-commands" { text.trim_ascii_start() } else { text };
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
    }
    false
}
