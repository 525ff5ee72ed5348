//! Step 9 as people first write it.

use std::future::Future;
use std::io;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::chapter_01::announce::announce;
use crate::chapter_01::listen::listen;
use crate::chapter_05;

/// The mistakes of this chapter. Each is named after the probe that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pitfall {
    /// a read in select!: when the other branch wins, half a line is lost
    SplitMessage,
    /// blocking work in a task: nobody else on that thread is served
    IdleClient,
    /// tasks that are spawned and forgotten: they end with main
    FinishesLine,
    /// `?` in the accept loop
    OutOfDescriptors,
    /// an unbounded channel to a client that doesn't read
    DeafClient,
}

/// Runs the server with one of the mistakes in it.
pub fn run(addr: &str, pitfall: Pitfall) -> Result<()> {
    let listener = listen(addr)?;
    listener.set_nonblocking(true)?;
    // One thread for all tasks, so that it shows what blocks it. More of them need more silent clients.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("cannot start the thread that runs tasks")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        if pitfall == Pitfall::FinishesLine {
            let on_signal = stop.clone();
            ctrlc::set_handler(move || on_signal.cancel()).context("cannot ask to be told about signals")?;
        }
        announce(&listener)?;
        let listener = TcpListener::from_std(listener)?;
        match pitfall {
            Pitfall::SplitMessage => serve(listener, read_or_tick).await,
            Pitfall::IdleClient => serve(listener, block).await,
            Pitfall::FinishesLine => until_stop(listener, stop).await,
            Pitfall::OutOfDescriptors => serve(listener, echo_lines).await,
            Pitfall::DeafClient => serve(listener, queue_answers).await,
        }
    })
}

// ANCHOR: serve
/// The loop of most examples.
async fn serve<H>(listener: TcpListener, handle: fn(TcpStream) -> H) -> Result<()>
where
    H: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        let (stream, _peer) = listener.accept().await?;
        tokio::spawn(handle(stream));
    }
}

async fn echo_lines(stream: TcpStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).split(b'\n');
    while let Some(line) = lines.next_segment().await? {
        writer.write_all(&[b"echo: ", &line[..], b"\n"].concat()).await?;
    }
    Ok(())
}
// ANCHOR_END: serve

// ANCHOR: select
async fn read_or_tick(stream: TcpStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        select! {
            read = reader.read_until(b'\n', &mut line) => {
                if read? == 0 {
                    return Ok(());
                }
                writer.write_all(&[b"echo: ", &line[..]].concat()).await?;
            }
            // Now and then there is something else to do.
            () = sleep(Duration::from_millis(10)) => {}
        }
    }
}
// ANCHOR_END: select

// ANCHOR: block
async fn block(stream: TcpStream) -> io::Result<()> {
    // "We have a server for this already."
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    chapter_05::server::echo_lines(&stream, &stream, 65_536)
}
// ANCHOR_END: block

// ANCHOR: forget
async fn until_stop(listener: TcpListener, stop: CancellationToken) -> Result<()> {
    select! {
        served = serve(listener, echo_lines) => served,
        // The tasks go on by themselves.
        () = stop.cancelled() => Ok(()),
    }
}
// ANCHOR_END: forget

// ANCHOR: queue
async fn queue_answers(stream: TcpStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let (answers, mut queue) = mpsc::unbounded_channel::<Vec<u8>>();
    // "So that reading doesn't have to wait for writing."
    tokio::spawn(async move {
        while let Some(answer) = queue.recv().await {
            writer.write_all(&answer).await?;
        }
        io::Result::Ok(())
    });
    let mut lines = BufReader::new(reader).split(b'\n');
    while let Some(line) = lines.next_segment().await? {
        let _ = answers.send([b"echo: ", &line[..], b"\n"].concat());
    }
    Ok(())
}
// ANCHOR_END: queue
