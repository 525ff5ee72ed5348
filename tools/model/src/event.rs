//! `rustix::event`: a wait for several sockets, which a signal may interrupt.

use core::mem;

use crate::fd::AsFd;
use crate::io::{ErrorKind, Result};
use crate::net;

/// What a socket is ready for: input, or nothing.
#[derive(Clone, Copy)]
pub struct PollFlags(bool);

impl PollFlags {
    pub const IN: Self = PollFlags(true);

    pub fn is_empty(self) -> bool {
        !self.0
    }
}

/// A socket to wait for.
pub struct PollFd {
    fd: usize,
    revents: PollFlags,
}

impl PollFd {
    pub fn new(socket: &impl AsFd, _: PollFlags) -> Self {
        PollFd { fd: socket.as_fd(), revents: PollFlags(false) }
    }

    pub fn revents(&self) -> PollFlags {
        self.revents
    }
}

/// As `poll(2)` without a time limit: whoever has nothing ready and sees a signal first is interrupted by it.
pub fn poll(sockets: &mut [PollFd], _: Option<()>) -> Result<()> {
    net::wait(|kernel| {
        for socket in &mut *sockets {
            socket.revents = PollFlags(kernel.sockets[socket.fd].is_ready());
        }
        if sockets.iter().any(|socket| !socket.revents.is_empty()) {
            return Some(Ok(()));
        }
        mem::take(&mut kernel.signal).then(|| Err(ErrorKind::Interrupted.into()))
    })
}
