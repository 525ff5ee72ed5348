//! The open connections: how many there are, which of them are idle, and when the last has ended.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

/// All connections of a server: a wait group that can also reach each of its members.
pub struct Connections {
    limit: usize,
    stopping: AtomicBool,
    members: Mutex<Members>,
    changed: Condvar,
}

#[derive(Default)]
struct Members {
    open: HashMap<u64, Arc<Connection>>,
    next_id: u64,
    finished: usize,
}

/// One connection, and whether it is between two lines.
pub struct Connection {
    /// The connection itself.
    pub stream: TcpStream,
    idle: AtomicBool,
}

/// A connection's place among the open ones, given back when it is dropped.
pub struct Seat {
    // The order matters: fields are dropped from top to bottom, and a connection is finished once it is closed.
    connection: Arc<Connection>,
    entry: Entry,
}

struct Entry {
    connections: Arc<Connections>,
    id: u64,
}

impl Connections {
    /// Makes an empty group for at most `limit` connections.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Connections {
            limit,
            stopping: AtomicBool::new(false),
            members: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Waits until one more connection may be accepted. False once the server is stopping.
    pub fn wait_for_room(&self) -> bool {
        let full = |members: &mut Members| members.open.len() >= self.limit && !self.stopping.load(SeqCst);
        drop(self.changed.wait_while(self.lock(), full).expect("nothing panics while it holds this lock"));
        !self.stopping.load(SeqCst)
    }

    /// Counts a connection. Call this before its thread is started: a thread that counts itself may do so when
    /// nobody is waiting any more.
    pub fn enter(self: &Arc<Self>, stream: TcpStream) -> Seat {
        let connection = Arc::new(Connection { stream, idle: AtomicBool::new(false) });
        let mut members = self.lock();
        let id = members.next_id;
        members.next_id += 1;
        members.open.insert(id, Arc::clone(&connection));
        Seat { connection, entry: Entry { connections: Arc::clone(self), id } }
    }

    // ANCHOR: stop
    /// Begins the stop: idle connections end at once, the others after their line. False if it had begun before.
    pub fn stop(&self) -> bool {
        let first = !self.stopping.swap(true, SeqCst);
        let members = self.lock();
        for connection in members.open.values() {
            connection.end_if_idle();
        }
        // `wait_for_room` looks at the flag and goes to sleep under this lock, so it can't miss the news.
        self.changed.notify_all();
        first
    }
    // ANCHOR_END: stop

    /// Waits until every connection has ended, or until `deadline`. Returns how many have ended since the stop.
    pub fn wait_until(&self, deadline: Instant) -> usize {
        let mut members = self.lock();
        while !members.open.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            members = self.changed.wait_timeout(members, left).expect("nothing panics while it holds this lock").0;
        }
        members.finished
    }

    /// Ends what is still open, in the middle of whatever it does. Returns how many have ended since the stop, and how
    /// many were still open. It counts both under one lock, or one that ends in between would be in neither.
    pub fn cut(&self) -> (usize, usize) {
        let members = self.lock();
        for connection in members.open.values() {
            // Its thread wakes up: a blocked read returns 0, a blocked write fails. On Windows it may sleep on, until the
            // process ends. The error is of one already gone.
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
        (members.finished, members.open.len())
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().expect("nothing panics while it holds this lock")
    }
}

impl Connection {
    // ANCHOR: end_if_idle
    fn end_if_idle(&self) {
        // Bytes that wait in the kernel are a line in progress. Shutting down the reading side under them would let
        // the thread read this half of the line and never the rest.
        if self.idle.load(SeqCst) && !bytes_wait(&self.stream) {
            let _ = self.stream.shutdown(END_OF_IDLE);
        }
    }
    // ANCHOR_END: end_if_idle
}

/// How an idle connection is ended. Unix: its thread, blocked in `read`, gets 0 and closes. Windows: a shutdown wakes
/// nobody (rust-lang/rust issue 121594), so the client is told as well, and its leaving wakes the thread.
const END_OF_IDLE: Shutdown = if cfg!(windows) { Shutdown::Both } else { Shutdown::Read };

fn bytes_wait(stream: &TcpStream) -> bool {
    rustix::io::ioctl_fionread(stream).is_ok_and(|count| count > 0)
}

impl Seat {
    /// The connection this seat is for.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    // ANCHOR: rest
    /// Tells that this connection owes nothing and is about to wait for the next line.
    pub fn rest(&self) {
        // First say so, then look: either `stop` sees an idle connection, or this sees the stop.
        self.connection.idle.store(true, SeqCst);
        if self.entry.connections.stopping.load(SeqCst) {
            self.connection.end_if_idle();
        }
    }
    // ANCHOR_END: rest
}

// ANCHOR: leave
impl Drop for Entry {
    fn drop(&mut self) {
        let mut members = self.connections.lock();
        // The last owner: this closes the connection. A clone of it kept anywhere else would hold it open.
        drop(members.open.remove(&self.id));
        members.finished += usize::from(self.connections.stopping.load(SeqCst));
        self.connections.changed.notify_all();
    }
}
// ANCHOR_END: leave

// ANCHOR: read
/// Reads from the connection. Whatever arrives makes it busy.
impl Read for &Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (&self.stream).read(buffer)?;
        // A stop in this very moment still takes the connection for idle. What was read is answered, but the rest
        // of a line begun just now is not waited for, as if the stop had come a moment earlier.
        self.idle.store(false, SeqCst);
        Ok(count)
    }
}
// ANCHOR_END: read
