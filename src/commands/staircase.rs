//! `tcp-pitfalls` alone: the staircase.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use tcp_pitfalls::go::GoServers;
use tcp_pitfalls::lab::process;
use tcp_pitfalls::probes::Verdict;
use tcp_pitfalls::show::screen::{self, BAD, BOLD, COMMAND, DIM, GOOD, eprintln, print, println, progress};
use tcp_pitfalls::staircase::{self, STEPS, Staircase};

use super::print_json;

/// Examines all steps with all probes, and prints the table.
pub(crate) fn run(go: bool, json: bool, all: bool) -> Result<ExitCode> {
    process::end_all_on_ctrl_c();
    let bar;
    let staircase = if go {
        let servers = GoServers::build()?;
        bar = progress(staircase::cells(), "examining six Go servers");
        servers.staircase(|| bar.inc(1))
    } else {
        let program = std::env::current_exe().context("cannot find this program to start the steps")?;
        bar = progress(staircase::cells(), "examining six servers");
        staircase::run(&program, || bar.inc(1))
    };
    let elapsed = bar.elapsed();
    bar.finish_and_clear();
    if json {
        print_json(&staircase);
    } else {
        draw(&staircase, go, all, elapsed);
    }
    Ok(if staircase.surprises.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn draw(staircase: &Staircase, go: bool, all: bool, elapsed: Duration) {
    let language = if go { " in Go" } else { "" };
    println!("{BOLD}TCP Pitfalls{BOLD:#}: six servers{language}, each avoids one more pitfall than the one before\n");
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
    println!("\n{}", screen::paragraph(staircase::LEGEND, 0));
    print!("{}", staircase.table(all));
    let others = staircase.others().len();
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
        let skipped = STEPS.iter().zip(&row.findings).filter(|(_, finding)| finding.verdict == Verdict::Skipped);
        let mut steps: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (step, finding) in skipped {
            steps.entry(&finding.evidence.sentence).or_default().push(step);
        }
        for (why, steps) in steps {
            let on = if steps.len() == STEPS.len() { "all steps".into() } else { steps.join(", ") };
            reasons.entry(why).or_default().entry(on).or_default().push(row.name);
        }
    }
    let told = reasons.iter().flat_map(|(why, steps)| steps.iter().map(move |(on, probes)| (why, on, probes)));
    told.map(|(why, on, probes)| screen::paragraph(&format!("{} on {on}: {why}", probes.join(", ")), 2)).collect()
}
