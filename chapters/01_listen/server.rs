//! Step 1: listen where you said you would, say where that is, and answer one client.

use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

/// How many clients may wait in the kernel until the server accepts them.
///
/// std always asks for 128. A burst of more than that makes clients wait a second or longer, because the
/// kernel drops their SYN without a word. Systems cut a large number down to their own limit: Linux to
/// `net.core.somaxconn`, 4096 by default since Linux 5.4 (listen(2)).
pub const BACKLOG: i32 = 4096;

// ANCHOR: run
/// Runs the server of this step: listen, answer one message of one client, end.
pub fn run(addr: &str) -> Result<()> {
    let listener = listen(addr)?;
    announce(&listener)?;
    let (stream, _peer) = listener.accept().context("cannot accept a client")?;
    answer_once(&stream, &stream).context("cannot answer the client")
}
// ANCHOR_END: run

/// Listens on `addr`: `host:port`, `[v6]:port`, or `:port` for every interface of this machine.
///
/// # Errors
/// A sentence that quotes `addr` and says what to do.
pub fn listen(addr: &str) -> Result<TcpListener> {
    let socket_addr = resolve(addr).with_context(|| format!("cannot listen on \"{addr}\""))?;
    bind(socket_addr)
        .or_else(|error| {
            // Only `:port` may fall back: whoever wrote `[::]:port` asked for IPv6.
            if addr.starts_with(':') && !matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) {
                bind((Ipv4Addr::UNSPECIFIED, socket_addr.port()).into())
            } else {
                Err(error)
            }
        })
        .map_err(|error| {
            anyhow::Error::msg(explain(socket_addr, &error)).context(format!("cannot listen on \"{addr}\""))
        })
}

// ANCHOR: resolve
/// Turns the text into exactly one address.
fn resolve(addr: &str) -> Result<SocketAddr> {
    if let Ok(literal) = addr.parse() {
        return Ok(literal);
    }
    // The last colon of `[::1]` stands inside the brackets, and no port behind it.
    let Some((host, port)) = addr.rsplit_once(':').filter(|_| !addr.ends_with(']')) else {
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
    let addrs: Vec<SocketAddr> = (host, port).to_socket_addrs().map(Iterator::collect).with_context(|| {
        format!("the host name \"{host}\" cannot be resolved. Write an IP address, or check the spelling")
    })?;
    // `localhost` is often two addresses. Trying the second when the first is taken, as std does, would start
    // a second copy of this server beside the first. So take one and stay with it: IPv4 first, as Go does.
    let first_v4 = addrs.iter().find(|addr| addr.is_ipv4());
    first_v4.or(addrs.first()).copied().context("the host name has no address")
}
// ANCHOR_END: resolve

// ANCHOR: bind
fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
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

/// Prints `listening on ADDR` on standard output, and on standard error who can reach that.
pub fn announce(listener: &TcpListener) -> Result<()> {
    // Ask the socket, not the argument: the port may have been 0, the host a name.
    let addr = listener.local_addr().context("cannot read the address of the listener")?;
    writeln!(io::stdout(), "listening on {addr}").context("cannot print the address to standard output")?;
    if addr.ip().is_loopback() {
        log("only programs on this machine can reach it");
    } else if addr.ip().is_unspecified() {
        log("every machine that can route to this one can reach it");
    } else {
        log(format_args!("every machine that can route to {} can reach it", addr.ip()));
    }
    log(format_args!("to try it, in another terminal: {}", client_command(addr)));
    Ok(())
}

/// What a reader types to talk to the server.
fn client_command(addr: SocketAddr) -> String {
    let host = match addr.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        ip => ip.to_string(),
    };
    let port = addr.port();
    if cfg!(windows) {
        format!(
            "ncat {host} {port}, or in PowerShell: $c = [Net.Sockets.TcpClient]::new('{host}', {port}); $s = $c.GetStream(); \
             $s.Write([byte[]](104,105,10), 0, 3); [IO.StreamReader]::new($s).ReadLine()"
        )
    } else {
        format!("nc {host} {port}, then type a line (Ctrl-C ends nc)")
    }
}

/// Writes a line to standard error. `eprintln!` would panic if nobody reads that any more.
pub fn log(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Takes what one `read` returns for one message, and answers it. Chapter 4 shows what is wrong with that.
pub fn answer_once(mut reader: impl Read, mut writer: impl Write) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let count = reader.read(&mut buffer)?;
    if count > 0 {
        let message = String::from_utf8_lossy(&buffer[..count]);
        writeln!(writer, "echo: {}", message.trim_end_matches('\n'))?;
    }
    Ok(())
}
