//! Draws a recording for the terminal: time, who, what.

use std::fmt::Write;

use super::recording::{Event, Recording, What, group};
use crate::screen::{self, DIM};

/// How many lines are drawn from the beginning and from the end of a long recording.
const HEAD: usize = 13;
const TAIL: usize = 6;

/// How many calls of the server in a row are drawn before the rest is summed up. The last one is drawn as well.
const CALLS_DRAWN: usize = 4;

/// One line of a timeline.
enum Line<'a> {
    Event(&'a Event),
    Folded { reads: usize, read: usize, writes: usize, written: usize },
    Same(usize),
}

/// The timeline, a line for each event, wrapped at `width` columns.
///
/// A server that reads or writes a thousand times in a row is summed up, except for calls that failed or fell short.
pub fn draw(recording: &Recording, width: usize) -> String {
    let lines = fold(&recording.events);
    let who_width = recording.events.iter().map(|event| event.who.chars().count()).max().unwrap_or(0);
    let left_out = lines.len().saturating_sub(HEAD + TAIL);
    let mut drawn = String::new();
    for (index, line) in lines.iter().enumerate() {
        // A gap of one line would not be shorter than the line itself.
        if left_out > 1 && (HEAD..lines.len() - TAIL).contains(&index) {
            if index == HEAD {
                draw_summary(&mut drawn, width, &format!("… {} more events", group(left_out)));
            }
            continue;
        }
        match line {
            Line::Event(event) => draw_event(&mut drawn, event, who_width, width),
            Line::Same(times) => draw_summary(&mut drawn, width, &format!("… {} times more", group(*times))),
            Line::Folded { reads, read, writes, written } => {
                let reads = sum_up(*reads, "read", *read);
                let writes = sum_up(*writes, "write", *written);
                let calls: Vec<String> = [reads, writes].into_iter().flatten().collect();
                draw_summary(&mut drawn, width, &format!("… {}", calls.join(" and ")));
            }
        }
    }
    if recording.left_out > 0 {
        draw_summary(&mut drawn, width, &format!("… and {} events that were not recorded", group(recording.left_out)));
    }
    drawn
}

/// `12 more reads (98,304 bytes)`, or nothing.
fn sum_up(count: usize, call: &str, bytes: usize) -> Option<String> {
    let plural = if count == 1 { "" } else { "s" };
    (count > 0).then(|| format!("{} more {call}{plural} ({} bytes)", group(count), group(bytes)))
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
            match &event.what {
                What::Read(payload) => (reads, read) = (reads + 1, read + payload.len()),
                What::Wrote { given, .. } => (writes, written) = (writes + 1, written + given),
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
    for same in events.chunk_by(|one, next| one.who == next.who && one.what == next.what) {
        lines.push(Line::Event(&same[0]));
        match same.len() {
            1 => {}
            2 => lines.push(Line::Event(&same[1])),
            more => lines.push(Line::Same(more - 1)),
        }
    }
}

fn draw_summary(drawn: &mut String, width: usize, text: &str) {
    const INDENT: usize = 4 + 7 + 2;
    for line in screen::wrap(text, width.saturating_sub(INDENT)) {
        let _ = writeln!(drawn, "{:INDENT$}{DIM}{line}{DIM:#}", "");
    }
}

fn draw_event(drawn: &mut String, event: &Event, who_width: usize, width: usize) {
    let seconds = event.at_ns / 1_000_000_000;
    let millis = event.at_ns / 1_000_000 % 1_000;
    let style = screen::actor(&event.who);
    let indent = 4 + 7 + 2 + who_width + 2;
    let mut lines = screen::wrap(&event.what.to_string(), width.saturating_sub(indent)).into_iter();
    let first = lines.next().unwrap_or_default();
    let who = format!("{style}{:who_width$}{style:#}", event.who);
    let _ = writeln!(drawn, "    {DIM}{seconds:3}.{millis:03}{DIM:#}  {who}  {first}");
    for line in lines {
        let _ = writeln!(drawn, "{:indent$}{line}", "");
    }
}
