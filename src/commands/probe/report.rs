//! What a program reads: the findings as JSON, and as JUnit XML.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use serde::Serialize;
use tcp_pitfalls::lab::recording::Recording;
use tcp_pitfalls::probes::{Evidence, Finding, Probe, Verdict};

use super::arguments::Arguments;
use crate::commands::junit::{self, Case, Outcome, Suite};
use crate::commands::print_json;

/// A probe and what it said of the server.
pub(super) struct Probed {
    pub(super) probe: &'static Probe,
    pub(super) finding: Finding,
    pub(super) took: Duration,
}

/// Makes sure, before anything is found out, that a result can be written to this file. Whatever ends the examination
/// before there is one, the file is no success.
pub(super) fn begin(arguments: &Arguments, file: &Path) -> Result<()> {
    write_unjudged(arguments, file, &"it was ended before it was over".into())
}

fn write(file: &Path, document: String) -> Result<()> {
    fs::write(file, document).with_context(|| format!("cannot write the result to {}", file.display()))
}

fn write_unjudged(arguments: &Arguments, file: &Path, why: &Evidence) -> Result<()> {
    let name = "is possible";
    let case = Case { class: "examination".into(), name, outcome: Outcome::Error, evidence: why, took: None };
    let suite = Suite { name: arguments.name(), properties: Vec::new(), cases: vec![case] };
    write(file, junit::document(&[suite])?)
}

/// Writes, where a program reads the result, why there is none: what is not judged must not pass for a success.
pub(super) fn unjudged(arguments: &Arguments, why: &Error) {
    let sentence = format!("{why:#}");
    if arguments.json {
        print_json(&Unjudged { error: &sentence, status: 2 });
    }
    if let Some(file) = &arguments.junit {
        // Where even that can't be written, the status still says it.
        let _ = write_unjudged(arguments, file, &sentence.into());
    }
}

#[derive(Serialize)]
struct Unjudged<'a> {
    error: &'a str,
    status: u8,
}

/// What was found out about a server.
pub(super) struct Examined {
    /// The server, as it is called in the output.
    pub(super) target: String,
    /// What was seen before any verdict, in sentences.
    pub(super) learned: Vec<String>,
    pub(super) judged: Vec<Probed>,
    pub(super) took: Duration,
}

impl Probed {
    /// Whether the user knows and accepts that the server falls here.
    pub(super) fn is_expected(&self, arguments: &Arguments) -> bool {
        arguments.expect_falls.iter().any(|name| name == self.probe.name)
    }
}

#[derive(Serialize)]
struct Report<'a> {
    /// Of the prober.
    version: &'a str,
    target: &'a str,
    learned: &'a [String],
    seconds: f64,
    /// With which the program ends.
    status: u8,
    probes: Vec<ProbeReport<'a>>,
}

#[derive(Serialize)]
struct ProbeReport<'a> {
    name: &'a str,
    chapter: u8,
    #[serde(flatten)]
    finding: &'a Finding,
    /// Whether a fall here was expected by the user.
    expected: bool,
    seconds: f64,
    remedy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeline: Option<&'a Recording>,
}

/// Seconds without the digits that mean nothing.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

impl Examined {
    /// Prints the findings as JSON, each with the recording of its probe if those were kept.
    pub(super) fn print_json(&self, timelines: &[(&str, Recording)], arguments: &Arguments, status: u8) {
        let timeline = |probe: &Probe| timelines.iter().find(|(name, _)| *name == probe.name).map(|(_, kept)| kept);
        let probes = self.judged.iter().map(|judged| ProbeReport {
            name: judged.probe.name,
            chapter: judged.probe.chapter,
            finding: &judged.finding,
            expected: judged.is_expected(arguments),
            seconds: seconds(judged.took),
            remedy: judged.probe.remedy,
            timeline: timeline(judged.probe),
        });
        print_json(&Report {
            version: env!("CARGO_PKG_VERSION"),
            target: &self.target,
            learned: &self.learned,
            seconds: seconds(self.took),
            status,
            probes: probes.collect(),
        });
    }

    /// Writes the findings as JUnit XML: a suite for the server, a case for each probe.
    pub(super) fn write_junit(&self, file: &Path, arguments: &Arguments) -> Result<()> {
        let missing: Vec<&String> = arguments.missing(&self.judged).collect();
        let is_missing = |judged: &Probed| missing.iter().any(|name| *name == judged.probe.name);
        let cases = self.judged.iter().map(|judged| Case {
            class: format!("chapter_{}", judged.probe.chapter),
            name: judged.probe.name,
            outcome: match judged.finding.verdict {
                Verdict::Falls if judged.is_expected(arguments) => Outcome::Output,
                Verdict::Skipped if judged.finding.evidence.own_lack || is_missing(judged) => Outcome::Error,
                verdict => verdict.into(),
            },
            evidence: &judged.finding.evidence,
            took: Some(judged.took),
        });
        let suite = Suite { name: self.target.clone(), properties: Vec::new(), cases: cases.collect() };
        write(file, junit::document(&[suite])?)
    }
}
