//! A door with a sign.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use super::kit::{expect_end, expect_line, probe};
use super::{Check, Exercise, model};
use crate::lab::client::Client;
use crate::lab::kernel;
use crate::lab::server::{Running, Target};
use crate::lab::wait::wait_until;
use crate::probes::{Explained, Judged, Needs, Otherwise, Trial, draw_port, falls, skipped, unreachable};

pub(super) const EXERCISE: Exercise = Exercise {
    id: "01",
    title: "A door with a sign",
    folder: "chapters/01_listen/exercise",
    checks: &[
        Check {
            probe: probe(
                1,
                Needs::Command,
                "every-caller",
                "Calls three times, one call after the other; each must be greeted by its address, and then see the \
                 end",
                every_caller,
            ),
            why: "A door that lets one caller in and then stays shut is of little use",
            points: 1,
            page: "02_accept_blocking.html#the-pitfall",
            starter_falls: false,
        },
        Check {
            probe: probe(
                1,
                Needs::Command,
                "real-port",
                "Starts the door on 127.0.0.1:0, and calls where it says that it listens",
                real_port,
            ),
            why: "Nobody can dial port 0; only the system knows which port it gave instead",
            points: 1,
            page: "01_listen.html#the-server-of-this-step",
            starter_falls: true,
        },
        Check {
            probe: probe(
                1,
                Needs::Command,
                "both-families",
                "Starts the door on :PORT, and calls by IPv4 and by IPv6; each caller must be greeted by its own \
                 address",
                both_families,
            ),
            why: "Some of your callers have only IPv4 and some only IPv6, and who dials the other family finds no door",
            points: 2,
            page: "01_listen.html#where-is-every-interface",
            starter_falls: true,
        },
        Check {
            probe: probe(
                1,
                Needs::Command,
                "bad-address",
                "Starts the door with five addresses that are no good; each time it must end, quote the address, and \
                 say what is wrong with it",
                bad_address,
            ),
            why: "Whoever reads \"invalid socket address\" at night has to guess which, and what a valid one looks like",
            points: 1,
            page: "01_listen.html#bare-port",
            starter_falls: true,
        },
        Check {
            probe: probe(
                1,
                Needs::Command,
                "door-taken",
                "Starts the door on a port that another program holds; it must end, name the port, and say that it is \
                 in use",
                door_taken,
            ),
            why: "An error that doesn't name the port doesn't tell which of the programs here is in the way of which",
            points: 1,
            page: "01_listen.html#port-taken",
            starter_falls: true,
        },
        Check {
            probe: probe(
                1,
                Needs::Command,
                "opens-again",
                "Ends the door after it has greeted a caller, and starts it again on the same port at once; the same \
                 with :PORT, if the door can stand there",
                opens_again,
            ),
            why: "The side that closes first leaves its port in TIME_WAIT, and here that is the door, with every caller",
            points: 1,
            page: "01_listen.html#restart",
            starter_falls: false,
        },
        model::as_the_task_says(1),
    ],
};

fn every_caller(trial: &Trial<'_>) -> Judged {
    let mut door = trial.start()?;
    for name in ["caller 1", "caller 2", "caller 3"] {
        call(trial, &mut door, name)?;
    }
    Ok("three callers, one after the other, were greeted by their address".into())
}

fn real_port(trial: &Trial<'_>) -> Judged {
    const ANNOUNCES: &str = "listening on ";
    trial.spelled_by_hand()?;
    let mut door = trial.start_at("127.0.0.1:0", (Ipv4Addr::LOCALHOST, 0).into())?;
    // The line may be read in pieces: it is there when its end is.
    let announced = wait_until(trial.terms.limit, || {
        let process = door.process()?;
        let ended = process.exited().is_some();
        let output = if ended { process.last_output() } else { process.output() };
        let mut whole = output.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let line = whole.find_map(|line| Some(line.split_once(ANNOUNCES)?.1.trim().to_owned()));
        (ended || line.is_some()).then_some(line)
    });
    let Some(Some(announced)) = announced else {
        let ended = door.obituary().unwrap_or_else(|| format!("it still runs after {:?}", trial.terms.limit));
        falls!("started on 127.0.0.1:0, it did not print \"{ANNOUNCES}ADDR\" on standard output: {ended}");
    };
    trial.recorder.note("server", format!("says that it is listening on {announced}"));
    let addr = match announced.parse::<SocketAddr>() {
        Ok(addr) if addr.port() == 0 => {
            falls!("it says \"{ANNOUNCES}{announced}\", and nobody can dial port 0");
        }
        Ok(addr) if !addr.ip().is_loopback() => {
            falls!("started on 127.0.0.1:0, it says \"{ANNOUNCES}{announced}\"");
        }
        Ok(addr) => addr,
        Err(_) => {
            falls!("it says \"{ANNOUNCES}{announced}\", which is no address and port to be dialled");
        }
    };
    let mut announced = Trial::new(&Target::Address(addr), trial.terms, trial.recorder).start()?;
    call(trial, &mut announced, "caller 1")?;
    Ok(format!("started on port 0, it said {addr}, and there a caller was greeted").into())
}

fn both_families(trial: &Trial<'_>) -> Judged {
    trial.spelled_by_hand()?;
    let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    // Linux: the whole of 127.0.0.0/8 is this machine, and a door that listens on 127.0.0.1 alone isn't found here.
    let ipv4 = if cfg!(target_os = "linux") { Ipv4Addr::new(127, 0, 0, 2) } else { Ipv4Addr::LOCALHOST };
    let mut reached = Vec::new();
    // Each caller has a door of its own, so that what one does to it doesn't matter to the other.
    for (host, name) in [(IpAddr::from(ipv4), "IPv4 caller"), (Ipv6Addr::LOCALHOST.into(), "IPv6 caller")] {
        if host.is_ipv6() && !has_ipv6 {
            continue;
        }
        let reserved = draw_port()?;
        let spelling = format!(":{}", reserved.number);
        let mut door = trial.start_at(&spelling, (host, reserved.number).into())?;
        call(trial, &mut door, name).about(&format!("started with \"{spelling}\" and called at {host}"))?;
        reached.push(host.to_string());
    }
    let without = if has_ipv6 { "" } else { " (this machine has no IPv6)" };
    Ok(format!("started with \":PORT\", it greeted callers at {}{without}", reached.join(" and ")).into())
}

fn bad_address(trial: &Trial<'_>) -> Judged {
    trial.spelled_by_hand()?;
    let reserved = draw_port()?;
    let port = reserved.number;
    for (spelling, fault) in [
        (port.to_string(), "no port"),
        ("127.0.0.1:".to_owned(), "no port"),
        ("127.0.0.1:http".to_owned(), "not a number"),
        ("127.0.0.1:65536".to_owned(), "65535"),
        (format!("::1:{port}"), "brackets"),
    ] {
        let mut door = trial.start_at(&spelling, (Ipv4Addr::LOCALHOST, port).into())?;
        let given = format!("given \"{spelling}\"");
        let said = last_words(trial, &mut door).about(&given)?;
        // The quotes are the author's choice, and the words around as well.
        if !said.contains(&spelling) {
            falls!("{given}, it does not quote that: {}", shown(&said));
        }
        if !said.to_lowercase().contains(fault) {
            falls!("{given}, it does not say \"{fault}\": {}", shown(&said));
        }
    }
    Ok("for each of five bad addresses it quoted the address and said what is wrong with it".into())
}

fn door_taken(trial: &Trial<'_>) -> Judged {
    let reserved = draw_port()?;
    let port = reserved.number;
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // A process that is just being started beside this one may still have the listener with which the port was tried.
    let Some(_holder) = wait_until(trial.terms.limit, || TcpListener::bind(addr).ok()) else {
        skipped!("port {port} could not be held");
    };
    trial.recorder.note("neighbour", format!("holds port {port}"));
    let mut door = trial.start_at(&addr.to_string(), addr)?;
    let given = format!("started on {addr}, which another program holds");
    let said = last_words(trial, &mut door).about(&given)?;
    let names_port = said.contains(&port.to_string());
    // The system's own words count, Windows' as well.
    let names_reason = ["in use", "only one usage"].iter().any(|words| said.to_lowercase().contains(words));
    let said = shown(&said);
    match (names_port, names_reason) {
        (true, true) => Ok(format!("on a port that another program holds, it says so: {said}").into()),
        (false, true) => falls!("{given}, it does not say which port is in use: {said}"),
        (_, false) => falls!("{given}, it does not say that the port is \"in use\": {said}"),
    }
}

fn opens_again(trial: &Trial<'_>) -> Judged {
    let reserved = draw_port()?;
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, reserved.number));
    let spelling = addr.to_string();
    let mut first = trial.start_at(&spelling, addr)?;
    let caller = first.connect("caller 1").map_err(unreachable)?;
    opens_twice(trial, first, caller, &spelling)?;
    // There the standard library may have listened, which sets unasked what this needs. Here a listener is made by hand.
    if trial.target.takes_any_address().is_ok() {
        let reserved = draw_port()?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, reserved.number));
        let spelling = format!(":{}", reserved.number);
        let mut first = trial.start_at(&spelling, addr)?;
        // That the door doesn't stand there at all is for another check to say.
        if let Ok(caller) = first.connect("caller 1") {
            opens_twice(trial, first, caller, &spelling)?;
        }
    }
    Ok("started again on the same port at once, it greeted the next caller".into())
}

/// Has the caller greeted, ends this door, starts it again at the same place, and has another caller greeted.
fn opens_twice(trial: &Trial<'_>, mut first: Running, caller: Client, spelling: &str) -> Judged<()> {
    let addr = first.addr();
    let port = addr.port();
    greeted(trial, &mut first, caller)?;
    // The door has closed that connection, and the caller has closed it after.
    if wait_until(Duration::from_secs(1), || kernel::has_time_wait(port).then_some(())).is_some() {
        trial.recorder.note("kernel", format!("keeps port {port} in TIME_WAIT"));
    }
    if let Some(process) = first.process() {
        process.kill();
        trial.recorder.note("server", "is killed");
    }
    // What its process left behind, such as children, ends with this.
    drop(first);
    let mut second = trial.start_at(spelling, addr)?;
    call(trial, &mut second, "caller 2").about(&format!("started again on \"{spelling}\" at once"))
}

/// Calls, and expects to be greeted by the address of this end, and to see the end of the connection then.
fn call(trial: &Trial<'_>, door: &mut Running, name: &str) -> Judged<()> {
    let caller = door.connect(name).map_err(unreachable)?;
    greeted(trial, door, caller)
}

/// The same, of one who has called.
fn greeted(trial: &Trial<'_>, door: &mut Running, mut caller: Client) -> Judged<()> {
    let own = caller.stream().local_addr().map_err(|error| {
        Otherwise::skipped(format!("the address of this end of the connection can't be told: {error}"))
    })?;
    let greeted = expect_line(trial, &mut caller, &format!("welcome, {}", own.ip()));
    let greeted = greeted.and_then(|()| expect_end(trial, &mut caller));
    caller.leave();
    greeted.with_obituary(door)
}

/// What the program printed before it ended, as it has to, with a status that isn't 0.
fn last_words(trial: &Trial<'_>, door: &mut Running) -> Judged<String> {
    let limit = trial.terms.limit;
    let still_runs = || Otherwise::falls(format!("it still runs after {} s", limit.as_secs()));
    let process = door.process().ok_or_else(still_runs)?;
    let status = process.exits_within(limit).ok_or_else(still_runs)?;
    let said = process.last_output();
    trial.recorder.note("server", format!("ends with {status}: {}", shown(&said)));
    if status.success() {
        falls!("it ends as if all were well: {}", shown(&said));
    }
    Ok(said)
}

/// What a program printed, as part of a sentence.
fn shown(said: &str) -> String {
    const SHOWN: usize = 240;
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    match said.char_indices().nth(SHOWN) {
        _ if said.is_empty() => "it prints nothing".to_owned(),
        Some((end, _)) => format!("{}…", &said[..end]),
        None => said,
    }
}
