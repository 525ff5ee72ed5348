//! `rustix::fd`: sockets by their numbers.

/// Whatever has a number.
pub trait AsFd {
    fn as_fd(&self) -> usize;
}

impl<T: AsFd> AsFd for &T {
    fn as_fd(&self) -> usize {
        (**self).as_fd()
    }
}
