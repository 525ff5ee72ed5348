//! `tcp-pitfalls probe`: examines a server of the reader's own.

mod arguments;
mod plan;
mod report;
mod tell;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tcp_pitfalls::dialogue::{self, Learned};
use tcp_pitfalls::examination::{self, Job, OF_SILENCE};
use tcp_pitfalls::lab::process;
use tcp_pitfalls::lab::recording::Recorder;
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::probes::{self, Finding, Probe, Terms, Verdict};
use tcp_pitfalls::show::screen::{self, BOLD, eprintln, failure};

pub(crate) use self::arguments::{Arguments, expanded};
use self::report::{Examined, Probed};
use self::tell::Teller;

/// How many probes run side by side on a server that each of them starts for itself.
const AT_ONCE: usize = 4;

/// Runs the probes that were asked for. If nothing can be judged, whoever reads a result finds that there as well.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    process::end_all_on_ctrl_c(tell::last_words);
    let examined = examine(arguments);
    if let (Err(why), false) = (&examined, arguments.dry_run) {
        report::unjudged(arguments, why);
    }
    examined
}

fn examine(arguments: &Arguments) -> Result<ExitCode> {
    let began = Instant::now();
    let probes = chosen(arguments)?;
    let (claim, answer_is_known) = arguments.dialogue()?;
    if arguments.dry_run {
        plan::tell(arguments, &probes, claim, answer_is_known);
        return Ok(ExitCode::SUCCESS);
    }
    let target = arguments.target()?;
    if let Some(file) = &arguments.junit {
        report::begin(arguments, file)?;
    }
    tell::promise(&probes);
    let spinner = screen::spinner("finding out what it speaks");
    let learned = dialogue::learn(&target, claim, answer_is_known);
    spinner.finish_and_clear();
    let Learned { dialogue, says, silence, otherwise, status: answered } = learned?;
    arguments.expect_no_error(answered)?;
    let is_silent = silence.is_some();
    let learned = tell::learned(says, silence, otherwise.as_deref());
    let terms = arguments.terms(dialogue);

    let mut teller = Teller::new(arguments, &probes, &learned);
    let hopeless = match otherwise {
        Some(sample) => Some(format!("it speaks another protocol: {sample}")),
        None if is_silent => unserved(&target, &terms),
        None => None,
    }
    .map(Finding::skipped);
    // All but those of chapter 1 ask something.
    let is_hopeless =
        |probe: &Probe| hopeless.is_some() && probe.chapter > 1 && !(is_silent && OF_SILENCE.contains(&probe.name));
    let apply = probes.iter().copied().filter(|probe| !is_hopeless(probe));
    let jobs: Vec<Job<'_>> = apply.clone().map(|probe| Job { probe, target: &target, terms: &terms }).collect();
    teller.begin(apply);
    let done = examination::run_watched(&jobs, AT_ONCE, |index, progress| teller.see(index, &progress));
    let mut done = done.into_iter();
    let judged: Vec<Probed> = probes
        .iter()
        .filter_map(|&probe| {
            let (finding, took) = match &hopeless {
                Some(finding) if is_hopeless(probe) => (finding.clone(), Duration::ZERO),
                _ => done.next()?,
            };
            Some(Probed { probe, finding, took })
        })
        .collect();
    let status = match status(&judged, arguments) {
        // Who forgot to say what it speaks must not believe that it was examined.
        0 if probes.iter().any(|probe| is_hopeless(probe)) => 2,
        status => status,
    };
    let examined = Examined { target: arguments.name(), learned, judged, took: began.elapsed() };
    let written = arguments.junit.as_ref().map_or(Ok(()), |file| examined.write_junit(file, arguments));
    let status = if written.is_err() { 2 } else { status };
    teller.end(&examined, arguments, status);
    for left in process::left_behind() {
        eprintln!("{BOLD}note:{BOLD:#} {left} was started and can't be ended from here. End it by hand.");
    }
    // What was found out has been told, and isn't lost if it can't be written down.
    Ok(written.map_or_else(|error| failure(&error, status), |()| ExitCode::from(status)))
}

/// Why nothing but that can be told of a server that hasn't answered. One that is only slow is examined like any other.
fn unserved(target: &Target, terms: &Terms) -> Option<String> {
    let finding = probes::find(OF_SILENCE[0])?.run(target, terms, &Recorder::new());
    let is_unserved = matches!(finding.verdict, Verdict::Falls | Verdict::Skipped) && !finding.evidence.own_lack;
    is_unserved.then(|| format!("it answers nobody ({}): see {}", finding.evidence, OF_SILENCE.join(" and ")))
}

fn chosen(arguments: &Arguments) -> Result<Vec<&'static Probe>> {
    let chosen = |probe: &&Probe| {
        (arguments.chapter.is_empty() || arguments.chapter.contains(&probe.chapter))
            && (arguments.only.is_empty() || arguments.only.iter().any(|name| name == probe.name))
    };
    let probes: Vec<&'static Probe> = probes::all().filter(chosen).collect();
    if probes.is_empty() {
        let only = probes::all().filter(|probe| arguments.only.iter().any(|name| name == probe.name));
        let only: Vec<String> = only.map(|probe| format!("{} is of chapter {}", probe.name, probe.chapter)).collect();
        bail!("no probe is both named by --only and of the chapter given by --chapter: {}", only.join(", "));
    }
    Ok(probes)
}

/// 1 if the server falls where that was not expected. 2 if nothing was found out, or not all that was required, or not all
/// because the prober lacks something: none of them must pass for a success.
fn status(judged: &[Probed], arguments: &Arguments) -> u8 {
    let any = |is: fn(Verdict) -> bool| judged.iter().any(|one| is(one.finding.verdict));
    if judged.iter().any(|one| one.finding.verdict == Verdict::Falls && !one.is_expected(arguments)) {
        1
    } else if judged.iter().any(|one| one.finding.evidence.own_lack) || arguments.missing(judged).next().is_some() {
        2
    } else if any(|verdict| !matches!(verdict, Verdict::Note | Verdict::Skipped)) {
        0
    } else {
        2
    }
}
