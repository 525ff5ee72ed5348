//! Exercise 4, the parcel office: a model answer.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The largest parcel that is accepted, in bytes.
const LARGEST: usize = 1024 * 1024;

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

fn serve(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // One reader for the whole connection: what it has read ahead exists nowhere else.
    let mut reader = BufReader::new(stream);
    loop {
        match receive(&mut reader)? {
            Received::Parcel(mut contents) => {
                contents.reverse();
                send(stream, &contents)?;
            }
            Received::Refused(why) => {
                send(stream, format!("error: {why}").as_bytes())?;
                break;
            }
            Received::End => break,
        }
    }
    close(stream);
    Ok(())
}

/// What came next.
enum Received {
    /// The contents of a whole parcel.
    Parcel(Vec<u8>),
    /// Something after which no parcel can be found any more, and what to tell the client.
    Refused(String),
    /// The end, between two parcels.
    End,
}

fn receive(reader: &mut impl Read) -> io::Result<Received> {
    let header = up_to(4, reader)?;
    let length = match <[u8; 4]>::try_from(header) {
        Ok(header) => u32::from_be_bytes(header) as usize,
        Err(none) if none.is_empty() => return Ok(Received::End),
        Err(part) => return Ok(Received::Refused(format!("cut off after {} of 4 bytes", part.len()))),
    };
    // Before anything is read or reserved: these four bytes may come from anybody, and ask for 4 GiB.
    if length > LARGEST {
        return Ok(Received::Refused("too large".into()));
    }
    let contents = up_to(length, reader)?;
    if contents.len() < length {
        return Ok(Received::Refused(format!("cut off after {} of {length} bytes", contents.len())));
    }
    Ok(Received::Parcel(contents))
}

/// Reads so many bytes, and fewer only if the client ends its side before.
///
/// `read_exact` would not tell how many there were. This also grows with what has come, not with what was announced.
fn up_to(count: usize, reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Sends a parcel, header and contents with one write.
fn send(mut stream: &TcpStream, contents: &[u8]) -> io::Result<()> {
    let length = u32::try_from(contents.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), contents].concat())
}

/// Ends a connection so that the last parcel arrives: closed with bytes unread, it would be reset. Reads what the client
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
