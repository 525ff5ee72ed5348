//! A limit on how many connections are served at once.

use std::sync::{Arc, Condvar, Mutex};

// ANCHOR: permits
/// A fixed number of permits. Whoever wants to serve a connection takes one first.
pub struct Permits {
    free: Mutex<usize>,
    returned: Condvar,
}

/// One permit. Dropping it gives it back: at the end of a handler, on an early return, and when a panic unwinds.
/// A counter lowered on the handler's last line would miss the last two.
pub struct Permit(Arc<Permits>);

impl Permits {
    /// Makes `count` permits.
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Permits { free: Mutex::new(count), returned: Condvar::new() })
    }

    /// Takes a permit, and waits for one if none is free.
    pub fn acquire(self: &Arc<Self>) -> Permit {
        let free = self.free.lock().expect("nothing panics while it holds this lock");
        let mut free =
            self.returned.wait_while(free, |free| *free == 0).expect("nothing panics while it holds this lock");
        *free -= 1;
        Permit(Arc::clone(self))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.free.lock().expect("nothing panics while it holds this lock") += 1;
        self.0.returned.notify_one();
    }
}
// ANCHOR_END: permits
