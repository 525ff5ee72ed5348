//! The whole course is true: every verdict of every probe on every step.

mod common;

use serde_json::Value;
use tcp_pitfalls::probes::{self, Verdict};
use tcp_pitfalls::staircase::{EXPECTED, HEADLINES, STEPS};

#[test]
fn it_stands_as_the_course_says() {
    let (code, out, err) = common::run(env!("CARGO_BIN_EXE_tcp-pitfalls"), &["--json"]);
    let staircase: Value = serde_json::from_str(&out).expect("the output is JSON");
    // The program has compared each verdict with the expected one. On Linux nothing else may be skipped.
    assert_eq!(staircase["surprises"], serde_json::json!([]), "{err}");
    assert_eq!(code, Some(0), "{err}");
    let rows = staircase["probes"].as_array().unwrap();
    assert_eq!(rows.len(), EXPECTED.len());
    for row in rows {
        let findings = row["findings"].as_array().unwrap();
        assert_eq!(findings.len(), STEPS.len());
        for finding in findings {
            assert_ne!(finding["evidence"], "", "{row}");
            if finding["verdict"] == "skipped" {
                println!("{} skipped: {}", row["name"], finding["evidence"]);
            }
        }
    }
}

#[test]
#[ignore = "starts hundreds of servers, for half a minute"]
fn the_steps_beyond_hold_what_step_6_holds_and_what_they_promise() {
    let (code, out, err) = common::run(env!("CARGO_BIN_EXE_tcp-pitfalls"), &["--beyond", "--json"]);
    let staircase: Value = serde_json::from_str(&out).expect("the output is JSON");
    assert_eq!(staircase["surprises"], serde_json::json!([]), "{err}");
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(staircase["probes"].as_array().map(Vec::len), Some(EXPECTED.len()));
}

#[test]
fn each_step_holds_against_the_probes_of_its_chapter_and_of_those_before() {
    for (name, verdicts) in EXPECTED.iter().copied() {
        let probe = probes::find(name).expect("there is such a probe");
        let first = usize::from(probe.chapter) - 1;
        // Some ask for more than the course's servers speak, and a figure is nothing to hold against.
        let is_of_the_course = verdicts.iter().any(|&verdict| verdict != Verdict::Skipped);
        let stands = |&verdict: &Verdict| matches!(verdict, Verdict::Holds | Verdict::Note);
        assert!(verdicts[first..].iter().all(stands) || !is_of_the_course, "{name}");
    }
}

#[test]
fn the_headline_probes_make_a_strict_staircase() {
    for (chapter, headline) in (1..).zip(HEADLINES) {
        let (_, verdicts) = EXPECTED.iter().copied().find(|(name, _)| *name == headline).expect("it is in the table");
        assert_eq!(probes::find(headline).unwrap().chapter, chapter);
        for (step, verdict) in (1..).zip(verdicts) {
            let expected = if step < chapter { Verdict::Falls } else { Verdict::Holds };
            assert_eq!(verdict, expected, "{headline} on step {step}");
        }
    }
}

#[test]
fn every_probe_is_in_the_table() {
    let names: Vec<&str> = probes::all().map(|probe| probe.name).collect();
    assert!(names.into_iter().eq(EXPECTED.iter().map(|(name, _)| *name)));
}
