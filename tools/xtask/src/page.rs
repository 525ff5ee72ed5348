//! The pages of the book as they are written.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use walkdir::WalkDir;

/// A Markdown file of the book.
pub struct Page {
    /// Its path from the root of the repository, as people are told it.
    pub name: String,
    /// The file itself.
    pub path: PathBuf,
    /// What is written in it.
    pub text: String,
}

impl Page {
    /// All pages in a folder, in the order of their names.
    pub fn read_all(root: &Path, folder: &Path) -> Result<Vec<Page>> {
        let mut pages = Vec::new();
        for entry in WalkDir::new(folder).sort_by_file_name() {
            let entry = entry.with_context(|| format!("could not list the pages in {}", folder.display()))?;
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
                pages.push(Page { name: name_in(root, path), path: path.to_owned(), text });
            }
        }
        Ok(pages)
    }

    /// A page that is in no file.
    #[cfg(test)]
    pub fn new(name: &str, text: &str) -> Self {
        Page { name: name.to_owned(), path: PathBuf::from(name), text: text.to_owned() }
    }

    /// The line, counted from 1, that a place in the text is in.
    pub fn line_of(&self, place: usize) -> usize {
        1 + self.text[..place].matches('\n').count()
    }
}

/// A path as people are told it: from `root`, with slashes.
pub fn name_in(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}
