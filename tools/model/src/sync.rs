//! `std::sync`: loom's primitives, and what they lack.

pub use alloc::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering::SeqCst};
pub use loom::sync::{LockResult, Mutex, MutexGuard};
pub use real_std::sync::PoisonError;

use crate::time::Duration;

/// `std::sync::Condvar`, as far as the chapters use it.
#[derive(Default)]
pub struct Condvar {
    condvar: loom::sync::Condvar,
    /// Whether the time of those who wait here for so long is over.
    is_over: AtomicBool,
}

impl Condvar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn notify_one(&self) {
        self.condvar.notify_one();
    }

    pub fn notify_all(&self) {
        self.condvar.notify_all();
    }

    /// Ends every wait with a time limit: those that begin, and those of now. Call it under the lock.
    pub fn run_out(&self) {
        self.is_over.store(true, SeqCst);
        self.notify_all();
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(SeqCst)
    }

    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.condvar.wait(guard)
    }

    pub fn wait_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while condition(&mut guard) {
            guard = self.condvar.wait(guard)?;
        }
        Ok(guard)
    }

    /// Its time is over at once, or when the scenario lets it run out, or never comes: a wait that only a time limit would
    /// end is a deadlock here, and so is found.
    pub fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        limit: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<(MutexGuard<'a, T>, ()), PoisonError<MutexGuard<'a, T>>> {
        while condition(&mut guard) && !limit.is_zero() && !self.is_over() {
            guard = self.wait(guard)?;
        }
        Ok((guard, ()))
    }
}
