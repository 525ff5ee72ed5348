//! Chapter 5: lines through a buffer.

mod common;

use std::io::{self, ErrorKind, Read, Write};

use common::{Script, Server, Sink, Step};
use tcp_pitfalls::chapter_05::line_reader::{Line, LineReader};
use tcp_pitfalls::chapter_05::server::echo_lines;
use tcp_pitfalls::chapter_05::{buf_pair, buf_stream, pitfall};

const PROGRAM: &str = env!("CARGO_BIN_EXE_05_bufread_lines");
const LINES: &[u8] = b"one\r\n\n\r\ntwo words\nthree\r\r\n\xff\xfe\r\n";
const ANSWERS: &[u8] = b"echo: one\necho: \necho: \necho: two words\necho: three\r\necho: \xff\xfe\n";

#[track_caller]
fn answers(reader: Script, limit: usize) -> (io::Result<()>, Vec<u8>) {
    let mut sink = Sink::default();
    let served = echo_lines(reader, &mut sink, limit);
    (served, sink.bytes)
}

#[test]
fn lines_are_found_however_they_are_cut() {
    let scripts = (1..=LINES.len()).map(|size| Script::in_pieces(LINES, size)).chain([Script::interrupted(LINES)]);
    for script in scripts {
        let (served, answers) = answers(script, 64);
        served.unwrap();
        assert_eq!(answers, ANSWERS);
    }
}

#[test]
fn a_short_or_interrupted_write_loses_nothing() {
    for most in 1..=3 {
        let mut sink = Sink::short(most);
        echo_lines(Script::in_pieces(LINES, 4096), &mut sink, 64).unwrap();
        assert_eq!(sink.bytes, ANSWERS, "{most} bytes a write");
    }
}

#[test]
fn a_writer_that_takes_nothing_is_an_error() {
    let mut sink = Sink { most: Some(0), ..Sink::default() };
    let error = echo_lines(Script::in_pieces(LINES, 4096), &mut sink, 64).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
}

#[test]
fn the_end_is_clean_only_between_lines() {
    for end in 0..=LINES.len() {
        let (served, _) = answers(Script::in_pieces(&LINES[..end], 4096), 64);
        if end == 0 || LINES[end - 1] == b'\n' {
            served.unwrap_or_else(|error| panic!("ended after {end} bytes, between lines: {error}"));
        } else {
            assert_eq!(served.unwrap_err().kind(), ErrorKind::UnexpectedEof, "ended after {end} bytes");
        }
        let (served, _) = answers(Script::reset_after(&LINES[..end]), 64);
        assert_eq!(served.unwrap_err().kind(), ErrorKind::ConnectionReset, "reset after {end} bytes");
    }
}

#[test]
fn the_limit_counts_the_bytes_before_the_line_end() {
    let refusal = b"error: line too long (limit 8 bytes)\n";
    for (line, fits) in [
        (&b"12345678\n"[..], true),
        (b"12345678\r\n", true),
        (b"1234567\r\r\n", true),
        (b"123456789\n", false),
        (b"123456789\r\n", false),
        (b"12345678\r\r\n", false),
        (b"12345678\r9", false),
        (b"123456789012345678901234567890", false),
    ] {
        for size in 1..=line.len() {
            let (served, answers) = answers(Script::in_pieces(line, size), 8);
            served.unwrap();
            let shown = line.escape_ascii();
            assert_eq!(answers != refusal, fits, "\"{shown}\" in pieces of {size}: {}", answers.escape_ascii());
        }
    }
}

#[test]
fn the_greatest_limit_is_no_limit() {
    let mut lines = LineReader::new(Script::in_pieces(b"one\ntwo", 2), usize::MAX);
    assert_eq!(lines.next_line().unwrap(), Line::Whole(b"one"));
    assert_eq!(lines.next_line().unwrap(), Line::CutShort);
}

#[test]
fn nothing_is_read_behind_a_line_that_is_too_long() {
    let (served, answers) = answers(Script::in_pieces(b"ok\n123456789\nnot this\n", 4096), 8);
    served.unwrap();
    assert_eq!(answers, b"echo: ok\nerror: line too long (limit 8 bytes)\n");
}

#[test]
fn a_timeout_in_mid_line_loses_nothing() {
    let steps =
        [Step::Bytes(b"caf\xc3".to_vec()), Step::Fails(ErrorKind::WouldBlock), Step::Bytes(b"\xa9\nnext\n".to_vec())];
    let mut lines = LineReader::new(Script::new(steps), 64);
    assert_eq!(lines.next_line().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(lines.next_line().unwrap(), Line::Whole("café".as_bytes()));
    assert_eq!(lines.next_line().unwrap(), Line::Whole(b"next"));
    assert_eq!(lines.next_line().unwrap(), Line::End);
}

#[test]
fn lines_that_come_together_are_answered_with_one_write() {
    let mut sink = Sink::default();
    // The third line is not complete: its beginning must not hold back the answers to the others.
    let steps = [Step::Bytes(b"one\ntwo\nthr".to_vec()), Step::Bytes(b"ee\nfour\n".to_vec())];
    echo_lines(Script::new(steps), &mut sink, 64).unwrap();
    assert_eq!(sink.writes, ["echo: one\necho: two\n".len(), "echo: three\necho: four\n".len()]);
}

#[test]
fn answers_are_flushed_before_the_end_and_before_an_error() {
    let (served, answers) = answers(Script::reset_after(b"one\n"), 64);
    assert!(served.is_err());
    assert_eq!(answers, b"echo: one\n");
}

/// Whether another line waits must be known from what is here already: asking must never read.
#[test]
fn another_waits_never_reads() {
    let mut lines = LineReader::new(Script::in_pieces(b"one\ntwo\nthr", 4096), 64);
    assert_eq!(lines.next_line().unwrap(), Line::Whole(b"one"));
    assert!(lines.another_waits());
    assert_eq!(lines.next_line().unwrap(), Line::Whole(b"two"));
    assert!(!lines.another_waits());
    assert!(!lines.between_lines(), "\"thr\" is the beginning of a line");
    assert_eq!(lines.next_line().unwrap(), Line::CutShort);
}

/// For `BufStream`, which wants one object for both directions.
struct Both<'a>(Script, &'a mut Sink);

impl Read for Both<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_buf_stream_echoes_bounded_lines_and_flushes_each() {
    for size in 1..=12 {
        let mut sink = Sink::default();
        buf_stream::echo_lines(Both(Script::in_pieces(b"one\ntwo\n", size), &mut sink), 8).unwrap();
        assert_eq!(sink.bytes, b"echo: one\necho: two\n");
        assert_eq!(sink.writes, [10, 10]);
    }
    let mut sink = Sink::default();
    buf_stream::echo_lines(Both(Script::in_pieces(b"12345678\n123456789\n", 64), &mut sink), 8).unwrap();
    assert_eq!(sink.bytes, b"echo: 12345678\n");
}

#[test]
fn a_buf_pair_echoes_bounded_lines_and_answers_together_what_came_together() {
    for size in 1..=12 {
        let mut sink = Sink::default();
        buf_pair::echo_lines(Script::in_pieces(b"one\ntwo\n", size), &mut sink, 8).unwrap();
        assert_eq!(sink.bytes, b"echo: one\necho: two\n");
    }
    let mut sink = Sink::default();
    let steps = [Step::Bytes(b"one\ntwo\nthr".to_vec()), Step::Bytes(b"ee\n123456789\n".to_vec())];
    buf_pair::echo_lines(Script::new(steps), &mut sink, 8).unwrap();
    assert_eq!(sink.bytes, b"echo: one\necho: two\necho: three\n");
    assert_eq!(sink.writes, [20, 12]);
}

#[test]
fn lines_longer_than_a_chunk_are_found_as_well() {
    for length in [65_534, 65_535, 65_536, 65_537, 200_000] {
        let line = vec![b'x'; length];
        let bytes = [&line[..], b"\nshort\n", &line, b"\r\n"].concat();
        for size in [1_000, 65_536, 1_000_000] {
            let mut lines = LineReader::new(Script::in_pieces(&bytes, size), 200_000);
            assert_eq!(lines.next_line().unwrap(), Line::Whole(&line));
            assert_eq!(lines.next_line().unwrap(), Line::Whole(b"short"));
            assert_eq!(lines.next_line().unwrap(), Line::Whole(&line));
            assert_eq!(lines.next_line().unwrap(), Line::End);
        }
    }
}

#[test]
fn a_reader_for_each_line_loses_what_it_read_ahead() {
    let mut sink = Sink::default();
    pitfall::reader_per_line(Script::in_pieces(b"one\ntwo\nthree\n", 4096), &mut sink).unwrap();
    assert_eq!(sink.bytes, b"echo: one\n");
}

#[test]
fn the_client_can_read_why_its_line_was_refused() {
    let server = Server::start(PROGRAM, &["--limit=10"]);
    let mut client = server.connect();
    // More than the server will ever read as a line, so that some of it is unread when it answers.
    client.send(vec![b'x'; 256 * 1024]);
    assert_eq!(client.line(), "error: line too long (limit 10 bytes)");
    client.expect_end();
}
