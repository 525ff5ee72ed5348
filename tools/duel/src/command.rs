//! The command line.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anstream::adapter::strip_str;
use anstream::{eprintln, print};
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use tcp_pitfalls::lab::process::end_all_on_ctrl_c;
use tcp_pitfalls::show::screen::{BOLD, report};
use tcp_pitfalls::steps::Step;

use crate::contestants::{self, Contestant, GO, STEP_6, YOURS};
use crate::duel::{self, Plan};
use crate::{chart, cost, serve, table};

/// Measure the course's servers against one in Go and against other designs
///
/// Every server does the same work over loopback, in turn, in several rounds. Client and server share one processor
/// core. Every byte of every answer is checked.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    measure: Measure,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Measure {
    /// How often everything is measured [default: 7, or 3 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// End within a minute, and tell less surely
    #[arg(long)]
    quick: bool,
    /// Leave it to the system on which cores client and servers run
    #[arg(long)]
    unpinned: bool,
    /// Measure only the servers whose name contains this, beside Go (or step 6) and your own; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Measure only the work whose name contains this, such as `ping-pong`, `short` or `descriptors`; may be given several times
    #[arg(long, value_name = "NAME")]
    work: Vec<String>,
    /// Also write it down in this directory: the table, all that was measured as JSON, and charts. Refuses a machine of which
    /// other programs take more than a tenth
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Record on a busy machine as well, which the table then says
    #[arg(long, requires = "record")]
    busy: bool,
    /// A server of your own to measure beside, with {addr} where its address belongs
    #[arg(last = true, value_name = "COMMAND")]
    yours: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Run one of the servers
    #[command(hide = true, subcommand)]
    Serve(Serve),
}

#[derive(Subcommand)]
enum Serve {
    #[command(subcommand)]
    Step(Step),
    Raw {
        addr: String,
    },
    Tokio {
        addr: String,
    },
    Epoll {
        addr: String,
    },
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        None => measure(&arguments.measure),
        Some(Command::Serve(Serve::Step(step))) => step.run(),
        Some(Command::Serve(Serve::Raw { addr })) => serve::raw::run(&addr),
        Some(Command::Serve(Serve::Tokio { addr })) => serve::tokio::run(&addr),
        Some(Command::Serve(Serve::Epoll { addr })) => serve::epoll::run(&addr),
    };
    report(done)
}

fn measure(arguments: &Measure) -> Result<()> {
    ensure!(
        !cfg!(debug_assertions),
        "a debug build tells nothing about speed. Run `cargo duel`, which builds for release"
    );
    end_all_on_ctrl_c(|| ());
    let (mut contestants, go) = contestants::all(&arguments.yours)?;
    if let Err(why) = &go {
        eprintln!("{BOLD}note:{BOLD:#} {why}. Ratios are to step 6.");
    }
    if !arguments.only.is_empty() {
        let asked_for = |one: &&Contestant| arguments.only.iter().any(|name| one.name.contains(name.as_str()));
        if contestants.iter().find(asked_for).is_none() {
            bail!("no server has a name that contains what --only says");
        }
        // What the others are compared with is measured in any case.
        let base = if go.is_ok() { GO } else { STEP_6 };
        contestants.retain(|one| one.name == base || one.name == YOURS || asked_for(&one));
    }
    // Before any client is connected or server started: they inherit both.
    cost::raise_descriptor_limit()?;
    let pinned_to = if arguments.unpinned { None } else { cost::pin() };
    let plan = Plan {
        rounds: arguments.rounds.unwrap_or(if arguments.quick { 3 } else { 7 }),
        idle_rounds: if arguments.quick { 1 } else { 3 },
        quick: arguments.quick,
        work: arguments.work.clone(),
        talk_for: Duration::from_millis(if arguments.quick { 25 } else { 300 }),
        only_if_quiet: arguments.record.is_some() && !arguments.busy,
    };
    let results = duel::run(&contestants, &plan, pinned_to, go.ok())?;
    let table = table::draw(&results);
    print!("{table}");
    if let Some(dir) = &arguments.record {
        fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
        let json = serde_json::to_string_pretty(&results).context("cannot write the results as JSON")? + "\n";
        for (name, text) in [("table.txt", strip_str(&table).to_string()), ("results.json", json)] {
            fs::write(dir.join(name), text).with_context(|| format!("cannot write {name} in {}", dir.display()))?;
        }
        chart::draw_all(&results, dir)?;
    }
    Ok(())
}
