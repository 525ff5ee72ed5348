//! Step 5 on threads that stay: one whose client has left waits a second for another.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use tcp_pitfalls::chapter_01::announce::announce;
use tcp_pitfalls::chapter_01::listen::listen;
use tcp_pitfalls::chapter_03::backoff::Backoff;
use tcp_pitfalls::chapter_03::permits::{Permit, Permits};
use tcp_pitfalls::chapter_04::close::close;
use tcp_pitfalls::chapter_05::server::echo_lines;

/// How long a thread without a client waits before it ends.
const PATIENCE: Duration = Duration::from_secs(1);

// The defaults of step 5.
const MAX_CONNECTIONS: usize = 10_000;
const STACK_SIZE: usize = 128 * 1024;
const LIMIT: usize = 65_536;

/// A connection, and the permit to serve it. Dropped in this order: closed first, then free again.
type Client = (TcpStream, Permit);

#[derive(Default)]
struct Workers {
    work: Mutex<Work>,
    /// Told of each client that waits for a thread.
    client_waits: Condvar,
}

#[derive(Default)]
struct Work {
    /// Clients for the free threads, never more than there are of those.
    clients: VecDeque<Client>,
    /// How many threads have no client.
    free: usize,
}

/// Runs the server.
pub fn run(addr: &str) -> Result<()> {
    let listener = listen(addr)?;
    announce(&listener)?;
    let permits = Permits::new(MAX_CONNECTIONS);
    let workers = Arc::new(Workers::default());
    let mut backoff = Backoff::default();
    loop {
        let permit = permits.acquire();
        match listener.accept().and_then(|(stream, _peer)| workers.serve((stream, permit))) {
            Ok(()) => backoff.reset(),
            Err(error) => backoff.pause(&error),
        }
    }
}

impl Workers {
    // ANCHOR: serve
    /// Hands a client to a free thread, or starts one.
    fn serve(self: &Arc<Self>, client: Client) -> io::Result<()> {
        let mut work = self.lock();
        if work.free > work.clients.len() {
            work.clients.push_back(client);
            self.client_waits.notify_one();
            return Ok(());
        }
        drop(work);
        let workers = Arc::clone(self);
        thread::Builder::new().stack_size(STACK_SIZE).spawn(move || {
            let mut next = Some(client);
            while let Some((stream, permit)) = next {
                // A client who fails is of no interest here.
                let _ = talk(&stream);
                drop((stream, permit));
                next = workers.next_client();
            }
        })?;
        Ok(())
    }

    /// Waits for another client. None if there is none for a second.
    fn next_client(&self) -> Option<Client> {
        let mut work = self.lock();
        work.free += 1;
        let none = |work: &mut Work| work.clients.is_empty();
        let (mut work, _) = self.client_waits.wait_timeout_while(work, PATIENCE, none).unwrap();
        work.free -= 1;
        work.clients.pop_front()
    }
    // ANCHOR_END: serve

    fn lock(&self) -> MutexGuard<'_, Work> {
        // Nothing panics while it holds this lock.
        self.work.lock().unwrap()
    }
}

fn talk(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let served = echo_lines(stream, stream, LIMIT);
    close(stream);
    served
}
