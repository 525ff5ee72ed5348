//! Step 6: stop when asked to, and lose nothing that was promised.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{process, thread};

use anyhow::{Context, Result};
use clap::Args;

use super::connections::{Connections, Stopped};
use super::stop::{Stop, UntilStop};
use crate::chapter_01::announce::{announce, log};
use crate::chapter_01::listen::{BACKLOG, listen};
use crate::chapter_03::backoff::Backoff;
use crate::chapter_04::close::close;
use crate::chapter_05::server::{self as step_5, echo_lines};

/// The options of this server.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Options {
    // Step 5's. A doc comment here would become the heading of the help.
    #[command(flatten)]
    pub(crate) lines: step_5::Options,
    /// After a signal to stop, give lines in progress this many seconds to finish
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub grace: u64,
}

// ANCHOR: run
/// Runs the server of this step until a signal stops it: Ctrl-C everywhere, SIGTERM and SIGHUP on Unix.
pub fn run(addr: &str, options: &Options) -> Result<()> {
    let listener = listen(addr)?;
    let server = Arc::new(Server::new(options)?);
    let on_signal = Arc::clone(&server);
    ctrlc::set_handler(move || {
        if !on_signal.stop() {
            // Don't log: nobody draining stderr may be why the first signal wasn't enough.
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

/// A server that any thread can stop.
pub struct Server {
    /// The clients it serves.
    connections: Arc<Connections>,
    /// How its threads learn of the stop.
    stop: Arc<Stop>,
    /// Its options.
    options: Options,
}

impl Server {
    /// Makes a server that serves nobody yet.
    pub fn new(options: &Options) -> Result<Self> {
        let connections = Connections::new(options.lines.connections.max_connections);
        let stop = Stop::new().context("cannot connect this program with itself, which its stop needs")?;
        Ok(Server { connections, stop: Arc::new(stop), options: options.clone() })
    }

    /// Begins the stop, from any thread. False if it had begun before.
    pub fn stop(&self) -> bool {
        // In this order: a thread that hears of the stop may leave at once, and is to be counted.
        self.connections.close();
        self.stop.begin()
    }

    // ANCHOR: serve
    /// Serves each client on a thread of its own, until `stop` is called.
    pub fn serve(&self, listener: TcpListener) -> Result<Stopped> {
        // When `poll` has seen a client, it may be gone, or another process may have taken it: accept must not wait.
        listener.set_nonblocking(true).context("cannot make accept return at once")?;
        let mut backoff = Backoff::default();
        // ANCHOR: card
        while !self.stop.wait(&listener)?.stop {
            self.accept_one(&listener, &mut backoff);
            self.connections.wait_for_room();
        }
        let deadline = Instant::now() + Duration::from_secs(self.options.grace);
        // The kernel has told clients in the queue that they are connected, and closing the listener would reset them.
        // So take in as many as the queue can hold, but not everybody who goes on coming.
        for _ in 0..BACKLOG {
            if Instant::now() >= deadline || !self.stop.wait(&listener)?.input {
                break;
            }
            self.accept_one(&listener, &mut backoff);
        }
        drop(listener);
        self.connections.wait_until(deadline);
        let stopped = self.connections.cut();
        // ANCHOR_END: card
        self.connections.wait_until(Instant::now() + Duration::from_secs(1));
        Ok(stopped)
    }

    fn accept_one(&self, listener: &TcpListener, backoff: &mut Backoff) {
        let started = match listener.accept() {
            Ok((stream, peer)) => self.start(stream, peer),
            // Nobody is there after all. Don't ask this of `start`: a system that has no thread to give says the same.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => Err(error),
        };
        match started {
            Ok(()) => backoff.reset(),
            Err(error) => backoff.pause(&error),
        }
    }

    fn start(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        // On macOS and Windows it has inherited the listener's mode. On Linux it is blocking in any case.
        stream.set_nonblocking(false)?;
        let (stream, seat) = self.connections.enter(stream);
        let (stop, limit) = (Arc::clone(&self.stop), self.options.lines.limit);
        let stack_size = self.options.lines.connections.stack_size;
        let thread = thread::Builder::new().name(peer.to_string()).stack_size(stack_size);
        thread.spawn(move || {
            let served = handle(&stream, &stop, limit);
            // As in step 3, the connection is closed before its seat is free. The log comes last: if nobody reads it,
            // writing blocks for ever.
            drop((stream, seat));
            if let Err(error) = served {
                log(format_args!("{peer}: {error}"));
            }
        })?;
        Ok(())
    }
    // ANCHOR_END: serve
}

fn handle(stream: &TcpStream, stop: &Stop, limit: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // Step 5's conversation, which now ends with the stop as well.
    let served = echo_lines(UntilStop::new(stream, stop), stream, limit);
    close(stream);
    served
}
