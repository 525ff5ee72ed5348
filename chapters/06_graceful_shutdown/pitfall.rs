//! Step 6 as people first write it, and the step before.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::waker::Waker;
use crate::chapter_01::server::{announce, listen, log};
use crate::chapter_05;
use crate::chapter_05::server::echo_lines;

/// The mistakes of this chapter. Each is named after the probe or the scene that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pitfall {
    /// step 5: the signal ends the process wherever it is
    FinishesLine,
    /// a flag that a thread blocked in accept never sees
    RefusesAfterStop,
    /// a wait without a limit, for clients that have no reason to leave
    StuckClient,
    /// clones of all connections in a list: what a handler has finished stays open
    HalfClose,
    /// a connection that is counted by its own thread, when nobody is waiting any more
    LostCount,
}

/// Runs the server with one of the mistakes in it.
pub fn run(addr: &str, pitfall: Pitfall, options: &chapter_05::server::Options) -> Result<()> {
    if pitfall == Pitfall::FinishesLine {
        return chapter_05::server::run(addr, options);
    }
    let listener = listen(addr)?;
    let limit = options.limit as usize;
    let handle = move |stream: &TcpStream| {
        stream.set_nodelay(true)?;
        echo_lines(stream, stream, limit)
    };
    let stopping = Arc::new(AtomicBool::new(false));
    let on_signal = Arc::clone(&stopping);
    let waker = Waker::new(listener.local_addr().context("cannot read the address of the listener")?);
    ctrlc::set_handler(move || {
        on_signal.store(true, SeqCst);
        if pitfall != Pitfall::RefusesAfterStop {
            waker.wake();
        }
    })
    .context("cannot ask to be told about signals")?;
    announce(&listener)?;
    match pitfall {
        Pitfall::StuckClient => wait_for_ever(&listener, &stopping, handle),
        Pitfall::HalfClose => keep_clones(&listener, &stopping, handle),
        Pitfall::LostCount => count_inside(&listener, &stopping, handle),
        _ => look_at_the_flag(&listener, &stopping, handle),
    }
    Ok(())
}

// ANCHOR: look_at_the_flag
fn look_at_the_flag<H>(listener: &TcpListener, stopping: &AtomicBool, handle: H)
where
    H: Fn(&TcpStream) -> io::Result<()> + Copy + Send + 'static,
{
    while !stopping.load(SeqCst) {
        match listener.accept() {
            Ok((stream, _peer)) => drop(thread::spawn(move || handle(&stream))),
            Err(error) => log(format_args!("cannot accept a client, going on: {error}")),
        }
    }
}
// ANCHOR_END: look_at_the_flag

// ANCHOR: wait_for_ever
fn wait_for_ever<H>(listener: &TcpListener, stopping: &AtomicBool, handle: H)
where
    H: Fn(&TcpStream) -> io::Result<()> + Copy + Send + 'static,
{
    // The scope ends when its last thread has ended.
    thread::scope(|scope| {
        while !stopping.load(SeqCst) {
            match listener.accept() {
                Ok((stream, _peer)) => drop(scope.spawn(move || handle(&stream))),
                Err(error) => log(format_args!("cannot accept a client, going on: {error}")),
            }
        }
    });
}
// ANCHOR_END: wait_for_ever

// ANCHOR: keep_clones
fn keep_clones<H>(listener: &TcpListener, stopping: &AtomicBool, handle: H)
where
    H: Fn(&TcpStream) -> io::Result<()> + Copy + Send + 'static,
{
    // "So that they can all be closed at the end."
    let mut connections = Vec::new();
    while !stopping.load(SeqCst) {
        match listener.accept() {
            Ok((stream, _peer)) => {
                connections.extend(stream.try_clone());
                drop(thread::spawn(move || handle(&stream)));
            }
            Err(error) => log(format_args!("cannot accept a client, going on: {error}")),
        }
    }
}
// ANCHOR_END: keep_clones

// ANCHOR: count_inside
fn count_inside<H>(listener: &TcpListener, stopping: &AtomicBool, handle: H)
where
    H: Fn(&TcpStream) -> io::Result<()> + Copy + Send + 'static,
{
    let count = Arc::new(Count::default());
    while !stopping.load(SeqCst) {
        match listener.accept() {
            Ok((stream, _peer)) => {
                let count = Arc::clone(&count);
                drop(thread::spawn(move || {
                    count.add();
                    let served = handle(&stream);
                    count.done();
                    served
                }));
            }
            Err(error) => log(format_args!("cannot accept a client, going on: {error}")),
        }
    }
    count.wait();
}
// ANCHOR_END: count_inside

/// A wait group as in Go: it counts right, and can't help it if it is told too late.
#[derive(Default)]
pub struct Count {
    running: Mutex<usize>,
    changed: Condvar,
}

impl Count {
    /// Counts one more.
    pub fn add(&self) {
        *self.running.lock().expect("nothing panics while it holds this lock") += 1;
    }

    /// Counts one less. A handler that panics never comes here.
    pub fn done(&self) {
        *self.running.lock().expect("nothing panics while it holds this lock") -= 1;
        self.changed.notify_all();
    }

    /// Waits until the count is zero, which it also is before the first was counted.
    pub fn wait(&self) {
        let running = self.running.lock().expect("nothing panics while it holds this lock");
        drop(
            self.changed.wait_while(running, |running| *running > 0).expect("nothing panics while it holds this lock"),
        );
    }
}
