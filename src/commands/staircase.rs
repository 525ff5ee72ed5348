//! `tcp-pitfalls` alone: the staircase.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anstream::{eprintln, print, println};
use anyhow::{Context, Result};
use tcp_pitfalls::go::GoServers;
use tcp_pitfalls::lab::process;
use tcp_pitfalls::probes::Verdict;
use tcp_pitfalls::show::screen::{self, BAD, BOLD, COMMAND, GOOD, progress};
use tcp_pitfalls::staircase::{self, STEPS, Staircase};

use super::print_json;

/// Examines all steps with all probes, and prints the table.
pub(crate) fn run(go: bool, json: bool) -> Result<ExitCode> {
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
        draw(&staircase, go, elapsed);
    }
    Ok(if staircase.surprises.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn draw(staircase: &Staircase, go: bool, elapsed: Duration) {
    let language = if go { " in Go" } else { "" };
    println!("{BOLD}TCP Pitfalls{BOLD:#}: six servers{language}, each avoids one more pitfall than the one before\n");
    print!("{}", staircase.table());
    println!("\n{}", screen::paragraph(staircase::LEGEND, 0));
    let findings = staircase.probes.iter().flat_map(|row| &row.findings);
    let (skipped, verdicts): (Vec<_>, Vec<_>) = findings.partition(|finding| finding.verdict == Verdict::Skipped);
    if !skipped.is_empty() {
        println!("- is for a probe that was skipped:");
        print!("{}", reasons(staircase));
        println!();
    }
    if staircase.surprises.is_empty() {
        let count = verdicts.len();
        println!("{GOOD}All {count} verdicts are as the course says{GOOD:#} ({:.0} s).\n", elapsed.as_secs_f32());
    }
    for surprise in &staircase.surprises {
        eprintln!("{BAD}not as the course says:{BAD:#} {surprise}");
    }
    for (what, command) in [
        ("Begin here", "cargo run --bin 01_listen"),
        ("What a probe does", "cargo run -- explain idle-client"),
        ("A server of your own", "cargo run -- probe -- python3 my_server.py {addr}"),
    ] {
        println!("{what:22}{COMMAND}{command}{COMMAND:#}");
    }
}

/// Why probes were skipped, once for all steps that it is true of.
fn reasons(staircase: &Staircase) -> String {
    let mut reasons: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for row in &staircase.probes {
        for (step, finding) in STEPS.iter().zip(&row.findings) {
            if finding.verdict == Verdict::Skipped {
                reasons.entry((row.name, &finding.evidence.sentence)).or_default().push(step);
            }
        }
    }
    let reason = |((probe, why), steps): ((&str, &str), Vec<&str>)| {
        let on = if steps.len() == STEPS.len() { "all steps".into() } else { steps.join(", ") };
        screen::paragraph(&format!("{probe} on {on}: {why}"), 2)
    };
    reasons.into_iter().map(reason).collect()
}
