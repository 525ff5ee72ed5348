//! Properties of everything in the chapters that reads a stream: for any bytes, cut into any reads, with failures
//! anywhere in between, it does what an obvious implementation does.
//!
//! A property takes its stream from a source of bytes. `tests/properties.rs` gives it random ones, and the targets in
//! `tools/fuzz/` those that a fuzzer made up to reach new code.

// Each program that includes this uses a part of it.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};

use arbitrary::{Result, Unstructured};
use tcp_pitfalls::chapter_04::frame::{FrameError, read_frame};
use tcp_pitfalls::chapter_05::line_reader::{CHUNK, Line, LineReader};
use tcp_pitfalls::{chapter_04, chapter_05};

use oracle::{Event, LineRules};
use script::{Script, Sink, Step};

pub mod oracle;
pub mod script;

/// `LineReader` finds the lines, refusals, failures and the end that there are, and knows what it has read ahead.
pub fn line_reader_agrees(u: &mut Unstructured<'_>) -> Result<()> {
    let limit = any_limit(u)?;
    let steps = any_lines(u, limit)?;
    let bytes = all_bytes(&steps);
    let (given, needed) = (Cell::new(0), Cell::new(0));
    let before_read = || assert!(given.get() < needed.get(), "it reads before it gives out what it has");
    let mut lines = LineReader::new(Watched::new(&steps, &given, before_read), limit);
    for (position, wanted) in oracle::lines(&steps, &LineRules { limit, drop_cr: true }) {
        needed.set(if matches!(wanted, Event::Message(_) | Event::TooLong) { position } else { usize::MAX });
        let found = match lines.next_line() {
            Ok(Line::Whole(line)) => Event::Message(line.to_vec()),
            Ok(Line::TooLong) => Event::TooLong,
            Ok(Line::CutShort) => Event::CutShort,
            Ok(Line::End) => Event::End,
            Err(error) => Event::Failed(error.kind()),
        };
        assert_eq!(found, wanted);
        if let Event::Message(_) = wanted {
            let ahead = &bytes[position..given.get()];
            assert_eq!(lines.between_lines(), ahead.is_empty());
            assert_eq!(lines.another_waits(), ahead.contains(&b'\n'));
        }
    }
    Ok(())
}

/// `read_frame` finds the frames, refusals, failures and the end that there are, and never reads beyond a frame.
pub fn read_frame_agrees(u: &mut Unstructured<'_>) -> Result<()> {
    let limit = u.int_in_range(0..=300)?;
    let steps = any_frames(u, limit)?;
    let bytes = all_bytes(&steps);
    let given = Cell::new(0);
    let mut reader = Watched::new(&steps, &given, || {});
    for (position, wanted) in oracle::frames(&steps, limit) {
        let found = match read_frame(&mut reader, limit) {
            Ok(Some(payload)) => Event::Message(payload),
            Ok(None) => Event::End,
            Err(FrameError::TooLong { announced, limit: named }) => {
                assert_eq!(named, limit);
                let header = u32::try_from(announced).unwrap().to_be_bytes();
                assert_eq!(header, bytes[position - 4..position]);
                Event::TooLong
            }
            Err(FrameError::CutShort) => Event::CutShort,
            Err(FrameError::Io(error)) => Event::Failed(error.kind()),
        };
        assert_eq!(found, wanted);
        assert_eq!(given.get(), position, "what follows the frame is left in the stream");
    }
    Ok(())
}

/// Step 4 answers every line, `\r` and all, whatever its length.
pub fn echo_of_step_4_agrees(u: &mut Unstructured<'_>) -> Result<()> {
    let rules = LineRules { limit: usize::MAX, drop_cr: false };
    echo_agrees(u, &rules, |reader, writer| chapter_04::server::echo_lines(reader, writer))
}

/// Step 5 answers every line of at most the limit.
pub fn echo_of_step_5_agrees(u: &mut Unstructured<'_>) -> Result<()> {
    let rules = LineRules { limit: any_limit(u)?, drop_cr: true };
    echo_agrees(u, &rules, |reader, writer| chapter_05::server::echo_lines(reader, writer, rules.limit))
}

/// What a server and its client can see of each other in one conversation.
struct Stage<'a> {
    events: &'a [(usize, Event)],
    /// How many bytes of the client's the server has read.
    given: &'a Cell<usize>,
    answered: RefCell<Sink>,
}

impl Stage<'_> {
    /// How many bytes the answers to all lines have that the server has read whole.
    fn owed(&self) -> usize {
        let read_whole = self.events.iter().take_while(|(position, _)| *position <= self.given.get());
        read_whole
            .map(|(_, event)| if let Event::Message(line) = event { line.len() + "echo: \n".len() } else { 0 })
            .sum()
    }

    fn before_read(&self) {
        let refused = self.events.iter().any(|(at, event)| *at <= self.given.get() && *event == Event::TooLong);
        assert!(!refused, "a line that is too long is refused before its rest is read");
        // A client that waits for an answer before it sends more would wait for ever.
        assert_eq!(self.answered.borrow().bytes.len(), self.owed(), "a server that waits has answered all it read");
    }
}

/// Plays one conversation and compares all that the server says.
fn echo_agrees(
    u: &mut Unstructured<'_>,
    rules: &LineRules,
    serve: impl FnOnce(&mut dyn Read, &mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let answered = RefCell::new(match u.int_in_range(0..=3)? {
        0 => Sink::default(),
        most => Sink::short(most),
    });
    let steps = any_lines(u, rules.limit)?;
    let events = oracle::lines(&steps, rules);
    let given = Cell::new(0);
    let stage = Stage { events: &events, given: &given, answered };
    let mut reader = Watched::new(&steps, &given, || stage.before_read());
    let served = serve(&mut reader, &mut SharedSink(&stage.answered));

    // A server gives up at the first failure, so what follows it is nobody's.
    let until_failure = events.iter().position(|(_, event)| matches!(event, Event::Failed(_)));
    let events = &events[..until_failure.map_or(events.len(), |failed| failed + 1)];
    let mut answers = Vec::new();
    for (_, event) in events {
        match event {
            Event::Message(line) => answers.extend([b"echo: ", &line[..], b"\n"].concat()),
            Event::TooLong => answers.extend(format!("error: line too long (limit {} bytes)\n", rules.limit).bytes()),
            Event::CutShort | Event::End | Event::Failed(_) => {}
        }
    }
    assert!(
        stage.answered.borrow().bytes == answers,
        "answered \"{}\" instead of \"{}\"",
        stage.answered.borrow().bytes.escape_ascii(),
        answers.escape_ascii()
    );
    match events.last().map(|(_, event)| event) {
        Some(Event::Failed(kind)) => assert_eq!(served.unwrap_err().kind(), *kind),
        Some(Event::CutShort) => assert_eq!(served.unwrap_err().kind(), ErrorKind::UnexpectedEof),
        _ => served.unwrap(),
    }
    Ok(())
}

/// A script that reports each read before it happens, and counts the bytes it gave.
struct Watched<'a, F> {
    script: Script,
    given: &'a Cell<usize>,
    before_read: F,
}

impl<'a, F: Fn()> Watched<'a, F> {
    fn new(steps: &[Step], given: &'a Cell<usize>, before_read: F) -> Self {
        Watched { script: Script::new(steps.iter().cloned()), given, before_read }
    }
}

impl<F: Fn()> Read for Watched<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.before_read)();
        let count = self.script.read(buffer)?;
        self.given.set(self.given.get() + count);
        Ok(count)
    }
}

/// A sink that can be looked at while somebody else writes to it.
struct SharedSink<'a>(&'a RefCell<Sink>);

impl Write for SharedSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&mut *self.0.borrow_mut()).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Limits that short lines reach, limits near the size of a read, and none.
fn any_limit(u: &mut Unstructured<'_>) -> Result<usize> {
    Ok(match u.int_in_range(0..=9)? {
        0 => usize::MAX,
        1 => CHUNK - 3 + u.int_in_range(0..=6)?,
        _ => u.int_in_range(0..=20)?,
    })
}

/// Lines in which ends are frequent, lengths near the limit as well, and each read may bring any part.
fn any_lines(u: &mut Unstructured<'_>, limit: usize) -> Result<Vec<Step>> {
    any_steps(u, |u| {
        Ok(match u.int_in_range(0..=9)? {
            0 if limit < CHUNK / 2 || limit < 2 * CHUNK && u.ratio(1, 8)? => {
                let mut line = vec![b'x'; limit.saturating_sub(1) + u.int_in_range(0..=3)?];
                line.extend_from_slice(u.choose(&[&b"\n"[..], b"\r\n", b"\r\r\n"])?);
                line
            }
            1 if u.ratio(1, 16)? => vec![b'x'; u.int_in_range(1..=CHUNK + 3)?],
            2..=5 => {
                let length = u.int_in_range(1..=12)?;
                (0..length).map(|_| Ok(*u.choose(b"\n\r\n\rxy")?)).collect::<Result<_>>()?
            }
            _ => {
                let length = u.int_in_range(1..=12)?;
                at_most(u, length)?.to_vec()
            }
        })
    })
}

/// Frames with lengths near the limit, and noise.
fn any_frames(u: &mut Unstructured<'_>, limit: usize) -> Result<Vec<Step>> {
    any_steps(u, |u| {
        Ok(match u.int_in_range(0..=5)? {
            0 => {
                let length = u.int_in_range(1..=12)?;
                at_most(u, length)?.to_vec()
            }
            1 => {
                let length = u.int_in_range(limit.saturating_sub(2)..=limit + 2)?;
                [&u32::try_from(length).unwrap().to_be_bytes()[..], &vec![b'x'; length]].concat()
            }
            _ => {
                let length = u.int_in_range(0..=6)?;
                [&u32::try_from(length).unwrap().to_be_bytes()[..], at_most(u, length)?].concat()
            }
        })
    })
}

/// Some bytes at a time, cut anywhere, with failures in between.
fn any_steps(
    u: &mut Unstructured<'_>,
    mut any_bytes: impl FnMut(&mut Unstructured<'_>) -> Result<Vec<u8>>,
) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    while !u.is_empty() && steps.len() < 200 {
        match u.int_in_range(0..=11)? {
            0 => steps.push(Step::Fails(ErrorKind::Interrupted)),
            1 => steps.push(Step::Fails(*u.choose(&[ErrorKind::WouldBlock, ErrorKind::TimedOut])?)),
            2 if u.ratio(1, 8)? => steps.push(Step::Fails(ErrorKind::ConnectionReset)),
            _ => {
                let bytes = any_bytes(u)?;
                let (first, second) = bytes.split_at(u.int_in_range(0..=bytes.len())?);
                // An empty read would be the end of the stream.
                let parts = [first, second].into_iter().filter(|part| !part.is_empty());
                // Or these bytes come with those before.
                let joined = u.ratio(1, 2)?;
                for part in parts {
                    match steps.last_mut() {
                        Some(Step::Bytes(last)) if joined => last.extend_from_slice(part),
                        _ => steps.push(Step::Bytes(part.to_vec())),
                    }
                }
            }
        }
    }
    Ok(steps)
}

/// So many bytes, or the last there are.
fn at_most<'a>(u: &mut Unstructured<'a>, length: usize) -> Result<&'a [u8]> {
    u.bytes(length.min(u.len()))
}

fn all_bytes(steps: &[Step]) -> Vec<u8> {
    let mut all = Vec::new();
    for step in steps {
        if let Step::Bytes(bytes) = step {
            all.extend_from_slice(bytes);
        }
    }
    all
}
