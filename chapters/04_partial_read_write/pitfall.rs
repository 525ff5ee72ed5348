//! Step 4 as people first write it, and the step before.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use anyhow::Result;
use clap::ValueEnum;

use crate::chapter_01::announce::announce;
use crate::chapter_01::listen::listen;
use crate::chapter_02::server::echo_reads;
use crate::chapter_03::server::{Options, serve};

/// The mistakes of this chapter. Each is named after the probe or the scene that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pitfall {
    /// step 3: what one read returns is taken for one message
    SplitMessage,
    /// a write that must not wait, and whose count is ignored
    EveryByte,
    /// one answer in three writes, with Nagle's algorithm on
    PromptAnswer,
    /// a connection closed while the client's bytes are unread
    UnreadInput,
}

/// Runs the server with one of the mistakes in it.
pub fn run(addr: &str, pitfall: Pitfall, options: &Options) -> Result<()> {
    let listener = listen(addr)?;
    announce(&listener)?;
    let handle = match pitfall {
        Pitfall::SplitMessage => |stream: &TcpStream| echo_reads(stream, stream),
        Pitfall::EveryByte => |stream: &TcpStream| forget_the_count(stream, WithoutWaiting(stream)),
        Pitfall::PromptAnswer => |stream: &TcpStream| three_writes(stream, stream),
        Pitfall::UnreadInput => |stream: &TcpStream| first_line_only(stream, stream),
    };
    serve(&listener, options, handle)
}

// ANCHOR: forget_the_count
/// Writes only what the kernel takes at once, so that a slow client can't hold up the thread.
pub struct WithoutWaiting<'a>(pub &'a TcpStream);

impl Write for WithoutWaiting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.set_nonblocking(true)?;
        let written = (&*self.0).write(bytes);
        self.0.set_nonblocking(false)?;
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes every answer for sent, whatever `write` says.
pub fn forget_the_count(reader: impl Read, mut writer: impl Write) -> io::Result<()> {
    for line in BufReader::new(reader).split(b'\n') {
        let _ = writer.write(&[b"echo: ", &line?[..], b"\n"].concat());
    }
    Ok(())
}
// ANCHOR_END: forget_the_count

// ANCHOR: three_writes
/// The first write is sent at once. The others wait until it is acknowledged, and the client may take its time for that.
pub fn three_writes(reader: impl Read, mut writer: impl Write) -> io::Result<()> {
    for line in BufReader::new(reader).split(b'\n') {
        writer.write_all(b"echo: ")?;
        writer.write_all(&line?)?;
        writer.write_all(b"\n")?;
    }
    Ok(())
}
// ANCHOR_END: three_writes

// ANCHOR: first_line_only
/// Answers one line and has done its part; the caller drops the stream.
pub fn first_line_only(reader: impl Read, mut writer: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    BufReader::new(reader).read_until(b'\n', &mut line)?;
    writer.write_all(&[b"echo: ", &line[..]].concat())
}
// ANCHOR_END: first_line_only

// ANCHOR: two_reads
/// Reads a frame with one `read` for its header and one for its payload.
///
/// Each may return less than was asked for: the next header is then looked for in the middle of this frame.
#[expect(clippy::unused_io_amount, reason = "that the counts are ignored is the pitfall")]
pub fn echo_frames_in_two_reads(mut reader: impl Read, mut writer: impl Write) -> io::Result<()> {
    let mut header = [0; 4];
    reader.read(&mut header)?;
    let mut payload = vec![0; u32::from_be_bytes(header) as usize];
    reader.read(&mut payload)?;
    super::frame::write_frame(&mut writer, &[b"echo: ", &payload[..]].concat())
}
// ANCHOR_END: two_reads
