//! `tcp-pitfalls list`: the probes.

use tcp_pitfalls::probes;
use tcp_pitfalls::show::screen::{self, BOLD, print, println};
use tcp_pitfalls::staircase::STEPS;

/// Prints each probe and what it does, by chapter.
pub(crate) fn run() {
    let mut chapter = 0;
    for probe in probes::all() {
        if probe.chapter != chapter {
            chapter = probe.chapter;
            println!("{BOLD}{}{BOLD:#}", STEPS[usize::from(chapter) - 1]);
        }
        print!("{}", screen::hanging(&format!("  {}", probe.name), 23, probe.does));
    }
}
