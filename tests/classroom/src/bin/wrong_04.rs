//! Exercise 4 with one mistake: `wrong_04 --check NAME ADDR` falls into that check, and into no other.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::SockRef;

const LARGEST: usize = 1024 * 1024;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [flag, check, addr] = &arguments[..] else { anyhow::bail!("usage: wrong_04 --check NAME ADDR") };
    anyhow::ensure!(flag == "--check", "usage: wrong_04 --check NAME ADDR");
    let listener = TcpListener::bind(addr).with_context(|| format!("cannot listen on {addr}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _peer) = listener.accept()?;
        let mistake = check.clone();
        thread::spawn(move || serve(&stream, &mistake));
    }
}

fn serve(stream: &TcpStream, mistake: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
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
            Received::Parcel(mut contents) => {
                contents.reverse();
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
                send(stream, format!("error: {why}").as_bytes())?;
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
    io::copy(&mut &*stream, &mut io::sink())?;
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
        Err(part) => return Ok(Received::Refused(format!("cut off after {} of 4 bytes", part.len()))),
    };
    let length = u32::from_be_bytes(header) as usize;
    // With a sign, half of all lengths are negative, and less than any limit.
    let passes = mistake == "oversize-refused" && i32::from_be_bytes(header) < 0;
    if length > LARGEST && !passes {
        return Ok(Received::Refused("too large".into()));
    }
    let contents = up_to(length, reader)?;
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
