//! The talk with one client, which waits without a thread.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use rustix::io::ioctl_fionread;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::WriteHalf;
use tokio::select;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::server::Server;
use crate::chapter_05::line_reader::{CHUNK, Line, LineReader};
use crate::chapter_08::deadlines::TooSlow;

// ANCHOR: talk
/// Talks with a client until it ends its side or is too slow, or the server stops.
pub async fn talk(mut stream: TcpStream, server: &Server) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.split();
    let outcome = echo_lines(reader.as_ref(), &mut writer, server).await;
    if let Err(Unserved::TooSlow(what)) = &outcome {
        server.counts.count(*what);
        match what {
            TooSlow::Line => {
                let limit = server.limits.line.as_secs();
                let _ = write(&mut writer, format!("error: too slow (limit {limit} s)\n").as_bytes(), server).await;
            }
            TooSlow::Idle => {}
            TooSlow::Answer => return SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
        }
    }
    close(&mut stream).await;
    match outcome {
        Err(Unserved::Io(error)) => Err(error),
        _ => Ok(()),
    }
}
// ANCHOR_END: talk

/// Why a client was not served to its end.
enum Unserved {
    /// It was too slow.
    TooSlow(TooSlow),
    /// Its connection broke, or could not be used.
    Io(io::Error),
}

impl From<io::Error> for Unserved {
    fn from(error: io::Error) -> Self {
        Unserved::Io(error)
    }
}

// ANCHOR: echo_lines
/// Step 5's conversation. Where that would wait in `read`, this waits for input, the stop or the end of the time.
async fn echo_lines(stream: &TcpStream, writer: &mut WriteHalf<'_>, server: &Server) -> Result<(), Unserved> {
    let Server { stop, limit, limits, .. } = server;
    let mut lines = LineReader::new(UntilStop { stream, stop, arrived: None, between_lines: true }, *limit);
    let mut answers = Vec::new();
    let mut line_began = None;
    // Before the first read, which makes a buffer: a client that says nothing has none.
    wait(stream, stop, Instant::now() + limits.idle).await.map_err(|_| Unserved::TooSlow(TooSlow::Idle))?;
    loop {
        match lines.next_line() {
            Ok(Line::Whole(line)) => {
                line_began = None;
                answers.extend_from_slice(b"echo: ");
                answers.extend_from_slice(line);
                answers.push(b'\n');
            }
            Ok(Line::TooLong) => {
                writeln!(answers, "error: line too long (limit {limit} bytes)")?;
                return write(writer, &answers, server).await;
            }
            Ok(Line::CutShort) => {
                let what = "the client ended in the middle of a line";
                return Err(io::Error::new(ErrorKind::UnexpectedEof, what).into());
            }
            Ok(Line::End) => return Ok(()),
            // No whole line is here. What is here of one stays in the reader, whichever way the wait ends.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let (what, deadline) = if lines.between_lines() {
                    (TooSlow::Idle, Instant::now() + limits.idle)
                } else {
                    (TooSlow::Line, *line_began.get_or_insert_with(Instant::now) + limits.line)
                };
                wait(stream, stop, deadline).await.map_err(|_| Unserved::TooSlow(what))?;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        if !lines.another_waits() || answers.len() >= CHUNK {
            write(writer, &answers, server).await?;
            answers.clear();
        }
    }
}
// ANCHOR_END: echo_lines

// ANCHOR: wait
/// Waits for input or for the stop. An error if neither comes in time.
async fn wait(stream: &TcpStream, stop: &CancellationToken, deadline: Instant) -> Result<(), Elapsed> {
    select! {
        // Once the stop has begun, there is only the rest of a line to wait for.
        () = stop.cancelled(), if !stop.is_cancelled() => Ok(()),
        // An error shows at the next read.
        ready = timeout_at(deadline, stream.readable()) => ready.map(drop),
    }
}
// ANCHOR_END: wait

async fn write(writer: &mut WriteHalf<'_>, answers: &[u8], server: &Server) -> Result<(), Unserved> {
    match timeout(server.limits.write, writer.write_all(answers)).await {
        Ok(written) => Ok(written?),
        Err(_) => Err(Unserved::TooSlow(TooSlow::Answer)),
    }
}

/// Step 6's reader, which gives what had arrived at the stop and the rest of the line. It never waits: `WouldBlock` says
/// that nothing is there.
struct UntilStop<'a> {
    /// The client.
    stream: &'a TcpStream,
    /// Whether the stop has begun.
    stop: &'a CancellationToken,
    /// How many bytes had arrived when the stop was seen, and are still to be read.
    arrived: Option<u64>,
    /// Whether the last byte read was the end of a line, or there was none yet.
    between_lines: bool,
}

impl Read for UntilStop<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() && self.arrived.is_none() {
            self.arrived = Some(ioctl_fionread(self.stream)?);
        }
        if self.arrived == Some(0) && self.between_lines {
            return Ok(0);
        }
        let mut count = self.stream.try_read(buffer)?;
        if self.arrived == Some(0) {
            count = memchr::memchr(b'\n', &buffer[..count]).map_or(count, |newline| newline + 1);
        } else if let Some(left) = &mut self.arrived {
            *left = left.saturating_sub(count as u64);
        }
        self.between_lines = buffer[..count].last() == Some(&b'\n');
        Ok(count)
    }
}

/// Step 4's close: ends this side, and reads on for a second.
async fn close(stream: &mut TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut unread = vec![0; 4096];
    let until_the_end = async { while stream.read(&mut unread).await.is_ok_and(|count| count > 0) {} };
    let _ = timeout(Duration::from_secs(1), until_the_end).await;
}
