//! `cargo run`: the staircase, and probes for servers of your own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use anstream::{eprintln, print, println};
use anyhow::{Context, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use indicatif::ProgressBar;
use serde::Serialize;
use tcp_pitfalls::check::{self, CheckArguments, ResetArguments};
use tcp_pitfalls::demo::report;
use tcp_pitfalls::examination::{self, FirstLine, Job};
use tcp_pitfalls::go::GoServers;
use tcp_pitfalls::lab::process;
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::probes::{self, Finding, Probe, Terms, Verdict};
use tcp_pitfalls::show::screen::{self, BAD, BOLD, COMMAND, DIM, GOOD, progress};
use tcp_pitfalls::staircase::{self, STEPS, Staircase};
use tcp_pitfalls::steps::Step;

/// How TCP servers really break: six steps, each pitfall sprung and disarmed
///
/// Without a command, it examines the servers of all six steps with every probe and prints the staircase. Status 0 if
/// it is as the course says.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// Print the staircase as JSON, evidence included
    #[arg(long)]
    json: bool,
    /// Examine the Go servers of the chapters instead; needs `go`
    #[arg(long)]
    go: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Examine a server of your own, in any language
    Probe(ProbeArguments),
    /// List the probes
    List,
    /// Say what a probe does, and how to mend a server that falls
    Explain {
        /// The probe
        #[arg(value_parser = probe_names())]
        name: String,
    },
    Check(CheckArguments),
    Reset(ResetArguments),
    /// Measure the speed of a server of your own beside that of step 6 (Linux only)
    ///
    /// The same as `cargo duel --only 'step 6' --only yours -- COMMAND`, which has more options. The first time, it
    /// compiles the benchmark.
    Bench {
        /// End within a minute, and tell less surely
        #[arg(long)]
        quick: bool,
        /// How to start the server, with {addr} where its address belongs
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Run the server of a step
    #[command(hide = true, subcommand)]
    Step(Step),
}

/// Examine a server of your own, in any language
///
/// With an address, the probes that need no more than that are run on the server that listens there. With a command,
/// each probe starts the server itself; it has to be the server and no wrapper, since signals and limits are for the
/// started process (so `go build` first, and `exec` in a script). The server is expected to answer each line with `echo: ` and the line.
///
/// Status 0 if it falls into no pitfall, 1 if into any, 2 if it could not be started or reached, or if every probe had
/// to be skipped.
#[derive(Args)]
#[command(
    override_usage = "tcp-pitfalls probe [OPTIONS] ADDR\n       tcp-pitfalls probe [OPTIONS] -- COMMAND … {addr} …"
)]
struct ProbeArguments {
    /// Where the server listens: HOST:PORT
    #[arg(required_unless_present = "start", conflicts_with = "start")]
    addr: Option<String>,
    /// How to start the server, with {addr}, or {host} and {port}, where its address belongs
    #[arg(last = true, id = "start", value_name = "COMMAND")]
    command: Vec<String>,
    /// Run only the probes of this chapter
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=6))]
    chapter: Option<u8>,
    /// Run only this probe; may be given several times
    #[arg(long, value_name = "NAME", value_parser = probe_names())]
    only: Vec<String>,
    /// What stands before an echoed line
    #[arg(long, value_name = "TEXT", default_value = "echo: ")]
    prefix: String,
    /// How long the server may take to stop, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    grace: u64,
    /// Examine a server on another machine. It is sent hostile traffic: use this only on servers you own
    #[arg(long)]
    remote: bool,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// The page of the book that has a heading for every probe, its name. tests/probe_pages.rs sees to that.
const PAGE: &str = "Probe your own server";

fn probe_names() -> PossibleValuesParser {
    PossibleValuesParser::new(probes::all().map(|probe| probe.name))
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        None => show_staircase(arguments.go, arguments.json).unwrap_or_else(|error| report(Err(error))),
        Some(Command::Probe(arguments)) => examine(&arguments).unwrap_or_else(unable),
        Some(Command::List) => {
            list();
            ExitCode::SUCCESS
        }
        Some(Command::Explain { name }) => {
            probes::find(&name).into_iter().for_each(explain);
            ExitCode::SUCCESS
        }
        Some(Command::Check(arguments)) => check::check(&arguments).unwrap_or_else(unable),
        Some(Command::Reset(arguments)) => check::reset(&arguments).unwrap_or_else(unable),
        Some(Command::Bench { quick, command }) => report(bench(quick, &command)),
        Some(Command::Step(step)) => report(step.run()),
    }
}

/// The status of a command that could not do what it was asked to.
fn unable(why: impl std::fmt::Display) -> ExitCode {
    eprintln!("{BAD}error:{BAD:#} {why:#}");
    ExitCode::from(2)
}

fn show_staircase(go: bool, json: bool) -> anyhow::Result<ExitCode> {
    process::end_all_on_ctrl_c();
    let bar;
    let staircase = if go {
        let servers = GoServers::build()?;
        bar = progress(staircase::cells(), "examining six Go servers");
        servers.staircase(|| bar.inc(1))
    } else {
        let program = std::env::current_exe().context("cannot find this program to start the steps")?;
        bar = progress(staircase::cells(), "examining six servers");
        staircase::run(&program, || bar.inc(1))
    };
    let elapsed = bar.elapsed();
    bar.finish_and_clear();
    if json {
        print_json(&staircase);
    } else {
        draw_staircase(&staircase, go, elapsed);
    }
    Ok(if staircase.surprises.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn draw_staircase(staircase: &Staircase, go: bool, elapsed: Duration) {
    let language = if go { " in Go" } else { "" };
    println!("{BOLD}TCP Pitfalls{BOLD:#}: six servers{language}, each avoids one more pitfall than the one before\n");
    print!("{}", staircase.table());
    println!("\n{}", screen::paragraph(staircase::LEGEND, 0));
    let findings = staircase.probes.iter().flat_map(|row| &row.findings);
    let (skipped, verdicts): (Vec<_>, Vec<_>) = findings.partition(|finding| finding.verdict == Verdict::Skipped);
    if !skipped.is_empty() {
        println!("- is for a probe that was skipped:");
        print!("{}", reasons(staircase));
        println!();
    }
    if staircase.surprises.is_empty() {
        let count = verdicts.len();
        println!("{GOOD}All {count} verdicts are as the course says{GOOD:#} ({:.0} s).\n", elapsed.as_secs_f32());
    }
    for surprise in &staircase.surprises {
        eprintln!("{BAD}not as the course says:{BAD:#} {surprise}");
    }
    for (what, command) in [
        ("Begin here", "cargo run --bin 01_listen"),
        ("What a probe does", "cargo run -- explain idle-client"),
        ("A server of your own", "cargo run -- probe -- python3 my_server.py {addr}"),
    ] {
        println!("{what:22}{COMMAND}{command}{COMMAND:#}");
    }
}

/// Why probes were skipped, once for all steps that it is true of.
fn reasons(staircase: &Staircase) -> String {
    let mut reasons: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for row in &staircase.probes {
        for (step, finding) in STEPS.iter().zip(&row.findings) {
            if finding.verdict == Verdict::Skipped {
                reasons.entry((row.name, &finding.evidence)).or_default().push(step);
            }
        }
    }
    let reason = |((probe, why), steps): ((&str, &str), Vec<&str>)| {
        let on = if steps.len() == STEPS.len() { "all steps".into() } else { steps.join(", ") };
        screen::paragraph(&format!("{probe} on {on}: {why}"), 2)
    };
    reasons.into_iter().map(reason).collect()
}

fn examine(arguments: &ProbeArguments) -> Result<ExitCode, String> {
    process::end_all_on_ctrl_c();
    let terms =
        Terms { prefix: arguments.prefix.clone(), grace: Duration::from_secs(arguments.grace), ..Terms::default() };
    let chosen = |probe: &&Probe| {
        arguments.chapter.is_none_or(|chapter| probe.chapter == chapter)
            && (arguments.only.is_empty() || arguments.only.iter().any(|name| name == probe.name))
    };
    let probes: Vec<&'static Probe> = probes::all().filter(chosen).collect();
    if probes.is_empty() {
        return Err("no probe is both named by --only and of the chapter given by --chapter".into());
    }
    let target = target(arguments)?;
    let spinner = ProgressBar::new_spinner().with_message("saying hello");
    let first_line = examination::first_line(&target, &terms);
    spinner.finish_and_clear();
    let other_protocol = match first_line? {
        FirstLine::AsAgreed => None,
        FirstLine::NotAtAll(what) => {
            eprintln!("{BOLD}note:{BOLD:#} {what}");
            None
        }
        FirstLine::Otherwise(sample) => {
            eprintln!("{BOLD}note:{BOLD:#} {sample} The probes that expect an echo are skipped.");
            Some(sample)
        }
    };
    let (probes, skipped): (Vec<_>, Vec<_>) =
        probes.into_iter().partition(|probe| other_protocol.is_none() || !probe.needs_echo);

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
    let why = other_protocol.unwrap_or_default();
    let skipped = skipped.into_iter().map(|probe| (probe, Finding::skipped(&*why)));
    let mut judged: Vec<(&Probe, Finding)> = probes.into_iter().zip(findings).chain(skipped).collect();
    judged.sort_by_key(|(probe, _)| probe.chapter);

    let name = arguments.addr.clone().unwrap_or_else(|| arguments.command.join(" "));
    if arguments.json {
        print_json(&Examined::new(name, &judged));
    } else {
        print_findings(&name, &judged);
    }
    let any = |verdict| judged.iter().any(|(_, finding)| finding.verdict == verdict);
    Ok(match (any(Verdict::Falls), any(Verdict::Holds)) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::SUCCESS,
        // Nothing was found out, which must not pass for a success.
        (false, false) => ExitCode::from(2),
    })
}

/// How many probes run side by side on a server that each of them starts for itself.
const PROBES_AT_ONCE: usize = 4;

fn target(arguments: &ProbeArguments) -> Result<Target, String> {
    let Some(addr) = &arguments.addr else {
        return Target::command(&arguments.command)
            .map_err(|why| format!("{why}, as in: tcp-pitfalls probe -- python3 my_server.py {{addr}}"));
    };
    let loopback = |port| vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
    // Also what servers print: a port, or an address that stands for every interface.
    let addrs: Vec<SocketAddr> = match addr.strip_prefix(':').unwrap_or(addr).parse() {
        Ok(port) => loopback(port),
        Err(_) => addr.to_socket_addrs().map(Iterator::collect).map_err(|error| {
            format!("\"{addr}\" is not an address to connect to: {error}. Write HOST:PORT, as in 127.0.0.1:8080")
        })?,
    };
    let addrs = match addrs[..] {
        [only] if only.ip().is_unspecified() => loopback(only.port()),
        _ => addrs,
    };
    // A name may stand for several, of which the server need not listen on the first.
    let listens = |addr: &&SocketAddr| TcpStream::connect_timeout(addr, Duration::from_secs(2)).is_ok();
    let found = if addrs.len() > 1 { addrs.iter().find(listens) } else { None };
    let resolved = *found.or(addrs.first()).ok_or_else(|| format!("\"{addr}\" stands for no address"))?;
    if !resolved.ip().is_loopback() && !arguments.remote {
        return Err(format!(
            "{resolved} is not a loopback address. The probes send hostile traffic; use them only on servers you own. To do \
             so here, add --remote"
        ));
    }
    Ok(Target::Address(resolved))
}

fn print_findings(name: &str, judged: &[(&Probe, Finding)]) {
    let count = judged.len();
    println!("{BOLD}{name}{BOLD:#}: {count} probe{}\n", if count == 1 { "" } else { "s" });
    for (probe, Finding { verdict, evidence }) in judged {
        let style = screen::verdict(*verdict);
        let head = format!("{} {style}{:7}{style:#}  {:20}", probe.chapter, verdict.word(), probe.name);
        print_hanging(&head, evidence);
        if *verdict == Verdict::Falls {
            print_hanging(&format!("{:31}", ""), &format!("To mend it: {}.", probe.remedy));
        }
    }
    let count = |verdict| judged.iter().filter(|(_, finding)| finding.verdict == verdict).count();
    let fell = count(Verdict::Falls);
    println!("\n{} held, {fell} fell, {} skipped.", count(Verdict::Holds), count(Verdict::Skipped));
    if fell > 0 {
        println!("{DIM}More on each in the book: \"{PAGE}\".{DIM:#}");
    }
}

/// Prints text beside a head of 31 columns.
fn print_hanging(head: &str, text: &str) {
    for (index, line) in screen::wrap(text, screen::width() - 31).iter().enumerate() {
        if index == 0 { println!("{head}{line}") } else { println!("{:31}{line}", "") }
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
    remedy: &'a str,
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

fn print_json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("{BAD}error:{BAD:#} cannot write the result as JSON: {error}"),
    }
}

/// The benchmark is a program of its own, for it needs other crates than the course does.
fn bench(quick: bool, command: &[String]) -> anyhow::Result<()> {
    let mut duel = std::process::Command::new("cargo");
    duel.args(["run", "--release", "--quiet", "--package=duel", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .args(["--", "--only=step 6", "--only=yours"])
        .args(quick.then_some("--quick"))
        .arg("--")
        .args(command);
    let status = duel.status().context("cannot run `cargo`, which builds and starts the benchmark")?;
    ensure!(status.success(), "the benchmark ended with {status}");
    Ok(())
}

fn list() {
    let mut chapter = 0;
    for probe in probes::all() {
        if probe.chapter != chapter {
            chapter = probe.chapter;
            println!("{BOLD}{}{BOLD:#}", STEPS[usize::from(chapter) - 1]);
        }
        for (index, line) in screen::wrap(probe.does, screen::width() - 23).iter().enumerate() {
            println!("  {:19}  {line}", if index == 0 { probe.name } else { "" });
        }
    }
}

fn explain(probe: &Probe) {
    let Probe { name, chapter, does, remedy, .. } = probe;
    let step = STEPS[usize::from(*chapter) - 1];
    println!("{BOLD}{name}{BOLD:#} (chapter {chapter})\n");
    print!("{}", screen::paragraph(&format!("{does}."), 2));
    print!("{}", screen::paragraph(&format!("To mend a server that falls: {remedy}."), 2));
    print!("{}", screen::paragraph(&format!("It needs {}.", probe.needs.in_words()), 2));
    println!("\n  {DIM}Its chapter:{DIM:#} {COMMAND}cargo run --bin {step}{COMMAND:#}");
    println!("  {DIM}In the book:{DIM:#} \"{PAGE}\", {name}");
}
