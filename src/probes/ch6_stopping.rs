//! Chapter 6: does it stop when asked to, and finish what it has begun?
//!
//! A server that the signal simply kills refuses clients, frees its port and never outlasts a grace time. That is no
//! grace. So most of these keep one connection with half a line open and see to it that it stays so.

use std::net::TcpListener;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::trial::{Trial, refuses_within, unreachable};
use super::{Judged, Needs, Otherwise, Probe, falls};
use crate::lab::client::{Client, Reply, State};
use crate::lab::recording::Recorder;
use crate::lab::server::Running;
use crate::lab::wait::wait_until;

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "refuses-after-stop",
        chapter: 6,
        does: "Sends SIGTERM while a client is in the middle of a line; new clients must be refused, and that one kept",
        remedy: Some("On the signal wake the thread that is blocked in accept, and close the listener"),
        needs: Needs::Signals,
        needs_echo: true,
        runs_alone: false,
        examine: refuses_after_stop,
    },
    Probe {
        name: "finishes-line",
        chapter: 6,
        does: "Sends SIGTERM in the middle of a line, and then the rest; the answer must come, and then the end",
        remedy: Some("Handle SIGTERM: let each connection finish its line before the process ends"),
        needs: Needs::Signals,
        needs_echo: true,
        runs_alone: false,
        examine: finishes_line,
    },
    Probe {
        name: "closes-idle",
        chapter: 6,
        does: "Sends SIGTERM while one client is idle and one in the middle of a line; only the idle one must be closed",
        remedy: Some("On the signal close connections that are between two lines; their clients would never leave"),
        needs: Needs::Signals,
        needs_echo: true,
        runs_alone: false,
        examine: closes_idle,
    },
    Probe {
        name: "stuck-client",
        chapter: 6,
        does: "Sends SIGTERM while a client is in the middle of a line that never ends; the process must end in time",
        remedy: Some("Handle SIGTERM: wait for connections with a limit, then close what is left by force"),
        needs: Needs::Signals,
        needs_echo: true,
        runs_alone: false,
        examine: stuck_client,
    },
    Probe {
        name: "clean-exit",
        chapter: 6,
        does: "Sends SIGTERM when nobody is connected; the process must end with status 0 and leave the port free",
        remedy: Some("Handle SIGTERM and return from main"),
        needs: Needs::Signals,
        needs_echo: true,
        runs_alone: false,
        examine: clean_exit,
    },
];

const WITHOUT_FINISHING: &str = "it stopped without finishing";

/// A client that has been served and has sent half of its next line.
fn in_progress(trial: &Trial<'_>, server: &mut Running) -> Judged<Client> {
    let mut client = server.connect("client 1").map_err(unreachable)?;
    // In one write: with the answer to the first line it is sure that the server has the half line as well.
    client.send(b"whole\nhal");
    trial.expect_echo(&mut client, b"whole")?;
    Ok(client)
}

fn refuses_after_stop(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut client = in_progress(trial, &mut server)?;
    trial.ask_to_stop("probe", &mut server)?;
    // A killed server ends the connections it has and its listener one after the other, in either order.
    // How many get in before the server has seen the signal is chance, so they are not written down.
    let quiet = Recorder::new();
    let refuses = refuses_within(&server, trial.terms.limit, &quiet, || client.state() == State::Ended)
        || client.state() == State::Ended && refuses_within(&server, Duration::from_secs(1), &quiet, || false);
    if !refuses && client.state() != State::Ended {
        falls!("it still accepted new clients {} s after the signal", trial.terms.limit.as_secs());
    }
    if refuses {
        trial.recorder.note("new client", "is refused");
        // One that has closed its listener because it ends closes its connections as well. Met in between, it would
        // reset the client instead of telling it the end: the same fault, told otherwise.
        server.process().and_then(|process| process.exits_within(Duration::from_millis(300)));
    }
    if !can_go_on(trial, &mut client) {
        falls!(
            "{WITHOUT_FINISHING}: the client in the middle of a line was disconnected{}",
            if refuses { "" } else { ", and until then new clients were accepted" }
        );
    }
    Ok("after the signal new clients were refused, and the one in the middle of a line stayed connected".into())
}

/// Sends the rest of the line that is in progress. False if that shows that the connection has ended.
///
/// The kernel closes what a killed process held one after the other, and a busy machine takes its time for that: only an
/// answer, or the full limit, tells an open connection from one that is about to end.
fn can_go_on(trial: &Trial<'_>, client: &mut Client) -> bool {
    client.send(b"f\n");
    loop {
        match client.line(trial.terms.limit) {
            Reply::End(_) | Reply::Reset(_) => return false,
            // A server that takes half a line for a whole one has answered that, and may have ended since.
            Reply::Line(answer) if answer != trial.answer_to(b"half") => {}
            _ => return true,
        }
    }
}

fn finishes_line(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut client = in_progress(trial, &mut server)?;
    trial.ask_to_stop("probe", &mut server)?;
    // The rest of the line is late on purpose: the server has had time to stop.
    refuses_within(&server, Duration::from_secs(1), &Recorder::new(), || client.state() == State::Ended);
    client.send(b"f\n");
    trial.expect_echo(&mut client, b"half").map_err(|other| {
        other.reword(|instead| {
            format!("{WITHOUT_FINISHING}: a line was half sent at the signal and completed after it; {instead}")
        })
    })?;
    trial
        .expect_end(&mut client)
        .map_err(|other| other.reword(|instead| format!("the line in progress was answered, but then {instead}")))?;
    Ok("a line that was half sent at the signal was completed and answered, and then the connection was closed".into())
}

fn closes_idle(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut busy = in_progress(trial, &mut server)?;
    let unserved = |why: String| {
        Otherwise::skipped(format!("client 2 is not served beside client 1, and this probe takes both ({why})"))
    };
    let mut idle = server.connect("client 2").map_err(|why| unserved(why.to_string()))?;
    trial.ask(&mut idle, "done").map_err(|instead| unserved(format!("client 2 {instead}")))?;
    trial.ask_to_stop("probe", &mut server)?;
    // Whichever ends first: an idle connection that ends only with the other was not closed for being idle.
    let limit = trial.terms.limit.max(trial.terms.grace + Duration::from_secs(2));
    let first = wait_until(limit, || match (idle.state(), busy.state()) {
        (_, State::Ended) => Some("busy"),
        (State::Ended, _) => Some("idle"),
        _ => None,
    });
    if first == Some("idle") {
        trial.recorder.note("client 2", "is idle, and sees the end");
    }
    match first {
        Some("idle") if can_go_on(trial, &mut busy) => {
            Ok("the idle connection was closed at once, and the one in the middle of a line was not".into())
        }
        Some("busy") if idle.state() != State::Ended && !idle.ends_within(Duration::from_millis(200)) => {
            falls!("the client in the middle of a line was disconnected, and the idle one was kept")
        }
        Some(_) => {
            trial.recorder.note("both clients", "see the end together");
            falls!(
                "{WITHOUT_FINISHING}: the idle client and the one in the middle of a line were disconnected together"
            )
        }
        None => {
            falls!("the idle connection was still open {} s after the signal", limit.as_secs())
        }
    }
}

fn stuck_client(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut client = in_progress(trial, &mut server)?;
    trial.ask_to_stop("probe", &mut server)?;
    let asked = Instant::now();
    let at_once = || {
        trial.recorder.note("client 1", "finds its connection closed, in the middle of its line");
        falls!("{WITHOUT_FINISHING}: the client in the middle of a line was disconnected at once")
    };
    if client.ends_within(Duration::from_millis(300)) {
        return at_once();
    }
    let grace = trial.terms.grace;
    let exit = exits(&mut server, grace);
    let exited_after = asked.elapsed();
    match exit {
        Some(status) if !client.ends_within(Duration::from_secs(1)) => falls!(
            "the process ended with {status}, but another one still holds the connection of the client that never finishes"
        ),
        // No status of its own: the signal ended it. Seen so soon, that was no grace.
        Some(status) if status.code().is_none() && exited_after < Duration::from_millis(900) => at_once(),
        Some(status) => {
            trial.recorder.note("server", format!("ends with {status}"));
            Ok(format!("the client got its time, and then the process ended with {status}").into())
        }
        None => {
            trial.recorder.note("server", format!("still runs {} s after the signal", grace.as_secs()));
            falls!("still running after {} s; if your grace time is longer, pass --grace", grace.as_secs())
        }
    }
}

/// The process's end within the grace time and a little for ending itself.
fn exits(server: &mut Running, grace: Duration) -> Option<ExitStatus> {
    server.process()?.exits_within(grace + Duration::from_secs(1))
}

fn clean_exit(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    // Two clients: after one, a server that serves only one is about to end by itself, with status 0.
    for name in ["client 1", "client 2"] {
        let mut client = server.connect(name).map_err(unreachable)?;
        trial.ask(&mut client, "hello")?;
        client.leave();
    }
    trial.ask_to_stop("probe", &mut server)?;
    let Some(status) = exits(&mut server, trial.terms.grace) else {
        falls!("with nobody connected, it still ran {} s later", trial.terms.grace.as_secs());
    };
    trial.recorder.note("server", format!("ends with {status}"));
    if !status.success() {
        falls!("with nobody connected, it ended with {status} instead of status 0");
    }
    let port = server.addr().port();
    if let Err(error) = TcpListener::bind(server.addr()) {
        falls!("it ended with {status}, but port {port} can't be used: {error}");
    }
    Ok(format!("with nobody connected, it ended with {status}, and port {port} was free").into())
}
