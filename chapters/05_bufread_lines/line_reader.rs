//! Lines of bounded length from a stream.

use std::io::{self, ErrorKind, Read};

/// How many bytes one `read` can get, and so how many lines can be answered with one write.
pub const CHUNK: usize = 64 * 1024;

/// How many bytes the first `read` of a connection can get.
const FIRST: usize = 512;

/// Reads lines that end with `\n`; a `\r` before it is dropped.
///
/// It does what `BufReader` does, and three things more: a line has a maximum length; it is a slice of the buffer and
/// needs no copy; and it is known whether another whole line is here already.
///
/// Nothing is lost when a read fails halfway, for example at a timeout: the next call goes on from there.
pub struct LineReader<R> {
    /// Where the bytes come from.
    reader: R,
    /// What was read, and room for more.
    buffer: Vec<u8>,
    // Four places in the buffer, in this order:
    /// Where the bytes begin that were read and not yet given out.
    start: usize,
    /// Where the first newline among them is, if it has been found.
    newline: Option<usize>,
    /// How far they have been searched for one.
    searched: usize,
    /// Where they end.
    end: usize,
    /// The length in bytes of the longest line, its end not counted.
    limit: usize,
}

// ANCHOR: line
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
// ANCHOR_END: line

impl<R: Read> LineReader<R> {
    /// Reads from `reader`. `limit` is the length in bytes of the longest line, its `\r\n` not counted.
    pub fn new(reader: R, limit: usize) -> Self {
        LineReader { reader, buffer: Vec::new(), start: 0, newline: None, searched: 0, end: 0, limit }
    }

    // ANCHOR: next_line
    /// Waits for the next line.
    ///
    /// # Errors
    /// The stream's own error. After a timeout, call again.
    pub fn next_line(&mut self) -> io::Result<Line<'_>> {
        loop {
            if let Some(newline) = self.find_newline() {
                let line = &self.buffer[self.start..newline];
                (self.start, self.newline) = (newline + 1, None);
                let text = line.strip_suffix(b"\r").unwrap_or(line);
                return Ok(if text.len() > self.limit { Line::TooLong } else { Line::Whole(text) });
            }
            // One byte more than the limit may be a `\r`, and that is known only with the next byte.
            if self.end - self.start > self.limit.saturating_add(1) {
                return Ok(Line::TooLong);
            }
            if self.fill()? == 0 {
                return Ok(if self.between_lines() { Line::End } else { Line::CutShort });
            }
        }
    }
    // ANCHOR_END: next_line

    /// Whether the next whole line is here already, so that `next_line` will return it at once. Never reads.
    pub fn another_waits(&mut self) -> bool {
        self.find_newline().is_some()
    }

    /// Whether no byte of a next line has been read yet.
    pub fn between_lines(&self) -> bool {
        self.start == self.end
    }

    fn find_newline(&mut self) -> Option<usize> {
        if self.newline.is_none() {
            // Each byte is searched once, however often this is asked.
            let fresh = &self.buffer[self.searched..self.end];
            self.newline = memchr::memchr(b'\n', fresh).map(|found| self.searched + found);
            self.searched = self.newline.map_or(self.end, |newline| newline + 1);
        }
        self.newline
    }

    /// Reads once, behind what is there.
    fn fill(&mut self) -> io::Result<usize> {
        // After a read that filled the buffer, more waits than it can hold.
        let filled = self.end == self.buffer.len();
        if self.start > 0 {
            // The beginning of a line moves to the front, and leaves room for its rest.
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            (self.start, self.searched) = (0, self.end);
        }
        if filled && (self.buffer.len() < CHUNK || self.end == self.buffer.len()) {
            // Small at first: most clients are idle most of the time, and this is most of what an idle one costs.
            let more = self.buffer.len().clamp(FIRST, CHUNK);
            self.buffer.resize(self.buffer.len() + more, 0);
        }
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                // A signal came first. `BufReader` goes on by itself as well, `read` does not.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
