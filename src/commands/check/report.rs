//! What a program reads: the result as JSON, and as JUnit XML.

use std::io;

use anyhow::{Context, Result};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use serde::Serialize;

use super::grade::{Checked, Graded};
use tcp_pitfalls::probes::{Finding, Verdict};
use tcp_pitfalls::show::evidence;
use tcp_pitfalls::show::screen;

/// The whole result.
#[derive(Serialize)]
struct Report<'a> {
    points: u32,
    of: u32,
    exercises: Vec<ExerciseReport<'a>>,
}

#[derive(Serialize)]
struct ExerciseReport<'a> {
    id: &'a str,
    title: &'a str,
    points: u32,
    of: u32,
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

impl<'a> From<&'a Graded> for ExerciseReport<'a> {
    fn from(graded: &'a Graded) -> Self {
        ExerciseReport {
            id: graded.exercise.id,
            title: graded.exercise.title,
            points: graded.points(),
            of: graded.of(),
            done: graded.is_done(),
            problem: graded.problem.as_deref(),
            checks: graded.checks.iter().map(CheckReport::from).collect(),
        }
    }
}

impl<'a> From<&'a Checked> for CheckReport<'a> {
    fn from(checked: &'a Checked) -> Self {
        let Checked { check, finding, .. } = checked;
        CheckReport {
            name: check.probe.name,
            points: checked.points(),
            of: check.points,
            finding,
            why: check.why,
            page: check.page,
        }
    }
}

/// The result as JSON.
pub(super) fn json(graded: &[Graded]) -> Result<String> {
    let report = Report {
        points: graded.iter().map(Graded::points).sum(),
        of: graded.iter().map(Graded::of).sum(),
        exercises: graded.iter().map(ExerciseReport::from).collect(),
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

/// The result as JUnit XML: a suite for each exercise, a case for each check.
pub(super) fn junit(graded: &[Graded]) -> Result<String> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    let written = xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None))).and_then(|()| {
        let suites = xml.create_element("testsuites").with_attribute(("name", "TCP Pitfalls"));
        suites.write_inner_content(|xml| graded.iter().try_for_each(|graded| suite(xml, graded))).map(drop)
    });
    written.context("cannot write the result as XML")?;
    Ok(String::from_utf8(xml.into_inner())? + "\n")
}

fn suite(xml: &mut Writer<Vec<u8>>, graded: &Graded) -> io::Result<()> {
    let Graded { exercise, problem, checks, .. } = graded;
    // JUnit's word for a test that could not be run is error.
    let (failures, errors) = if problem.is_some() { (0, graded.falls()) } else { (graded.falls(), 0) };
    let name = format!("{} {}", exercise.id, exercise.title);
    let count = |count: usize| count.to_string();
    xml.create_element("testsuite")
        .with_attributes([
            ("name", &*name),
            ("tests", &count(checks.len())),
            ("failures", &count(failures)),
            ("errors", &count(errors)),
            ("skipped", &count(graded.skipped())),
        ])
        .write_inner_content(|xml| checks.iter().try_for_each(|checked| case(xml, graded, checked)))
        .map(drop)
}

fn case(xml: &mut Writer<Vec<u8>>, graded: &Graded, checked: &Checked) -> io::Result<()> {
    let Checked { check, finding, .. } = checked;
    let class = format!("exercise_{}", graded.exercise.id);
    let case = xml.create_element("testcase").with_attributes([("name", check.probe.name), ("classname", &*class)]);
    let kind = match finding.verdict {
        Verdict::Holds => return case.write_empty().map(drop),
        Verdict::Skipped => "skipped",
        Verdict::Falls if graded.problem.is_some() => "error",
        Verdict::Falls => "failure",
        // It is a success, with something to say.
        Verdict::Differs | Verdict::Note => "system-out",
    };
    // XML has no way to write most control characters, which a server's last words may hold.
    let printable = |text: &str| text.chars().filter(|&it| it == '\n' || !it.is_control()).collect::<String>();
    let message = printable(&finding.evidence.sentence);
    let text = printable(&evidence::lines(&finding.evidence, screen::width()).join("\n"));
    case.write_inner_content(|xml| {
        let child = xml.create_element(kind);
        // JUnit has no message for what is merely said.
        let child = if kind == "system-out" { child } else { child.with_attribute(("message", &*message)) };
        child.write_text_content(BytesText::new(&text)).map(drop)
    })
    .map(drop)
}
