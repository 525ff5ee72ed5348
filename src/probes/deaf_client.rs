//! A client that asks and asks, and never reads an answer.

use std::time::{Duration, Instant};

use super::sending::{Sending, memory};
use super::trial::Trial;
use super::{Judged, Needs, Otherwise, Probe, falls, skipped};
use crate::dialogue::Request;
use crate::lab::client::{Reply, State};

pub(super) const PROBES: &[Probe] = &[Probe {
    name: "deaf-client",
    chapter: 5,
    does: "Asks and asks, up to 256 MiB, and never reads; the server must not keep the answers, and serve others meanwhile",
    remedy: Some(
        "Read no further requests from a client while it doesn't take its answers: bound what waits to be written",
    ),
    needs: Needs::Address,
    needs_echo: true,
    runs_alone: false,
    examine: deaf_client,
}];

const MIB: usize = 1024 * 1024;
/// What is sent at most.
const MOST: usize = 256 * MIB;
/// From here on, what was taken can't lie in the kernel's buffers.
const MUCH: usize = 64 * MIB;

fn deaf_client(trial: &Trial<'_>) -> Judged {
    const STANDSTILL: Duration = Duration::from_millis(800);
    const LONGEST: Duration = Duration::from_secs(20);

    trial.stays_open()?;
    let mut server = trial.start()?;
    let deaf = trial.connect(&mut server, "client 1")?;
    // The control: while client 1 is connected and only silent.
    let alone = "it doesn't serve a client beside one that is merely silent";
    let mut other = trial
        .connect(&mut server, "client 2")
        .map_err(|why| Otherwise::skipped(format!("{alone} ({why}); see idle-client")))?;
    let request = trial.request("hello");
    other.send(&request.bytes);
    match other.answer(trial.terms.limit.min(Duration::from_secs(2)), |got| request.check(got)) {
        Reply::Line(answer) if request.is_answered_by(&answer) => {}
        got => skipped!("{alone} ({}); see idle-client", Trial::describe(&got)),
    }
    let before = memory(&mut server);
    let grown = |server: &mut _| usize::try_from(memory(server)?.saturating_sub(before?)).ok();
    let asked: Vec<u8> = (0..128).flat_map(|_| long_request(trial).bytes).collect();
    let mut left = MOST / asked.len().max(1);
    deaf.note("asks again and again, and reads nothing");
    let sending = Sending::begin(&deaf, move || {
        left = left.checked_sub(1)?;
        Some(asked.clone())
    })?;
    // What nobody will read need not be sent to the last byte, when it is clear that it is kept.
    let kept = |taken: usize, grown: Option<usize>| taken > MUCH && grown.is_some_and(|grown| grown >= taken / 2);
    let mut looked = Instant::now();
    let mut most = None;
    // The server is borrowed by the wait, so its memory is looked at in between.
    let began = Instant::now();
    let mut last = 0;
    while began.elapsed() < LONGEST {
        sending.stands_still(&server, &deaf, STANDSTILL, Duration::from_millis(250), |_| false);
        let now = sending.sent();
        most = most.max(grown(&mut server));
        if kept(now, most) && now > 2 * MUCH {
            break;
        }
        if now != last {
            (last, looked) = (now, Instant::now());
        } else if looked.elapsed() > STANDSTILL || sending.is_over() {
            break;
        }
    }
    let taken = sending.sent();
    deaf.note(format!("could send {} MiB", taken / MIB));
    let request = trial.request("still there?");
    let mut next = if other.state() == State::Open { other } else { trial.connect(&mut server, "client 2")? };
    next.send(&request.bytes);
    let got = next.answer(trial.terms.limit, |got| request.check(got));
    if let Some(obituary) = server.obituary() {
        falls!("client 1 asked, and read nothing; after {} MiB {obituary}", taken / MIB);
    }
    match &got {
        Reply::Line(answer) if request.is_answered_by(answer) => {}
        // One that limits the requests of a connection may have ended this one.
        got => falls!(
            "while client 1 had asked for {} MiB and read nothing, client 2 asked and got {}",
            taken / MIB,
            Trial::describe(got)
        ),
    }
    most = most.max(grown(&mut server));
    let shown = most.map_or("unknown".to_owned(), |grown| format!("{} MiB", grown / MIB));
    if kept(taken, most) {
        falls!("it took {} MiB from a client that reads nothing, and its memory grew by {shown}", taken / MIB);
    }
    if taken > MUCH && most.is_none() {
        skipped!(
            "it took {} MiB from a client that reads nothing; whether it kept them can't be seen from here",
            taken / MIB
        );
    }
    let of_memory = most.map_or(String::new(), |_| format!(", and its memory grew by {shown}"));
    Ok(format!("it took {} MiB from a client that reads nothing{of_memory}; others were served", taken / MIB).into())
}

/// Of lines one of 500 bytes, so that there are not too many answers.
fn long_request(trial: &Trial<'_>) -> Request {
    trial.request(&"x".repeat(499))
}
