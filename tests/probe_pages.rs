//! `explain` names the page of the book that has a heading for every probe. `cargo book check` sees to the headings.

use std::process::Command;

use tcp_pitfalls::probes;

const PAGE: &str = include_str!("../book/src/probe_your_own_server.md");

fn names() -> Vec<&'static str> {
    probes::all().map(|probe| probe.name).collect()
}

#[test]
fn explain_says_where_that_is() {
    let title = PAGE.lines().next().and_then(|line| line.strip_prefix("# ")).expect("the page begins with its title");
    for name in names() {
        let explain = Command::new(env!("CARGO_BIN_EXE_tcp-pitfalls")).args(["explain", name]).output().unwrap();
        let explanation = String::from_utf8_lossy(&explain.stdout);
        let place = format!("In the book: \"{title}\", {name}\n");
        assert!(explanation.ends_with(&place), "no {place:?} at the end of {explanation:?}");
    }
}
