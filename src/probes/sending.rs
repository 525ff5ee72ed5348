//! Writing on a thread of its own, so that a probe can read, or refuse to, whatever the server does meanwhile.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::trial::unread;
use super::{Judged, Otherwise};
use crate::lab::client::Client;
use crate::lab::lack;
use crate::lab::server::Running;
use crate::lab::wait::wait_until;

/// How soon a thread that waits in `write` sees that it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// A thread that writes to a client's connection. Dropping it ends the thread and leaves the connection open.
pub(crate) struct Sending {
    sent: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sending {
    /// Begins to write what `next` gives, until that is `None`, or the connection takes no more.
    pub(crate) fn begin(client: &Client, mut next: impl FnMut() -> Option<Vec<u8>> + Send + 'static) -> Judged<Self> {
        let no_handle = |error| Otherwise::skipped(format!("no second handle of the connection: {error}"));
        let mut stream = client.stream().try_clone().map_err(no_handle)?;
        stream.set_write_timeout(Some(LOOK)).map_err(no_handle)?;
        let (sent, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let work = {
            let (sent, enough) = (Arc::clone(&sent), Arc::clone(&enough));
            move || {
                let mut bytes = Vec::new();
                let mut at = 0;
                while !enough.load(SeqCst) {
                    if at == bytes.len() {
                        let Some(more) = next() else { return };
                        (bytes, at) = (more, 0);
                    }
                    match stream.write(&bytes[at..]) {
                        Ok(count) => {
                            at += count;
                            sent.fetch_add(count, SeqCst);
                        }
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        // What that means shows at the reading side.
                        Err(_) => return,
                    }
                }
            }
        };
        let thread = lack::spawn(work)?;
        Ok(Sending { sent, enough, thread: Some(thread) })
    }

    /// How many bytes the connection has taken.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(SeqCst)
    }

    /// Whether all is written, or the connection takes no more.
    pub(super) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until nothing moves any more for `patience`, all is written and read, or `longest` is over. `meanwhile` may
    /// end the wait as well.
    pub(super) fn stands_still(
        &self,
        server: &Running,
        client: &Client,
        patience: Duration,
        longest: Duration,
        mut meanwhile: impl FnMut() -> bool,
    ) {
        let progress = || (self.sent(), unread(server, client));
        let (mut last, mut since) = (progress(), Instant::now());
        wait_until(longest, || {
            let now = progress();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            let all = self.is_over() && now.1 == Some(0);
            (all || since.elapsed() > patience || meanwhile()).then_some(())
        });
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.enough.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// By how many bytes the memory of a server has grown that was so large `before`. `None` where that can't be seen.
pub(super) fn grown(server: &Running, before: Option<u64>) -> Option<usize> {
    usize::try_from(memory(server)?.saturating_sub(before?)).ok()
}

/// The memory that a server has in use and that isn't a file's, in bytes, if it was started here and can be looked at.
pub(super) fn memory(server: &Running) -> Option<u64> {
    server.tree()?.memory().ok()
}
