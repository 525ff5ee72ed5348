//! Programs of others that the book is checked and shown with, where they are installed.

use std::env;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::book::Book;
use crate::fault::Fault;

/// A program that reads text and prints a line for each fault.
pub struct Check {
    /// What holds if it finds nothing.
    pub what: &'static str,
    /// Its name, and that of its package.
    pub program: &'static str,
    arguments: &'static [&'static str],
}

/// Their settings are in `typos.toml` and `.rumdl.toml`.
pub const CHECKS: &[Check] = &[
    Check { what: "every word is spelled right", program: "typos", arguments: &["--format", "brief"] },
    Check {
        what: "the Markdown is clean",
        program: "rumdl",
        arguments: &["check", "--quiet", "--output-format", "concise", "."],
    },
];

/// Whether this is a machine of CI, where what is missing is a fault: nobody reads there that it was skipped.
pub fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty())
}

impl Check {
    /// What it finds, or nothing if it isn't installed.
    pub fn run(&self, root: &Path) -> Result<Option<Vec<Fault>>> {
        let output = match Command::new(self.program).args(self.arguments).current_dir(root).output() {
            Err(error) if error.kind() == ErrorKind::NotFound && !in_ci() => return Ok(None),
            output => output.with_context(|| format!("could not run {}", self.program))?,
        };
        let printed = String::from_utf8_lossy(&output.stdout);
        let mut faults: Vec<Fault> =
            printed.lines().filter(|line| !line.is_empty()).map(|line| Fault::in_file(self.program, line)).collect();
        if output.status.success() {
            faults.clear();
        } else if faults.is_empty() {
            // It did not come to reading the book.
            bail!("{} failed ({}): {}", self.program, output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(Some(faults))
    }
}

/// Hands over to mdBook's own server, which reloads the page in the browser. To build one here would be to write it again.
pub fn serve(book: &Book) -> Result<()> {
    let status = match Command::new("mdbook").args(["serve", "--open", "book"]).current_dir(&book.root).status() {
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "the book is served by mdbook, which isn't installed: type `cargo install mdbook --version 0.5.4 --locked`, \
             and `cargo book serve` again. `cargo book --open` needs nothing more, but doesn't see that you save a page"
        ),
        status => status.context("could not run mdbook")?,
    };
    if !status.success() {
        bail!("mdbook serve ended with {status}");
    }
    Ok(())
}
