//! What a server says: where it listens, and what goes wrong.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result};

/// Prints `listening on ADDR` on standard output, and on standard error who can reach that.
pub fn announce(listener: &TcpListener) -> Result<()> {
    // Ask the socket, not the argument: the port may have been 0, the host a name.
    let addr = listener.local_addr().context("cannot read the address of the listener")?;
    writeln!(io::stdout(), "listening on {addr}").context("cannot print the address to standard output")?;
    if addr.ip().is_loopback() {
        log("only programs on this machine can reach it");
    } else if addr.ip().is_unspecified() {
        log("every machine that can route to this one can reach it");
    } else {
        log(format_args!("every machine that can route to {} can reach it", addr.ip()));
    }
    log(format_args!("to try it, in another terminal: {}", client_command(addr)));
    Ok(())
}

/// What a reader types to talk to the server.
fn client_command(addr: SocketAddr) -> String {
    let host = match addr.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        ip => ip.to_string(),
    };
    let port = addr.port();
    if cfg!(windows) {
        format!(
            "ncat {host} {port}, or in PowerShell: $c = [Net.Sockets.TcpClient]::new('{host}', {port}); $s = $c.GetStream(); \
             $s.Write([byte[]](104,105,10), 0, 3); [IO.StreamReader]::new($s).ReadLine()"
        )
    } else {
        format!("nc {host} {port}, then type a line (Ctrl-C ends nc)")
    }
}

/// Writes a line to standard error. `eprintln!` would panic once nobody reads it any more.
pub fn log(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
