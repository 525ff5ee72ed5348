//! Every listing in Rust or Go is an include of a file that is compiled, or says that it isn't meant to be.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::fault::Fault;
use crate::includes;
use crate::page::Page;

/// The languages, as info strings name them, and how their files end.
const COMPILED: [(&[&str], &str); 2] = [(&["rust", "rs"], "rs"), (&["go", "golang"], "go")];

/// The word of an info string that says that a listing isn't meant to compile.
const SKETCH: &str = "sketch";

/// Finds listings that nothing compiles.
pub fn check(page: &Page) -> Vec<Fault> {
    fenced_blocks(&page.text).into_iter().filter_map(|block| check_block(page, &block)).collect()
}

fn check_block(page: &Page, block: &Block) -> Option<Fault> {
    let mut words = block.info.split([',', ' ']).map(str::trim);
    let language = words.next()?.to_lowercase();
    let (_, extension) = COMPILED.iter().find(|(names, _)| names.contains(&language.as_str()))?;
    if words.any(|word| word == SKETCH) {
        return None;
    }
    let fault = |what: String| Some(Fault::at(&page.name, page.line_of(block.place.start), what));
    let mut lines = block.text.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    if lines.peek().is_none() {
        return fault(format!("an empty {language} listing: include an anchor of a compiled file, or remove it"));
    }
    for line in lines {
        let Some(include) = includes::whole_line(line) else {
            return fault(format!(
                "this {language} listing is typed by hand, so nothing compiles it (\"{line}\"): include an anchor of a \
                 compiled file, or write ```{language},{SKETCH} if it isn't meant to compile"
            ));
        };
        if !include.path.ends_with(&format!(".{extension}")) {
            return fault(format!(
                "this {language} listing includes \"{}\", which is no .{extension} file, so nothing compiles it",
                include.path
            ));
        }
    }
    None
}

/// A fenced code block.
struct Block {
    info: String,
    text: String,
    place: Range<usize>,
}

fn fenced_blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (event, place) in Parser::new_ext(markdown, Options::all()).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                open = Some(Block { info: info.to_string(), text: String::new(), place });
            }
            Event::Text(text) => {
                if let Some(block) = &mut open {
                    block.text.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
            _ => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(markdown: &str) -> Vec<String> {
        check(&Page::new("page.md", markdown)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_include_of_a_compiled_file_passes() {
        assert_eq!(faults("```rust\n{{#include ../../src/lib.rs:anchor}}\n```\n"), [""; 0]);
        assert_eq!(faults("- item\n\n  ```go\n  {{#include ../go/main.go:server}}\n  ```\n"), [""; 0]);
    }

    #[test]
    fn code_typed_by_hand_fails_in_any_spelling() {
        for fence in ["```rust", "~~~ rust", "```Rust,ignore", "```rs", "```go", "> ```golang"] {
            let quote = if fence.starts_with('>') { "> " } else { "" };
            let end = if fence.starts_with('~') { "~~~" } else { "```" };
            let found = faults(&format!("text\n\n{fence}\n{quote}listen()\n{quote}{end}\n"));
            assert_eq!(found.len(), 1, "{fence}: {found:?}");
            assert!(found[0].starts_with("page.md:3: "), "{}", found[0]);
            assert!(found[0].contains("typed by hand") && found[0].contains("sketch"), "{}", found[0]);
        }
    }

    #[test]
    fn an_include_with_typed_code_beside_it_fails() {
        assert_eq!(faults("```rust\n{{#include a.rs:b}}\nmore();\n```\n").len(), 1);
    }

    #[test]
    fn an_include_of_what_is_not_compiled_fails() {
        assert!(faults("```rust\n{{#include ../recorded/a.txt}}\n```\n")[0].contains("no .rs file"));
    }

    #[test]
    fn an_empty_listing_fails() {
        assert!(faults("```go\n```\n")[0].contains("empty"));
    }

    #[test]
    fn a_sketch_and_other_languages_pass() {
        assert_eq!(faults("```rust,sketch\nlisten()\n```\n\n```text\nlisten()\n```\n\n```\nx\n```\n"), [""; 0]);
    }
}
