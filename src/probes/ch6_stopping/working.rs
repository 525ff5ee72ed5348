//! Requests that the server is working on. For dialogues with a slow request.

use std::time::{Duration, Instant};

use super::super::trial::Trial;
use super::{can_be_stopped, expect_answer, is_more_than_killed, is_taken, send_stop};
use crate::dialogue::{Exchange, Request};
use crate::lab::client::{Client, State};
use crate::lab::kernel;
use crate::lab::server::Running;
use crate::lab::wait::wait_until;
use crate::probes::{Explained, Judged, Otherwise, skipped};

/// What is taken for slow: long enough for something else to happen before the answer.
const SLOW: Duration = Duration::from_millis(500);

/// How many slow requests come at once: more than a small server has workers.
const QUEUED: usize = 8;

/// The slow request of the dialogue.
fn slow<'a>(trial: &Trial<'a>) -> Judged<&'a Exchange> {
    match &trial.terms.dialogue.slow {
        Some(slow) => Ok(slow),
        None => skipped!("no request is known whose answer takes time: name one with --slow-ask"),
    }
}

/// Connects so many clients, and has each send a slow request.
fn work(trial: &Trial<'_>, server: &mut Running, count: usize) -> Judged<Vec<(Client, Request)>> {
    let slow = slow(trial)?;
    let connect = |number: usize| {
        let client = trial.connect(server, &format!("client {}", number + 1))?;
        Ok((client, slow.fill(number.to_string().as_bytes())))
    };
    let mut working = (0..count).map(connect).collect::<Judged<Vec<_>>>()?;
    for (client, request) in &mut working {
        client.send(&request.bytes);
    }
    Ok(working)
}

/// Sees to it that so many slow requests at once are answered when nothing else happens, and how long that takes.
fn control(trial: &Trial<'_>, server: &mut Running, count: usize) -> Judged<Duration> {
    let mut working = work(trial, server, count)?;
    let began = Instant::now();
    for (client, request) in &mut working {
        if let Err(instead) = trial.expect(client, request) {
            skipped!("its slow request isn't answered when nothing else happens, either: {instead}");
        }
    }
    let took = began.elapsed();
    if took < SLOW {
        skipped!("its slow request was answered after {} ms: it must take a second or more", took.as_millis());
    }
    can_be_stopped(server)?;
    Ok(took)
}

/// The same, and gives the server a part of the time that it takes for an answer, so that it is at work on all of them.
fn at_work(trial: &Trial<'_>, server: &mut Running, count: usize, takes: Duration) -> Judged<Vec<(Client, Request)>> {
    let mut working = work(trial, server, count)?;
    if wait_until(takes / 3, || working.iter_mut().any(is_answered).then_some(())).is_some() {
        skipped!("its slow request is answered sometimes slowly and sometimes at once");
    }
    Ok(working)
}

fn is_answered((client, _): &mut (Client, Request)) -> bool {
    client.state() == State::HasBytes
}

/// If the first run accuses, the next one has to show that it is right: there the kernel is asked before the signal, which
/// may take so long that the answer is there before. So it has a few.
fn shown_if_accused(run: impl Fn(bool) -> Judged) -> Judged {
    const RUNS: usize = 3;
    let mut judged = run(false);
    if !judged.as_ref().is_err_and(Otherwise::accuses) {
        return judged;
    }
    for _ in 0..RUNS {
        judged = run(true);
        if judged.as_ref().map_or_else(Otherwise::accuses, |_| true) {
            break;
        }
    }
    judged
}

pub(super) fn finishes_answer(trial: &Trial<'_>) -> Judged {
    slow(trial)?;
    shown_if_accused(|is_shown| finishes_one(trial, &mut trial.start()?, is_shown))
}

fn finishes_one(trial: &Trial<'_>, server: &mut Running, is_shown: bool) -> Judged {
    let takes = control(trial, server, 1)?;
    let mut working = at_work(trial, server, 1, takes)?;
    let (client, request) = &mut working[0];
    if is_shown && wait_until(trial.terms.limit, || is_taken(server, client).then_some(())).is_none() {
        skipped!("it was not seen to take up a slow request within {} s", trial.terms.limit.as_secs());
    }
    if client.state() == State::HasBytes {
        return Err(Otherwise::own_lack(
            "this machine was too busy to see whether a slow request was being worked on at the signal",
        ));
    }
    send_stop(trial, server, &mut [client])?;
    let answered = expect_answer(trial, client, request).about("a request was being worked on at the signal");
    if answered.is_err() {
        is_more_than_killed(trial, server)?;
    }
    answered.with_obituary(server)?;
    Ok("a request that was being worked on at the signal was answered".into())
}

pub(super) fn half_close_while_working(trial: &Trial<'_>) -> Judged {
    slow(trial)?;
    let mut server = trial.start()?;
    let takes = control(trial, &mut server, 1)?;
    let mut working = at_work(trial, &mut server, 1, takes)?;
    let (client, request) = &mut working[0];
    client.half_close();
    let Err(instead) = trial.expect(client, request) else {
        return Ok("the client ended its side while its request was being worked on, and got the answer".into());
    };
    let what = format!("the client ended its side while its request was being worked on; {instead}");
    Err(if trial.claims_lines() {
        Otherwise::falls(what)
    } else {
        Otherwise::differs(format!(
            "{what}. Node, aiohttp, uvicorn and hyper do so as well and take the end for a client that has gone; Go and \
             gunicorn answer, as RFC 9112 (section 9.6) lets a client expect"
        ))
    })
}

pub(super) fn queued_requests(trial: &Trial<'_>) -> Judged {
    slow(trial)?;
    let judged = shown_if_accused(|is_shown| finishes_queue(trial, is_shown));
    let simpler = "it drops a request that is alone, too; see finishes-answer";
    trial.unless_simpler(judged, simpler, |trial, server| finishes_one(trial, server, true).map(drop))
}

fn finishes_queue(trial: &Trial<'_>, is_shown: bool) -> Judged {
    let mut server = trial.start()?;
    let takes = control(trial, &mut server, 1)?;
    let together = control(trial, &mut server, QUEUED)?;
    if together + SLOW > trial.terms.grace {
        skipped!(
            "{QUEUED} of its slow requests take {:.1} s, and more than its grace time of {} s isn't owed: say --grace",
            together.as_secs_f32(),
            trial.terms.grace.as_secs()
        );
    }
    let mut working = at_work(trial, &mut server, QUEUED, takes)?;
    let in_queue = if is_shown { kernel::accept_queue(server.addr()).unwrap_or(0) } else { 0 };
    send_stop(trial, &mut server, &mut [])?;
    // Before the signal is sent, all that runs here is looked through.
    if working.iter_mut().all(is_answered) {
        return Err(Otherwise::own_lack(
            "this machine was too busy to see whether slow requests were being worked on at the signal",
        ));
    }
    let answered = working.iter_mut().map(|(client, request)| expect_answer(trial, client, request));
    let lost: Vec<Otherwise> = answered.filter_map(Judged::err).collect();
    let Some(instead) = lost.first() else {
        return Ok(format!("{QUEUED} slow requests were sent before the signal, and all were answered").into());
    };
    is_more_than_killed(trial, &mut server)?;
    let count = lost.len();
    let what = format!(
        "{count} of {QUEUED} slow requests that were sent before the signal were lost; of one of them: {instead}"
    );
    // One that answers them in turn may not have seen those that were to come.
    let side_by_side = together < takes * 2;
    Err(if trial.claims_lines() || side_by_side && in_queue == 0 {
        Otherwise::falls(what)
    } else if side_by_side {
        Otherwise::differs(format!("{what}. {in_queue} were not accepted yet: see serves-queue"))
    } else {
        Otherwise::differs(format!(
            "{what}. It answers them one after the other; so does gunicorn's sync worker, which loses those it has not begun"
        ))
    })
}
