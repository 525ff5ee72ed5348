//! How the bytes of a connection came: in how many segments. Linux only, by `sock_diag(7)`.

use std::net::TcpStream;

/// How many segments with bytes in them have come to this end of a connection by IPv4. `None` where the kernel doesn't tell.
///
/// A write that fits into a segment makes one. So this tells how often a server has written, however late one looks.
#[cfg(target_os = "linux")]
pub fn received(stream: &TcpStream) -> Option<u32> {
    use std::net::{IpAddr, SocketAddr};

    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, netlink, recv, send, socket};

    // struct nlmsghdr and struct inet_diag_req_v2 (linux/netlink.h, linux/inet_diag.h).
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST: u16 = 1;
    const AF_INET: u8 = 2;
    const TCP: u8 = 6;
    const INET_DIAG_INFO: u16 = 2;
    const HEADER: usize = 16;
    // struct inet_diag_msg, behind which the attributes stand, and in struct tcp_info (linux/tcp.h) the number wanted.
    const MESSAGE: usize = 72;
    const TCPI_DATA_SEGS_IN: usize = 152;

    let end = |addr: SocketAddr| match addr.ip() {
        IpAddr::V4(ip) => Some((addr.port().to_be_bytes(), [&ip.octets()[..], &[0; 12]].concat())),
        IpAddr::V6(_) => None,
    };
    let ((own_port, own), (port, other)) = (end(stream.local_addr().ok()?)?, end(stream.peer_addr().ok()?)?);
    let mut request = vec![AF_INET, TCP, 1 << (INET_DIAG_INFO - 1), 0, 0xff, 0xff, 0xff, 0xff];
    request.extend([&own_port[..], &port, &own, &other].concat());
    // Any interface, and no cookie.
    request.extend([[0; 4], [0xff; 4], [0xff; 4]].concat());
    let length = u32::try_from(HEADER + request.len()).ok()?;
    let kind = [SOCK_DIAG_BY_FAMILY.to_ne_bytes(), NLM_F_REQUEST.to_ne_bytes()].concat();
    let request = [&length.to_ne_bytes()[..], &kind, &[0; 8], &request].concat();

    let socket = socket(AddressFamily::NETLINK, SocketType::DGRAM, Some(netlink::SOCK_DIAG)).ok()?;
    send(&socket, &request, SendFlags::empty()).ok()?;
    let mut answer = [0; 4096];
    let (count, _) = recv(&socket, &mut answer[..], RecvFlags::empty()).ok()?;
    let answer = &answer[..count];
    if answer.get(4..6)? != SOCK_DIAG_BY_FAMILY.to_ne_bytes() {
        return None;
    }
    let mut attributes = answer.get(HEADER + MESSAGE..)?;
    loop {
        let (length, kind) = (attributes.get(..2)?, attributes.get(2..4)?);
        let length = usize::from(u16::from_ne_bytes(length.try_into().ok()?));
        if kind == INET_DIAG_INFO.to_ne_bytes() {
            let number = attributes.get(4 + TCPI_DATA_SEGS_IN..)?.get(..4)?;
            return Some(u32::from_ne_bytes(number.try_into().ok()?));
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// How many segments with bytes in them have come to this end of a connection by IPv4. `None` where the kernel doesn't tell.
#[cfg(not(target_os = "linux"))]
pub fn received(_stream: &TcpStream) -> Option<u32> {
    None
}
