//! `cargo run`: the staircase, and probes for servers of your own.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use commands::staircase::Servers;
use commands::{bench, check, explain, list, probe, staircase};
use tcp_pitfalls::show::screen::{failure, report};
use tcp_pitfalls::steps::Step;

/// How TCP servers really break: six steps, each pitfall sprung and disarmed
///
/// Without a command, it examines the servers of all six steps with every probe and prints the staircase. Status 0 if
/// it is as the course says.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags of a command line")]
struct Arguments {
    /// Print the staircase as JSON, evidence included
    #[arg(long)]
    json: bool,
    /// Show the probes as well that say the same of all steps
    #[arg(long, conflicts_with = "json")]
    all: bool,
    /// Examine the Go servers of the chapters instead; needs `go`
    #[arg(long)]
    go: bool,
    /// Examine the steps beyond the six instead, beside step 6
    #[arg(long, conflicts_with = "go")]
    beyond: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Probe(Box<probe::Arguments>),
    /// List the probes
    List,
    /// Say what a probe does, and how to mend a server that falls
    Explain(explain::Arguments),
    Check(check::CheckArguments),
    Reset(check::ResetArguments),
    Bench(bench::Arguments),
    /// Run the server of a step
    #[command(hide = true, subcommand)]
    Step(Step),
}

fn main() -> ExitCode {
    let unable = |error| failure(&error, 2);
    let arguments = match probe::expanded(std::env::args_os()) {
        Ok(arguments) => Arguments::parse_from(arguments),
        Err(error) => return unable(error),
    };
    match arguments.command {
        None => {
            let servers = match arguments {
                Arguments { go: true, .. } => Servers::Go,
                Arguments { beyond: true, .. } => Servers::Beyond,
                _ => Servers::Six,
            };
            staircase::run(servers, arguments.json, arguments.all).unwrap_or_else(|error| failure(&error, 1))
        }
        Some(Command::Probe(arguments)) => probe::run(&arguments).unwrap_or_else(unable),
        Some(Command::List) => {
            list::run();
            ExitCode::SUCCESS
        }
        Some(Command::Explain(arguments)) => {
            explain::run(&arguments);
            ExitCode::SUCCESS
        }
        Some(Command::Check(arguments)) => check::check(&arguments).unwrap_or_else(unable),
        Some(Command::Reset(arguments)) => check::reset(&arguments).unwrap_or_else(unable),
        Some(Command::Bench(arguments)) => report(bench::run(&arguments)),
        Some(Command::Step(step)) => report(step.run()),
    }
}
