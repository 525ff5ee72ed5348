//! Requests that the server is working on. For dialogues with a slow request.

use std::time::{Duration, Instant};

use super::super::trial::Trial;
use super::{all_is_read, claims_lines, is_more_than_killed, stop};
use crate::dialogue::{Exchange, Request};
use crate::lab::client::Client;
use crate::lab::kernel;
use crate::lab::server::Running;
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

/// Connects a client and sends a slow request.
fn work(trial: &Trial<'_>, server: &mut Running, name: &str, number: usize) -> Judged<(Client, Request)> {
    let request = slow(trial)?.fill(number.to_string().as_bytes());
    let mut client = trial.connect(server, name)?;
    client.send(&request.bytes);
    Ok((client, request))
}

/// Sees to it that so many slow requests at once are answered when nothing else happens, and how long that takes.
fn control(trial: &Trial<'_>, server: &mut Running, count: usize) -> Judged<Duration> {
    let began = Instant::now();
    let mut working = Vec::new();
    for number in 0..count {
        working.push(work(trial, server, "client 1", number)?);
    }
    for (client, request) in &mut working {
        if let Err(instead) = trial.expect(client, request) {
            skipped!("its slow request isn't answered when nothing else happens, either: {instead}");
        }
    }
    let took = began.elapsed();
    if took < SLOW {
        skipped!("its slow request was answered after {} ms: it must take a second or more", took.as_millis());
    }
    Ok(took)
}

pub(super) fn finishes_answer(trial: &Trial<'_>) -> Judged {
    slow(trial)?;
    let mut server = trial.start()?;
    control(trial, &mut server, 1)?;
    let (mut client, request) = work(trial, &mut server, "client 2", 1)?;
    all_is_read(trial, &server, &client);
    stop(trial, &mut server, &mut [&mut client])?;
    let answered = trial.expect(&mut client, &request).about("a request was being worked on at the signal");
    if answered.is_err() {
        is_more_than_killed(trial, &mut server)?;
    }
    answered.with_obituary(&mut server)?;
    Ok("a request that was being worked on at the signal was answered".into())
}

pub(super) fn half_close_while_working(trial: &Trial<'_>) -> Judged {
    slow(trial)?;
    let mut server = trial.start()?;
    control(trial, &mut server, 1)?;
    let (mut client, request) = work(trial, &mut server, "client 2", 1)?;
    all_is_read(trial, &server, &client);
    client.half_close();
    let Err(instead) = trial.expect(&mut client, &request) else {
        return Ok("the client ended its side while its request was being worked on, and got the answer".into());
    };
    let what = format!("the client ended its side while its request was being worked on; {instead}");
    Err(if claims_lines(trial) {
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
    let mut server = trial.start()?;
    let took = control(trial, &mut server, QUEUED)?;
    if took + SLOW > trial.terms.grace {
        skipped!(
            "{QUEUED} of its slow requests take {} s, and more than its grace time of {} s isn't owed: say --grace",
            took.as_secs_f32(),
            trial.terms.grace.as_secs()
        );
    }
    let mut working = Vec::new();
    for number in 0..QUEUED {
        working.push(work(trial, &mut server, &format!("client {}", number + 2), number)?);
    }
    // Those that can't be accepted or read before others are done stay where they are.
    all_is_read(trial, &server, &working[0].0);
    let accepted = |server: &Running, client: &Client| {
        let local = client.stream().local_addr().ok();
        local.and_then(|local| kernel::unread(server.addr(), local)) == Some(0)
    };
    let accepted: Vec<bool> = working.iter().map(|(client, _)| accepted(&server, client)).collect();
    stop(trial, &mut server, &mut [])?;
    let mut lost = Vec::new();
    for ((client, request), read) in working.iter_mut().zip(accepted) {
        if let Err(instead) = trial.expect(client, request) {
            lost.push((read, instead));
        }
    }
    let Some((_, instead)) = lost.first() else {
        return Ok(format!("{QUEUED} slow requests were sent before the signal, and all were answered").into());
    };
    is_more_than_killed(trial, &mut server)?;
    let what = format!(
        "{} of {QUEUED} slow requests that were sent before the signal were lost; of one of them: {instead}",
        lost.len()
    );
    // A request that the server had read is its own. Others have waited where it may never have seen them.
    Err(if claims_lines(trial) || lost.iter().any(|(read, _)| *read) {
        Otherwise::falls(what)
    } else {
        Otherwise::differs(format!(
            "{what}. The server had not read these; gunicorn's sync workers reset them, its threads answer"
        ))
    })
}
