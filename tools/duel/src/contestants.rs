//! The servers that are measured, and how they are started.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tcp_pitfalls::lab::port::{self, Port};
use tcp_pitfalls::lab::process::Process;
use tcp_pitfalls::lab::wait::wait_until;

/// A server to be measured.
pub struct Contestant {
    /// What it is called in tables.
    pub name: String,
    /// How to start it, `{addr}` standing for the address.
    command: Vec<String>,
    /// What it puts before a line.
    pub prefix: &'static str,
}

/// One that is running. Dropping it ends it.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its process.
    pub process: Process,
    /// Kept from others as long as the server runs.
    _port: Port,
}

/// The name of the server that is 1 in every ratio, if it can be built.
pub const GO: &str = "Go";
/// The one that is 1 otherwise.
pub const STEP_6: &str = "step 6";

/// The one that was given as a command.
pub const YOURS: &str = "yours";

/// All servers there are, and Go's version, or why there is no Go server.
pub fn all(yours: &[String]) -> Result<(Vec<Contestant>, Result<String, String>)> {
    let program = env::current_exe().context("cannot find this program to start the servers")?;
    // The steps run as part of this program, and so are built for release like the others.
    let own = |name: &str, arguments: &str, prefix| Contestant {
        name: name.into(),
        command: [&*program.to_string_lossy(), "serve"]
            .into_iter()
            .chain(arguments.split(' '))
            .map(Into::into)
            .collect(),
        prefix,
    };
    let go = build_go(&program.with_file_name("duel-go"));
    let mut contestants = Vec::new();
    if let Ok((_, built)) = &go {
        let command = vec![built.to_string_lossy().into_owned(), "{addr}".into()];
        contestants.push(Contestant { name: GO.into(), command, prefix: "echo: " });
    }
    contestants
        .extend([3, 4, 5, 6, 7, 8, 9].map(|n| own(&format!("step {n}"), &format!("step {n} {{addr}}"), "echo: ")));
    contestants.push(own("raw echo", "raw {addr}", ""));
    contestants.push(own("tokio", "tokio {addr}", "echo: "));
    contestants.push(own("epoll", "epoll {addr}", "echo: "));
    if !yours.is_empty() {
        if !yours.iter().any(|argument| argument.contains("{addr}")) {
            bail!("the command does not say where the server's address belongs. Write {{addr}} there");
        }
        contestants.push(Contestant { name: YOURS.into(), command: yours.to_vec(), prefix: "echo: " });
    }
    Ok((contestants, go.map(|(version, _)| version)))
}

fn build_go(to: &Path) -> Result<(String, PathBuf), String> {
    let version = Command::new("go").arg("version").output();
    let version = version.map_err(|error| format!("no Go server, since `go` cannot be run: {error}"))?;
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/go/main.go");
    let built = Command::new("go").args(["build", "-o"]).arg(to).arg(source).output();
    let built = built.map_err(|error| format!("no Go server, since `go build` cannot be run: {error}"))?;
    if !built.status.success() {
        let said = String::from_utf8_lossy(&built.stderr);
        return Err(format!("no Go server, since `go build` failed: {}", said.trim()));
    }
    let version = String::from_utf8_lossy(&version.stdout);
    Ok((version.trim().trim_start_matches("go version ").to_owned(), to.to_owned()))
}

impl Contestant {
    /// Starts the server.
    pub fn start(&self) -> Result<Running> {
        self.start_under(&[])
    }

    /// Starts the server as the last arguments of another program.
    pub fn start_under(&self, wrapper: &[String]) -> Result<Running> {
        let port = port::draw().context("cannot find a port for the server")?;
        let addr = port.addr();
        let own = self.command.iter().map(|argument| argument.replace("{addr}", &addr.to_string()));
        let command: Vec<String> = wrapper.iter().cloned().chain(own).collect();
        let mut process = Process::start(&command, None).with_context(|| format!("cannot start {}", command[0]))?;
        let listening = wait_until(Duration::from_secs(10), || {
            (process.output().contains("listening on") || process.exited().is_some()).then_some(())
        });
        if listening.is_none() || process.exited().is_some() {
            bail!("it does not say that it listens: {}", process.last_output().trim());
        }
        Ok(Running { addr, process, _port: port })
    }
}
