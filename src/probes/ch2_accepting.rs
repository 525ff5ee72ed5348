//! Chapter 2: does the accept loop go on?

use std::time::Duration;

use super::trial::{LONGEST, Trial, unreachable, unread, until_accepted};
use super::{Explained, Judged, PLAIN, Probe, falls, skipped};
use crate::dialogue::Dialogue;
use crate::lab::process::Process;
use crate::lab::recording::Recorder;
use crate::lab::server::{Running, Target};
use crate::lab::wait::wait_until;

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "next-client",
        chapter: 2,
        does: "Is served, leaves, and connects again; the second client must be served as well",
        remedy: Some(
            "Put accept into a loop. If not even the first client is answered right, correct the answer, or what you say of \
             it",
        ),
        examine: next_client,
        ..PLAIN
    },
    Probe {
        name: "reset-before-accept",
        chapter: 2,
        does: "Lets clients connect and reset at once, while another is being served; the next must be served",
        remedy: Some(
            "Neither `?` nor `unwrap` in the accept loop; take the peer's address from accept, not from the stream",
        ),
        examine: reset_before_accept,
        ..PLAIN
    },
    Probe {
        name: "leaves-unread",
        chapter: 2,
        does: "Lets clients ask up to 5,000 lines and leave before they have read an answer; the next must be served",
        remedy: Some(
            "Let an error of writing or reading end that connection and nothing else; ignore SIGPIPE where it isn't \
             already",
        ),
        examine: leaves_unread,
        ..PLAIN
    },
];

/// How long to wait for the end of a process that may be about to end. It can only let a faulty server pass.
pub(super) const A_MOMENT: Duration = Duration::from_millis(300);

fn next_client(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    for (name, text) in [("client 1", "one"), ("client 2", "two")] {
        let mut client = trial.connect(&mut server, name)?;
        let request = trial.request(text);
        client.send(&request.bytes);
        if let Err(instead) = trial.expect(&mut client, &request).with_obituary(&mut server).about(name) {
            client.half_close();
            let then = client.answer(Duration::from_secs(1), |got| request.check(got));
            if Trial::judge(&request, &then).is_ok() {
                skipped!("{instead}; it was answered when it had ended its side. See withheld-answer");
            }
            return Err(instead);
        }
        client.leave();
        // A server that ends with its client is given the time for that, so that the next doesn't meet it half closed.
        server.exits_within(A_MOMENT);
    }
    Ok("after client 1 had left, client 2 was served".into())
}

/// How many clients reset.
const RESETS: usize = 3;

fn reset_before_accept(trial: &Trial<'_>) -> Judged {
    serves_after_resets(trial, &mut trial.start()?)?;
    Ok(format!("{RESETS} clients reset before they were served, and the next one got its answer").into())
}

fn serves_after_resets(trial: &Trial<'_>, server: &mut Running) -> Judged<()> {
    trial.serves_two(server)?;
    // A server that serves one client at a time accepts the next ones only when this one leaves: by then they have
    // reset. One that serves many finds the same connections dead a little later.
    let mut first = trial.connect(server, "client 1")?;
    trial.ask(&mut first, "first")?;
    for _ in 0..RESETS {
        server.connect("hasty client").map_err(unreachable)?.reset();
    }
    first.leave();
    is_served_after(trial, server, &format!("after {RESETS} clients had reset"))
}

fn leaves_unread(trial: &Trial<'_>) -> Judged {
    let judged = left_unread(trial);
    // One that was running already may have ended.
    if let Target::Address(_) = trial.target {
        return judged;
    }
    let simpler = "it doesn't get over clients that merely reset, either; see reset-before-accept";
    trial.unless_simpler(judged, simpler, serves_after_resets)
}

fn left_unread(trial: &Trial<'_>) -> Judged {
    // For one read, for several, and more than fits into the kernel's buffer. Of what fits, the server knows the end before
    // it writes, and a second write to a client that has left brings it SIGPIPE and not only a reset.
    const LINES: [usize; TIMES] = [50, 2000, 5000];
    // Other servers may end a connection after so many requests, or call more of them an attack.
    const REQUESTS: usize = 50;
    const TIMES: usize = 3;
    const AT_ONCE: usize = 3;

    let Dialogue { one_request, joined, lines, .. } = &trial.terms.dialogue;
    let (counts, what) = match lines {
        _ if *one_request || !joined => ([1; TIMES], "1 request".to_owned()),
        Some(_) => (LINES, "up to 5,000 lines".to_owned()),
        None => ([REQUESTS; TIMES], format!("{REQUESTS} requests")),
    };
    let after = format!("after clients had asked {what} each and left without reading");
    let mut server = trial.start()?;
    trial.serves_two(&mut server)?;
    for count in counts {
        // Where the server can't be halted, of more than one client some have left before it comes to them.
        for _ in 0..AT_ONCE {
            let mut leaving = trial.connect(&mut server, "leaving client").about(&after)?;
            let requests =
                (0..count).flat_map(|_| trial.request(&"is-anybody-there?-".repeat(3)).bytes).collect::<Vec<u8>>();
            // An error means that the process has ended, which the next client sees.
            let _ = server.process().map(|process| process.halt());
            leaving.send(&requests);
            leaving.leave();
            let _ = server.process().map(|process| process.go_on());
        }
        is_served_after(trial, &mut server, &after)?;
    }
    reset_in_the_middle(trial, &mut server, trial.recorder, true)?;
    is_served_after(trial, &mut server, "after a client had reset its connection in the middle of a request")?;
    Ok(format!(
        "{} clients asked {what} each and left without reading, one reset in the middle of a request, and the next one got \
         its answer each time",
        TIMES * AT_ONCE
    )
    .into())
}

/// Has a client reset its connection in the middle of a request: `once_read`, the server is waiting for the rest of it,
/// where that can be seen.
pub(super) fn reset_in_the_middle(
    trial: &Trial<'_>,
    server: &mut Running,
    recorder: &Recorder,
    once_read: bool,
) -> Judged<()> {
    let mut hasty = server.connect_with("hasty client", recorder, None).map_err(unreachable)?;
    hasty.send(trial.terms.dialogue.half(&trial.request("is-anybody-there?")));
    if once_read {
        wait_until(Duration::from_millis(200), || (unread(server, &hasty)? == 0).then_some(()));
    }
    hasty.reset();
    Ok(())
}

/// Expects that a client is served, after others had done something `after` which the server may have ended.
fn is_served_after(trial: &Trial<'_>, server: &mut Running, after: &str) -> Judged<()> {
    // A server that serves one client at a time may have work to do for those that have left.
    const PATIENCE: Duration = Duration::from_secs(LONGEST.as_secs() / 2);
    // Where it can be seen, wait until the server has taken them out of its queue, or has ended over the first.
    until_accepted(server, Duration::from_millis(500));
    let answered = trial.connect(server, "next client").and_then(|mut next| {
        let request = trial.request("still-there?");
        next.send(&request.bytes);
        next.comes_within(PATIENCE);
        trial.expect(&mut next, &request)
    });
    trial.unless_it_recovers(answered, server).with_obituary(server).about(after)?;
    // One that serves each client on a thread may end a little later.
    server.exits_within(A_MOMENT);
    match server.process().and_then(Process::exited).and_then(|_| server.obituary()) {
        Some(obituary) => falls!("{after}: {obituary}"),
        None => Ok(()),
    }
}
