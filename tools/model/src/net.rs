//! `std::net`, on a kernel that holds every socket under one lock. So a thread can wait for any two.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use loom::sync::{Condvar, Mutex};

pub use real_std::net::Shutdown;

use crate::fd::AsFd;
use crate::io::{ErrorKind, Read, Result};

loom::lazy_static! {
    static ref KERNEL: (Mutex<Kernel>, Condvar) = Default::default();
}

#[derive(Default)]
pub(crate) struct Kernel {
    pub(crate) sockets: Vec<Socket>,
    /// A signal has come and has interrupted nobody yet.
    pub(crate) signal: bool,
}

/// A listener or an end of a connection.
#[derive(Default)]
pub(crate) struct Socket {
    pub(crate) arrived: VecDeque<u8>,
    /// Nothing more will arrive.
    ended: bool,
    listens: bool,
    /// Who has connected to it: their ends and this side's.
    queue: VecDeque<(usize, usize)>,
}

impl Socket {
    pub(crate) fn is_ready(&self) -> bool {
        self.ended || !self.arrived.is_empty() || !self.queue.is_empty()
    }
}

impl Kernel {
    fn open(&mut self, listens: bool) -> usize {
        self.sockets.push(Socket { listens, ..Socket::default() });
        self.sockets.len() - 1
    }
}

/// Tries again with every change until there is a result.
pub(crate) fn wait<T>(mut attempt: impl FnMut(&mut Kernel) -> Option<T>) -> T {
    let mut kernel = KERNEL.0.lock().unwrap();
    loop {
        if let Some(result) = attempt(&mut kernel) {
            return result;
        }
        kernel = KERNEL.1.wait(kernel).unwrap();
    }
}

fn change<T>(change: impl FnOnce(&mut Kernel) -> T) -> T {
    let mut kernel = KERNEL.0.lock().unwrap();
    KERNEL.1.notify_all();
    change(&mut kernel)
}

/// Interrupts one thread that waits in `poll`, now or the next that will.
pub fn signal() {
    change(|kernel| kernel.signal = true);
}

/// Both ends of a new connection: the client's and the server's.
pub fn connect() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("").unwrap();
    (TcpStream::connect(listener.local_addr().unwrap()).unwrap(), listener.accept().unwrap().0)
}

/// The number of a socket. The first one there is has the number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAddr(pub usize);

pub struct TcpListener(usize);

impl TcpListener {
    pub fn bind(_: &str) -> Result<Self> {
        Ok(TcpListener(change(|kernel| kernel.open(true))))
    }

    pub fn local_addr(&self) -> Result<SocketAddr> {
        Ok(SocketAddr(self.0))
    }

    pub fn accept(&self) -> Result<(TcpStream, SocketAddr)> {
        let (peer, own) = wait(|kernel| kernel.sockets[self.0].queue.pop_front());
        Ok((TcpStream { own, peer }, SocketAddr(peer)))
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        change(|kernel| kernel.sockets[self.0].listens = false);
    }
}

/// An end of a connection.
#[derive(Debug)]
pub struct TcpStream {
    own: usize,
    peer: usize,
}

impl TcpStream {
    pub fn connect(to: SocketAddr) -> Result<Self> {
        change(|kernel| {
            if !kernel.sockets.get(to.0).is_some_and(|socket| socket.listens) {
                return Err(ErrorKind::ConnectionRefused.into());
            }
            let (own, peer) = (kernel.open(false), kernel.open(false));
            kernel.sockets[to.0].queue.push_back((own, peer));
            Ok(TcpStream { own, peer })
        })
    }

    pub fn local_addr(&self) -> Result<SocketAddr> {
        Ok(SocketAddr(self.own))
    }

    /// In both directions, as the chapter does it and as dropping the only owner does.
    pub fn shutdown(&self, _: Shutdown) -> Result<()> {
        change(|kernel| [self.own, self.peer].map(|end| kernel.sockets[end].ended = true));
        Ok(())
    }

    pub fn send(&self, bytes: &[u8]) {
        change(|kernel| kernel.sockets[self.peer].arrived.extend(bytes));
    }

    /// Whether the other end is closed.
    pub fn has_ended(&self) -> bool {
        wait(|kernel| Some(kernel.sockets[self.own].ended))
    }
}

impl Read for &TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        wait(|kernel| {
            let socket = &mut kernel.sockets[self.own];
            socket.is_ready().then(|| socket.arrived.read(buffer))
        })
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        let _ = self.shutdown(Shutdown::Both);
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> usize {
        self.0
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> usize {
        self.own
    }
}
