//! The equipment: it starts servers, is their client, and records what happened.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub mod client;
pub mod kernel;
pub mod lack;
pub mod leash;
pub mod load;
pub mod port;
pub mod process;
pub mod random;
pub mod recording;
pub mod segments;
pub mod server;
pub mod signal;
pub mod tree;
pub mod wait;
pub mod watch;

/// What stands behind these locks is complete after each statement, so it can be used whatever has panicked meanwhile.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
