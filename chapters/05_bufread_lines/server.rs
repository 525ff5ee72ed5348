//! Step 5: lines through a buffer, of bounded length, answered in as few writes as can be.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::Result;
use clap::Args;

use super::line_reader::{CHUNK, Line, LineReader};
use crate::chapter_01::server::{announce, listen, log};
use crate::chapter_03;
use crate::chapter_03::permits::Permits;
use crate::chapter_03::server::Backoff;
use crate::chapter_04::close::close;

/// What can be set about this server.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Options {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the heading of the help")]
    pub connections: chapter_03::server::Options,
    /// Refuse lines of more than so many bytes
    #[arg(long, value_name = "BYTES", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// Runs the server of this step.
pub fn run(addr: &str, options: &Options) -> Result<()> {
    let listener = listen(addr)?;
    announce(&listener)?;
    let limit = options.limit as usize;
    serve(&listener, &options.connections, move |stream| handle(stream, limit))
}

/// Serves each client on a thread of its own, as in step 3.
pub fn serve<H>(listener: &TcpListener, options: &chapter_03::server::Options, handle: H) -> !
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
            Line::TooLong => {
                writeln!(answers, "error: line too long (limit {limit} bytes)")?;
                return writer.write_all(&answers);
            }
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
