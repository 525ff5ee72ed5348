//! `tcp-pitfalls probe`: examines a server of the reader's own.

mod arguments;

use std::process::ExitCode;

use anstream::{eprintln, println};
use anyhow::{Result, bail};
use indicatif::ProgressBar;
use serde::Serialize;
use tcp_pitfalls::dialogue::{self, Learned};
use tcp_pitfalls::examination::{self, Job};
use tcp_pitfalls::lab::process;
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::probes::{self, Finding, Probe, Verdict};
use tcp_pitfalls::show::evidence;
use tcp_pitfalls::show::screen::{self, BOLD, DIM, progress};

pub(crate) use self::arguments::{Arguments, expanded};
use super::{PAGE, print_json};

/// Runs the probes that were asked for.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    process::end_all_on_ctrl_c();
    let chosen = |probe: &&Probe| {
        arguments.chapter.is_none_or(|chapter| probe.chapter == chapter)
            && (arguments.only.is_empty() || arguments.only.iter().any(|name| name == probe.name))
    };
    let probes: Vec<&'static Probe> = probes::all().filter(chosen).collect();
    if probes.is_empty() {
        bail!("no probe is both named by --only and of the chapter given by --chapter");
    }
    let (claim, answer_is_known) = arguments.dialogue()?;
    let target = arguments.target()?;
    let spinner = ProgressBar::new_spinner().with_message("finding out what it speaks");
    let learned = dialogue::learn(&target, claim, answer_is_known);
    spinner.finish_and_clear();
    let Learned { dialogue, says, silence, otherwise } = learned?;
    if !says.is_empty() {
        eprintln!("{BOLD}learned:{BOLD:#} {}.", says.join("; "));
    }
    if let Some(silence) = silence {
        eprintln!("{BOLD}note:{BOLD:#} {silence}");
    }
    if let Some(sample) = &otherwise {
        eprintln!(
            "{BOLD}note:{BOLD:#} it speaks another protocol: {sample}. The probes that ask something are skipped."
        );
        eprintln!("Say what it speaks with --ask 'REQUEST', or with --speaks.");
    }
    let terms = arguments.terms(dialogue);
    let (probes, skipped): (Vec<_>, Vec<_>) =
        probes.into_iter().partition(|probe| otherwise.is_none() || !probe.needs_echo);

    let bar = progress(probes.len(), "probing");
    let findings = match target {
        Target::Address(addr) => examination::run_in_turn(addr, &probes, &terms, || bar.inc(1)),
        _ => {
            let jobs: Vec<Job<'_>> =
                probes.iter().map(|&probe| Job { probe, target: &target, terms: &terms }).collect();
            examination::run(&jobs, PROBES_AT_ONCE, || bar.inc(1))
        }
    };
    bar.finish_and_clear();
    for left in process::left_behind() {
        eprintln!("{BOLD}note:{BOLD:#} {left} was started and can't be ended from here. End it by hand.");
    }
    let why = format!("it speaks another protocol: {}", otherwise.unwrap_or_default());
    let skipped = skipped.into_iter().map(|probe| (probe, Finding::skipped(&*why)));
    let mut judged: Vec<(&Probe, Finding)> = probes.into_iter().zip(findings).chain(skipped).collect();
    judged.sort_by_key(|(probe, _)| probe.chapter);

    if arguments.json {
        print_json(&Examined::new(arguments.name(), &judged));
    } else {
        print_findings(&arguments.name(), &judged);
    }
    let any = |verdict| judged.iter().any(|(_, finding)| finding.verdict == verdict);
    Ok(match (any(Verdict::Falls), any(Verdict::Holds) || any(Verdict::Differs)) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::SUCCESS,
        // No verdict at all must not count as success.
        (false, false) => ExitCode::from(2),
    })
}

/// How many probes run side by side on a server that each of them starts for itself.
const PROBES_AT_ONCE: usize = 4;

fn print_findings(name: &str, judged: &[(&Probe, Finding)]) {
    let count = judged.len();
    println!("{BOLD}{name}{BOLD:#}: {count} probe{}\n", if count == 1 { "" } else { "s" });
    for (probe, Finding { verdict, evidence }) in judged {
        let style = screen::verdict(*verdict);
        let head = format!("{} {style}{:7}{style:#}  {:20}", probe.chapter, verdict.word(), probe.name);
        print_hanging(&head, &evidence::lines(evidence, screen::width() - HEAD));
        if let (Verdict::Falls, Some(remedy)) = (verdict, probe.remedy) {
            print_hanging("", &screen::wrap(&format!("To mend it: {remedy}."), screen::width() - HEAD));
        }
    }
    let count = |verdict| judged.iter().filter(|(_, finding)| finding.verdict == verdict).count();
    let counted = |verdict, what: &str| match count(verdict) {
        0 => String::new(),
        count => format!("{count} {what}, "),
    };
    let fell = count(Verdict::Falls);
    let others = counted(Verdict::Differs, "differed") + &counted(Verdict::Note, "noted");
    println!("\n{} held, {fell} fell, {others}{} skipped.", count(Verdict::Holds), count(Verdict::Skipped));
    if fell > 0 {
        println!("{DIM}More on each in the book: \"{PAGE}\".{DIM:#}");
    }
}

/// How many columns stand before the evidence.
const HEAD: usize = 31;

/// Prints lines beside what stands before the first of them.
fn print_hanging(head: &str, lines: &[String]) {
    for (index, line) in lines.iter().enumerate() {
        if index == 0 && !head.is_empty() { println!("{head}{line}") } else { println!("{:HEAD$}{line}", "") }
    }
}

/// The findings as JSON.
#[derive(Serialize)]
struct Examined<'a> {
    target: String,
    probes: Vec<Report<'a>>,
}

#[derive(Serialize)]
struct Report<'a> {
    name: &'a str,
    chapter: u8,
    #[serde(flatten)]
    finding: &'a Finding,
    remedy: Option<&'a str>,
}

impl<'a> Examined<'a> {
    fn new(target: String, judged: &'a [(&Probe, Finding)]) -> Self {
        let probes = judged
            .iter()
            .map(|(probe, finding)| Report { name: probe.name, chapter: probe.chapter, finding, remedy: probe.remedy })
            .collect();
        Examined { target, probes }
    }
}
