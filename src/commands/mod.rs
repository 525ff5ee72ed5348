//! The subcommands, a file for each. `tcp-pitfalls step` has none: `tcp_pitfalls::steps` runs the servers.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod explain;
mod junit;
pub(crate) mod list;
pub(crate) mod probe;
pub(crate) mod staircase;

use serde::Serialize;
use tcp_pitfalls::probes;
use tcp_pitfalls::show::screen::{BAD, eprintln, println};

/// The page of the book that has a heading for every probe, its name. `cargo book check` sees to that.
const PAGE: &str = "Probe your own server";

/// The name of a probe.
///
/// # Errors
/// A sentence with the name that is most like it.
fn probe_name(typed: &str) -> Result<String, String> {
    const ALIKE: f64 = 0.8;
    if probes::find(typed).is_some() {
        return Ok(typed.to_owned());
    }
    let alike = probes::all().map(|probe| (strsim::jaro(typed, probe.name), probe.name));
    let best = alike.filter(|(alike, _)| *alike > ALIKE).max_by(|(one, _), (other, _)| one.total_cmp(other));
    let tip = best.map(|(_, name)| format!(" Did you mean {name}?")).unwrap_or_default();
    Err(format!("no probe has that name.{tip} All names: tcp-pitfalls list"))
}

/// What makes a word with this number a plural.
fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn print_json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("{BAD}error:{BAD:#} cannot write the result as JSON: {error}"),
    }
}
