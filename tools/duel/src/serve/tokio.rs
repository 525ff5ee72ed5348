//! A task for each connection, on tokio.

use std::io;

use anyhow::Result;
use tcp_pitfalls::chapter_01::announce::announce;
use tcp_pitfalls::chapter_01::listen::listen;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Runs the server.
#[tokio::main]
pub async fn run(addr: &str) -> Result<()> {
    // Not `TcpListener::bind`: its queue of 1024 would be compared, and not its tasks.
    let listener = listen(addr)?;
    announce(&listener)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _peer) = listener.accept().await?;
        tokio::spawn(echo_lines(stream));
    }
}

async fn echo_lines(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        writer.write_all(format!("echo: {line}\n").as_bytes()).await?;
    }
    Ok(())
}
