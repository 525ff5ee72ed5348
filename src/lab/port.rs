//! Ports for servers that are started by command.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use socket2::{Domain, Socket, Type};

use super::lack::Lack;
use super::random;

/// The first and one past the last port that is drawn.
///
/// Below the ephemeral range of every system (Linux from 32768, others from 49152), where an outgoing connection of
/// any program may hold a port, and where a client can even be connected to itself.
const RANGE: (u16, u16) = (10_240, 32_000);

static NEXT: LazyLock<AtomicU16> =
    LazyLock::new(|| AtomicU16::new(u16::try_from(random::seed() % 20_000).unwrap_or(0)));

/// A port for a server that is started by command, and kept from others until this is dropped.
pub struct Port {
    /// Its number.
    pub number: u16,
    // UDP has ports of its own. Holding a number there that belongs to this one tells every other program that draws ports.
    // Not the same number: a server of names takes that as well.
    _reservation: UdpSocket,
}

impl Port {
    /// It on this machine alone.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

/// Draws a port that nobody holds at the moment. No other program that draws with this gets it in the meantime.
///
/// # Errors
/// If every port is taken. A `Lack`, if this machine has no loopback, or this program no descriptor left.
pub fn draw() -> io::Result<Port> {
    let width = RANGE.1 - RANGE.0;
    for _ in 0..width {
        let number = RANGE.0 + NEXT.fetch_add(1, Relaxed) % width;
        let reserved = 2000 + number % 8000;
        let reservation = match UdpSocket::bind((Ipv4Addr::LOCALHOST, reserved)).map_err(Lack::binding) {
            Ok(reservation) => reservation,
            Err(error) if Lack::of(&error).is_some() => return Err(error),
            Err(_) => continue,
        };
        if is_free(number) {
            return Ok(Port { number, _reservation: reservation });
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, format!("every port from {} to {} is taken", RANGE.0, RANGE.1)))
}

/// Whether a server could listen on this port. A port in TIME_WAIT counts as taken: not every server can use it.
pub fn is_free(port: u16) -> bool {
    // Not std's listener, which would share a port in TIME_WAIT.
    let Ok(socket) = Socket::new(Domain::IPV4, Type::STREAM, None) else { return false };
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).is_ok_and(|()| socket.listen(1).is_ok())
}
