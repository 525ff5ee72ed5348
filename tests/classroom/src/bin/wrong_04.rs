//! Exercise 4, the parcel office: a server with one mistake.
//!
//! `wrong_04 --fault NAME ADDR` does all that the exercise asks for, except one thing. NAME is a check, which finds it, or a
//! fault that only `as-the-task-says` finds; tests/as_the_task_says.rs has them all.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::SockRef;

const LARGEST: usize = 1024 * 1024;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [_fault, name, addr] = &arguments[..] else { anyhow::bail!("usage: wrong_04 --fault NAME ADDR") };
    let listener = TcpListener::bind(addr).with_context(|| format!("cannot listen on {addr}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _peer) = listener.accept()?;
        let mistake = name.clone();
        if mistake == "one-client" {
            let _ = serve(&stream, &mistake);
            continue;
        }
        thread::spawn(move || serve(&stream, &mistake));
    }
}

fn serve(stream: &TcpStream, mistake: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if mistake == "idle-limit" {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    }
    let mut late = Vec::new();
    let mut reader = BufReader::new(stream);
    loop {
        if mistake == "joined-parcels" {
            // What the last one had read ahead goes with it.
            reader = BufReader::new(stream);
        }
        match receive(&mut reader, mistake)? {
            Received::Parcel(contents) if mistake == "plain-parcels" => {
                // Not everything is text.
                let text: String = String::from_utf8_lossy(&contents).chars().rev().collect();
                send(stream, text.as_bytes())?;
            }
            Received::Parcel(contents) if mistake == "empty-ends" && contents.is_empty() => break,
            Received::Parcel(mut contents) => {
                contents.reverse();
                match mistake {
                    "ends-at-nul" => contents.retain(|&byte| byte != 0),
                    "strips-newline" if contents.starts_with(b"\n") => drop(contents.remove(0)),
                    "answers-late" => std::mem::swap(&mut contents, &mut late),
                    _ => {}
                }
                if mistake == "largest-parcel" {
                    send_what_goes(stream, &contents)?;
                } else {
                    send(stream, &contents)?;
                }
            }
            Received::Refused(why) => {
                if mistake == "cut-off-parcel" && why.starts_with("cut off") {
                    // The client that ended its side could still have read this.
                    return Ok(());
                }
                let mut text = format!("error: {why}").into_bytes();
                if mistake == "reverses-refusals" {
                    text.reverse();
                }
                if mistake == "plain-refusals" {
                    let mut stream = stream;
                    stream.write_all(&text)?;
                } else {
                    send(stream, &text)?;
                }
                if mistake == "refusal-goes-on" && why == "too large" {
                    continue;
                }
                if mistake == "refusal-arrives" {
                    // Dropped with bytes unread: the kernel resets the connection.
                    return Ok(());
                }
                break;
            }
            Received::End => break,
        }
    }
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let began = Instant::now();
    let mut stream = stream;
    while stream.read(&mut [0; 4096])? > 0 {
        if mistake == "reads-once" || mistake != "drains-for-ever" && began.elapsed() > Duration::from_secs(1) {
            break;
        }
    }
    Ok(())
}

enum Received {
    Parcel(Vec<u8>),
    Refused(String),
    End,
}

fn receive(reader: &mut BufReader<&TcpStream>, mistake: &str) -> io::Result<Received> {
    let header = if mistake == "header-in-pieces" {
        // One read, and what it returns is taken for all that will come.
        let mut header = vec![0; 4];
        let count = reader.read(&mut header)?;
        header.truncate(count);
        header
    } else {
        up_to(4, reader)?
    };
    let header = match <[u8; 4]>::try_from(header) {
        Ok(header) => header,
        Err(none) if none.is_empty() => return Ok(Received::End),
        Err(_) if mistake == "half-header-not-told" => return Ok(Received::End),
        Err(part) => return Ok(Received::Refused(format!("cut off after {} of 4 bytes", part.len()))),
    };
    let length = match mistake {
        "little-endian" => u32::from_le_bytes(header),
        _ => u32::from_be_bytes(header),
    } as usize;
    let largest = match mistake {
        "limit-too-low" => LARGEST - 1,
        "limit-too-high" => LARGEST + 4,
        "limit-64-kib" => 65_536,
        _ => LARGEST,
    };
    // With a sign, half of all lengths are negative, and less than any limit.
    let passes = mistake == "oversize-refused" && i32::from_be_bytes(header) < 0;
    if length > largest && !passes {
        return Ok(Received::Refused("too large".into()));
    }
    let contents = up_to(length, reader)?;
    if contents.is_empty() && length > 0 && mistake == "no-contents-not-told" {
        return Ok(Received::End);
    }
    if contents.len() < length && mistake == "counts-header" {
        return Ok(Received::Refused(format!("cut off after {} of {} bytes", contents.len() + 4, length + 4)));
    }
    if contents.len() < length && mistake == "counts-the-rest" {
        return Ok(Received::Refused(format!("cut off after {} of {length} bytes", length - contents.len())));
    }
    if contents.len() < length {
        return Ok(Received::Refused(format!("cut off after {} of {length} bytes", contents.len())));
    }
    Ok(Received::Parcel(contents))
}

fn up_to(count: usize, reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn frame(contents: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(contents.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes(), contents].concat())
}

fn send(mut stream: &TcpStream, contents: &[u8]) -> io::Result<()> {
    stream.write_all(&frame(contents)?)
}

/// Writes what the kernel takes at once, and takes all for sent.
fn send_what_goes(mut stream: &TcpStream, contents: &[u8]) -> io::Result<()> {
    // The kernel may grow this to more than all the answers.
    SockRef::from(stream).set_send_buffer_size(64 * 1024)?;
    stream.set_nonblocking(true)?;
    let _ = stream.write(&frame(contents)?);
    stream.set_nonblocking(false)
}
