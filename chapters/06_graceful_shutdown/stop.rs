//! The stop: how a thread learns of it, whatever it is waiting for.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::io::{ioctl_fionread, retry_on_intr};

/// The news that the server stops. A thread in `read` or `accept` waits for one socket and hears of nothing else. `poll`
/// waits for several, so the news is a socket, too: an end of a connection, readable once the other end is closed.
pub struct Stop {
    /// The end that everybody waits for. Nobody ever reads from it, so once readable it stays so.
    news: TcpStream,
    /// The other end, until the stop begins. Made at the start, so that a stop needs no descriptor and can't fail.
    other_end: Mutex<Option<TcpStream>>,
}

/// What has ended a wait.
pub struct Ready {
    /// There is something to read or to accept, be it an end or an error.
    pub input: bool,
    /// The stop has begun.
    pub stop: bool,
}

impl Stop {
    /// Makes a stop that has not begun.
    pub fn new() -> io::Result<Self> {
        // Unix has `UnixStream::pair` for this. Windows hasn't, and polls nothing but sockets of the network.
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let other_end = TcpStream::connect(listener.local_addr()?)?;
        loop {
            let (news, peer) = listener.accept()?;
            // Any program on this machine may connect, and one may have been faster.
            if peer == other_end.local_addr()? {
                return Ok(Stop { news, other_end: Mutex::new(Some(other_end)) });
            }
        }
    }

    /// What can be read from once the stop has begun, for who waits in another way. Don't read from it.
    pub fn news(&self) -> &TcpStream {
        &self.news
    }

    /// Begins the stop, from any thread. False if it had begun before.
    pub fn begin(&self) -> bool {
        let other_end = self.other_end.lock().unwrap_or_else(PoisonError::into_inner).take();
        other_end.is_some() // Dropped here, and so closed.
    }

    // ANCHOR: wait
    /// Waits until there is input on a socket, or the stop has begun, or both.
    pub fn wait(&self, socket: impl AsFd) -> io::Result<Ready> {
        let mut both = [PollFd::new(&socket, PollFlags::IN), PollFd::new(&self.news, PollFlags::IN)];
        // The very signal that begins the stop interrupts this call in one thread.
        retry_on_intr(|| poll(&mut both, None))?;
        // `poll` reports an error or a hang-up as well, and leaves it to `read` or `accept` to say which.
        let [input, stop] = both.map(|one| !one.revents().is_empty());
        Ok(Ready { input, stop })
    }
    // ANCHOR_END: wait
}

// ANCHOR: reader
/// Reads from a client until the stop: what had arrived by then, and the rest of the line. Then its stream has ended.
pub struct UntilStop<'a> {
    /// The client.
    stream: &'a TcpStream,
    /// What else to wait for.
    stop: &'a Stop,
    /// How many bytes had arrived when the stop was seen, and are still to be read.
    arrived: Option<u64>,
    /// Whether the last byte read was the end of a line, or there was none yet.
    between_lines: bool,
}
// ANCHOR_END: reader

impl<'a> UntilStop<'a> {
    /// Reads from this client until this stop.
    pub fn new(stream: &'a TcpStream, stop: &'a Stop) -> Self {
        UntilStop { stream, stop, arrived: None, between_lines: true }
    }
}

// ANCHOR: read
impl Read for UntilStop<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.stop.wait(self.stream)?;
        self.read_after(&ready, buffer)
    }
}

impl UntilStop<'_> {
    /// Reads after a wait that has ended like this.
    pub fn read_after(&mut self, ready: &Ready, buffer: &mut [u8]) -> io::Result<usize> {
        if ready.stop && self.arrived.is_none() {
            // Asked once. Of a client that never pauses, there is always more.
            self.arrived = Some(ioctl_fionread(self.stream)?);
        }
        if self.arrived == Some(0) && self.between_lines {
            return Ok(0);
        }
        // In the middle of a line this may wait for the client. The end of the grace time ends that.
        let mut count = self.stream.read(buffer)?;
        if self.arrived == Some(0) {
            // The rest of the last line. What stands behind it was sent too late.
            count = memchr::memchr(b'\n', &buffer[..count]).map_or(count, |newline| newline + 1);
        } else if let Some(left) = &mut self.arrived {
            *left = left.saturating_sub(count as u64);
        }
        self.between_lines = buffer[..count].last() == Some(&b'\n');
        Ok(count)
    }
}
// ANCHOR_END: read
