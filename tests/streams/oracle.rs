//! What a stream holds, found in the most obvious way: byte by byte, and without a buffer.

use std::io::ErrorKind;

use super::script::Step;

/// One thing a reader is to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A line without its end, or the payload of a frame.
    Message(Vec<u8>),
    /// Longer than the limit: nothing is found after it.
    TooLong,
    /// The stream ended inside a message.
    CutShort,
    /// The stream ended between two messages.
    End,
    /// A read failed, otherwise than by an interruption.
    Failed(ErrorKind),
}

pub struct LineRules {
    /// The longest line, its end not counted.
    pub limit: usize,
    /// Whether a `\r` before the `\n` is part of the end.
    pub drop_cr: bool,
}

/// All events, each with the number of bytes after which it is known. Failures lose nothing.
pub fn lines(steps: &[Step], rules: &LineRules) -> Vec<(usize, Event)> {
    let (mut events, mut position, mut line) = (Vec::new(), 0, Vec::new());
    for step in steps {
        let bytes = match step {
            Step::Bytes(bytes) => bytes,
            Step::Fails(ErrorKind::Interrupted) => continue,
            Step::Fails(kind) => {
                events.push((position, Event::Failed(*kind)));
                continue;
            }
        };
        for &byte in bytes {
            position += 1;
            line.push(byte);
            if byte == b'\n' {
                line.pop();
                if rules.drop_cr && line.last() == Some(&b'\r') {
                    line.pop();
                }
                if line.len() > rules.limit {
                    events.push((position, Event::TooLong));
                    return events;
                }
                events.push((position, Event::Message(std::mem::take(&mut line))));
            } else if line.len().checked_sub(2).is_some_and(|least| least >= rules.limit) {
                // Even if the last byte is a `\r` that doesn't count, those before it are more than the limit.
                events.push((position, Event::TooLong));
                return events;
            }
        }
    }
    events.push((position, if line.is_empty() { Event::End } else { Event::CutShort }));
    events
}

/// All events up to the first failure, which loses the frame it is in.
pub fn frames(steps: &[Step], limit: usize) -> Vec<(usize, Event)> {
    let (mut events, mut position, mut frame) = (Vec::new(), 0, Vec::new());
    for step in steps {
        let bytes = match step {
            Step::Bytes(bytes) => bytes,
            Step::Fails(ErrorKind::Interrupted) => continue,
            Step::Fails(kind) => {
                events.push((position, Event::Failed(*kind)));
                return events;
            }
        };
        for &byte in bytes {
            position += 1;
            frame.push(byte);
            if let Some((header, payload)) = frame.split_first_chunk() {
                let announced = u32::from_be_bytes(*header) as usize;
                if announced > limit {
                    events.push((position, Event::TooLong));
                    return events;
                }
                if payload.len() == announced {
                    events.push((position, Event::Message(payload.to_vec())));
                    frame.clear();
                }
            }
        }
    }
    events.push((position, if frame.is_empty() { Event::End } else { Event::CutShort }));
    events
}
