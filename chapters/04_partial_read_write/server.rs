//! Step 4: a connection is a stream of bytes, and the server finds the messages in it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::Result;

use super::close::close;
use crate::chapter_01::server::{announce, listen, log};
use crate::chapter_03::permits::Permits;
use crate::chapter_03::server::{Backoff, Options};

/// Runs the server of this step.
pub fn run(addr: &str, options: &Options) -> Result<()> {
    let listener = listen(addr)?;
    announce(&listener)?;
    serve(&listener, options, handle)
}

/// Serves each client on a thread of its own, as in step 3.
pub fn serve<H>(listener: &TcpListener, options: &Options, handle: H) -> !
where
    H: Fn(&TcpStream) -> io::Result<()> + Copy + Send + 'static,
{
    let permits = Permits::new(options.max_connections as usize);
    let stack_size = usize::try_from(options.stack_size).unwrap_or(usize::MAX);
    let mut backoff = Backoff::new();
    loop {
        // Before accept, not after: a client too many stays in the kernel's queue, and is served when another
        // leaves. Accepting it first would spend a descriptor on somebody who can't be served.
        let permit = permits.acquire();
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                backoff.pause(&error);
                continue;
            }
        };
        // Not `thread::spawn`: that panics when the system has no thread to give, here in the accept loop.
        let spawned = thread::Builder::new().name(format!("client {peer}")).stack_size(stack_size).spawn(move || {
            // Dropped in reverse order: the connection is closed before its permit is free again.
            let (_permit, stream) = (permit, stream);
            if let Err(error) = handle(&stream) {
                log(format_args!("{peer}: {error}"));
            }
        });
        match spawned {
            // The JoinHandle is dropped here. Kept for later, it would keep the finished thread's stack as well.
            Ok(_) => backoff = Backoff::new(),
            // This client is lost: its connection went into the closure, and is closed with it.
            Err(error) => backoff.pause(&error),
        }
    }
}

// ANCHOR: handle
fn handle(stream: &TcpStream) -> io::Result<()> {
    // Nagle's algorithm holds a small segment back while an earlier one is unacknowledged, and the peer may delay its
    // acknowledgement: up to half a second (RFC 1122, section 4.2.3.2), 40 ms where Linux was measured.
    stream.set_nodelay(true)?;
    let served = echo_lines(stream, stream);
    close(stream);
    served
}
// ANCHOR_END: handle

// ANCHOR: echo_lines
/// Answers every line, however its bytes arrive, until the client ends its side.
pub fn echo_lines(mut reader: impl Read, mut writer: impl Write) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut line = Vec::new();
    loop {
        let count = match reader.read(&mut buffer) {
            // End of the stream, since the buffer isn't empty. (`read` also returns 0 for an empty buffer, and
            // after a reset has been reported once.)
            Ok(0) => break,
            Ok(count) => count,
            // A signal arrived first: nothing was read and nothing is lost.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // These bytes may be part of a line, or several lines and a part.
        for piece in buffer[..count].split_inclusive(|&byte| byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") {
                answer(&line, &mut writer)?;
                line.clear();
            }
        }
    }
    if line.is_empty() {
        Ok(())
    } else {
        // Half a command must not be carried out as if it were a whole one.
        Err(io::Error::new(ErrorKind::UnexpectedEof, "the client ended in the middle of a line"))
    }
}
// ANCHOR_END: echo_lines

// ANCHOR: answer
/// One message, one write. With `write!` straight to the stream, each piece would be a packet of its own.
fn answer(line: &[u8], writer: &mut impl Write) -> io::Result<()> {
    let answer = [b"echo: ", line].concat();
    // `write` may take only a part and says how much; `write_all` goes on until all is taken.
    writer.write_all(&answer)
}
// ANCHOR_END: answer
