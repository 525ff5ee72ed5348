//! Whether two recordings of a scene tell the same, but for what chance decides.
//!
//! What is chance a recording says itself, with the reason (`Chance`): ports, times, the pieces of a big transfer, and
//! what ends in one of two ways. One thing is chance in all of them: which of two who run side by side is first. So
//! events are compared for each who takes part, a server's for each of its connections, and the times are left out.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use anyhow::Result;
use regex::{Captures, Regex};
use serde_json::to_string;
use similar::TextDiff;
use tcp_pitfalls::lab::recording::{Action, Chance, Recording};
use tcp_pitfalls::show::scene::{Run, Scene};

/// `7`, `1,024`, `0.25`, `127.0.0.1`.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\d([\d,.]*\d)?").expect("it is one"));

/// What differs, as lines with `+` and `-`, or nothing.
pub fn scenes(old: &Scene, new: &Scene) -> Result<Option<String>> {
    let (mut before, mut now) = (String::new(), String::new());
    for ((side, old), (_, new)) in old.sides().into_iter().zip(new.sides()) {
        let (mut lines, mut new_lines) = (lines(side, old)?, lines(side, new)?);
        let (sides, new_sides) = (kernel_sides(&old.recording)?, kernel_sides(&new.recording)?);
        // Whether all came to rest in time is chance. A cure has time limits of its own, so what rest it came to is, too.
        for (acts, kernel) in sides.iter().filter(|_| side == "pitfall") {
            if let Some(new_kernel) = new_sides.get(acts) {
                lines += kernel;
                new_lines += new_kernel;
            }
        }
        before.push_str(&lines);
        now.push_str(&with_numbers_of(&lines, &new_lines, |number, other| {
            is_chance(&old.recording, number) && is_chance(&new.recording, other)
        }));
    }
    Ok(difference(&before, &now))
}

/// What differs in two texts, as lines with `+` and `-`, or nothing.
pub fn difference(before: &str, now: &str) -> Option<String> {
    let diff = TextDiff::from_lines(before, now);
    (before != now).then(|| diff.unified_diff().header("as recorded", "as run now").to_string())
}

/// A text with the numbers that stand in the same places of another, where `is_chance` says so of both.
pub fn with_numbers_of(text: &str, other: &str, is_chance: impl Fn(&str, &str) -> bool) -> String {
    let mut numbers = NUMBER.find_iter(text).map(|number| number.as_str());
    let taken = NUMBER.replace_all(other, |found: &Captures| match numbers.next() {
        Some(number) if is_chance(number, &found[0]) => number.to_owned(),
        _ => found[0].to_owned(),
    });
    taken.into_owned()
}

fn is_chance(recording: &Recording, number: &str) -> bool {
    recording.chance.iter().any(|chance| match chance {
        Chance::Number { is, .. } => is == number,
        Chance::Pieces { .. } => true,
        Chance::Either { .. } => false,
    })
}

/// What the kernel held, each by how much others than the server had done before: the server may be further or not when
/// that is written down.
fn kernel_sides(recording: &Recording) -> Result<BTreeMap<usize, String>> {
    let (mut sides, mut acts) = (BTreeMap::new(), 0);
    for event in &recording.events {
        acts += usize::from(event.who != "server");
        if let Some(side) = &event.kernel {
            sides.insert(acts, format!("the kernel: {}\n", to_string(side)?));
        }
    }
    Ok(sides)
}

/// All that is compared of a run.
fn lines(side: &str, run: &Run) -> Result<String> {
    let Run { caption, finding, recording: Recording { events, chance, .. } } = run;
    let mut lines = vec![format!("the {side}: {caption}")];
    // A chance that is new, or is none any more, changes what later runs are held to.
    let chances = chance.iter().filter(|chance| !matches!(chance, Chance::Number { .. }));
    lines.extend(chances.map(to_string).collect::<Result<Vec<_>, _>>()?);
    let in_pieces = chance.iter().any(|chance| matches!(chance, Chance::Pieces { .. }));
    let mut acts: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for event in events {
        let act = match &event.action {
            // How the server hears that its client has left depends on what it still had to read.
            Action::ReadEnd | Action::Note { .. } if in_pieces && event.who == "server" => continue,
            Action::Failed { call, .. } if in_pieces && call == "read" => continue,
            // Which writes are taken in part is as much chance as their sizes.
            Action::Wrote { .. } if in_pieces => continue,
            action if in_pieces && (event.is_ordinary_call() || action.is_summary()) => continue,
            action => to_string(action)?,
        };
        acts.entry((&event.who, event.connection)).or_default().push(act);
    }
    for ((who, _), mut act) in acts {
        if in_pieces && who == "server" {
            act.sort();
            act.dedup();
        }
        lines.extend(act.into_iter().map(|act| format!("{who}: {act}")));
    }
    let mut finding = finding.clone();
    if in_pieces {
        // Where the bytes differ is as much chance as the pieces are.
        finding.evidence.difference = None;
    }
    lines.push(to_string(&finding)?);
    let mut text = lines.join("\n") + "\n";
    for chance in chance {
        if let Chance::Either { of, .. } = chance {
            text = of.iter().skip(1).fold(text, |text, other| text.replace(other, &of[0]));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use tcp_pitfalls::lab::recording::{Payload, Recorder};
    use tcp_pitfalls::lab::watch::{KernelSide, Sleeper};
    use tcp_pitfalls::probes::Finding;

    use super::*;

    /// A scene in whose cure this happened, and this was said of it.
    fn scene(evidence: &str, happens: impl Fn(&Recorder)) -> Scene {
        let run = |evidence: &str, recording: Recording| Run {
            caption: "a server".into(),
            finding: Finding::falls(evidence),
            recording,
        };
        let recorder = Recorder::new();
        happens(&recorder);
        let (chapter, name) = ("01".into(), "port-taken".into());
        Scene { chapter, name, pitfall: run("falls", Recording::default()), cure: run(evidence, recorder.recording()) }
    }

    #[track_caller]
    fn are_same(old: &Scene, new: &Scene) -> bool {
        let one_way = scenes(old, new).expect("they can be written as JSON").is_none();
        assert_eq!(one_way, scenes(new, old).expect("they can be written as JSON").is_none());
        one_way
    }

    fn reads(recorder: &Recorder, sizes: &[usize]) {
        for size in sizes {
            recorder.record("server", Action::Read(Payload::new(&vec![b'x'; *size])));
        }
    }

    #[test]
    fn a_change_of_what_happened_is_seen() {
        let at = |port: u32| {
            scene(&format!("port {port} is taken, status: 1"), |recorder| {
                recorder.note("server", format!("is started for 127.0.0.1:{port}"));
                reads(recorder, &[1, 1]);
            })
        };
        assert!(are_same(&at(10_240), &at(10_240)));
        // Nobody has said that it is chance.
        assert!(!are_same(&at(10_240), &at(10_241)));
        let other = |evidence: &str, happens: fn(&Recorder)| scene(evidence, happens);
        let one = other("holds", |recorder| reads(recorder, &[1, 1]));
        for happens in [|recorder: &Recorder| reads(recorder, &[1]), |recorder: &Recorder| reads(recorder, &[2])] {
            assert!(!are_same(&one, &other("holds", happens)));
        }
        assert!(!are_same(&one, &other("it holds", |recorder| reads(recorder, &[1, 1]))));
    }

    #[test]
    fn numbers_that_chance_makes_may_differ_and_no_others() {
        let took = |millis: &str, status: &str| {
            scene(&format!("took {millis} ms; exit status: {status}"), |recorder| {
                recorder.number_by_chance(millis, "a measured time");
                recorder.note("kernel", format!("counts {millis} ms"));
            })
        };
        assert!(are_same(&took("0", "0"), &took("12", "0")));
        assert!(are_same(&took("1,024", "1"), &took("0.25", "1")));
        assert!(!are_same(&took("12", "0"), &took("12", "1")));
    }

    #[test]
    fn one_of_two_outcomes_is_as_good_as_the_other_where_a_recording_says_so() {
        let ends = |action: Action, words: &str, is_chance: bool| {
            scene(&format!("got {words}"), |recorder| {
                if is_chance {
                    recorder.either_by_chance(&["sees-end", "sees-reset"], "it was killed");
                    recorder.either_by_chance(&["the end", "a reset"], "it was killed");
                }
                recorder.record("client 1", action.clone());
            })
        };
        let (end, reset) =
            (|chance| ends(Action::SeesEnd, "the end", chance), |chance| ends(Action::SeesReset, "a reset", chance));
        assert!(are_same(&end(true), &reset(true)));
        assert!(!are_same(&end(false), &reset(false)));
        assert!(!are_same(&end(true), &ends(Action::Leaves, "the end", true)));
        // What used to be chance is none any more.
        assert!(!are_same(&end(true), &end(false)));
    }

    #[test]
    fn the_pieces_of_a_big_transfer_are_chance_but_not_that_a_call_failed() {
        let transfer = |sizes: &[usize], taken: usize, fails: bool| {
            scene("falls", |recorder| {
                recorder.pieces_by_chance("the kernel cuts it");
                reads(recorder, sizes);
                recorder.record("server", Action::Wrote { given: 10, taken: Payload::new(&vec![b'x'; taken]) });
                if fails {
                    recorder.record("server", Action::Failed { call: "write".into(), error: "no".into() });
                }
            })
        };
        assert!(are_same(&transfer(&[4096, 4096], 10, true), &transfer(&[8192], 10, true)));
        assert!(are_same(&transfer(&[8192], 10, true), &transfer(&[8192], 4, true)));
        assert!(!are_same(&transfer(&[8192], 10, true), &transfer(&[8192], 10, false)));
    }

    #[test]
    fn what_the_kernel_held_must_be_the_same_where_both_runs_have_it() {
        let held = |calls: [Option<&str>; 2]| {
            let mut scene = scene("holds", |recorder| {
                recorder.note("client 1", "asks");
                recorder.note("client 1", "leaves");
            });
            scene.pitfall.recording = scene.cure.recording.clone();
            for (event, call) in scene.pitfall.recording.events.iter_mut().zip(calls) {
                event.kernel = call.map(|call| KernelSide {
                    connections: Vec::new(),
                    threads: vec![Sleeper { call: call.into(), of: None }],
                });
            }
            scene
        };
        assert!(are_same(&held([Some("futex"), Some("poll")]), &held([None, Some("poll")])));
        assert!(!are_same(&held([Some("futex"), Some("poll")]), &held([Some("poll"), None])));
    }

    #[test]
    fn two_who_run_side_by_side_may_take_turns_in_any_order() {
        let orders: [&[(&str, usize)]; 3] = [
            &[("reads", 1), ("ends", 1), ("reads", 2)],
            &[("reads", 2), ("reads", 1), ("ends", 1)],
            &[("ends", 1), ("reads", 1), ("reads", 2)],
        ];
        let [one, other, wrong] = orders.map(|order| {
            scene("holds", |recorder| {
                for &(act, number) in order {
                    recorder.of_connection(number).note("server", act);
                }
            })
        });
        assert!(are_same(&one, &other));
        assert!(!are_same(&one, &wrong));
    }
}
