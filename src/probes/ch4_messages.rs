//! Chapter 4: does it find the messages in the stream, and does every byte of its answers arrive?

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::trial::{LONGEST, Trial, too_slow, unreachable};
use super::{Judged, Needs, Otherwise, Probe, falls};
use crate::lab::client::{Client, Reply, State};
use crate::lab::kernel;
use crate::lab::lack;
use crate::lab::recording::{Payload, Recorder, with_thousands};
use crate::lab::wait::wait_until;

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "split-message",
        chapter: 4,
        does: "Sends a line one byte at a time, which must give exactly one answer",
        remedy: Some("Collect what read returns until a whole line is there"),
        needs: Needs::Address,
        needs_echo: true,
        runs_alone: false,
        examine: split_message,
    },
    Probe {
        name: "joined-messages",
        chapter: 4,
        does: "Sends two lines in one write, which must give exactly two answers",
        remedy: Some("Look for further lines in what read returned, and keep the rest for the next"),
        needs: Needs::Address,
        needs_echo: true,
        runs_alone: false,
        examine: joined_messages,
    },
    Probe {
        name: "every-byte",
        chapter: 4,
        does: "Sends 8 MiB of lines and reads late, through a small window; every byte must come back in order",
        remedy: Some(
            "Use write_all, or go on from the count that write returned; if joined-messages falls, mend that first",
        ),
        needs: Needs::Address,
        needs_echo: true,
        runs_alone: false,
        examine: every_byte,
    },
    Probe {
        name: "half-close",
        chapter: 4,
        does: "Sends a line and ends its side; the answer must come, and then the end",
        remedy: Some("Answer what was read before the end, then close; keep no second handle of the connection"),
        needs: Needs::Address,
        needs_echo: true,
        runs_alone: false,
        examine: half_close,
    },
    Probe {
        name: "prompt-answer",
        chapter: 4,
        does: "Times 60 round trips, half of them with an immediate acknowledgement, which must make no difference",
        remedy: Some("Write each answer with one write, and set TCP_NODELAY"),
        needs: Needs::Linux,
        needs_echo: true,
        runs_alone: true,
        examine: prompt_answer,
    },
];

fn split_message(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut client = server.connect("client 1").map_err(unreachable)?;
    let own = client.stream().local_addr().ok();
    let line = b"split";
    for (index, byte) in line.iter().enumerate() {
        client.send(&[*byte]);
        // The first byte gets the most time to be mistaken for a message; each of the others a little.
        let patience = Duration::from_millis(if index == 0 { 1000 } else { 20 });
        if let Some(answer) = premature(trial, &mut client, patience) {
            falls!(
                "sent \"{}\" of \"split\\n\" and got {} before the line was complete",
                String::from_utf8_lossy(&line[..=index]),
                Trial::describe(&answer)
            );
        }
        // On a busy machine the server may not have got round to it. Where that can't be seen, it must do.
        let unread = || own.and_then(|own| kernel::unread(server.addr(), own)).unwrap_or(0);
        wait_until(Duration::from_secs(1), || (unread() == 0).then_some(()));
    }
    client.send(b"\n");
    trial.expect_echo(&mut client, line)?;
    client.half_close();
    trial.expect_end(&mut client)?;
    Ok("six writes of one byte each, one answer".into())
}

/// What comes within this time, though nothing should but the beginning of the right answer.
fn premature(trial: &Trial<'_>, client: &mut Client, patience: Duration) -> Option<Reply> {
    let early = wait_until(patience, || match client.state() {
        State::Open => None,
        State::HasBytes => (!trial.answer_to(b"split").starts_with(client.received())).then_some(()),
        State::Ended => Some(()),
    });
    // Not written down if nothing comes: this silence is as it should be.
    early.map(|()| client.line(patience))
}

fn joined_messages(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut client = server.connect("client 1").map_err(unreachable)?;
    client.send(b"one\ntwo\n");
    trial.expect_echo(&mut client, b"one")?;
    // A server that has lost the second line stays silent; one that still has it answers before it ends.
    client.half_close();
    trial.expect_echo(&mut client, b"two")?;
    trial.expect_end(&mut client)?;
    Ok("one write of two lines, two answers".into())
}

fn every_byte(trial: &Trial<'_>) -> Judged {
    const LINE: usize = 16 * 1024;
    const LINES: usize = 512;
    const WINDOW: usize = 32 * 1024;
    // A faulty server may be saved by a client that always reads in time. So this one begins when nothing moves any
    // more: a correct server then waits in `write`, and a faulty one has thrown bytes away.
    const STANDSTILL: Duration = Duration::from_millis(300);
    const LONGEST_PAUSE: Duration = Duration::from_secs(3);

    let mut server = trial.start()?;
    let mut client = server.connect_with("client 1", trial.recorder, Some(WINDOW)).map_err(unreachable)?;
    let line = |number: usize| format!("{:.<width$}", format!("line {number} "), width = LINE - 1);
    let sender =
        client.stream().try_clone().map_err(|error| Otherwise::skipped(format!("no second handle: {error}")))?;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    client.note(format!("sends {} lines, {} bytes", with_thousands(LINES), with_thousands(LINES * LINE)));
    let sending = lack::spawn(move || {
        use std::io::Write;
        let mut sender = sender;
        for chunk in 0..LINES / 4 {
            let lines: String = (0..4).map(|offset| line(chunk * 4 + offset) + "\n").collect();
            if sender.write_all(lines.as_bytes()).is_err() {
                break;
            }
            count.fetch_add(lines.len(), SeqCst);
        }
        let _ = sender.shutdown(Shutdown::Write);
    })?;
    let own = client.stream().local_addr().ok();
    let progress = || (sent.load(SeqCst), own.and_then(|own| kernel::unread(server.addr(), own)));
    let (mut last, mut since) = (progress(), Instant::now());
    wait_until(LONGEST_PAUSE, || {
        let now = progress();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (now == (LINES * LINE, Some(0)) || since.elapsed() > STANDSTILL).then_some(())
    });
    client.note(format!("begins to read: the server's side has taken {} bytes", with_thousands(sent.load(SeqCst))));
    let judged = read_all(trial, &mut client, LINES, line);
    drop(client.stream().shutdown(Shutdown::Both));
    let _ = sending.join();
    judged
}

/// Expects the echoes of so many lines, in order, and then the end. Writes down only what is wrong.
pub(super) fn read_all(trial: &Trial<'_>, client: &mut Client, lines: usize, line: impl Fn(usize) -> String) -> Judged {
    let mut bytes = 0;
    let start = Instant::now();
    for number in 0..lines {
        if start.elapsed() > LONGEST {
            return Err(too_slow(number));
        }
        let expected = trial.answer_to(line(number).as_bytes());
        match client.quiet_line(trial.terms.limit) {
            Reply::Line(answer) if answer == expected => bytes += answer.len(),
            other => {
                let got = Trial::describe(&other);
                client.note(format!(
                    "gets the right answer to {} of {}, then {got}",
                    with_thousands(number),
                    with_thousands(lines)
                ));
                falls!(
                    "{} of {} lines were answered right; then it expected {} and got {got}",
                    with_thousands(number),
                    with_thousands(lines),
                    Payload::new(&expected)
                );
            }
        }
    }
    client.note(format!("has read {} answers, {} bytes, all in order", with_thousands(lines), with_thousands(bytes)));
    trial.expect_end(client)?;
    Ok(format!(
        "{} lines sent, {} bytes of answers in order, then the end",
        with_thousands(lines),
        with_thousands(bytes)
    )
    .into())
}

fn half_close(trial: &Trial<'_>) -> Judged {
    // An answer that stays open for a while may just be slow to end; one that stays open for the full limit isn't.
    let mut server = trial.start()?;
    let mut client = server.connect("client 1").map_err(unreachable)?;
    client.send(b"last words\n");
    client.half_close();
    trial.expect_echo(&mut client, b"last words")?;
    trial.expect_end(&mut client)?;
    Ok("after the half-close the answer came, and then the end".into())
}

fn prompt_answer(trial: &Trial<'_>) -> Judged {
    const ROUNDS: usize = 30;
    const SLOW: Duration = Duration::from_millis(20);

    let mut server = trial.start()?;
    let quiet = Recorder::new();
    let mut client = server.connect_with("client 1", &quiet, None).map_err(unreachable)?;
    let mut times = [Vec::new(), Vec::new()];
    trial
        .recorder
        .note("client 1", format!("makes {} round trips; in every second one it acknowledges at once", 2 * ROUNDS));
    let start = Instant::now();
    for round in 0..2 * ROUNDS {
        if start.elapsed() > LONGEST {
            return Err(too_slow(round));
        }
        let quick = round % 2 == 1;
        let start = Instant::now();
        client.send(b"prompt\n");
        acknowledge_at_once(&client, quick);
        trial.expect_echo(&mut client, b"prompt")?;
        times[usize::from(quick)].push(start.elapsed());
    }
    let [plain, quick] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    let (plain_ms, quick_ms) = (plain.as_secs_f64() * 1e3, quick.as_secs_f64() * 1e3);
    trial.recorder.note("client 1", format!("median {plain_ms:.2} ms; acknowledged at once, {quick_ms:.2} ms"));
    if plain > SLOW && plain >= quick * 4 {
        falls!(
            "a round trip took {plain_ms:.1} ms, and {quick_ms:.2} ms when the client acknowledged at once: the rest of each \
             answer waits for an acknowledgement (Nagle's algorithm)"
        );
    }
    Ok(format!("a round trip took {plain_ms:.2} ms, and {quick_ms:.2} ms with an immediate acknowledgement").into())
}

/// Not permanent (tcp(7)): the kernel goes back to delayed acknowledgements whenever something is sent.
#[cfg(target_os = "linux")]
fn acknowledge_at_once(client: &Client, on: bool) {
    let _ = socket2::SockRef::from(client.stream()).set_tcp_quickack(on);
}

/// Never called: the probe needs Linux.
#[cfg(not(target_os = "linux"))]
fn acknowledge_at_once(_client: &Client, _on: bool) {}
