//! What one examination has started and connected, so that it can be ended from outside when it takes too long.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::{lock, process, tree};

/// Knows the programs and the connections of an examination, as long as they live.
#[derive(Clone, Debug, Default)]
pub struct Leash(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    pulled: bool,
    programs: Vec<Weak<u32>>,
    connections: Vec<Weak<TcpStream>>,
}

impl Leash {
    /// Takes a program, until what this returns is dropped.
    #[must_use]
    pub(super) fn program(&self, id: u32) -> Arc<u32> {
        let program = Arc::new(id);
        let mut held = lock(&self.0);
        held.programs.push(Arc::downgrade(&program));
        if held.pulled {
            held.end_all();
        }
        program
    }

    /// Takes a connection, until it is dropped.
    pub(super) fn connection(&self, stream: &Arc<TcpStream>) {
        let mut held = lock(&self.0);
        held.connections.retain(|connection| connection.strong_count() > 0);
        held.connections.push(Arc::downgrade(stream));
        if held.pulled {
            held.end_all();
        }
    }

    /// Whether it was pulled: then nothing more is worth starting.
    pub(super) fn is_pulled(&self) -> bool {
        lock(&self.0).pulled
    }

    /// How long the thread of these programs that fared worst was ready to run and had no processor.
    pub fn starved(&self) -> Duration {
        self.starved_since(&BTreeMap::new())
    }

    /// The same since the time at which `starved_by_program` gave this.
    pub fn starved_since(&self, before: &BTreeMap<u32, Duration>) -> Duration {
        let since = |(id, now): (u32, Duration)| now.saturating_sub(before.get(&id).copied().unwrap_or_default());
        self.starved_by_program().into_iter().map(since).max().unwrap_or_default()
    }

    /// How long the thread of each of these programs that fared worst was ready to run and had no processor.
    pub fn starved_by_program(&self) -> BTreeMap<u32, Duration> {
        let programs: Vec<_> = lock(&self.0).programs.iter().filter_map(Weak::upgrade).collect();
        programs.iter().filter_map(|program| Some((**program, tree::starved(**program)?))).collect()
    }

    /// Ends all of them, and those that come later as soon as they come: whoever waits for one goes on.
    pub fn pull(&self) {
        let mut held = lock(&self.0);
        held.pulled = true;
        held.end_all();
    }
}

impl Held {
    fn end_all(&mut self) {
        // Under the lock: a number can't be another program's while its owner holds the `Arc`.
        for program in self.programs.iter().filter_map(Weak::upgrade) {
            process::kill_group(*program);
        }
        for connection in self.connections.iter().filter_map(Weak::upgrade) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}
