//! Step 2: serve one client after the other, and let no client end that.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::chapter_01::announce::{announce, log};
use crate::chapter_01::listen::listen;

/// The options of this server.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Disconnect a client that has been silent for this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub read_timeout: u64,
}

/// Runs the server of this step.
pub fn run(addr: &str, options: &Options) -> Result<()> {
    let listener = listen(addr)?;
    announce(&listener)?;
    serve(&listener, Some(Duration::from_secs(options.read_timeout)))
}

// ANCHOR: serve
/// Serves each client to its end before it accepts the next.
pub fn serve(listener: &TcpListener, read_timeout: Option<Duration>) -> ! {
    loop {
        // Most errors of accept are about one client that has already gone (accept(2) lists them). Neither `?`
        // nor `unwrap` belongs in this loop: one client would end the server for everybody.
        // ANCHOR: card
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                log(format_args!("cannot accept a client, going on: {error}"));
                continue;
            }
        };
        // The address comes from accept. `stream.peer_addr()` asks the system again, and fails for a client that
        // reset its connection in the meantime.
        if let Err(error) = handle(&stream, read_timeout) {
            log(format_args!("{peer}: {error}"));
        }
        // ANCHOR_END: card
    }
}
// ANCHOR_END: serve

// ANCHOR: handle
fn handle(stream: &TcpStream, read_timeout: Option<Duration>) -> io::Result<()> {
    // While this client is silent, `read` waits, and so does every client behind it. Only a second thread cures that;
    // a timeout limits how long it lasts.
    stream.set_read_timeout(read_timeout)?;
    echo_reads(stream, stream).map_err(|error| match error.kind() {
        // Unix says WouldBlock when the time is up, Windows says TimedOut.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            io::Error::new(ErrorKind::TimedOut, "silent for too long, disconnected")
        }
        _ => error,
    })
}
// ANCHOR_END: handle

// ANCHOR: echo_reads
/// Answers what each `read` returns, until the client ends its side. Chapter 4 shows what is wrong with that.
pub fn echo_reads(mut reader: impl Read, mut writer: impl Write) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&buffer[..count]);
        writeln!(writer, "echo: {}", message.trim_end_matches('\n'))?;
    }
}
// ANCHOR_END: echo_reads
