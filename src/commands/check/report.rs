//! What a program reads: the result as JSON, and as JUnit XML.

use anyhow::Result;
use serde::Serialize;

use super::grade::{Checked, Graded};
use crate::commands::junit::{self, Case, Outcome, Suite};
use tcp_pitfalls::probes::{Finding, Verdict};

/// The whole result.
#[derive(Serialize)]
struct Report<'a> {
    points: u32,
    /// Of how many that could be judged, and how many could not.
    of: u32,
    not_judged: u32,
    exercises: Vec<ExerciseReport<'a>>,
}

#[derive(Serialize)]
struct ExerciseReport<'a> {
    id: &'a str,
    title: &'a str,
    /// The command that starts the server, and what that is written in.
    command: String,
    language: &'a str,
    points: u32,
    of: u32,
    not_judged: u32,
    done: bool,
    /// Why no check could be run, if so.
    problem: Option<&'a str>,
    checks: Vec<CheckReport<'a>>,
}

#[derive(Serialize)]
struct CheckReport<'a> {
    name: &'a str,
    points: u32,
    of: u32,
    #[serde(flatten)]
    finding: &'a Finding,
    why: &'a str,
    page: &'a str,
}

/// The result as JSON.
pub(super) fn json(graded: &[Graded]) -> Result<String> {
    let report = Report {
        points: graded.iter().map(Graded::points).sum(),
        of: graded.iter().map(Graded::of).sum(),
        not_judged: graded.iter().map(Graded::not_judged).sum(),
        exercises: graded.iter().map(exercise).collect(),
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

fn exercise(graded: &Graded) -> ExerciseReport<'_> {
    let checks = graded.checks.iter().map(|checked| CheckReport {
        name: checked.check.name,
        points: checked.points(),
        of: checked.check.points,
        finding: &checked.finding,
        why: checked.check.why,
        page: checked.check.page,
    });
    ExerciseReport {
        id: graded.exercise.id,
        title: graded.exercise.title,
        command: graded.command(),
        language: graded.language(),
        points: graded.points(),
        of: graded.of(),
        not_judged: graded.not_judged(),
        done: graded.is_done(),
        problem: graded.problem.as_deref(),
        checks: checks.collect(),
    }
}

/// The result as JUnit XML: a suite for each exercise, a case for each check.
pub(super) fn junit(graded: &[Graded]) -> Result<String> {
    junit::document(&graded.iter().map(suite).collect::<Vec<_>>())
}

fn suite(graded: &Graded) -> Suite<'_> {
    let Graded { exercise, problem, checks, .. } = graded;
    let cases = checks.iter().map(|Checked { check, finding, .. }| Case {
        class: format!("exercise_{}", exercise.id),
        name: check.name,
        outcome: match finding.verdict {
            Verdict::Falls if problem.is_some() => Outcome::Error,
            verdict => verdict.into(),
        },
        evidence: &finding.evidence,
        took: None,
    });
    let sums = [("points", graded.points()), ("of", graded.of()), ("not_judged", graded.not_judged())];
    let texts = [("command", graded.command()), ("language", graded.language().to_owned())];
    Suite {
        name: format!("{} {}", exercise.id, exercise.title),
        properties: texts.into_iter().chain(sums.map(|(name, sum)| (name, sum.to_string()))).collect(),
        cases: cases.collect(),
    }
}
