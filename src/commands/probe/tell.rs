//! What a person sees of an examination: each verdict when there is one, what runs meanwhile, and the sum.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use tcp_pitfalls::examination::{Done, Progress};
use tcp_pitfalls::lab::recording::Recording;
use tcp_pitfalls::lab::{load, lock};
use tcp_pitfalls::probes::{Finding, Probe, Verdict};
use tcp_pitfalls::show::screen::{self, BOLD, DIM, eprint, eprintln, print, println};
use tcp_pitfalls::show::{evidence, timeline};

use super::arguments::Arguments;
use super::report::{Examined, Probed};
use crate::commands::{PAGE, plural};

/// Where the text of a verdict begins: behind its sign and its word.
const INDENT: usize = 11;

/// How wide the column of the probes' names is. Evidence of those that are longer stands below.
const NAME: usize = 19;

/// Where the evidence begins that stands on the line of its probe.
const EVIDENCE: usize = INDENT + NAME + 2;

/// The probes whose verdict isn't told yet.
static UNTOLD: Mutex<Vec<&str>> = Mutex::new(Vec::new());

/// Takes notice of the probes that will be told of.
pub(super) fn promise(probes: &[&'static Probe]) {
    *lock(&UNTOLD) = probes.iter().map(|probe| probe.name).collect();
}

/// Says what isn't told when the examination is ended by a signal.
pub(super) fn last_words() {
    let names = lock(&UNTOLD);
    if !names.is_empty() {
        eprintln!("\n{BOLD}note:{BOLD:#} ended before the verdict of {}", names.join(", "));
    }
}

/// What was seen before any verdict, in sentences.
pub(super) fn learned(says: Vec<String>, silence: Option<String>, otherwise: Option<&str>) -> Vec<String> {
    let another = |sample| {
        format!(
            "it speaks another protocol: {sample}. The probes that ask something are skipped. Say what it speaks with \
             --ask 'REQUEST', or with --speaks"
        )
    };
    says.into_iter().chain(silence).chain(otherwise.map(another)).collect()
}

/// Tells what is going on.
pub(super) struct Teller {
    json: bool,
    verbose: bool,
    /// Whether verdicts are printed in the order of the probes, since they are kept rather than watched.
    ordered: bool,
    bar: ProgressBar,
    state: Mutex<State>,
}

/// How far it is.
#[derive(Default)]
struct State {
    probes: Vec<&'static Probe>,
    running: Vec<&'static str>,
    /// What is to be printed of each probe, once it is done.
    texts: Vec<Option<String>>,
    /// How many of them were printed, where the order is kept.
    printed: usize,
    timelines: Vec<(&'static str, Recording)>,
}

impl Teller {
    /// Prints what is examined, and what was learned.
    pub(super) fn new(arguments: &Arguments, probes: &[&Probe], learned: &[String]) -> Self {
        let Arguments { json, verbose, .. } = *arguments;
        let learned = match learned {
            [] => String::new(),
            learned => screen::paragraph(&format!("{BOLD}learned:{BOLD:#} {}.", learned.join("; ")), 0),
        };
        if json {
            eprint!("{learned}");
        } else {
            println!("{BOLD}{}{BOLD:#}: {} probe{}", arguments.name(), probes.len(), plural(probes.len()));
            println!("{learned}");
        }
        let ordered = !io::stdout().is_terminal();
        Teller { json, verbose, ordered, bar: ProgressBar::hidden(), state: Mutex::default() }
    }

    /// Begins with these probes.
    pub(super) fn begin(&mut self, probes: impl Iterator<Item = &'static Probe>) {
        let probes: Vec<&'static Probe> = probes.collect();
        self.bar = screen::progress(probes.len(), "");
        // The names that are too many for the line are cut.
        if let Ok(style) = ProgressStyle::with_template("{pos} of {len} ({elapsed}) {wide_msg}") {
            self.bar.set_style(style);
        }
        let texts = probes.iter().map(|_| None).collect();
        self.state = Mutex::new(State { probes, texts, ..State::default() });
    }

    /// Takes notice of a probe that begins or ends.
    pub(super) fn see(&self, index: usize, progress: &Progress<'_>) {
        let mut state = lock(&self.state);
        let probe = state.probes[index];
        match progress {
            Progress::Begins => state.running.push(probe.name),
            Progress::Ends(done) => {
                state.running.retain(|name| *name != probe.name);
                self.bar.inc(1);
                self.keep(&mut state, index, probe, done);
            }
        }
        self.bar.set_message(state.running.join(", "));
    }

    fn keep(&self, state: &mut State, index: usize, probe: &'static Probe, done: &Done) {
        if self.json {
            if self.verbose {
                state.timelines.push((probe.name, done.recording.clone()));
            }
            return;
        }
        // What was skipped is told at the end, each reason once.
        state.texts[index] = Some(verdict(probe, &done.finding) + &self.timeline(&done.recording));
        let mut next = if self.ordered { state.printed } else { index };
        while let Some(text) = state.texts.get_mut(next).and_then(Option::take) {
            self.bar.suspend(|| print!("{text}"));
            let told = state.probes[next].name;
            lock(&UNTOLD).retain(|name| *name != told);
            next += 1;
        }
        state.printed = next;
    }

    fn timeline(&self, recording: &Recording) -> String {
        if self.verbose && !recording.events.is_empty() {
            format!("\n{}\n", timeline::draw(recording, screen::width()))
        } else {
            String::new()
        }
    }

    /// Prints what is left to say when all probes are done.
    pub(super) fn end(self, examined: &Examined, arguments: &Arguments, status: u8) {
        self.bar.finish_and_clear();
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if self.json {
            examined.print_json(&state.timelines, arguments, status);
        } else {
            print!("{}", skipped(&examined.judged));
            sum_up(examined);
        }
        let mended = |judged: &&Probed| judged.is_expected(arguments) && judged.finding.verdict != Verdict::Falls;
        for Probed { probe, finding, .. } in examined.judged.iter().filter(mended) {
            let word = finding.verdict.word();
            eprintln!("{BOLD}note:{BOLD:#} {} was expected to fall, and {word} now", probe.name);
        }
        for name in arguments.missing(&examined.judged) {
            eprintln!("{BOLD}note:{BOLD:#} {name} is required, and was not judged");
        }
    }
}

/// One verdict, and what to do about it. Nothing of a probe that was skipped: those are told together.
fn verdict(probe: &Probe, Finding { verdict, evidence }: &Finding) -> String {
    let style = screen::verdict(*verdict);
    let (sign, word, name) = (screen::sign(*verdict), verdict.word(), probe.name);
    match verdict {
        Verdict::Skipped => String::new(),
        Verdict::Holds | Verdict::Note => {
            let mut lines = evidence::lines(evidence, screen::width() - EVIDENCE);
            if name.len() > NAME {
                lines.insert(0, String::new());
            }
            let text = lines.join(&format!("\n{:EVIDENCE$}", ""));
            format!("{style}{sign} {word:7}{style:#}  {name:NAME$}  {text}\n")
        }
        Verdict::Falls | Verdict::Differs => {
            let mut text = format!("{style}{sign} {word:7}{style:#}  {name}\n");
            let lines = evidence::lines(evidence, screen::width() - INDENT);
            text.extend(lines.into_iter().map(|line| format!("{:INDENT$}{line}\n", "")));
            if *verdict == Verdict::Falls {
                text.extend(probe.remedy.map(|remedy| screen::paragraph(&format!("To mend it: {remedy}."), INDENT)));
                text += &screen::paragraph(&refutation(probe), INDENT);
            }
            text
        }
    }
}

/// How to disagree.
fn refutation(probe: &Probe) -> String {
    let (name, source) = (probe.name, probe.source());
    format!(
        "{DIM}Untrue? A client that does the same and sees no such thing refutes it. What was done: --only {name} \
         --verbose. Its source: {source}{DIM:#}"
    )
}

/// The probes that were skipped, each reason once.
fn skipped(judged: &[Probed]) -> String {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Probed { probe, finding, .. } in judged {
        if finding.verdict == Verdict::Skipped {
            reasons.entry(&finding.evidence.sentence).or_default().push(probe.name);
        }
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    let style = screen::verdict(Verdict::Skipped);
    let sign = screen::sign(Verdict::Skipped);
    let mut text = String::new();
    for (why, names) in reasons {
        let sentence = format!("{} probe{}, because {why}: {}", names.len(), plural(names.len()), names.join(", "));
        let head = format!("{style}{sign} {:7}{style:#}  ", Verdict::Skipped.word());
        text += &screen::beside(&head, INDENT, &sentence, screen::width());
    }
    text
}

fn sum_up(Examined { judged, took, .. }: &Examined) {
    let count = |verdict| judged.iter().filter(|one| one.finding.verdict == verdict).count();
    let others = [(Verdict::Differs, "differed"), (Verdict::Note, "noted")];
    let others = others.map(|(verdict, word)| match count(verdict) {
        0 => String::new(),
        count => format!("{count} {word}, "),
    });
    let (held, fell, skipped) = (count(Verdict::Holds), count(Verdict::Falls), count(Verdict::Skipped));
    println!("\n{held} held, {fell} fell, {}{skipped} skipped ({:.0} s).", others.concat(), took.as_secs_f32());
    if held > 0 && skipped * 2 > judged.len() {
        println!("More than half was skipped, so little is known: see the reasons above.");
    }
    if let Some(load) = load::overload().filter(|_| fell + skipped > 0) {
        eprintln!(
            "{BOLD}note:{BOLD:#} this machine was busy ({load}). What is late may be its doing. Run again what fell or was \
             skipped, with --only, when it isn't."
        );
    }
    if fell > 0 {
        println!("{DIM}More on each in the book: \"{PAGE}\". By what you see: \"What do you see?\".{DIM:#}");
    }
}
