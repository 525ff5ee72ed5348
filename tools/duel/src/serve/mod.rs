//! Servers to compare with, each as a user of its design would write it.

pub mod epoll;
pub mod raw;
pub mod tokio;
