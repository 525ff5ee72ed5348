//! The built site: its links lead somewhere, and its figures can be read by those who don't see them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use percent_encoding::percent_decode_str;
use regex::Regex;
use scraper::{ElementRef, Html, Selector};
use tcp_pitfalls::{classroom, probes};
use url::Url;
use walkdir::WalkDir;

use crate::fault::Fault;

/// Served by web servers for any address that isn't there, so its links are taken from elsewhere.
const NOT_FOUND: &str = "404.html";

/// References to an id in the attributes of SVG: `url(#id)`.
static URL_OF_ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"url\(['"]?#([^'")]+)['"]?\)"#).expect("it is one"));

/// Repeats all pages, and so their faults: it is only looked at if they have none.
const PRINT: &str = "print.html";

/// A built site.
pub struct Site {
    folder: PathBuf,
    pages: BTreeMap<PathBuf, Built>,
    files: BTreeSet<PathBuf>,
}

/// A built page: all that is asked of it.
struct Built {
    ids: BTreeSet<String>,
    /// The ids of the headings below those of chapters and pages.
    sections: BTreeSet<String>,
    links: BTreeSet<String>,
    ids_there_twice: Vec<Fault>,
    words: Vec<Fault>,
}

impl Site {
    /// Reads all that is in the folder of a site.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut site = Site { folder: folder.to_owned(), pages: BTreeMap::new(), files: BTreeSet::new() };
        for entry in WalkDir::new(folder) {
            let entry = entry.with_context(|| format!("could not list the built site in {}", folder.display()))?;
            let name = entry.path().strip_prefix(folder).unwrap_or(entry.path()).to_owned();
            if name.extension().is_some_and(|extension| extension == "html") && name != Path::new(NOT_FOUND) {
                let text = fs::read_to_string(entry.path())
                    .with_context(|| format!("could not read the built page {}", entry.path().display()))?;
                site.pages.insert(name.clone(), read(&name.to_string_lossy(), &text));
            }
            if entry.file_type().is_file() {
                site.files.insert(name);
            }
        }
        Ok(site)
    }

    /// Finds links that lead nowhere, and ids that are there twice.
    pub fn check_links(&self) -> Vec<Fault> {
        self.check(|name, page| {
            let links = page.links.iter().filter_map(|link| self.check_link(name, link));
            page.ids_there_twice.iter().cloned().chain(links).collect()
        })
    }

    /// Finds probes and checks whose reader is sent to a place in the book that isn't there, and sections of no probe.
    pub fn check_places(&self) -> Vec<Fault> {
        const PROBES: &str = "probe_your_own_server.html";
        let checks = classroom::ALL.iter().flat_map(|exercise| exercise.checks).map(|check| check.page.to_owned());
        let places = probes::all().map(|probe| format!("{PROBES}#{}", probe.name)).chain(checks);
        let lost = places.filter_map(|place| self.check_link(Path::new("a probe or a check"), &place));
        let sections = self.pages.get(Path::new(PROBES)).into_iter().flat_map(|page| &page.sections);
        let of_no_probe = sections.filter(|name| probes::find(name).is_none());
        let what = |name| {
            Fault::in_file(PROBES, format!("there is no probe \"{name}\" for this section: rename or remove it"))
        };
        lost.chain(of_no_probe.map(what)).collect()
    }

    /// Finds figures that say nothing to those who don't see them, and directives that were left in the text.
    pub fn check_words(&self) -> Vec<Fault> {
        self.check(|_, page| page.words.clone())
    }

    fn check(&self, check_page: impl Fn(&Path, &Built) -> Vec<Fault>) -> Vec<Fault> {
        let (print, pages): (Vec<_>, Vec<_>) = self.pages.iter().partition(|(name, _)| name.ends_with(PRINT));
        let faults: Vec<Fault> = pages.into_iter().flat_map(|(name, page)| check_page(name, page)).collect();
        if faults.is_empty() {
            return print.into_iter().flat_map(|(name, page)| check_page(name, page)).collect();
        }
        faults
    }

    fn check_link(&self, page: &Path, link: &str) -> Option<Fault> {
        let fault = |what: String| Some(Fault::in_file(page.to_string_lossy(), format!("the link \"{link}\" {what}")));
        let Some(url) = Url::from_file_path(self.folder.join(page)).ok().and_then(|base| base.join(link).ok()) else {
            return fault("is no address".to_owned());
        };
        if url.scheme() != "file" {
            return None;
        }
        let path = url.to_file_path().unwrap_or_default();
        let Ok(target) = path.strip_prefix(&self.folder) else {
            return fault("leads out of the book: use the address that readers have".to_owned());
        };
        let target = if self.files.contains(target) { target.to_owned() } else { target.join("index.html") };
        if !self.files.contains(&target) {
            return fault("leads to a page that isn't there: correct it, or add the page".to_owned());
        }
        let id = percent_decode_str(url.fragment().filter(|id| !id.is_empty())?).decode_utf8_lossy();
        let there = &self.pages.get(&target)?.ids;
        if there.contains(&*id) {
            return None;
        }
        let alike: Vec<&str> = there.iter().filter(|other| are_alike(other, &id)).map(String::as_str).collect();
        let hint = if alike.is_empty() { String::new() } else { format!(" There is: {}", alike.join(", ")) };
        fault(format!("leads to a place that {} doesn't have.{hint}", target.display()))
    }
}

/// Whether one id may have been meant by the other: the same letters, or one within the other.
fn are_alike(one: &str, other: &str) -> bool {
    let letters =
        |id: &str| id.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let (one, other) = (letters(one), letters(other));
    one.len() > 2 && other.len() > 2 && (one.contains(&other) || other.contains(&one))
}

fn read(name: &str, text: &str) -> Built {
    let page = Html::parse_document(text);
    let mut words = check_text(name, &page);
    words.extend(check_figures(name, &page));
    words.extend(check_marks(name, &page));
    let mut built = Built {
        ids: BTreeSet::new(),
        sections: BTreeSet::new(),
        links: BTreeSet::new(),
        ids_there_twice: Vec::new(),
        words,
    };
    let mut uses: HashMap<String, usize> = HashMap::new();
    for element in elements(&page) {
        if let Some(id) = element.attr("id") {
            *uses.entry(id.to_owned()).or_default() += 1;
            if element.value().name() == "h3" {
                built.sections.insert(id.to_owned());
            }
        }
        if element.value().name() == "a" {
            built.ids.extend(element.attr("name").map(str::to_owned));
        }
        for (attribute, value) in element.value().attrs() {
            match attribute {
                "href" | "src" | "xlink:href" => _ = built.links.insert(value.to_owned()),
                "aria-labelledby" | "aria-describedby" if within(element, "main") => {
                    built.links.extend(value.split_whitespace().map(|id| format!("#{id}")));
                }
                _ => built.links.extend(URL_OF_ID.captures_iter(value).map(|id| format!("#{}", &id[1]))),
            }
        }
    }
    let mut twice: Vec<_> = uses.iter().filter(|(_, count)| **count > 1).map(|(id, _)| id.as_str()).collect();
    twice.sort_unstable();
    for id in twice {
        let what = format!("the id \"{id}\" is there {} times, so links to it reach only the first", uses[id]);
        built.ids_there_twice.push(Fault::in_file(name, what));
    }
    built.ids.extend(uses.into_keys());
    built
}

fn check_text(name: &str, page: &Html) -> Vec<Fault> {
    let main = select(page.root_element(), "main");
    main.flat_map(|main| main.text().collect::<Vec<_>>())
        .flat_map(str::lines)
        .filter(|line| line.contains("{{#") || line.contains("ANCHOR: ") || line.contains("ANCHOR_END: "))
        .map(|line| {
            let what = format!("readers see \"{}\", which was meant for mdBook: correct the directive", line.trim());
            Fault::in_file(name, what)
        })
        .collect()
}

fn check_figures(name: &str, page: &Html) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, figure) in (1..).zip(select(page.root_element(), "figure")) {
        let mut fault = |what: &str| faults.push(Fault::in_file(name, format!("figure {number} {what}")));
        if !select(figure, "figcaption").any(has_text) {
            fault("has no caption: add a <figcaption> with one sentence that says what to look at");
        }
        if select(figure, "figcaption").any(|caption| caption.text().any(|text| text.contains('`'))) {
            fault("has a caption in Markdown, which isn't read within HTML: write <code> for `");
        }
        let drawings: Vec<ElementRef> = select(figure, "svg").collect();
        if drawings.is_empty() && select(figure, "img").next().is_none() {
            fault("shows nothing: put an include of an SVG on a line of its own in it, without blank lines around");
        }
        for drawing in drawings {
            for part in ["title", "desc"] {
                // Only its own: shapes may have titles as well.
                let own = drawing.child_elements().filter(|child| child.value().name() == part);
                if !own.into_iter().any(has_text) {
                    fault(&format!(
                        "has no <{part}> with text as a child of its <svg>: say there in words what it shows"
                    ));
                }
            }
        }
    }
    for image in select(page.root_element(), "main img") {
        if image.attr("alt").is_none_or(|words| words.trim().is_empty()) {
            let what = format!("the image \"{}\" has no words in `alt`", image.attr("src").unwrap_or_default());
            faults.push(Fault::in_file(name, what));
        }
    }
    faults
}

/// A listing may name a text whose one line is marked in the colour of a verdict: ```` ```rust,falls:unwrap() ````.
fn check_marks(name: &str, page: &Html) -> Vec<Fault> {
    let mut faults = Vec::new();
    for code in select(page.root_element(), "main pre > code") {
        let listing: String = code.text().collect();
        let marks = code
            .value()
            .classes()
            .filter_map(|class| class.strip_prefix("falls:").or_else(|| class.strip_prefix("holds:")));
        for text in marks {
            let count = listing.lines().filter(|line| line.contains(text)).count();
            if count != 1 {
                let what = format!(
                    "a listing marks the line with \"{text}\", which {count} of its lines have: name another text"
                );
                faults.push(Fault::in_file(name, what));
            }
        }
    }
    faults
}

fn has_text(element: ElementRef) -> bool {
    element.text().any(|text| !text.trim().is_empty())
}

fn within(element: ElementRef, name: &str) -> bool {
    element.ancestors().filter_map(ElementRef::wrap).any(|ancestor| ancestor.value().name() == name)
}

fn elements(page: &Html) -> impl Iterator<Item = ElementRef<'_>> {
    page.tree.nodes().filter_map(ElementRef::wrap)
}

fn select<'a>(within: ElementRef<'a>, selector: &str) -> impl Iterator<Item = ElementRef<'a>> {
    let selector = Selector::parse(selector).expect("a selector is written correctly");
    within.select(&selector).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults of a site with these bodies of pages.
    fn faults(pages: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, body) in pages {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
            let text = format!("<!DOCTYPE html><html><body><main>{body}</main></body></html>");
            fs::write(path, text).expect("it can be written");
        }
        let site = Site::read(folder.path()).expect("it can be read");
        site.check_links().iter().chain(&site.check_words()).map(ToString::to_string).collect()
    }

    #[track_caller]
    fn assert_one(found: &[String], words: &str) {
        let [fault] = found else { panic!("not one fault: {found:?}") };
        assert!(fault.starts_with("a.html: ") && fault.contains(words), "{fault}");
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let a = r##"<a href="b/c.html#there">x</a><a href="#here">x</a><h2 id="here">x</h2><a href="b/">x</a>
                    <a href="https://example.org/#x">x</a><a href="mailto:a@example.org">x</a>"##;
        let c = r#"<h2 id="there">x</h2><a href="../a.html?x=y#here">x</a>"#;
        assert_eq!(faults(&[("a.html", a), ("b/c.html", c), ("b/index.html", "")]), [""; 0]);
    }

    #[test]
    fn a_link_to_a_page_that_is_not_there_fails() {
        assert_one(&faults(&[("a.html", r#"<a href="b.html">x</a>"#)]), "\"b.html\" leads to a page that isn't there");
        assert_one(&faults(&[("a.html", r#"<img src="b.svg" alt="x">"#)]), "leads to a page that isn't there");
        assert_one(&faults(&[("a.html", r#"<a href="../a.html">x</a>"#)]), "leads out of the book");
    }

    #[test]
    fn a_link_to_a_place_that_is_not_there_fails_and_names_one_that_is() {
        let b = r#"<h2 id="idle-client">x</h2>"#;
        let found = faults(&[("a.html", r#"<a href="b.html#idle_client">x</a>"#), ("b.html", b)]);
        assert_one(&found, "b.html doesn't have. There is: idle-client");
        assert_one(&faults(&[("a.html", r##"<a href="#nowhere">x</a>"##)]), "doesn't have.");
    }

    #[test]
    fn ids_within_svg_count() {
        let drawing =
            r#"<svg aria-labelledby="t"><title id="t">x</title><marker id="m"/><path marker-end="url(#m)"/></svg>"#;
        assert_eq!(faults(&[("a.html", drawing)]), [""; 0]);
        assert_one(&faults(&[("a.html", r#"<svg><path marker-end="url(#m)"/></svg>"#)]), "\"#m\"");
        assert_one(&faults(&[("a.html", r#"<svg aria-labelledby="t"></svg>"#)]), "\"#t\"");
        assert_one(&faults(&[("a.html", r##"<svg><use href="#u"/></svg>"##)]), "\"#u\"");
    }

    #[test]
    fn the_page_for_printing_is_looked_at_if_the_others_hold() {
        let link = r#"<a href="b.html">x</a>"#;
        assert_one(&faults(&[("a.html", link), ("print.html", link)]), "a page that isn't there");
        assert_eq!(faults(&[("a.html", ""), ("print.html", link)]).len(), 1);
    }

    #[test]
    fn an_id_that_is_there_twice_fails() {
        assert_one(&faults(&[("a.html", r#"<h2 id="x">x</h2><svg><g id="x"/></svg>"#)]), "\"x\" is there 2 times");
    }

    #[test]
    fn a_directive_in_the_text_fails() {
        assert_one(&faults(&[("a.html", "<p>{{#include a.rs:b}}</p>")]), "readers see \"{{#include a.rs:b}}\"");
        assert_one(&faults(&[("a.html", "<pre><code>x\n// ANCHOR: b\n</code></pre>")]), "readers see \"// ANCHOR: b\"");
    }

    #[test]
    fn a_marked_line_must_be_there_once() {
        let listing = |text: &str| {
            let code = format!("<pre><code class=\"language-rust falls:unwrap()\">{text}</code></pre>");
            faults(&[("a.html", code.as_str())])
        };
        assert_eq!(listing("one\nmaybe.unwrap();\n"), [""; 0]);
        assert_one(&listing("one\n"), "which 0 of its lines have");
        assert_one(&listing("one.unwrap();\ntwo.unwrap();\n"), "which 2 of its lines have");
    }

    const CAPTION: &str = "<figcaption>Look at this.</figcaption>";
    const DRAWING: &str = "<svg><title>What</title><desc>All of it.</desc></svg>";

    #[test]
    fn a_figure_with_words_passes() {
        assert_eq!(faults(&[("a.html", &format!("<figure>{DRAWING}{CAPTION}</figure>"))]), [""; 0]);
    }

    #[test]
    fn a_figure_without_caption_title_or_description_fails() {
        let figure = |content: &str| faults(&[("a.html", &format!("<figure>{content}</figure>"))]);
        assert_one(&figure(DRAWING), "no caption");
        assert_one(&figure(&format!("{DRAWING}<figcaption> </figcaption>")), "no caption");
        assert_one(&figure(&format!("{DRAWING}<figcaption>See `read`.</figcaption>")), "in Markdown");
        assert_one(&figure(&format!("<svg><desc>All.</desc></svg>{CAPTION}")), "no <title>");
        assert_one(&figure(&format!("<svg><title>What</title><desc> </desc></svg>{CAPTION}")), "no <desc>");
        let of_a_shape = format!("<svg><title>What</title><g><desc>A shape.</desc></g></svg>{CAPTION}");
        assert_one(&figure(&of_a_shape), "no <desc>");
        assert_one(&figure(CAPTION), "shows nothing");
    }

    #[test]
    fn an_image_without_words_fails() {
        let drawing = r#"<img src="data:image/png;base64,AAAA" alt="">"#;
        assert_one(&faults(&[("a.html", drawing)]), "no words in `alt`");
    }
}
