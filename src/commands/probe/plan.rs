//! `--dry-run`: what would be done to the server.

use std::time::Duration;

use tcp_pitfalls::dialogue::{Dialogue, Exchange};
use tcp_pitfalls::examination::WHOLE;
use tcp_pitfalls::lab::recording::escape;
use tcp_pitfalls::probes::{Probe, Terms};
use tcp_pitfalls::show::screen::{self, BOLD, print, println};

use super::AT_ONCE;
use super::arguments::Arguments;
use crate::commands::plural;

/// Says what would be sent, how often the server would be started, and how long that may take. Does none of it.
pub(super) fn tell(arguments: &Arguments, probes: &[&Probe], dialogue: Dialogue, answer_is_known: bool) {
    let by_address = arguments.addr.is_some();
    let (apply, not): (Vec<&Probe>, Vec<&Probe>) =
        probes.iter().partition(|probe| !(by_address && probe.in_need_of_a_command()));
    let name = arguments.name();
    println!("{BOLD}{name}{BOLD:#}: nothing is started, and nothing sent. This would be:\n");
    let said = said(&dialogue, answer_is_known);
    let terms = arguments.terms(dialogue);
    for (what, text) in
        [("asked", said), ("started", started(&apply, by_address)), ("taken", taken(&apply, &terms, by_address))]
    {
        print!("{}", screen::hanging(what, 9, &text));
    }
    println!();
    for probe in &apply {
        print!("{}", screen::hanging(probe.name, 21, probe.does));
    }
    if !not.is_empty() {
        let names: Vec<&str> = not.iter().map(|probe| probe.name).collect();
        println!();
        print!("{}", screen::hanging("skipped", 9, &format!("for want of a command: {}", names.join(", "))));
    }
}

/// The dialogue in words.
fn said(dialogue: &Dialogue, answer_is_known: bool) -> String {
    let quoted = |exchange: &Exchange| {
        let request = exchange.fill(b"1");
        (escape(&request.bytes), escape(&request.expected()))
    };
    let (request, answer) = quoted(&dialogue.exchange);
    let answer = if answer_is_known { format!("answered \"{answer}\"") } else { "whose answer is learned".into() };
    let mut said = Vec::new();
    if let Some(greeting) = &dialogue.greeting {
        said.push(format!("the greeting \"{greeting}\" is waited for"));
    }
    for (request, answer) in dialogue.setup.iter().map(quoted) {
        said.push(format!("\"{request}\" first on each connection, answered \"{answer}\""));
    }
    said.push(match &dialogue.lines {
        Some(_) if !dialogue.claimed => "lines, once it is found out how they are echoed".into(),
        _ => format!("\"{request}\", {answer}"),
    });
    if let Some((request, _)) = dialogue.slow.as_ref().map(quoted) {
        said.push(format!("\"{request}\", which takes a while"));
    }
    said.join("; ")
}

fn started(probes: &[&Probe], by_address: bool) -> String {
    if by_address {
        return "nothing: it is running already. All that is sent is sent to it".into();
    }
    format!(
        "up to four times to find out what it speaks, and then by each of the {} probe{}, by some up to three \
         times. Each server gets a port of its own, and is ended with all that it has started",
        probes.len(),
        plural(probes.len())
    )
}

fn taken(probes: &[&Probe], terms: &Terms, by_address: bool) -> String {
    let each = WHOLE + terms.grace + terms.deadline.unwrap_or_default();
    let alone = probes.iter().filter(|probe| by_address || probe.runs_alone).count();
    let together = (probes.len() - alone).div_ceil(AT_ONCE);
    let most = each * u32::try_from(alone + together).unwrap_or(u32::MAX);
    format!(
        "seldom more than {} in all, if it answers. A probe is ended after {} s, all together after {}",
        minutes(Duration::from_secs(2 * probes.len() as u64)),
        each.as_secs(),
        minutes(most)
    )
}

/// Rounded up.
fn minutes(time: Duration) -> String {
    match time.as_secs().div_ceil(60) {
        0 | 1 => "a minute".into(),
        minutes => format!("{minutes} minutes"),
    }
}
