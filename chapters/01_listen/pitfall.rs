//! Step 1 as people first write it.

use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result};
use clap::ValueEnum;
use socket2::{Domain, Protocol, Socket, Type};

use super::announce::announce;
use super::server::answer_once;

/// The mistakes of this chapter. Each is named after the probe that finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pitfall {
    /// `TcpListener::bind(arg).unwrap()`: what Go takes for an address, std does not
    EveryInterface,
    /// a listener made by hand, to choose its backlog, that forgets what std sets by itself
    Restart,
}

// ANCHOR: run
/// Runs the server with one of the mistakes in it.
pub fn run(addr: &str, pitfall: Pitfall) -> Result<()> {
    let listener = match pitfall {
        Pitfall::EveryInterface => TcpListener::bind(addr).unwrap(),
        Pitfall::Restart => without_reuse_address(addr)?,
    };
    announce(&listener)?;
    let (stream, _peer) = listener.accept().context("cannot accept a client")?;
    answer_once(&stream, &stream).context("cannot answer the client")
}
// ANCHOR_END: run

// ANCHOR: by_hand
fn without_reuse_address(addr: &str) -> Result<TcpListener> {
    let literal: SocketAddr = addr.parse().with_context(|| format!("\"{addr}\" is not an IP address with a port"))?;
    let bound: io::Result<Socket> = (|| {
        // ANCHOR: card
        let socket = Socket::new(Domain::for_address(literal), Type::STREAM, Some(Protocol::TCP))?;
        socket.bind(&literal.into())?;
        socket.listen(4096)?;
        // ANCHOR_END: card
        Ok(socket)
    })();
    Ok(bound.with_context(|| format!("cannot listen on {literal}"))?.into())
}
// ANCHOR_END: by_hand
