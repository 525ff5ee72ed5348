//! A web server as axum's documentation begins it, and with its graceful shutdown if a second argument asks for that.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<()> {
    let addr = env::args().nth(1).context("say where to listen: HOST:PORT")?;
    let app = Router::new().route("/", get(|| async { "hello\n" })).route("/slow", get(slow));
    let listener = TcpListener::bind(&addr).await.with_context(|| format!("cannot listen on {addr}"))?;
    if env::args().nth(2).is_none() {
        return Ok(axum::serve(listener, app).await?);
    }
    let mut stop = signal(SignalKind::terminate())?;
    let stopped = async move {
        stop.recv().await;
    };
    Ok(axum::serve(listener, app).with_graceful_shutdown(stopped).await?)
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(2)).await;
    "hello\n"
}
