//! What ends, and when: the listener, idle connections, the process.

use std::net::TcpListener;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::super::ch4_messages::ask_and_end;
use super::super::trial::Trial;
use super::{
    InProgress, TO_BEGIN, before_the_stop, is_by_the_signal, is_heard, is_just_killed, is_more_than_killed, is_taken,
    just_killed, killed, lets_finish, own_limit, refuses, stays, stop, stop_in_the_middle, unfinished,
};
use crate::lab::client::State;
use crate::lab::server::Running;
use crate::lab::wait::wait_until;
use crate::lab::{kernel, load};
use crate::probes::{Judged, Otherwise, falls, skipped};

/// Has two clients served one after the other, who leave. After one, a server that serves only one is about to end by
/// itself, with status 0.
fn quiet(trial: &Trial<'_>) -> Judged<Running> {
    let mut server = trial.start()?;
    for name in ["client 1", "client 2"] {
        let answered = trial.connect(&mut server, name).and_then(|mut client| trial.ask(&mut client, "hello"));
        before_the_stop(trial, answered)?;
    }
    Ok(server)
}

pub(super) fn stops_when_quiet(trial: &Trial<'_>) -> Judged {
    let mut server = quiet(trial)?;
    stop(trial, &mut server, &mut [])?;
    let limit = trial.terms.limit.max(trial.terms.grace);
    let Some(status) = exits(&mut server, limit) else {
        is_heard(&mut server)?;
        falls!("with nobody connected, and nobody who connects, it still ran {} s later", limit.as_secs());
    };
    is_more_than_killed(trial, &mut server)?;
    trial.recorder.note("server", format!("ends with {status}"));
    Ok("with nobody connected, and nobody who connects, the process ended".into())
}

/// The process's end within the grace time and a little for ending itself.
fn exits(server: &mut Running, grace: Duration) -> Option<ExitStatus> {
    server.process()?.exits_within(grace + Duration::from_secs(1))
}

pub(super) fn refuses_after_stop(trial: &Trial<'_>) -> Judged {
    let (mut server, InProgress { client: mut kept, .. }, asked) = stop_in_the_middle(trial)?;
    // How many get in before the server has seen the signal is chance, so they are not written down one by one.
    trial.recorder.note("new clients", "connect, one after the other");
    let refuses = refuses(trial, &server, &mut kept, trial.terms.limit);
    let after = asked.elapsed();
    if refuses && stays(trial, &mut server, &mut kept) {
        trial.recorder.note("new clients", "are refused");
        return Ok(
            "after the signal new clients were refused, and the one in the middle of a request stayed connected".into(),
        );
    }
    let ended = kept.state() == State::Ended;
    if ended {
        trial.recorder.note("client 1", "sees the end, in the middle of its request");
    }
    // A server that the signal kills ends its connections and its listener one after the other, in either order.
    let is_killed = killed(&mut server).is_some();
    // One that takes a moment to die may accept till then, and finishes nothing.
    let dies = || -> Judged<bool> { Ok(!trial.claims_lines() && !lets_finish(trial)?) };
    if ended && (is_killed || after < Duration::from_secs(1) || dies()?) {
        return Err(unfinished(trial, &mut server, "the client in the middle of a request was disconnected"));
    }
    is_heard(&mut server)?;
    falls!(
        "it still accepted new clients {:.0} s after the signal{}",
        after.as_secs_f32(),
        if ended { ", when it disconnected the one that was in the middle of a request" } else { "" }
    )
}

pub(super) fn closes_idle(trial: &Trial<'_>) -> Judged {
    let judged = ends_the_idle(trial);
    if !trial.claims_lines() {
        return judged;
    }
    let simpler = "it doesn't end the connection of a client that has ended its side, either; see half-close";
    trial.unless_simpler(judged, simpler, |trial, _| ask_and_end(trial).map(drop))
}

fn ends_the_idle(trial: &Trial<'_>) -> Judged {
    trial.stays_open()?;
    let mut server = trial.start()?;
    let mut busy = InProgress::begin(trial, &mut server, "client 1")?.client;
    let beside = |why: Otherwise| {
        Otherwise::skipped(format!("others are not served beside client 1, and this probe takes three clients ({why})"))
    };
    let mut silent = trial.connect(&mut server, "client 2").map_err(beside)?;
    let mut idle = trial.connect(&mut server, "client 3").map_err(beside)?;
    trial.ask(&mut idle, "done").map_err(|instead| beside(instead.reword(|instead| format!("client 3: {instead}"))))?;
    // The kernel may keep it back until it speaks (TCP_DEFER_ACCEPT in tcp(7)). Then the server can't close it.
    let is_seen = wait_until(TO_BEGIN, || is_taken(&server, &silent).then_some(())).is_some();
    stop(trial, &mut server, &mut [&mut busy, &mut silent, &mut idle])?;
    let asked = Instant::now();
    // Whichever ends first: one that ends only with the busy one was not closed for being idle.
    let limit = trial.terms.limit.max(trial.terms.grace + Duration::from_secs(2));
    let (mut idle_ended, mut silent_ended, mut busy_ended) = (false, false, false);
    wait_until(limit, || {
        idle_ended = idle.state() == State::Ended;
        silent_ended = !is_seen || silent.state() == State::Ended;
        busy_ended = !(idle_ended && silent_ended) && busy.state() == State::Ended;
        (idle_ended && silent_ended || busy_ended).then_some(())
    });
    let after = asked.elapsed();
    let is_lines = trial.terms.dialogue.lines.is_some();
    let kept = match (idle_ended, silent_ended) {
        (true, true) => "",
        (false, false) => "the idle client and the one that has never said anything were",
        (false, true) => "the idle client was",
        (true, false) => "the client that has never said anything was",
    };
    if idle_ended && !silent_ended && !is_lines {
        return Err(Otherwise::differs(format!(
            "{kept} kept. Apache, Go and Node wait for its first request, for as long as they do without a stop or for some \
             seconds; gunicorn's threads close it"
        )));
    }
    let both_ended = idle_ended && silent_ended;
    if !both_ended && !busy_ended {
        is_heard(&mut server)?;
        is_just_killed(trial, &mut server)?;
        // A client that comes wakes an accept that has not seen the flag.
        refuses(trial, &server, &mut silent, TO_BEGIN);
        if silent.ends_within(Duration::from_secs(1)) && idle.ends_within(Duration::from_secs(1)) {
            skipped!("it saw the signal only when a new client came; see stops-when-quiet");
        }
        falls!("{kept} still connected {} s after the signal", limit.as_secs());
    }
    if both_ended && stays(trial, &mut server, &mut busy) {
        let (who, as_well) = if is_seen {
            ("client 2 and client 3", ", one that had never said anything as well")
        } else {
            ("client 3", " (the kernel keeps those from it that have never said anything)")
        };
        trial.recorder.note(who, "are idle, and see the end");
        let and = "and the one in the middle of a request was not";
        let soon = if after < Duration::from_secs(1) {
            "at once".to_owned()
        } else {
            format!("{:.1} s after the signal", after.as_secs_f32())
        };
        return Ok(format!("idle clients were disconnected {soon}{as_well}, {and}").into());
    }
    // The one in the middle of a request ended: was it the stop?
    let together = "idle clients and the one in the middle of a request were disconnected together";
    let seconds = after.as_secs_f32();
    if after < Duration::from_secs(1) || both_ended && !is_lines {
        trial.recorder.note("client 1", "sees the end, in the middle of its request");
        let late = if is_lines { String::new() } else { format!(", {seconds:.1} s after the signal") };
        return Err(unfinished(trial, &mut server, &format!("{together}{late}")));
    }
    if let Some(why) = own_limit(trial, &mut server) {
        return Err(why);
    }
    // Erlang takes more than a second to die.
    if !trial.claims_lines() && !lets_finish(trial)? {
        return Err(unfinished(trial, &mut server, together));
    }
    // On a busy machine, a process that is simply killed may take a second as well.
    is_more_than_killed(trial, &mut server)?;
    if both_ended {
        falls!("{together}, and only {seconds:.1} s after the signal");
    }
    falls!("{kept} kept until the one in the middle of a request was cut off, {seconds:.1} s after the signal")
}

pub(super) fn stuck_client(trial: &Trial<'_>) -> Judged {
    let grace = trial.terms.grace;
    // The control: how long it takes to end on this machine when nobody is waited for. What is long may be chance.
    let mut alone = trial.aside(stops_when_all_have_gone)?;
    if alone > Duration::from_millis(500) {
        alone = alone.min(trial.aside(stops_when_all_have_gone)?);
    }
    // What `exits` waits for.
    if alone > grace + Duration::from_secs(1) {
        skipped!(
            "with nobody left, either, it still runs {} s after the signal; see stops-when-quiet",
            grace.as_secs()
        );
    }
    let (status, mut stuck_for) = stops_with_a_stuck_client(trial, alone.min(Duration::from_secs(2)))?;
    // One that goes on waiting when nobody is left stops as late as with a stuck client.
    let mut did_not_wait = alone < Duration::from_secs(1);
    if !did_not_wait {
        alone = alone.min(stops_when_all_have_gone(trial)?);
        if alone * 10 < stuck_for * 8 {
            stuck_for = stuck_for.min(trial.aside(|trial| stops_with_a_stuck_client(trial, alone))?.1);
        }
        did_not_wait = alone < Duration::from_secs(1) || alone * 10 < stuck_for * 8;
    }
    if did_not_wait {
        return Ok(format!(
            "the client got its time, and then the process ended with {status}; once nobody was left, it did not wait"
        )
        .into());
    }
    falls!(
        "when everybody had gone, it still waited until {:.1} s after the signal, as long as for a client that never \
         finishes (with a limit of {} s)",
        stuck_for.as_secs_f32(),
        grace.as_secs()
    )
}

/// How the process ended, and how long after the signal. Beyond its grace time it has as long as it takes `alone`, and a
/// little.
fn stops_with_a_stuck_client(trial: &Trial<'_>, alone: Duration) -> Judged<(ExitStatus, Duration)> {
    let grace = trial.terms.grace;
    let (mut server, InProgress { client: mut stuck, .. }, asked) = stop_in_the_middle(trial)?;
    let refuses = refuses(trial, &server, &mut stuck, grace.min(Duration::from_secs(1)) / 2);
    // A process that takes a moment to die keeps its clients for so long. What it does for them tells it from a graceful
    // one: that has begun to stop, and still keeps the client that it waits for.
    if stuck.state() == State::Ended || refuses && !stays(trial, &mut server, &mut stuck) {
        return Err(unfinished(trial, &mut server, "the client in the middle of a request was disconnected at once"));
    }
    let allowed = grace + alone + Duration::from_millis(500);
    let exit = server.process().and_then(|process| process.exits_within(allowed.saturating_sub(asked.elapsed())));
    let after = asked.elapsed();
    let Some(status) = exit else {
        is_heard(&mut server)?;
        // A busy machine makes the end late. It doesn't keep it off.
        let too_busy = load::overload().map(|_| load::too_busy());
        if let (Some(why), Some(_)) = (too_busy, exits(&mut server, Duration::ZERO)) {
            let ended = asked.elapsed().as_secs_f32();
            let why = format!("it ended {ended:.1} s after the signal, and {why}");
            return Err(Otherwise::own_lack(why));
        }
        let after = after.as_secs_f32();
        trial.recorder.note("server", format!("still runs {after:.0} s after the signal"));
        falls!(
            "still running {after:.0} s after the signal, with a grace time of {} s; if yours is longer, pass --grace",
            grace.as_secs()
        )
    };
    trial.recorder.note("server", format!("ends with {status}"));
    if !stuck.ends_within(Duration::from_secs(1)) {
        is_just_killed(trial, &mut server)?;
        // A helper may be what waits for it.
        if !stuck.ends_within(allowed.saturating_sub(asked.elapsed())) {
            falls!(
                "the process ended with {status}, but {} s after the signal another one still holds the connection of the client \
                 that never finishes",
                grace.as_secs()
            );
        }
    }
    // One that went on accepting has shown nothing yet.
    if !refuses && !lets_finish(trial)? {
        if after > Duration::from_secs(1) {
            skipped!(
                "it went on accepting, which doesn't tell its grace time from a slow death; see refuses-after-stop"
            );
        }
        let what = "its process went on for a moment, and then it disconnected the client in the middle of a request";
        return Err(unfinished(trial, &mut server, what));
    }
    Ok((status, after))
}

/// How long after the signal the process ends, if the client finishes and leaves.
fn stops_when_all_have_gone(trial: &Trial<'_>) -> Judged<Duration> {
    let (mut server, mut late, asked) = stop_in_the_middle(trial)?;
    late.client.ends_within(Duration::from_millis(300));
    // Whether it is answered is for finishes-line to judge.
    let _ = late.finish(trial);
    late.client.leave();
    let _ = exits(&mut server, trial.terms.grace);
    Ok(asked.elapsed())
}

pub(super) fn clean_exit(trial: &Trial<'_>) -> Judged {
    let mut server = quiet(trial)?;
    stop(trial, &mut server, &mut [])?;
    let Some(status) = exits(&mut server, trial.terms.grace) else {
        skipped!("it doesn't end with nobody connected, as stops-when-quiet says");
    };
    trial.recorder.note("server", format!("ends with {status}"));
    let port = server.addr().port();
    // Others that had the listener as well may be about to end.
    let mut bound = Ok(());
    wait_until(Duration::from_secs(1), || {
        bound = TcpListener::bind(server.addr()).map(drop);
        bound.is_ok().then_some(())
    });
    // What TIME_WAIT keeps from a port is for restart to tell.
    if let Some(error) = bound.err().filter(|_| !kernel::has_time_wait(port)) {
        falls!("it ended with {status}, but port {port} can't be used: {error}");
    }
    if status.success() {
        return Ok(format!("with nobody connected, it ended with {status}, and port {port} was free").into());
    }
    if !is_by_the_signal(&mut server, status) {
        falls!("with nobody connected, it ended with {status} instead of status 0");
    }
    ends_by_the_signal(trial, status)
}

/// An end by the very signal is what a JVM can't avoid, and others choose. A client in the middle of a line tells whether
/// more was done than that.
fn ends_by_the_signal(trial: &Trial<'_>, status: ExitStatus) -> Judged {
    if lets_finish(trial)? {
        return Err(Otherwise::differs(format!(
            "with nobody connected, it ended with {status}, by the very signal; a client in the middle of a request was \
             served to its end. A JVM can't do otherwise, uvicorn does it on purpose, and systemd takes it for a clean end"
        )));
    }
    if let Some(why) = just_killed(trial, status) {
        return Err(why);
    }
    if trial.terms.dialogue.lines.is_none() {
        return Err(Otherwise::differs(format!(
            "with nobody connected, it ended with {status}, by the very signal. uvicorn does so on purpose when all is done, and \
             systemd takes it for a clean end. What becomes of a request in progress is for finishes-answer to tell"
        )));
    }
    falls!("with nobody connected, it ended with {status} instead of status 0, and a request in progress was cut off")
}
