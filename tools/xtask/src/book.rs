//! The book: where it is, and how it is built.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use mdbook_driver::MDBook;
use mdbook_driver::book::BookItem;
use tracing_subscriber::filter::LevelFilter;

use crate::fault::Fault;
use crate::page::{Page, name_in};
use crate::{includes, listings};

/// The list of the pages, which is no page itself, and what is shown where there is none.
const UNLISTED: [&str; 2] = ["SUMMARY.md", "404.md"];

/// The book of a repository.
pub struct Book {
    /// The root of the repository.
    pub root: PathBuf,
}

impl Book {
    /// The book that lies beside this program's source.
    pub fn here() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        Book { root: here.ancestors().nth(2).unwrap_or(here).to_owned() }
    }

    /// The folder with `book.toml`.
    pub fn folder(&self) -> PathBuf {
        self.root.join("book")
    }

    /// The folder that the site is built into.
    pub fn site(&self) -> PathBuf {
        self.folder().join("book")
    }

    /// Finds what is wrong with the pages as they are written.
    pub fn check_sources(&self) -> Result<Vec<Fault>> {
        let source = self.folder().join("src");
        let pages = Page::read_all(&self.root, &source)?;
        let mut faults = Vec::new();
        for page in &pages {
            faults.extend(listings::check(page));
            faults.extend(includes::check(&self.root, page));
        }
        let book = self.load()?;
        let listed: Vec<PathBuf> = book.iter().filter_map(listed_path).map(|path| source.join(path)).collect();
        let is_unlisted =
            |page: &&Page| !UNLISTED.iter().any(|name| page.path.ends_with(name)) && !listed.contains(&page.path);
        for page in pages.iter().filter(is_unlisted) {
            let what = "this page is not in SUMMARY.md, so the book doesn't show it: list it there, or remove it";
            faults.push(Fault::in_file(&page.name, what));
        }
        Ok(faults)
    }

    /// Builds the site. What mdBook warns of is a fault.
    pub fn build(&self) -> Result<Vec<Fault>> {
        let warnings = Warnings::default();
        let writer = warnings.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::WARN)
            .with_ansi(false)
            .without_time()
            .with_level(false)
            .with_target(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || self.load()?.build().context("could not build the book"))?;
        let name = name_in(&self.root, &self.folder());
        Ok(warnings.lines().into_iter().map(|line| Fault::in_file(&name, format!("mdBook warns: {line}"))).collect())
    }

    fn load(&self) -> Result<MDBook> {
        let folder = self.folder();
        MDBook::load(&folder).with_context(|| format!("could not read the book in {}", folder.display()))
    }
}

fn listed_path(item: &BookItem) -> Option<&PathBuf> {
    match item {
        BookItem::Chapter(chapter) => chapter.source_path.as_ref(),
        _ => None,
    }
}

/// What mdBook logs, kept for the end.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<u8>>>);

impl Warnings {
    /// But for includes that failed, of which `includes` says more.
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().expect("no logger panics");
        let text = String::from_utf8_lossy(&bytes);
        let of_includes = |line: &&str| line.starts_with("Error updating") || line.starts_with("Caused By");
        text.lines().filter(|line| !of_includes(line)).map(str::to_owned).collect()
    }
}

impl io::Write for Warnings {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no logger panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
