//! The normal form of a recording: what must be the same in every run.
//!
//! Left out are ports, times, and what depends on the system's load. Events are compared for each one who takes part: in
//! which order two threads come to write theirs down is chance. In a transfer so big that its transcript is folded, the
//! kernel chooses the pieces, so only the kinds of the server's calls are compared there, and no numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use snapbox::Redactions;

/// A pattern, a part of which is `redacted`.
fn redactions(patterns: &[(&'static str, &str)]) -> Redactions {
    let mut redactions = Redactions::new();
    for (name, pattern) in patterns {
        let pattern = Regex::new(pattern).expect("the patterns are right");
        redactions.insert(name, pattern).expect("the names are right");
    }
    redactions
}

/// The lab draws ports of five digits, and writes all other numbers of that size with a comma.
static PORTS: LazyLock<Redactions> = LazyLock::new(|| redactions(&[("[PORT]", r"\b(?<redacted>[1-6]\d{4})\b")]));

/// Other programs write as they like.
static PORTS_ELSEWHERE: LazyLock<Redactions> =
    LazyLock::new(|| redactions(&[("[PORT]", r"(127\.0\.0\.1:|port |sport =\s+:)(?<redacted>[1-6]\d{4})\b")]));

static CHANGING: LazyLock<Redactions> = LazyLock::new(|| {
    redactions(&[
        ("[TIME]", r"(?<redacted>\d+(\.\d+)?) ms\b"),
        ("[SIZE]", r"(?<redacted>\d+) MiB"),
        // As many as it takes until the server gives up.
        ("[CLIENTS]", r"(?<redacted>\d+) (clients, the|are connected)"),
        ("[LEFT]", r"(counts|processes) (?<redacted>\d+)( more descriptors|, address)"),
        ("[PID]", r"pid (?<redacted>\d+)"),
        ("[SECONDS]", r#""seconds": (?<redacted>[\d.]+)"#),
        ("[SECONDS]", r"skipped \((?<redacted>\d+) s\)"),
    ])
});

static NUMBERS: LazyLock<Redactions> =
    LazyLock::new(|| redactions(&[("[BYTES]", r#"(?<redacted>"[^"]*") \("#), ("[N]", r"(?<redacted>\d[\d,.]*)")]));

/// A scene as the book shows it.
pub fn without_ports(text: &str) -> String {
    PORTS.redact(text)
}

/// What a command printed, as the book shows it.
pub fn without_ports_elsewhere(text: &str) -> String {
    PORTS_ELSEWHERE.redact(text)
}

/// The normal form of the recording with this name.
pub fn form(name: &str, text: &str) -> String {
    let is_scene = name.contains(".pitfall.") || name.contains(".cure.");
    if Path::new(name).extension() == Some("svg".as_ref()) {
        // What can't be read is itself, and so differs from all that can.
        figure(text).unwrap_or_else(|| text.to_owned())
    } else if is_scene {
        transcript(text).normal_form()
    } else if name.starts_with("commands/") || name.starts_with("claims/") {
        // Where a line breaks depends on the length of its numbers.
        CHANGING.redact(&text.split_whitespace().collect::<Vec<_>>().join(" ")).replace(". ", ".\n")
    } else {
        text.to_owned()
    }
}

/// A scene: who did what, between a beginning and a verdict.
#[derive(Default)]
struct Scene {
    /// What is said of the whole.
    frame: Vec<String>,
    events: Vec<(String, String)>,
}

/// Reads a transcript: a title, events indented by four columns, a verdict. Lines that go on are indented further.
fn transcript(text: &str) -> Scene {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        match lines.last_mut() {
            Some(before) if indent > 4 => {
                before.push(' ');
                before.push_str(line.trim_start());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    let mut scene = Scene::default();
    for line in lines {
        match line.strip_prefix("    ").map(|event| event.split_once("  ").unwrap_or(("", event))) {
            Some((who, what)) => scene.events.push((who.to_owned(), what.trim().to_owned())),
            None => scene.frame.push(line),
        }
    }
    scene
}

/// A figure: its story, its style, and its parts without their places.
fn figure(text: &str) -> Option<String> {
    let document = roxmltree::Document::parse(text).ok()?;
    let mut scene = Scene::default();
    let (mut style, mut parts) = (String::new(), BTreeSet::new());
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        let words = || node.descendants().filter(roxmltree::Node::is_text).filter_map(|text| text.text());
        match node.tag_name().name() {
            "desc" => {
                let story: String = words().collect();
                let count = story.lines().count();
                for (index, line) in story.lines().enumerate() {
                    match line.split_once(": ") {
                        Some((who, what)) if index > 0 && index + 1 < count => {
                            scene.events.push((who.to_owned(), what.to_owned()));
                        }
                        None if index > 0 => scene.events.push((String::new(), line.to_owned())),
                        _ => scene.frame.push(line.to_owned()),
                    }
                }
            }
            "style" => style = words().collect(),
            "tspan" => {}
            name => {
                let attributes = node.attributes().map(|attribute| {
                    let value: String = attribute.value().chars().filter(|c| !c.is_ascii_digit()).collect();
                    format!(" {}={value:?}", attribute.name())
                });
                let text: String = if name == "text" { words().collect() } else { String::new() };
                parts.insert(format!("<{name}{}> {}", attributes.collect::<String>(), CHANGING.redact(&text)));
            }
        }
    }
    // In a big transfer, which parts there are is chance as well.
    let parts = if scene.is_big() { String::new() } else { parts.into_iter().map(|part| part + "\n").collect() };
    Some(format!("{}{style}{parts}", scene.normal_form()))
}

impl Scene {
    /// Whether calls had to be summed up.
    fn is_big(&self) -> bool {
        self.events.iter().any(|(who, what)| who.is_empty() && what.starts_with('…'))
    }

    fn normal_form(&self) -> String {
        let is_big = self.is_big();
        let normal = |text: &str| {
            // A word that was broken at its hyphen.
            let text = CHANGING.redact(&text.replace("- ", "-"));
            if is_big { NUMBERS.redact(&text) } else { text }
        };
        let mut acts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (who, what) in &self.events {
            if is_big && who.is_empty() {
                continue;
            }
            let act = if is_big && who == "server" { kind(what) } else { None };
            let all = acts.entry(who).or_default();
            let act = act.map_or_else(|| normal(what), str::to_owned);
            let is_call = is_big && who == "server";
            // Numbers from /proc are asked for again and again until they rest.
            let rests = matches!(who.as_str(), "kernel" | "clients");
            if !(is_call && all.contains(&act) || rests && all.last() == Some(&act)) {
                all.push(act);
            }
        }
        // The server serves each client on a thread of its own, and which of them is quicker is chance.
        let has_many_clients = acts.keys().filter(|who| who.contains("client")).count() > 1;
        if let Some(calls) = acts.get_mut("server").filter(|_| is_big || has_many_clients) {
            calls.sort();
        }
        let mut text = self.frame.first().map_or_else(String::new, |line| format!("{line}\n"));
        for (who, acts) in acts {
            text.extend(acts.into_iter().map(|act| format!("{who}: {act}\n")));
        }
        text.extend(self.frame.iter().skip(1).map(|line| format!("{}\n", normal(line))));
        text
    }
}

/// Which call of the server this was, and whether it did all that was asked.
fn kind(what: &str) -> Option<&'static str> {
    let (call, result) = what.split_once(" → ")?;
    match call {
        "read" if result.starts_with('"') => Some("read"),
        "write" if result.starts_with("all of") => Some("write"),
        "write" => Some("write in part"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::form;

    /// A recording of this repository.
    fn recorded(name: &str) -> String {
        let path = format!("{}/../../book/recorded/{name}", env!("CARGO_MANIFEST_DIR"));
        fs::read_to_string(path).expect("it is recorded")
    }

    /// Whether this change of a recording is seen.
    #[track_caller]
    fn is_seen(name: &str, old: &str, new: &str) -> bool {
        let text = recorded(name);
        let changed = text.replacen(old, new, 1);
        assert_ne!(text, changed, "{old} is in {name}");
        form(name, &text) != form(name, &changed)
    }

    #[test]
    fn a_change_of_what_happened_is_seen() {
        let read = "    server    read → \"p\" (1 byte)\n";
        assert!(is_seen("04/split-message.cure.txt", read, ""));
        assert!(is_seen("04/split-message.cure.txt", read, &format!("{read}{read}")));
        assert!(is_seen("04/split-message.cure.txt", "echo: split", "echo:  split"));
        assert!(is_seen("04/split-message.cure.txt", "→ holds:", "→ falls:"));
        assert!(is_seen("04/split-message.cure.svg", "server: read → &quot;p&quot; (1 byte).\n", ""));
        assert!(is_seen("04/split-message.cure.svg", "receives &quot;echo: split", "gets &quot;echo: split"));
        assert!(is_seen("04/split-message.cure.svg", "var(--bg, #fff)", "white"));
        assert!(is_seen("04/every-byte.pitfall.txt", "write fails: Resource", "write fails: Other"));
        assert!(is_seen("04/every-byte.pitfall.txt", "→ falls:", "→ holds:"));
        assert!(is_seen("01/port-taken.cure.txt", "already in", "not in"));
        assert!(is_seen("staircase.txt", "FALLS", "holds"));
        assert!(is_seen("06/server.diff", "+", "-"));
    }

    #[test]
    fn what_is_chance_is_not() {
        let taken = "    client 1  receives \"echo: one\\n\" (10 bytes)\n";
        let half = "    client 1  ends its sending side (half-close)\n";
        let read = "    server    read → 0, the end\n";
        assert!(recorded("04/joined-messages.cure.txt").contains(taken));
        // Another thread is quicker.
        let text = format!("{taken}{read}{half}");
        for other in [format!("{read}{taken}{half}"), format!("{taken}{half}{read}")] {
            assert_eq!(form("04/a.cure.txt", &text), form("04/a.cure.txt", &other));
        }
        assert_ne!(form("04/a.cure.txt", &text), form("04/a.cure.txt", &format!("{half}{taken}{read}")));
        assert!(!is_seen("04/prompt-answer.cure.txt", "median 0", "median 1"));
        assert!(!is_seen("04/every-byte.pitfall.txt", "8,388,608", "8,388,609"));
    }
}
