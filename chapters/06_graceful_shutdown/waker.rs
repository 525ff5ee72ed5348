//! Waking a thread that is blocked in `accept`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

/// Wakes `accept` by being a client.
///
/// A flag alone is not seen by a thread that waits in the kernel, and closing the listener from another thread does
/// not wake it on Linux (close(2)). `shutdown` on a listener does on Linux, but not on every system. A connection
/// works everywhere.
pub struct Waker {
    listener: SocketAddr,
    address: Mutex<Option<SocketAddr>>,
}

impl Waker {
    /// Makes a waker for the listener with this local address.
    pub fn new(listener: SocketAddr) -> Self {
        Waker { listener, address: Mutex::new(None) }
    }

    // ANCHOR: wake
    /// Makes a blocked `accept` return.
    pub fn wake(&self) {
        let port = self.listener.port();
        let hosts = match self.listener.ip() {
            // A listener on every interface has no address of its own, and not every system lets clients connect to that.
            IpAddr::V6(ip) if ip.is_unspecified() => vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()],
            IpAddr::V4(ip) if ip.is_unspecified() => vec![Ipv4Addr::LOCALHOST.into()],
            ip => vec![ip],
        };
        // Held while connecting, so that `is` waits until the address is known.
        let mut address = self.address.lock().expect("nothing panics while it holds this lock");
        for host in hosts {
            // The limit is for a full queue: connecting would hang, but then `accept` isn't waiting either.
            if let Ok(stream) = TcpStream::connect_timeout(&SocketAddr::new(host, port), Duration::from_secs(1)) {
                *address = stream.local_addr().ok();
                return;
            }
        }
    }
    // ANCHOR_END: wake

    /// Whether this peer is the waker and not a client.
    pub fn is(&self, peer: SocketAddr) -> bool {
        let address = self.address.lock().expect("nothing panics while it holds this lock");
        // A listener for both families sees an IPv4 peer as `::ffff:127.0.0.1`.
        address.is_some_and(|own| own.port() == peer.port() && own.ip() == peer.ip().to_canonical())
    }
}
