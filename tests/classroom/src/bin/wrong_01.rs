//! Exercise 1, a door with a sign: a server with one mistake.
//!
//! `wrong_01 --fault NAME ADDR` does all that the exercise asks for, except one thing. NAME is a check, which finds it, or a
//! fault that only `as-the-task-says` finds; tests/as_the_task_says.rs has them all.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, anyhow, bail};
use socket2::{Domain, Protocol, Socket, Type};

fn main() -> Result<()> {
    match run() {
        Err(error) if wrong("ends-with-status-0") => {
            eprintln!("{error:#}");
            Ok(())
        }
        ended => ended,
    }
}

fn run() -> Result<()> {
    let addr = std::env::args().skip(1).next_back().context("give the address as the last argument")?;
    let context = match addr.rsplit_once(':') {
        _ if wrong("bad-address") => "cannot listen".to_owned(),
        Some((host, port)) if wrong("quotes-tidied") => format!("cannot listen on \"{host}\" and \"{port}\""),
        _ => format!("cannot listen on \"{addr}\""),
    };
    let listener = listen(&addr).context(context)?;
    if wrong("real-port") {
        println!("listening on {addr}");
    } else if wrong("announces-on-stderr") {
        eprintln!("listening on {}", listener.local_addr()?);
    } else {
        println!("listening on {}", listener.local_addr()?);
    }
    let mut callers = 0;
    loop {
        match listener.accept() {
            // One caller who has gone already must not close the door for the next.
            Ok((stream, caller)) => {
                let greeted = greet(&stream, caller);
                if wrong("reset-ends-door") {
                    greeted?;
                }
                if wrong("keeps-open") {
                    std::mem::forget(stream);
                }
            }
            Err(error) => eprintln!("cannot let a caller in, going on: {error}"),
        }
        callers += 1;
        if callers == 4 && wrong("every-caller") {
            return Ok(());
        }
    }
}

/// Whether this is the mistake to make.
fn wrong(check: &str) -> bool {
    std::env::args().nth(2).is_some_and(|name| name == check)
}

/// Listens on `addr`, as the operator has typed it.
fn listen(addr: &str) -> Result<TcpListener> {
    let (host, port) = parse(addr)?;
    let bound = match host {
        Some(ip) if ip.is_ipv6() && wrong("refuses-ipv6") => Err(ErrorKind::Unsupported.into()),
        Some(ip) if ip.is_ipv4() && wrong("everywhere") => bind(Ipv4Addr::UNSPECIFIED.into(), port),
        Some(ip) => bind(ip, port),
        None if wrong("ipv4-everywhere") => bind(Ipv4Addr::UNSPECIFIED.into(), port),
        None if wrong("both-families") => bind(Ipv4Addr::LOCALHOST.into(), port),
        None => bind(Ipv6Addr::UNSPECIFIED.into(), port).or_else(|error| match error.kind() {
            ErrorKind::AddrInUse | ErrorKind::PermissionDenied if !wrong("falls-back-when-taken") => Err(error),
            // This machine may have no IPv6. Then every address is every IPv4 address.
            _ => bind(Ipv4Addr::UNSPECIFIED.into(), port),
        }),
    };
    bound.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse if wrong("door-taken") => anyhow!("the system refuses it"),
        ErrorKind::AddrInUse => {
            anyhow!("port {port} is in use ({error}): end the program that holds it, or choose another")
        }
        _ => error.into(),
    })
}

/// The address and the port. No address stands for all of this machine.
fn parse(addr: &str) -> Result<(Option<IpAddr>, u16)> {
    let (host, port) = match addr.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && !port.ends_with(']') => (host, port),
        _ => bail!("it has no port: write \":8080\", \"127.0.0.1:8080\" or \"[::1]:8080\""),
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit() || byte == b'+' && wrong("takes-a-plus")) {
        bail!("the port \"{port}\" is not a number");
    }
    if wrong("port-overflows") {
        let digits = port.bytes().fold(0u16, |sum, digit| sum.wrapping_mul(10).wrapping_add((digit - b'0').into()));
        return Ok((host.parse().ok(), digits));
    }
    if wrong("range-untold") && port.parse::<u16>().is_err() {
        bail!("the port \"{port}\" is not a number");
    }
    // Digits alone: what can still be wrong is that there are too many.
    let number = port.parse().map_err(|_| anyhow!("the port {port} is above 65535, the highest there is"))?;
    let ip = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::from),
        None if host.is_empty() => return Ok((None, number)),
        None if host.contains(':') && wrong("needs-no-brackets") => host.parse(),
        None if host.contains(':') => bail!("an IPv6 address needs brackets before its port, as in \"[::1]:8080\""),
        None => host.parse(),
    };
    Ok((Some(ip.with_context(|| format!("\"{host}\" is not an IP address"))?), number))
}

/// Listens on this address. The unspecified one of IPv6 takes callers of both families.
fn bind(ip: IpAddr, port: u16) -> io::Result<TcpListener> {
    let addr = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // The standard library sets this by itself, socket2 doesn't: without it, no restart for a minute after each greeting.
    // As where only the shorthand has a listener that is made by hand.
    let forgotten = wrong("opens-again") && ip.is_unspecified();
    if cfg!(not(windows)) && !forgotten {
        socket.set_reuse_address(true)?;
    }
    #[cfg(unix)]
    socket.set_reuse_port(wrong("stands-there-twice"))?;
    // Systems differ in what they take an IPv6 listener to mean.
    if ip == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

/// Shows a caller the sign, and closes.
fn greet(mut stream: &TcpStream, caller: SocketAddr) -> io::Result<()> {
    if wrong("waits-for-a-word") {
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
        let _ = stream.read(&mut [0; 64])?;
    }
    let ip = if wrong("shows-own-address") { stream.local_addr()?.ip() } else { caller.ip() };
    let mut sign = format!("welcome, {}\n", shown(ip));
    if wrong("shows-port") {
        sign = format!("welcome, {caller}\n");
    }
    stream.write_all(sign.as_bytes())
}

/// The caller's address as the caller knows it. To a listener for both families, IPv4 looks like `::ffff:127.0.0.1`.
fn shown(ip: IpAddr) -> IpAddr {
    if wrong("shows-mapped") { ip } else { ip.to_canonical() }
}
