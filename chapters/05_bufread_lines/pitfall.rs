//! Step 5 as people first write it.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;

use anyhow::Result;
use bufstream::BufStream;
use clap::ValueEnum;

use crate::chapter_01::announce::announce;
use crate::chapter_01::listen::listen;
use crate::chapter_03::server::{Options, serve};

/// The mistakes of this chapter. Each is named after the probe that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pitfall {
    /// read_line without a limit: the line grows as long as the client likes
    EndlessLine,
    /// lines() and unwrap: one byte that isn't UTF-8 ends the thread
    NotUtf8,
    /// a buffered answer that is never flushed: server and client wait for each other
    WithheldAnswer,
    /// a new BufReader for every line: what the old one had read ahead is gone
    PipelinedLines,
}

/// Runs the server with one of the mistakes in it.
pub fn run(addr: &str, pitfall: Pitfall, options: &Options) -> Result<()> {
    let listener = listen(addr)?;
    announce(&listener)?;
    let handle = match pitfall {
        Pitfall::EndlessLine => |stream: &TcpStream| read_line(stream, stream),
        Pitfall::NotUtf8 => |stream: &TcpStream| lines_unwrap(stream, stream),
        Pitfall::WithheldAnswer => |stream: &TcpStream| never_flushed(stream),
        Pitfall::PipelinedLines => |stream: &TcpStream| reader_per_line(stream, stream),
    };
    serve(&listener, options, handle)
}

// ANCHOR: read_line
/// `read_line` collects until a newline comes, and nothing says that one will.
pub fn read_line(reader: impl Read, mut writer: impl Write) -> io::Result<()> {
    // ANCHOR: card
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        writer.write_all(format!("echo: {line}").as_bytes())?;
        line.clear();
    }
    // ANCHOR_END: card
    Ok(())
}
// ANCHOR_END: read_line

// ANCHOR: lines_unwrap
/// Each line of `lines` may be an error, and the client chooses which.
pub fn lines_unwrap(reader: impl Read, mut writer: impl Write) -> io::Result<()> {
    for line in BufReader::new(reader).lines() {
        writer.write_all(format!("echo: {}\n", line.unwrap()).as_bytes())?;
    }
    Ok(())
}
// ANCHOR_END: lines_unwrap

// ANCHOR: never_flushed
/// Each answer stays in the buffer until the connection ends.
pub fn never_flushed(stream: impl Read + Write) -> io::Result<()> {
    let mut stream = BufStream::new(stream);
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line)? > 0 {
        stream.write_all(b"echo: ")?;
        stream.write_all(&line)?;
        line.clear();
    }
    Ok(())
}
// ANCHOR_END: never_flushed

// ANCHOR: reader_per_line
/// A `BufReader` reads as much as it can hold, and takes it along when it is dropped.
pub fn reader_per_line(mut reader: impl Read, writer: impl Write) -> io::Result<()> {
    let mut writer = BufWriter::new(writer);
    loop {
        let mut line = Vec::new();
        if BufReader::new(&mut reader).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        writer.write_all(b"echo: ")?;
        writer.write_all(&line)?;
        writer.flush()?;
    }
}
// ANCHOR_END: reader_per_line
