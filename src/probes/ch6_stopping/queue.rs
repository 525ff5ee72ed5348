//! Clients that have connected, and that the server hasn't accepted yet.

use std::time::Duration;

use super::super::trial::Trial;
use super::{before_the_stop, claims_lines, go_on, halt, is_accepted, is_more_than_killed, stop};
use crate::dialogue::Request;
use crate::lab::client::Client;
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
    let simpler = "it doesn't serve so many at once without being stopped, either; see crowd";
    trial.unless_simpler(serves_each_queue(trial), simpler, |trial, server| queue_is_served(trial, server, false)?.1)
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
    match queue_is_served(trial, &mut server, true)? {
        (count, Ok(())) => Ok(Served::All(count)),
        (count, Err(instead)) => reset_in_queue(trial, &mut server, count, &instead).map(Served::Not),
    }
}

/// How many clients waited in the accept queue, and whether each was answered: after the signal, or, as a control, without.
fn queue_is_served(trial: &Trial<'_>, server: &mut Running, stops: bool) -> Judged<(usize, Judged<()>)> {
    // Of one that ends with its first client nothing could be told.
    before_the_stop(trial, trial.serves_two(server))?;
    is_accepted(server);
    halt(trial, server)?;
    let mut waiting = fill_queue(trial, server)?;
    if stops {
        // From the end of the queue: how many of the first are still served is chance, and the last is lost first.
        waiting.reverse();
        stop(trial, server, &mut [])?;
    }
    go_on(trial, server);
    let count = waiting.len();
    let name = format!("{count} clients");
    for (mut client, request) in waiting {
        if let Err(instead) = trial.expect(&mut client, &request) {
            trial.recorder.note(&name, "are not all answered");
            return Ok((count, Err(instead)));
        }
    }
    trial.recorder.note(&name, "are answered");
    Ok((count, Ok(())))
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
        let request = trial.request(&name);
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
    let what = format!(
        "{count} clients were connected, had asked, and were not yet accepted at the signal; of one of them: {instead}"
    );
    Ok(if claims_lines(trial) {
        Otherwise::falls(what)
    } else {
        Otherwise::differs(format!(
            "{what}. Go, Node and Java reset some of such clients, others accept them all first"
        ))
    })
}
