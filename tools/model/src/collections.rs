//! `std::collections`: a map whose order is the same in every run, so that runs differ by their schedule alone.

pub use alloc::collections::BTreeMap as HashMap;
pub use alloc::collections::VecDeque;
