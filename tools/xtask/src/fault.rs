//! What a check finds.

use std::fmt;

/// Something in the book that isn't as it should be: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    file: String,
    line: Option<usize>,
    what: String,
}

impl Fault {
    /// A fault in a file as a whole.
    pub fn in_file(file: impl Into<String>, what: impl Into<String>) -> Self {
        Fault { file: file.into(), line: None, what: what.into() }
    }

    /// A fault in one line, counted from 1.
    pub fn at(file: impl Into<String>, line: usize, what: impl Into<String>) -> Self {
        Fault { file: file.into(), line: Some(line), what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}
