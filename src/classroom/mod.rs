//! The classroom: exercises, and the checks that grade them.
//!
//! A check is a probe for the protocol of its exercise. It drives the server over TCP, so a solution in any language
//! counts, and a student who changes a test file changes nothing.

mod ex1_door;
mod ex2_tickets;
mod ex3_seats;
mod ex4_parcels;
mod ex5_switchboard;
mod ex6_closing;
mod ex7_chat;
mod ex8_clerk;
mod full_hands;
mod kit;
mod model;

use std::time::Duration;

use crate::probes::{Judged, Needs, Probe, Terms, Trial};

/// One broken server that is to be mended.
pub struct Exercise {
    /// Its chapter, such as `04`, or `capstone`.
    pub id: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// Where it stands, from the root of the repository.
    pub folder: &'static str,
    /// What its server has to withstand, in the order in which a student should go about it.
    pub checks: &'static [Check],
}

/// One thing that the server of an exercise has to do.
pub struct Check {
    /// Its kebab-case name.
    pub name: &'static str,
    /// What it does and what it expects, in a sentence.
    pub does: &'static str,
    /// What it needs.
    pub needs: Needs,
    /// Why it matters, in a sentence.
    pub why: &'static str,
    /// Where in the book it is explained: a page and its anchor, such as `04_partial_read_write.html#why`.
    pub page: &'static str,
    /// What it counts.
    pub points: u32,
    /// Whether the starter falls into it, so that there is something to mend.
    pub starter_falls: bool,
    examine: fn(&Trial<'_>) -> Judged,
}

impl Check {
    /// How it is examined. It has no remedy: how to mend the server is for the student to find out.
    pub fn probe(&self) -> Probe {
        let &Check { name, does, needs, examine, .. } = self;
        // Of all chapters' probes, this is none.
        Probe { name, chapter: 0, does, remedy: None, needs, runs_alone: false, examine }
    }
}

/// What is agreed with the server of a student. An answer may take 5 s, half of what other probes give: of a server that
/// hangs, all checks of an exercise shall end in 15 s. The same seed makes the same random conversations.
pub fn terms(seed: u64) -> Terms {
    Terms { limit: Duration::from_secs(5), seed: Some(seed), ..Terms::default() }
}

/// All exercises, in the order in which they are best done: those of the six steps, the capstone, and what lies beyond.
pub static ALL: &[Exercise] = &[
    ex1_door::EXERCISE,
    ex2_tickets::EXERCISE,
    ex3_seats::EXERCISE,
    ex4_parcels::EXERCISE,
    ex5_switchboard::EXERCISE,
    ex6_closing::EXERCISE,
    ex7_chat::EXERCISE,
    ex8_clerk::EXERCISE,
];

/// The exercise with this name: `4`, `04` or `capstone`.
pub fn find(name: &str) -> Option<&'static Exercise> {
    ALL.iter().find(|exercise| exercise.id == name || exercise.id.strip_prefix('0') == Some(name))
}
