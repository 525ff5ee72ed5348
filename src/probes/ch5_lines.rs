//! Chapter 5: lines of any length and any bytes, and answers that don't wait in a buffer.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::ch4_messages::read_all;
use super::trial::{Silence, Trial, unreachable};
use super::{Explained, Judged, Needs, Otherwise, Probe, falls};
use crate::lab::client::Reply;
use crate::lab::lack;
use crate::lab::recording::{Payload, with_thousands};

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "endless-line",
        chapter: 5,
        does: "Sends up to 64 MiB without a newline; the server must refuse at some point, in a way the client can read",
        remedy: Some("Bound the line; answer a longer one with an error, then read on for a moment before closing"),
        needs: Needs::Address,
        needs_echo: true,
        runs_alone: false,
        examine: endless_line,
    },
    Probe {
        name: "crlf",
        chapter: 5,
        does: "Ends a line with \\r\\n, as telnet and many clients do; the \\r must not be echoed",
        remedy: Some("Drop one \\r before the \\n"),
        needs: Needs::Address,
        needs_echo: true,
        runs_alone: false,
        examine: crlf,
    },
    Probe {
        name: "not-utf8",
        chapter: 5,
        does: "Sends a line that isn't UTF-8; it must be echoed as it is or refused with a text, and the next client be served",
        remedy: Some("Read lines as bytes; where text is needed, treat the error as this line's, not as the end"),
        needs: Needs::Address,
        needs_echo: true,
        runs_alone: false,
        examine: not_utf8,
    },
    Probe {
        name: "withheld-answer",
        chapter: 5,
        does: "Sends a line and waits; the answer must come before the client ends its side",
        remedy: Some("Flush the buffered writer before waiting for the next line"),
        needs: Needs::Address,
        needs_echo: true,
        runs_alone: false,
        examine: withheld_answer,
    },
    Probe {
        name: "pipelined-lines",
        chapter: 5,
        does: "Sends 10,000 lines without waiting; all must be answered in order",
        remedy: Some(
            "Keep one buffered reader for the whole life of a connection; if joined-messages falls, mend that first",
        ),
        needs: Needs::Address,
        needs_echo: true,
        runs_alone: false,
        examine: pipelined_lines,
    },
];

fn endless_line(trial: &Trial<'_>) -> Judged {
    const MOST: usize = 64 * 1024 * 1024;
    static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];

    let mut server = trial.start()?;
    let mut client = server.connect("client 1").map_err(unreachable)?;
    if client.comes_within(Duration::from_millis(100)) {
        let early = Trial::describe(&client.line(Duration::from_millis(100)));
        falls!("before anything was sent, it gave {early}");
    }
    let sent = Arc::new(AtomicUsize::new(0));
    let enough = Arc::new(AtomicBool::new(false));
    let mut sender =
        client.stream().try_clone().map_err(|error| Otherwise::skipped(format!("no second handle: {error}")))?;
    client.note("sends \"xxxx…\" without a newline, and reads all the time");
    let sending = lack::spawn({
        let (sent, enough) = (Arc::clone(&sent), Arc::clone(&enough));
        move || {
            while !enough.load(SeqCst) && sent.load(SeqCst) < MOST {
                match sender.write(&CHUNK) {
                    Ok(count) => _ = sent.fetch_add(count, SeqCst),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // Refused or stuck: either shows at the reading side.
                    Err(_) => break,
                }
            }
            // The answer may still be on its way to a client that has said everything.
            let _ = sender.shutdown(Shutdown::Write);
        }
    })?;
    // Read in small steps: while bytes are still being taken, silence is not yet the answer.
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let mut sent_before_answer = None;
    let ending = loop {
        let before = sent.load(SeqCst);
        drop(client.stream().set_read_timeout(Some(trial.terms.limit)));
        let read = client.stream().read(&mut buffer);
        if read.is_ok() {
            sent_before_answer.get_or_insert(sent.load(SeqCst));
        }
        match read {
            Ok(0) => break Reply::End(Vec::new()),
            Ok(count) => {
                enough.store(true, SeqCst);
                answer.extend_from_slice(&buffer[..count]);
                if answer.len() > 2 * MOST {
                    break Reply::Flood;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if sent.load(SeqCst) == before || sent.load(SeqCst) >= MOST {
                    break Reply::Nothing(Vec::new(), trial.terms.limit);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break Reply::Reset(Vec::new()),
        }
    };
    enough.store(true, SeqCst);
    drop(client.stream().shutdown(Shutdown::Both));
    let _ = sending.join();

    let sent = sent.load(SeqCst);
    let silent_to_the_last = sent_before_answer.is_some_and(|sent| sent >= MOST);
    let sent = with_thousands(sent);
    let said = Payload::new(&answer);
    // An echo, or as much of its beginning as a reset left.
    let echo = [&trial.lines()?.prefix[..], b"x"].concat();
    let echoed = !answer.is_empty() && (answer.starts_with(&echo) || echo.starts_with(&answer));
    client.note(format!("has sent {sent} bytes, received {said}, then {}", Trial::describe(&ending)));
    match ending {
        _ if echoed => falls!("took a line of {sent} bytes and echoed it: {said}"),
        _ if silent_to_the_last => falls!("took {sent} bytes without a newline and said nothing"),
        // Which of the two a client sees is chance: a reset is told to one thread, the other may read an end.
        Reply::End(_) | Reply::Reset(_) if answer.is_empty() => {
            Ok(format!("closed the connection after {sent} bytes without a newline, without saying why").into())
        }
        Reply::End(_) => Ok(format!("after {sent} bytes without a newline it answered {said} and closed").into()),
        Reply::Reset(_) => Ok(format!(
            "after {sent} bytes without a newline it answered {said}; the connection was then reset, which the answer \
             survived here but need not everywhere"
        )
        .into()),
        Reply::Flood => falls!("after {sent} bytes without a newline it flooded the client: {said}"),
        _ if answer.is_empty() => falls!("took {sent} bytes without a newline and said nothing"),
        _ => falls!("took {sent} bytes without a newline and after {said} neither went on nor closed"),
    }
}

fn crlf(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut client = server.connect("client 1").map_err(unreachable)?;
    client.send(b"hi\r\n");
    trial.expect_echo(&mut client, b"hi")?;
    Ok("\"hi\\r\\n\" was answered as \"hi\\n\" would be".into())
}

fn not_utf8(trial: &Trial<'_>) -> Judged {
    const LINE: &[u8] = b"\xff\xfe caf\xe9";
    let mut server = trial.start()?;
    let mut client = server.connect("client 1").map_err(unreachable)?;
    client.send(&[LINE, b"\n"].concat());
    let got = client.line(trial.terms.limit);
    let sent = Payload::new(&[LINE, b"\n"].concat());
    // An echo that was changed still has the part that is text.
    let prefix = &trial.lines()?.prefix;
    let is_echo = |answer: &[u8]| answer.starts_with(prefix) && answer.windows(4).any(|part| part == b" caf");
    let how = match &got {
        Reply::Line(answer) if *answer == trial.answer_to(LINE) => "was echoed as it is",
        Reply::Line(answer) if !is_echo(answer) => "was refused with a text",
        Reply::End(text) if !text.is_empty() && !is_echo(text) => "was refused with a text",
        Reply::Line(_) => falls!("{sent} was changed to {}", Trial::describe(&got)),
        _ => {
            let fate = Trial::describe(&got);
            falls!("{sent} was answered by {fate}");
        }
    };
    client.leave();
    let mut next = server.connect("next client").map_err(unreachable)?;
    trial.ask(&mut next, "hello").about("the next client")?;
    Ok(format!("{sent} {how}, and the next client was served").into())
}

fn withheld_answer(trial: &Trial<'_>) -> Judged {
    trial.twice(|patience| {
        let mut server = trial.start()?;
        let mut client = server.connect("client 1").map_err(unreachable)?;
        client.send(b"hello\n");
        let expected = trial.answer_to(b"hello");
        match client.line(patience) {
            Reply::Line(answer) if answer == expected => {
                return Ok(Silence::No("the answer came while the client kept its side open".into()));
            }
            Reply::Nothing(rest, _) if rest.is_empty() => {}
            other => falls!("sent \"hello\\n\" and got {}", Trial::describe(&other)),
        }
        if patience >= trial.terms.limit {
            falls!("sent \"hello\\n\" and got nothing for {} s", patience.as_secs_f32());
        }
        client.half_close();
        let ended = Instant::now();
        match client.line(trial.terms.limit) {
            Reply::Line(answer) if answer == expected && ended.elapsed() < Silence::SOON => Ok(Silence::UntilThen(
                Otherwise::falls("the answer did not come until the client ended its side; then it came at once"),
            )),
            Reply::Line(answer) if answer == expected => Ok(Silence::Longer),
            other => falls!("sent \"hello\\n\" and got {}", Trial::describe(&other)),
        }
    })
}

fn pipelined_lines(trial: &Trial<'_>) -> Judged {
    const LINES: usize = 10_000;
    let line = |number: usize| format!("line {number}");
    let mut server = trial.start()?;
    let mut client = server.connect("client 1").map_err(unreachable)?;
    let mut sender =
        client.stream().try_clone().map_err(|error| Otherwise::skipped(format!("no second handle: {error}")))?;
    let all: String = (0..LINES).map(|number| line(number) + "\n").collect();
    client.note(format!(
        "sends {} lines at once, {} bytes, and reads all the time",
        with_thousands(LINES),
        with_thousands(all.len())
    ));
    let sending = lack::spawn(move || {
        let _ = sender.write_all(all.as_bytes());
        let _ = sender.shutdown(Shutdown::Write);
    })?;
    let judged = read_all(trial, &mut client, LINES, line);
    // A server that has lost lines is let go on to its own end, not cut off in a write.
    client.ends_within(Duration::from_secs(1));
    drop(client.stream().shutdown(Shutdown::Both));
    let _ = sending.join();
    judged
}
