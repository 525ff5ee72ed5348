//! Step 7 as people first write it: the thread pool of the Rust Book's last chapter.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::chapter_01::announce::{announce, log};
use crate::chapter_01::listen::listen;
use crate::chapter_04::close::close;
use crate::chapter_05::server::echo_lines;
use crate::chapter_06::server::Options;
use crate::chapter_06::stop::Stop;

/// The mistakes of this chapter. Each is named after the probe or the scene that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pitfall {
    /// four threads for all clients: four silent ones, and nobody else is served
    Crowd,
    /// a queue of accepted clients in front of the threads: a stop drops whoever stands in it
    ServesQueue,
    /// unwrap in the thread's loop: each panic takes a thread away, until there is none
    LostThreads,
}

/// Runs the server with one of the mistakes in it. All three are in one pool; what differs is how a client's error ends.
pub fn run(addr: &str, pitfall: Pitfall, options: &Options) -> Result<()> {
    let listener = listen(addr)?;
    let stop = Arc::new(Stop::new().context("cannot connect this program with itself, which its stop needs")?);
    let on_signal = Arc::clone(&stop);
    ctrlc::set_handler(move || _ = on_signal.begin()).context("cannot ask to be told about signals")?;
    announce(&listener)?;
    let limit = options.lines.limit;
    let talk = move |stream: &TcpStream| {
        stream.set_nodelay(true)?;
        let served = echo_lines(stream, stream, limit);
        close(stream);
        served
    };
    if pitfall == Pitfall::LostThreads {
        return serve(&listener, &stop, move |stream| talk(stream).unwrap());
    }
    serve(&listener, &stop, move |stream| {
        if let Err(error) = talk(stream) {
            log(format_args!("{error}"));
        }
    })
}

// ANCHOR: pool
/// A fixed number of threads, and a queue of clients for them.
fn serve(listener: &TcpListener, stop: &Stop, handle: impl Fn(&TcpStream) + Sync) -> Result<()> {
    const THREADS: usize = 4;
    let (queue, clients) = channel();
    let clients = Mutex::new(clients);
    let finishing = AtomicBool::new(false);
    // The scope ends when its last thread has ended.
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !finishing.load(SeqCst) {
                    let Some(stream) = next(&clients) else { break };
                    handle(&stream);
                }
            });
        }
        let accept_one = || {
            if let Ok((stream, _peer)) = listener.accept() {
                // There is always room. Nobody has to wait here, so the wait is nowhere to be seen.
                let _ = queue.send(stream);
            }
        };
        while !stop.wait(listener)?.stop {
            accept_one();
        }
        // As in step 6, so that nobody in the kernel's queue is reset.
        while stop.wait(listener)?.input {
            accept_one();
        }
        // Each thread may finish with the client that it has.
        finishing.store(true, SeqCst);
        drop(queue);
        Ok(())
    })
}

fn next(clients: &Mutex<Receiver<TcpStream>>) -> Option<TcpStream> {
    clients.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}
// ANCHOR_END: pool
