//! Step 8 as people first write it.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use socket2::SockRef;

use super::deadlines::{Limits, ReadInTime};
use super::server::Options;
use crate::chapter_01::announce::announce;
use crate::chapter_01::listen::listen;
use crate::chapter_03::server::serve;
use crate::chapter_05::server::echo_lines;
use crate::chapter_06::stop::Stop;

/// The mistakes of this chapter. Each is named after the probe or the scene that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pitfall {
    /// a timeout for each read: a byte now and then passes for ever
    SlowLine,
    /// one deadline for the whole connection: it cuts a good client in the middle of its work
    WholeConnection,
    /// what is left in whole seconds: zero is an error, and nothing is limited
    ZeroDuration,
    /// no limit for writing: a client that doesn't read keeps its thread
    SlowReader,
    /// keepalive taken for a deadline
    IdleLimit,
}

/// Runs the server with one of the mistakes in it.
pub fn run(addr: &str, pitfall: Pitfall, options: &Options) -> Result<()> {
    let listener = listen(addr)?;
    let stop = Stop::new().context("cannot connect this program with itself, which its stop needs")?;
    // It is never stopped, and serves for as long as the process lives.
    let stop: &'static Stop = Box::leak(Box::new(stop));
    announce(&listener)?;
    let lines = &options.stop.lines;
    let (limit, limits) = (lines.limit, options.limits());
    serve(&listener, &lines.connections, move |stream| {
        stream.set_nodelay(true)?;
        match pitfall {
            Pitfall::SlowLine => timeout_of_each_read(stream, limits, limit),
            Pitfall::WholeConnection => one_deadline(stream, limits, limit),
            Pitfall::ZeroDuration => whole_seconds(stream, limits, limit),
            Pitfall::SlowReader => echo_lines(ReadInTime::new(stream, stop, limits), stream, limit),
            Pitfall::IdleLimit => keepalive(stream, limit),
        }
    })
}

// ANCHOR: each_read
fn timeout_of_each_read(stream: &TcpStream, limits: Limits, limit: usize) -> io::Result<()> {
    stream.set_read_timeout(Some(limits.line))?;
    stream.set_write_timeout(Some(limits.write))?;
    echo_lines(stream, stream, limit)
}
// ANCHOR_END: each_read

// ANCHOR: one_deadline
/// Gives each read what is left until a point in time.
struct Until<'a> {
    /// The client.
    stream: &'a TcpStream,
    /// When nothing more is read.
    deadline: Instant,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

fn one_deadline(stream: &TcpStream, limits: Limits, limit: usize) -> io::Result<()> {
    echo_lines(Until { stream, deadline: Instant::now() + limits.line }, stream, limit)
}
// ANCHOR_END: one_deadline

// ANCHOR: whole_seconds
/// The same, a little shorter.
struct InWholeSeconds<'a>(Until<'a>);

impl Read for InWholeSeconds<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Until { stream, deadline } = &mut self.0;
        let left = deadline.saturating_duration_since(Instant::now()).as_secs();
        // "It can't fail: the stream is open."
        let _ = stream.set_read_timeout(Some(Duration::from_secs(left)));
        stream.read(buffer)
    }
}
// ANCHOR_END: whole_seconds

fn whole_seconds(stream: &TcpStream, limits: Limits, limit: usize) -> io::Result<()> {
    let until = Until { stream, deadline: Instant::now() + limits.line };
    echo_lines(InWholeSeconds(until), stream, limit)
}

// ANCHOR: keepalive
fn keepalive(stream: &TcpStream, limit: usize) -> io::Result<()> {
    SockRef::from(stream).set_keepalive(true)?;
    echo_lines(stream, stream, limit)
}
// ANCHOR_END: keepalive
