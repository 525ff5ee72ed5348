//! `cargo book`: builds the book, and checks that it is true and that it works. `cargo xtask ci`: checks everything.
//! `cargo xtask survey`: probes servers that people know.

#![allow(unreachable_pub, reason = "every module here belongs to this one program")]

mod book;
mod ci;
mod compare;
mod draw;
mod fault;
mod includes;
mod listings;
mod page;
mod pdf;
mod record;
mod site;
mod stairs;
mod survey;
mod tools;

use std::process::ExitCode;

use anstream::{eprintln, println};
use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use crate::book::Book;
use crate::fault::Fault;
use crate::site::Site;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const BOLD: Style = Style::new().bold();

/// Builds the book into book/book, or does one of the tasks below
///
/// First it draws the recorded scenes into book/drawn, for the pages to include. From then on `mdbook build book` with
/// mdBook 0.5.4 builds the same, but here a listing that nothing compiles or an include that shows nothing is an error.
#[derive(Parser)]
#[command(name = "cargo book", bin_name = "cargo book", args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Open the book in a browser
    #[arg(long)]
    open: bool,
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Build the book whenever a page is saved, and show it in a browser; needs mdbook
    Serve,
    /// Run everything that the book shows again, and write down what it did
    Record,
    /// Check everything that the book says and links to
    Check,
    /// Print the book to target/tcp-pitfalls.pdf; needs Chromium
    Pdf {
        /// How large a sheet is
        #[arg(long, value_enum, default_value_t)]
        paper: pdf::Paper,
    },
    Ci(ci::Arguments),
    Survey(survey::Arguments),
}

fn main() -> ExitCode {
    let Arguments { open, task } = Arguments::parse();
    let book = Book::here();
    let done = match task {
        None => build(&book, open),
        Some(Task::Serve) => draw::all(&book.root).and_then(|()| tools::serve(&book)).map(|()| Vec::new()),
        Some(Task::Record) => record::record(&book.root).map(|()| Vec::new()),
        Some(Task::Check) => check(&book),
        Some(Task::Pdf { paper }) => print_to_pdf(&book, paper),
        Some(Task::Survey(arguments)) => survey::run(&book.root, &arguments).map(|()| Vec::new()),
        Some(Task::Ci(arguments)) => ci::run(&book.root, &arguments).map(|()| Vec::new()),
    };
    match done {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in &faults {
                eprintln!("{BAD}fault:{BAD:#} {fault}");
            }
            let word = if faults.len() == 1 { "fault" } else { "faults" };
            eprintln!("{BAD}{} {word} in the book{BAD:#}", faults.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{BAD}error:{BAD:#} {error:#}");
            ExitCode::from(2)
        }
    }
}

fn build(book: &Book, open: bool) -> Result<Vec<Fault>> {
    draw::all(&book.root)?;
    let mut faults = book.check_sources()?;
    faults.extend(book.build()?);
    let index = book.site().join("index.html");
    println!("The book is in {}", index.display());
    if open {
        opener::open_browser(&index)
            .with_context(|| format!("no browser could be started. Open this file in one: {}", index.display()))?;
    }
    Ok(faults)
}

/// All checks, even if one has found something: people mend many faults at once.
fn check(book: &Book) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    let mut step = |what: &str, found: Vec<Fault>| {
        let verdict = if found.is_empty() { format!("{GOOD}holds{GOOD:#}") } else { format!("{BAD}FALLS{BAD:#}") };
        println!("{verdict}  {what}");
        faults.extend(found);
    };
    draw::all(&book.root)?;
    let sources = book.check_sources()?;
    let is_complete = sources.is_empty();
    step("every listing is compiled, every include shows what it says", sources);
    step("the book builds, and mdBook warns of nothing", book.build()?);
    let site = Site::read(&book.site())?;
    step("every link leads somewhere", site.check_links());
    step("every probe and every check has its place", site.check_places());
    let figures = "every figure has words";
    if is_complete {
        step(figures, site.check_words());
    } else {
        println!("skipped {figures}: they are empty where an include shows nothing");
    }
    for tool in tools::CHECKS {
        match tool.run(&book.root)? {
            Some(found) => step(tool.what, found),
            None => println!("skipped {}: {1} is not installed (pip install {1})", tool.what, tool.program),
        }
    }
    step("the picture of the staircase is what the course says", stairs::check(&book.root));
    let recorded = "every recording is what a run does now";
    match record::check(&book.root)? {
        Some(found) => step(recorded, found),
        None => println!("skipped {recorded}: they were made on Linux, and show its words"),
    }
    Ok(faults)
}

fn print_to_pdf(book: &Book, paper: pdf::Paper) -> Result<Vec<Fault>> {
    let faults = build(book, false)?;
    let pdf = pdf::print(book, paper)?;
    println!("The book for printing is in {}", pdf.display());
    Ok(faults)
}
