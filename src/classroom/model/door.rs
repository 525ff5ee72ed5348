//! The door with a sign. What is said to it is how its address is spelled; of its clients it only knows where they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use super::Dice;
use super::play::{DESCRIPTORS, LAST_PATIENCE, PATIENCE};
use crate::classroom::kit::{expect_end, expect_line, not_judged};
use crate::lab::client::Client;
use crate::lab::port::{self, Port};
use crate::lab::process::Process;
use crate::lab::recording::{Payload, Recorder, escape};
use crate::lab::server::{LIMIT, Running};
use crate::lab::wait::{wait_for, wait_until};
use crate::lab::{lack, lock};
use crate::probes::{Explained, Judged, Otherwise, Terms, Trial, draw_port, falls};

/// How long doors are started, at most if the machine is too busy for those in the tables, and how many with random
/// addresses.
const PLAYING: Duration = Duration::from_secs(3);
const AT_MOST: Duration = Duration::from_secs(20);
const RANDOM: usize = 60;
const SIDE_BY_SIDE: usize = 4;

/// Another address of this machine, on Linux: there the whole of 127.0.0.0/8 is.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The task's two tables: where a door stands, which is everywhere if it is no one address, or what must be said if it can't.
/// Where an address has two faults, one of the words is enough.
fn door(spelling: &str) -> Result<Option<IpAddr>, Vec<&'static str>> {
    let (host, port) = match spelling.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => return Err(vec!["no port"]),
    };
    let mut faults = Vec::new();
    if port.is_empty() {
        faults.push("no port");
    } else if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        faults.push("not a number");
    } else if port.parse::<u16>().is_err() {
        faults.push("65535");
    }
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if inner.is_none() && host.contains(':') {
        // Or it is the port that is missing.
        faults.extend(["brackets", "no port"]);
    }
    // No machine has this address (RFC 5737). Any words will do.
    if faults.is_empty() && host == "192.0.2.1" {
        faults.push("");
    }
    if faults.is_empty() { Ok(inner.unwrap_or(host).parse().ok()) } else { Err(faults) }
}

/// Starts doors with every kind of address in the task's tables, and then with random ones while there is time.
pub(in crate::classroom) fn doors(trial: &Trial<'_>) -> Judged {
    takes_any_address(trial)?;
    let terms = |limit| Terms { limit, ..trial.terms.clone() };
    let (hasty, patient) = (terms(PATIENCE), terms(LAST_PATIENCE.max(trial.terms.limit)));
    let seed = trial.terms.seed.unwrap_or(1);
    let has_ipv6 = has_ipv6();
    let mut hosts = vec!["127.0.0.1", ""];
    hosts.extend(has_ipv6.then_some("[::1]"));
    hosts.extend(cfg!(target_os = "linux").then_some("127.0.0.2"));
    let good = hosts.iter().flat_map(|host| [format!("{host}:PORT"), format!("{host}:0")]);
    let good = good.chain(["127.0.0.1:00PORT".to_owned()]);
    let bad = [
        "PORT",
        "127.0.0.1",
        "127.0.0.1:",
        ":",
        "[::1]",
        "[::1]:",
        "localhost",
        "127.0.0.1:http",
        "127.0.0.1:80a",
        // What some languages take for a number.
        "127.0.0.1:+80",
        "[::1]:8_0",
        ":-1",
        ":\u{ff18}0",
        ":0x1f90",
        ":8e3",
        "127.0.0.1: 8080",
        "127.0.0.1:8080 ",
        "127.0.0.1:8080\n",
        "192.0.2.1:PORT",
        "127.0.0.1:65536",
        "[::1]:65536",
        ":4294967376",
        // A small one for those who count in 64 bits, and for those who take it for octal.
        ":18446744073709559696",
        // More digits than any type takes.
        "127.0.0.1:340282366920938463463374607431768211456008080",
        ":0100000",
        "::1:PORT",
        "::1",
        ":::PORT",
    ];
    let table: Vec<String> = good.clone().chain(bad.map(str::to_owned)).collect();
    let aside = trial.recorder.aside();
    let (_reserved, quiet) = quiet_door(trial, &aside)?;
    let (until, at_most) = (Instant::now() + PLAYING, Instant::now() + AT_MOST);
    let spelled = |number: usize| {
        if let Some(spelling) = table.get(number) {
            return (Instant::now() < at_most).then(|| spelling.clone());
        }
        (Instant::now() < until && number < table.len() + RANDOM).then_some(())?;
        let mut dice = Dice::new(seed, number as u64);
        Some(if dice.once_in(3) { dice.pick(&good.clone().collect::<Vec<_>>()) } else { random_bad(&mut dice) })
    };
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(None);
    let work = || {
        while lock(&wrong).is_none() {
            let number = next.fetch_add(1, SeqCst);
            let Some(spelling) = spelled(number) else { return };
            let play = |terms| {
                let recorder = trial.recorder.aside();
                let mut dice = Dice::new(seed, number as u64);
                (one(&Trial::new(trial.target, terms, &recorder), &spelling, Some(&mut dice)), recorder)
            };
            // Once more, for the student to see; and if it was only this machine that was slow, it is not shown.
            if play(&hasty).0.is_err() {
                if let (Err(shown), recorder) = play(&patient) {
                    *lock(&wrong) = Some((shown, recorder));
                }
            }
        }
    };
    // Side by side, since most of the time a program starts.
    thread::scope(|scope| {
        for _ in 1..SIDE_BY_SIDE {
            drop(lack::spawn_scoped(scope, work));
        }
        work();
    });
    if let Some((shown, recorder)) = lock(&wrong).take() {
        trial.recorder.adopt(&recorder);
        return Err(shown.reword(|sentence| format!("{sentence}\n(--seed {seed} plays it again)")));
    }
    // Each of those who work side by side has asked for one that there was no more.
    let count = next.load(SeqCst).saturating_sub(SIDE_BY_SIDE);
    let evidence = format!("{count} doors stood where their addresses say, or told what is wrong with them");
    if count < table.len() {
        return Err(not_judged(&format!("{evidence}; there are {} more", table.len() - count)));
    }
    let trial = Trial::new(trial.target, &patient, trial.recorder);
    let none_left = || Instant::now() > at_most;
    if !none_left() {
        taken(&trial)?;
        stands_at_highest_port(&trial)?;
    }
    if none_left() {
        return Err(not_judged(&format!("{evidence}, and ports that are taken")));
    }
    wait_for(until.saturating_duration_since(Instant::now()));
    greets_many_and_stands_alone(&Trial::new(trial.target, &patient, &aside), quiet)
        .inspect_err(|_| trial.recorder.adopt(&aside))?;
    Ok(evidence.into())
}

/// Starts a door at which nobody calls before all others have been tried.
fn quiet_door(trial: &Trial<'_>, recorder: &Recorder) -> Judged<(Port, Running)> {
    let reserved = draw_port()?;
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, reserved.number));
    let door = trial.target.start_at(&addr.to_string(), addr, recorder, DESCRIPTORS);
    Ok((reserved, door.map_err(|why| Otherwise::skipped(format!("{why:#}")))?))
}

/// An address at which no door can stand.
fn random_bad(dice: &mut Dice) -> String {
    let host = dice.pick(&["127.0.0.1:", "10.0.0.1:", ":", "[::1]:", "::1:", "fe80::1:", "", "[2001:db8::7]:"]);
    let small = ["", "http", "8o8o", "x", "80:", " 80", "80 ", "0x50", "8e1"];
    let large = ["65536", "65537", "70000", "99999999999999999999"];
    host.to_owned() + dice.pick(&[&small[..], &large].concat())
}

/// How long a program may take to start and say something: on a busy machine longer than an answer takes.
fn for_a_program(trial: &Trial<'_>) -> Duration {
    if trial.terms.limit > PATIENCE { trial.terms.limit.max(LIMIT) } else { PATIENCE }
}

pub(in crate::classroom) fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Starts a door with each of these addresses, for a check that is only about them.
pub(in crate::classroom) fn doors_at(trial: &Trial<'_>, spellings: &[&str], evidence: &str) -> Judged {
    takes_any_address(trial)?;
    spellings.iter().try_for_each(|spelling| one(trial, spelling, None))?;
    Ok(evidence.into())
}

/// Starts one door, with callers of all kinds if there are dice. `PORT` stands for one that nobody holds.
fn one(trial: &Trial<'_>, spelling: &str, dice: Option<&mut Dice>) -> Judged<()> {
    let has_ipv6 = has_ipv6();
    let elsewhere = [IpAddr::from(Ipv4Addr::LOCALHOST), ELSEWHERE.into(), Ipv6Addr::LOCALHOST.into()];
    let is_closed = |addr| Client::connect(addr, "caller", &trial.recorder.aside(), PATIENCE).is_err();
    let drawn = || port::draw().ok().filter(|port| elsewhere.iter().all(|&ip| is_closed((ip, port.number).into())));
    let reserved = wait_until(trial.terms.limit, drawn).ok_or_else(|| Otherwise::skipped("no port is free"))?;
    let spelling = spelling.replace("PORT", &reserved.number.to_string());
    let when = format!("started with \"{}\"{}", escape(spelling.as_bytes()), strangers(&spelling));
    let ip = match door(&spelling) {
        Ok(ip) => ip,
        Err(words) => {
            let mut door = trial.start_at(&spelling, (Ipv4Addr::LOCALHOST, reserved.number).into())?;
            // Languages quote a newline in their own way.
            return refused(trial, &mut door, spelling.trim_end_matches('\n'), &words).about(&when);
        }
    };
    let known = SocketAddr::new(ip.unwrap_or(Ipv4Addr::LOCALHOST.into()), reserved.number);
    let mut door = trial.start_at(&spelling, known)?;
    let port = announced(&mut door, for_a_program(trial)).about(&when)?;
    if !spelling.ends_with(":0") && port != reserved.number {
        falls!("{when}, it says that it is listening on port {port}");
    }
    let mut here = elsewhere.to_vec();
    here.retain(|other| ip.is_none_or(|ip| ip == *other));
    here.retain(|ip| {
        has_ipv6 && ip.is_ipv6() || ip.is_ipv4() && (cfg!(target_os = "linux") || *ip == Ipv4Addr::LOCALHOST)
    });
    if let Some(dice) = dice {
        for _ in 0..4 {
            let addr = SocketAddr::new(dice.pick(&here), port);
            call(trial, &mut door, addr, dice).with_obituary(&mut door).about(&when)?;
        }
    }
    for &addr in &here {
        greeted(trial, call_at(trial, (addr, port).into())?).with_obituary(&mut door).about(&when)?;
    }
    match elsewhere.into_iter().find(|addr| ip.is_some_and(|ip| ip != *addr) && !is_closed((*addr, port).into())) {
        Some(addr) => falls!("{when}, the door stands at {addr}, too"),
        None => Ok(()),
    }
}

/// What the characters are that look like others.
fn strangers(spelling: &str) -> String {
    let strangers = spelling.chars().filter(|it| !it.is_ascii());
    strangers.map(|it| format!(" ({it} is U+{:04X})", u32::from(it))).collect()
}

/// Without that, most of the task can't be examined, and the student can change it.
fn takes_any_address(trial: &Trial<'_>) -> Judged<()> {
    trial.target.takes_any_address().map_err(|why| Otherwise::falls(format!("{why}. Write {{addr}}")))
}

/// One caller of some kind, after which the door has to be open for the next.
fn call(trial: &Trial<'_>, door: &mut Running, addr: SocketAddr, dice: &mut Dice) -> Judged<()> {
    let mut caller = call_at(trial, addr).with_obituary(door)?;
    match dice.below(6) {
        0 => caller.reset(),
        1 => caller.leave(),
        2 => {
            // Who sends something may see a reset after the greeting.
            caller.send(&dice.text(4));
            caller.leave();
        }
        3 => {
            caller.half_close();
            greeted(trial, caller)?;
        }
        4 => {
            let second = call_at(trial, addr)?;
            greeted(trial, second)?;
            greeted(trial, caller)?;
        }
        _ => drop(greeted(trial, caller)?),
    }
    Ok(())
}

/// Connects a caller. One who calls at `ELSEWHERE` has an address that no other caller has.
fn call_at(trial: &Trial<'_>, addr: SocketAddr) -> Judged<Client> {
    const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
    let limit = trial.terms.limit;
    let connected = if addr.ip() == ELSEWHERE {
        Client::connect_from(OWN, addr, &OWN.to_string(), trial.recorder, limit)
    } else {
        Client::connect(addr, "caller", trial.recorder, limit)
    };
    connected.map_err(|error| Otherwise::falls(format!("a caller at {addr} could not connect: {error}")))
}

/// Expects that a caller is greeted by the address of its end of the connection, and sees the end then.
/// Gives the caller back, for one that stays.
pub(in crate::classroom) fn greeted(trial: &Trial<'_>, mut caller: Client) -> Judged<Client> {
    let own = caller.stream().local_addr().map_err(|error| Otherwise::skipped(error.to_string()))?;
    expect_line(trial, &mut caller, &format!("welcome, {}", own.ip()))?;
    expect_end(trial, &mut caller)?;
    Ok(caller)
}

/// The port behind the last colon of what the door says on standard output.
fn announced(door: &mut Running, limit: Duration) -> Judged<u16> {
    let process = door.process().ok_or_else(|| Otherwise::skipped("it was not started"))?;
    let line = process.waits_until(limit, |process| {
        let (ended, printed) = (process.exited().is_some(), process.printed());
        let whole =
            printed.split_inclusive('\n').find(|line| line.starts_with("listening on ") && line.ends_with('\n'));
        (ended || whole.is_some()).then_some(whole.map(|line| line.trim_end().to_owned()))
    });
    let Some(Some(line)) = line else {
        let ended = door.obituary().unwrap_or_else(|| format!("it still runs after {} s", limit.as_secs()));
        falls!("it did not print \"listening on ADDR\" on standard output: {ended}");
    };
    let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).filter(|&port| port != 0);
    port.ok_or_else(|| Otherwise::falls(format!("it says \"{}\", which nobody can dial", escape(line.as_bytes()))))
}

/// Expects the process to end with a status that isn't 0, to quote the address, and to say one of these words.
pub(in crate::classroom) fn refused(trial: &Trial<'_>, door: &mut Running, quoted: &str, words: &[&str]) -> Judged<()> {
    let process = door.process().ok_or_else(|| Otherwise::skipped("it was not started"))?;
    let limit = for_a_program(trial);
    let Some(status) = process.waits_until(limit, Process::exited) else {
        let printed = Payload::new(process.printed().as_bytes());
        falls!(
            "expected it to end and to say \"{}\"; it still runs after {} s, and has printed {printed}",
            words.join("\" or \""),
            limit.as_secs()
        );
    };
    let said = process.last_output();
    trial.recorder.note("server", format!("ends with {status}: {}", said.trim()));
    let says = |word: &&str| said.to_lowercase().contains(*word);
    let fault = if status.success() {
        "it ends as if all were well".to_owned()
    } else if !said.contains(quoted) {
        format!("it does not quote \"{quoted}\"")
    } else if !words.iter().any(says) {
        format!("it does not say \"{}\"", words.join("\" or \""))
    } else {
        return Ok(());
    };
    falls!("{fault}: \"{}\"", escape(said.trim().as_bytes()))
}

/// Starts a door at the highest port there is, unless somebody is there.
fn stands_at_highest_port(trial: &Trial<'_>) -> Judged<()> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::MAX));
    if TcpListener::bind(addr).is_err() {
        return Ok(());
    }
    let mut door = trial.start_at(&addr.to_string(), addr)?;
    let stands = announced(&mut door, for_a_program(trial)).about(&format!("started with \"{addr}\""));
    // Another check may have come first.
    let is_taken = door.process().is_some_and(|process| process.output().to_lowercase().contains("in use"));
    if is_taken { Ok(()) } else { stands.map(drop) }
}

/// Has a door at which nobody has called yet greet more callers than it has descriptors, and starts it a second time at the
/// same address: a socket option that lets the second stand there takes callers from the first.
fn greets_many_and_stands_alone(trial: &Trial<'_>, mut first: Running) -> Judged<()> {
    const CALLERS: usize = 150;
    let addr = first.addr();
    let spelling = addr.to_string();
    announced(&mut first, for_a_program(trial))?;
    let quiet = trial.recorder.aside();
    let quietly = Trial::new(trial.target, trial.terms, &quiet);
    trial.recorder.note("callers", format!("call, {CALLERS} of them, one after the other"));
    let began = Instant::now();
    for number in 1..=CALLERS {
        if began.elapsed() > AT_MOST {
            return Err(Otherwise::note(format!(
                "doors stood where their addresses say; this one takes its time for each caller, and of {CALLERS} the last \
                 {} could not call",
                CALLERS - number + 1
            )));
        }
        let greeted = call_at(&quietly, addr).and_then(|caller| greeted(&quietly, caller)).with_obituary(&mut first);
        greeted.about(&format!("caller {number}, at a door where nobody called for some seconds before the first"))?;
    }
    let mut second = trial.start_at(&spelling, addr)?;
    let when = format!("started with \"{spelling}\" a second time, while the first still stands there");
    refused(trial, &mut second, &spelling, &["in use", "only one usage"]).about(&when)
}

/// Starts doors on a port that is held in one of the families.
fn taken(trial: &Trial<'_>) -> Judged<()> {
    let (ipv4, ipv6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    for (holder, host) in [(ipv4, "127.0.0.1"), (ipv4, ""), (ipv6, ""), (ipv6, "[::1]")] {
        let reserved = draw_port()?;
        let port = reserved.number;
        let Ok(_held) = TcpListener::bind((holder, port)) else { continue };
        let spelling = format!("{host}:{port}");
        trial.recorder.note("neighbour", format!("holds port {port} at {holder}"));
        let mut door = trial.start_at(&spelling, (holder, port).into())?;
        let when = format!("started with \"{spelling}\", while another program holds the port at {holder}");
        refused(trial, &mut door, &spelling, &["in use", "only one usage"]).about(&when)?;
    }
    Ok(())
}
