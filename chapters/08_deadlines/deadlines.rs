//! Reading and writing within a time that ends, however the client spreads its bytes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};

use crate::chapter_06::stop::{Ready, Stop, UntilStop};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a line, from its first byte to its end.
    pub line: Duration,
    /// For saying nothing between two lines.
    pub idle: Duration,
    /// For taking an answer.
    pub write: Duration,
}

/// What a client was too slow at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooSlow {
    /// It has begun a line and not ended it.
    Line,
    /// It has said nothing for too long.
    Idle,
    /// It doesn't take its answers.
    Answer,
}

/// Reads from a client until the stop, or until it is too slow.
pub struct ReadInTime<'a> {
    /// The client.
    stream: &'a TcpStream,
    /// What else to wait for.
    stop: &'a Stop,
    /// Step 6's reader, which knows what to read once the stop has begun.
    reader: UntilStop<'a>,
    /// How long the client may take.
    limits: Limits,
    /// When the line began that has not ended yet.
    line_began: Option<Instant>,
    /// Why nothing more is read, if it is for that.
    pub too_slow: Option<TooSlow>,
}

impl<'a> ReadInTime<'a> {
    /// Reads from this client until this stop.
    pub fn new(stream: &'a TcpStream, stop: &'a Stop, limits: Limits) -> Self {
        let reader = UntilStop::new(stream, stop);
        ReadInTime { stream, stop, reader, limits, line_began: None, too_slow: None }
    }

    // ANCHOR: wait
    /// Waits for input or the stop, as `Stop::wait` does, but not beyond a point in time.
    fn wait_until(&self, deadline: Instant) -> io::Result<Ready> {
        let mut both = [PollFd::new(self.stream, PollFlags::IN), PollFd::new(self.stop.news(), PollFlags::IN)];
        retry_on_intr(|| {
            // A duration is for one wait. What is for the whole line is the point in time, so each wait gets what is left.
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
            poll(&mut both, Some(&left))
        })?;
        let [input, stop] = both.map(|one| !one.revents().is_empty());
        Ok(Ready { input, stop })
    }
    // ANCHOR_END: wait
}

// ANCHOR: read
impl Read for ReadInTime<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let deadline = match self.line_began {
            Some(began) => began + self.limits.line,
            None => Instant::now() + self.limits.idle,
        };
        let ready = self.wait_until(deadline)?;
        if !ready.input {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.give_up();
            }
            // It is the stop. In the middle of a line, the reader will wait for the rest.
            self.stream.set_read_timeout(Some(left))?;
        }
        let count = match self.reader.read_after(&ready, buffer) {
            Err(error) if is_timeout(&error) => return self.give_up(),
            read => read?,
        };
        self.line_began = match memchr::memrchr(b'\n', &buffer[..count]) {
            // The next line has not begun.
            Some(newline) if newline + 1 == count => None,
            // It has begun just now.
            Some(_) => Some(Instant::now()),
            // The line goes on, and its time with it.
            None => self.line_began.or_else(|| Some(Instant::now())),
        };
        Ok(count)
    }
}

impl ReadInTime<'_> {
    /// Between two lines, the stream has ended, as at the stop. In the middle of one, that would be half a line.
    fn give_up(&mut self) -> io::Result<usize> {
        if self.line_began.is_none() {
            self.too_slow = Some(TooSlow::Idle);
            return Ok(0);
        }
        self.too_slow = Some(TooSlow::Line);
        Err(ErrorKind::TimedOut.into())
    }
}
// ANCHOR_END: read

/// Writes to a client, and each answer within the time for it.
pub struct WriteInTime<'a> {
    /// The client.
    stream: &'a TcpStream,
    /// How long it may take.
    limit: Duration,
    /// Why nothing more is written, if it is for that.
    pub too_slow: Option<TooSlow>,
}

impl<'a> WriteInTime<'a> {
    /// Writes to this client.
    pub fn new(stream: &'a TcpStream, limit: Duration) -> Self {
        WriteInTime { stream, limit, too_slow: None }
    }
}

// ANCHOR: write
impl Write for WriteInTime<'_> {
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let deadline = Instant::now() + self.limit;
        while !bytes.is_empty() {
            match self.write_until(deadline, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_until(Instant::now() + self.limit, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteInTime<'_> {
    fn write_until(&mut self, deadline: Instant, bytes: &[u8]) -> io::Result<usize> {
        let left = deadline.saturating_duration_since(Instant::now());
        // A duration of zero would be an error, and nothing would be limited.
        let written = if left.is_zero() {
            Err(ErrorKind::TimedOut.into())
        } else {
            self.stream.set_write_timeout(Some(left))?;
            self.stream.write(bytes)
        };
        if written.as_ref().is_err_and(is_timeout) {
            self.too_slow = Some(TooSlow::Answer);
        }
        written
    }
}
// ANCHOR_END: write

/// Unix says the one, Windows the other.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
