//! The map of the course: every probe on every step's server.
//!
//! Step N holds against every probe of the chapters 1 to N, and still falls into the headline probe of each later
//! chapter. A pitfall that doesn't spring is as much a failure as a cure that doesn't hold.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anstyle::Style;
use serde::{Deserialize, Serialize};

use crate::examination::{self, Job};
use crate::lab::server::Target;
use crate::probes::Verdict::{Falls, Holds, Note, Skipped};
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

/// The steps beyond the article, which go on from the last of the six. The last needs the feature `async`.
pub const BEYOND: &[&str] = if cfg!(feature = "async") {
    &["07_thread_pool", "08_deadlines", "09_async"]
} else {
    &["07_thread_pool", "08_deadlines"]
};

/// What the three probes of deadlines say of the last of the six steps and of those beyond, with a deadline claimed. By
/// every other probe, all of them are judged as step 6 is.
pub const DEADLINES: [(&str, [Verdict; 4]); 3] = [
    ("slow-reader", [Falls, Falls, Holds, Holds]),
    ("slow-line", [Falls, Falls, Holds, Holds]),
    ("idle-limit", [Falls, Falls, Holds, Holds]),
];

/// How many cells are examined at the same time.
const AT_ONCE: usize = 24;

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
    // Step 1 doesn't serve a second client at all, which is the pitfall of next-client alone.
    ("reset-before-accept", [Skipped, Holds, Holds, Holds, Holds, Holds]),
    ("leaves-unread", [Skipped, Holds, Holds, Holds, Holds, Holds]),
    ("idle-client", [Falls, Falls, Holds, Holds, Holds, Holds]),
    ("crowd", [Skipped, Falls, Holds, Holds, Holds, Holds]),
    // Step 2 has one client at a time, so it never runs out of descriptors and keeps nothing.
    ("out-of-descriptors", [Skipped, Holds, Holds, Holds, Holds, Holds]),
    ("back-after-quiet", [Skipped, Holds, Holds, Holds, Holds, Holds]),
    ("no-leak", [Skipped, Holds, Holds, Holds, Holds, Holds]),
    ("split-message", [Falls, Falls, Falls, Holds, Holds, Holds]),
    ("joined-messages", [Falls, Falls, Falls, Holds, Holds, Holds]),
    // Where joined lines get one answer already, nothing can be said of lost bytes.
    ("every-byte", [Skipped, Skipped, Skipped, Holds, Holds, Holds]),
    // One line, one read, and the handler's end closes the connection: enough for this, by luck.
    ("half-close", [Holds; 6]),
    // Step 1 gives one answer for each connection.
    ("prompt-answer", [Skipped, Falls, Falls, Holds, Holds, Holds]),
    // No step takes more than the end off a line; those before 4 go wrong with plain ones already.
    ("any-bytes", [Skipped, Skipped, Skipped, Holds, Holds, Holds]),
    ("endless-line", [Falls, Falls, Falls, Falls, Holds, Holds]),
    ("crlf", [Falls, Falls, Falls, Falls, Holds, Holds]),
    // Step 4 never takes bytes for text.
    ("not-utf8", [Falls, Falls, Falls, Holds, Holds, Holds]),
    // No step before 5 has a buffer in which an answer could be forgotten.
    ("withheld-answer", [Holds; 6]),
    // Step 4 keeps what is left of a read; what it lacks is the batching, which only makes it slower.
    ("pipelined-lines", [Skipped, Falls, Falls, Holds, Holds, Holds]),
    // Beside a silent client the first two steps serve nobody. All others wait in `write` for a client that doesn't read.
    ("deaf-client", [Skipped, Skipped, Holds, Holds, Holds, Holds]),
    // None of them has a deadline, and none is claimed.
    ("slow-reader", [Skipped, Note, Note, Note, Note, Note]),
    ("slow-line", [Note; 6]),
    ("idle-limit", [Skipped, Note, Note, Note, Note, Note]),
    // Step 1 ends by itself, after its only client.
    ("stops-when-quiet", [Falls, Holds, Holds, Holds, Holds, Holds]),
    ("refuses-after-stop", [Falls, Falls, Falls, Falls, Falls, Holds]),
    // After its only client step 1 has ended.
    ("serves-queue", [Skipped, Falls, Falls, Falls, Falls, Holds]),
    // The first three don't answer so many lines at once in the first place.
    ("unread-answer-at-stop", [Skipped, Skipped, Skipped, Falls, Falls, Holds]),
    ("finishes-line", [Falls, Falls, Falls, Falls, Falls, Holds]),
    // For dialogues with a slow request, which the course's has not.
    ("finishes-answer", [Skipped; 6]),
    ("half-close-while-working", [Skipped; 6]),
    ("queued-requests", [Skipped; 6]),
    // The probe takes three clients at once, which the first two steps don't serve.
    ("closes-idle", [Skipped, Skipped, Falls, Falls, Falls, Holds]),
    ("stuck-client", [Falls, Falls, Falls, Falls, Falls, Holds]),
    ("clean-exit", [Falls, Falls, Falls, Falls, Falls, Holds]),
];

/// The table, from a run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Staircase {
    /// The servers, from the first step to the last.
    pub steps: Vec<String>,
    /// A row for each probe.
    pub probes: Vec<Row>,
    /// What is not as the course says. Empty if the staircase stands.
    pub surprises: Vec<String>,
}

/// What one probe says of each step.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// The probe.
    pub name: String,
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
    let targets: Vec<Target> = (1..=STEPS.len()).map(|step| step_server(program, step, FAR)).collect();
    let terms = terms();
    examine(&STEPS, |_| (&targets, &terms), expected, done)
}

/// Runs the table of step 6 and the steps beyond it in the same way.
pub fn run_beyond(program: &Path, done: impl Fn() + Sync) -> Staircase {
    let first = STEPS.len();
    let steps: Vec<&str> = [STEPS[first - 1]].iter().chain(BEYOND).copied().collect();
    let servers =
        |deadline| (first..).take(steps.len()).map(|step| step_server(program, step, deadline)).collect::<Vec<_>>();
    let (patient, strict) = (servers(FAR), servers(DEADLINE));
    let (terms, with_deadline) = (terms(), Terms { deadline: Some(DEADLINE), ..terms() });
    let of_deadlines = |probe: &Probe| DEADLINES.iter().any(|(name, _)| *name == probe.name);
    // Clients of other probes may be slow on a busy machine.
    let examined = |probe: &Probe| if of_deadlines(probe) { (&*strict, &with_deadline) } else { (&*patient, &terms) };
    examine(&steps, examined, expected_beyond, done)
}

/// What a probe says of the six steps, where it isn't skipped.
fn expected(probe: &str) -> Option<Vec<Verdict>> {
    EXPECTED.iter().find_map(|(name, verdicts)| (*name == probe).then_some(verdicts.to_vec()))
}

/// What a probe says of step 6 and of those beyond it.
fn expected_beyond(probe: &str) -> Option<Vec<Verdict>> {
    let steps = 1 + BEYOND.len();
    let of_deadlines =
        DEADLINES.iter().find_map(|(name, verdicts)| (*name == probe).then(|| verdicts[..steps].to_vec()));
    of_deadlines.or_else(|| Some(vec![*expected(probe)?.last()?; steps]))
}

/// What is agreed with the servers of a table. All are started with this grace time, so that the last doesn't keep the
/// reader waiting.
pub(crate) fn terms() -> Terms {
    Terms { grace: GRACE, ..Terms::default() }
}

/// Runs every probe on a server for each step, and compares what they say with what the course expects.
pub(crate) fn examine<'a>(
    steps: &[&str],
    examined: impl Fn(&Probe) -> (&'a [Target], &'a Terms),
    expected: impl Fn(&str) -> Option<Vec<Verdict>>,
    done: impl Fn() + Sync,
) -> Staircase {
    let probes: Vec<&'static Probe> = probes::all().collect();
    let jobs: Vec<Job<'_>> = probes
        .iter()
        .flat_map(|&probe| {
            let (targets, terms) = examined(probe);
            targets.iter().map(move |target| Job { probe, target, terms })
        })
        .collect();
    let findings = examination::run(&jobs, AT_ONCE, done);
    let rows: Vec<Row> = probes
        .iter()
        .zip(findings.chunks(steps.len()))
        .map(|(probe, findings)| Row {
            name: probe.name.to_owned(),
            chapter: probe.chapter,
            // Those are of the six: beyond them, each step holds.
            headline: steps == STEPS && HEADLINES.contains(&probe.name),
            findings: findings.to_vec(),
        })
        .collect();
    let surprises = rows.iter().flat_map(|row| surprises(steps, row, expected(&row.name))).collect();
    Staircase { steps: steps.iter().map(|&step| step.to_owned()).collect(), probes: rows, surprises }
}

impl Row {
    /// Whether the probe tells the steps apart. A headline probe of the six stays in any case.
    pub fn differs(&self) -> bool {
        self.headline || self.findings.iter().any(|finding| finding.verdict != self.findings[0].verdict)
    }
}

impl Staircase {
    /// The table as text, in two halves side by side: a column for each step, and a row for each probe, or only for those
    /// of which the steps differ. It has at most 80 columns, and without `all` it fits a terminal of 24 lines.
    pub fn table(&self, all: bool) -> String {
        let rows: Vec<&Row> = self.probes.iter().filter(|row| all || row.differs()).collect();
        let (left, right) = rows.split_at(rows.len().div_ceil(2));
        let numbers: Vec<String> = self.steps.iter().map(|step| number(step).to_string()).collect();
        let head = format!("{:25}{BOLD}{}{BOLD:#}", "", numbers.join(" "));
        let mut right = half(right).into_iter();
        let mut table = format!("{head}    {head}\n");
        for row in half(left) {
            let beside = right.next().map_or_else(String::new, |row| format!("    {row}"));
            let _ = writeln!(table, "{row}{beside}");
        }
        table
    }
}

/// The number of a step, by which it goes where a name is too long: 4 for `04_partial_read_write`.
pub fn number(step: &str) -> usize {
    step.split('_').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Rows in lines of 36 columns, each first of its chapter with the chapter's number.
fn half(rows: &[&Row]) -> Vec<String> {
    let mut chapter = 0;
    let line = |row: &&Row| {
        let number = if row.chapter == chapter { " ".to_owned() } else { row.chapter.to_string() };
        chapter = row.chapter;
        let (style, star) = if row.headline { (BOLD, "*") } else { (Style::new(), " ") };
        let cells: Vec<String> = row.findings.iter().map(|finding| cell(finding.verdict)).collect();
        format!("{number} {style}{:21}{style:#}{star} {}", row.name, cells.join(" "))
    };
    rows.iter().map(line).collect()
}

/// A verdict as one letter.
fn cell(verdict: Verdict) -> String {
    let letter = match verdict {
        Falls => "F",
        Holds => ".",
        Verdict::Differs => "d",
        Verdict::Note => "n",
        Skipped => "-",
    };
    let style = screen::verdict(verdict);
    format!("{style}{letter}{style:#}")
}

/// What the table shows, for people.
pub const LEGEND: &str = "Each row is a probe: a hostile but fair client that looks for one pitfall. Each column is the \
                          server of a step: 1 listen, 2 accept, 3 thread, 4 partial, 5 bufread, 6 graceful. F: it falls \
                          (d: it differs). A dot: it holds, as it must from the probe's own chapter on. A dash: skipped. \
                          *: every earlier step falls.";

/// The same of the table of the steps beyond.
pub const LEGEND_BEYOND: &str = "Each row is a probe; those of deadlines are told that no client may be slow for 2 s. Each column is \
                                 the server of a step: 6 graceful, 7 pool, 8 deadlines, and with --features async 9 async. F: it falls. A dot: it holds.";

/// How many cells a table of so many steps has.
pub fn cells(steps: usize) -> usize {
    probes::all().count() * steps
}

/// How long a server of the table may take to stop.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// How long a server beyond the six may let a client be slow.
const DEADLINE: Duration = Duration::from_secs(2);
/// The same where that is not what is examined.
const FAR: Duration = Duration::from_secs(60);

/// A step's server as a command: `tcp-pitfalls step N {addr}`, with this deadline where the step has one.
fn step_server(program: &Path, step: usize, deadline: Duration) -> Target {
    let mut command = vec![program.to_string_lossy().into_owned(), "step".into(), step.to_string(), "{addr}".into()];
    if step >= STEPS.len() {
        command.push(format!("--grace={}", GRACE.as_secs()));
    }
    if step > STEPS.len() + 1 {
        command.extend(["line", "idle", "write"].map(|what| format!("--{what}-time={}", deadline.as_secs())));
    }
    Target::Command(command.into())
}

fn surprises(steps: &[&str], row: &Row, expected: Option<Vec<Verdict>>) -> Vec<String> {
    let Some(expected) = expected else {
        return vec![format!("{}: the course does not say what this probe finds", row.name)];
    };
    let cells = steps.iter().zip(&row.findings).zip(expected);
    cells
        .filter(|((_, finding), expected)| {
            // What is skipped where it should not be has a reason that belongs to this system.
            let system = finding.verdict == Skipped && !cfg!(target_os = "linux");
            // A figure is no verdict. That it could be had of a server that is about to end is chance.
            let figure = [finding.verdict, *expected].iter().all(|one| matches!(one, Note | Skipped));
            !system && !figure && finding.verdict != *expected
        })
        .map(|((step, finding), expected)| {
            let (found, expected) = (finding.verdict.word(), expected.word());
            format!("{step} {found} at {}, where it {expected} in the course: {}", row.name, finding.evidence)
        })
        .collect()
}
