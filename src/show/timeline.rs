//! Tells a recording in lines, for the terminal (time, who, what) and for figures.

use std::fmt::{self, Write};

use super::screen::{self, DIM};
use crate::lab::recording::{Action, Event, Recording, with_thousands};

/// How many lines are drawn from the beginning and from the end of a long recording.
const HEAD: usize = 13;
const TAIL: usize = 6;

/// How many calls of the server in a row are drawn before the rest is summed up. The last one is drawn as well.
const CALLS_DRAWN: usize = 4;

/// What is drawn of a recording, one thing after the other.
#[derive(Clone, Copy)]
pub(super) enum Line<'a> {
    /// An event.
    Event(&'a Event),
    /// Many calls of the server in a row.
    Folded {
        /// How many reads there were, and of how many bytes.
        reads: usize,
        read: usize,
        /// How many writes there were, and of how many bytes.
        writes: usize,
        written: usize,
    },
    /// So many times more the same.
    Same { who: &'a str, times: usize },
    /// The middle of what is too long.
    LeftOut(usize),
    /// Events that nobody kept.
    NotRecorded(usize),
}

/// A summary in words; an event as what was done.
impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Event(event) => write!(f, "{}", event.action),
            Line::Folded { reads, read, writes, written } => {
                let calls = [sum_up(*reads, "read", *read), sum_up(*writes, "write", *written)];
                let calls: Vec<String> = calls.into_iter().flatten().collect();
                write!(f, "… {}", calls.join(" and "))
            }
            Line::Same { times, .. } => write!(f, "… {} times more", with_thousands(*times)),
            Line::LeftOut(events) => write!(f, "… {} more events", with_thousands(*events)),
            Line::NotRecorded(events) => write!(f, "… and {} events that were not recorded", with_thousands(*events)),
        }
    }
}

/// The timeline, a line for each event, wrapped at `width` columns.
///
/// A server that reads or writes a thousand times in a row is summed up, except for calls that failed or fell short.
pub fn draw(recording: &Recording, width: usize) -> String {
    draw_behind(recording, &lines(recording), width, Some(since_start))
}

/// The same, of a long recording only so many lines from its beginning and from its end, and between them what `always`
/// did: the rest can't be understood without it.
///
/// Its end is not that everybody leaves when all is over: that would take the place of what went wrong just before.
pub fn draw_ends(recording: &Recording, width: usize, head: usize, tail: usize, always: &str) -> String {
    let mut lines = fold(&recording.events);
    while lines.len() > head + tail
        && matches!(lines.last(), Some(Line::Event(event)) if event.action == Action::Leaves)
    {
        lines.pop();
    }
    draw_behind(recording, &ends(recording, lines, head, tail, Some(always)), width, Some(since_start))
}

/// The same without the times, which are others in each run.
pub fn draw_without_times(recording: &Recording, width: usize) -> String {
    draw_behind(recording, &lines(recording), width, None)
}

fn since_start(event: &Event) -> String {
    let (seconds, millis) = (event.at_ns / 1_000_000_000, event.at_ns / 1_000_000 % 1_000);
    format!("{seconds:3}.{millis:03}")
}

/// The timeline, each event behind its time.
fn draw_behind(recording: &Recording, lines: &[Line<'_>], width: usize, time: Option<fn(&Event) -> String>) -> String {
    let who_width = recording.events.iter().map(|event| event.who.chars().count()).max().unwrap_or(0);
    let mut drawn = String::new();
    for line in lines {
        match line {
            Line::Event(event) => draw_event(&mut drawn, event, who_width, width, time.map(|time| time(event))),
            summary => draw_summary(&mut drawn, width, &summary.to_string(), if time.is_some() { 13 } else { 4 }),
        }
    }
    drawn
}

/// `12 more reads (98,304 bytes)`, or nothing.
fn sum_up(count: usize, call: &str, bytes: usize) -> Option<String> {
    let plural = if count == 1 { "" } else { "s" };
    (count > 0).then(|| format!("{} more {call}{plural} ({} bytes)", with_thousands(count), with_thousands(bytes)))
}

/// What is drawn of a recording. Long ones keep their beginning and their end.
pub(super) fn lines(recording: &Recording) -> Vec<Line<'_>> {
    ends(recording, fold(&recording.events), HEAD, TAIL, None)
}

fn ends<'a>(
    recording: &Recording,
    mut lines: Vec<Line<'a>>,
    head: usize,
    tail: usize,
    always: Option<&str>,
) -> Vec<Line<'a>> {
    // A small gap would hide more than it saves.
    if lines.len().saturating_sub(head + tail) > 3 {
        let end = lines.split_off(lines.len() - tail);
        let middle = lines.split_off(head);
        let shown = |line: &Line<'_>| matches!(line, Line::Event(event) if always == Some(event.who.as_str()));
        for run in middle.chunk_by(|one, next| shown(one) == shown(next)) {
            match run {
                [line, ..] if shown(line) => lines.extend(run.iter().copied()),
                [line] => lines.push(*line),
                _ => lines.push(Line::LeftOut(run.len())),
            }
        }
        lines.extend(end);
    }
    if recording.left_out > 0 {
        lines.push(Line::NotRecorded(recording.left_out));
    }
    lines
}

fn fold(events: &[Event]) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for run in events.chunk_by(|one, next| one.is_ordinary_call() == next.is_ordinary_call()) {
        if !run[0].is_ordinary_call() || run.len() <= CALLS_DRAWN + 2 {
            fold_repeated(&mut lines, run);
            continue;
        }
        lines.extend(run[..CALLS_DRAWN].iter().map(Line::Event));
        let (mut reads, mut read, mut writes, mut written) = (0, 0, 0, 0);
        for event in &run[CALLS_DRAWN..run.len() - 1] {
            match &event.action {
                Action::Read(payload) => (reads, read) = (reads + 1, read + payload.len()),
                Action::Wrote { given, .. } => (writes, written) = (writes + 1, written + given),
                _ => {}
            }
        }
        lines.push(Line::Folded { reads, read, writes, written });
        lines.extend(run.last().map(Line::Event));
    }
    lines
}

/// The same thing over and over is drawn once.
fn fold_repeated<'a>(lines: &mut Vec<Line<'a>>, events: &'a [Event]) {
    for same in events.chunk_by(|one, next| one.who == next.who && one.action == next.action) {
        lines.push(Line::Event(&same[0]));
        match same.len() {
            1 => {}
            2 => lines.push(Line::Event(&same[1])),
            more => lines.push(Line::Same { who: &same[0].who, times: more - 1 }),
        }
    }
}

fn draw_summary(drawn: &mut String, width: usize, text: &str, indent: usize) {
    for line in screen::wrap(text, width.saturating_sub(indent)) {
        let _ = writeln!(drawn, "{:indent$}{DIM}{line}{DIM:#}", "");
    }
}

fn draw_event(drawn: &mut String, event: &Event, who_width: usize, width: usize, time: Option<String>) {
    let style = screen::actor(&event.who);
    let time = time.map_or_else(String::new, |time| format!("{DIM}{time}{DIM:#}  "));
    let indent = 4 + if time.is_empty() { 0 } else { 7 + 2 } + who_width + 2;
    let mut lines = screen::wrap(&event.action.to_string(), width.saturating_sub(indent)).into_iter();
    let first = lines.next().unwrap_or_default();
    let who = format!("{style}{:who_width$}{style:#}", event.who);
    let _ = writeln!(drawn, "    {time}{who}  {first}");
    for line in lines {
        let _ = writeln!(drawn, "{:indent$}{line}", "");
    }
}
