//! Draws a recording for the terminal: time, who, what.

use std::fmt::Write;

use super::recording::{Event, Recording, group};
use crate::screen::{self, DIM};

/// How many lines are drawn from the beginning and from the end of a long recording.
const HEAD: usize = 11;
const TAIL: usize = 5;

/// The timeline, a line for each event, wrapped at `width` columns.
#[must_use]
pub fn draw(recording: &Recording, width: usize) -> String {
    let events = &recording.events;
    let who_width = events.iter().map(|event| event.who.chars().count()).max().unwrap_or(0);
    let left_out = recording.left_out + events.len().saturating_sub(HEAD + TAIL);
    let mut drawn = String::new();
    for (index, event) in events.iter().enumerate() {
        // A gap of one line would not be shorter than the line itself.
        if left_out > 1 && index >= HEAD && index < events.len() - TAIL {
            if index == HEAD {
                let _ = writeln!(drawn, "    {:7}  {DIM}… {} more events{DIM:#}", "", group(left_out));
            }
            continue;
        }
        draw_event(&mut drawn, event, who_width, width);
    }
    drawn
}

fn draw_event(drawn: &mut String, event: &Event, who_width: usize, width: usize) {
    let seconds = event.at_us / 1_000_000;
    let millis = event.at_us / 1_000 % 1_000;
    let style = screen::actor(&event.who);
    let indent = 4 + 7 + 2 + who_width + 2;
    let mut lines = screen::wrap(&event.what.to_string(), width.saturating_sub(indent)).into_iter();
    let first = lines.next().unwrap_or_default();
    let _ =
        writeln!(drawn, "    {DIM}{seconds:3}.{millis:03}{DIM:#}  {style}{:who_width$}{style:#}  {first}", event.who);
    for line in lines {
        let _ = writeln!(drawn, "{:indent$}{line}", "");
    }
}
