//! `std::sync`: loom's primitives, and what they lack.

pub use alloc::sync::Arc;
pub use loom::sync::{LockResult, Mutex, MutexGuard};

use crate::time::Duration;

/// `std::sync::Condvar`, as far as the chapter uses it. Its time never comes: a wait that only a time limit would end
/// is a deadlock here, and so is found.
#[derive(Default)]
pub struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
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

    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        _: Duration,
    ) -> Result<(MutexGuard<'a, T>, TimedOut), &'static str> {
        self.0.wait(guard).map(|guard| (guard, TimedOut)).map_err(|_| "a thread has panicked")
    }
}

/// Whether the time was up: never.
pub struct TimedOut;

/// Sequentially consistent atomics and no others: a chapter that used a weaker ordering would not compile here.
pub mod atomic {
    /// In place of the enum.
    #[expect(non_snake_case, reason = "it stands for a type")]
    pub mod Ordering {
        pub use core::sync::atomic::Ordering::SeqCst;
    }

    use Ordering::SeqCst;

    /// Loom takes a sequentially consistent load or store for a weaker one, but lets each swap see the one before. So
    /// all three are made of such.
    pub struct AtomicBool(loom::sync::atomic::AtomicBool);

    impl AtomicBool {
        pub fn new(value: bool) -> Self {
            AtomicBool(loom::sync::atomic::AtomicBool::new(value))
        }

        pub fn load(&self, _: core::sync::atomic::Ordering) -> bool {
            self.0.fetch_or(false, SeqCst)
        }

        pub fn store(&self, value: bool, _: core::sync::atomic::Ordering) {
            self.0.swap(value, SeqCst);
        }

        pub fn swap(&self, value: bool, _: core::sync::atomic::Ordering) -> bool {
            self.0.swap(value, SeqCst)
        }
    }
}
