//! `tcp-pitfalls list`: the probes.

use anstream::println;
use tcp_pitfalls::probes;
use tcp_pitfalls::show::screen::{self, BOLD};
use tcp_pitfalls::staircase::STEPS;

/// Prints each probe and what it does, by chapter.
pub(crate) fn run() {
    let mut chapter = 0;
    for probe in probes::all() {
        if probe.chapter != chapter {
            chapter = probe.chapter;
            println!("{BOLD}{}{BOLD:#}", STEPS[usize::from(chapter) - 1]);
        }
        for (index, line) in screen::wrap(probe.does, screen::width() - 23).iter().enumerate() {
            println!("  {:19}  {line}", if index == 0 { probe.name } else { "" });
        }
    }
}
