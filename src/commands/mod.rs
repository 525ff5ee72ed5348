//! The subcommands, a file for each. `tcp-pitfalls step` has none: `tcp_pitfalls::steps` runs the servers.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod explain;
pub(crate) mod list;
pub(crate) mod probe;
pub(crate) mod staircase;

use anstream::{eprintln, println};
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use tcp_pitfalls::probes;
use tcp_pitfalls::show::screen::BAD;

/// The page of the book that has a heading for every probe, its name. tests/probe_pages.rs sees to that.
const PAGE: &str = "Probe your own server";

fn probe_names() -> PossibleValuesParser {
    PossibleValuesParser::new(probes::all().map(|probe| probe.name))
}

fn print_json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("{BAD}error:{BAD:#} cannot write the result as JSON: {error}"),
    }
}
