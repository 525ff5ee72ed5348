//! What a person sees: all exercises, or one with what became of its checks.

use std::fmt::Write;
use std::fs;

use super::grade::{Checked, Graded, of};
use super::progress::{Progress, Standing};
use super::workshop::Workshop;
use tcp_pitfalls::classroom::{self, Check, Exercise};
use tcp_pitfalls::probes::{Finding, Verdict};
use tcp_pitfalls::show::screen::{self, BAD, BOLD, COMMAND, DIM, GOOD};
use tcp_pitfalls::show::{evidence, timeline};

/// How many lines of a timeline are shown from its beginning and from its end, where the answer is that fell short.
/// What the check itself did, such as sending a signal, is shown as well.
const HEAD: usize = 3;
const TAIL: usize = 6;

/// The column where the second part of a line begins: a place or a command after what it is.
const SECOND: usize = 16;

/// All exercises, how far the student is with each, and what to do next.
pub(super) fn overview(progress: &Progress) -> String {
    let mut text = format!("{BOLD}The classroom: mend each server until its checks hold{BOLD:#}\n\n");
    let (mut points, mut all) = (0, 0);
    for exercise in classroom::ALL {
        let standing = progress.of(exercise);
        let Exercise { id, title, .. } = exercise;
        let checked = standing.and_then(|standing| standing.checked.as_ref());
        let (sign, style, word) = match checked {
            Some(checked) if checked.done => (screen::sign(Verdict::Holds), GOOD, "done"),
            Some(_) => (screen::sign(Verdict::Falls), BAD, "begun"),
            None => (" ", DIM, "not begun"),
        };
        let _ = write!(text, "  {id:8}  {title:24}  {style}{sign} {word:9}{style:#}");
        if let Some(checked) = checked {
            points += checked.points;
            let _ = write!(text, "  {:2} of {} points", checked.points, of(exercise));
        }
        all += of(exercise);
        if let Some(Standing { hints: hints @ 1.., .. }) = standing {
            let _ = write!(text, ", {hints} hint{}", plural(*hints));
        }
        text.push('\n');
    }
    let _ = writeln!(text, "\n{points} of {all} points.\n");
    match progress.next() {
        Some(exercise) => text.push_str(&begin("Next", exercise)),
        None => {
            let _ = writeln!(text, "{GOOD}All exercises are done.{GOOD:#} A server of your own is next:");
            let _ = writeln!(text, "  {COMMAND}cargo run -- probe -- python3 my_server.py {{addr}}{COMMAND:#}");
        }
    }
    text
}

/// What to read, to edit and to type for an exercise.
fn begin(heading: &str, exercise: &Exercise) -> String {
    let Exercise { id, title, folder, .. } = exercise;
    let mut text = format!("{BOLD}{heading}: {id}, {title}{BOLD:#}\n");
    let _ = writeln!(text, "  {:SECOND$}{folder}/README.md", "The task");
    let _ = writeln!(text, "  {:SECOND$}{folder}/main.rs", "Your server");
    let _ = writeln!(text, "  {:SECOND$}{COMMAND}cargo run -- check {id}{COMMAND:#}", "Check it");
    text
}

/// One exercise: each of its checks, what happened in those that fell, and what to type next.
pub(super) fn graded(workshop: &Workshop, graded: &Graded, command: &[String], progress: &Progress) -> String {
    let Exercise { id, title, folder, .. } = graded.exercise;
    let mut text = format!("{BOLD}{id}, {title}{BOLD:#}\n\n");
    match &graded.problem {
        Some(problem) => text.push_str(&screen::paragraph(&format!("{BAD}{problem}.{BAD:#}"), 2)),
        // A story stands between blank lines, of which it brings the second.
        None => {
            for checked in &graded.checks {
                if checked.finding.verdict == Verdict::Falls && !text.ends_with("\n\n") {
                    text.push('\n');
                }
                text.push_str(&one(workshop, checked));
            }
        }
    }
    let (holds, falls, skipped) = (graded.holds(), graded.falls(), graded.skipped());
    let score = format!("{} of {} points", graded.points(), graded.of());
    if graded.is_done() {
        let all = if skipped == 0 { "Every check holds".into() } else { format!("{holds} checks held, none fell") };
        let _ = writeln!(text, "\n{GOOD}{all}: {score}.{GOOD:#}\n");
        // A teacher may have taken it away.
        let solution = workshop.solution(graded.exercise);
        if solution.is_file() {
            let _ = writeln!(text, "  {:SECOND$}{}\n", "Compare with", workshop.shown(&solution));
        }
        text.push_str(&match progress.next_after(graded.exercise) {
            Some(next) => begin("Next", next),
            None => format!("{GOOD}All exercises are done.{GOOD:#}\n"),
        });
        return text;
    }
    if graded.problem.is_none() {
        if !text.ends_with("\n\n") {
            text.push('\n');
        }
        let _ = writeln!(text, "{holds} held, {falls} fell, {skipped} skipped: {score}.");
    }
    if graded.problem.is_none() && falls == 0 {
        let _ = writeln!(text, "\nThis system can't run any of the checks. They can be run on Linux.");
        return text;
    }
    let again = if command.is_empty() { String::new() } else { format!(" -- {}", command.join(" ")) };
    let _ = writeln!(text, "\n{BOLD}Next{BOLD:#}");
    if command.is_empty() {
        let _ = writeln!(text, "  {:SECOND$}{folder}/main.rs", "Mend");
    }
    let _ = writeln!(text, "  {:SECOND$}{COMMAND}cargo run -- check {id}{again}{COMMAND:#}", "Check again");
    let _ = writeln!(text, "  {:SECOND$}{COMMAND}cargo run -- check {id} --hint{COMMAND:#}", "Get a hint");
    text
}

/// One check. A line if it holds, and the whole story if it falls.
fn one(workshop: &Workshop, checked: &Checked) -> String {
    let Checked { check: Check { probe, why, points, page, .. }, finding: Finding { verdict, evidence }, recording } =
        checked;
    let style = screen::verdict(*verdict);
    let sign = screen::sign(*verdict);
    let unit = plural(*points as usize);
    let falls = *verdict == Verdict::Falls;
    let score = if falls { format!("0 of {points} point{unit}") } else { format!("{points} point{unit}") };
    let score = if *verdict == Verdict::Skipped { String::new() } else { score };
    let mut text = format!("  {style}{sign} {:7}{style:#}  {:36}  {DIM}{score}{DIM:#}\n", verdict.word(), probe.name);
    match verdict {
        Verdict::Holds => return text,
        Verdict::Differs | Verdict::Note | Verdict::Skipped => {
            text.push_str(&screen::paragraph(&evidence.sentence, 13));
            return text;
        }
        Verdict::Falls => {}
    }
    text.push_str(&screen::paragraph(&sentence(probe.does), 4));
    text.push('\n');
    text.push_str(&timeline::draw_ends(recording, screen::width(), HEAD, TAIL, "check"));
    text.push('\n');
    for line in evidence::lines(evidence, screen::width() - 4) {
        let _ = writeln!(text, "    {line}");
    }
    text.push('\n');
    text.push_str(&screen::paragraph(&format!("Why it matters: {}", sentence(why)), 4));
    text.push_str(&screen::paragraph(&format!("{DIM}In the book: {}{DIM:#}", place(workshop, page)), 4));
    text.push('\n');
    text
}

/// All exercises on a line each: what a teacher wants to see of a student.
pub(super) fn table(graded: &[Graded]) -> String {
    let mut text = String::new();
    for one in graded {
        let Exercise { id, title, .. } = one.exercise;
        let style = if one.is_done() { GOOD } else { BAD };
        let _ = writeln!(text, "{id:8}  {title:24}  {style}{:2} of {:2} points{style:#}", one.points(), one.of());
        let named = |verdict: Verdict| {
            let of_it = one.checks.iter().filter(move |checked| checked.finding.verdict == verdict);
            let names: Vec<&str> = of_it.map(|checked| checked.check.probe.name).collect();
            (!names.is_empty()).then(|| whole_words(&format!("{}: {}", verdict.word(), names.join(", ")), 10))
        };
        match &one.problem {
            Some(problem) => text.push_str(&screen::paragraph(&sentence(problem), 10)),
            None => text.extend(
                [Verdict::Falls, Verdict::Differs, Verdict::Note, Verdict::Skipped].into_iter().filter_map(named),
            ),
        }
    }
    let points: u32 = graded.iter().map(Graded::points).sum();
    let all: u32 = graded.iter().map(Graded::of).sum();
    let _ = writeln!(text, "\n{BOLD}{points} of {all} points{BOLD:#}");
    text
}

/// A paragraph that breaks no name at its hyphens.
fn whole_words(text: &str, indent: usize) -> String {
    let options = textwrap::Options::new(screen::width() - indent).word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(text, options).into_iter().map(|line| format!("{:indent$}{line}\n", "")).collect()
}

/// Where something stands in the book: the file in this repository, and the heading.
fn place(workshop: &Workshop, page: &str) -> String {
    let (file, anchor) = page.split_once('#').unwrap_or((page, ""));
    let path = workshop.page(&file.replace(".html", ".md"));
    let text = fs::read_to_string(&path).unwrap_or_default();
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let heading = headings.into_iter().find(|heading| slug(heading) == anchor);
    match heading {
        Some(heading) => format!("{}, \"{}\"", workshop.shown(&path), heading.replace('`', "")),
        None => page.to_owned(),
    }
}

/// The anchor that mdBook makes of a heading.
fn slug(heading: &str) -> String {
    let kept = |character: char| match character {
        ' ' => Some('-'),
        '_' | '-' => Some(character),
        _ => character.is_alphanumeric().then(|| character.to_ascii_lowercase()),
    };
    heading.chars().filter_map(kept).collect()
}

/// Markdown for the terminal: paragraphs and the items of lists are wrapped, code stays as it is.
pub(super) fn markdown(text: &str, indent: usize) -> String {
    let mut shown = String::new();
    let mut paragraph = String::new();
    let mut in_code = false;
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        let item = line.starts_with("- ");
        if in_code || fence || item || line.is_empty() {
            shown += &wrapped(&std::mem::take(&mut paragraph), indent);
        }
        if fence {
            in_code = !in_code;
        } else if line.is_empty() {
            shown.push('\n');
        } else if in_code {
            let _ = writeln!(shown, "{:indent$}{line}", "");
        } else {
            if !paragraph.is_empty() {
                paragraph.push(' ');
            }
            paragraph += line.trim();
        }
    }
    shown + &wrapped(&paragraph, indent)
}

/// A paragraph, or an item of a list, whose further lines stand below its text.
fn wrapped(paragraph: &str, indent: usize) -> String {
    let text = paragraph.replace("**", "");
    match text.strip_prefix("- ") {
        _ if text.is_empty() => String::new(),
        Some(item) => {
            let mut shown = screen::paragraph(item, indent + 2);
            shown.replace_range(indent..=indent, "-");
            shown
        }
        None => screen::paragraph(&text, indent),
    }
}

/// A sentence with its full stop.
fn sentence(text: &str) -> String {
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
