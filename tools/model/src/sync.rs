//! `std::sync`: loom's primitives, and what they lack.

pub use alloc::sync::Arc;
pub use loom::sync::{LockResult, Mutex, MutexGuard};
pub use real_std::sync::PoisonError;

use crate::time::Duration;

/// `std::sync::Condvar`, as far as the chapter uses it.
#[derive(Default)]
pub struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }

    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    pub fn wait_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while condition(&mut guard) {
            guard = self.0.wait(guard)?;
        }
        Ok(guard)
    }

    /// Its time is over at once or never comes: a wait that only a time limit would end is a deadlock here, and so is
    /// found.
    pub fn wait_timeout_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> Result<(MutexGuard<'a, T>, ()), PoisonError<MutexGuard<'a, T>>> {
        let guard = if limit.is_zero() { guard } else { self.wait_while(guard, condition)? };
        Ok((guard, ()))
    }
}
