//! Step 5: lines through a buffer, of bounded length, answered in as few writes as can be.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::Result;
use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::line_reader::{CHUNK, Line, LineReader};
use crate::chapter_01::announce::announce;
use crate::chapter_01::listen::listen;
use crate::chapter_03;
use crate::chapter_03::server::serve;
use crate::chapter_04::close::close;

/// The options of this server.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Options {
    // Step 3's. A doc comment here would become the heading of the help.
    #[command(flatten)]
    pub(crate) connections: chapter_03::server::Options,
    /// Refuse lines longer than this many bytes
    #[arg(long, value_name = "BYTES", default_value_t = 65_536)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub limit: usize,
}

/// Runs the server of this step.
pub fn run(addr: &str, options: &Options) -> Result<()> {
    let listener = listen(addr)?;
    announce(&listener)?;
    let limit = options.limit;
    serve(&listener, &options.connections, move |stream| handle(stream, limit))
}

fn handle(stream: &TcpStream, limit: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // `&TcpStream` can be read and written, so one connection gives both, and nothing has to be cloned.
    let served = echo_lines(stream, stream, limit);
    close(stream);
    served
}

// ANCHOR: echo_lines
/// Answers every line of at most `limit` bytes, until the client ends its side.
pub fn echo_lines(reader: impl Read, mut writer: impl Write, limit: usize) -> io::Result<()> {
    let mut lines = LineReader::new(reader, limit);
    let mut answers = Vec::new();
    loop {
        match lines.next_line()? {
            Line::Whole(line) => {
                answers.extend_from_slice(b"echo: ");
                answers.extend_from_slice(line);
                answers.push(b'\n');
            }
            // ANCHOR: card
            Line::TooLong => {
                writeln!(answers, "error: line too long (limit {limit} bytes)")?;
                return writer.write_all(&answers);
            }
            // ANCHOR_END: card
            Line::CutShort => {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "the client ended in the middle of a line"));
            }
            Line::End => return Ok(()),
        }
        // Write before waiting, or the client waits as well. Not after every line: lines that came together are
        // answered together. And not only once the buffer is empty: half a line may be in it.
        if !lines.another_waits() || answers.len() >= CHUNK {
            writer.write_all(&answers)?;
            answers.clear();
        }
    }
}
// ANCHOR_END: echo_lines
