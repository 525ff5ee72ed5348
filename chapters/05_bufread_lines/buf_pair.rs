//! The same conversation through a pair of buffers from std, one for each direction.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

// ANCHOR: buf_pair
/// Answers every line of at most `limit` bytes, and ends at a longer one.
///
/// A connection gives both: `echo_lines(&stream, &stream, limit)`.
pub fn echo_lines(reader: impl Read, writer: impl Write, limit: u64) -> io::Result<()> {
    let mut reader = BufReader::new(reader);
    let mut writer = BufWriter::new(writer);
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.by_ref().take(limit + 1).read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return writer.flush();
        }
        writer.write_all(b"echo: ")?;
        writer.write_all(&line)?;
        // Lines that came together are answered together: it is enough to flush when no other whole line is here.
        // Ask for a newline and not whether the buffer is empty: half a line in it must not hold the answer back.
        if !reader.buffer().contains(&b'\n') {
            writer.flush()?;
        }
    }
}
// ANCHOR_END: buf_pair
