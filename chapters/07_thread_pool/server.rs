//! Step 7: threads that stay, so that few clients have to wait for one to be started.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::workers::Workers;
use crate::chapter_01::announce::{announce, log};
use crate::chapter_01::listen::{BACKLOG, listen};
use crate::chapter_03::backoff::Backoff;
use crate::chapter_04::close::close;
use crate::chapter_05::server::echo_lines;
use crate::chapter_06::connections::{Connections, Stopped};
pub use crate::chapter_06::server::Options;
use crate::chapter_06::stop::{Stop, UntilStop};

/// Runs the server of this step until a signal stops it.
pub fn run(addr: &str, options: &Options) -> Result<()> {
    let limit = options.lines.limit;
    run_until_signal(addr, options, move |stream, stop| handle(stream, stop, limit))
}

/// Runs a server until a signal stops it. `handle` talks with each client.
pub fn run_until_signal(
    addr: &str,
    options: &Options,
    handle: impl Fn(&TcpStream, &Stop) -> io::Result<()> + Clone + Send + 'static,
) -> Result<()> {
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
    let Stopped { finished, cut } = server.serve(listener, handle)?;
    let plural = if finished == 1 { "" } else { "s" };
    log(format_args!("stopped: {finished} connection{plural} finished, {cut} cut"));
    Ok(())
}

/// A server that any thread can stop.
pub struct Server {
    /// The clients it serves.
    connections: Arc<Connections>,
    /// The threads that serve them.
    workers: Arc<Workers>,
    /// How its threads learn of the stop.
    stop: Arc<Stop>,
    /// For how long those in mid-line are waited for at the stop.
    grace: Duration,
}

impl Server {
    /// Makes a server that serves nobody yet.
    pub fn new(options: &Options) -> Result<Self> {
        let connections = Connections::new(options.lines.connections.max_connections);
        let workers = Workers::new(options.lines.connections.stack_size);
        let stop = Stop::new().context("cannot connect this program with itself, which its stop needs")?;
        Ok(Server { connections, workers, stop: Arc::new(stop), grace: Duration::from_secs(options.grace) })
    }

    /// Begins the stop, from any thread. False if it had begun before.
    pub fn stop(&self) -> bool {
        // In this order: a thread that hears of the stop may leave at once, and is to be counted.
        self.connections.close();
        self.stop.begin()
    }

    /// Serves each client on a thread that another client has left, or else on a new one, until `stop` is called.
    pub fn serve(
        &self,
        listener: TcpListener,
        handle: impl Fn(&TcpStream, &Stop) -> io::Result<()> + Clone + Send + 'static,
    ) -> Result<Stopped> {
        // When `poll` has seen a client, it may be gone, or another process may have taken it: accept must not wait.
        listener.set_nonblocking(true).context("cannot make accept return at once")?;
        let mut backoff = Backoff::default();
        let mut accept_one = || {
            let started = match listener.accept() {
                Ok((stream, peer)) => self.start(stream, peer, handle.clone()),
                // Nobody is there after all. Don't ask this of `start`: a system that has no thread to give says the same.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => Err(error),
            };
            match started {
                Ok(()) => backoff.reset(),
                Err(error) => backoff.pause(&error),
            }
        };
        while !self.stop.wait(&listener)?.stop {
            accept_one();
            self.connections.wait_for_room();
        }
        let deadline = Instant::now() + self.grace;
        // The kernel has told clients in the queue that they are connected, and closing the listener would reset them.
        // So take in as many as the queue can hold, but not everybody who goes on coming.
        for _ in 0..BACKLOG {
            if Instant::now() >= deadline || !self.stop.wait(&listener)?.input {
                break;
            }
            accept_one();
        }
        drop(listener);
        self.connections.wait_until(deadline);
        let stopped = self.connections.cut();
        self.connections.wait_until(Instant::now() + Duration::from_secs(1));
        Ok(stopped)
    }

    // ANCHOR: start
    fn start(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        handle: impl Fn(&TcpStream, &Stop) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        // On macOS and Windows it has inherited the listener's mode. On Linux it is blocking in any case.
        stream.set_nonblocking(false)?;
        let (stream, seat) = self.connections.enter(stream);
        let stop = Arc::clone(&self.stop);
        self.workers.run(Box::new(move || {
            let served = handle(&stream, &stop);
            // As in step 3, the connection is closed before its seat is free. The log comes last: if nobody reads it,
            // writing blocks for ever.
            drop((stream, seat));
            if let Err(error) = served {
                log(format_args!("{peer}: {error}"));
            }
        }))
    }
    // ANCHOR_END: start
}

fn handle(stream: &TcpStream, stop: &Stop, limit: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let served = echo_lines(UntilStop::new(stream, stop), stream, limit);
    close(stream);
    served
}
