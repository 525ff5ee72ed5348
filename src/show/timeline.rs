//! Tells a recording in lines, for the terminal (time, who, what) and for figures.

use std::fmt::Write;

use super::screen::{self, DIM};
use crate::lab::recording::{Action, Event, Recording};

/// How many lines are drawn from the beginning and from the end of a long recording.
const HEAD: usize = 13;
const TAIL: usize = 6;

/// How many calls of the server in a row are drawn before the rest is summed up. The last one is drawn as well.
const CALLS_DRAWN: usize = 4;

/// The timeline, a line for each event, wrapped at `width` columns.
///
/// A server that reads or writes a thousand times in a row is summed up, except for calls that failed or fell short.
pub fn draw(recording: &Recording, width: usize) -> String {
    draw_events(&shortened(recording), width, true)
}

/// The same, of a long recording only so many lines from its beginning and from its end, and between them what `always`
/// did: the rest can't be understood without it.
///
/// Its end is not that everybody leaves when all is over: that would take the place of what went wrong just before.
pub fn draw_ends(recording: &Recording, width: usize, head: usize, tail: usize, always: &str) -> String {
    let mut events = fold(&recording.events);
    while events.len() > head + tail && events.last().is_some_and(|event| event.action == Action::Leaves) {
        events.pop();
    }
    draw_events(&ends(events, recording.left_out, head, tail, Some(always)), width, true)
}

/// The same without the times, which are others in each run.
pub fn draw_without_times(recording: &Recording, width: usize) -> String {
    draw_events(&shortened(recording), width, false)
}

/// The timeline, each event behind its time if that is wanted.
fn draw_events(events: &[Event], width: usize, with_times: bool) -> String {
    let who_width = events.iter().map(|event| event.who.chars().count()).max().unwrap_or(0);
    let indent = if with_times { 4 + "  0.000  ".len() } else { 4 };
    let mut drawn = String::new();
    for event in events {
        let text = event.action.to_string();
        if event.action.is_summary() {
            for line in screen::wrap(&text, width.saturating_sub(indent)) {
                let _ = writeln!(drawn, "{:indent$}{DIM}{line}{DIM:#}", "");
            }
            continue;
        }
        let (seconds, millis) = (event.at_ns / 1_000_000_000, event.at_ns / 1_000_000 % 1_000);
        let time = if with_times { format!("{DIM}{seconds:3}.{millis:03}{DIM:#}  ") } else { String::new() };
        let style = screen::actor(&event.who);
        let head = format!("    {time}{style}{:who_width$}{style:#}  ", event.who);
        drawn += &screen::beside(&head, indent + who_width + 2, &text, width);
    }
    drawn
}

/// What is drawn of a recording: what is too much is summed up, and a long one keeps its beginning and its end.
///
/// What has been shortened stays as it is.
pub fn shortened(recording: &Recording) -> Vec<Event> {
    if recording.events.iter().any(|event| event.action.is_summary()) {
        return recording.events.clone();
    }
    ends(fold(&recording.events), recording.left_out, HEAD, TAIL, None)
}

fn ends(mut events: Vec<Event>, not_kept: usize, head: usize, tail: usize, always: Option<&str>) -> Vec<Event> {
    // A small gap would hide more than it saves.
    if events.len().saturating_sub(head + tail) > 3 {
        let end = events.split_off(events.len() - tail);
        let middle = events.split_off(head);
        let shown = |event: &Event| always == Some(event.who.as_str());
        for run in middle.chunk_by(|one, next| shown(one) == shown(next)) {
            match run {
                [event, ..] if shown(event) => events.extend_from_slice(run),
                [event] => events.push(event.clone()),
                [event, ..] => events.push(left_out(run.len(), event.at_ns)),
                [] => {}
            }
        }
        events.extend(end);
    }
    if not_kept > 0 {
        let at_ns = events.last().map_or(0, |event| event.at_ns);
        events.push(left_out(not_kept, at_ns));
    }
    events
}

fn left_out(events: usize, at_ns: u64) -> Event {
    Event { at_ns, who: String::new(), connection: None, action: Action::LeftOut { events }, kernel: None }
}

fn fold(events: &[Event]) -> Vec<Event> {
    let mut folded = Vec::new();
    for run in events.chunk_by(|one, next| one.is_ordinary_call() == next.is_ordinary_call()) {
        if !run[0].is_ordinary_call() || run.len() <= CALLS_DRAWN + 2 {
            fold_repeated(&mut folded, run);
            continue;
        }
        folded.extend_from_slice(&run[..CALLS_DRAWN]);
        let (mut reads, mut read, mut writes, mut written) = (0, 0, 0, 0);
        let (many, last) = (&run[CALLS_DRAWN..run.len() - 1], &run[run.len() - 1]);
        for event in many {
            match &event.action {
                Action::Read(payload) => (reads, read) = (reads + 1, read + payload.len()),
                Action::Wrote { given, .. } => (writes, written) = (writes + 1, written + given),
                _ => {}
            }
        }
        folded.push(Event {
            action: Action::MoreCalls { reads, read, writes, written },
            kernel: None,
            ..many[0].clone()
        });
        folded.push(last.clone());
    }
    folded
}

/// The same thing over and over is drawn once.
fn fold_repeated(folded: &mut Vec<Event>, events: &[Event]) {
    let are_same = |one: &Event, next: &Event| {
        (&one.who, one.connection, &one.action) == (&next.who, next.connection, &next.action)
    };
    for same in events.chunk_by(are_same) {
        match same {
            [_] | [_, _] => folded.extend_from_slice(same),
            [first, second, .., last] => {
                let (action, kernel) = (Action::Repeats { times: same.len() - 1 }, last.kernel.clone());
                folded.extend([first.clone(), Event { action, kernel, ..second.clone() }]);
            }
            [] => {}
        }
    }
}
