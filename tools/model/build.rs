//! Makes the broken copies of the chapter's file, so that none is kept and none falls behind it.

use std::path::Path;
use std::{env, fs};

/// Each mistake: its name, and what it puts in place of what.
const MISTAKES: &[(&str, &[(&str, &str)])] = &[
    (
        "leaving_tells_nobody",
        &[(
            "members.finished += usize::from(self.connections.stopping.load(SeqCst));\n        self.connections.changed.notify_all();",
            "members.finished += usize::from(self.connections.stopping.load(SeqCst));",
        )],
    ),
    ("stop_tells_nobody", &[("self.changed.notify_all();\n        first", "first")]),
    (
        "stop_tells_before_it_locks",
        &[
            (
                "let first = !self.stopping.swap(true, SeqCst);",
                "let first = !self.stopping.swap(true, SeqCst);\n        self.changed.notify_all();",
            ),
            ("self.changed.notify_all();\n        first", "first"),
        ],
    ),
    (
        "flag_is_read_outside_the_lock",
        &[(
            "let full = |members: &mut Members| members.open.len() >= self.limit && !self.stopping.load(SeqCst);",
            "let stopping = self.stopping.load(SeqCst);\n        let full = |members: &mut Members| members.open.len() >= self.limit && !stopping;",
        )],
    ),
    (
        "rest_looks_before_it_says_so",
        &[(
            "self.connection.idle.store(true, SeqCst);\n        if self.entry.connections.stopping.load(SeqCst) {",
            "let stopping = self.entry.connections.stopping.load(SeqCst);\n        self.connection.idle.store(true, SeqCst);\n        if stopping {",
        )],
    ),
    (
        "rest_does_not_look",
        &[("if self.entry.connections.stopping.load(SeqCst) {\n            self", "if false {\n            self")],
    ),
    (
        "stop_cuts_lines_that_have_arrived",
        &[("self.idle.load(SeqCst) && !bytes_wait(&self.stream)", "self.idle.load(SeqCst)")],
    ),
    (
        "left_and_counted_under_two_locks",
        &[(
            "drop(members.open.remove(&self.id));",
            "drop(members.open.remove(&self.id));\n        drop(members);\n        let mut members = self.connections.lock();",
        )],
    ),
    (
        "finished_and_cut_under_two_locks",
        &[
            (
                "pub fn cut(&self) -> (usize, usize) {",
                "pub fn cut(&self) -> (usize, usize) {\n        let finished = self.lock().finished;",
            ),
            ("(members.finished, members.open.len())", "(finished, members.open.len())"),
        ],
    ),
    (
        "every_stop_is_the_first",
        &[(
            "let first = !self.stopping.swap(true, SeqCst);",
            "let first = !self.stopping.load(SeqCst);\n        self.stopping.store(true, SeqCst);",
        )],
    ),
];

fn main() {
    let chapter = Path::new("../../chapters/06_graceful_shutdown");
    let read = |name: &str| {
        let path = chapter.join(name);
        println!("cargo::rerun-if-changed={}", path.display());
        // Windows may check files out with its own line ends.
        fs::read_to_string(&path).expect("the chapter is there").replace("\r\n", "\n")
    };
    let write =
        |name: &str, text: &str| fs::write(Path::new(&env::var_os("OUT_DIR").unwrap()).join(name), text).unwrap();

    let connections = read("connections.rs");
    // An included file can't have a heading of its own.
    let connections: String = connections.split_inclusive('\n').filter(|line| !line.starts_with("//!")).collect();
    let mut broken = String::new();
    for (name, replacements) in MISTAKES {
        let mut text = connections.clone();
        for (from, to) in *replacements {
            assert_eq!(text.matches(from).count(), 1, "{name}: connections.rs no longer holds once: {from}");
            text = text.replace(from, to);
        }
        broken += &format!("#[allow(dead_code)]\npub mod {name} {{\n{text}}}\n");
    }
    write("broken.rs", &broken);

    let pitfall = read("pitfall.rs");
    let start = pitfall.find("/// A wait group as in Go").expect("pitfall.rs ends with its wait group");
    write("count.rs", &pitfall[start..]);
}
