//! The book as a PDF, printed by a browser.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::book::Book;

/// What Chromium is called on one system or another. `CHROMIUM` says it of a system where it is called otherwise.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// How large a sheet is.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Paper {
    /// 210 mm by 297 mm
    #[default]
    A4,
    /// 8.5 by 11 inches
    Letter,
}

/// Prints the page that holds the whole book.
pub fn print(book: &Book, paper: Paper) -> Result<PathBuf> {
    // Chromium has no option for the paper, but does what the page says.
    let whole = book.site().join("print.html");
    let page = book.site().join("print-sheets.html");
    let text = fs::read_to_string(&whole).with_context(|| format!("could not read {}", whole.display()))?;
    let size = format!("<style>@page {{ size: {paper:?} }}</style></head>");
    fs::write(&page, text.replacen("</head>", &size, 1))
        .with_context(|| format!("could not write {}", page.display()))?;
    let printed = print_page(book, &page);
    fs::remove_file(&page).with_context(|| format!("could not remove {}", page.display()))?;
    printed
}

fn print_page(book: &Book, page: &Path) -> Result<PathBuf> {
    // Not beside the page: the next build empties that folder.
    let folder = book.root.join("target");
    fs::create_dir_all(&folder).with_context(|| format!("could not make the folder {}", folder.display()))?;
    let pdf = folder.join("tcp-pitfalls.pdf");
    // One that is left from before would hide that nothing was printed.
    if let Err(error) = fs::remove_file(&pdf)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error).with_context(|| format!("could not replace {}", pdf.display()));
    }
    let mut to_pdf = OsString::from("--print-to-pdf=");
    to_pdf.push(&pdf);
    let chosen = env::var_os("CHROMIUM");
    let names = chosen.map_or_else(|| NAMES.map(OsString::from).to_vec(), |name| vec![name]);
    for name in names {
        let mut chromium = Command::new(&name);
        chromium.args(["--headless", "--disable-gpu", "--no-pdf-header-footer", "--generate-pdf-document-outline"]);
        // The sandbox isn't there for root, as in CI, and the page is our own.
        chromium.arg("--no-sandbox").arg(&to_pdf).arg(page);
        let output = match chromium.output() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            output => output.with_context(|| format!("could not run {}", name.display()))?,
        };
        let printed = fs::read(&pdf).with_context(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("{} printed nothing ({}): {}", name.display(), output.status, said.trim())
        })?;
        if !has_outline(&printed) {
            bail!("{} printed {} without an outline: is it an old version?", name.display(), pdf.display());
        }
        return Ok(pdf);
    }
    bail!(
        "the book is printed by Chromium, which was not found: install it (on Debian, `apt-get install chromium`), or \
         say in the variable CHROMIUM where it is. Or type `cargo book --open`, and print from your browser"
    )
}

/// Whether a reader of the PDF can jump to chapters: its catalogue, which Chromium doesn't compress, names an outline.
fn has_outline(pdf: &[u8]) -> bool {
    pdf.windows(9).any(|window| window == b"/Outlines")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pdf_without_outline_is_found() {
        assert!(has_outline(b"<</Type /Catalog /Pages 2 0 R /Outlines 3 0 R>>"));
        assert!(!has_outline(b"<</Type /Catalog /Pages 2 0 R>>"));
    }
}
