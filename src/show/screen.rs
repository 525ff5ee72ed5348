//! What is printed to people: colours, wrapping, verdicts. Colours go through `anstream`, which takes them out where
//! `NO_COLOR` is set or the output isn't a terminal.

use std::borrow::Cow;
use std::env;
use std::fmt;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use textwrap::core::Word;
use textwrap::{Options, WordSeparator, WordSplitter};

use crate::probes::Verdict;

use crate::lab;
pub use crate::{printed as print, printed_line as println, told as eprint, told_line as eprintln};

/// Prints to standard output, formatted as by `format!`. What happens where that can't be done: see `write_out`.
#[macro_export]
macro_rules! printed {
    ($($text:tt)*) => { $crate::show::screen::write_out(format_args!($($text)*)) };
}

/// Prints a line to standard output.
#[macro_export]
macro_rules! printed_line {
    () => { $crate::show::screen::write_out(format_args!("\n")) };
    ($($text:tt)*) => { $crate::show::screen::write_out(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints to standard error.
#[macro_export]
macro_rules! told {
    ($($text:tt)*) => { $crate::show::screen::write_error(format_args!($($text)*)) };
}

/// Prints a line to standard error.
#[macro_export]
macro_rules! told_line {
    () => { $crate::show::screen::write_error(format_args!("\n")) };
    ($($text:tt)*) => { $crate::show::screen::write_error(format_args!("{}\n", format_args!($($text)*))) };
}

/// Writes to standard output at once. Where that can't be done there is nothing left to do, so the program ends, with
/// everything that it has started: without a word if nobody reads any more (`| head`), else with a sentence.
pub fn write_out(text: fmt::Arguments<'_>) {
    let mut out = anstream::stdout().lock();
    let Err(error) = out.write_fmt(text).and_then(|()| out.flush()) else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        // 128 and the number of SIGPIPE, as shells count.
        lab::process::end_all_and_exit(141);
    }
    write_error(format_args!(
        "{BAD}error:{BAD:#} cannot write to standard output: {error}. Check the disk or the pipe\n"
    ));
    lab::process::end_all_and_exit(2);
}

/// Writes to standard error. That it can't be done could be told nowhere, and the status tells the result as well.
pub fn write_error(text: fmt::Arguments<'_>) {
    let _ = anstream::stderr().lock().write_fmt(text);
}

/// For headings.
pub const BOLD: Style = Style::new().bold();
/// For what may be skipped.
pub const DIM: Style = Style::new().dimmed();
/// For what is as it should be.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// For what isn't.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// For what isn't wrong, but to be known.
pub const DIFFERENT: Style = AnsiColor::Yellow.on_default();
/// For commands to type.
pub const COMMAND: Style = AnsiColor::Cyan.on_default();

/// The width to write for, in columns: that of the terminal, from 60 to 100; 80 where there is none.
pub fn width() -> usize {
    textwrap::termwidth().clamp(60, 100)
}

/// Breaks text into lines of at most `width` columns. Names and commands are not broken at their hyphens, and what is quoted
/// not at its blanks.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let words = WordSeparator::Custom(|line| {
        let mut quoted = false;
        let ends_word = move |at: char| {
            quoted ^= at == '"';
            at == ' ' && !quoted
        };
        Box::new(line.split_inclusive(ends_word).map(Word::from))
    });
    // Where a quote never ends, nobody knows which blanks are within.
    let words = if text.matches('"').count() % 2 == 0 { words } else { WordSeparator::AsciiSpace };
    let options = Options::new(width.max(20)).word_splitter(WordSplitter::NoHyphenation).word_separator(words);
    textwrap::wrap(text, options).into_iter().map(Cow::into_owned).collect()
}

/// Text beside a head that takes so many columns, in lines of at most `width`: all but the first stand below its beginning.
pub fn beside(head: &str, columns: usize, text: &str, width: usize) -> String {
    let lines = wrap(text, width.saturating_sub(columns));
    format!("{head}{}\n", lines.join(&format!("\n{:columns$}", "")))
}

/// Text beside a word that stands in a column of so many columns, or below it if the word fills that.
pub fn hanging(word: &str, column: usize, text: &str) -> String {
    if word.len() >= column {
        return format!("{word}\n{}", paragraph(text, column));
    }
    beside(&format!("{word:column$}"), column, text, width())
}

/// Text as a paragraph, each line after `indent` spaces.
pub fn paragraph(text: &str, indent: usize) -> String {
    let lines = wrap(text, width().saturating_sub(indent));
    lines.into_iter().map(|line| format!("{:indent$}{line}\n", "")).collect()
}

/// The colour of a lane in a timeline.
pub fn actor(who: &str) -> Style {
    match who {
        "server" => AnsiColor::Yellow.on_default(),
        "kernel" => AnsiColor::Magenta.on_default(),
        "client 2" | "next client" => AnsiColor::Blue.on_default(),
        _ => AnsiColor::Cyan.on_default(),
    }
}

/// The colour of a verdict.
pub fn verdict(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Holds => GOOD,
        Verdict::Falls => BAD,
        Verdict::Differs => DIFFERENT,
        Verdict::Note | Verdict::Skipped => DIM,
    }
}

/// The sign of a verdict, for the eye only: the word always stands beside it. In plain letters where the terminal is
/// not known to have others.
pub fn sign(verdict: Verdict) -> &'static str {
    let locale = || {
        let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(env::var_os).find(|value| !value.is_empty());
        set.is_some_and(|value| value.to_string_lossy().to_lowercase().replace('-', "").contains("utf8"))
    };
    // Windows Terminal says who it is; the older console has fonts without these.
    let unicode = if cfg!(windows) { env::var_os("WT_SESSION").is_some() } else { locale() };
    match (verdict, unicode) {
        (Verdict::Holds, true) => "✓",
        (Verdict::Falls, true) => "✗",
        (Verdict::Differs, true) => "≠",
        (Verdict::Holds, false) => "+",
        (Verdict::Falls, false) => "x",
        (Verdict::Differs, false) => "~",
        (Verdict::Note, _) => "i",
        (Verdict::Skipped, _) => "-",
    }
}

/// Shows how far a run of `length` parts is, where there is a terminal.
pub fn progress(length: usize, message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(length as u64).with_message(message);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:24} {pos}/{len} ({elapsed})") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Shows that something is under way, where there is a terminal.
pub fn spinner(message: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// Prints an error as one sentence. Gives the status that says that there was one.
pub fn failure(error: &anyhow::Error, status: u8) -> ExitCode {
    eprintln!("{BAD}error:{BAD:#} {error:#}");
    ExitCode::from(status)
}

/// The status of a program that did this: 0, or 1 and a sentence that says what went wrong.
pub fn report(result: anyhow::Result<()>) -> ExitCode {
    result.map_or_else(|error| failure(&error, 1), |()| ExitCode::SUCCESS)
}
