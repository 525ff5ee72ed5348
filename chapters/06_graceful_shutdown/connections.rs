//! The open connections: a wait group that can also cut those it waits for.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

/// The open connections of a server.
pub struct Connections {
    /// How many there may be at once.
    limit: usize,
    /// The connections themselves, and who has left.
    members: Mutex<Members>,
    /// Notified when one has ended, and by `close`.
    changed: Condvar,
}

#[derive(Default)]
struct Members {
    /// Those that are open, by the number each was given.
    open: HashMap<u64, Arc<TcpStream>>,
    /// The number of the next one.
    next_id: u64,
    /// Whether `close` was called.
    closed: bool,
    /// How many have ended since then.
    finished: usize,
}

/// A connection's place in the group, given back when it is dropped.
pub struct Seat {
    /// The group it belongs to.
    connections: Arc<Connections>,
    /// The connection's number.
    id: u64,
}

/// What became of the connections that were open when the stop began.
#[derive(Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Ended by themselves, with every answer given that was owed.
    pub finished: usize,
    /// Ended by force when the grace time was over.
    pub cut: usize,
}

impl Connections {
    /// Makes an empty group for at most `limit` connections.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Connections { limit, members: Mutex::default(), changed: Condvar::new() })
    }

    /// Counts a connection. Call this before its thread starts: a thread that counts itself may be too late.
    pub fn enter(self: &Arc<Self>, stream: TcpStream) -> (Arc<TcpStream>, Seat) {
        let stream = Arc::new(stream);
        let mut members = self.lock();
        let id = members.next_id;
        members.next_id += 1;
        members.open.insert(id, Arc::clone(&stream));
        (stream, Seat { connections: Arc::clone(self), id })
    }

    /// Waits until one more connection may be accepted, or until `close`.
    pub fn wait_for_room(&self) {
        let full = |members: &mut Members| members.open.len() >= self.limit && !members.closed;
        drop(self.changed.wait_while(self.lock(), full).unwrap());
    }

    /// Ends every wait for room. From now on, those who leave are counted.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits until every connection has ended, or until `deadline`. Returns how many have ended since `close`.
    pub fn wait_until(&self, deadline: Instant) -> usize {
        let left = deadline.saturating_duration_since(Instant::now());
        let busy = |members: &mut Members| !members.open.is_empty();
        let (members, _timed_out) = self.changed.wait_timeout_while(self.lock(), left, busy).unwrap();
        members.finished
    }

    /// Ends what is still open, in the middle of whatever it does.
    pub fn cut(&self) -> Stopped {
        // One lock for both counts, or a connection that ends in between would be in neither.
        let members = self.lock();
        for stream in members.open.values() {
            // A blocked read returns 0, a blocked write fails. On Windows they may sleep on until the process ends.
            let _ = stream.shutdown(Shutdown::Both);
        }
        Stopped { finished: members.finished, cut: members.open.len() }
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        // Nothing panics while it holds this lock, so it is never poisoned. Nor are the waits above.
        self.members.lock().unwrap()
    }
}

// ANCHOR: leave
impl Drop for Seat {
    fn drop(&mut self) {
        let mut members = self.connections.lock();
        // The last owner: this closes the connection. A clone kept anywhere else would hold it open.
        drop(members.open.remove(&self.id));
        members.finished += usize::from(members.closed);
        self.connections.changed.notify_all();
    }
}
// ANCHOR_END: leave
