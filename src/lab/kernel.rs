//! What the kernel knows of a server. Linux only: read from `/proc`; elsewhere everything is `None`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// How many established connections wait in the accept queue of the listener on this port.
///
/// For a listening socket, `rx_queue` in `/proc/net/tcp` is that number (Linux, net/ipv4/tcp_ipv4.c, `get_tcp4_sock`).
pub fn accept_queue(listener: SocketAddr) -> Option<usize> {
    let port = hex_port(listener.port());
    sockets(&port).find(|socket| socket.is_on(listener) && socket.listens()).map(|socket| socket.received)
}

/// How many bytes have arrived at the server's end of this connection that it hasn't read yet.
pub fn unread(server: SocketAddr, client: SocketAddr) -> Option<usize> {
    server_end(server, client).map(|end| end.received)
}

/// Whether the server has accepted this connection, and read all that has arrived on it. `None` where that can't be seen.
pub fn is_taken(server: SocketAddr, client: SocketAddr) -> Option<bool> {
    server_end(server, client).map(|end| !end.is_orphan() && end.received == 0)
}

/// How many bytes of this connection are still on their way, in both directions together: not acknowledged by the other
/// end, or not read there. As long as there are any, nothing can be said of what the server does with them: TCP tries again
/// later and later if the way was blocked. 0 where that can't be seen.
pub fn under_way(server: SocketAddr, client: SocketAddr) -> usize {
    ends(server, client).iter().map(|end| end.unsent + end.received).sum()
}

/// How many bytes of what the client has sent are not yet acknowledged, for which the other end may take 40 ms, and how
/// many of them have arrived and the server hasn't read. `None` where that can't be seen.
pub fn to_server(server: SocketAddr, client: SocketAddr) -> Option<(usize, usize)> {
    let ends = ends(server, client);
    let of = |addr| ends.iter().find(|end| end.is_on(addr));
    Some((of(client)?.unsent, of(server)?.received))
}

/// Both ends of a connection, where they can be seen.
fn ends(server: SocketAddr, client: SocketAddr) -> Vec<Socket> {
    let is_end = |socket: &Socket, own, other| socket.is_on(own) && socket.leads_to(other);
    let is_either = |socket: &Socket| is_end(socket, server, client) || is_end(socket, client, server);
    sockets(&hex_port(client.port())).filter(is_either).take(2).collect()
}

/// Whether the server has ended its side of this connection, though its client may not have come to that yet: the end
/// stands behind all that is unread. False where that can't be seen.
pub fn has_ended(server: SocketAddr, client: SocketAddr) -> bool {
    // FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK, CLOSING.
    server_end(server, client).is_some_and(|end| matches!(end.state.as_str(), "04" | "05" | "06" | "09" | "0B"))
}

/// The server's end of a connection.
fn server_end(server: SocketAddr, client: SocketAddr) -> Option<Socket> {
    sockets(&hex_port(client.port())).find(|socket| socket.is_on(server) && socket.leads_to(client))
}

/// Whether a connection on this local port is in TIME_WAIT.
pub fn has_time_wait(port: u16) -> bool {
    const TIME_WAIT: &str = "06";
    let port = hex_port(port);
    sockets(&port).any(|socket| socket.local.ends_with(&port) && socket.state == TIME_WAIT)
}

/// Whether a process holds the listener on this address. `None` where that can't be seen, or nobody listens.
pub fn listens(pid: u32, listener: SocketAddr) -> Option<bool> {
    let held = descriptors_of(pid)?;
    // A process that is ending has none here, though its listener may stay for as long as its other threads take to end.
    if held.is_empty() {
        return None;
    }
    // After the descriptors: the listener of a server that ends in between is gone from the table.
    let port = hex_port(listener.port());
    let listeners = sockets(&port).filter(|socket| socket.is_on(listener) && socket.listens());
    let holds: Vec<bool> = listeners.map(|socket| held.contains(&socket.link())).collect();
    (!holds.is_empty()).then(|| holds.contains(&true))
}

/// Whether every thread of a process is halted, as SIGSTOP does it.
pub fn is_halted(pid: u32) -> Option<bool> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let mut stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    // The state stands behind the program's name, which may hold anything (proc(5)).
    let is_halted =
        |stat: String| stat.rsplit_once(')').is_some_and(|(_, fields)| fields.trim_start().starts_with('T'));
    Some(stats.all(is_halted))
}

/// Where these processes listen. `None` where that can't be seen.
pub fn listening(pids: impl IntoIterator<Item = u32>) -> Option<Vec<SocketAddr>> {
    let held: Vec<Vec<PathBuf>> = pids.into_iter().map(descriptors_of).collect::<Option<_>>()?;
    let held = |socket: &Socket| held.iter().any(|of_one| of_one.contains(&socket.link()));
    let listeners = sockets(":").filter(|socket| socket.listens() && held(socket));
    Some(listeners.filter_map(|socket| addr(&socket.local)).collect())
}

/// What the descriptors of a process are.
fn descriptors_of(pid: u32) -> Option<Vec<PathBuf>> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    Some(descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok()).collect())
}

/// A line of `/proc/net/tcp`, as it stands there (proc(5)).
pub(super) struct Socket {
    inode: String,
    local: String,
    remote: String,
    state: String,
    unsent: usize,
    /// Bytes to read, or, of a listener, connections to accept.
    pub(super) received: usize,
}

impl Socket {
    pub(super) fn is_on(&self, addr: SocketAddr) -> bool {
        self.local.ends_with(&hex_port(addr.port()))
    }

    pub(super) fn leads_to(&self, addr: SocketAddr) -> bool {
        self.remote.ends_with(&hex_port(addr.port()))
    }

    /// What a descriptor of it is called in `/proc/PID/fd`.
    pub(super) fn link(&self) -> PathBuf {
        format!("socket:[{}]", self.inode).into()
    }

    pub(super) fn listens(&self) -> bool {
        self.state == "0A"
    }

    /// Whether no descriptor stands for it: a program has not accepted it yet, or has closed it.
    pub(super) fn is_orphan(&self) -> bool {
        self.inode == "0"
    }

    /// Whether its program has not closed it: established, or in CLOSE_WAIT.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "01" | "08")
    }

    /// How many bytes are to be read. The end that has come counts as one until it is read: CLOSE_WAIT, LAST_ACK, CLOSING.
    pub(super) fn to_read(&self) -> usize {
        self.received.saturating_sub(usize::from(matches!(self.state.as_str(), "08" | "09" | "0B")))
    }

    /// How many bytes are not yet acknowledged. The end that was sent counts as one: FIN_WAIT1, LAST_ACK, CLOSING.
    pub(super) fn to_send(&self) -> usize {
        self.unsent.saturating_sub(usize::from(matches!(self.state.as_str(), "04" | "09" | "0B")))
    }
}

/// The listener on this port, and both ends of all its connections.
pub(super) fn sockets_of(listener: SocketAddr) -> Vec<Socket> {
    sockets(&hex_port(listener.port())).collect()
}

fn hex_port(port: u16) -> String {
    format!(":{port:04X}")
}

/// The sockets whose line has this, for example a local or remote port. Read as far as they are asked for, since the
/// kernel takes milliseconds to walk through its tables.
fn sockets(having: &str) -> impl Iterator<Item = Socket> + '_ {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(|table| File::open(table).ok());
    let lines = tables.flat_map(|table| BufReader::new(table).lines().map_while(Result::ok));
    lines.filter(move |line| line.contains(having)).filter_map(|line| socket(&line))
}

fn socket(line: &str) -> Option<Socket> {
    let mut fields = line.split_whitespace().skip(1).map(str::to_owned);
    let (local, remote, state, queues) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let (unsent, received) = queues.split_once(':')?;
    let [unsent, received] = [unsent, received].map(|bytes| usize::from_str_radix(bytes, 16).ok());
    let inode = fields.nth(4)?;
    Some(Socket { inode, local, remote, state, unsent: unsent?, received: received? })
}

/// An address as it stands in a `Socket`: numbers of 32 bits, each as this machine prints the four bytes in its memory.
fn addr(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let words = (0..host.len()).step_by(8).map(|at| u32::from_str_radix(host.get(at..at + 8)?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip: IpAddr = match <[u8; 4]>::try_from(&*bytes) {
        Ok(bytes) => bytes.into(),
        Err(_) => <[u8; 16]>::try_from(&*bytes).ok()?.into(),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// The system call that the main thread of a process is blocked in, for the calls a server waits in.
pub fn blocked_call(pid: u32) -> Option<&'static str> {
    sleeps_in(Path::new(&format!("/proc/{pid}"))).map(|(call, _)| call)
}

/// The system call that a thread, given by its folder in `/proc`, sleeps in, and the descriptor that this is about.
pub(super) fn sleeps_in(task: &Path) -> Option<(&'static str, Option<u32>)> {
    let line = std::fs::read_to_string(task.join("syscall")).ok()?;
    let mut words = line.split_whitespace();
    // Or "running" (proc(5)).
    let number: u32 = words.next()?.parse().ok()?;
    // Numbers from the kernel's tables (syscall_64.tbl; include/uapi/asm-generic/unistd.h).
    let about_one = match (std::env::consts::ARCH, number) {
        ("x86_64", 0) | ("aarch64", 63) => "read",
        ("x86_64", 1) | ("aarch64", 64) => "write",
        ("x86_64", 44) | ("aarch64", 206) => "sendto",
        ("x86_64", 45) | ("aarch64", 207) => "recvfrom",
        ("x86_64", 288) | ("aarch64", 242) => "accept4",
        ("x86_64", 7) => return Some(("poll", None)),
        ("x86_64", 271) | ("aarch64", 73) => return Some(("ppoll", None)),
        ("x86_64", 202) | ("aarch64", 98) => return Some(("futex", None)),
        ("x86_64", 230) | ("aarch64", 115) => return Some(("clock_nanosleep", None)),
        _ => return None,
    };
    let descriptor = words.next().and_then(|word| u32::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    Some((about_one, descriptor))
}

/// How many descriptors a process has open.
pub fn descriptors(pid: u32) -> Option<usize> {
    Some(std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}
