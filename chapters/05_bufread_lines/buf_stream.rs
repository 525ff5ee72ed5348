//! The same conversation through `bufstream`: one object that buffers both directions.
//!
//! What it does: reads and writes go through buffers of 8 KiB each; dropping it writes what is left.
//! What it does not do: it does not flush before it reads, it hides an error of that last write, and `into_inner`
//! throws away what was read ahead. See `buf_pair.rs` for the same with std alone.

use std::io::{self, BufRead, Read, Write};

use bufstream::BufStream;

/// Answers every line of at most `limit` bytes, and ends at a longer one.
pub fn echo_lines(stream: impl Read + Write, limit: u64) -> io::Result<()> {
    let mut stream = BufStream::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        // `take` bounds this line only, since `by_ref` lends the stream for the one call.
        Read::by_ref(&mut stream).take(limit + 1).read_until(b'\n', &mut line)?;
        // At the limit and at the end of the stream alike, the line comes without its newline.
        if !line.ends_with(b"\n") {
            return stream.flush();
        }
        stream.write_all(b"echo: ")?;
        stream.write_all(&line)?;
        stream.flush()?;
    }
}
