//! The wait group of chapter 6's pitfall: the mistake is not in it but in where it is told.

mod explorer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use explorer::explore;
use loom::thread;
use tcp_pitfalls_model::count::Count;

/// Two handlers and the wait for them. Each is counted by its own thread or before that is started.
fn two_handlers(counted_inside: bool) {
    explore(move || {
        let count = Arc::new(Count::default());
        let handlers: [_; 2] = std::array::from_fn(|_| {
            let (count, served) = (Arc::clone(&count), Arc::new(AtomicBool::new(false)));
            if !counted_inside {
                count.add();
            }
            let done = Arc::clone(&served);
            thread::spawn(move || {
                if counted_inside {
                    count.add();
                }
                done.store(true, SeqCst);
                count.done();
            });
            served
        });
        count.wait();
        assert!(handlers.iter().all(|served| served.load(SeqCst)), "the wait ended before a handler did");
    });
}

#[test]
fn counted_before_its_thread_starts_each_is_waited_for() {
    two_handlers(false);
}

#[test]
#[should_panic(expected = "the wait ended before a handler did")]
fn counted_by_its_own_thread_one_is_missed() {
    two_handlers(true);
}
