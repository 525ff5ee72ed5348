//! Threads that serve one connection after another.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::connections::Seat;
use crate::chapter_01::server::log;

/// How long a thread waits for another connection before it ends.
const PATIENCE: Duration = Duration::from_secs(1);

/// As many threads as there are connections, and those whose connection has just ended.
///
/// To start and end a thread costs more than to accept a connection and to answer a line on it. So a thread that has
/// served a connection waits a while for another.
pub struct Workers {
    handle: Box<dyn Fn(Seat, SocketAddr) + Send + Sync>,
    stack_size: usize,
    work: Mutex<Work>,
    news: Condvar,
}

#[derive(Default)]
struct Work {
    waiting: VecDeque<(Seat, SocketAddr)>,
    // Threads without a connection, those that are about to start counted.
    free: usize,
}

impl Workers {
    /// Makes workers that do this for each connection, on stacks of so many bytes. No thread is started yet.
    pub fn new(stack_size: usize, handle: impl Fn(Seat, SocketAddr) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Workers { handle: Box::new(handle), stack_size, work: Mutex::default(), news: Condvar::new() })
    }

    // ANCHOR: serve
    /// Has a connection served. It is closed if it needs a thread and the system has none to give.
    pub fn serve(self: &Arc<Self>, seat: Seat, peer: SocketAddr) -> io::Result<()> {
        let mut work = self.lock();
        work.waiting.push_back((seat, peer));
        if work.free > 0 {
            self.news.notify_one();
            return Ok(());
        }
        self.start_one(work).inspect_err(|_| drop(self.lock().waiting.pop_back()))
    }
    // ANCHOR_END: serve

    /// Starts a thread. Lets go of the lock first: the threads that there are need not wait for that.
    fn start_one(self: &Arc<Self>, mut work: MutexGuard<'_, Work>) -> io::Result<()> {
        work.free += 1;
        drop(work);
        let workers = Arc::clone(self);
        let started = thread::Builder::new().name("worker".into()).stack_size(self.stack_size).spawn(move || {
            while let Some((seat, peer)) = workers.next() {
                (workers.handle)(seat, peer);
                workers.lock().free += 1;
            }
        });
        started.map(drop).inspect_err(|_| self.lock().free -= 1)
    }

    /// The next connection to serve, or none if there was none for a while.
    fn next(self: &Arc<Self>) -> Option<(Seat, SocketAddr)> {
        let none = |work: &mut Work| work.waiting.is_empty();
        let waited = self.news.wait_timeout_while(self.lock(), PATIENCE, none);
        let mut work = waited.expect("nothing panics while it holds this lock").0;
        work.free -= 1;
        let next = work.waiting.pop_front();
        // Many may have come while this thread was starting. Whoever takes one sees to it that the others are served,
        // so that the thread in `accept` can go on accepting.
        if !work.waiting.is_empty() && work.free == 0 {
            if let Err(error) = self.start_one(work) {
                log(format_args!("clients wait for others to leave: {error}"));
            }
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().expect("nothing panics while it holds this lock")
    }
}
