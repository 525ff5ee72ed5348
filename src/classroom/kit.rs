//! What the checks share: their form, saying a line, and showing where an answer differs.

use crate::lab::client::{Client, Reply};
use crate::lab::recording::escape;
use crate::probes::{Difference, Judged, Needs, Otherwise, Probe, Trial, falls};

/// The probe of a check: its name, what it does, and how it is done.
pub(super) const fn probe(
    chapter: u8,
    needs: Needs,
    name: &'static str,
    does: &'static str,
    examine: fn(&Trial<'_>) -> Judged,
) -> Probe {
    Probe { name, chapter, does, remedy: None, needs, needs_echo: false, runs_alone: false, examine }
}

/// Sends a line and expects this one as its answer.
pub(super) fn ask(trial: &Trial<'_>, client: &mut Client, line: &str, expected: &str) -> Judged<()> {
    client.send(format!("{line}\n").as_bytes());
    expect_line(trial, client, expected)
}

/// Expects this line to come next, its end not counted.
pub(super) fn expect_line(trial: &Trial<'_>, client: &mut Client, expected: &str) -> Judged<()> {
    judge_line(format!("{expected}\n").as_bytes(), &client.line(trial.terms.limit))
}

/// Expects that what came is this line.
pub(super) fn judge_line(expected: &[u8], got: &Reply) -> Judged<()> {
    match got {
        Reply::Line(line) if line == expected => Ok(()),
        Reply::Line(line) => Err(differing(expected, line)),
        other => falls!("expected \"{}\", got {}", escape(expected), Trial::describe(other)),
    }
}

/// Expects the end of the stream, and nothing before it.
pub(super) fn expect_end(trial: &Trial<'_>, client: &mut Client) -> Judged<()> {
    match client.line(trial.terms.limit) {
        Reply::End(rest) if rest.is_empty() => Ok(()),
        other => falls!("expected the end of the connection, got {}", Trial::describe(&other)),
    }
}

/// Something else came than was expected. The bytes of both are shown below that, with a caret where they differ.
pub(super) fn differing(expected: &[u8], got: &[u8]) -> Otherwise {
    let difference = Difference::between(expected, got);
    let sentence = format!("what came differs from what was expected, first at byte {}", difference.at);
    Otherwise::falls(sentence).showing(difference)
}
