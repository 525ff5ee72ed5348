//! A client that asks and asks, and takes no answer.

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::lab::client::Client;
use crate::lab::recording::Recorder;
use crate::lab::server::Running;
use crate::lab::wait::wait_for;

/// For how long a connection takes nothing before it is full.
pub(super) const FULL: Duration = Duration::from_millis(500);

/// A client that says the same again and again, and takes no answer.
pub(super) struct FullHands {
    pub(super) client: Client,
    pub(super) came: Instant,
    /// What it says, such as a line.
    pub(super) word: Vec<u8>,
    /// How many bytes of that its connection has taken.
    pub(super) sent: usize,
    /// When it last took something that was said without a pause.
    pub(super) last: Instant,
}

impl FullHands {
    /// Lets one come that has said nothing yet.
    pub(super) fn come(server: &mut Running, name: &str, recorder: &Recorder, word: Vec<u8>) -> Result<Self> {
        const WINDOW: usize = 4096;
        let client = server.connect_with(name, recorder, Some(WINDOW))?;
        client.note("says one thing after the other, and takes no answer");
        Ok(FullHands { client, came: Instant::now(), word, sent: 0, last: Instant::now() })
    }

    /// Whether it is cut off before its connection has taken nothing for `patience`, and before all this takes longer than
    /// `at_most`.
    pub(super) fn is_cut_off(&mut self, patience: Duration, at_most: Duration) -> bool {
        /// More than the kernels keep. A server that goes on reading hears a word now and then from there on.
        const WITHOUT_PAUSE: usize = 16 * 1024 * 1024;
        let (length, began) = (self.word.len(), Instant::now());
        let words = self.word.repeat(1 + 64 * 1024 / length);
        // That a write waits must show.
        let _ = self.client.stream().set_write_timeout(Some(Duration::from_millis(100)));
        while self.last.elapsed() < patience && began.elapsed() < at_most {
            let pauses = self.sent > WITHOUT_PAUSE;
            let end = if pauses { length } else { words.len() };
            match self.client.stream().write(&words[self.sent % length..end]) {
                Ok(count) => {
                    self.sent += count;
                    if pauses {
                        wait_for(Duration::from_millis(100));
                    } else {
                        self.last = Instant::now();
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                }
                Err(_) => {
                    self.client.note("is cut off");
                    return true;
                }
            }
        }
        false
    }
}
