//! Right servers that let go of slow clients soon: the probes are not to keep one waiting, and then accuse it of that.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::probes::{Terms, Verdict};

use crate::common;

/// Echoes lines, each of which has to be there this long after its first byte.
fn hurried(limit: Duration) -> Target {
    Target::in_process(move |connection| {
        let mut stream = connection.stream;
        loop {
            let mut line = Vec::new();
            let mut began = None;
            while !line.ends_with(b"\n") {
                let left = began.map(|began: Instant| limit.saturating_sub(began.elapsed()));
                stream.set_read_timeout(left.map(|left| left.max(Duration::from_millis(1))))?;
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(0) => return Ok(()),
                    Ok(_) => line.push(byte[0]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        return stream.write_all(b"408 too slow\n");
                    }
                    Err(error) => return Err(error),
                }
                began.get_or_insert_with(Instant::now);
            }
            stream.write_all(&[b"echo: ", &line[..]].concat())?;
        }
    })
}

#[test]
fn a_limit_for_a_request_is_not_taken_for_an_early_answer() {
    for limit in [450, 900].map(Duration::from_millis) {
        common::expect_no_fall(&[("split-message", hurried(limit))], &Terms::default());
    }
}

/// Echoes lines. Of a client that takes nothing it reads a byte now and then, and after a second it lets that one go.
fn gives_up_writing(stream: &std::net::TcpStream) -> io::Result<()> {
    const TRY: Duration = Duration::from_millis(100);
    let mut stream = stream;
    let (mut received, mut to_send) = (Vec::new(), Vec::new());
    let mut buffer = [0; 4096];
    stream.set_write_timeout(Some(TRY))?;
    let mut taken = Instant::now();
    loop {
        let size = if to_send.is_empty() { buffer.len() } else { 1 };
        let count = stream.read(&mut buffer[..size])?;
        if count == 0 {
            return Ok(());
        }
        received.extend_from_slice(&buffer[..count]);
        while let Some(end) = received.iter().position(|&byte| byte == b'\n') {
            to_send.extend_from_slice(b"echo: ");
            to_send.extend(received.drain(..=end));
        }
        while !to_send.is_empty() {
            match stream.write(&to_send) {
                Ok(count) => {
                    to_send.drain(..count);
                    taken = Instant::now();
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                Err(_) if taken.elapsed() > Duration::from_secs(1) => return Ok(()),
                Err(_) => break,
            }
        }
    }
}

#[test]
fn a_deadline_for_taking_an_answer_loses_no_bytes() {
    let target = Target::in_process(|connection| gives_up_writing(connection.stream));
    common::expect_no_fall(&[("every-byte", target)], &Terms::default());
}

#[test]
fn an_end_behind_unread_bytes_is_seen() {
    // It ends its side as it should, and reads on until the client has read that: for longer than this probe looks.
    let target = Target::in_process(|connection| {
        let given_up = gives_up_writing(connection.stream);
        connection.stream.shutdown(Shutdown::Write)?;
        connection.stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut stream = connection.stream;
        while stream.read(&mut [0; 4096])? > 0 {}
        given_up
    });
    let terms = Terms { deadline: Some(Duration::from_secs(2)), ..Terms::default() };
    for (name, finding) in common::findings(&[("slow-reader", target)], &terms) {
        if cfg!(target_os = "linux") {
            assert_eq!(finding.verdict, Verdict::Holds, "{name}: {}", finding.evidence);
        }
    }
}
