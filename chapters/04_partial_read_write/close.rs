//! Closing a connection so that the last answer arrives.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// How long `close` goes on reading what the client still sends.
const PATIENCE: Duration = Duration::from_secs(1);

// ANCHOR: close
/// Ends a connection: says that no more will come, then reads until the client is done as well, at most a second.
///
/// Dropping a stream makes the kernel send a reset if bytes from the client are unread (RFC 1122, section 4.2.2.13) or
/// come later (RFC 9293, section 3.6.1), and a reset discards what was still on its way, the last answer included.
/// RFC 9112, section 9.6 describes this cure.
pub fn close(mut stream: &TcpStream) {
    // Any error from here on means that the client has gone, which is what we wait for.
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    let deadline = Instant::now() + PATIENCE;
    let mut unread = [0; 4096];
    // A read timeout is for one `read`. A client that sends a byte now and then would never exceed it, so each
    // `read` gets what is left of the total.
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match stream.read(&mut unread) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
// ANCHOR_END: close
