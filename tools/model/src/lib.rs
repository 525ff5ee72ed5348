//! Chapter 6's wait group and stop signal, for a model checker.
//!
//! The chapter's own file is compiled here, unchanged. Only this crate is called `std` here, so what the file takes
//! from `std::sync`, `std::net` and so on are the models in this crate. Their every step is one at which loom may let
//! another thread run, and it tries all orders that differ. The scenarios are in `tests/`.

#![no_std]

extern crate alloc;
// `no_std` leaves two names free for what the chapter's file asks for.
extern crate self as rustix;
extern crate self as std;
extern crate std as real_std;

pub mod collections;
pub mod io;
pub mod net;
pub mod sync;
pub mod time;

#[path = "../../../chapters/06_graceful_shutdown/connections.rs"]
pub mod connections;

/// The pitfall's wait group.
pub mod count {
    use crate::sync::{Condvar, Mutex};

    include!(concat!(env!("OUT_DIR"), "/count.rs"));
}

/// The chapter's file with one mistake in each. The checker has to find them all, or it would prove nothing.
pub mod broken {
    include!(concat!(env!("OUT_DIR"), "/broken.rs"));
}
