//! Step 1: listen where you said you would, say where that is, and answer one client.

use std::io::{self, Read, Write};

use anyhow::{Context, Result};

use super::announce::announce;
use super::listen::listen;

// ANCHOR: run
/// Runs the server of this step: listen, announce, accept one client, answer once.
pub fn run(addr: &str) -> Result<()> {
    let listener = listen(addr)?;
    announce(&listener)?;
    let (stream, _peer) = listener.accept().context("cannot accept a client")?;
    answer_once(&stream, &stream).context("cannot answer the client")
}
// ANCHOR_END: run

/// Takes what one `read` returns for one message, and answers it. Chapter 4 shows what is wrong with that.
pub fn answer_once(mut reader: impl Read, mut writer: impl Write) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let count = reader.read(&mut buffer)?;
    if count > 0 {
        let message = String::from_utf8_lossy(&buffer[..count]);
        writeln!(writer, "echo: {}", message.trim_end_matches('\n'))?;
    }
    Ok(())
}
