//! Closing time.

use std::io::Write;
use std::time::{Duration, Instant};

use super::kit::{ask, difference, expect_line};
use super::{Check, Exercise, model};
use crate::lab::client::{Client, Got, State};
use crate::lab::recording::escape;
use crate::lab::server::Running;
use crate::lab::wait::wait_until;
use crate::probes::{Finding, Judged, Needs, Probe, Trial, itself};

/// How long a client in the middle of a command may take for the rest of it, as the exercises say.
pub(super) const GRACE: Duration = Duration::from_secs(3);

pub(super) const EXERCISE: Exercise = Exercise {
    id: "06",
    title: "Closing time",
    folder: "chapters/06_graceful_shutdown/exercise",
    checks: &[
        Check {
            probe: Probe {
                name: "till-sells",
                chapter: 6,
                does: "Two clients sell something, and one says what is no command; each must get its answer",
                remedy: "Closing well is worth nothing if the till doesn't sell",
                needs: Needs::Address,
                needs_echo: false,
                runs_alone: false,
                examine: till_sells,
            },
            points: 1,
            page: "05_bufread_lines.html#the-server-of-this-step",
            starter_falls: false,
        },
        Check {
            probe: Probe {
                does: "Sends SIGTERM with a command half sent; new clients must be refused, and that one kept",
                remedy: "Whoever is refused goes to another server at once; whoever gets in after the end is lost",
                examine: door_closes,
                ..on_signal("door-closes")
            },
            points: 1,
            page: "06_graceful_shutdown.html#refuses-after-stop",
            starter_falls: true,
        },
        Check {
            probe: Probe {
                does: "Sends SIGTERM with a command half sent, then its rest; the answer must come, bye, and the end",
                remedy: "Without the answer the client can't know whether its command was carried out",
                examine: command_finishes,
                ..on_signal("command-finishes")
            },
            points: 1,
            page: "06_graceful_shutdown.html#the-pitfall",
            starter_falls: true,
        },
        Check {
            probe: Probe {
                does: "Sends SIGTERM while a client is idle; it must hear bye before the grace time is up",
                remedy: "An idle client has no reason to leave, and a server that waits for it never stops",
                examine: idle_hears_bye,
                ..on_signal("idle-hears-bye")
            },
            points: 1,
            page: "06_graceful_shutdown.html#who-is-idle",
            starter_falls: true,
        },
        Check {
            probe: Probe {
                does: "Sends SIGTERM while a client asks without a pause; it must hear bye after one of the answers",
                remedy: "A client that never pauses would keep a server that waits for a pause",
                examine: talker_hears_bye,
                ..on_signal("talker-hears-bye")
            },
            points: 1,
            page: "06_graceful_shutdown.html#why",
            starter_falls: true,
        },
        Check {
            probe: Probe {
                does: "Sends SIGTERM while a command is never finished; three seconds, and the end with status 0",
                remedy: "One client that is stuck is enough to keep a server from stopping, until somebody kills it",
                examine: grace_ends,
                ..on_signal("grace-ends")
            },
            points: 1,
            page: "06_graceful_shutdown.html#stuck-client",
            starter_falls: true,
        },
        Check {
            probe: Probe {
                does: "Sells before the signal and finishes a sale after it; the tally must have them all",
                remedy: "What is counted before the last client has gone is not the whole",
                examine: tally_adds_up,
                ..on_signal("tally-adds-up")
            },
            points: 1,
            page: "06_graceful_shutdown.html#lost-count",
            starter_falls: true,
        },
        model::as_the_task_says(6),
    ],
};

/// A check that sends SIGTERM. What it does is still to be said.
pub(super) const fn on_signal(name: &'static str) -> Probe {
    Probe {
        name,
        chapter: 6,
        does: "",
        remedy: "",
        needs: Needs::Signals,
        needs_echo: false,
        runs_alone: false,
        examine: |_| Err(Finding::skipped("it was not examined")),
    }
}

/// For `Running::connect`: a server that nobody can reach has fallen.
pub(super) fn unreachable(why: String) -> Finding {
    Finding::falls(why)
}

/// What a finding was about.
pub(super) fn when(circumstances: &str, finding: &Finding) -> Finding {
    // What was expected and what came stand one above the other, and must not be moved apart.
    let gap = if finding.evidence.contains('\n') { '\n' } else { ' ' };
    Finding { verdict: finding.verdict, evidence: format!("{circumstances}:{gap}{}", finding.evidence) }
}

/// Sends SIGTERM to the process that listens.
pub(super) fn ask_to_stop(trial: &Trial<'_>, server: &mut Running) -> Result<(), Finding> {
    itself(server)?;
    trial.recorder.note("check", "sends SIGTERM to the server");
    match server.process().map(|process| process.ask_to_stop()) {
        Some(true) => Ok(()),
        _ => Err(Finding::skipped("the signal could not be sent")),
    }
}

/// Whether new clients are refused within `limit`, or `abort` ends the wait.
fn refuses_within(trial: &Trial<'_>, server: &Running, limit: Duration, mut abort: impl FnMut() -> bool) -> bool {
    let addr = server.addr();
    let refused =
        wait_until(limit, || match Client::connect(addr, "new client", trial.recorder, Duration::from_secs(2)) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Some(true),
            _ => abort().then_some(false),
        });
    if refused == Some(true) {
        trial.recorder.note("new client", "is refused");
    }
    refused == Some(true)
}

/// Expects `bye`, and then the end. A reset in its place counts as well: on a client that was about to send something,
/// the end may come as one.
pub(super) fn expect_bye(trial: &Trial<'_>, client: &mut Client) -> Result<(), Finding> {
    expect_line(trial, client, "bye")?;
    match client.line(trial.terms.limit) {
        Got::End(rest) | Got::Reset(rest) if rest.is_empty() => Ok(()),
        other => Err(Finding::falls(format!(
            "after \"bye\\n\" expected the end of the connection, got {}",
            Trial::describe(&other)
        ))),
    }
}

/// A client that has sold something, and has sent the beginning of its next command.
fn in_progress(trial: &Trial<'_>, server: &mut Running) -> Result<Client, Finding> {
    let mut client = server.connect("client 1").map_err(unreachable)?;
    // In one write: with the answer to the first command it is sure that the server has the beginning of the next.
    client.send(b"sell 7\nsell 1");
    expect_line(trial, &mut client, "sold 7")?;
    Ok(client)
}

/// A client that has sold something and has no more to say.
fn idle(trial: &Trial<'_>, server: &mut Running) -> Result<Client, Finding> {
    let mut client = server.connect("client 2").map_err(unreachable)?;
    ask(trial, &mut client, "sell 20", "sold 20")?;
    Ok(client)
}

fn till_sells(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut one = server.connect("client 1").map_err(unreachable)?;
    let mut two = server.connect("client 2").map_err(unreachable)?;
    ask(trial, &mut two, "sell 3", "sold 3")?;
    ask(trial, &mut one, "sell 40", "sold 40")?;
    ask(trial, &mut one, "give me one", "error: say sell and a whole number")?;
    ask(trial, &mut one, "sell 5", "sold 5")?;
    Ok(Finding::holds("two clients sold, and what is no command was answered by an error"))
}

fn door_closes(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut client = in_progress(trial, &mut server)?;
    let asked = Instant::now();
    ask_to_stop(trial, &mut server)?;
    if !refuses_within(trial, &server, trial.terms.limit, || client.state() == State::Ended) {
        let kept = client.state() != State::Ended;
        return Ok(Finding::falls(if kept {
            format!("new clients still got in {} s after the signal", trial.terms.limit.as_secs())
        } else {
            "new clients got in after the signal, until the one in the middle of a command was cut off".into()
        }));
    }
    // Nobody is there to refuse anybody? Only the rest of the command tells.
    let refused_after = asked.elapsed().as_secs_f32();
    client.send(b"9\n");
    expect_line(trial, &mut client, "sold 19").map_err(|finding| {
        let moment = if refused_after < 1.0 {
            format!("new clients were refused {refused_after:.1} s after the signal, and then the rest of a command")
        } else {
            format!("new clients got in for {refused_after:.1} s after the signal, and then the rest of a command")
        };
        when(&moment, &finding)
    })?;
    Ok(Finding::holds("after the signal new clients were refused, and the one in the middle of a command stayed"))
}

fn command_finishes(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut client = in_progress(trial, &mut server)?;
    let mut idle = idle(trial, &mut server)?;
    ask_to_stop(trial, &mut server)?;
    // The rest is late on purpose: the server has had the time to send the idle client away.
    idle.comes_within(Duration::from_secs(1));
    client.send(b"9\n");
    let half = "\"sell 1\" was sent before the signal, \"9\\n\" after it";
    expect_line(trial, &mut client, "sold 19").map_err(|finding| when(half, &finding))?;
    expect_bye(trial, &mut client).map_err(|finding| when("after the last answer", &finding))?;
    Ok(Finding::holds("a command that was half sent at the signal was completed and answered, and then came bye"))
}

fn idle_hears_bye(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut busy = in_progress(trial, &mut server)?;
    let mut idle = idle(trial, &mut server)?;
    ask_to_stop(trial, &mut server)?;
    expect_bye(trial, &mut idle).map_err(|finding| when("the client that was idle at the signal", &finding))?;
    // Told to go for being idle, or only together with everybody else?
    busy.send(b"9\n");
    expect_line(trial, &mut busy, "sold 19")
        .map_err(|finding| when("when the idle client had gone, the one in the middle of a command", &finding))?;
    Ok(Finding::holds("the idle client heard bye, and the one in the middle of a command could still finish it"))
}

fn talker_hears_bye(trial: &Trial<'_>) -> Judged {
    // A client may be sending while the server says bye and closes, and that can destroy the bye. Not three times.
    for _ in 0..2 {
        if let Some(judged) = talk(trial)? {
            return Ok(judged);
        }
        trial.recorder.note("check", "once more: a reset may have destroyed the bye");
    }
    Ok(talk(trial)?.unwrap_or_else(|| {
        Finding::falls("a client that sends one command after another was cut off without bye, three times")
    }))
}

/// One client that never pauses. Nothing if its connection was reset.
fn talk(trial: &Trial<'_>) -> Result<Option<Finding>, Finding> {
    const BEFORE: usize = 50;
    let mut server = trial.start()?;
    let mut client = server.connect("client 1").map_err(unreachable)?;
    for _ in 0..BEFORE {
        ask(trial, &mut client, "sell 1", "sold 1")?;
    }
    ask_to_stop(trial, &mut server)?;
    client.note("goes on, one command after the other");
    let asked = Instant::now();
    let mut after = 0;
    while asked.elapsed() < trial.terms.limit {
        // Nobody takes it any more? The next read tells why.
        let _ = client.stream().write_all(b"sell 1\n");
        match client.quiet_line(trial.terms.limit) {
            Got::Line(line) if line == b"sold 1\n" => after += 1,
            Got::Line(line) if line == b"bye\n" => {
                client.note(format!("hears bye after {after} more answers"));
                return Ok(Some(Finding::holds("a client that sends one command after another heard bye in between")));
            }
            Got::Line(line) => return Err(Finding::falls(difference(b"bye\n", &line))),
            Got::Reset(rest) if rest.is_empty() => return Ok(None),
            other => {
                let other = Trial::describe(&other);
                client.note(format!("gets {after} more answers, then {other}"));
                return Err(Finding::falls(format!(
                    "a client that sends one command after another got {after} more answers after the signal and then, \
                     instead of bye, {other}"
                )));
            }
        }
    }
    client.note(format!("gets {after} more answers"));
    Ok(Some(Finding::falls(format!(
        "a client that sends one command after another was still served {} s after the signal",
        trial.terms.limit.as_secs()
    ))))
}

fn grace_ends(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut client = in_progress(trial, &mut server)?;
    let asked = Instant::now();
    ask_to_stop(trial, &mut server)?;
    // It can only be seen later than it was, so what looks early was early.
    if client.ends_within(GRACE.mul_f32(0.8)) {
        return Ok(Finding::falls(format!(
            "a client in the middle of a command was cut off {:.1} s after the signal, and it has {} s",
            asked.elapsed().as_secs_f32(),
            GRACE.as_secs()
        )));
    }
    let limit = trial.terms.limit.max(2 * GRACE);
    let Some(status) = server.process().and_then(|process| process.exits_within(limit)) else {
        return Ok(Finding::falls(format!(
            "a client never ended its command, and the process still ran {} s after the signal",
            asked.elapsed().as_secs()
        )));
    };
    trial.recorder.note("server", format!("ends with {status}"));
    if !status.success() {
        return Ok(Finding::falls(format!("the process ended with {status} instead of status 0")));
    }
    Ok(Finding::holds(format!("the client got its {} s, and then the process ended with {status}", GRACE.as_secs())))
}

fn tally_adds_up(trial: &Trial<'_>) -> Judged {
    const EXPECTED: &str = "tally: sales 5, sum 67";
    let mut server = trial.start()?;
    let mut gone = server.connect("client 0").map_err(unreachable)?;
    ask(trial, &mut gone, "sell 1", "sold 1")?;
    ask(trial, &mut gone, "sell 20", "sold 20")?;
    gone.leave();
    let mut busy = in_progress(trial, &mut server)?;
    let mut idle = idle(trial, &mut server)?;
    ask_to_stop(trial, &mut server)?;
    idle.comes_within(Duration::from_secs(1));
    // 1 + 20 + 7 + 20 + 19 = 67, the last one after the signal.
    busy.send(b"9\n");
    let answered = expect_line(trial, &mut busy, "sold 19");
    drop((busy, idle));
    let limit = trial.terms.limit.max(2 * GRACE);
    let Some(status) = server.process().and_then(|process| process.exits_within(limit)) else {
        return Ok(Finding::falls(format!(
            "all clients had left, and the process still ran {} s later, without a tally",
            limit.as_secs()
        )));
    };
    let output = server.process().map(|process| process.last_output()).unwrap_or_default();
    let said = output.lines().map(str::trim_end).rfind(|line| line.starts_with("tally:"));
    trial.recorder.note("server", format!("ends with {status}, and says {}", said.unwrap_or("no tally")));
    match said {
        Some(EXPECTED) => {
            answered?;
            Ok(Finding::holds(format!("five sales, one of them after the signal, and it said \"{EXPECTED}\"")))
        }
        Some(other) => Ok(Finding::falls(difference(EXPECTED.as_bytes(), other.as_bytes()))),
        None => Ok(Finding::falls(format!(
            "expected \"{}\" on standard output, and no line that begins with tally: was there when the process had \
             ended with {status}",
            escape(EXPECTED.as_bytes())
        ))),
    }
}
