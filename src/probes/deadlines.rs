//! For how long a server lets one client be slow. None is no fault, unless the user says that there is a deadline.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use super::trial::{Trial, has_ended};
use super::{Judged, Otherwise, PLAIN, Probe, falls, skipped};
use crate::lab::client::{Client, State};
use crate::lab::server::Running;
use crate::lab::wait::wait_until;

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "slow-reader",
        chapter: 5,
        does: "Asks for more than the connection holds and reads a byte a second; tells when the server has had enough",
        remedy: Some("Give each write a timeout, or the whole answer a deadline"),
        examine: slow_reader,
        ..PLAIN
    },
    Probe {
        name: "slow-line",
        chapter: 5,
        does: "Sends a request a byte a second; tells when the server has had enough",
        remedy: Some("Give a whole request a deadline: a timeout of each read begins anew with every byte"),
        examine: slow_line,
        ..PLAIN
    },
    Probe {
        name: "idle-limit",
        chapter: 5,
        does: "Connects and says nothing, and asks once and says nothing more; tells when the server has had enough",
        remedy: Some("Give the wait for the next request a timeout, and close when it is over"),
        examine: idle_limit,
        ..PLAIN
    },
];

/// For how long a client is slow where no deadline was claimed. Most servers have none, or one of a minute.
const WINDOW: Duration = Duration::from_secs(2);
/// How much later than the claimed deadline a server may be.
const LATE: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

impl Trial<'_> {
    /// For how long to be slow.
    fn window(&self) -> Duration {
        self.terms.deadline.map_or(WINDOW, |deadline| deadline + LATE.min(self.terms.limit))
    }

    /// What to say of a client that was `slow` and was let go after so long, or still wasn't.
    fn judge_deadline(&self, slow: &str, after: Option<Duration>) -> Judged {
        let after = after.map(|after| format!("{:.1}", after.as_secs_f32()));
        if let Some(after) = &after {
            self.recorder.number_by_chance(after, "a measured time");
        }
        let (window, late) = (self.window().as_secs(), LATE.min(self.terms.limit).as_secs());
        match (after, self.terms.deadline.map(|deadline| deadline.as_secs())) {
            (Some(after), Some(deadline)) => Ok(format!(
                "{slow} was let go after {after} s (deadline {deadline} s, and up to {late} s more are allowed)"
            )
            .into()),
            (None, Some(deadline)) => falls!(
                "{slow} was still connected after {window} s: the deadline is said to be {deadline} s, and {late} s more were \
                 allowed"
            ),
            (Some(after), None) => Err(Otherwise::note(format!("{slow} was let go after {after} s"))),
            (None, None) => Err(Otherwise::note(format!("{slow} was not let go within {window} s"))),
        }
    }
}

/// Does something once a second until the server has let the client go, and says after how long that was.
fn until_let_go(window: Duration, client: &mut Client, mut each_second: impl FnMut(&mut Client)) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < window {
        each_second(client);
        let rest = SECOND.min(window.saturating_sub(began.elapsed()));
        // A text, such as `408 Request Timeout`, is a farewell as good as the end.
        if client.comes_within(rest) {
            return Some(began.elapsed());
        }
    }
    None
}

fn is_let_go(client: &mut Client) -> bool {
    client.state() != State::Open
}

fn slow_line(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut client = trial.connect(&mut server, "client 1")?;
    trial.has_requests()?;
    // The last byte stays unsent, and a request of few bytes is sent more slowly.
    let mut bytes = trial.request(&"x".repeat(4096)).bytes;
    bytes.pop();
    if bytes.is_empty() {
        skipped!("a request of one byte can't be sent slowly");
    }
    let window = trial.window();
    let every = usize::try_from(window.as_secs()).unwrap_or(usize::MAX).div_ceil(bytes.len()).max(1);
    client.note(format!("sends a request a byte every {every} s"));
    let mut seconds = 0;
    let after = until_let_go(window, &mut client, |client| {
        if seconds % every == 0 {
            if let Some(byte) = bytes.get(seconds / every) {
                client.quiet_send(&[*byte]);
            }
        }
        seconds += 1;
    });
    trial.judge_deadline("a client that sends a byte a second", after)
}

fn idle_limit(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut asked = if trial.terms.dialogue.one_request {
        None
    } else {
        let mut client = trial.connect(&mut server, "client 1")?;
        trial.ask(&mut client, "hello").map_err(|other| {
            Otherwise::skipped(format!(
                "no silence can be timed, since a request went wrong ({other}); see withheld-answer"
            ))
        })?;
        Some(client)
    };
    if asked.as_mut().is_some_and(|client| client.ends_within(Duration::from_millis(100))) {
        asked = None;
    }
    // Where each connection ends after an answer, only a client that never says anything is left to be timed. A server
    // that ends with its first client lets go of that one at once, for another reason.
    if asked.is_none() {
        let next = trial.connect(&mut server, "the next client").and_then(|mut client| trial.ask(&mut client, "next"));
        if next.is_err() {
            skipped!("it doesn't serve the next client; see next-client");
        }
    }
    let answered = asked.is_some();
    let Ok(mut silent) = trial.connect(&mut server, "the silent client") else {
        skipped!("no further client can connect; see next-client");
    };
    let (began, window) = (Instant::now(), trial.window());
    let mut after = [None, None];
    wait_until(window, || {
        for (after, client) in after.iter_mut().zip([Some(&mut silent), asked.as_mut()]) {
            if after.is_none() && client.is_some_and(is_let_go) {
                *after = Some(began.elapsed());
            }
        }
        (after[0].is_some() && (after[1].is_some() || !answered)).then_some(())
    });
    let never = trial.judge_deadline("a client that never says anything", after[0]);
    if !answered {
        return never;
    }
    let no_more = trial.judge_deadline("a client that is silent after an answer", after[1]);
    match (never, no_more) {
        (Ok(never), Ok(no_more)) => Ok(format!("{never}; {no_more}").into()),
        (Err(never), Err(no_more)) => Err(never.reword(|never| format!("{never}; {no_more}"))),
        (Err(falls), Ok(_)) | (Ok(_), Err(falls)) => Err(falls),
    }
}

fn slow_reader(trial: &Trial<'_>) -> Judged {
    const WINDOW_OF_THE_CONNECTION: usize = 4096;

    trial.stays_open()?;
    let ways = ["a client that reads nothing", "a client that reads a byte a second"];
    trial.recorder.either_by_chance(&ways, "it may be let go while it still asks");
    let mut server = trial.start()?;
    let client = trial.connect_with(&mut server, "client 1", trial.recorder, Some(WINDOW_OF_THE_CONNECTION))?;
    client.note("asks until the connection takes no more, and reads a byte a second");
    if let Some(after) = ask_until_full(trial, &server, &client)? {
        return trial.judge_deadline(ways[0], Some(after));
    }
    let _ = client.stream().set_read_timeout(Some(Duration::from_millis(100)));
    let mut ended = false;
    let (window, began) = (trial.window(), Instant::now());
    let mut read = Instant::now();
    // What has come is not to be taken here, so the end can't be read behind it. But a server that leaves requests unread
    // resets the connection, which shows at once, and of one that has read them the kernel tells.
    let after = wait_until(window, || {
        if read.elapsed() > SECOND {
            read = Instant::now();
            ended |= matches!(client.stream().read(&mut [0]), Ok(0));
        }
        ended |= client.stream().take_error().is_ok_and(|error| error.is_some()) || has_ended(&server, &client);
        ended.then(|| began.elapsed())
    });
    trial.judge_deadline(ways[1], after)
}

/// Asks, and reads nothing, until the connection takes no more. Gives after how long the server let the client go, if it did
/// so before that.
fn ask_until_full(trial: &Trial<'_>, server: &Running, client: &Client) -> Judged<Option<Duration>> {
    const MOST: usize = 32 * 1024 * 1024;
    // A server that writes in small pieces takes long to fill its buffers, beside others.
    const FILLING: Duration = Duration::from_secs(10);
    const LOOK: Duration = Duration::from_millis(100);
    // One that ends its side sooner does so for another reason than time.
    const AT_ONCE: Duration = Duration::from_millis(500);

    let asked: Vec<u8> = (0..32).flat_map(|_| trial.request(&"x".repeat(499)).bytes).collect();
    let _ = client.stream().set_write_timeout(Some(Duration::from_millis(500)));
    let (began, mut sent) = (Instant::now(), 0);
    let mut looked = Instant::now();
    loop {
        // One that has ended its side may still take what comes, and throw it away, faster than one that answers.
        if looked.elapsed() > LOOK || sent > MOST {
            looked = Instant::now();
            if began.elapsed() > AT_ONCE && has_ended(server, client) {
                return Ok(Some(began.elapsed()));
            }
        }
        if sent > MOST {
            let taken = sent / 1024 / 1024;
            skipped!("it took {taken} MiB without waiting for a client that reads nothing; see deaf-client");
        }
        match client.stream().write(&asked[sent % asked.len()..]) {
            Ok(count) => sent += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // It has let the client go before this could fill the connection.
            Err(_) if trial.terms.deadline.is_some_and(|deadline| began.elapsed() >= deadline) => {
                return Ok(Some(began.elapsed()));
            }
            Err(_) => skipped!("it ended the connection while requests were still coming; see every-byte"),
        }
        let (taken, after) = (sent / 1024 / 1024, began.elapsed());
        if after > FILLING && after > FILLING + trial.recorder.leash().starved().min(2 * FILLING) {
            skipped!(
                "after {} s it still took requests of a client that reads nothing, {taken} MiB so far: it is too slow to come to \
                 a wait",
                after.as_secs()
            );
        }
    }
}
