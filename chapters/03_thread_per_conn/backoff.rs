//! What to do when accept fails: wait a little, and a little longer each time.

use std::io::{self, ErrorKind};
use std::thread;
use std::time::Duration;

use crate::chapter_01::announce::log;

/// A pause after a failed accept. It doubles with each failure in a row, up to a second.
///
/// Without a free descriptor (`EMFILE`, `ENFILE`), accept fails at once, whether or not a client is waiting. A loop that
/// just tried again would fail millions of times a second; one that gave up would end every connection.
pub struct Backoff {
    /// How long the next pause will be.
    delay: Duration,
}

impl Default for Backoff {
    /// Begins with 5 ms.
    fn default() -> Self {
        Backoff { delay: Duration::from_millis(5) }
    }
}

impl Backoff {
    // ANCHOR: backoff
    /// Logs the error and waits. An error about one client that has left needs no pause.
    pub fn pause(&mut self, error: &io::Error) {
        thread::sleep(self.after(error));
    }

    /// Logs the error, and says how long to wait.
    pub fn after(&mut self, error: &io::Error) -> Duration {
        // std has no stable kind for `EMFILE`, so name the errors that pass by themselves and pause on all others.
        if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted) {
            return Duration::ZERO;
        }
        let delay = self.delay;
        self.delay = (delay * 2).min(Duration::from_secs(1));
        log(format_args!("cannot take a client, pausing for {delay:?}: {error}"));
        delay
    }

    /// Begins anew, since a client could be taken.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
    // ANCHOR_END: backoff
}
