//! Step 8: no client keeps a place longer than it may.

use std::fmt;
use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use socket2::SockRef;

use super::deadlines::{Limits, ReadInTime, TooSlow, WriteInTime};
use crate::chapter_01::announce::log;
use crate::chapter_04::close::close;
use crate::chapter_05::server::echo_lines;
use crate::chapter_06::stop::Stop;
use crate::chapter_07::server::{self as step_7, run_until_signal};

// ANCHOR: options
/// The options of this server.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Options {
    // Step 7's. A doc comment here would become the heading of the help.
    #[command(flatten)]
    pub(crate) stop: step_7::Options,
    /// Give a line this many seconds from its first byte to its end
    // The longest line, 64 KiB, takes 9.4 s through a modem of 56 kbit/s. Nobody who means to end a line is slower.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = seconds())]
    pub line_time: u64,
    /// Let a client say nothing between two lines for this many seconds
    // More than the 60 s after which common balancers give up a silent connection: who ends it should be the one that
    // would send on it next. nginx has 75 s for the same (keepalive_timeout).
    #[arg(long, value_name = "SECONDS", default_value_t = 75, value_parser = seconds())]
    pub idle_time: u64,
    /// Give a client this many seconds to take an answer
    // As for a line: an answer is as long, and the way back is no slower.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = seconds())]
    pub write_time: u64,
}
// ANCHOR_END: options

/// From a second to a day. Zero would be no limit in some systems' calls and an error in others.
fn seconds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=86_400)
}

impl Options {
    /// The limits as durations.
    pub fn limits(&self) -> Limits {
        let [line, idle, write] = [self.line_time, self.idle_time, self.write_time].map(Duration::from_secs);
        Limits { line, idle, write }
    }
}

/// Runs the server of this step until a signal stops it.
pub fn run(addr: &str, options: &Options) -> Result<()> {
    let (limit, limits) = (options.stop.lines.limit, options.limits());
    let counts = Arc::new(Counts::default());
    let counted = Arc::clone(&counts);
    run_until_signal(addr, &options.stop, move |stream, stop| handle(stream, stop, limit, limits, &counted))?;
    log(format_args!("too slow: {counts}"));
    Ok(())
}

/// How many clients were too slow, and at what.
#[derive(Debug, Default)]
pub struct Counts {
    /// In the middle of a line.
    line: AtomicUsize,
    /// Between two lines.
    idle: AtomicUsize,
    /// To take an answer.
    answer: AtomicUsize,
}

impl Counts {
    /// Counts one more.
    pub fn count(&self, too_slow: TooSlow) {
        let count = match too_slow {
            TooSlow::Line => &self.line,
            TooSlow::Idle => &self.idle,
            TooSlow::Answer => &self.answer,
        };
        count.fetch_add(1, Relaxed);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { line, idle, answer } = self;
        write!(f, "{line:?} in a line, {idle:?} idle, {answer:?} to take an answer")
    }
}

// ANCHOR: handle
fn handle(stream: &TcpStream, stop: &Stop, limit: usize, limits: Limits, counts: &Counts) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = ReadInTime::new(stream, stop, limits);
    let mut writer = WriteInTime::new(stream, limits.write);
    let served = echo_lines(&mut reader, &mut writer, limit);
    let too_slow = reader.too_slow.or(writer.too_slow);
    if let Some(what) = too_slow {
        counts.count(what);
    }
    match too_slow {
        // If it is idle, this is all: nothing is owed. A text would be taken for the answer to a line that is on its way.
        None | Some(TooSlow::Idle) => close(stream),
        Some(TooSlow::Line) => {
            let text = format!("error: too slow (limit {} s)\n", limits.line.as_secs());
            let _ = writer.write_all(text.as_bytes());
            close(stream);
            return Ok(());
        }
        // Nobody knows how much of the answer has arrived. A reset says that it isn't whole, and frees the memory.
        Some(TooSlow::Answer) => return SockRef::from(stream).set_linger(Some(Duration::ZERO)),
    }
    served
}
// ANCHOR_END: handle
