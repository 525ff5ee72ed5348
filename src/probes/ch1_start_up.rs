//! Chapter 1: does it listen where it was told to, and say why if it can't?

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use super::trial::{Trial, draw_port, unreachable};
use super::{Judged, Needs, Otherwise, Probe, falls, skipped};
use crate::lab::client::Client;
use crate::lab::kernel;
use crate::lab::recording::Recorder;
use crate::lab::server::LIMIT;
use crate::lab::wait::wait_until;

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "bare-port",
        chapter: 1,
        does: "Starts the server with a port and nothing else for its address; it must listen there or say what it was given",
        remedy: Some("Check the address before you use it, and quote it in the error"),
        needs: Needs::Command,
        needs_echo: false,
        runs_alone: false,
        examine: bare_port,
    },
    Probe {
        name: "every-interface",
        chapter: 1,
        does: "Starts the server with \":PORT\", which is Go's way to say every interface, and connects over IPv4 and IPv6",
        remedy: Some(
            "Take an address without a host for [::], with IPV6_V6ONLY off, and fall back to 0.0.0.0 without IPv6",
        ),
        needs: Needs::Command,
        needs_echo: false,
        runs_alone: false,
        examine: every_interface,
    },
    Probe {
        name: "port-taken",
        chapter: 1,
        does: "Starts the server on a port that another program holds; it must fail, and name the port and the reason",
        remedy: Some("Put the address into the error of a failed bind, and end with a status that isn't 0"),
        needs: Needs::Command,
        needs_echo: false,
        runs_alone: false,
        examine: port_taken,
    },
    Probe {
        name: "restart",
        chapter: 1,
        does: "Ends the server while a client is connected and starts it again on the same port at once",
        remedy: Some("Set SO_REUSEADDR before bind, except on Windows"),
        needs: Needs::Command,
        needs_echo: false,
        runs_alone: false,
        examine: restart,
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
        let quiet = Recorder::new();
        hosts.into_iter().find(|&addr| Client::connect(addr, "client 1", &quiet, Duration::from_secs(2)).is_ok())
    };
    let outcome = wait_until(LIMIT, || match server.process()?.exited() {
        Some(status) => Some(Err(status)),
        None => listening(port).map(Ok),
    });
    match outcome {
        Some(Ok(addr)) => Ok(format!("given \"{spelling}\", it listens on {addr}").into()),
        Some(Err(status)) => {
            let obituary = server.obituary().unwrap_or_default();
            let quoted = server.process().is_some_and(|process| process.last_output().contains(&spelling));
            match (status.success(), quoted) {
                (false, true) => Ok(format!("given \"{spelling}\", it says so: {obituary}").into()),
                (false, false) => {
                    falls!("given \"{spelling}\", it fails without saying what it was given: {obituary}")
                }
                (true, _) => falls!("given \"{spelling}\", it ends as if all were well: {obituary}"),
            }
        }
        None => {
            let printed = server.process().map(|process| process.output()).unwrap_or_default();
            let printed = printed.trim();
            falls!(
                "given \"{spelling}\", it neither ended nor listened on that port within {} s; it printed \"{printed}\"",
                LIMIT.as_secs()
            )
        }
    }
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
        let client = server.connect(&format!("{name} client")).map_err(|why| {
            Otherwise::falls(format!(
                "started with \"{spelling}\", which is to be every address of this machine: {why}"
            ))
        })?;
        client.leave();
        reached.push(addr.ip().to_string());
    }
    let without = if has_ipv6 { "" } else { " (this machine has no IPv6)" };
    Ok(format!("started with \":PORT\", it was reached at {}{without}", reached.join(" and ")).into())
}

fn port_taken(trial: &Trial<'_>) -> Judged {
    let reserved = draw_port()?;
    let port = reserved.number;
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // A process that a probe beside this one is just starting may still have the listener with which the port was tried.
    let hold = || TcpListener::bind(addr).ok();
    let Some(_holder) = wait_until(trial.terms.limit, hold) else {
        skipped!("port {port} could not be held");
    };
    trial.recorder.note("probe", format!("holds port {port} with a listener of its own"));
    let mut server = trial.start_at(&addr.to_string(), addr)?;
    let status = server.process().and_then(|process| process.exits_within(LIMIT));
    let Some(status) = status else {
        falls!("it still runs after {} s, though another program holds its port", LIMIT.as_secs());
    };
    let obituary = server.obituary().unwrap_or_default();
    let output = server.process().map(|process| process.last_output()).unwrap_or_default().to_lowercase();
    let names_port = output.contains(&port.to_string());
    let names_reason = [
        "in use",
        "inuse",
        "only one usage",
        "already listen",
        "already bound",
        "taken",
        "occupied",
        "os error 98",
        "errno 98",
        "os error 48",
        "errno 48",
    ]
    .iter()
    .any(|words| output.contains(words));
    match (status.success(), names_port, names_reason) {
        (false, true, true) => Ok(obituary.into()),
        (true, ..) => falls!("it ends as if all were well: {obituary}"),
        (_, false, true) => falls!("it does not say which port is in use: {obituary}"),
        (_, _, false) => falls!("it does not say that the port is in use: {obituary}"),
    }
}

fn restart(trial: &Trial<'_>) -> Judged {
    let reserved = draw_port()?;
    let port = reserved.number;
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut first = trial.start_at(&addr.to_string(), addr)?;
    let client = first.connect("client 1").map_err(unreachable)?;
    // The server's side closes first, and so it is the server's port that stays in TIME_WAIT. Killed before it has
    // accepted, it would reset the client, and there would be none.
    let mut client = client;
    client.send(b"still here\n");
    client.comes_within(trial.terms.limit);
    if client.received().is_empty() {
        skipped!("a plain line got no answer, so it can't be told when the server has accepted");
    }
    client.line(Duration::from_millis(100));
    if let Some(process) = first.process() {
        // One that serves a single client is ending by itself.
        let ended = process.exits_within(Duration::from_millis(300)).is_some();
        process.kill();
        trial.recorder.note("server", if ended { "has ended" } else { "is killed while a client is connected" });
    }
    if !client.ends_within(trial.terms.limit) {
        skipped!("the connection outlived the server; another process seems to hold it");
    }
    client.leave();
    if wait_until(Duration::from_secs(1), || kernel::has_time_wait(port).then_some(())).is_some() {
        trial.kernel(format!("keeps port {port} in TIME_WAIT"));
    }
    let mut second = trial.start_at(&addr.to_string(), addr)?;
    let client =
        second.connect("client 2").map_err(|why| Otherwise::falls(format!("started again on port {port}: {why}")))?;
    client.leave();
    Ok(format!("started again on port {port} at once, it was reached").into())
}
