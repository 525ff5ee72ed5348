//! Listening: which address is meant, and why it may fail.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use anyhow::{Context, Result, anyhow, bail};
use socket2::{Domain, Protocol, Socket, Type};

/// How many clients may wait in the kernel until the server accepts them.
///
/// std always asks for 128. In a larger burst some clients wait a second or longer, because the kernel silently drops
/// their SYN. Each system caps the number at a limit of its own: on Linux `net.core.somaxconn`, 4096 by default since
/// Linux 5.4 (listen(2)).
pub const BACKLOG: i32 = 4096;

/// Listens on `addr`: `host:port`, `[v6]:port`, or `:port` for every interface of this machine.
///
/// # Errors
/// A sentence that quotes `addr` and says what to do.
pub fn listen(addr: &str) -> Result<TcpListener> {
    resolve_and_bind(addr).with_context(|| format!("cannot listen on \"{addr}\""))
}

fn resolve_and_bind(addr: &str) -> Result<TcpListener> {
    let resolved = resolve(addr)?;
    let listener = match bind(resolved) {
        // Without IPv6, `:port` means every IPv4 address. Only `:port`: whoever wrote `[::]:port` asked for IPv6.
        Err(error) if addr.starts_with(':') && is_about_ipv6(&error) => {
            bind((Ipv4Addr::UNSPECIFIED, resolved.port()).into())
        }
        first => first,
    };
    listener.map_err(|error| anyhow!(explain(resolved, &error)))
}

/// Whether IPv4 is worth a try: a port that is taken or forbidden is so for both.
fn is_about_ipv6(error: &io::Error) -> bool {
    !matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied)
}

// ANCHOR: resolve
/// Turns the text into exactly one address.
fn resolve(addr: &str) -> Result<SocketAddr> {
    if let Ok(literal) = addr.parse() {
        return Ok(literal);
    }
    // In `[::1]` the last colon is part of the address, and there is no port.
    let parts = if addr.ends_with(']') { None } else { addr.rsplit_once(':') };
    let Some((host, port)) = parts else {
        bail!("it has no port. Write \":8080\" for every interface, or \"127.0.0.1:8080\" for this machine only");
    };
    if host.contains(':') && !host.starts_with('[') {
        bail!("an IPv6 address needs brackets before its port, as in \"[::1]:8080\"");
    }
    if port.is_empty() {
        bail!("the port after the colon is missing. Write a number, as in \"{host}:8080\"");
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        bail!("the port \"{port}\" is not a number. Write one from 1 to 65535, or 0 to be given a free port");
    }
    let Ok(port) = port.parse::<u16>() else {
        bail!("the port {port} is above 65535, the highest there is");
    };
    if host.is_empty() {
        return Ok((Ipv6Addr::UNSPECIFIED, port).into());
    }
    let found = (host, port).to_socket_addrs().with_context(|| {
        format!("the host name \"{host}\" cannot be resolved. Write an IP address, or check the spelling")
    })?;
    let addrs: Vec<SocketAddr> = found.collect();
    // `localhost` is often two addresses. Trying the second when the first is taken, as std does, would start
    // a second copy of this server beside the first. So take one and stay with it: IPv4 first, as Go does.
    let first_v4 = addrs.iter().find(|addr| addr.is_ipv4());
    first_v4.or(addrs.first()).copied().context("the host name has no address")
}
// ANCHOR_END: resolve

// ANCHOR: bind
fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // ANCHOR: card
    // Unix: after a restart the port may still be in TIME_WAIT, and without this option bind refuses it for a
    // minute. Windows: the same option lets a second program take over a live port, so it must stay off.
    if cfg!(not(windows)) {
        socket.set_reuse_address(true)?;
    }
    // One socket for IPv4 and IPv6. The default differs: on for Windows and NetBSD, a sysctl on Linux.
    if addr.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    // ANCHOR_END: card
    Ok(socket.into())
}
// ANCHOR_END: bind

// ANCHOR: explain
/// Says what a failed `bind` means and what to do about it.
fn explain(addr: SocketAddr, error: &io::Error) -> String {
    let port = addr.port();
    match error.kind() {
        ErrorKind::AddrInUse => format!(
            "port {port} is already in use ({error}). To find the program that holds it: {}",
            holder_command(port)
        ),
        ErrorKind::PermissionDenied => format!(
            "the system does not let you use port {port} ({error}). Ports below 1024 usually need an administrator: \
             choose one from 1024 up"
        ),
        ErrorKind::AddrNotAvailable => {
            format!("this machine has no address {} ({error}). Use \":{port}\" for every address it has", addr.ip())
        }
        _ => format!("the system refused {addr}: {error}"),
    }
}
// ANCHOR_END: explain

/// The command that shows who holds a port. On Unix, other users' programs are named only to root.
fn holder_command(port: u16) -> String {
    if cfg!(windows) {
        format!("netstat -ano | findstr LISTENING | findstr :{port}")
    } else if cfg!(target_os = "linux") {
        format!("ss -ltnp 'sport = :{port}'")
    } else {
        format!("lsof -nP -iTCP:{port} -sTCP:LISTEN")
    }
}
