//! Step 7: threads that stay, so that few clients have to wait for one to be started.

use std::net::TcpListener;

use anyhow::Result;

use super::workers::Workers;
use crate::chapter_06::connections::Stopped;
use crate::chapter_06::server::{Options, Server, handle, run_until_signal};

/// Runs the server of this step until a signal stops it.
pub fn run(addr: &str, options: &Options) -> Result<()> {
    run_until_signal(addr, options, serve)
}

// ANCHOR: serve
/// Serves each client on a thread that another client has left, or else on a new one.
pub fn serve(server: &Server, listener: TcpListener) -> Result<Stopped> {
    let lines = &server.options.lines;
    let workers = Workers::new(lines.connections.stack_size);
    let limit = lines.limit;
    server.accept_until_stop(listener, |stream, peer| {
        workers.run(server.visit(stream, peer, move |stream, stop| handle(stream, stop, limit))?)
    })
}
// ANCHOR_END: serve
