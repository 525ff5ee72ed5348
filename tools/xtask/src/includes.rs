//! Every `{{#include}}` shows what it says. mdBook itself is silent about a misspelt anchor, which leaves an empty block,
//! about a missing file, which leaves the directive in the text, and about an anchor behind code, which loses the line.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use crate::fault::Fault;
use crate::page::{Page, name_in};

/// What mdBook takes for a directive, and what is close enough to be meant as one.
static DIRECTIVE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?<escape>\\)?\{\{\s*#\s*(?<kind>\w*)(?<argument>[^}\n]*)\}\}").expect("it is one"));

/// What mdBook takes for the beginning or the end of an anchor.
static ANCHOR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"ANCHOR(?<end>_END)?:\s*(?<name>[\w-]+)").expect("it is one"));

/// The beginnings of lines that hold nothing but a comment, in the languages that the book includes.
const COMMENTS: [&str; 4] = ["//", "#", "/*", "<!--"];

/// What an include asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Include<'a> {
    /// The file, from the folder of the page.
    pub path: &'a str,
    /// What of it.
    pub part: Part<'a>,
}

/// Which part of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// All of it.
    Whole,
    /// What stands between two comments.
    Anchor(&'a str),
    /// Lines by their numbers.
    Lines,
}

/// The include that a line consists of.
pub fn whole_line(line: &str) -> Option<Include<'_>> {
    let directive = DIRECTIVE.captures(line.trim())?;
    let is_include = directive.name("escape").is_none() && &directive["kind"] == "include";
    (is_include && directive.get(0)?.as_str() == line.trim()).then(|| parse(directive.name("argument")?.as_str()))?
}

fn parse(argument: &str) -> Option<Include<'_>> {
    let target = argument.split_whitespace().next()?;
    let (path, part) = match target.split_once(':') {
        None => (target, Part::Whole),
        Some((path, part)) if part.chars().all(|c| c.is_ascii_digit() || c == ':') => (path, Part::Lines),
        Some((path, name)) => (path, Part::Anchor(name)),
    };
    Some(Include { path, part })
}

/// Finds includes that show something else than they say, or nothing.
pub fn check(root: &Path, page: &Page) -> Vec<Fault> {
    // A set, as many includes may be of one file.
    let mut faults = BTreeSet::new();
    for directive in DIRECTIVE.captures_iter(&page.text) {
        let whole = directive.get(0).expect("a match has a whole");
        let line = page.line_of(whole.start());
        let mut fault = |what: String| faults.insert(Fault::at(&page.name, line, what));
        match &directive["kind"] {
            _ if directive.name("escape").is_some() => continue,
            "title" => continue,
            "include" => {}
            kind => {
                fault(format!("\"#{kind}\" is no directive that this book uses: write {{{{#include FILE:ANCHOR}}}}"));
                continue;
            }
        }
        let Some(include) = parse(directive.name("argument").map_or("", |argument| argument.as_str())) else {
            fault("this include names no file: write {{#include FILE:ANCHOR}}".to_owned());
            continue;
        };
        let folder = page.path.parent().unwrap_or(root);
        let file = folder.join(include.path);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) => {
                fault(format!(
                    "the file \"{}\" could not be read ({error}), so readers would see the directive itself: its path \
                     is taken from {}",
                    include.path,
                    name_in(root, folder)
                ));
                continue;
            }
        };
        // `canonicalize` can't fail on a file that was just read; if it does, the longer name will do.
        let name = name_in(root, &file.canonicalize().unwrap_or(file));
        if let Some(what) = check_part(&include, &name, &text) {
            fault(what);
        }
        faults.extend(anchors_behind_code(&name, &text));
    }
    faults.into_iter().collect()
}

fn check_part(include: &Include, name: &str, text: &str) -> Option<String> {
    match include.part {
        Part::Lines => {
            Some(format!("this includes lines of {name} by their numbers, which change: put an anchor around them"))
        }
        Part::Whole if text.trim().is_empty() => Some(format!("{name} is empty, and so is what this include shows")),
        Part::Whole if ANCHOR.is_match(text) => Some(format!(
            "readers would see the anchors of {name}: put one around all of it, and include that, which leaves out the \
             comments of those within"
        )),
        Part::Whole => None,
        Part::Anchor(anchor) => check_anchor(anchor, name, text),
    }
}

fn check_anchor(anchor: &str, name: &str, text: &str) -> Option<String> {
    let places = |end: bool| -> Vec<usize> {
        let of_anchor = |line: &str| {
            ANCHOR.captures(line).is_some_and(|found| &found["name"] == anchor && found.name("end").is_some() == end)
        };
        text.lines().enumerate().filter(|(_, line)| of_anchor(line)).map(|(index, _)| index).collect()
    };
    match (places(false).as_slice(), places(true).as_slice()) {
        ([], _) => {
            let there: BTreeSet<&str> = ANCHOR
                .captures_iter(text)
                .filter(|found| found.name("end").is_none())
                .filter_map(|found| found.name("name").map(|name| name.as_str()))
                .collect();
            let there: Vec<&str> = there.into_iter().collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            Some(format!("{name} has no anchor \"{anchor}\", so this shows nothing. The file's anchors: {there}"))
        }
        ([start], [end]) if start > end => Some(format!("the anchor \"{anchor}\" of {name} ends before it begins")),
        ([start], [end]) => {
            let shown = text.lines().take(*end).skip(start + 1).filter(|line| !ANCHOR.is_match(line));
            let nothing = shown.into_iter().all(|line| line.trim().is_empty());
            nothing.then(|| format!("there is nothing in the anchor \"{anchor}\" of {name}, so this shows nothing"))
        }
        ([_], []) => Some(format!(
            "the anchor \"{anchor}\" of {name} has no end, so this shows the rest of the file: add ANCHOR_END: {anchor}"
        )),
        _ => Some(format!(
            "the anchor \"{anchor}\" of {name} begins or ends more than once, and mdBook takes the first: rename one"
        )),
    }
}

/// An anchor and code share a line, which mdBook leaves out.
fn anchors_behind_code<'a>(name: &'a str, text: &'a str) -> impl Iterator<Item = Fault> + 'a {
    text.lines().enumerate().filter_map(move |(index, line)| {
        let alone = COMMENTS.iter().any(|comment| line.trim_start().starts_with(comment));
        (ANCHOR.is_match(line) && !alone).then(|| {
            let what = "an anchor behind code, so mdBook leaves out the whole line: give the comment a line of its own";
            Fault::at(name, index + 1, what)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults of a page that stands beside a file `code.rs`.
    fn faults(markdown: &str, code: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().canonicalize().expect("it exists");
        fs::write(root.join("code.rs"), code).expect("it can be written");
        let page = Page { path: root.join("page.md"), ..Page::new("page.md", markdown) };
        check(&root, &page).iter().map(ToString::to_string).collect()
    }

    const CODE: &str = "before\n// ANCHOR: a\nline\n// ANCHOR: inner\nmore\n// ANCHOR_END: inner\n// ANCHOR_END: a\n";

    #[track_caller]
    fn assert_one(found: &[String], place: &str, words: &str) {
        let [fault] = found else { panic!("not one fault: {found:?}") };
        assert!(fault.starts_with(place) && fault.contains(words), "{fault}");
    }

    #[test]
    fn an_anchor_that_is_there_passes() {
        assert_eq!(faults("{{#include code.rs:a}}\n\n{{ #include code.rs:inner }}\n", CODE), [""; 0]);
        assert_eq!(faults("{{#include code.rs}}", "no anchors\n"), [""; 0]);
    }

    #[test]
    fn a_misspelt_anchor_fails_and_the_right_ones_are_named() {
        assert_one(&faults("text\n\n{{#include code.rs:b}}\n", CODE), "page.md:3: ", "The file's anchors: a, inner");
    }

    #[test]
    fn a_missing_file_fails() {
        assert_one(&faults("\n{{#include cod.rs:a}}\n", CODE), "page.md:2: ", "\"cod.rs\" could not be read");
    }

    #[test]
    fn an_anchor_behind_code_fails_once_and_where_it_stands() {
        let code = "// ANCHOR: a\nfirst\nlisten(); // ANCHOR: b\nsecond\n// ANCHOR_END: b\n// ANCHOR_END: a\n";
        let found = faults("{{#include code.rs:a}}\n{{#include code.rs:b}}\n", code);
        assert_one(&found, "code.rs:3: ", "leaves out the whole line");
    }

    #[test]
    fn an_anchor_without_end_with_two_beginnings_or_nothing_in_it_fails() {
        assert_one(&faults("{{#include code.rs:a}}", "// ANCHOR: a\nx\n"), "page.md:1: ", "no end");
        let twice = "// ANCHOR: a\nx\n// ANCHOR_END: a\n// ANCHOR: a\ny\n// ANCHOR_END: a\n";
        assert_one(&faults("{{#include code.rs:a}}", twice), "page.md:1: ", "more than once");
        let empty = "// ANCHOR: a\n\n// ANCHOR: b\n// ANCHOR_END: b\n// ANCHOR_END: a\n";
        assert_one(&faults("{{#include code.rs:a}}", empty), "page.md:1: ", "nothing in the anchor");
        let reversed = "// ANCHOR_END: a\nx\n// ANCHOR: a\n";
        assert_one(&faults("{{#include code.rs:a}}", reversed), "page.md:1: ", "ends before it begins");
    }

    #[test]
    fn a_whole_file_with_anchors_or_lines_by_number_fail() {
        assert_one(&faults("{{#include code.rs}}", CODE), "page.md:1: ", "would see the anchors");
        assert_one(&faults("{{#include code.rs:1:2}}", CODE), "page.md:1: ", "by their numbers");
        assert_one(&faults("{{#include code.rs:3}}", CODE), "page.md:1: ", "by their numbers");
    }

    #[test]
    fn a_misspelt_directive_fails_but_not_an_escaped_one() {
        assert_one(&faults("{{#included code.rs:a}}", CODE), "page.md:1: ", "no directive");
        assert_eq!(faults("\\{{#include nothing}}\n", CODE), [""; 0]);
    }
}
