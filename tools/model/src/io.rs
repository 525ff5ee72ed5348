//! `std::io` as it is, and the one function of `rustix::io`.

pub use real_std::io::{Read, Result};

use crate::net::TcpStream;

/// How many bytes wait to be read.
pub fn ioctl_fionread(stream: &TcpStream) -> Result<usize> {
    Ok(stream.waiting())
}
