//! Step 9: the server of step 8 on tokio, a task for each client.

use std::net::SocketAddr;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::talk::talk;
use crate::chapter_01::announce::{announce, log};
use crate::chapter_01::listen::{BACKLOG, listen};
use crate::chapter_03::backoff::Backoff;
use crate::chapter_06::connections::Stopped;
use crate::chapter_08::deadlines::Limits;
use crate::chapter_08::server::{self as step_8, Counts};

/// The options of this server: those of step 8.
#[derive(Args, Clone, Debug)]
#[group(skip)]
// A task has no stack, so there is no size to set, and step 3's bound on mappings doesn't hold.
#[command(mut_arg("stack_size", |arg| arg.hide(true)))]
#[command(mut_arg("max_connections", |arg| arg.value_parser(RangedU64ValueParser::<usize>::new().range(1..=1_000_000))))]
pub struct Options {
    // A doc comment here would become the heading of the help.
    #[command(flatten)]
    step_8: step_8::Options,
}

// ANCHOR: run
/// Runs the server of this step until a signal stops it.
pub fn run(addr: &str, options: &Options) -> Result<()> {
    let listener = listen(addr)?;
    let signal = CancellationToken::new();
    let on_signal = signal.clone();
    ctrlc::set_handler(move || {
        if on_signal.is_cancelled() {
            process::exit(1);
        }
        on_signal.cancel();
    })
    .context("cannot ask to be told about signals")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the threads that run tasks")?;
    let server = Arc::new(Server::new(options));
    let serving = Arc::clone(&server);
    let Stopped { finished, cut } = runtime.block_on(async {
        announce(&listener)?;
        // A task like the others: what it starts runs on its own thread, and no other need be woken for it.
        tokio::spawn(async move { serving.serve(listener, signal).await }).await?
    })?;
    // To cut a connection is to drop the task that serves it, wherever that waits.
    drop(runtime);
    let plural = if finished == 1 { "" } else { "s" };
    log(format_args!("stopped: {finished} connection{plural} finished, {cut} cut"));
    log(format_args!("too slow: {}", server.counts));
    Ok(())
}
// ANCHOR_END: run

/// A server that can be stopped.
pub struct Server {
    /// How many clients may be served at once.
    places: Arc<Semaphore>,
    /// The tasks that serve them.
    tasks: TaskTracker,
    /// Cancelled when the stop begins: every task that waits hears of it.
    pub(super) stop: CancellationToken,
    /// How many were too slow.
    pub(super) counts: Counts,
    /// The length in bytes of the longest line.
    pub(super) limit: usize,
    /// How long a client may take.
    pub(super) limits: Limits,
    /// How long lines in progress have after the stop began.
    grace: Duration,
}

impl Server {
    /// Makes a server that serves nobody yet.
    pub fn new(options: &Options) -> Self {
        let options = &options.step_8;
        let lines = &options.stop.lines;
        Server {
            places: Arc::new(Semaphore::new(lines.connections.max_connections)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            counts: Counts::default(),
            limit: lines.limit,
            limits: options.limits(),
            grace: Duration::from_secs(options.stop.grace),
        }
    }

    // ANCHOR: serve
    /// Serves each client on a task of its own, until the signal. What is still served when the grace time is over ends with
    /// the runtime.
    pub async fn serve(
        self: &Arc<Self>,
        listener: std::net::TcpListener,
        signal: CancellationToken,
    ) -> Result<Stopped> {
        listener.set_nonblocking(true).context("cannot make accept return at once")?;
        let listener = TcpListener::from_std(listener)?;
        let mut backoff = Backoff::default();
        loop {
            // First a place, then a client. Either wait can be given up, and no client is lost by that: it stays in the
            // kernel's queue.
            let next = async {
                let place = Arc::clone(&self.places).acquire_owned().await;
                (place, listener.accept().await)
            };
            let Some((place, accepted)) = signal.run_until_cancelled(next).await else { break };
            match accepted {
                Ok((stream, peer)) => {
                    backoff.reset();
                    self.start(stream, peer, place.ok());
                }
                // The pause hears of the signal as well.
                Err(error) => drop(timeout(backoff.after(&error), signal.cancelled()).await),
            }
        }
        self.take_in_the_queue(listener)?;
        self.tasks.close();
        // Counted before they hear of the stop: then none has ended because of it.
        let served = self.tasks.len();
        self.stop.cancel();
        let _ = timeout(self.grace, self.tasks.wait()).await;
        let cut = self.tasks.len();
        Ok(Stopped { finished: served - cut, cut })
    }
    // ANCHOR_END: serve

    /// Serves who has been told by the kernel that it is connected. The cap doesn't count here.
    fn take_in_the_queue(self: &Arc<Self>, listener: TcpListener) -> Result<()> {
        let listener = listener.into_std()?;
        for _ in 0..BACKLOG {
            // It doesn't wait: an error means that nobody is there.
            let Ok((stream, peer)) = listener.accept() else { break };
            stream.set_nonblocking(true)?;
            self.start(TcpStream::from_std(stream)?, peer, None);
        }
        Ok(())
    }

    // ANCHOR: start
    fn start(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Option<OwnedSemaphorePermit>) {
        let server = Arc::clone(self);
        // The tracker can wait for all its tasks. One that is only spawned would die with the runtime.
        self.tasks.spawn(async move {
            let outcome = talk(stream, &server).await;
            drop(place);
            if let Err(error) = outcome {
                log(format_args!("{peer}: {error}"));
            }
        });
    }
    // ANCHOR_END: start
}
