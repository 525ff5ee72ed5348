//! Step 3: a thread for each connection, and a bound on everything a connection takes.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::thread;

use anyhow::Result;
use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::backoff::Backoff;
use super::permits::Permits;
use crate::chapter_01::announce::{announce, log};
use crate::chapter_01::listen::listen;
use crate::chapter_02::server::echo_reads;

/// The options of this server.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Options {
    /// Serve at most this many clients at once; the others wait in the kernel's queue
    // More than politeness: a thread takes up to four memory mappings, Linux allows a process 65,530 of them by default
    // (vm.max_map_count), and std aborts when it can't map the signal stack of a new thread (rust-lang/rust issue 78497).
    // That leaves room for about 16,300. When step 6 stops, the 4,096 of a full queue may be added to these.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=12_000))]
    pub max_connections: usize,
    /// The stack of each connection's thread, in bytes
    // std's default of 2 MiB must suit any code. A handler with small buffers and no recursion needs far less, even
    // in a debug build.
    #[arg(long, value_name = "BYTES", default_value_t = 128 * 1024)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(65_536..))]
    pub stack_size: usize,
}

/// Runs the server of this step.
pub fn run(addr: &str, options: &Options) -> Result<()> {
    let listener = listen(addr)?;
    announce(&listener)?;
    serve(&listener, options, |stream| echo_reads(stream, stream))
}

// ANCHOR: serve
/// Serves each client on a thread of its own, which calls `handle`.
pub fn serve(
    listener: &TcpListener,
    options: &Options,
    handle: impl Fn(&TcpStream) -> io::Result<()> + Copy + Send + 'static,
) -> ! {
    let permits = Permits::new(options.max_connections);
    let mut backoff = Backoff::default();
    loop {
        // Before accept, not after: a client too many stays in the kernel's queue, and is served when another
        // leaves. Accepting it first would spend a descriptor on somebody who can't be served.
        // ANCHOR: card
        let permit = permits.acquire();
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                backoff.pause(&error);
                continue;
            }
        };
        // ANCHOR_END: card
        // Not `thread::spawn`: that panics when the system has no thread to give, here in the accept loop.
        let thread = thread::Builder::new().name(peer.to_string()).stack_size(options.stack_size);
        let spawned = thread.spawn(move || {
            // Dropped in reverse order: the connection is closed before its permit is free again.
            let _permit = permit;
            let stream = stream;
            if let Err(error) = handle(&stream) {
                log(format_args!("{peer}: {error}"));
            }
        });
        match spawned {
            // The JoinHandle is dropped here. Kept for later, it would keep the finished thread's stack as well.
            Ok(_) => backoff.reset(),
            // This client is lost: its connection went into the closure, and is closed with it.
            Err(error) => backoff.pause(&error),
        }
    }
}
// ANCHOR_END: serve
