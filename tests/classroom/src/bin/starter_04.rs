//! Exercise 4: the parcel office. Read README.md beside this file, then mend the server.
//!
//! `cargo run -- check 04` says how far you are.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// The largest parcel that is accepted, in bytes.
const LARGEST: usize = 1024 * 1024;

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

/// Sends every parcel of one client back, its contents reversed.
fn serve(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 4 + LARGEST];
    loop {
        // TODO: A parcel is whole when its last byte has come, and the next one begins right behind it. Neither is
        // what one `read` is about.
        let count = stream.read(&mut buffer)?;
        // TODO: Nothing more comes. Was that between two parcels, or in the middle of one? The client wants to know.
        if count == 0 {
            return Ok(());
        }
        // TODO: A parcel may be too large, and its header says so. Its sender has to be able to read the refusal, even
        // while the rest of the parcel is still on its way.
        let mut parcel = buffer[..count].to_vec();
        if count > 4 {
            parcel[4..].reverse();
        }
        stream.write_all(&parcel)?;
    }
}
