//! Chapter 6: does it stop when asked to, and finish what it has begun?
//!
//! A server that the signal simply kills refuses clients, frees its port and never outlasts a grace time. That is no
//! grace. So most of these keep one connection with half a request open and see to it that it stays so.

mod ending;
mod finishing;
mod queue;
mod working;

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::trial::{Trial, refuses_within, require_no_wrapper, until_accepted, until_read};
use super::{Judged, Needs, Otherwise, PLAIN, Probe, skipped};
use crate::dialogue::Request;
use crate::lab::client::{Client, Reply, State};
use crate::lab::server::Running;
use crate::lab::wait::wait_until;
use crate::lab::{kernel, load};

/// What all probes of this chapter have in common.
const STOPPING: Probe = Probe { chapter: 6, needs: Needs::Signals, ..PLAIN };

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "stops-when-quiet",
        does: "Sends the stop signal when nobody is connected, and connects no more; the process must end",
        remedy: Some(
            "On the signal wake the thread that is blocked in accept; a flag alone is seen when the next client comes",
        ),
        examine: ending::stops_when_quiet,
        ..STOPPING
    },
    Probe {
        name: "refuses-after-stop",
        does: "Sends the stop signal while a client is in the middle of a request; new clients must be refused, and that one \
               kept",
        remedy: Some("On the signal wake the thread that is blocked in accept, and close the listener"),
        examine: ending::refuses_after_stop,
        ..STOPPING
    },
    Probe {
        name: "serves-queue",
        does: "Halts the server, lets clients connect and ask, and sends the stop signal; they were connected before it, so \
               they must be answered",
        remedy: Some(
            "On the signal accept until the queue is empty, and then close the listener: closing it resets who waits there",
        ),
        examine: queue::serves_queue,
        ..STOPPING
    },
    Probe {
        name: "unread-answer-at-stop",
        does: "Has long answers written and doesn't read them, sends the stop signal and one more request, and then reads; \
               all must be there, also those that the kernel has no room for",
        remedy: Some(
            "Write all that is owed before you close. Then end the sending side and read on until the client is done: closing \
             with bytes unread resets the connection",
        ),
        examine: finishing::unread_answer_at_stop,
        ..STOPPING
    },
    Probe {
        name: "finishes-line",
        does: "Sends the stop signal in the middle of a request, and then the rest; the answer must come, and then the end",
        remedy: Some("Handle the signal: let each connection finish its line before the process ends"),
        examine: finishing::finishes_line,
        ..STOPPING
    },
    Probe {
        name: "finishes-answer",
        does: "Sends the stop signal while a slow request is being worked on; its answer must come",
        remedy: Some("Handle the signal: wait for the requests in progress before the process ends"),
        examine: working::finishes_answer,
        ..STOPPING
    },
    Probe {
        name: "half-close-while-working",
        does: "Ends the client's side while a slow request is being worked on; the answer must come",
        remedy: Some("Take the end of what a client sends as just that: it may still wait for an answer"),
        needs: Needs::Address,
        examine: working::half_close_while_working,
        ..STOPPING
    },
    Probe {
        name: "queued-requests",
        does: "Has eight slow requests sent at once, and sends the stop signal; all must be answered",
        remedy: Some("On the signal take in what is queued, and wait for all of it before the process ends"),
        examine: working::queued_requests,
        ..STOPPING
    },
    Probe {
        name: "closes-idle",
        does: "Sends the stop signal while one client is idle, one has never said anything, and one is in the middle of a \
               request; just the first two must be closed",
        remedy: Some("On the signal close connections that are between two requests; their clients would never leave"),
        examine: ending::closes_idle,
        ..STOPPING
    },
    Probe {
        name: "stuck-client",
        does: "Sends the stop signal while a client is in the middle of a request that never ends; the process must end in \
               time, and without a wait once everybody has gone",
        remedy: Some("Handle the signal: wait for connections with a limit, then close what is left by force"),
        examine: ending::stuck_client,
        ..STOPPING
    },
    Probe {
        name: "clean-exit",
        does: "Sends the stop signal when nobody is connected; the process must end with status 0 and leave the port free",
        remedy: Some("Handle the signal and return from main"),
        examine: ending::clean_exit,
        ..STOPPING
    },
];

const WITHOUT_FINISHING: &str = "it stopped without finishing";

/// How long a server is given to show that it stops, before a client goes on with what it had begun.
const TO_BEGIN: Duration = Duration::from_secs(1);

/// Expects that a client went on so soon after the signal that no right server has given it up by then. Where nothing is
/// wrong with this machine, it did.
fn in_time(after: Duration, limit: Duration) -> Judged<()> {
    if after <= limit {
        return Ok(());
    }
    let after = after.as_secs_f32();
    Err(Otherwise::own_lack(format!("a client went on only {after:.1} s after the signal, for {}", load::too_busy())))
}

/// A client that is in the middle of a request.
struct InProgress {
    client: Client,
    request: Request,
    /// How much of the request has been sent.
    sent: usize,
}

impl InProgress {
    /// Connects a client that is served once, if a connection is for more than one request, and then sends half of a
    /// request.
    fn begin(trial: &Trial<'_>, server: &mut Running, name: &str) -> Judged<InProgress> {
        let mut this = Self::ready(trial, server, name)?;
        this.send_half(trial);
        until_read(server, &this.client, trial.terms.limit);
        let is_answered = || (this.client.state() == State::HasBytes).then_some(());
        if !trial.claims_lines() && wait_until(Duration::from_millis(10), is_answered).is_some() {
            skipped!("it answers before a request is complete; see split-message");
        }
        Ok(this)
    }

    /// The same, with all of the request still to be sent.
    fn ready(trial: &Trial<'_>, server: &mut Running, name: &str) -> Judged<InProgress> {
        trial.has_requests()?;
        let mut client = before_the_stop(trial, trial.connect(server, name))?;
        if trial.terms.dialogue.one_request {
            until_accepted(server, TO_BEGIN);
        } else {
            before_the_stop(trial, trial.ask(&mut client, "whole"))?;
        }
        let request = trial.request("half");
        if request.bytes.len() < 2 {
            skipped!("a request of one byte has no half");
        }
        Ok(InProgress { client, request, sent: 0 })
    }

    fn send_half(&mut self, trial: &Trial<'_>) {
        let length = self.request.bytes.len();
        let half = trial.terms.dialogue.split.unwrap_or(length.div_ceil(2));
        self.sent = half.clamp(1, length - 1);
        self.client.send(&self.request.bytes[..self.sent]);
    }

    /// Sends the rest and expects the answer.
    fn finish(&mut self, trial: &Trial<'_>) -> Judged<()> {
        self.client.send(&self.request.bytes[self.sent..]);
        expect_answer(trial, &mut self.client, &self.request)
    }
}

/// Expects the answer to a request. A server that stops may say that first, in a line.
fn expect_answer(trial: &Trial<'_>, client: &mut Client, request: &Request) -> Judged<()> {
    let got = client.answer(trial.terms.limit, |got| request.check(got));
    let judged = Trial::judge(request, &got);
    if judged.is_err() && matches!(got, Reply::Line(_)) && trial.expect(client, request).is_ok() {
        return Ok(());
    }
    judged
}

/// Whether the server has accepted this client and read what it has sent. Where that can't be seen, it has had time enough.
fn is_taken(server: &Running, client: &Client) -> bool {
    client.stream().local_addr().ok().and_then(|own| kernel::is_taken(server.addr(), own)).unwrap_or(true)
}

/// What went wrong before the stop is another probe's to tell, unless the user says that the server echoes lines.
fn before_the_stop<T>(trial: &Trial<'_>, judged: Judged<T>) -> Judged<T> {
    judged.map_err(|why| {
        if trial.claims_lines() {
            why
        } else {
            Otherwise::skipped(format!("without being told to stop, already: {why}"))
        }
    })
}

/// Starts a server and stops it while a client is in the middle of a request. Gives the time of the signal as well.
fn stop_in_the_middle(trial: &Trial<'_>) -> Judged<(Running, InProgress, Instant)> {
    let mut server = trial.start()?;
    let mut late = InProgress::begin(trial, &mut server, "client 1")?;
    stop(trial, &mut server, &mut [&mut late.client])?;
    Ok((server, late, Instant::now()))
}

/// Sends the stop signal. These clients must still be connected: one that isn't tells nothing of stopping.
fn stop(trial: &Trial<'_>, server: &mut Running, clients: &mut [&mut Client]) -> Judged<()> {
    can_be_stopped(server)?;
    send_stop(trial, server, clients)
}

/// Expects that a signal reaches the server. The table of sockets that this looks into may be long.
fn can_be_stopped(server: &mut Running) -> Judged<()> {
    require_no_wrapper(server)?;
    is_heard(server)
}

/// Sends the stop signal at once, to a server that can be stopped.
fn send_stop(trial: &Trial<'_>, server: &mut Running, clients: &mut [&mut Client]) -> Judged<()> {
    if clients.iter_mut().any(|client| client.state() == State::Ended) {
        let before = "a client that had been served was disconnected before the signal already";
        if !trial.claims_lines() {
            skipped!("{before}, so this tells nothing of stopping");
        }
        return Err(own_limit(trial, server).unwrap_or_else(|| Otherwise::falls(before)));
    }
    trial.send_stop("probe", server)
}

/// Expects that the stop signal isn't kept from the server by how it was started. Where that can't be seen, it isn't.
fn is_heard(server: &mut Running) -> Judged<()> {
    let Some(process) = server.process() else { return Ok(()) };
    let stop = process.stop_signal();
    if process.ignores(stop).is_ok_and(|ignores| ignores) {
        skipped!("its process ignores {stop} (SigIgn in /proc). Start it without trap, or say --stop SIGNAL");
    }
    if process.leaves_pending(stop).is_ok_and(|pending| pending) {
        skipped!(
            "its process blocks {stop} and doesn't take it (SigBlk and ShdPnd in /proc). Start it with no signal blocked"
        );
    }
    Ok(())
}

/// Whether this is an end by the stop signal itself, or the status that says so: 128 and its number.
fn is_by_the_signal(server: &mut Running, status: ExitStatus) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        let stop = server.process().map(|process| process.stop_signal().number());
        stop.is_some() && (status.signal() == stop || status.code().map(|code| code - 128) == stop)
    }
    #[cfg(not(unix))]
    {
        let _ = (server, status);
        false
    }
}

/// How the process ended, if the signal simply killed it. One that takes its time for that is no such.
fn killed(server: &mut Running) -> Option<ExitStatus> {
    let status = server.process()?.exits_within(Duration::from_millis(400))?;
    is_by_the_signal(server, status).then_some(status)
}

/// The reason of the other probes where the signal simply kills a server and the user doesn't claim that it is more than
/// that: finishes-line says so, once.
fn just_killed(trial: &Trial<'_>, status: ExitStatus) -> Option<Otherwise> {
    let why = format!("the signal simply ends it ({status}), so there is no stop to examine");
    (!trial.terms.dialogue.claimed).then(|| Otherwise::skipped(why))
}

/// The same, where what it has forked may serve on.
fn is_just_killed(trial: &Trial<'_>, server: &mut Running) -> Judged<()> {
    killed(server).and_then(|status| just_killed(trial, status)).map_or(Ok(()), Err)
}

/// Expects that there is a stop to examine.
fn is_more_than_killed(trial: &Trial<'_>, server: &mut Running) -> Judged<()> {
    // A JVM ends like that even after a clean stop.
    is_just_killed(trial, server).or_else(|why| if lets_finish(trial).unwrap_or(false) { Ok(()) } else { Err(why) })
}

/// Whether a server that is told to stop lets a client finish that is in the middle of a request.
fn lets_finish(trial: &Trial<'_>) -> Judged<bool> {
    let (server, mut late, _) = stop_in_the_middle(trial)?;
    // A process that takes a moment to die goes on for so long, and refuses nobody.
    refuses(trial, &server, &mut late.client, (trial.terms.grace / 2).clamp(TO_BEGIN, TO_BEGIN * 3));
    Ok(late.finish(trial).is_ok())
}

/// What is to be said of a server that cut off a client in the middle of a request, where that is not the question.
fn unfinished(trial: &Trial<'_>, server: &mut Running, what: &str) -> Otherwise {
    if let Err(why) = is_just_killed(trial, server) {
        return why;
    }
    if !trial.claims_lines() {
        return Otherwise::skipped(format!("{what}; see finishes-line"));
    }
    if let Some(why) = own_limit(trial, server) {
        return why;
    }
    Otherwise::falls(format!("{WITHOUT_FINISHING}: {what}"))
}

/// The control for a server that has let go of a client, unless the signal has killed it: if it does so as well when it
/// isn't told to stop, after a time that is short but not nothing, then it has a limit for slow clients.
fn own_limit(trial: &Trial<'_>, server: &mut Running) -> Option<Otherwise> {
    const AT_ONCE: Duration = Duration::from_millis(400);
    // On a busy machine the same limit is over later.
    let short = Duration::from_secs(if load::overload().is_some() { 6 } else { 2 });
    if killed(server).is_some() {
        return None;
    }
    let judged = trial.aside(|trial| {
        let mut server = trial.start()?;
        let mut half = InProgress::ready(trial, &mut server, "client 1")?;
        let began = Instant::now();
        half.send_half(trial);
        if half.client.ends_within(short) && began.elapsed() > AT_ONCE {
            skipped!(
                "it lets go of a client in the middle of a request within {} s without being told to stop as well. To judge its \
                 stop takes a longer limit",
                short.as_secs()
            );
        }
        Ok(())
    });
    judged.err().filter(|why| !why.accuses())
}

/// Whether a client in the middle of a request stays connected for a moment. The kernel closes what a killed process held
/// one after the other.
fn stays(trial: &Trial<'_>, server: &mut Running, client: &mut Client) -> bool {
    if client.ends_within(Duration::from_millis(500).min(trial.terms.grace / 2)) {
        return false;
    }
    let ended = server.process().is_some_and(|process| process.exited().is_some());
    !(ended && client.ends_within(TO_BEGIN))
}

/// Waits until the server shows that it stops: it refuses new clients, or ends this one. Says whether it refuses them.
fn refuses(trial: &Trial<'_>, server: &Running, client: &mut Client, patience: Duration) -> bool {
    refuses_within(server, patience, &trial.recorder.aside(), || client.state() == State::Ended)
}

/// Halts the server with all that it has started, so that whatever comes waits in the kernel.
fn halt(trial: &Trial<'_>, server: &mut Running) -> Judged<()> {
    let cannot = |error: io::Error| Otherwise::skipped(format!("the server can't be halted: {error}"));
    let Some(process) = server.process() else { skipped!("no process was started that could be halted") };
    process.halt().map_err(cannot)?;
    trial.recorder.note("probe", "halts the server (SIGSTOP)");
    Ok(())
}

/// Lets a halted server go on.
fn go_on(trial: &Trial<'_>, server: &mut Running) {
    trial.recorder.note("probe", "lets the server go on (SIGCONT)");
    if let Some(process) = server.process() {
        // An error means that the process has ended, which shows at its connections.
        let _ = process.go_on();
    }
}
