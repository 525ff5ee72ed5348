//! `std::net`: one direction of a connection, from a client to the server.

use alloc::sync::Arc;

use loom::sync::{Condvar, Mutex};

pub use real_std::net::Shutdown;

use crate::io::{Read, Result};

/// The server's end.
pub struct TcpStream(Arc<Wire>);

/// The client's end.
#[derive(Clone)]
pub struct Client(Arc<Wire>);

#[derive(Default)]
struct Wire {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: usize,
    reading_is_shut: bool,
    server_closed: bool,
}

/// Both ends of a new connection.
pub fn connect() -> (Client, TcpStream) {
    let wire = Arc::<Wire>::default();
    (Client(Arc::clone(&wire)), TcpStream(wire))
}

impl Client {
    /// Sends one byte. In the scenarios that is a line.
    pub fn send(&self) {
        self.0.state.lock().unwrap().waiting += 1;
        self.0.changed.notify_all();
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.0.state.lock().unwrap().server_closed
    }
}

impl TcpStream {
    /// As `shutdown(2)` on Linux: it wakes a blocked read, and what had arrived can still be read.
    pub fn shutdown(&self, how: Shutdown) -> Result<()> {
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.0.state.lock().unwrap().reading_is_shut = true;
            self.0.changed.notify_all();
        }
        Ok(())
    }

    pub(crate) fn waiting(&self) -> usize {
        self.0.state.lock().unwrap().waiting
    }
}

impl Read for &TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut state = self.0.state.lock().unwrap();
        while state.waiting == 0 && !state.reading_is_shut {
            state = self.0.changed.wait(state).unwrap();
        }
        let count = buffer.len().min(state.waiting);
        state.waiting -= count;
        Ok(count)
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.0.state.lock().unwrap().server_closed = true;
    }
}
