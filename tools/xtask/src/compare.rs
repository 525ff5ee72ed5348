//! Whether two recordings of a scene tell the same, but for what chance decides.
//!
//! What is chance a recording says itself, with the reason (`Chance`): ports, times, the pieces of a big transfer, and
//! what ends in one of two ways. One thing is chance in all of them: which of two who run side by side is first. So
//! events are compared for each who takes part, a server's for each of its connections, and the times are left out.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::to_string;
use similar::TextDiff;
use tcp_pitfalls::lab::recording::{Action, Chance, Recording};
use tcp_pitfalls::show::scene::{Run, Scene};

/// What differs, as lines with `+` and `-`, or nothing.
pub fn scenes(old: &Scene, new: &Scene) -> Result<Option<String>> {
    let (mut before, mut now) = (String::new(), String::new());
    for ((side, old), (_, new)) in old.sides().into_iter().zip(new.sides()) {
        let rules = Rules::of([&old.recording, &new.recording]);
        let (lines, new_lines) = (rules.lines(side, old)?, rules.lines(side, new)?);
        before.push_str(&lines);
        // Numbers that chance makes are taken from the old run, so that the rest can be compared as it is.
        now.push_str(&with_numbers_of(&lines, &new_lines, |number, other| {
            rules.is_chance(&old.recording, number) && rules.is_chance(&new.recording, other)
        }));
    }
    Ok(difference(&before, &now))
}

/// What differs in two texts, as lines with `+` and `-`, or nothing.
pub fn difference(before: &str, now: &str) -> Option<String> {
    let diff = TextDiff::from_lines(before, now);
    (before != now).then(|| diff.unified_diff().header("as recorded", "as run now").to_string())
}

/// What is chance in two recordings, but for their own numbers.
struct Rules<'a> {
    /// Words that may stand for each other.
    either: BTreeSet<&'a Vec<String>>,
    /// Whether it is chance in which pieces the server reads and writes.
    pieces: bool,
}

impl<'a> Rules<'a> {
    fn of(recordings: [&'a Recording; 2]) -> Self {
        let mut rules = Rules { either: BTreeSet::new(), pieces: false };
        for chance in recordings.into_iter().flat_map(|recording| &recording.chance) {
            match chance {
                Chance::Number { .. } => {}
                Chance::Either { of, .. } => _ = rules.either.insert(of),
                Chance::Pieces { .. } => rules.pieces = true,
            }
        }
        rules
    }

    fn is_chance(&self, recording: &Recording, number: &str) -> bool {
        self.pieces || recording.chance.iter().any(|chance| matches!(chance, Chance::Number { is, .. } if is == number))
    }

    /// All that is compared of a run.
    fn lines(&self, side: &str, run: &Run) -> Result<String> {
        let mut lines = vec![format!("the {side}: {}", run.caption)];
        // A chance that is new, or is none any more, changes what later runs are held to.
        let chances = run.recording.chance.iter().filter(|chance| !matches!(chance, Chance::Number { .. }));
        lines.extend(chances.map(to_string).collect::<Result<Vec<_>, _>>()?);
        let mut acts: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for event in &run.recording.events {
            let act = acts.entry((&event.who, event.connection)).or_default();
            if self.pieces {
                act.extend(kinds(&event.action)?);
            } else {
                act.push(to_string(&event.action)?);
            }
        }
        for ((who, _), mut act) in acts {
            if self.pieces && who == "server" {
                act.sort();
                act.dedup();
            }
            lines.extend(act.into_iter().map(|act| format!("{who}: {act}")));
        }
        lines.push(to_string(&run.finding)?);
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        let first_of =
            |text: String, of: &&Vec<String>| of.iter().skip(1).fold(text, |text, word| text.replace(word, &of[0]));
        Ok(self.either.iter().fold(text, first_of))
    }
}

/// An event of a transfer without its bytes.
fn kinds(action: &Action) -> Result<Vec<String>> {
    let kinds = match action {
        Action::Read(_) => vec!["reads"],
        Action::Wrote { given, taken } if *given == taken.len() => vec!["writes"],
        Action::Wrote { .. } => vec!["writes in part"],
        Action::MoreCalls { reads, writes, .. } => [(*reads, "reads"), (*writes, "writes")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(_, kind)| kind)
            .collect(),
        Action::Repeats { .. } | Action::LeftOut { .. } => vec![],
        other => return Ok(vec![to_string(other)?]),
    };
    Ok(kinds.into_iter().map(str::to_owned).collect())
}

/// A text with the numbers of another, where `is_chance` says so of both.
pub fn with_numbers_of(text: &str, other: &str, is_chance: impl Fn(&str, &str) -> bool) -> String {
    let mut numbers = parts(text).into_iter();
    let taken = parts(other).into_iter().map(|part| match numbers.next() {
        Some(number) if is_number(number) && is_number(part) && is_chance(number, part) => number,
        _ => part,
    });
    taken.collect()
}

/// Numbers, and what stands between them. A number may have commas and a point within: `1,024`, `0.25`, `127.0.0.1`.
fn parts(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let is_digit = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_digit);
    let within = |index: usize| {
        is_digit(index)
            || index > 0 && matches!(bytes[index], b',' | b'.') && is_digit(index - 1) && is_digit(index + 1)
    };
    let mut parts = Vec::new();
    let mut start = 0;
    for end in 1..=bytes.len() {
        if end == bytes.len() || within(end) != within(end - 1) {
            parts.push(&text[start..end]);
            start = end;
        }
    }
    parts
}

fn is_number(part: &str) -> bool {
    part.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use tcp_pitfalls::lab::recording::{Payload, Recorder};
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
    fn the_pieces_of_a_big_transfer_are_chance_but_not_that_one_fell_short() {
        let transfer = |sizes: &[usize], taken: usize| {
            scene("falls", |recorder| {
                recorder.pieces_by_chance("the kernel cuts it");
                reads(recorder, sizes);
                recorder.record("server", Action::Wrote { given: 10, taken: Payload::new(&vec![b'x'; taken]) });
            })
        };
        assert!(are_same(&transfer(&[4096, 4096], 10), &transfer(&[8192], 10)));
        assert!(are_same(&transfer(&[8192], 3), &transfer(&[8192], 4)));
        assert!(!are_same(&transfer(&[8192], 10), &transfer(&[8192], 4)));
        assert!(!are_same(&transfer(&[8192], 10), &transfer(&[], 10)));
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
