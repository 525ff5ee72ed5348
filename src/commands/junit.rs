//! Results as JUnit XML, which GitLab, Jenkins and the actions of GitHub read.

use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use tcp_pitfalls::probes::{Evidence, Verdict};
use tcp_pitfalls::show::{evidence, screen};

/// One server that was examined.
pub(super) struct Suite<'a> {
    pub(super) name: String,
    pub(super) cases: Vec<Case<'a>>,
}

/// One thing that was found out about it.
pub(super) struct Case<'a> {
    pub(super) class: String,
    pub(super) name: &'a str,
    pub(super) outcome: Outcome,
    pub(super) evidence: &'a Evidence,
    pub(super) took: Option<Duration>,
}

/// What JUnit calls it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A success, with nothing to say.
    Success,
    /// A success, with something to say.
    Output,
    Failure,
    Skipped,
    /// A test that could not be run.
    Error,
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Holds => Outcome::Success,
            Verdict::Falls => Outcome::Failure,
            Verdict::Differs | Verdict::Note => Outcome::Output,
            Verdict::Skipped => Outcome::Skipped,
        }
    }
}

/// The file's content.
pub(super) fn document(suites: &[Suite<'_>]) -> Result<String> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    let written = xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None))).and_then(|()| {
        let all = xml.create_element("testsuites").with_attribute(("name", "TCP Pitfalls"));
        all.write_inner_content(|xml| suites.iter().try_for_each(|one| suite(xml, one))).map(drop)
    });
    written.context("cannot write the result as XML")?;
    Ok(String::from_utf8(xml.into_inner())? + "\n")
}

fn suite(xml: &mut Writer<Vec<u8>>, Suite { name, cases }: &Suite<'_>) -> io::Result<()> {
    let count = |outcome| cases.iter().filter(|case| case.outcome == outcome).count().to_string();
    xml.create_element("testsuite")
        .with_attributes([
            ("name", &*printable(name)),
            ("tests", &cases.len().to_string()),
            ("failures", &count(Outcome::Failure)),
            ("errors", &count(Outcome::Error)),
            ("skipped", &count(Outcome::Skipped)),
        ])
        .write_inner_content(|xml| cases.iter().try_for_each(|one| case(xml, one)))
        .map(drop)
}

fn case(xml: &mut Writer<Vec<u8>>, Case { class, name, outcome, evidence, took }: &Case<'_>) -> io::Result<()> {
    let mut case = xml.create_element("testcase").with_attributes([("name", *name), ("classname", &**class)]);
    if let Some(took) = took {
        case = case.with_attribute(("time", &*format!("{:.3}", took.as_secs_f64())));
    }
    let kind = match outcome {
        Outcome::Success => return case.write_empty().map(drop),
        Outcome::Output => "system-out",
        Outcome::Failure => "failure",
        Outcome::Skipped => "skipped",
        Outcome::Error => "error",
    };
    let message = printable(&evidence.sentence);
    let text = printable(&evidence::lines(evidence, screen::width()).join("\n"));
    case.write_inner_content(|xml| {
        let child = xml.create_element(kind);
        // JUnit has no message for what is merely said.
        let child = if kind == "system-out" { child } else { child.with_attribute(("message", &*message)) };
        child.write_text_content(BytesText::new(&text)).map(drop)
    })
    .map(drop)
}

/// XML has no way to write most control characters, which a server's last words may hold.
fn printable(text: &str) -> String {
    text.chars().filter(|&it| it == '\n' || !it.is_control()).collect()
}
