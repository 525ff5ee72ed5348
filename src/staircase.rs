//! The map of the course: every probe on every step's server.
//!
//! Step N holds against every probe of the chapters 1 to N, and still falls into the headline probe of each later
//! chapter. A pitfall that doesn't spring is as much a failure as a cure that doesn't hold.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anstyle::Style;
use serde::Serialize;

use crate::examination::{self, Job};
use crate::lab::server::Target;
use crate::probes::Verdict::{Falls, Holds, Skipped};
use crate::probes::{self, Finding, Probe, Terms, Verdict};
use crate::show::screen::{self, BOLD};

/// The names of the steps, which are those of their binaries.
pub const STEPS: [&str; 6] = [
    "01_listen",
    "02_accept_blocking",
    "03_thread_per_conn",
    "04_partial_read_write",
    "05_bufread_lines",
    "06_graceful_shutdown",
];

/// For each chapter, the probe that every earlier step falls into.
pub const HEADLINES: [&str; 6] =
    ["every-interface", "next-client", "idle-client", "split-message", "endless-line", "finishes-line"];

/// How many cells are examined at the same time.
const AT_ONCE: usize = 8;

/// What each probe says of the six steps, where it isn't skipped.
///
/// Left of the first `Holds` of its chapter a probe need not fall; where it doesn't, the reason stands beside it.
pub const EXPECTED: &[(&str, [Verdict; 6])] = &[
    // `listen` is step 1's, and all later steps use it.
    ("bare-port", [Holds; 6]),
    ("every-interface", [Holds; 6]),
    ("port-taken", [Holds; 6]),
    ("restart", [Holds; 6]),
    ("next-client", [Falls, Holds, Holds, Holds, Holds, Holds]),
    ("reset-before-accept", [Falls, Holds, Holds, Holds, Holds, Holds]),
    ("idle-client", [Falls, Falls, Holds, Holds, Holds, Holds]),
    ("crowd", [Falls, Falls, Holds, Holds, Holds, Holds]),
    // Step 2 has one client at a time, so it never runs out of descriptors and keeps nothing.
    ("out-of-descriptors", [Falls, Holds, Holds, Holds, Holds, Holds]),
    ("no-leak", [Falls, Holds, Holds, Holds, Holds, Holds]),
    ("split-message", [Falls, Falls, Falls, Holds, Holds, Holds]),
    ("joined-messages", [Falls, Falls, Falls, Holds, Holds, Holds]),
    ("every-byte", [Falls, Falls, Falls, Holds, Holds, Holds]),
    // One line, one read, and the handler's end closes the connection: enough for this, by luck.
    ("half-close", [Holds; 6]),
    ("prompt-answer", [Falls, Falls, Falls, Holds, Holds, Holds]),
    ("endless-line", [Falls, Falls, Falls, Falls, Holds, Holds]),
    ("crlf", [Falls, Falls, Falls, Falls, Holds, Holds]),
    // Step 4 never takes bytes for text.
    ("not-utf8", [Falls, Falls, Falls, Holds, Holds, Holds]),
    // No step before 5 has a buffer in which an answer could be forgotten.
    ("withheld-answer", [Holds; 6]),
    // Step 4 keeps what is left of a read; what it lacks is the batching, which only makes it slower.
    ("pipelined-lines", [Falls, Falls, Falls, Holds, Holds, Holds]),
    ("refuses-after-stop", [Falls, Falls, Falls, Falls, Falls, Holds]),
    ("finishes-line", [Falls, Falls, Falls, Falls, Falls, Holds]),
    // The probe takes two clients at once, which the first two steps don't serve.
    ("closes-idle", [Skipped, Skipped, Falls, Falls, Falls, Holds]),
    ("stuck-client", [Falls, Falls, Falls, Falls, Falls, Holds]),
    ("clean-exit", [Falls, Falls, Falls, Falls, Falls, Holds]),
];

/// The table, from a run.
#[derive(Debug, Serialize)]
pub struct Staircase {
    /// The servers, from the first step to the last.
    pub steps: [&'static str; 6],
    /// A row for each probe.
    pub probes: Vec<Row>,
    /// What is not as the course says. Empty if the staircase stands.
    pub surprises: Vec<String>,
}

/// What one probe says of each step.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The probe.
    pub name: &'static str,
    /// The chapter whose step is the first to hold.
    pub chapter: u8,
    /// Whether all earlier steps fall.
    pub headline: bool,
    /// A finding for each step.
    pub findings: Vec<Finding>,
}

/// Runs the whole table and calls `done` after each of its `cells`. `program` is the `tcp-pitfalls` command, which also
/// starts the steps.
pub fn run(program: &Path, done: impl Fn() + Sync) -> Staircase {
    let targets: Vec<Target> = (1..=STEPS.len()).map(|step| step_server(program, step)).collect();
    examine(&targets, expected, done)
}

/// What a probe says of the six steps, where it isn't skipped.
fn expected(probe: &str) -> Option<[Verdict; 6]> {
    EXPECTED.iter().find_map(|(name, verdicts)| (*name == probe).then_some(*verdicts))
}

/// Runs every probe on a server for each step, and compares what they say with what the course expects.
pub(crate) fn examine(
    targets: &[Target],
    expected: impl Fn(&str) -> Option<[Verdict; 6]>,
    done: impl Fn() + Sync,
) -> Staircase {
    // All servers are started with this grace time, so that the last doesn't keep the reader waiting.
    let terms = Terms { grace: GRACE, ..Terms::default() };
    let probes: Vec<&'static Probe> = probes::all().collect();
    let jobs: Vec<Job<'_>> = probes
        .iter()
        .flat_map(|&probe| targets.iter().map(move |target| (probe, target)))
        .map(|(probe, target)| Job { probe, target, terms: &terms })
        .collect();
    let findings = examination::run(&jobs, AT_ONCE, done);
    let rows: Vec<Row> = probes
        .iter()
        .zip(findings.chunks(STEPS.len()))
        .map(|(probe, findings)| Row {
            name: probe.name,
            chapter: probe.chapter,
            headline: HEADLINES.contains(&probe.name),
            findings: findings.to_vec(),
        })
        .collect();
    let surprises = rows.iter().flat_map(|row| surprises(row, expected(row.name))).collect();
    Staircase { steps: STEPS, probes: rows, surprises }
}

impl Staircase {
    /// The table as text, at most 80 columns wide: a row for each probe, a column for each step.
    pub fn table(&self) -> String {
        let mut table = String::new();
        // `02_accept_blocking` stands as `02` over `accept`.
        let heads = self.steps.map(|step| step.splitn(3, '_').collect::<Vec<_>>());
        for part in 0..2 {
            let cells: String = heads.iter().map(|head| format!("{:9}", head[part])).collect();
            let _ = writeln!(table, "{:23}{BOLD}{}{BOLD:#}", "", cells.trim_end());
        }
        let mut chapter = 0;
        for row in &self.probes {
            let number = if row.chapter == chapter { " ".to_owned() } else { row.chapter.to_string() };
            chapter = row.chapter;
            let style = if row.headline { BOLD } else { Style::new() };
            let _ = write!(table, "{number}  {style}{:18}{style:#}", row.name);
            let _ = write!(table, "{}", if row.headline { "*" } else { " " });
            for finding in &row.findings {
                let word = match finding.verdict {
                    Falls => "FALLS",
                    Skipped => "-",
                    other => other.word(),
                };
                let style = screen::verdict(finding.verdict);
                let _ = write!(table, " {style}{word}{style:#}{:gap$}", "", gap = 8 - word.len());
            }
            table.truncate(table.trim_end().len());
            table.push('\n');
        }
        table
    }
}

/// What the table shows, for people.
pub const LEGEND: &str = "Each row is a probe: a hostile but fair client that looks for one pitfall. Each column is the \
                          server of one step, which withstands every probe of its own chapter and of those before. A * \
                          marks the probe of a chapter that every earlier step falls into.";

/// How many cells the table has.
pub fn cells() -> usize {
    probes::all().count() * STEPS.len()
}

/// How long a server of the table may take to stop.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// A step's server as a command: `tcp-pitfalls step N {addr}`.
fn step_server(program: &Path, step: usize) -> Target {
    let mut command = vec![program.to_string_lossy().into_owned(), "step".into(), step.to_string(), "{addr}".into()];
    if step == STEPS.len() {
        command.push(format!("--grace={}", GRACE.as_secs()));
    }
    Target::Command(command.into())
}

fn surprises(row: &Row, expected: Option<[Verdict; 6]>) -> Vec<String> {
    let Some(expected) = expected else {
        return vec![format!("{}: the course does not say what this probe finds", row.name)];
    };
    let cells = STEPS.iter().zip(&row.findings).zip(expected);
    cells
        .filter(|((_, finding), expected)| {
            // What is skipped where it should not be has a reason that belongs to this system.
            let system = finding.verdict == Skipped && !cfg!(target_os = "linux");
            !system && finding.verdict != *expected
        })
        .map(|((step, finding), expected)| {
            let (found, expected) = (finding.verdict.word(), expected.word());
            format!("{step} {found} at {}, where it {expected} in the course: {}", row.name, finding.evidence)
        })
        .collect()
}
