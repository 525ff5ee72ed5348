//! Threads that stay when their client has left.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// All that a thread does for one client.
pub type Visit = Box<dyn FnOnce() + Send>;

/// How long a thread without a client waits before it ends. Memory for a crowd that has left is given back soon, and a
/// busy server has another client for it long before.
const PATIENCE: Duration = Duration::from_secs(1);

/// As many threads as there are clients, and those whose client has just left.
pub struct Workers {
    /// The stack of each, in bytes.
    stack_size: usize,
    /// What there is to do, and who is free to do it.
    work: Mutex<Work>,
    /// Notified of each visit that waits for a free thread.
    visit_waits: Condvar,
}

#[derive(Default)]
struct Work {
    /// Visits for the free threads, never more than there are of those.
    visits: VecDeque<Visit>,
    /// How many threads have no client.
    free: usize,
}

impl Workers {
    /// Makes a group that has no threads yet.
    pub fn new(stack_size: usize) -> Arc<Self> {
        Arc::new(Workers { stack_size, work: Mutex::default(), visit_waits: Condvar::new() })
    }

    // ANCHOR: run
    /// Hands a visit to a free thread, or starts one for it. Never lets it wait for a client to leave.
    pub fn run(self: &Arc<Self>, visit: Visit) -> io::Result<()> {
        let mut work = self.lock();
        // A free thread may have been given a visit already and not have woken yet.
        if work.free > work.visits.len() {
            work.visits.push_back(visit);
            self.visit_waits.notify_one();
            return Ok(());
        }
        drop(work);
        let workers = Arc::clone(self);
        let thread = thread::Builder::new().name("worker".into()).stack_size(self.stack_size);
        thread.spawn(move || {
            let mut next = Some(visit);
            while let Some(visit) = next {
                // A panic ends this thread. It isn't counted as free, so nobody relies on it.
                visit();
                next = workers.next_visit();
            }
        })?;
        Ok(())
    }

    /// Waits for another client. None if there is none for a second.
    fn next_visit(&self) -> Option<Visit> {
        let mut work = self.lock();
        work.free += 1;
        let none = |work: &mut Work| work.visits.is_empty();
        let (mut work, _) = self.visit_waits.wait_timeout_while(work, PATIENCE, none).unwrap();
        // Under the same lock as the wait's last look: nobody is counted as free who will not come again.
        work.free -= 1;
        work.visits.pop_front()
    }
    // ANCHOR_END: run

    fn lock(&self) -> MutexGuard<'_, Work> {
        // Nothing panics while it holds this lock.
        self.work.lock().unwrap()
    }
}
