//! What the checks share: their form, saying a line, and showing where an answer differs.

use crate::lab::client::{Client, Reply};
use crate::lab::recording::escape;
use crate::probes::{Finding, Judged, Needs, Probe, Trial};

/// The probe of a check: its name, what it does, why that matters, and how it is done.
pub(super) const fn probe(
    chapter: u8,
    needs: Needs,
    name: &'static str,
    does: &'static str,
    why: &'static str,
    examine: fn(&Trial<'_>) -> Judged,
) -> Probe {
    Probe { name, chapter, does, remedy: why, needs, needs_echo: false, runs_alone: false, examine }
}

/// Sends a line and expects this one as its answer.
pub(super) fn ask(trial: &Trial<'_>, client: &mut Client, line: &str, expected: &str) -> Result<(), Finding> {
    client.send(format!("{line}\n").as_bytes());
    expect_line(trial, client, expected)
}

/// Expects this line to come next, its end not counted.
pub(super) fn expect_line(trial: &Trial<'_>, client: &mut Client, expected: &str) -> Result<(), Finding> {
    let expected = format!("{expected}\n").into_bytes();
    match client.line(trial.terms.limit) {
        Reply::Line(line) if line == expected => Ok(()),
        Reply::Line(line) => Err(Finding::falls(difference(&expected, &line))),
        other => Err(Finding::falls(format!("expected \"{}\", got {}", escape(&expected), Trial::describe(&other)))),
    }
}

/// Expects the end of the stream, and nothing before it.
pub(super) fn expect_end(trial: &Trial<'_>, client: &mut Client) -> Result<(), Finding> {
    match client.line(trial.terms.limit) {
        Reply::End(rest) if rest.is_empty() => Ok(()),
        other => Err(Finding::falls(format!("expected the end of the connection, got {}", Trial::describe(&other)))),
    }
}

/// What was expected and what came, one above the other, with a caret at the first byte that differs.
pub(super) fn difference(expected: &[u8], got: &[u8]) -> String {
    const SHOWN: usize = 56;
    let same = expected.iter().zip(got).take_while(|(one, other)| one == other).count();
    // Of long texts, the part around the difference.
    let from = same.saturating_sub(SHOWN / 2);
    let part = |bytes: &[u8]| {
        let part = &bytes[from.min(bytes.len())..bytes.len().min(from + SHOWN)];
        let (before, after) = (if from > 0 { "…" } else { "" }, if bytes.len() > from + SHOWN { "…" } else { "" });
        format!("\"{before}{}{after}\"", escape(part))
    };
    let before = escape(&expected[from..same]).chars().count() + 1 + usize::from(from > 0);
    let (expected, got) = (part(expected), part(got));
    format!("expected {expected}\n     got {got}\n         {:before$}^ byte {same}", "")
}
