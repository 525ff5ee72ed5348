//! The kernel's side of a scene: what it holds, and where the server sleeps, while nothing moves. Linux only.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::kernel::{self, Socket};
use super::lock;
use super::wait::wait_until;

/// For how long nothing must move before what is seen is taken down. Longer than an acknowledgement is delayed, 40 ms:
/// until then, bytes that have arrived count at both ends.
const STILL: Duration = Duration::from_millis(100);

/// For how long that is waited for. What doesn't come to rest is not taken down. No longer than any time limit of a server
/// that is watched, which might be over meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the kernel held while nothing moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelSide {
    /// The connections that the recording knows by name, in the order in which they were made. The accept queue has the
    /// same order: first in, first out.
    pub connections: Vec<Held>,
    /// The server's threads, all of them asleep, in the order of their calls. None, if they are all halted, by SIGSTOP.
    pub threads: Vec<Sleeper>,
}

/// What the kernel held of one connection, in bytes. The end of the stream, which it counts as one, is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Whose it is.
    pub client: String,
    /// Whether it is in the accept queue.
    pub is_queued: bool,
    /// Not yet acknowledged by the server's kernel.
    pub client_sends: usize,
    /// Not yet read by the server.
    pub server_receives: usize,
    /// Not yet acknowledged by the client's kernel.
    pub server_sends: usize,
    /// Not yet read by the client.
    pub client_receives: usize,
}

/// A thread that sleeps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sleeper {
    /// The system call.
    pub call: String,
    /// Whose connection that is about, or the listener, if the call names one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// Watches one server and the clients that a recording knows.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<Watched>);

#[derive(Debug, Default)]
struct Watched {
    server: Option<(SocketAddr, u32)>,
    /// The threads of a server that runs in this process. It is the only one that has threads which are not its own.
    threads: Vec<u32>,
    clients: Vec<(String, SocketAddr)>,
}

impl Watch {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// From now on, watches this server: a process, or threads of this one.
    pub(super) fn server(&self, addr: SocketAddr, pid: Option<u32>) {
        let server = Some((addr, pid.unwrap_or(process::id())));
        *lock(&self.0) = Watched { server, ..Watched::default() };
    }

    /// The thread that calls this is one of the server's.
    pub(super) fn this_thread(&self) {
        let link = fs::read_link("/proc/thread-self").ok();
        let id = link.and_then(|link| link.file_name()?.to_str()?.parse::<u32>().ok());
        lock(&self.0).threads.extend(id);
    }

    pub(super) fn client(&self, name: &str, addr: SocketAddr) {
        lock(&self.0).clients.push((name.to_owned(), addr));
    }

    /// What the kernel holds, if all comes to rest: every thread of the server sleeps, and nothing changes meanwhile.
    pub(super) fn still(&self) -> Option<KernelSide> {
        let (mut last, mut since) = (None, Instant::now());
        wait_until(PATIENCE, || {
            let watched = lock(&self.0);
            // A server that has ended doesn't come to rest any more.
            watched.threads().map_or(Some(None), |threads| {
                let now = watched.look(&threads);
                if now != last {
                    (last, since) = (now, Instant::now());
                }
                (last.is_some() && since.elapsed() >= STILL).then(|| last.take())
            })
        })
        .flatten()
    }
}

impl Watched {
    /// Where the server's threads are in `/proc`, if there are any.
    fn threads(&self) -> Option<Vec<PathBuf>> {
        let (_, pid) = self.server?;
        let tasks = PathBuf::from(format!("/proc/{pid}/task"));
        let ids: Vec<u32> = if pid == process::id() {
            self.threads.clone()
        } else {
            // One that has ended and is not yet waited for has none.
            kernel::descriptors(pid).filter(|&count| count > 0)?;
            let names = fs::read_dir(&tasks).ok()?.flatten().map(|task| task.file_name());
            names.filter_map(|name| name.to_str()?.parse().ok()).collect()
        };
        let threads: Vec<PathBuf> =
            ids.iter().map(|id| tasks.join(id.to_string())).filter(|task| task.exists()).collect();
        // Those of this process may not have said yet whose they are.
        (ids.is_empty() || !threads.is_empty()).then_some(threads)
    }

    fn look(&self, threads: &[PathBuf]) -> Option<KernelSide> {
        let (server, pid) = self.server?;
        let sockets: Vec<Socket> = kernel::sockets_of(server);
        let connections: Vec<Held> = self.clients.iter().filter_map(|client| held(client, &sockets)).collect();
        // Somebody whom the recording doesn't know may be in the queue as well.
        let queued = connections.iter().filter(|held| held.is_queued).count();
        let listener = sockets.iter().find(|socket| socket.listens());
        if listener.is_some_and(|listener| listener.received != queued) {
            return None;
        }
        // A thread of this process may not have said yet that it is the server's.
        let accepted = sockets.iter().filter(|socket| socket.is_on(server) && socket.is_open() && !socket.is_orphan());
        if pid == process::id() && threads.len() < 1 + accepted.count() {
            return None;
        }
        if pid != process::id() && kernel::is_halted(pid)? {
            return Some(KernelSide { connections, threads: Vec::new() });
        }
        let sleeper = |task: &PathBuf| {
            let (call, descriptor) = kernel::sleeps_in(task)?;
            let link = descriptor.and_then(|number| fs::read_link(format!("/proc/{pid}/fd/{number}")).ok());
            let socket = sockets.iter().find(|socket| Some(socket.link()) == link);
            let of = socket.and_then(|socket| {
                if socket.listens() {
                    return Some("the listener".to_owned());
                }
                self.clients.iter().find(|(_, addr)| socket.leads_to(*addr)).map(|(name, _)| name.clone())
            });
            Some(Sleeper { call: call.to_owned(), of })
        };
        let mut threads: Vec<Sleeper> = threads.iter().map(sleeper).collect::<Option<_>>()?;
        threads.sort();
        Some(KernelSide { connections, threads })
    }
}

/// What the two ends of a client's connection hold, as long as there is one of them.
fn held((client, addr): &(String, SocketAddr), sockets: &[Socket]) -> Option<Held> {
    let server = sockets.iter().find(|socket| socket.leads_to(*addr));
    let own = sockets.iter().find(|socket| socket.is_on(*addr) && socket.is_open());
    if server.is_none() && own.is_none() {
        return None;
    }
    Some(Held {
        client: client.clone(),
        is_queued: server.is_some_and(|server| server.is_open() && server.is_orphan()),
        client_sends: own.map_or(0, Socket::to_send),
        server_receives: server.map_or(0, Socket::to_read),
        server_sends: server.map_or(0, Socket::to_send),
        client_receives: own.map_or(0, Socket::to_read),
    })
}
