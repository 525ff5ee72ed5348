//! A chapter's program: `03_thread_per_conn` demonstrates, and `03_thread_per_conn serve` is a server.

use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::demo::{Demonstration, Show, demonstrate};
use crate::show::screen::report;
use crate::steps::{Serve, Step};

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments<O: Args, P: ValueEnum + Send + Sync + 'static> {
    #[command(flatten)]
    show: Show,
    #[command(subcommand)]
    command: Option<Command<O, P>>,
}

#[derive(Subcommand)]
enum Command<O: Args, P: ValueEnum + Send + Sync + 'static> {
    /// Run this step's server, or with --pitfall its broken twin, to try by hand
    Serve(Serve<O, P>),
}

/// The whole of a chapter's program: shows the demonstration, or serves.
pub fn main<O, P>(
    name: &'static str,
    about: &'static str,
    step: fn(Serve<O, P>) -> Step,
    demonstration: fn() -> Demonstration,
) -> ExitCode
where
    O: Args,
    P: ValueEnum + Send + Sync + 'static,
{
    let more = "Without a command, it demonstrates: it springs each pitfall of the chapter on a broken server, and shows \
                that the server of this step withstands it. What this system can't show is \
                skipped, and says why. Status 0 if every other pitfall sprang and every other cure held.";
    let command =
        Arguments::<O, P>::command().name(name).bin_name(name).about(about).long_about(format!("{about}\n\n{more}"));
    let parsed = command.try_get_matches().and_then(|matches| Arguments::<O, P>::from_arg_matches(&matches));
    match parsed {
        Err(error) => error.exit(),
        Ok(Arguments { command: Some(Command::Serve(serve)), .. }) => report(step(serve).run()),
        Ok(Arguments { command: None, show }) => demonstrate(name, demonstration(), &show),
    }
}
