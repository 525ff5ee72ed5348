//! `tcp-pitfalls bench`: the speed of a server of the reader's own.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Measure the speed of a server of your own beside that of step 6 (Linux only)
///
/// The same as `cargo duel --only 'step 6' --only yours -- COMMAND`, which has more options. The first time, it
/// compiles the benchmark.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// End within a minute, and tell less surely
    #[arg(long)]
    quick: bool,
    /// How to start the server, with {addr} where its address belongs
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// The benchmark is a program of its own, for it needs other crates than the course does.
pub(crate) fn run(Arguments { quick, command }: &Arguments) -> Result<()> {
    let mut duel = Command::new("cargo");
    duel.args(["run", "--release", "--quiet", "--package=duel", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .args(["--", "--only=step 6", "--only=yours"])
        .args(quick.then_some("--quick"))
        .arg("--")
        .args(command);
    let status = duel.status().context("cannot run `cargo`, which builds and starts the benchmark")?;
    ensure!(status.success(), "the benchmark ended with {status}");
    Ok(())
}
