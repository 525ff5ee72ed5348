//! What the book shows of runs.

use std::path::Path;

use anyhow::{Result, bail};

use crate::fault::Fault;

/// Runs everything that the book shows, and writes down what it did.
pub fn record(_root: &Path) -> Result<()> {
    bail!("recording is not there yet: nothing was run and nothing was written")
}

/// Finds recordings that a run would write differently now. Nothing means that it can't be told here.
#[expect(clippy::unnecessary_wraps, reason = "running programs can fail")]
pub fn check(_root: &Path) -> Result<Option<Vec<Fault>>> {
    Ok(None)
}
