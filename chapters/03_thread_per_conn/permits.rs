//! A limit on how many connections are served at once.

use std::sync::mpsc::{Receiver, Sender, channel};

// ANCHOR: permits
/// A fixed number of permits. Whoever wants to serve a connection takes one first.
pub struct Permits {
    /// The free permits, a message for each.
    free: Receiver<()>,
    /// Where permits come back. Held here as well, so that the channel stays open while every permit is taken.
    returned: Sender<()>,
}

/// One permit. Dropping it gives it back: at the end of a handler, on an early return, and when a panic unwinds.
/// A counter lowered on the handler's last line would miss the last two.
pub struct Permit {
    /// Where it goes back to.
    returned: Sender<()>,
}

impl Permits {
    /// Makes `count` permits.
    pub fn new(count: usize) -> Self {
        let (returned, free) = channel();
        // All are free at first, just as if that many had been given back.
        for _ in 0..count {
            returned.send(()).expect("who receives is still here");
        }
        Permits { free, returned }
    }

    /// Takes a permit, and waits for one if none is free.
    pub fn acquire(&self) -> Permit {
        self.free.recv().expect("the sender beside it keeps the channel open");
        Permit { returned: self.returned.clone() }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // An error means that there is nobody left who could want a permit.
        let _ = self.returned.send(());
    }
}
// ANCHOR_END: permits
