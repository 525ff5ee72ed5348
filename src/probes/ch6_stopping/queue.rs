//! Clients that have connected, and that the server hasn't accepted yet.

use std::time::Duration;

use super::super::trial::{Trial, until_accepted};
use super::{TO_BEGIN, before_the_stop, expect_answer, go_on, halt, is_more_than_killed, killed, lets_finish, stop};
use crate::dialogue::Request;
use crate::lab::client::{Client, State};
use crate::lab::kernel;
use crate::lab::server::Running;
use crate::probes::{Judged, Otherwise, skipped};

/// How often it is tried: who waits in the queue may be served by chance.
const ROUNDS: usize = 3;

/// How many clients wait, if the server's queue takes so many. A few would be accepted before a thread that waits for the
/// signal has been woken.
const CLIENTS: usize = 50;

pub(super) fn serves_queue(trial: &Trial<'_>) -> Judged {
    let dialogue = &trial.terms.dialogue;
    if dialogue.greeting.is_some() || !dialogue.setup.is_empty() {
        skipped!("a client has to hear the server before it asks, and hears nothing in the accept queue");
    }
    let simpler = "it doesn't serve so many at once without being stopped, either; see crowd and any-bytes";
    trial.unless_simpler(serves_each_queue(trial), simpler, |trial, server| {
        let mut waiting = queue(trial, server)?;
        go_on(trial, server);
        // Who has too many clients lets the last go. Who serves one after the other keeps it waiting.
        let Some((last, request)) = waiting.last_mut() else { return Ok(()) };
        if last.ends_within(TO_BEGIN) {
            trial.expect(last, request)?;
        }
        // Who gives an answer to the wrong client does so now and then.
        for (client, request) in &mut waiting {
            if client.state() == State::HasBytes {
                trial.expect(client, request)?;
            }
        }
        Ok(())
    })
}

fn serves_each_queue(trial: &Trial<'_>) -> Judged {
    let mut served = 0;
    let mut lost = 0;
    for _ in 0..ROUNDS {
        match serves_one_queue(trial)? {
            Served::All(count) => served += count,
            // Once, a busy machine may have used up the grace time of a right server.
            Served::Not(why) => {
                lost += 1;
                if lost > 1 {
                    return Err(why);
                }
            }
        }
    }
    Ok(format!("{served} clients were connected and not yet accepted at the signal, and were answered").into())
}

/// What has become of those who waited.
enum Served {
    /// So many were answered.
    All(usize),
    /// One was not.
    Not(Otherwise),
}

fn serves_one_queue(trial: &Trial<'_>) -> Judged<Served> {
    let mut server = trial.start()?;
    let waiting = queue(trial, &mut server)?;
    stop(trial, &mut server, &mut [])?;
    go_on(trial, &mut server);
    let count = waiting.len();
    // From the end of the queue: how many of the first are still served is chance, and the last is lost first.
    let name = format!("{count} clients");
    for (mut client, request) in waiting.into_iter().rev() {
        if let Err(instead) = expect_answer(trial, &mut client, &request) {
            trial.recorder.note(&name, "are not all answered");
            return reset_in_queue(trial, &mut server, count, &instead).map(Served::Not);
        }
    }
    trial.recorder.note(&name, "are answered");
    Ok(Served::All(count))
}

/// Halts the server, and has clients wait.
fn queue(trial: &Trial<'_>, server: &mut Running) -> Judged<Vec<(Client, Request)>> {
    // Of one that ends with its first client nothing could be told.
    before_the_stop(trial, trial.serves_two(server))?;
    until_accepted(server, TO_BEGIN);
    halt(trial, server)?;
    fill_queue(trial, server)
}

/// Connects clients that ask, as many as the kernel lets wait.
fn fill_queue(trial: &Trial<'_>, server: &Running) -> Judged<Vec<(Client, Request)>> {
    let mut waiting = Vec::new();
    // Each of them does the same, and what matters is the signal.
    let aside = trial.recorder.aside();
    while waiting.len() < CLIENTS.min(trial.terms.crowd) {
        let name = format!("client {}", waiting.len() + 1);
        // A full queue leaves the attempt unanswered.
        let patience = Duration::from_millis(500);
        let Ok(mut client) = Client::connect(server.addr(), &name, &aside, patience) else { break };
        let request = trial.request(&name.replace(' ', "-"));
        client.send(&request.bytes);
        waiting.push((client, request));
    }
    // The last may have been connected for themselves alone: the queue was full when the server's kernel would have put
    // them there.
    waiting.truncate(kernel::accept_queue(server.addr()).unwrap_or(0));
    if waiting.is_empty() {
        skipped!("no client was seen to wait in the accept queue of the halted server");
    }
    trial.recorder.note(&format!("{} clients", waiting.len()), "connect, and ask");
    trial.kernel(format!("{} clients wait in the accept queue", waiting.len()));
    Ok(waiting)
}

fn reset_in_queue(trial: &Trial<'_>, server: &mut Running, count: usize, instead: &Otherwise) -> Judged<Otherwise> {
    is_more_than_killed(trial, server)?;
    if trial.claims_lines() && killed(server).is_none() && !trial.aside(lets_finish)? {
        skipped!(
            "a client that it had accepted is not answered after the signal, either; see finishes-line: {instead}"
        );
    }
    let what = format!(
        "{count} clients were connected, had asked, and were not yet accepted at the signal; of one of them: {instead}"
    );
    Ok(if trial.claims_lines() {
        Otherwise::falls(what)
    } else {
        Otherwise::differs(format!(
            "{what}. Go, Node and Java reset some of such clients, others accept them all first"
        ))
    })
}
