//! A warm connection allocates nothing, however many lines it answers.

use std::io::{self, Read};

use tcp_pitfalls::chapter_05::server::echo_lines;

/// Sends the same lines with every read.
struct Client {
    lines: Vec<u8>,
    reads: usize,
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.reads == 0 {
            return Ok(0);
        }
        self.reads -= 1;
        // The lines are of 32 bytes, and so is every size of the buffer a multiple of it.
        let count = self.lines.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.lines[..count]);
        Ok(count)
    }
}

fn allocations(lines_at_once: usize, reads: usize) -> u64 {
    let client = Client { lines: b"a line of some length that fits\n".repeat(lines_at_once), reads };
    let counted = allocation_counter::measure(|| {
        echo_lines(client, io::sink(), 65_536).expect("a sink takes everything");
    });
    counted.count_total
}

#[test]
fn the_number_of_lines_does_not_change_the_number_of_allocations() {
    for lines_at_once in [1, 64] {
        let (few, many) = (allocations(lines_at_once, 100), allocations(lines_at_once, 10_000));
        assert_eq!(few, many, "with {lines_at_once} lines at once");
    }
}
