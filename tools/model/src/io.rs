//! `std::io` as it is, and two functions of `rustix::io`.

pub use real_std::io::{Error, ErrorKind, Read, Result};

use crate::fd::AsFd;
use crate::net;

/// How many bytes have arrived.
pub fn ioctl_fionread(socket: impl AsFd) -> Result<u64> {
    Ok(net::wait(|kernel| Some(kernel.sockets[socket.as_fd()].arrived.len() as u64)))
}

/// Calls again what a signal has interrupted.
pub fn retry_on_intr<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
