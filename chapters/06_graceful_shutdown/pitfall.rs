//! Step 6 as people first write it, and the step before.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::stop::Stop;
use crate::chapter_01::announce::{announce, log};
use crate::chapter_01::listen::listen;
use crate::chapter_05;
use crate::chapter_05::server::echo_lines;

/// The mistakes of this chapter. Each is named after the probe or the scene that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pitfall {
    /// step 5: the signal ends the process wherever it is
    FinishesLine,
    /// a flag that a thread blocked in accept never sees
    StopsWhenQuiet,
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
    let limit = options.limit;
    let handle = move |stream: &TcpStream| {
        stream.set_nodelay(true)?;
        echo_lines(stream, stream, limit)
    };
    let stop = Arc::new(Stop::new().context("cannot connect this program with itself, which its stop needs")?);
    let flag = Arc::new(AtomicBool::new(false));
    let (on_signal, set_on_signal) = (Arc::clone(&stop), Arc::clone(&flag));
    ctrlc::set_handler(move || {
        set_on_signal.store(true, SeqCst);
        on_signal.begin();
    })
    .context("cannot ask to be told about signals")?;
    announce(&listener)?;
    match pitfall {
        Pitfall::StuckClient => wait_for_ever(&listener, &stop, handle),
        Pitfall::HalfClose => keep_clones(&listener, &stop, handle),
        Pitfall::LostCount => count_inside(&listener, &stop, handle),
        _ => {
            look_at_the_flag(&listener, &flag, handle);
            Ok(())
        }
    }
}

// ANCHOR: look_at_the_flag
fn look_at_the_flag(
    listener: &TcpListener,
    stopping: &AtomicBool,
    handle: impl Fn(&TcpStream) -> io::Result<()> + Copy + Send + 'static,
) {
    // ANCHOR: card
    while !stopping.load(SeqCst) {
        match listener.accept() {
            Ok((stream, _peer)) => drop(thread::spawn(move || handle(&stream))),
            Err(error) => log(format_args!("cannot accept a client, going on: {error}")),
        }
    }
    // ANCHOR_END: card
}
// ANCHOR_END: look_at_the_flag

// ANCHOR: wait_for_ever
fn wait_for_ever(
    listener: &TcpListener,
    stop: &Stop,
    handle: impl Fn(&TcpStream) -> io::Result<()> + Copy + Send + 'static,
) -> Result<()> {
    // The scope ends when its last thread has ended.
    thread::scope(|scope| {
        while !stop.wait(listener)?.stop {
            match listener.accept() {
                Ok((stream, _peer)) => drop(scope.spawn(move || handle(&stream))),
                Err(error) => log(format_args!("cannot accept a client, going on: {error}")),
            }
        }
        Ok(())
    })
}
// ANCHOR_END: wait_for_ever

// ANCHOR: keep_clones
fn keep_clones(
    listener: &TcpListener,
    stop: &Stop,
    handle: impl Fn(&TcpStream) -> io::Result<()> + Copy + Send + 'static,
) -> Result<()> {
    // "So that they can all be closed at the end."
    let mut connections = Vec::new();
    while !stop.wait(listener)?.stop {
        match listener.accept() {
            Ok((stream, _peer)) => {
                connections.extend(stream.try_clone());
                drop(thread::spawn(move || handle(&stream)));
            }
            Err(error) => log(format_args!("cannot accept a client, going on: {error}")),
        }
    }
    Ok(())
}
// ANCHOR_END: keep_clones

// ANCHOR: count_inside
fn count_inside(
    listener: &TcpListener,
    stop: &Stop,
    handle: impl Fn(&TcpStream) -> io::Result<()> + Copy + Send + 'static,
) -> Result<()> {
    let count = Arc::new(Count::default());
    while !stop.wait(listener)?.stop {
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
    Ok(())
}
// ANCHOR_END: count_inside

/// A wait group as in Go: it counts right, and can't help it if it is told too late.
#[derive(Default)]
pub struct Count {
    /// How many are running.
    running: Mutex<usize>,
    /// Told whenever one is done.
    changed: Condvar,
}

impl Count {
    /// Counts one more.
    pub fn add(&self) {
        *self.lock() += 1;
    }

    /// Counts one less. A handler that panics never comes here.
    pub fn done(&self) {
        *self.lock() -= 1;
        self.changed.notify_all();
    }

    /// Waits until the count is zero, which it also is before the first was counted.
    pub fn wait(&self) {
        let mut running = self.lock();
        while *running > 0 {
            running = self.changed.wait(running).expect(UNPOISONED);
        }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.running.lock().expect(UNPOISONED)
    }
}

/// Why the lock can always be had.
const UNPOISONED: &str = "nothing panics while it holds this lock";
