//! Step 3 as people first write it, and the step before.

use std::io;
use std::net::TcpListener;
use std::thread;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::server::Options;
use crate::chapter_01::announce::{announce, log};
use crate::chapter_01::listen::listen;
use crate::chapter_02;
use crate::chapter_02::server::echo_reads;

/// The mistakes of this chapter. Each is named after the probe or the scene that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pitfall {
    /// step 2: one client at a time
    IdleClient,
    /// `?` on accept: a server without a free descriptor ends
    OutOfDescriptors,
    /// `thread::spawn`: it panics when the system has no more threads to give
    OutOfThreads,
    /// every JoinHandle kept for later: each finished thread leaves its stack behind
    NoLeak,
}

/// Runs the server with one of the mistakes in it.
pub fn run(addr: &str, pitfall: Pitfall, options: &Options) -> Result<()> {
    if pitfall == Pitfall::IdleClient {
        return chapter_02::server::run(addr, &chapter_02::server::Options { read_timeout: 30 });
    }
    let listener = listen(addr)?;
    announce(&listener)?;
    match pitfall {
        Pitfall::OutOfDescriptors => question_mark(&listener).context("the accept loop ended"),
        Pitfall::OutOfThreads => spawn_that_panics(&listener, options),
        _ => handles_kept(&listener),
    }
}

// ANCHOR: question_mark
fn question_mark(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, peer) = listener.accept()?;
        thread::Builder::new().spawn(move || {
            if let Err(error) = echo_reads(&stream, &stream) {
                log(format_args!("{peer}: {error}"));
            }
        })?;
    }
}
// ANCHOR_END: question_mark

// ANCHOR: spawn_that_panics
fn spawn_that_panics(listener: &TcpListener, options: &Options) -> Result<()> {
    loop {
        match listener.accept() {
            Ok((stream, _peer)) => {
                let builder = thread::Builder::new().stack_size(options.stack_size);
                // `thread::spawn` is this, in the words of its documentation: it panics if there is no thread to be had.
                builder.spawn(move || echo_reads(&stream, &stream)).expect("failed to spawn thread");
            }
            Err(error) => log(format_args!("cannot accept a client, going on: {error}")),
        }
    }
}
// ANCHOR_END: spawn_that_panics

// ANCHOR: handles_kept
fn handles_kept(listener: &TcpListener) -> Result<()> {
    let mut handles = Vec::new();
    loop {
        match listener.accept() {
            Ok((stream, _peer)) => handles.push(thread::spawn(move || echo_reads(&stream, &stream))),
            Err(error) => log(format_args!("cannot accept a client, going on: {error}")),
        }
    }
}
// ANCHOR_END: handles_kept
