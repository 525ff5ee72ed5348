//! Chapter 1: does it listen where it was told to, and say why if it can't?

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::ch2_accepting::A_MOMENT;
use super::trial::{Trial, draw_port, require_no_wrapper, unreachable};
use super::{Explained, Judged, Needs, Otherwise, PLAIN, Probe, Verdict, falls, skipped};
use crate::lab::client::{Client, Reply};
use crate::lab::kernel;
use crate::lab::server::Running;
use crate::lab::wait::wait_until;

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "bare-port",
        chapter: 1,
        does: "Starts the server with a port and nothing else for its address; it must listen there or say what it was given",
        remedy: Some("Check the address before you use it, and quote it in the error"),
        needs: Needs::Command,
        examine: bare_port,
        ..PLAIN
    },
    Probe {
        name: "every-interface",
        chapter: 1,
        does: "Starts the server with \":PORT\", which is Go's way to say every interface, and connects over IPv4 and IPv6",
        remedy: Some(
            "Take an address without a host for [::], with IPV6_V6ONLY off, and fall back to 0.0.0.0 without IPv6",
        ),
        needs: Needs::Command,
        examine: every_interface,
        ..PLAIN
    },
    Probe {
        name: "port-taken",
        chapter: 1,
        does: "Starts the server on a port that another program holds; it must fail, and name the port and the reason",
        remedy: Some("Put the address into the error of a failed bind, and end with a status that isn't 0"),
        needs: Needs::Command,
        examine: port_taken,
        ..PLAIN
    },
    Probe {
        name: "restart",
        chapter: 1,
        does: "Ends the server while a client is connected and starts it again on the same port at once",
        remedy: Some("Set SO_REUSEADDR before bind, except on Windows"),
        needs: Needs::Command,
        examine: restart,
        ..PLAIN
    },
];

fn bare_port(trial: &Trial<'_>) -> Judged {
    trial.spelled_by_hand()?;
    let reserved = draw_port()?;
    let port = reserved.number;
    let spelling = port.to_string();
    let mut server = trial.start_at(&spelling, (Ipv4Addr::LOCALHOST, port).into())?;
    let listening = |port| {
        let hosts: [SocketAddr; 2] = [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
        let quiet = trial.recorder.aside();
        hosts.into_iter().find(|&addr| Client::connect(addr, "client 1", &quiet, Duration::from_secs(2)).is_ok())
    };
    let outcome = comes_to(trial, || match server.process()?.exited() {
        Some(status) => Some(Err(status)),
        None => listening(port).map(Ok),
    });
    match outcome? {
        Some(Ok(addr)) => Ok(format!("given \"{spelling}\", it listens on {addr}").into()),
        Some(Err(status)) => {
            let obituary = server.obituary().unwrap_or_default();
            let quoted = server.process().is_some_and(|process| process.last_output().contains(&spelling));
            match (status.success(), quoted) {
                (false, true) => Ok(format!("given \"{spelling}\", it says so: {obituary}").into()),
                (false, false) => {
                    falls!("given \"{spelling}\", it fails without saying what it was given: {obituary}")
                }
                (true, _) => {
                    require_no_wrapper(&usual_start(trial)?)?;
                    falls!("given \"{spelling}\", it ends as if all were well: {obituary}")
                }
            }
        }
        None => {
            // Says why not even a client of the probe can reach it, if that isn't the server's fault.
            server.connect("client 1").map(drop).map_err(unreachable).about(&format!("given \"{spelling}\""))?;
            skipped!("given \"{spelling}\", it was reached, but too late")
        }
    }
}

/// Waits for what a server comes to when it is started.
fn comes_to<T>(trial: &Trial<'_>, mut what: impl FnMut() -> Option<T>) -> Judged<Option<T>> {
    let come = wait_until(trial.target.patience(), &mut what);
    if come.is_some() {
        return Ok(come);
    }
    // On a busy machine it may not have come so far. It has when one that is started after it has.
    usual_start(trial)?;
    Ok(what())
}

fn every_interface(trial: &Trial<'_>) -> Judged {
    trial.spelled_by_hand()?;
    let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    // Linux: the whole of 127.0.0.0/8 is this machine, and a server that listens on 127.0.0.1 alone isn't found here.
    let ipv4 = if cfg!(target_os = "linux") { Ipv4Addr::new(127, 0, 0, 2) } else { Ipv4Addr::LOCALHOST };
    let mut reached = Vec::new();
    // A server for each family, since one that serves a single client would be gone for the second.
    for (family, name) in [(SocketAddr::from((ipv4, 0)), "IPv4"), ((Ipv6Addr::LOCALHOST, 0).into(), "IPv6")] {
        if family.is_ipv6() && !has_ipv6 {
            continue;
        }
        let reserved = draw_port()?;
        let port = reserved.number;
        let addr = SocketAddr::new(family.ip(), port);
        let spelling = format!(":{port}");
        let mut server = trial.start_at(&spelling, addr)?;
        let name = format!("{name} client");
        let connected = server.connect(&name).map_err(unreachable).or_else(|why| {
            usual_start(trial)?;
            // By now it has started as well.
            Client::connect(addr, &name, trial.recorder, Duration::from_secs(2)).map_err(|_| why)
        });
        let started = format!("started with \"{spelling}\", which is to be every address of this machine");
        connected.about(&started)?.leave();
        reached.push(addr.ip().to_string());
    }
    let without = if has_ipv6 { "" } else { " (this machine has no IPv6)" };
    Ok(format!("started with \":PORT\", it was reached at {}{without}", reached.join(" and ")).into())
}

fn port_taken(trial: &Trial<'_>) -> Judged {
    let reserved = draw_port()?;
    let (port, addr) = (reserved.number, reserved.addr());
    // A process that a probe beside this one is just starting may still have the listener with which the port was tried.
    let Some(_holder) = wait_until(trial.terms.limit, || hold(addr).ok()) else {
        skipped!("port {port} could not be held");
    };
    // For a server whose command has no host, and which takes "localhost" for this. Where there is no IPv6, nor does it.
    let _second = hold((Ipv6Addr::LOCALHOST, port).into());
    trial.recorder.note("probe", format!("holds port {port} with a listener of its own"));
    let mut server = trial.start_at(&addr.to_string(), addr)?;
    let ended = comes_to(trial, || {
        if let Some(status) = server.process()?.exited() {
            return Some(Ok(status));
        }
        (kernel::listens(server.id()?, addr) == Some(true)).then_some(Err(()))
    });
    let status = match ended? {
        Some(Ok(status)) => status,
        Some(Err(())) => {
            let shares = "another program holds its port, and it listens there as well (SO_REUSEPORT): each gets some of the clients";
            return Err(trial.owed_by_lines(shares));
        }
        None => falls!(
            "it still runs after {} s, though another program holds its port",
            trial.target.patience().as_secs_f32()
        ),
    };
    let obituary = server.obituary().unwrap_or_default();
    let said = server.process().map(|process| process.last_output()).unwrap_or_default();
    if status.success() {
        require_no_wrapper(&usual_start(trial)?)?;
        falls!("it ends as if all were well: {obituary}");
    }
    if !said.contains(&port.to_string()) {
        falls!("it does not say which port is in use: {obituary}");
    }
    // "In use" may be said in any language, so whatever it doesn't say at every start will do.
    let usual = usual_text(trial)?;
    match said.lines().map(without_numbers).find(|line| !line.is_empty() && !usual.contains(line)) {
        Some(_) => Ok(obituary.into()),
        None => falls!("it says what it says at every start, and not that the port is in use: {obituary}"),
    }
}

/// Holds a port against every server, also against those that would share it with any program of the same user.
fn hold(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Who sets this gets the port only if the holder has set it as well: then it is seen that the server does.
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.bind(&addr.into())?;
    socket.listen(16)?;
    Ok(socket.into())
}

/// A server that has started, and all is well.
fn usual_start(trial: &Trial<'_>) -> Judged<Running> {
    let mut server = trial.start()?;
    if let Err(why) = server.connect("client") {
        skipped!("on a free port, too, it can't be reached: {why:#}");
    }
    Ok(server)
}

/// What the server says then, line by line, without numbers.
fn usual_text(trial: &Trial<'_>) -> Judged<Vec<String>> {
    let mut server = usual_start(trial)?;
    let said = server.process().map(|process| {
        // On a busy machine not all of it may have been taken down yet. When the server has ended, it is.
        process.end();
        process.last_output()
    });
    Ok(said.unwrap_or_default().lines().map(without_numbers).collect())
}

/// The line without ports, process numbers and times, which differ at each start.
fn without_numbers(line: &str) -> String {
    line.trim().chars().filter(|character| !character.is_ascii_digit()).collect()
}

fn restart(trial: &Trial<'_>) -> Judged {
    let reserved = draw_port()?;
    let (port, addr) = (reserved.number, reserved.addr());
    let start_again = || {
        let mut again = trial.start_at(&addr.to_string(), addr)?;
        again.connect("client 2").map(Client::leave).map_err(unreachable)
    };

    let mut first = trial.start_at(&addr.to_string(), addr)?;
    // The server's side closes first, and so it is the server's port that stays in TIME_WAIT. Killed before it has
    // accepted, it would reset the client, and there would be none.
    let connected = trial.connect(&mut first, "client 1");
    let mut client = connected.map_err(|why| Otherwise::skipped(why.to_string()))?;
    let request = trial.request("still-here");
    client.send(&request.bytes);
    // Any answer will do: it shows that the server has accepted.
    if matches!(client.answer(trial.terms.limit, |got| request.check(got)), Reply::Nothing(rest, _) if rest.is_empty())
    {
        skipped!("a request got no answer, so it can't be told when the server has accepted");
    }
    if let Some(process) = first.process() {
        // One that serves a single client is ending by itself.
        let ended = process.exits_within(A_MOMENT).is_some();
        process.end();
        let of = ["has ended", "is killed while a client is connected"];
        trial.recorder.either_by_chance(&of, "a server that serves one client ends by itself, and may be quicker");
        trial.recorder.note("server", if ended { "has ended" } else { "is killed while a client is connected" });
    }
    if !client.ends_within(trial.terms.limit) {
        skipped!("the connection outlived the server; another process seems to hold it");
    }
    client.leave();
    if wait_until(Duration::from_secs(1), || kernel::has_time_wait(port).then_some(())).is_some() {
        trial.kernel(format!("keeps port {port} in TIME_WAIT"));
    } else if cfg!(target_os = "linux") {
        skipped!("the server's end of a connection should be in TIME_WAIT when it was killed, and wasn't");
    }
    let Err(why) = start_again() else {
        return Ok(format!("started again on port {port} at once, it was reached").into());
    };
    if why.verdict() != Verdict::Falls {
        return Err(why);
    }
    // A server that was killed may have left something else behind that keeps it from starting.
    if let Err(elsewhere) = trial.start()?.connect("client 3").map(Client::leave).map_err(unreachable) {
        skipped!("killed, it doesn't start again on any port: {elsewhere}");
    }
    start_again().about(&format!("started again on port {port}, while it starts on another"))?;
    Ok(format!("started again on port {port}, it was reached the second time").into())
}
