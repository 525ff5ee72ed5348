//! Closing time.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::kit::{
    AT_ONCE, TOLERANCE, Took, arrive, ask, differing, expect_gone, expect_line, expect_tally, in_time, judge_line,
    with_server,
};
use super::model::{Till, as_the_task_says, come, conversations, plays, say};
use super::{Check, Exercise};
use crate::lab::client::{Client, Reply, State};
use crate::lab::kernel;
use crate::lab::server::Running;
use crate::lab::wait::{wait_for, wait_until};
use crate::probes::{Evidence, Explained, Judged, Needs, Trial, falls, refuses_within};

/// How long a client in the middle of a command may take for the rest of it, as the exercises say.
pub(super) const GRACE: Duration = Duration::from_secs(3);

/// When so much of that has passed, it is too late to begin with the rest: this machine may be at fault.
pub(super) const SOON_OVER: Duration = Duration::from_millis(2400);

pub(super) const EXERCISE: Exercise = Exercise {
    id: "06",
    title: "Closing time",
    folder: "chapters/06_graceful_shutdown/exercise",
    checks: &[
        Check {
            name: "till-sells",
            does: "Two clients sell something, and one says what is no command; each must get its answers",
            needs: Needs::Address,
            why: "Closing well is worth nothing if the till doesn't sell",
            page: "05_bufread_lines.html#the-server-of-this-step",
            points: 1,
            starter_falls: false,
            examine: till_sells,
        },
        Check {
            name: "door-closes",
            does: "Sends SIGTERM with a command half sent, and at first nobody connects; then new clients must be \
                   refused, and that one kept",
            needs: Needs::Signals,
            why: "Whoever is refused goes to another server at once; whoever gets in after the end is lost",
            page: "06_graceful_shutdown.html#refuses-after-stop",
            points: 1,
            starter_falls: true,
            examine: door_closes,
        },
        Check {
            name: "command-finishes",
            does: "Sends SIGTERM with a command half sent, then its rest; the answer must come, bye, and the end",
            needs: Needs::Signals,
            why: "Without the answer the client can't know whether its command was carried out",
            page: "06_graceful_shutdown.html#the-pitfall",
            points: 1,
            starter_falls: true,
            examine: command_finishes,
        },
        Check {
            name: "idle-hears-bye",
            does: "Sends SIGTERM while a client is idle; it must hear bye within a second",
            needs: Needs::Signals,
            why: "An idle client has no reason to leave, and a server that waits for it never stops",
            page: "06_graceful_shutdown.html#the-stop-is-the-end-of-the-stream",
            points: 1,
            starter_falls: true,
            examine: idle_hears_bye,
        },
        Check {
            name: "talker-hears-bye",
            does: "Sends SIGTERM while a client asks without a pause; it must hear bye after one of the answers",
            needs: Needs::Signals,
            why: "A client that never pauses would keep a server that waits for a pause",
            page: "06_graceful_shutdown.html#why",
            points: 1,
            starter_falls: true,
            examine: talker_hears_bye,
        },
        Check {
            name: "grace-ends",
            does: "Sends SIGTERM while a command is never finished; three seconds, and the end with status 0, and no \
                   more of them for a second signal",
            needs: Needs::Signals,
            why: "One client that is stuck is enough to keep a server from stopping, until somebody kills it",
            page: "06_graceful_shutdown.html#stuck-client",
            points: 1,
            starter_falls: true,
            examine: grace_ends,
        },
        Check {
            name: "tally-adds-up",
            does: "Four clients sell at the same time, others before the signal, and one finishes a sale after it; the \
                   tally must have them all",
            needs: Needs::Signals,
            why: "What is counted before the last client has gone is not the whole",
            page: "06_graceful_shutdown.html#lost-count",
            points: 1,
            starter_falls: true,
            examine: tally_adds_up,
        },
        as_the_task_says("06_graceful_shutdown.html#the-server-of-this-step", conversations::<Till>),
    ],
};

/// Expects `bye`, and then the end. A reset in its place counts as well.
pub(super) fn expect_bye(trial: &Trial<'_>, client: &mut Client) -> Judged<()> {
    expect_line(trial, client, "bye")?;
    expect_gone(trial, client).about("after \"bye\\n\"")
}

/// A client that has sold something, and has sent the beginning of its next command.
fn in_progress(trial: &Trial<'_>, server: &mut Running) -> Judged<Client> {
    let mut client = arrive(server, "client 1")?;
    // In one write: with the answer to the first command it is sure that the server has the beginning of the next.
    client.send(b"sell 7\nsell 1");
    expect_line(trial, &mut client, "sold 7")?;
    Ok(client)
}

/// A client that has sold something and has no more to say.
fn idle(trial: &Trial<'_>, server: &mut Running) -> Judged<Client> {
    let mut client = arrive(server, "client 2")?;
    ask(trial, &mut client, "sell 20", "sold 20")?;
    Ok(client)
}

fn till_sells(trial: &Trial<'_>) -> Judged {
    let steps =
        [come(1), come(2), say(2, "sell 3\n"), say(1, "sell 40\n"), say(1, "give me one\n"), say(1, "sell 5\n")];
    plays::<Till>(trial, &steps, "two clients sold, and what is no command was answered by an error")
}

fn door_closes(trial: &Trial<'_>) -> Judged {
    in_time(trial, || {
        with_server(trial, |server| {
            let mut client = in_progress(trial, server)?;
            let asked = Instant::now();
            trial.ask_to_stop("check", server)?;
            let shut_after = shut_after(trial, server, &mut client)?;
            let took = Took::new("after the signal, to refuse new clients", shut_after, AT_ONCE);
            if asked.elapsed() > SOON_OVER {
                let looked = Took::new("to look whether new clients are refused", asked.elapsed(), SOON_OVER);
                return Ok((took.or(looked), "after the signal new clients were refused".into()));
            }
            // Nobody is there to refuse anybody? Only the rest of the command tells.
            let moment = format!("new clients were refused {:.1} s after the signal", asked.elapsed().as_secs_f32());
            client.send(b"9\n");
            expect_line(trial, &mut client, "sold 19").about(&format!("{moment}, and then the rest of a command"))?;
            let evidence = "after the signal new clients were refused, and the one in the middle of a command stayed";
            Ok((took, evidence.into()))
        })
    })
}

/// Expects that new clients are refused after the signal. Gives how long that took, as far as it can be seen.
///
/// For a while nobody knocks: a client would wake a server that waits in `accept` and hasn't seen the signal.
pub(super) fn shut_after(trial: &Trial<'_>, server: &mut Running, client: &mut Client) -> Judged<Duration> {
    const NOBODY_KNOCKS: Duration = Duration::from_millis(1500);
    let asked = Instant::now();
    let seen = wait_until(NOBODY_KNOCKS, || match server.id().map(|id| kernel::listens(id, server.addr())) {
        Some(None) if cfg!(target_os = "linux") => Some(asked.elapsed()),
        _ => None,
    });
    let mut knock = |limit| refuses_within(server, limit, trial.recorder, || client.state() == State::Ended);
    let at_first = knock(Duration::ZERO);
    if at_first || knock(trial.terms.limit) {
        trial.recorder.note("new client", "is refused");
        return Ok(if at_first { seen.unwrap_or_default() } else { asked.elapsed() });
    }
    if client.state() == State::Ended {
        falls!("new clients got in after the signal, until the one in the middle of a command was cut off");
    }
    falls!("the door never closed: new clients still got in {} s after the signal", trial.terms.limit.as_secs())
}

fn command_finishes(trial: &Trial<'_>) -> Judged {
    with_server(trial, |server| {
        let mut client = in_progress(trial, server)?;
        let mut idle = idle(trial, server)?;
        trial.ask_to_stop("check", server)?;
        // The rest is late on purpose: the server has had the time to send the idle client away.
        idle.comes_within(Duration::from_secs(1));
        client.send(b"9\n");
        let half = "\"sell 1\" was sent before the signal, \"9\\n\" after it";
        expect_line(trial, &mut client, "sold 19").about(half)?;
        expect_bye(trial, &mut client).about("after the last answer")?;
        Ok("a command that was half sent at the signal was completed and answered, and then came bye".into())
    })
}

fn idle_hears_bye(trial: &Trial<'_>) -> Judged {
    in_time(trial, || {
        with_server(trial, |server| {
            let mut busy = in_progress(trial, server)?;
            let mut idle = idle(trial, server)?;
            let asked = Instant::now();
            trial.ask_to_stop("check", server)?;
            expect_bye(trial, &mut idle).about("the client that was idle at the signal")?;
            let took = Took::new("to tell an idle client bye after the signal", asked.elapsed(), AT_ONCE);
            // Told to go for being idle, or only together with everybody else?
            busy.send(b"9\n");
            expect_line(trial, &mut busy, "sold 19")
                .about("when the idle client had gone, the one in the middle of a command")?;
            let evidence =
                "the idle client heard bye at once, and the one in the middle of a command could still finish it";
            Ok((took, evidence.into()))
        })
    })
}

fn talker_hears_bye(trial: &Trial<'_>) -> Judged {
    // A client may be sending while the server says bye and closes, and that can destroy the bye. Not three times.
    for attempt in 1..=3 {
        if let Some(evidence) = with_server(trial, |server| talk(trial, server))? {
            return Ok(evidence);
        }
        if attempt < 3 {
            trial.recorder.note("check", "once more: a reset may have destroyed the bye");
        }
    }
    falls!("a client that sends one command after another was cut off without bye, three times")
}

/// One client that never pauses. Nothing if its connection was reset.
fn talk(trial: &Trial<'_>, server: &mut Running) -> Judged<Option<Evidence>> {
    const BEFORE: usize = 50;
    let mut client = arrive(server, "client 1")?;
    for _ in 0..BEFORE {
        ask(trial, &mut client, "sell 1", "sold 1")?;
    }
    trial.ask_to_stop("check", server)?;
    client.note("goes on, one command after the other");
    let asked = Instant::now();
    let mut after = 0;
    while asked.elapsed() < trial.terms.limit {
        // Nobody takes it any more? The next read tells why.
        client.quiet_send(b"sell 1\n");
        match client.quiet_line(trial.terms.limit) {
            Reply::Line(line) if line == b"sold 1\n" => after += 1,
            Reply::Line(line) if line == b"bye\n" => {
                client.note(format!("hears bye after {after} more answers"));
                return Ok(Some("a client that sends one command after another heard bye in between".into()));
            }
            Reply::Line(line) => return Err(differing(b"bye\n", &line)),
            Reply::Reset(rest) if rest.is_empty() => return Ok(None),
            other => {
                let other = Trial::describe(&other);
                client.note(format!("gets {after} more answers, then {other}"));
                falls!(
                    "a client that sends one command after another got {after} more answers after the signal and then, \
                     instead of bye, {other}"
                );
            }
        }
    }
    client.note(format!("gets {after} more answers"));
    falls!(
        "a client that sends one command after another was still served {} s after the signal",
        trial.terms.limit.as_secs()
    )
}

/// Expects that a client in the middle of a command isn't cut off before its time is over, which began later than at `asked`,
/// and that the process ends then, with status 0. Gives that, and how long it took.
pub(super) fn ends_after_grace(
    trial: &Trial<'_>,
    server: &mut Running,
    asked: Instant,
    client: &mut Client,
) -> Judged<(ExitStatus, Took)> {
    // It can only be seen later than it was, so what looks early was early.
    if client.ends_within(GRACE.saturating_sub(TOLERANCE + asked.elapsed())) {
        falls!(
            "a client in the middle of a command was cut off {:.1} s after the signal, and it has {} s",
            asked.elapsed().as_secs_f32(),
            GRACE.as_secs()
        );
    }
    let limit = trial.terms.limit.max(2 * GRACE);
    let Some(status) = server.exits_within(limit) else {
        falls!(
            "the process never ended: a client never ended its command, and it still ran {} s after the signal",
            asked.elapsed().as_secs()
        );
    };
    let took = Took::new("after the signal, to cut off a client and to end", asked.elapsed(), GRACE + AT_ONCE);
    client.line(Duration::ZERO);
    trial.recorder.note("server", format!("ends with {status}"));
    if !status.success() {
        falls!("the process ended with {status} instead of status 0");
    }
    Ok((status, took))
}

fn grace_ends(trial: &Trial<'_>) -> Judged {
    let evidence = in_time(trial, || {
        with_server(trial, |server| {
            let mut client = in_progress(trial, server)?;
            let asked = Instant::now();
            trial.ask_to_stop("check", server)?;
            let (status, took) = ends_after_grace(trial, server, asked, &mut client).about("client 1")?;
            let evidence =
                format!("the client got its {} s, and then the process ended with {status}", GRACE.as_secs());
            Ok((took, evidence))
        })
    })?;
    in_time(trial, || {
        with_server(trial, |server| {
            let _client = in_progress(trial, server)?;
            let asked = Instant::now();
            trial.ask_to_stop("check", server)?;
            // So late that three seconds from here on are far more than three.
            wait_for(GRACE.mul_f32(0.8));
            trial.ask_to_stop("check", server)?;
            if server.exits_within(trial.terms.limit.max(2 * GRACE)).is_none() {
                falls!(
                    "the process never ended: it got a second SIGTERM, and still ran {} s after the first",
                    asked.elapsed().as_secs()
                );
            }
            let time = asked.elapsed();
            let printed = server.process().map(|process| process.last_output()).unwrap_or_default();
            if printed.lines().filter(|line| line.starts_with("tally:")).count() > 1 {
                falls!("it got a second SIGTERM, and printed more than one tally");
            }
            let what = "after the first of two signals, to cut off a client and to end";
            Ok((Took::new(what, time, GRACE + AT_ONCE), evidence.clone().into()))
        })
    })
}

fn tally_adds_up(trial: &Trial<'_>) -> Judged {
    const EXPECTED: &str = "tally: sales 205, sum 267";
    const AT_ONE_TIME: usize = 50;
    let mut server = trial.start()?;
    let sellers = (3..7).map(|number| arrive(&mut server, &format!("client {number}")));
    let mut sellers = sellers.collect::<Judged<Vec<Client>>>()?;
    for seller in &mut sellers {
        seller.send("sell 1\n".repeat(AT_ONE_TIME).as_bytes());
    }
    for seller in &mut sellers {
        for _ in 0..AT_ONE_TIME {
            judge_line(b"sold 1\n", &seller.quiet_line(trial.terms.limit))
                .about("four clients sold at the same time")?;
        }
    }
    drop(sellers);
    let mut gone = arrive(&mut server, "client 0")?;
    ask(trial, &mut gone, "sell 1", "sold 1")?;
    ask(trial, &mut gone, "sell 20", "sold 20")?;
    gone.leave();
    let mut busy = in_progress(trial, &mut server)?;
    let mut idle = idle(trial, &mut server)?;
    trial.ask_to_stop("check", &mut server)?;
    idle.comes_within(Duration::from_secs(1));
    // 200 + 1 + 20 + 7 + 20 + 19 = 267, the last one after the signal.
    busy.send(b"9\n");
    let answered = expect_line(trial, &mut busy, "sold 19");
    drop((busy, idle));
    expect_tally(trial, &mut server, trial.terms.limit.max(2 * GRACE), EXPECTED).about("all clients had left")?;
    answered?;
    Ok(format!("205 sales, one of them after the signal, and it said \"{EXPECTED}\"").into())
}
