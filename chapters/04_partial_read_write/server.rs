//! Step 4: a connection is a stream of bytes, and the server finds the messages in it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::Result;

use super::close::close;
use crate::chapter_01::announce::announce;
use crate::chapter_01::listen::listen;
use crate::chapter_03::server::{Options, serve};

/// Runs the server of this step.
pub fn run(addr: &str, options: &Options) -> Result<()> {
    let listener = listen(addr)?;
    announce(&listener)?;
    serve(&listener, options, handle)
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
            // The end of the stream: there was room to read into, so this is no 0 of an empty buffer.
            Ok(0) if line.is_empty() => return Ok(()),
            // Half a command must not be carried out as if it were a whole one.
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the client ended in the middle of a line")),
            Ok(count) => count,
            // A signal arrived first: nothing was read and nothing is lost.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // ANCHOR: card
        // These bytes may be part of a line, or several lines and a part.
        for piece in buffer[..count].split_inclusive(|&byte| byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") {
                answer(&line, &mut writer)?;
                line.clear();
            }
        }
        // ANCHOR_END: card
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
