//! The course of a run: every server does every workload, in turn, again and again.

use std::time::Duration;

use anyhow::{Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::contestants::{Contestant, Running};
use crate::machine::{self, BUSY, Machine};
use crate::results::{Results, Sample, Server};
use crate::talk::{self, Talk};
use crate::{crowd, syscalls};

/// How much is measured.
pub struct Plan {
    /// How often.
    pub rounds: u32,
    /// In how many of these rounds ten thousand connections are opened.
    pub idle_rounds: u32,
    /// Whether to leave out what takes long and is measured once: the crowd, and being out of descriptors.
    pub quick: bool,
    /// Only work whose name contains one of these; all of it if there is none.
    pub work: Vec<String>,
    /// How long each conversation is.
    pub talk_for: Duration,
    /// Whether to end with an error where others take more of the processors than `BUSY`.
    pub only_if_quiet: bool,
}

/// Work of which speed is measured.
pub struct Workload {
    /// What it is called.
    pub name: &'static str,
    /// The name in two lines, for the head of a table.
    pub head: [&'static str; 2],
    /// What is said, or nothing for short connections.
    pub talk: Option<Talk>,
}

const fn talk(
    name: &'static str,
    head: [&'static str; 2],
    connections: usize,
    in_flight: usize,
    line: usize,
) -> Workload {
    Workload { name, head, talk: Some(Talk { connections, in_flight, line }) }
}

/// Every workload of which speed is measured.
pub const WORKLOADS: [Workload; 7] = [
    talk("ping-pong, 1 connection", ["ping-pong", "1 conn"], 1, 1, 32),
    talk("ping-pong, 64 connections", ["ping-pong", "64 conns"], 64, 1, 32),
    talk("64 lines in flight, 1 connection", ["64 lines", "1 conn"], 1, 64, 32),
    talk("64 lines in flight, 64 connections", ["64 lines", "64 conns"], 64, 64, 32),
    talk("1 KiB lines, 64 in flight", ["1 KiB", "lines"], 1, 64, 1024),
    talk("64 KiB lines, 8 in flight", ["64 KiB", "lines"], 1, 8, 65_536),
    Workload { name: "short connections", head: ["short", "conns"], talk: None },
];

// The rest of the work.
const BURST: &str = "burst of 1,000 connects";
const IDLE: &str = "10,000 idle connections";
const SYSTEM_CALLS: &str = "system calls";
const SURVIVAL: &str = "19,900 clients";
const STARVED: &str = "out of descriptors";

/// Where the two workloads stand whose cost is shown.
pub const PING_PONG: usize = 0;
/// The other.
pub const PIPELINED: usize = 2;

/// Measures everything.
pub fn run(contestants: &[Contestant], plan: &Plan, shared_core: Option<usize>, go: Option<String>) -> Result<Results> {
    let names = || WORKLOADS.iter().map(|workload| workload.name);
    let mut results = Results {
        machine: Machine::look(shared_core, go),
        rounds: plan.rounds,
        servers: contestants.iter().map(|one| Server::new(&one.name, names())).collect(),
    };
    let talks = WORKLOADS.iter().filter(|workload| plan.wants(workload.name)).count() as u64;
    let (bursts, idle) = (u64::from(plan.wants(BURST)), u64::from(plan.wants(IDLE)));
    let each = u64::from(plan.rounds) * (talks + bursts) + u64::from(plan.idle_rounds) * idle;
    let bar = ProgressBar::new(contestants.len() as u64 * each);
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} ({elapsed}) {msg}") {
        bar.set_style(style);
    }
    let pairs = |results: &mut Results, each: &mut dyn FnMut(&Contestant, &mut Server)| {
        for (contestant, server) in contestants.iter().zip(&mut results.servers) {
            bar.inc(1);
            each(contestant, server);
        }
    };
    for round in 0..plan.rounds {
        let taken = machine::taken_by_others()?;
        results.machine.taken_by_others.push(taken);
        ensure!(
            !plan.only_if_quiet || taken <= BUSY,
            "other programs took {taken:.0} % of the processors in the second before round {} of {}, and at most {BUSY} % \
             leave figures to keep. End them, or record all the same with --busy, which the table will say",
            round + 1,
            plan.rounds
        );
        for (index, workload) in WORKLOADS.iter().enumerate().filter(|(_, workload)| plan.wants(workload.name)) {
            bar.set_message(workload.name);
            pairs(&mut results, &mut |contestant, server| {
                // One that fails once would fail in every round, and may take its whole time for it.
                if round > 0 && server.speeds[index].samples.is_empty() {
                    return;
                }
                let sample =
                    contestant.start().and_then(|running| workload.measure(contestant, &running, plan.talk_for));
                keep(sample, workload.name, &mut server.speeds[index].samples, &mut server.failures);
            });
        }
        if plan.wants(BURST) {
            bar.set_message(BURST);
            pairs(&mut results, &mut |contestant, server| {
                let burst = contestant.start().and_then(|running| crowd::burst(running.addr, contestant.prefix));
                keep(burst, BURST, &mut server.bursts, &mut server.failures);
            });
        }
        if round < plan.idle_rounds && plan.wants(IDLE) {
            bar.set_message(IDLE);
            pairs(&mut results, &mut |contestant, server| {
                let idle = contestant.start().and_then(|running| crowd::idle(&running, contestant.prefix));
                keep(idle, IDLE, &mut server.idle, &mut server.failures);
            });
        }
    }
    if plan.wants(SYSTEM_CALLS) && syscalls::can_be_counted() {
        bar.set_message(SYSTEM_CALLS);
        for (contestant, server) in contestants.iter().zip(&mut results.servers) {
            server.calls_ping_pong = syscalls::per_line(contestant, 1).ok();
            server.calls_pipelined = syscalls::per_line(contestant, 64).ok();
        }
    }
    if plan.wants(SURVIVAL) && !plan.quick {
        bar.set_message(SURVIVAL);
        for (contestant, server) in contestants.iter().zip(&mut results.servers) {
            let survival = contestant.start().and_then(|mut running| crowd::survive(&mut running, contestant.prefix));
            server.survival = survival.map_err(|error| server.failures.push(format!("{SURVIVAL}: {error:#}"))).ok();
        }
    }
    if plan.wants(STARVED) && !plan.quick {
        bar.set_message(STARVED);
        for (contestant, server) in contestants.iter().zip(&mut results.servers) {
            let starved = crowd::starve(contestant);
            server.starved = starved.map_err(|error| server.failures.push(format!("{STARVED}: {error:#}"))).ok();
        }
    }
    bar.finish_and_clear();
    results.machine.load_at_end = machine::load();
    results.compare();
    Ok(results)
}

impl Plan {
    fn wants(&self, name: &str) -> bool {
        self.work.is_empty() || self.work.iter().any(|part| name.contains(part.as_str()))
    }
}

impl Workload {
    fn measure(&self, contestant: &Contestant, server: &Running, time: Duration) -> Result<Sample> {
        let pid = server.process.id();
        match &self.talk {
            Some(talk) => talk.measure(server.addr, contestant.prefix, pid, time),
            None => talk::short_connections(server.addr, contestant.prefix, pid, time),
        }
    }
}

fn keep<T>(measured: Result<T>, what: &str, samples: &mut Vec<T>, failures: &mut Vec<String>) {
    match measured {
        Ok(sample) => samples.push(sample),
        Err(error) => failures.push(format!("{what}: {error:#}")),
    }
}
