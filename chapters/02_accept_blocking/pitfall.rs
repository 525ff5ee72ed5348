//! Step 2 as people first write it, and the step before.

use std::net::TcpListener;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::server::{echo_reads, serve};
use crate::chapter_01;
use crate::chapter_01::announce::{announce, log};
use crate::chapter_01::listen::listen;

/// The mistakes of this chapter. Each is named after the probe that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pitfall {
    /// step 1: no loop around accept
    NextClient,
    /// `?` and `unwrap` in the accept loop: one client that resets its connection ends the server
    ResetBeforeAccept,
    /// the server of this step without its read timeout: one silent client holds up all others for ever
    IdleClient,
}

/// Runs the server with one of the mistakes in it.
pub fn run(addr: &str, pitfall: Pitfall) -> Result<()> {
    if pitfall == Pitfall::NextClient {
        return chapter_01::server::run(addr);
    }
    let listener = listen(addr)?;
    announce(&listener)?;
    match pitfall {
        Pitfall::IdleClient => serve(&listener, None),
        _ => unwrap_in_the_loop(&listener),
    }
}

// ANCHOR: unwrap_in_the_loop
fn unwrap_in_the_loop(listener: &TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        log(format_args!("a client from {}", stream.peer_addr().unwrap()));
        echo_reads(&stream, &stream).context("cannot serve a client")?;
    }
}
// ANCHOR_END: unwrap_in_the_loop
