//! Lines of bounded length from a stream.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

/// Reads lines that end with `\n`; a `\r` before it is dropped.
///
/// Nothing is lost when a read fails halfway, for example because its time is up: the bytes so far are kept, and
/// the next call goes on from there.
pub struct LineReader<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    limit: usize,
    complete: bool,
    another_waits: bool,
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line without its end. It need not be UTF-8.
    Whole(&'a [u8]),
    /// A line of more bytes than the limit. What is left of it is unread, so the connection can only be closed.
    TooLong,
    /// The stream ended in the middle of a line.
    CutShort,
    /// The stream ended after a whole line.
    End,
}

impl<R: Read> LineReader<R> {
    /// Reads from `reader`. `limit` is the length in bytes of the longest line, its `\r\n` not counted.
    pub fn new(reader: R, limit: usize) -> Self {
        LineReader { reader: BufReader::new(reader), line: Vec::new(), limit, complete: false, another_waits: false }
    }

    /// Waits for the next line.
    ///
    /// # Errors
    /// The stream's own error. After a timeout, call again.
    pub fn next_line(&mut self) -> io::Result<Line<'_>> {
        if self.complete {
            self.line.clear();
            self.complete = false;
        }
        loop {
            let waiting = match self.reader.fill_buf() {
                Ok(waiting) => waiting,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if waiting.is_empty() {
                return Ok(if self.line.is_empty() { Line::End } else { Line::CutShort });
            }
            let newline = waiting.iter().position(|&byte| byte == b'\n');
            let piece = &waiting[..newline.unwrap_or(waiting.len())];
            // One byte more than the limit is kept: it may be a `\r`, and that is known only with the next byte.
            if self.line.len() + piece.len() > self.limit + 1 {
                return Ok(Line::TooLong);
            }
            self.line.extend_from_slice(piece);
            let Some(newline) = newline else {
                let taken = waiting.len();
                self.reader.consume(taken);
                continue;
            };
            // From the bytes that are already here, so that the answer never has to wait for the client.
            self.another_waits = waiting[newline + 1..].contains(&b'\n');
            self.reader.consume(newline + 1);
            self.complete = true;
            let text = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
            return Ok(if text.len() > self.limit { Line::TooLong } else { Line::Whole(text) });
        }
    }

    /// Whether the next whole line is here already, so that `next_line` will return it at once.
    pub fn another_waits(&self) -> bool {
        self.another_waits
    }

    /// Whether no byte of a next line has been read yet.
    pub fn between_lines(&self) -> bool {
        self.reader.buffer().is_empty() && (self.complete || self.line.is_empty())
    }
}
