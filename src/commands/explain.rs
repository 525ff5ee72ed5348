//! `tcp-pitfalls explain`: one probe.

use tcp_pitfalls::probes::{self, Probe};
use tcp_pitfalls::show::screen::{self, BOLD, COMMAND, DIM, print, println};
use tcp_pitfalls::staircase::STEPS;

use super::{PAGE, probe_name};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The probe
    #[arg(value_parser = probe_name)]
    name: String,
}

/// Prints what the probe does, and how to mend a server that falls.
pub(crate) fn run(arguments: &Arguments) {
    let Some(probe) = probes::find(&arguments.name) else { return };
    let Probe { name, chapter, does, remedy, .. } = probe;
    let step = STEPS[usize::from(*chapter) - 1];
    println!("{BOLD}{name}{BOLD:#} (chapter {chapter})\n");
    print!("{}", screen::paragraph(&format!("{does}."), 2));
    if let Some(remedy) = remedy {
        print!("{}", screen::paragraph(&format!("To mend a server that falls: {remedy}."), 2));
    }
    print!("{}", screen::paragraph(&format!("It needs {}.", probe.needs.in_words()), 2));
    println!("\n  {DIM}Its chapter:{DIM:#} {COMMAND}cargo run --bin {step}{COMMAND:#}");
    println!("  {DIM}In the book:{DIM:#} \"{PAGE}\", {name}");
}
