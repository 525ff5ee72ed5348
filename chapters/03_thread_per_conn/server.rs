//! Step 3: a thread for each connection, and a bound on everything a connection takes.

use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::permits::Permits;
use crate::chapter_01::server::{announce, listen, log};
use crate::chapter_02::server::echo_reads;

/// What can be set about this server.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Options {
    /// Serve at most so many clients at once; further ones wait in the kernel's queue
    // More than politeness: a thread takes up to four memory mappings, Linux allows a process 65,530 of them by default
    // (vm.max_map_count), and std aborts when it can't map the signal stack of a new thread (rust-lang/rust issue 78497).
    // So there can be about 16,300. Step 6 may add the 4,096 of a full queue to these, when it stops.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=12_000))]
    pub max_connections: u32,
    /// The stack of a connection's thread, in bytes
    // std's default of 2 MiB must suit any code. A handler with small buffers and no recursion needs far less, even
    // in a debug build.
    #[arg(long, value_name = "BYTES", default_value_t = 128 * 1024, value_parser = clap::value_parser!(u64).range(65_536..))]
    pub stack_size: u64,
}

/// Runs the server of this step.
pub fn run(addr: &str, options: &Options) -> Result<()> {
    let listener = listen(addr)?;
    announce(&listener)?;
    serve(&listener, options, handle)
}

// ANCHOR: serve
/// Serves each client on a thread of its own.
pub fn serve<H>(listener: &TcpListener, options: &Options, handle: H) -> !
where
    H: Fn(&TcpStream) -> io::Result<()> + Copy + Send + 'static,
{
    let permits = Permits::new(options.max_connections as usize);
    let stack_size = usize::try_from(options.stack_size).unwrap_or(usize::MAX);
    let mut backoff = Backoff::new();
    loop {
        // Before accept, not after: a client too many stays in the kernel's queue, and is served when another
        // leaves. Accepting it first would spend a descriptor on somebody who can't be served.
        let permit = permits.acquire();
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                backoff.pause(&error);
                continue;
            }
        };
        // Not `thread::spawn`: that panics when the system has no thread to give, here in the accept loop.
        let spawned = thread::Builder::new().name(format!("client {peer}")).stack_size(stack_size).spawn(move || {
            // Dropped in reverse order: the connection is closed before its permit is free again.
            let (_permit, stream) = (permit, stream);
            if let Err(error) = handle(&stream) {
                log(format_args!("{peer}: {error}"));
            }
        });
        match spawned {
            // The JoinHandle is dropped here. Kept for later, it would keep the finished thread's stack as well.
            Ok(_) => backoff = Backoff::new(),
            // This client is lost: its connection went into the closure, and is closed with it.
            Err(error) => backoff.pause(&error),
        }
    }
}
// ANCHOR_END: serve

fn handle(stream: &TcpStream) -> io::Result<()> {
    echo_reads(stream, stream)
}

/// A pause after a failed accept that doubles with every failure in a row.
///
/// Out of descriptors (`EMFILE`, `ENFILE`), accept fails at once, with or without a client in the queue. A loop that
/// just goes on would then fail millions of times a second; one that gives up would end every connection.
pub struct Backoff {
    delay: Duration,
}

impl Backoff {
    /// Starts at 5 ms.
    pub fn new() -> Self {
        Backoff { delay: Duration::from_millis(5) }
    }

    // ANCHOR: backoff
    /// Logs the error and waits, at most a second. An error of one client that left needs no pause.
    pub fn pause(&mut self, error: &io::Error) {
        // std has no stable kind for `EMFILE`, so name the errors that pass by themselves and pause on the rest.
        if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted) {
            return;
        }
        log(format_args!("cannot take a client, pausing for {:?}: {error}", self.delay));
        thread::sleep(self.delay);
        self.delay = (self.delay * 2).min(Duration::from_secs(1));
    }
    // ANCHOR_END: backoff
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}
