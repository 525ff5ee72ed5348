//! A client that asks and asks, and never reads an answer.

use std::time::{Duration, Instant};

use super::sending::{Sending, grown, memory};
use super::trial::Trial;
use super::{Judged, Otherwise, PLAIN, Probe, falls, skipped};
use crate::lab::client::{Client, Reply};
use crate::lab::server::Running;

pub(super) const PROBES: &[Probe] = &[Probe {
    name: "deaf-client",
    chapter: 5,
    does: "Asks and asks, up to 256 MiB, and never reads; the server must not keep the answers, and serve others meanwhile",
    remedy: Some(
        "Read no further requests from a client while it doesn't take its answers: bound what waits to be written",
    ),
    examine: deaf_client,
    ..PLAIN
}];

const MIB: usize = 1024 * 1024;
/// What is sent at most.
const MOST: usize = 256 * MIB;
/// From here on, what was taken can't lie in the kernel's buffers.
const MUCH: usize = 64 * MIB;

fn deaf_client(trial: &Trial<'_>) -> Judged {
    trial.stays_open()?;
    let mut server = trial.start()?;
    let deaf = trial.connect(&mut server, "client 1")?;
    // The control: while client 1 is connected and only silent.
    let alone = "it doesn't serve a client beside one that is merely silent";
    let not_beside = |why| Otherwise::skipped(format!("{alone} ({why}); see idle-client"));
    let mut other = trial.connect(&mut server, "client 2").map_err(not_beside)?;
    let request = trial.request("hello");
    other.send(&request.bytes);
    let got = other.answer(trial.terms.limit.min(Duration::from_secs(2)), |got| request.check(got));
    Trial::judge(&request, &got).map_err(not_beside)?;
    deaf.note("asks again and again, and reads nothing");
    let flood = Flood::send(trial, &server, &deaf)?;
    let taken = flood.sending.sent();
    deaf.note(format!("could send {} MiB", taken / MIB));
    let request = trial.request("still-there?");
    // A server may end a connection that was idle for so long.
    other.leave();
    let mut next = trial.connect(&mut server, "client 2")?;
    next.send(&request.bytes);
    let starved = trial.recorder.leash().starved();
    let got = next.answer(trial.terms.limit, |got| request.check(got));
    if let Some(obituary) = server.obituary() {
        falls!("client 1 asked, and read nothing; after {} MiB {obituary}", taken / MIB);
    }
    trial.is_no_starvation(&got, starved)?;
    match &got {
        Reply::Line(answer) if request.is_answered_by(answer) => {}
        got => falls!(
            "while client 1 had asked for {} MiB and read nothing, client 2 asked and got {}",
            taken / MIB,
            Trial::describe(got)
        ),
    }
    let shown = flood.grown.map_or("unknown".to_owned(), |grown| format!("{} MiB", grown / MIB));
    if flood.is_kept() {
        // What a collector of garbage has not cleared away yet is no growth: it comes to an end.
        drop(flood.sending);
        let quiet = trial.recorder.aside();
        // They stay connected: what one that leaves gives back would serve the next, and hide its growth.
        let mut deaf_ones = Vec::new();
        let is_kept_again = |name| {
            let Ok(another) = trial.connect_with(&mut server, name, &quiet, None) else { return true };
            let again = Flood::send(trial, &server, &another).ok();
            deaf_ones.push(another);
            again.is_none_or(|again| again.is_kept() || again.sending.sent() < MUCH)
        };
        if ["client 3", "client 4"].into_iter().all(is_kept_again) {
            falls!("it took {} MiB from a client that reads nothing, and its memory grew by {shown}", taken / MIB);
        }
    }
    if taken > MUCH && flood.grown.is_none() {
        skipped!(
            "it took {} MiB from a client that reads nothing; whether it kept them can't be seen from here",
            taken / MIB
        );
    }
    let of_memory = flood.grown.map_or(String::new(), |_| format!(", and its memory grew by {shown}"));
    Ok(format!("it took {} MiB from a client that reads nothing{of_memory}; others were served", taken / MIB).into())
}

/// Requests whose answers nobody reads.
struct Flood {
    sending: Sending,
    /// How much more memory the server had at most, where that can be seen.
    grown: Option<usize>,
}

impl Flood {
    /// Sends as much as the server takes, or as makes it clear that it is kept.
    fn send(trial: &Trial<'_>, server: &Running, client: &Client) -> Judged<Self> {
        const STANDSTILL: Duration = Duration::from_millis(800);
        const LONGEST: Duration = Duration::from_secs(20);
        // To look at all processes takes time, which the server may need.
        const LOOK_EVERY: Duration = Duration::from_millis(250);
        let before = memory(server);
        // Of lines one of 500 bytes, so that there are not too many answers.
        let asked: Vec<u8> = (0..128).flat_map(|_| trial.request(&"x".repeat(499)).bytes).collect();
        let mut left = MOST / asked.len().max(1);
        let sending = Sending::begin(client, move || {
            left = left.checked_sub(1)?;
            Some(asked.clone())
        })?;
        let (mut most, mut looked) = (None, Instant::now());
        sending.stands_still(server, client, STANDSTILL, LONGEST, || {
            if looked.elapsed() > LOOK_EVERY {
                most = most.max(grown(server, before));
                looked = Instant::now();
            }
            // What nobody will read need not be sent to the last byte.
            sending.sent() > 2 * MUCH && is_kept(sending.sent(), most)
        });
        let grown = most.max(grown(server, before));
        Ok(Flood { sending, grown })
    }

    fn is_kept(&self) -> bool {
        is_kept(self.sending.sent(), self.grown)
    }
}

/// Whether a server that has taken so much, and has grown by so much, keeps it.
fn is_kept(taken: usize, grown: Option<usize>) -> bool {
    taken > MUCH && grown.is_some_and(|grown| grown >= taken / 2)
}
