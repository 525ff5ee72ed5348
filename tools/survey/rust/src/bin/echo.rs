//! An echo of lines, a task for each client.

use std::env;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> Result<()> {
    let addr = env::args().nth(1).context("say where to listen: HOST:PORT")?;
    let listener = TcpListener::bind(&addr).await.with_context(|| format!("cannot listen on {addr}"))?;
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = echo(client).await {
                eprintln!("{error:#}");
            }
        });
    }
}

async fn echo(client: TcpStream) -> Result<()> {
    let (reading, mut writing) = client.into_split();
    let mut lines = BufReader::new(reading).lines();
    while let Some(line) = lines.next_line().await? {
        writing.write_all(format!("echo: {line}\n").as_bytes()).await?;
    }
    Ok(())
}
