//! Chapter 2: does the accept loop go on?

use std::time::Duration;

use super::trial::{Trial, unreachable};
use super::{Explained, Judged, Needs, Otherwise, Probe};
use crate::lab::kernel;
use crate::lab::wait::wait_until;

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "next-client",
        chapter: 2,
        does: "Is served, leaves, and connects again; the second client must be served as well",
        remedy: Some("Put accept into a loop"),
        needs: Needs::Address,
        needs_echo: true,
        runs_alone: false,
        examine: next_client,
    },
    Probe {
        name: "reset-before-accept",
        chapter: 2,
        does: "Lets clients connect and reset at once, while another is being served; the next must be served",
        remedy: Some(
            "Neither `?` nor `unwrap` in the accept loop; take the peer's address from accept, not from the stream",
        ),
        needs: Needs::Address,
        needs_echo: true,
        runs_alone: false,
        examine: reset_before_accept,
    },
];

/// How long to wait for the end of a process that may be about to end. It shapes the story and not the verdict.
const A_MOMENT: Duration = Duration::from_millis(300);

fn next_client(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    for (name, line) in [("client 1", "one"), ("client 2", "two")] {
        let mut client = server.connect(name).map_err(unreachable)?;
        trial.ask(&mut client, line).with_obituary(&mut server).about(name)?;
        client.leave();
        // A server that ends with its client is given the time for that, so that the next doesn't meet it half closed.
        server.process().and_then(|process| process.exits_within(A_MOMENT));
    }
    Ok("after client 1 had left, client 2 was served".into())
}

fn reset_before_accept(trial: &Trial<'_>) -> Judged {
    const RESETS: usize = 3;
    let mut server = trial.start()?;
    // A server that serves one client at a time accepts the next ones only when this one leaves: by then they have
    // reset. One that serves many finds the same connections dead a little later.
    let mut first = server.connect("client 1").map_err(unreachable)?;
    trial.ask(&mut first, "first")?;
    for _ in 0..RESETS {
        server.connect("hasty client").map_err(unreachable)?.reset();
    }
    first.leave();
    // Where it can be seen, wait until the server has taken them out of its queue, or has ended over the first.
    let queue = server.addr();
    wait_until(Duration::from_millis(500), || (kernel::accept_queue(queue).unwrap_or(0) == 0).then_some(()));
    let mut next = server
        .connect("next client")
        .map_err(|why| Otherwise::falls(format!("after {RESETS} clients had reset: {why}")))?;
    trial
        .ask(&mut next, "still there?")
        .with_obituary(&mut server)
        .about(&format!("after {RESETS} clients had reset"))?;
    Ok(format!("{RESETS} clients reset before they were served, and the next one got its answer").into())
}
