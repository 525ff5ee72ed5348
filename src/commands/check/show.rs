//! What a person sees: all exercises, or one with what became of its checks.

use std::fmt::Write;

use super::grade::{Checked, Graded, of};
use super::launch::Launch;
use super::progress::{Progress, Standing};
use super::workshop::Workshop;
use crate::commands::plural;
use tcp_pitfalls::classroom::{self, Check, Exercise};
use tcp_pitfalls::lab::recording::CAPACITY;
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
pub(super) fn overview(workshop: &Workshop, progress: &Progress) -> String {
    let mut text = format!("{BOLD}The classroom: mend each server until its checks hold{BOLD:#}\n\n");
    let (mut points, mut all, mut not_judged) = (0, 0, 0);
    for exercise in classroom::ALL {
        let standing = progress.of(exercise);
        let Exercise { id, title, .. } = exercise;
        let checked = standing.and_then(|standing| standing.checked.as_ref());
        let (sign, style, word) = match checked {
            Some(checked) if checked.done => (screen::sign(Verdict::Holds), GOOD, "done"),
            Some(_) => (screen::sign(Verdict::Falls), BAD, "begun"),
            None => (" ", DIM, "not begun"),
        };
        let _ = write!(text, "  {id:8}  {title:33}  {style}{sign} {word:5}{style:#}");
        if let Some(checked) = checked {
            points += checked.points;
            not_judged += checked.not_judged;
            let score = score(checked.points, of(exercise) - checked.not_judged, checked.not_judged);
            // As much as fits the screen.
            let _ = write!(text, "  {}", score.replace(" points,", ","));
        }
        all += of(exercise);
        if let Some(Standing { hints: hints @ 1.., .. }) = standing {
            let _ = write!(text, ", {hints} hint{}", plural(*hints));
        }
        text.push('\n');
    }
    let _ = writeln!(text, "\n{}.\n", score(points, all - not_judged, not_judged).trim_start());
    match progress.next() {
        Some(exercise) => text.push_str(&begin(workshop, "Next", exercise, None)),
        None => {
            let _ = writeln!(text, "{GOOD}All exercises are done.{GOOD:#} A server of your own is next:");
            let _ = writeln!(text, "  {COMMAND}cargo run -- probe -- python3 my_server.py {{addr}}{COMMAND:#}");
        }
    }
    text
}

/// What to read, to edit and to type for an exercise. One without a command of its own is begun as the one before was
/// done: `before` is that exercise and its command.
fn begin(workshop: &Workshop, heading: &str, exercise: &Exercise, before: Option<(&Exercise, &Launch)>) -> String {
    let Exercise { id, title, folder, .. } = exercise;
    let mut text = format!("{BOLD}{heading}: {id}, {title}{BOLD:#}\n");
    let _ = writeln!(text, "  {:SECOND$}{folder}/README.md", "The task");
    let remembered = workshop.remembered(exercise).ok().flatten();
    let (server, command) = match (remembered, before) {
        (Some(launch), _) => (mine(workshop, exercise, Some(&launch)), String::new()),
        (None, Some((done, launch))) => {
            let line = launch.line().replace(done.folder, folder);
            let line = if line == launch.line() { launch.like().line() } else { line };
            (format!("{folder}/…"), format!(" -- {line}"))
        }
        (None, None) => (mine(workshop, exercise, None), String::new()),
    };
    let _ = writeln!(text, "  {:SECOND$}{server}", "Your server");
    let _ = writeln!(text, "  {:SECOND$}{COMMAND}cargo run -- check {id}{command}{COMMAND:#}", "Check it");
    text
}

/// The files that are a student's server, or else the command that starts it.
fn mine(workshop: &Workshop, exercise: &Exercise, launch: Option<&Launch>) -> String {
    let Some(launch) = launch else { return workshop.shown(&workshop.file(exercise)) };
    let files: Vec<&str> = launch.sources().into_iter().map(|file| file.trim_start_matches("./")).collect();
    if files.is_empty() { launch.line() } else { files.join(", ") }
}

/// One exercise: a line for each of its checks, the story of the first that fell or of all, and what to type next.
pub(super) fn graded(workshop: &Workshop, graded: &Graded, progress: &Progress, all_details: bool) -> String {
    let Exercise { id, title, .. } = graded.exercise;
    let mut text = format!("{BOLD}{id}, {title}{BOLD:#}\n");
    if graded.launch.is_some() {
        let _ = writeln!(text, "{DIM}{}: {}{DIM:#}", graded.language(), graded.command());
    }
    text.push('\n');
    let falls = graded.count(Verdict::Falls);
    if let Some(problem) = &graded.problem {
        text.push_str(&screen::paragraph(&format!("{BAD}{problem}.{BAD:#}"), 2));
    } else {
        text.extend(graded.checks.iter().map(one));
        if graded.is_done() {
            return text + &done(workshop, graded, progress);
        }
        let (holds, skipped, score) = (graded.count(Verdict::Holds), graded.count(Verdict::Skipped), score_of(graded));
        let _ = writeln!(text, "\n{holds} held, {falls} fell, {skipped} skipped: {}.", score.trim_start());
        if falls == 0 {
            let why = if graded.is_unfinished() {
                "Nothing fell, but not all was judged. Check again when this machine has less to do."
            } else {
                "This system can't run any of the checks. They can be run on Linux."
            };
            return text + &format!("\n{why}\n");
        }
        let fallen = graded.checks.iter().filter(|checked| checked.finding.verdict == Verdict::Falls);
        let told = fallen.take(if all_details { usize::MAX } else { 1 });
        text.extend(told.map(|checked| story(workshop, checked, all_details)));
    }
    // A command that could not be kept has to be typed again.
    let kept = |launch: &&Launch| {
        workshop.remembered(graded.exercise).ok().flatten().is_some_and(|kept| kept.words == launch.words)
    };
    let again = graded.launch.as_ref().filter(|launch| !kept(launch));
    let again = again.map_or_else(String::new, |launch| format!(" -- {}", launch.line()));
    let _ = writeln!(text, "\n{BOLD}Next{BOLD:#}");
    let mine = mine(workshop, graded.exercise, graded.launch.as_ref());
    let _ = writeln!(text, "  {:SECOND$}{mine}", "Mend");
    let _ = writeln!(text, "  {:SECOND$}{COMMAND}cargo run -- check {id}{again}{COMMAND:#}", "Check again");
    if graded.problem.is_none() && falls > 1 && !all_details {
        let _ = writeln!(
            text,
            "  {:SECOND$}{COMMAND}cargo run -- check {id} --all-details{again}{COMMAND:#}",
            "See them all"
        );
    }
    let _ = writeln!(text, "  {:SECOND$}{COMMAND}cargo run -- check {id} --hint{COMMAND:#}", "Get a hint");
    text
}

/// What is said when nothing is left to mend.
fn done(workshop: &Workshop, graded: &Graded, progress: &Progress) -> String {
    let (holds, checks) = (graded.count(Verdict::Holds), graded.checks.len());
    let all = if holds == checks {
        "Every check holds".into()
    } else {
        format!("{holds} checks held, none fell, {} could not be judged whole", checks - holds)
    };
    let mut text = format!("\n{GOOD}{all}: {}.{GOOD:#}\n\n", score_of(graded).trim_start());
    // A teacher may have taken it away.
    let solution = workshop.solution(graded.exercise);
    if solution.is_file() {
        let _ = writeln!(text, "  {:SECOND$}{}\n", "Compare with", workshop.shown(&solution));
    }
    let like = graded.launch.as_ref().map(|launch| (graded.exercise, launch));
    text + &match progress.next_after(graded.exercise) {
        Some(next) => begin(workshop, "Next", next, like),
        None => format!("{GOOD}All exercises are done.{GOOD:#}\n"),
    }
}

/// One check: a line, and what there is to say of it beside that.
fn one(checked: &Checked) -> String {
    let Checked { check: Check { name, points, .. }, finding: Finding { verdict, evidence }, .. } = checked;
    let unit = plural(*points as usize);
    let score = match verdict {
        Verdict::Falls => format!("0 of {points} point{unit}"),
        Verdict::Skipped => format!("{points} point{unit} not judged"),
        _ => format!("{points} point{unit}"),
    };
    let mut text = headline(checked, &format!("{name:36}  {DIM}{score}{DIM:#}"));
    if matches!(verdict, Verdict::Differs | Verdict::Note | Verdict::Skipped) {
        text.push_str(&screen::paragraph(&evidence.sentence, 13));
    }
    text
}

/// The sign and the word of a verdict, and what follows them.
fn headline(checked: &Checked, text: &str) -> String {
    let verdict = checked.finding.verdict;
    let style = screen::verdict(verdict);
    format!("  {style}{} {:7}{style:#}  {text}\n", screen::sign(verdict), verdict.word())
}

/// The story of a check that fell.
fn story(workshop: &Workshop, checked: &Checked, whole: bool) -> String {
    let (head, tail) = if whole { (CAPACITY, 0) } else { (HEAD, TAIL) };
    let Checked { check: Check { name, does, why, page, .. }, finding: Finding { evidence, .. }, recording } = checked;
    let mut text = format!("\n{}", headline(checked, name));
    text.push_str(&screen::paragraph(&sentence(does), 4));
    text.push('\n');
    text.push_str(&timeline::draw_ends(recording, screen::width(), head, tail, "check"));
    text.push('\n');
    for line in evidence::lines(evidence, screen::width() - 4) {
        let _ = writeln!(text, "    {line}");
    }
    if !recording.complaints.is_empty() {
        let _ = writeln!(text, "\n    Your server wrote meanwhile:");
        for line in &recording.complaints {
            text.push_str(&screen::paragraph(line, 6));
        }
    }
    text.push('\n');
    text.push_str(&screen::paragraph(&format!("Why it matters: {}", sentence(why)), 4));
    for line in place(workshop, page) {
        text.push_str(&screen::paragraph(&format!("{DIM}{line}{DIM:#}"), 4));
    }
    text
}

/// All exercises on a line each: what a teacher wants to see of a student.
pub(super) fn table(graded: &[Graded]) -> String {
    let mut text = String::new();
    for one in graded {
        let Exercise { id, title, .. } = one.exercise;
        let style = if one.is_done() { GOOD } else { BAD };
        let score = score_of(one);
        let language = one.launch.as_ref().map_or_else(String::new, |_| format!("  {DIM}{}{DIM:#}", one.language()));
        let _ = writeln!(text, "{id:8}  {title:33}  {style}{score}{style:#}{language}");
        let named = |verdict: Verdict| {
            let of_it = one.checks.iter().filter(move |checked| checked.finding.verdict == verdict);
            let names: Vec<&str> = of_it.map(|checked| checked.check.name).collect();
            (!names.is_empty()).then(|| screen::paragraph(&format!("{}: {}", verdict.word(), names.join(", ")), 10))
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
    let not_judged: u32 = graded.iter().map(Graded::not_judged).sum();
    let _ = writeln!(text, "\n{BOLD}{}{BOLD:#}", score(points, all, not_judged).trim_start());
    text
}

fn score_of(graded: &Graded) -> String {
    score(graded.points(), graded.of(), graded.not_judged())
}

/// So many points of those that could be judged, and how many could not.
fn score(points: u32, of: u32, not_judged: u32) -> String {
    let rest = if not_judged == 0 { String::new() } else { format!(", {not_judged} not judged") };
    format!("{points:2} of {of} points{rest}")
}

/// Where something stands in the book: the chapter and the heading, and where the page is, if it is built.
fn place(workshop: &Workshop, page: &str) -> Vec<String> {
    let (file, anchor) = page.split_once('#').unwrap_or((page, ""));
    // A chapter's page begins with its number.
    let chapter = file.split('_').next().and_then(|number| number.parse::<u8>().ok());
    let chapter =
        chapter.map_or_else(|| file.replace(".html", "").replace('_', " "), |number| format!("chapter {number}"));
    let text = std::fs::read_to_string(workshop.page(file)).unwrap_or_default();
    let heading = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_matches(['#', ' ']));
    let heading =
        heading.filter(|heading| anchor_of(heading) == anchor).find_map(|heading| heading.split(" {#").next());
    let heading = heading.map_or_else(String::new, |heading| format!(", \"{}\"", heading.replace('`', "")));
    let mut lines = vec![format!("In the book: {chapter}{heading}")];
    let built = workshop.built_page(file);
    if built.is_file() {
        lines.push(format!("{}#{anchor}", workshop.shown(&built)));
    }
    lines
}

/// The anchor that mdBook gives a heading: the one behind it, or the heading without capitals and signs.
fn anchor_of(heading: &str) -> String {
    if let Some((_, anchor)) = heading.split_once(" {#") {
        return anchor.trim_end_matches('}').to_owned();
    }
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | ' ');
    heading.to_lowercase().chars().filter(kept).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// A hint for the terminal: the paragraphs of its Markdown and the items of its lists, wrapped.
pub(super) fn hint(markdown: &str) -> String {
    const INDENT: usize = 2;
    let mut blocks: Vec<String> = Vec::new();
    for line in markdown.lines() {
        match blocks.last_mut() {
            Some(block) if !block.is_empty() && !line.is_empty() && !line.starts_with("- ") => {
                *block += " ";
                *block += line.trim();
            }
            _ => blocks.push(line.to_owned()),
        }
    }
    let shown = |block: String| match block.replace("**", "") {
        empty if empty.is_empty() => "\n".into(),
        text => match text.strip_prefix("- ") {
            Some(item) => screen::beside(&format!("{:INDENT$}- ", ""), INDENT + 2, item, screen::width()),
            None => screen::paragraph(&text, INDENT),
        },
    };
    blocks.into_iter().map(shown).collect()
}

/// A sentence with its full stop.
fn sentence(text: &str) -> String {
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}
