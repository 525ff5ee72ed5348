//! Step 6: stop when asked to, and lose nothing that was promised.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use super::connections::{Connections, Seat};
use super::waker::Waker;
use super::workers::Workers;
use crate::chapter_01::server::{BACKLOG, announce, listen, log};
use crate::chapter_03::server::Backoff;
use crate::chapter_04::close::close;
use crate::chapter_05;
use crate::chapter_05::line_reader::{CHUNK, Line, LineReader};

/// What can be set about this server.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Options {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the heading of the help")]
    pub lines: chapter_05::server::Options,
    /// After a signal to stop, let lines in progress finish for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub grace: u64,
}

// ANCHOR: run
/// Runs the server of this step until a signal stops it: Ctrl-C everywhere, SIGTERM and SIGHUP on Unix.
pub fn run(addr: &str, options: &Options) -> Result<()> {
    let listener = listen(addr)?;
    let server = Arc::new(Server::new(&listener, options)?);
    let on_signal = Arc::clone(&server);
    ctrlc::set_handler(move || {
        if !on_signal.stop() {
            // Without a word in the log: that nobody reads it may be why one signal was not enough.
            process::exit(1);
        }
    })
    .context("cannot ask to be told about signals")?;
    announce(&listener)?;
    let Stopped { finished, cut } = server.serve(listener)?;
    let plural = if finished == 1 { "" } else { "s" };
    log(format_args!("stopped: {finished} connection{plural} finished, {cut} cut"));
    Ok(())
}
// ANCHOR_END: run

/// The server and what a thread needs to stop it.
pub struct Server {
    connections: Arc<Connections>,
    workers: Arc<Workers>,
    waker: Waker,
    grace: Duration,
}

/// What became of the connections that were open when the stop began.
#[derive(Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Ended by themselves, every answer that was owed given.
    pub finished: usize,
    /// Ended by force after the grace time.
    pub cut: usize,
}

impl Server {
    /// Makes a server for this listener.
    pub fn new(listener: &TcpListener, options: &Options) -> Result<Self> {
        let limit = options.lines.limit as usize;
        let stack_size = usize::try_from(options.lines.connections.stack_size).unwrap_or(usize::MAX);
        Ok(Server {
            connections: Connections::new(options.lines.connections.max_connections as usize),
            workers: Workers::new(stack_size, move |seat, peer| handle(&seat, peer, limit)),
            waker: Waker::new(listener.local_addr().context("cannot read the address of the listener")?),
            grace: Duration::from_secs(options.grace),
        })
    }

    /// Begins the stop, from any thread. False if it had begun before.
    pub fn stop(&self) -> bool {
        let first = self.connections.stop();
        if first {
            self.waker.wake();
        }
        first
    }

    // ANCHOR: serve
    /// Serves each client on a thread that it has to itself, until `stop` is called.
    pub fn serve(&self, listener: TcpListener) -> Result<Stopped> {
        let mut backoff = Backoff::new();
        let mut woken = false;
        while !woken && self.connections.wait_for_room() {
            match listener.accept() {
                Ok((_, peer)) if self.waker.is(peer) => woken = true,
                Ok((stream, peer)) => match self.start(stream, peer) {
                    Ok(()) => backoff = Backoff::new(),
                    Err(error) => backoff.pause(&error),
                },
                Err(error) => backoff.pause(&error),
            }
        }
        let deadline = Instant::now() + self.grace;
        // Clients in the queue have been told by the kernel that they are connected. Closing the listener resets
        // them, so take them all first. The queue is first in, first out: behind the waker are only those who came
        // after the stop, and they may be reset, or refused once the listener is closed.
        if !woken {
            self.drain(&listener).context("cannot empty the queue of the listener")?;
        }
        drop(listener);

        self.connections.wait_until(deadline);
        let (finished, cut) = self.connections.cut();
        self.connections.wait_until(Instant::now() + Duration::from_secs(1));
        Ok(Stopped { finished, cut })
    }
    // ANCHOR_END: serve

    // ANCHOR: drain
    fn drain(&self, listener: &TcpListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        // Should the waker not have come through: no more than the queue can hold, for clients that keep coming must not
        // keep the server from stopping.
        for _ in 0..BACKLOG {
            match listener.accept() {
                Ok((_, peer)) if self.waker.is(peer) => break,
                Ok((stream, peer)) => {
                    // Linux makes it blocking again by itself; macOS and Windows hand the listener's mode on.
                    stream.set_nonblocking(false)?;
                    if let Err(error) = self.start(stream, peer) {
                        log(format_args!("{peer}: {error}"));
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                // Nobody waits any more, or there is no descriptor to serve them with.
                Err(_) => break,
            }
        }
        // The mode is the socket's, and a process that takes over may have been handed the same one.
        listener.set_nonblocking(false)
    }
    // ANCHOR_END: drain

    fn start(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        // Counted here, and not by the thread that serves it: nobody may be waiting any more when that begins.
        self.workers.serve(self.connections.enter(stream), peer)
    }
}

fn handle(seat: &Seat, peer: SocketAddr, limit: usize) {
    let connection = seat.connection();
    let served = connection
        .stream
        .set_nodelay(true)
        .and_then(|()| echo_lines(connection, &connection.stream, limit, || seat.rest()));
    close(&connection.stream);
    if let Err(error) = served {
        log(format_args!("{peer}: {error}"));
    }
}

/// Answers every line of at most `limit` bytes, until the client ends its side. Calls `rest` whenever it owes nothing
/// and has read nothing of the next line.
pub fn echo_lines(reader: impl Read, mut writer: impl Write, limit: usize, rest: impl Fn()) -> io::Result<()> {
    let mut lines = LineReader::new(reader, limit);
    let mut answers = Vec::new();
    loop {
        if lines.between_lines() {
            rest();
        }
        match lines.next_line()? {
            Line::Whole(line) => {
                answers.extend_from_slice(b"echo: ");
                answers.extend_from_slice(line);
                answers.push(b'\n');
            }
            Line::TooLong => {
                writeln!(answers, "error: line too long (limit {limit} bytes)")?;
                return writer.write_all(&answers);
            }
            Line::CutShort => {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "the client ended in the middle of a line"));
            }
            Line::End => return Ok(()),
        }
        if !lines.another_waits() || answers.len() >= CHUNK {
            writer.write_all(&answers)?;
            answers.clear();
        }
    }
}
