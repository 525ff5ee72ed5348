//! Chapter 6's wait group and stop, and chapter 7's workers, for a model checker.
//!
//! The chapters' own files are compiled here as they are, but for the name of `Box`. Only this crate is called `std` and
//! `rustix` here, so what they take from `std::sync`, `std::net`, `rustix::event` and so on are the models in this crate.
//! Their every step is one at which loom may let another thread run, and it tries all orders that differ. The scenarios
//! are in `tests/`.

#![no_std]

extern crate alloc;
// `no_std` leaves two names free for what the chapters' files ask for.
extern crate self as rustix;
extern crate self as std;
extern crate std as real_std;

pub mod collections;
pub mod event;
pub mod fd;
pub mod io;
pub mod net;
pub mod sync;
pub mod thread {
    //! `std::thread`: loom's threads.

    pub use loom::thread::Builder;
}
pub mod time;

/// The files of chapter 6.
pub mod chapter_6 {
    include!(concat!(env!("OUT_DIR"), "/chapter_6.rs"));
}

/// The workers of chapter 7.
#[allow(clippy::ignored_unit_patterns)] // A wait here doesn't say whether its time was over.
pub mod chapter_7 {
    include!(concat!(env!("OUT_DIR"), "/chapter_7.rs"));
}

/// The chapters' files with one mistake in each copy. The checker has to find them all, or it would prove nothing.
#[allow(unused, clippy::all, clippy::pedantic)]
pub mod broken {
    include!(concat!(env!("OUT_DIR"), "/broken.rs"));
}

/// The pitfall's wait group.
pub mod count {
    use crate::sync::{Condvar, Mutex, MutexGuard};

    include!(concat!(env!("OUT_DIR"), "/count.rs"));
}
