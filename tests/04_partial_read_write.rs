//! Chapter 4: messages in a stream of bytes, however it is cut.

mod common;

use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use common::{Peer, Script, Server, Sink, Step};
use tcp_pitfalls::chapter_04::close::close;
use tcp_pitfalls::chapter_04::frame::{FrameError, echo_frames, read_frame, write_frame};
use tcp_pitfalls::chapter_04::pitfall;
use tcp_pitfalls::chapter_04::server::echo_lines;

const PROGRAM: &str = env!("CARGO_BIN_EXE_04_partial_read_write");
const LINES: &[u8] = b"one\n\ntwo words\n\xff\xfe\n";
const ANSWERS: &[u8] = b"echo: one\necho: \necho: two words\necho: \xff\xfe\n";

#[track_caller]
fn answers(reader: Script) -> (io::Result<()>, Vec<u8>) {
    let mut sink = Sink::default();
    let served = echo_lines(reader, &mut sink);
    (served, sink.bytes)
}

#[test]
fn lines_are_found_however_they_are_cut() {
    for size in 1..=LINES.len() {
        let (served, answers) = answers(Script::in_pieces(LINES, size));
        served.unwrap();
        assert_eq!(answers, ANSWERS, "in pieces of {size}");
    }
    for cut in 0..LINES.len() {
        let halves = [&LINES[..cut], &LINES[cut..]].map(|half| Step::Bytes(half.to_vec()));
        // An empty first half would be the end of the stream.
        let (served, answers) = answers(Script::new(halves.into_iter().skip(usize::from(cut == 0))));
        served.unwrap();
        assert_eq!(answers, ANSWERS, "cut at {cut}");
    }
}

#[test]
fn an_interrupted_read_loses_nothing() {
    let (served, answers) = answers(Script::interrupted(LINES));
    served.unwrap();
    assert_eq!(answers, ANSWERS);
}

#[test]
fn a_short_or_interrupted_write_loses_nothing() {
    for most in 1..=3 {
        let mut sink = Sink::short(most);
        echo_lines(Script::in_pieces(LINES, 4096), &mut sink).unwrap();
        assert_eq!(sink.bytes, ANSWERS, "{most} bytes a write");
    }
}

#[test]
fn a_writer_that_takes_nothing_is_an_error() {
    let mut sink = Sink { most: Some(0), ..Sink::default() };
    let error = echo_lines(Script::in_pieces(LINES, 4096), &mut sink).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
}

#[test]
fn the_end_is_clean_only_between_lines() {
    for end in 0..=LINES.len() {
        let (served, answers) = answers(Script::in_pieces(&LINES[..end], 4096));
        let lines = |bytes: &[u8]| bytes.split(|&byte| byte == b'\n').count() - 1;
        assert_eq!(lines(&answers), lines(&LINES[..end]), "ended after {end} bytes");
        if end == 0 || LINES[end - 1] == b'\n' {
            served.unwrap_or_else(|error| panic!("ended after {end} bytes, between lines: {error}"));
        } else {
            assert_eq!(served.unwrap_err().kind(), ErrorKind::UnexpectedEof, "ended after {end} bytes");
        }
    }
}

#[test]
fn a_reset_is_never_taken_for_the_end() {
    for end in 0..=LINES.len() {
        let (served, _) = answers(Script::reset_after(&LINES[..end]));
        assert_eq!(served.unwrap_err().kind(), ErrorKind::ConnectionReset, "reset after {end} bytes");
    }
}

#[test]
fn one_message_is_one_write() {
    // What `prompt-answer` shows with a clock, counted: a second write would wait for an acknowledgement.
    let (mut cure, mut broken) = (Sink::default(), Sink::default());
    echo_lines(Script::in_pieces(b"one\ntwo\n", 4096), &mut cure).unwrap();
    pitfall::three_writes(Script::in_pieces(b"one\ntwo\n", 4096), &mut broken).unwrap();
    assert_eq!(cure.writes, [10, 10]);
    assert_eq!(broken.writes, [6, 3, 1, 6, 3, 1]);
}

#[test]
fn a_count_that_is_ignored_loses_bytes() {
    let mut sink = Sink { most: Some(4), ..Sink::default() };
    pitfall::forget_the_count(Script::in_pieces(b"one\ntwo\n", 4096), &mut sink).unwrap();
    assert_eq!(sink.bytes, b"echoecho");
}

/// A client that has sent more than the server reads, and the server's end of the connection.
fn unread_input() -> (Peer, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Peer::connect(listener.local_addr().unwrap());
    let (server, _) = listener.accept().unwrap();
    client.send("request\nwhat nobody reads\n");
    (client, server)
}

#[test]
fn closing_gently_lets_the_answer_arrive() {
    let (mut client, mut server) = unread_input();
    let serving = thread::spawn(move || {
        server.write_all(b"answer\n").unwrap();
        close(&server);
    });
    assert_eq!(client.line(), "answer");
    client.expect_end();
    drop(client);
    serving.join().unwrap();
}

#[test]
fn closing_gently_does_not_wait_for_ever_and_leaves_nothing_unread() {
    let (mut client, mut server) = unread_input();
    let serving = thread::spawn(move || {
        server.write_all(b"answer\n").unwrap();
        close(&server);
    });
    // The client stays. Without a limit, so would the server.
    serving.join().unwrap();
    // Had it left bytes unread, there would be a reset now, and no answer.
    assert_eq!(client.line(), "answer");
    client.expect_end();
}

#[test]
#[cfg_attr(windows, ignore = "Wine reports this reset as an end; not tried on Windows itself")]
fn closing_with_unread_input_is_a_reset() {
    use std::io::Read;
    let (client, mut server) = unread_input();
    // The bytes must have arrived, or there is nothing unread.
    server.read_exact(&mut [0; 8]).unwrap();
    server.peek(&mut [0]).unwrap();
    drop(server);
    let error = (&client.stream).read(&mut [0; 8]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted), "{error}");
}

#[test]
fn after_a_half_close_the_answers_still_come() {
    let server = Server::start(PROGRAM, &[]);
    let mut client = server.connect();
    client.send("one\ntwo\n");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!([client.line(), client.line()], ["echo: one", "echo: two"]);
    client.expect_end();
}

const FRAMES: &[u8] = b"\0\0\0\x03one\0\0\0\0\0\0\0\x05three";

#[test]
fn frames_are_found_however_they_are_cut() {
    let wanted = b"\0\0\0\x09echo: one\0\0\0\x06echo: \0\0\0\x0becho: three";
    let scripts = (1..=FRAMES.len()).map(|size| Script::in_pieces(FRAMES, size)).chain([Script::interrupted(FRAMES)]);
    for script in scripts {
        let mut sink = Sink::short(2);
        echo_frames(script, &mut sink, 16).unwrap();
        assert_eq!(sink.bytes, wanted);
    }
}

#[test]
fn a_frame_cut_short_is_told_from_a_clean_end() {
    // The frames end at 0, 7, 11 and 20.
    for end in 0..=FRAMES.len() {
        let ended = echo_frames(Script::in_pieces(&FRAMES[..end], 4096), &mut Sink::default(), 16);
        match ended {
            Ok(()) => assert!([0, 7, 11, 20].contains(&end), "cut after {end} bytes, and taken for whole"),
            Err(FrameError::CutShort) => assert!(![0, 7, 11, 20].contains(&end), "whole after {end} bytes"),
            Err(other) => panic!("cut after {end} bytes: {other}"),
        }
    }
}

#[test]
fn a_reset_inside_a_frame_is_an_error_of_the_stream() {
    for end in 0..FRAMES.len() {
        let ended = echo_frames(Script::reset_after(&FRAMES[..end]), &mut Sink::default(), 16);
        assert!(matches!(ended, Err(FrameError::Io(_))), "reset after {end} bytes: {ended:?}");
    }
}

#[test]
fn a_length_is_checked_before_anything_is_allocated() {
    let mut sink = Sink::default();
    let refused = echo_frames(Script::in_pieces(b"\xff\xff\xff\xff", 4096), &mut sink, 16);
    assert!(matches!(refused, Err(FrameError::TooLong { announced: 0xffff_ffff, limit: 16 })), "{refused:?}");
    let answer = read_frame(&sink.bytes[..], 1024).unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "error: frame too long (4294967295 bytes announced, limit 16 bytes)");
}

#[test]
fn a_frame_of_exactly_the_limit_is_taken() {
    let mut sink = Sink::default();
    write_frame(&mut sink, &[7; 16]).unwrap();
    assert_eq!(sink.writes, [20], "one frame, one write");
    assert_eq!(read_frame(&sink.bytes[..], 16).unwrap().unwrap(), [7; 16]);
    assert!(matches!(read_frame(&sink.bytes[..], 15), Err(FrameError::TooLong { announced: 16, limit: 15 })));
}
