//! `tcp-pitfalls` alone: the staircase.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use tcp_pitfalls::go::GoServers;
use tcp_pitfalls::lab::process;
use tcp_pitfalls::probes::Verdict;
use tcp_pitfalls::show::screen::{self, BAD, BOLD, COMMAND, DIM, GOOD, eprintln, print, println, progress};
use tcp_pitfalls::staircase::{self, BEYOND, LEGEND, LEGEND_BEYOND, STEPS, Staircase};

use super::print_json;

/// Which servers are in the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Servers {
    /// The six steps.
    Six,
    /// Their twins in Go.
    Go,
    /// Step 6, and the steps beyond it.
    Beyond,
}

/// Examines all these servers with all probes, and prints the table.
pub(crate) fn run(servers: Servers, json: bool, all: bool) -> Result<ExitCode> {
    process::end_all_on_ctrl_c(|| ());
    let program = std::env::current_exe().context("cannot find this program to start the steps")?;
    let (six, beyond) = (STEPS.len(), 1 + BEYOND.len());
    let bar;
    let staircase = match servers {
        Servers::Six => {
            bar = progress(staircase::cells(six), "examining six servers");
            staircase::run(&program, || bar.inc(1))
        }
        Servers::Go => {
            let servers = GoServers::build()?;
            bar = progress(staircase::cells(six), "examining six Go servers");
            servers.staircase(|| bar.inc(1))
        }
        Servers::Beyond => {
            bar = progress(staircase::cells(beyond), "examining step 6 and those beyond it");
            staircase::run_beyond(&program, || bar.inc(1))
        }
    };
    let elapsed = bar.elapsed();
    bar.finish_and_clear();
    if json {
        print_json(&staircase);
    } else {
        draw(&staircase, servers, all, elapsed);
    }
    Ok(if staircase.surprises.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn draw(staircase: &Staircase, servers: Servers, all: bool, elapsed: Duration) {
    let (title, legend) = match servers {
        Servers::Six => ("six servers, each avoids one more pitfall than the one before", LEGEND),
        Servers::Go => ("six servers in Go, each avoids one more pitfall than the one before", LEGEND),
        Servers::Beyond => ("the last of the six servers, and those beyond it", LEGEND_BEYOND),
    };
    println!("{BOLD}TCP Pitfalls{BOLD:#}: {title}\n");
    let reasons = reasons(staircase);
    if !reasons.is_empty() {
        println!("What was skipped:\n{reasons}");
    }
    for (what, command) in [
        ("Begin here", "cargo run --bin 01_listen"),
        ("What a probe does", "cargo run -- explain idle-client"),
        ("A server of your own", "cargo run -- probe -- python3 my_server.py {addr}"),
    ] {
        println!("{what:22}{COMMAND}{command}{COMMAND:#}");
    }
    println!("\n{}", screen::paragraph(legend, 0));
    print!("{}", staircase.table(all));
    let others = staircase.probes.iter().filter(|row| !row.differs()).count();
    if !all && others > 0 {
        println!("{DIM}{others} more probes say the same of all steps. --all shows them.{DIM:#}");
    }
    println!();
    for surprise in &staircase.surprises {
        eprintln!("{BAD}not as the course says:{BAD:#} {surprise}");
    }
    if staircase.surprises.is_empty() {
        let findings = staircase.probes.iter().flat_map(|row| &row.findings);
        let count = findings.filter(|finding| finding.verdict != Verdict::Skipped).count();
        println!("{GOOD}All {count} verdicts are as the course says{GOOD:#} ({:.0} s).", elapsed.as_secs_f32());
    }
}

/// Why probes were skipped, once for all probes and steps that it is true of.
fn reasons(staircase: &Staircase) -> String {
    let mut reasons: BTreeMap<&str, BTreeMap<String, Vec<&str>>> = BTreeMap::new();
    for row in &staircase.probes {
        let skipped =
            staircase.steps.iter().zip(&row.findings).filter(|(_, finding)| finding.verdict == Verdict::Skipped);
        let mut steps: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (step, finding) in skipped {
            steps.entry(&finding.evidence.sentence).or_default().push(step);
        }
        for (why, steps) in steps {
            let on = if steps.len() == staircase.steps.len() { "all steps".into() } else { steps.join(", ") };
            reasons.entry(why).or_default().entry(on).or_default().push(&row.name);
        }
    }
    let told = reasons.iter().flat_map(|(why, steps)| steps.iter().map(move |(on, probes)| (why, on, probes)));
    told.map(|(why, on, probes)| screen::paragraph(&format!("{} on {on}: {why}", probes.join(", ")), 2)).collect()
}
