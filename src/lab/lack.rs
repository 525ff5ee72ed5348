//! What the prober itself lacks. It is never the server's fault, so it must not become a verdict.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

/// Something that this program or this machine has run out of, or doesn't allow: a sentence with what to change.
///
/// It travels inside of `io::Error` and `anyhow::Error`; `Lack::of` and `Lack::behind` find it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack(String);

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lack {}

impl Lack {
    /// The lack that this error tells of, if it does.
    pub fn of(error: &io::Error) -> Option<&Lack> {
        error.get_ref()?.downcast_ref()
    }

    /// The lack that this error tells of, or that caused it, if one did.
    pub fn behind(error: &anyhow::Error) -> Option<&Lack> {
        error.chain().find_map(|cause| cause.downcast_ref().or_else(|| Lack::of(cause.downcast_ref::<io::Error>()?)))
    }

    /// Marks an error of connecting to `addr` that isn't the server's fault. Its kind stays.
    pub fn connecting(addr: SocketAddr, error: io::Error) -> io::Error {
        let remedy = match error.kind() {
            ErrorKind::AddrNotAvailable if addr.is_ipv6() => {
                Some("Either this machine has no IPv6, or every ephemeral port is in use")
            }
            ErrorKind::AddrNotAvailable | ErrorKind::WouldBlock => Some(NO_PORT_LEFT),
            ErrorKind::NetworkUnreachable if addr.ip().is_loopback() => Some(NO_LOOPBACK),
            ErrorKind::NetworkUnreachable => Some("There is no way to it from this machine"),
            ErrorKind::PermissionDenied => {
                Some("A firewall or a sandbox of this machine forbids it: run it where that is allowed")
            }
            _ => None,
        };
        Self::mark(&format!("cannot connect to {addr}"), error, remedy)
    }

    /// Marks an error of listening on the loopback, or reserving a port there, that says that there is no loopback.
    pub(super) fn binding(error: io::Error) -> io::Error {
        let remedy = (error.kind() == ErrorKind::AddrNotAvailable).then_some(NO_LOOPBACK);
        Self::mark("cannot listen on the loopback", error, remedy)
    }

    /// Marks an error of starting a program that isn't about the program: this machine can't start any.
    pub(super) fn starting(program: &str, error: io::Error) -> io::Error {
        let remedy = (error.kind() == ErrorKind::WouldBlock).then_some(NO_PROCESS_LEFT);
        Self::mark(&format!("cannot start \"{program}\""), error, remedy)
    }

    /// Whatever keeps a thread from being started is a lack.
    fn thread(error: &io::Error) -> Lack {
        Lack(format!("cannot start a thread: {error}. {NO_PROCESS_LEFT}"))
    }

    /// Marks an error for which there is a remedy: this one, or that of resources which are short whatever one does.
    fn mark(doing: &str, error: io::Error, remedy: Option<&str>) -> io::Error {
        match remedy.or_else(|| remedy_for_resources(&error)) {
            Some(remedy) => io::Error::new(error.kind(), Lack(format!("{doing}: {error}. {remedy}"))),
            None => error,
        }
    }
}

const NO_PORT_LEFT: &str = "Every ephemeral port is in use: wait a minute, or widen net.ipv4.ip_local_port_range";
const NO_LOOPBACK: &str = "This machine has no loopback: bring it up with `ip link set lo up`";
const NO_PROCESS_LEFT: &str = "No more processes and threads are allowed: raise `ulimit -u`, or the limit of the container, or end other programs";
const NO_MEMORY: &str = "This machine is short of memory: end other programs, or raise the limit of the container";

/// What to do about resources that are short whatever one does.
#[cfg(unix)]
fn remedy_for_resources(error: &io::Error) -> Option<&'static str> {
    use rustix::io::Errno;
    match Errno::from_io_error(error)? {
        Errno::MFILE => Some("This program has no descriptor left: raise the limit, for example by `ulimit -n 4096`"),
        Errno::NFILE => Some("This machine has no descriptor left: end other programs, or raise fs.file-max"),
        Errno::NOBUFS | Errno::NOMEM => Some(NO_MEMORY),
        _ => None,
    }
}

/// What to do about resources that are short whatever one does.
#[cfg(not(unix))]
fn remedy_for_resources(error: &io::Error) -> Option<&'static str> {
    // Windows Sockets: WSAEMFILE and WSAENOBUFS.
    match error.raw_os_error()? {
        10024 => Some("This program has no socket left: end other programs"),
        10055 => Some(NO_MEMORY),
        _ => None,
    }
}

/// Starts a thread. Not `thread::spawn`, which panics when the system has none to give.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, Lack> {
    Builder::new().spawn(work).map_err(|error| Lack::thread(&error))
}

/// Starts a thread that ends within `scope`.
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Lack> {
    Builder::new().spawn_scoped(scope, work).map_err(|error| Lack::thread(&error))
}
