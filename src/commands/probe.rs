//! `tcp-pitfalls probe`: examines a server of the reader's own.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use anstream::{eprintln, println};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use tcp_pitfalls::examination::{self, FirstLine, Job};
use tcp_pitfalls::lab::process;
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::probes::{self, Finding, Probe, Terms, Verdict};
use tcp_pitfalls::show::screen::{self, BOLD, DIM, progress};

use super::{PAGE, print_json, probe_names};

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
pub(crate) struct Arguments {
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

/// Runs the probes that were asked for.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    process::end_all_on_ctrl_c();
    let terms =
        Terms { prefix: arguments.prefix.clone(), grace: Duration::from_secs(arguments.grace), ..Terms::default() };
    let chosen = |probe: &&Probe| {
        arguments.chapter.is_none_or(|chapter| probe.chapter == chapter)
            && (arguments.only.is_empty() || arguments.only.iter().any(|name| name == probe.name))
    };
    let probes: Vec<&'static Probe> = probes::all().filter(chosen).collect();
    if probes.is_empty() {
        bail!("no probe is both named by --only and of the chapter given by --chapter");
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

fn target(arguments: &Arguments) -> Result<Target> {
    let Some(addr) = &arguments.addr else {
        return Target::command(&arguments.command)
            .map_err(|why| anyhow!("{why}, as in: tcp-pitfalls probe -- python3 my_server.py {{addr}}"));
    };
    let loopback = |port| vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
    // Also what servers print: a port, or an address that stands for every interface.
    let addrs: Vec<SocketAddr> = match addr.strip_prefix(':').unwrap_or(addr).parse() {
        Ok(port) => loopback(port),
        Err(_) => addr.to_socket_addrs().map(Iterator::collect).map_err(|error| {
            anyhow!("\"{addr}\" is not an address to connect to: {error}. Write HOST:PORT, as in 127.0.0.1:8080")
        })?,
    };
    let addrs = match addrs[..] {
        [only] if only.ip().is_unspecified() => loopback(only.port()),
        _ => addrs,
    };
    // A name may stand for several, of which the server need not listen on the first.
    let listens = |addr: &&SocketAddr| TcpStream::connect_timeout(addr, Duration::from_secs(2)).is_ok();
    let found = if addrs.len() > 1 { addrs.iter().find(listens) } else { None };
    let resolved = *found.or(addrs.first()).with_context(|| format!("\"{addr}\" stands for no address"))?;
    if !resolved.ip().is_loopback() && !arguments.remote {
        bail!(
            "{resolved} is not a loopback address. The probes send hostile traffic; use them only on servers you own. To do \
             so here, add --remote"
        );
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
