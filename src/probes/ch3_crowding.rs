//! Chapter 3: many clients at once, and what they cost.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::trial::{LONGEST, Silence, Trial, require_no_wrapper, too_slow, unreachable};
use super::{Explained, Judged, Needs, Otherwise, Probe, falls, skipped};
use crate::lab::client::{Client, Reply, State};
use crate::lab::kernel;
use crate::lab::recording::Recorder;
use crate::lab::server::Running;
use crate::lab::wait::wait_until;

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "idle-client",
        chapter: 3,
        does: "Connects one client that says nothing and a second that asks; the second must not wait for the first",
        remedy: Some("Serve each connection on a thread, task or goroutine of its own"),
        needs: Needs::Address,
        needs_echo: true,
        runs_alone: false,
        examine: idle_client,
    },
    Probe {
        name: "crowd",
        chapter: 3,
        does: "Connects 64 clients that all stay; each asks once and must be answered",
        remedy: Some("Serve connections side by side, and let a limit be larger than 64"),
        needs: Needs::Address,
        needs_echo: true,
        runs_alone: false,
        examine: crowd,
    },
    Probe {
        name: "out-of-descriptors",
        chapter: 3,
        does: "Gives the server 64 descriptors and 200 clients; it must neither end nor spin, and serve the next one when they leave",
        remedy: Some("When accept fails, neither end nor try again at once: pause, a little longer each time"),
        needs: Needs::CommandOnLinux,
        needs_echo: true,
        runs_alone: false,
        examine: out_of_descriptors,
    },
    Probe {
        name: "no-leak",
        chapter: 3,
        does: "Serves 500 connections to warm up and 500 more; what they took must be given back",
        remedy: Some("Close each connection when it is done, and don't collect the handles of finished threads"),
        needs: Needs::CommandOnLinux,
        needs_echo: true,
        runs_alone: false,
        examine: no_leak,
    },
];

fn idle_client(trial: &Trial<'_>) -> Judged {
    trial.twice(|patience| {
        let mut server = trial.start()?;
        let mut silent = server.connect("client 1").map_err(unreachable)?;
        let mut asking = server.connect("client 2").map_err(unreachable)?;
        asking.send(b"hello\n");
        let expected = trial.answer_to(b"hello");
        match asking.line(patience) {
            Reply::Line(answer) if answer == expected => {
                if silent.state() == State::Ended {
                    falls!("client 2 was served only after the silent client 1 had been dropped");
                }
                let both = "client 1 is silent and still connected, and client 2 got its answer";
                return Ok(Silence::No(both.into()));
            }
            Reply::Nothing(rest, _) if rest.is_empty() => {}
            other => falls!("client 2 asked and got {}", Trial::describe(&other)),
        }
        if patience >= trial.terms.limit {
            falls!("client 2 asked and got nothing for {} s, while client 1 was silent", patience.as_secs_f32());
        }
        silent.leave();
        let left = Instant::now();
        match asking.line(trial.terms.limit) {
            Reply::Line(answer) if answer == expected && left.elapsed() < Silence::SOON => Ok(Silence::UntilThen(
                Otherwise::falls("client 2 asked and got nothing until the silent client 1 left; then it was answered"),
            )),
            Reply::Line(answer) if answer == expected => Ok(Silence::Longer),
            other => falls!("client 2 asked and got {}", Trial::describe(&other)),
        }
    })
}

fn crowd(trial: &Trial<'_>) -> Judged {
    const CROWD: usize = 64;
    let mut server = trial.start()?;
    let mut clients = Vec::new();
    let quiet = Recorder::new();
    for number in 1..=CROWD {
        let mut client = server.connect_with(&format!("client {number}"), &quiet, None).map_err(unreachable)?;
        client.send(format!("I am {number}\n").as_bytes());
        clients.push(client);
    }
    trial.recorder.note("64 clients", "connect, ask, and stay");
    let deadline = Instant::now() + trial.terms.limit;
    for (index, client) in clients.iter_mut().enumerate() {
        let number = index + 1;
        let expected = trial.answer_to(format!("I am {number}").as_bytes());
        match client.line(deadline.saturating_duration_since(Instant::now())) {
            Reply::Line(answer) if answer == expected => {}
            Reply::Nothing(rest, _) if rest.is_empty() => {
                falls!(
                    "with all {CROWD} clients connected, client {number} was not answered within {} s",
                    trial.terms.limit.as_secs()
                );
            }
            other => {
                falls!("client {number} of {CROWD} asked and got {}", Trial::describe(&other));
            }
        }
    }
    trial.recorder.note("64 clients", "have their answers");
    Ok(format!("{CROWD} clients at once, each was answered while all stayed").into())
}

fn out_of_descriptors(trial: &Trial<'_>) -> Judged {
    const DESCRIPTORS: usize = 64;
    const CLIENTS: usize = 200;
    // No server that waits uses so much in 2 s. One that tries again without a pause uses all it can get.
    const WINDOW: Duration = Duration::from_secs(2);
    const SPINNING: Duration = Duration::from_millis(500);

    let mut server = trial.start_short_of(Some(DESCRIPTORS))?;
    let crowd = fill(&mut server, CLIENTS);
    if crowd.is_empty() {
        let why = server.obituary().unwrap_or_else(|| "it does not listen".into());
        skipped!("it can't be started with {DESCRIPTORS} descriptors: {why}");
    }
    require_no_wrapper(&server)?;
    trial.recorder.note("clients", format!("{} are connected, and silent", crowd.len()));
    let id = server.id().unwrap_or_default();
    let before = kernel::processor_time(id);
    // The server has no event to announce here. What ends this wait early is its end.
    let ended = server.process().and_then(|process| process.exits_within(WINDOW));
    if ended.is_some() {
        falls!("with {DESCRIPTORS} descriptors and {} clients, {}", crowd.len(), server.obituary().unwrap_or_default());
    }
    let used =
        kernel::processor_time(id).zip(before).map_or(Duration::ZERO, |(now, before)| now.saturating_sub(before));
    trial.kernel(format!("counts {} ms of processor time for the server in 2 s", used.as_millis()));
    if used >= SPINNING {
        falls!(
            "out of descriptors, it used {:.2} s of processor time in 2 s without traffic: it tries again without a pause",
            used.as_secs_f32()
        );
    }
    let count = crowd.len();
    drop(crowd);
    trial.recorder.note("clients", "all leave");
    // One that turns clients away while it is full may not know yet that the others have left, and is asked again.
    let mut asked = Err(Otherwise::falls("it listens no more"));
    wait_until(trial.terms.limit, || {
        let Ok(mut next) = server.connect("next client") else { return Some(()) };
        next.send(b"and now?\n");
        let got = next.line(trial.terms.limit);
        let turned_away = matches!(&got, Reply::End(text) | Reply::Reset(text) if text.is_empty());
        asked = trial.judge_echo(b"and now?", &got);
        (!turned_away || server.obituary().is_some()).then_some(())
    });
    asked.with_obituary(&mut server).about(&format!("after {count} clients had come and left"))?;
    Ok(format!(
        "with {DESCRIPTORS} descriptors and {count} clients it went on, used {} ms of processor time in 2 s, and served the \
         next client when they had left",
        used.as_millis()
    ).into())
}

/// Connects so many silent clients, or as many as the server takes. None if it doesn't even start.
fn fill(server: &mut Running, count: usize) -> Vec<Client> {
    let quiet = Recorder::new();
    // The first connection waits until the server has started.
    let mut crowd: Vec<Client> = server.connect_with("client 1", &quiet, None).into_iter().collect();
    if crowd.is_empty() {
        return crowd;
    }
    let addr: SocketAddr = server.addr();
    while crowd.len() < count {
        match Client::connect(addr, "client", &quiet, Duration::from_millis(500)) {
            Ok(client) => crowd.push(client),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
            Err(_) => {
                // The queue is full. A server that empties it has room for more; one that doesn't has all it will take.
                let empty = || (kernel::accept_queue(addr)? == 0).then_some(());
                if wait_until(Duration::from_secs(1), empty).is_none() {
                    break;
                }
            }
        }
    }
    crowd
}

fn no_leak(trial: &Trial<'_>) -> Judged {
    const ROUND: usize = 500;
    const DESCRIPTORS: usize = 250;
    const ADDRESS_SPACE: u64 = 500 * 1024 * 1024;

    let mut server = trial.start()?;
    one_after_the_other(trial, &mut server, ROUND)?;
    require_no_wrapper(&server)?;
    let id = server.id().unwrap_or_default();
    // A process that has ended and wasn't waited for is kept as a descriptor is: by its number.
    let kept = || kernel::descriptors(id).unwrap_or(0) + kernel::zombies(id).unwrap_or(0);
    let measure = || (kept(), kernel::address_space(id).unwrap_or(0));

    // The last connections may take a moment to be cleared away. And what grows once is no leak: an allocator reserves
    // address space for threads that happened to run at the same time. What leaks grows in every round.
    let mut evidence = String::new();
    for patience in [trial.terms.limit, Duration::from_millis(500), Duration::from_millis(500)] {
        let before = measure();
        one_after_the_other(trial, &mut server, ROUND)?;
        let growth = || {
            let now = measure();
            (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1))
        };
        let below = |&(kept, bytes): &(usize, u64)| kept < DESCRIPTORS && bytes < ADDRESS_SPACE;
        let settled = wait_until(patience, || Some(growth()).filter(below));
        let (kept, bytes) = settled.unwrap_or_else(growth);
        trial.kernel(format!(
            "counts {kept} more descriptors and {} MiB more address space than before",
            bytes / 1024 / 1024
        ));
        evidence = format!(
            "{ROUND} more connections, all closed, left behind: descriptors or ended processes {kept}, address space {} MiB",
            bytes / 1024 / 1024
        );
        if settled.is_some() {
            return Ok(evidence.into());
        }
    }
    falls!("{evidence}, as did those before")
}

fn one_after_the_other(trial: &Trial<'_>, server: &mut Running, count: usize) -> Judged<()> {
    let quiet = Recorder::new();
    let start = Instant::now();
    for number in 1..=count {
        if start.elapsed() > LONGEST {
            return Err(too_slow(number - 1));
        }
        let mut client = server.connect_with("client", &quiet, None).map_err(unreachable)?;
        trial
            .ask(&mut client, "hello")
            .with_obituary(server)
            .about(&format!("client {number} of {count}, one after the other"))?;
    }
    trial.recorder.note("clients", format!("{count} come, ask and leave, one after the other"));
    Ok(())
}
