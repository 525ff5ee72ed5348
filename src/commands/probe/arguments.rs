//! What `probe` is told, and what follows from it.

use std::ffi::OsString;
use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use tcp_pitfalls::dialogue::{Answer, Dialogue, Exchange, Lines, Template};
use tcp_pitfalls::lab::server::{Launch, Target};
use tcp_pitfalls::lab::signal::Signal;
use tcp_pitfalls::probes::{Terms, Verdict};

use super::report::Probed;
use crate::commands::probe_name;

/// Examine a server of your own, in any language and any protocol of requests and answers
///
/// With an address, the probes that need no more than that are run on the server that listens there. With a command,
/// each probe starts the server itself; it has to be the server and no wrapper, since signals and limits are for the
/// started process (so `go build` first, and `exec` in a script). What a shell can do stays with the shell:
///
/// env PORT={port} node server.js
/// {n}sh -c 'sed s/PORT/{port}/ nginx.conf.in > /tmp/n.conf; exec nginx -c /tmp/n.conf'
///
/// The server is expected to echo lines. Another protocol is told by a request, and by its answer unless that is always
/// the same: --ask 'PING\r\n'. There, \r, \n, \t, \0 and \xHH stand for bytes, {len2} for the length in two bytes of all
/// that follows ({len1} and {len4} as well), n in braces for a number that differs in each request, and in an answer *
/// for anything up to what follows it. What you say is a claim, and what differs from it falls. What you don't say is found
/// out by a polite client, and said. There is no TLS: examine what stands behind its end.
///
/// @FILE stands for the arguments in that file, written as for a shell: a line of your own CI.
///
/// Status 0 if it falls into no pitfall, or just into those of --expect-falls, 1 if into any other, 2 if it could not be
/// started or reached, if it isn't as you say, if nothing that applies was judged, or if a probe was skipped that --require
/// names, or because this machine is short of something.
#[derive(Args)]
#[command(
    override_usage = "tcp-pitfalls probe [OPTIONS] ADDR\n       tcp-pitfalls probe [OPTIONS] -- COMMAND … {addr} …"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option to type")]
pub(crate) struct Arguments {
    /// Where the server listens: HOST:PORT
    #[arg(required_unless_present = "command", conflicts_with = "command")]
    pub(super) addr: Option<String>,
    /// How to start the server, with {addr}, or {host} and {port}, where its address belongs
    #[arg(last = true, value_name = "COMMAND")]
    pub(super) command: Vec<String>,

    /// Run only the probes of this chapter; may be given several times
    #[arg(long, value_name = "N", value_parser = whole_number(1_u8, 6), help_heading = "Probes")]
    pub(super) chapter: Vec<u8>,
    /// Run only these probes
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = probe_name, help_heading = "Probes")]
    pub(super) only: Vec<String>,
    /// Known and accepted: status 0 if just these fall
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = probe_name, help_heading = "Probes")]
    pub(super) expect_falls: Vec<String>,
    /// Status 2 if one of these is skipped
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = probe_name, help_heading = "Probes")]
    pub(super) require: Vec<String>,

    /// What the server speaks
    #[arg(long, value_name = "PROTOCOL", help_heading = "Protocol")]
    speaks: Option<Speaks>,
    /// What stands before an echoed line. Says that the server echoes lines
    #[arg(long, value_name = "TEXT", help_heading = "Protocol")]
    prefix: Option<String>,
    /// A request, such as 'PING\r\n'
    #[arg(long, value_name = "REQUEST", help_heading = "Protocol")]
    ask: Option<String>,
    /// The right answer to it. Without this, three equal answers are taken for right
    #[arg(long, value_name = "ANSWER", requires = "ask", help_heading = "Protocol")]
    answer: Option<String>,
    /// What the server says first, such as '220 *\r\n'. Without this, what comes unasked
    #[arg(long, value_name = "ANSWER", help_heading = "Protocol")]
    greeting: Option<String>,
    /// What must be said first on each connection; may be given several times, in order
    #[arg(long, value_name = "REQUEST=>ANSWER", help_heading = "Protocol")]
    setup: Vec<String>,
    /// A request whose answer takes from one to three seconds. Without =>ANSWER, it is answered as the other is
    #[arg(long, value_name = "REQUEST[=>ANSWER]", help_heading = "Protocol")]
    slow_ask: Option<String>,
    /// A request without an end: how it begins, and what is then sent again and again
    #[arg(long, value_name = "BEGINNING=>REPEATED", help_heading = "Protocol")]
    endless: Option<String>,
    /// After how many bytes half a request ends. Without this, half of them
    #[arg(long, value_name = "BYTES", value_parser = whole_number(1, u32::MAX), help_heading = "Protocol")]
    split: Option<u32>,
    /// The server ends the connection after each answer
    #[arg(long, help_heading = "Protocol")]
    one_request: bool,
    /// The path that HTTP asks for, / unless you say otherwise. Says that its answer is no error
    #[arg(long, value_name = "PATH", requires = "speaks", help_heading = "Protocol")]
    path: Option<String>,
    /// The status of the right answer of HTTP. Without this, any
    #[arg(long, value_name = "STATUS", requires = "speaks", value_parser = whole_number(200_u16, 599), help_heading = "Protocol")]
    status: Option<u16>,

    /// How long the server may take until it listens, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = whole_number(1_u64, 3600), allow_negative_numbers = true, help_heading = "Limits")]
    start: u64,
    /// How long it may take to stop, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = whole_number(1_u64, 3600), allow_negative_numbers = true, help_heading = "Limits")]
    grace: u64,
    /// The signal that stops it gracefully: TERM, INT, QUIT, HUP, USR1, USR2 or WINCH
    #[arg(long, value_name = "SIGNAL", default_value = "TERM", help_heading = "Limits")]
    stop: Signal,
    /// How many clients it has to serve at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole_number(2_u16, 1000), help_heading = "Limits")]
    crowd: u16,
    /// How long it lets a client be slow or silent, in seconds. A client that is kept longer is then a fault
    #[arg(long, value_name = "SECONDS", value_parser = whole_number(1_u64, 3600), allow_negative_numbers = true, help_heading = "Limits")]
    deadline: Option<u64>,
    /// The seed that an any-bytes has told, to have the same conversation again
    #[arg(long, value_name = "NUMBER", value_parser = whole_number(0, u64::MAX), help_heading = "Probes")]
    seed: Option<u64>,

    /// Print the findings as JSON
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
    /// Also write the findings as JUnit XML
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) junit: Option<PathBuf>,
    /// Show what each probe did and saw
    #[arg(long, short, help_heading = "Output")]
    pub(super) verbose: bool,
    /// Only say what would be sent, and how long it may take
    #[arg(long, help_heading = "Output")]
    pub(super) dry_run: bool,
    /// Examine a server on another machine. It is sent hostile traffic: use this only on servers you own
    #[arg(long, help_heading = "Output")]
    remote: bool,
}

/// The protocols that need not be spelled out.
#[derive(Clone, Copy, ValueEnum)]
enum Speaks {
    /// Lines, each answered `echo: ` and the line
    Lines,
    /// HTTP/1.1
    Http,
    /// Redis
    Redis,
}

/// Takes a number, and says which are taken where it is none of them.
fn whole_number<N>(least: N, most: N) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("write a whole number from {least} to {most}"))
    }
}

/// Puts the arguments of a file in place of each `@FILE`. A command in it stays at the end, so that what is typed behind
/// the file is for the prober and not for the server.
///
/// # Errors
/// A sentence, if a file can't be read or isn't written as for a shell, if there are two commands, or if one is not told
/// from the rest.
pub(crate) fn expanded(arguments: impl Iterator<Item = OsString>) -> Result<Vec<OsString>> {
    let mut expanded = Vec::new();
    let mut command: Vec<OsString> = Vec::new();
    let mut is_command = false;
    for argument in arguments {
        // Behind `--` is another program's command line.
        is_command |= argument == "--";
        if is_command && !command.is_empty() {
            bail!("there is one command in an @FILE and another one behind --: a server is started by one");
        }
        let file = argument.to_str().and_then(|text| text.strip_prefix('@')).filter(|_| !is_command);
        let Some(file) = file else {
            expanded.push(argument);
            continue;
        };
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the arguments in \"{file}\""))?;
        let Some(words) = shlex::split(&text) else {
            bail!("the arguments in \"{file}\" are not written as for a shell: a quote is not closed");
        };
        let mut words = words.into_iter().map(OsString::from);
        expanded.extend(words.by_ref().take_while(|word| word != "--"));
        let rest: Vec<OsString> = words.collect();
        if !rest.is_empty() && !command.is_empty() {
            bail!("\"{file}\" has a second command behind --: a server is started by one");
        }
        command.extend(rest);
    }
    if !command.is_empty() {
        expanded.push("--".into());
        expanded.extend(command);
    } else if !is_command && expanded.get(1).is_some_and(|subcommand| subcommand == "probe") {
        let has_place = |word: &OsString| {
            word.to_str().is_some_and(|word| ["{addr}", "{port}"].iter().any(|place| word.contains(place)))
        };
        if let Some(word) = expanded.iter().find(|word| has_place(word)) {
            let word = word.to_string_lossy();
            bail!(
                "\"{word}\" is of a command. To start a server, write -- before its command, as in: tcp-pitfalls probe -- \
                 ./my_server {word}"
            );
        }
    }
    Ok(expanded)
}

impl Arguments {
    /// What is claimed of the server, and whether that says what a right answer is.
    pub(super) fn dialogue(&self) -> Result<(Dialogue, bool)> {
        let claims =
            [("--ask", self.ask.is_some()), ("--speaks", self.speaks.is_some()), ("--prefix", self.prefix.is_some())];
        let claims: Vec<&str> = claims.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
        if claims.len() > 1 {
            bail!(
                "{} each say what the server speaks. Keep one: --ask for a request of your own, --speaks for a protocol that is \
                 known here, --prefix for lines that are echoed otherwise",
                claims.join(" and ")
            );
        }
        let mut answer_is_known = true;
        let mut dialogue = match (&self.ask, self.speaks, &self.prefix) {
            (Some(ask), ..) => {
                let request = Template::request(ask).context("--ask")?;
                answer_is_known = self.answer.is_some();
                let answer = match &self.answer {
                    Some(answer) => Template::answer(answer).context("--answer")?,
                    None => Template::exact(b""),
                };
                Dialogue { claimed: true, ..Dialogue::of(Exchange { request, answer: Answer::Bytes(answer) }) }
            }
            (None, Some(Speaks::Http), _) => {
                let path = self.path.as_deref().unwrap_or("/");
                if !path.starts_with('/') || path.contains(char::is_whitespace) {
                    bail!("--path \"{path}\" is no path: it begins with / and has no blanks, as in /health");
                }
                Dialogue { claimed: true, ..Dialogue::http(path, self.status) }
            }
            _ if self.path.is_some() || self.status.is_some() => bail!("--path and --status are for --speaks http"),
            (None, Some(Speaks::Redis), _) => Dialogue { claimed: true, ..Dialogue::redis() },
            (None, claim, prefix) => {
                let mut lines = Lines::of_the_course();
                if let Some(prefix) = prefix {
                    lines.prefix = prefix.clone().into_bytes();
                }
                Dialogue { claimed: claim.is_some() || prefix.is_some(), ..Dialogue::lines(lines) }
            }
        };
        if let Some(greeting) = &self.greeting {
            dialogue.greeting = Some(Template::answer(greeting).context("--greeting")?);
        }
        dialogue.setup = self.setup.iter().map(|step| exchange(step).context("--setup")).collect::<Result<_>>()?;
        if let Some(slow) = &self.slow_ask {
            dialogue.slow = Some(match slow.split_once("=>") {
                Some(_) => exchange(slow).context("--slow-ask")?,
                None => Exchange {
                    request: Template::request(slow).context("--slow-ask")?,
                    answer: dialogue.exchange.answer.clone(),
                },
            });
        }
        if let Some(endless) = &self.endless {
            let Some((beginning, repeated)) = endless.split_once("=>").filter(|(_, repeated)| !repeated.is_empty())
            else {
                bail!("--endless \"{endless}\" has no => and behind it what is sent again and again, as in 'GET /=>x'");
            };
            let bytes = |text| Template::request(text).context("--endless").map(|template| template.fill(b"1"));
            let beginning = if beginning.is_empty() { Vec::new() } else { bytes(beginning)? };
            dialogue.endless = Some((beginning, bytes(repeated)?));
        }
        dialogue.split = self.split.map(|bytes| bytes as usize);
        dialogue.one_request = self.one_request;
        Ok((dialogue, answer_is_known))
    }

    /// Expects that a path that was named is answered by no error, unless the user knows better.
    pub(super) fn expect_no_error(&self, status: Option<u16>) -> Result<()> {
        match (&self.path, status) {
            (Some(path), Some(status)) if status >= 400 && self.status.is_none() => bail!(
                "--path {path} is answered with status {status}. Name a path that there is, or, if that is right, say \
                 --status {status}"
            ),
            _ => Ok(()),
        }
    }

    /// What is agreed with the server.
    pub(super) fn terms(&self, dialogue: Dialogue) -> Terms {
        Terms {
            dialogue,
            grace: Duration::from_secs(self.grace),
            crowd: self.crowd.into(),
            deadline: self.deadline.map(Duration::from_secs),
            seed: self.seed,
            ..Terms::default()
        }
    }

    /// The probes that were required and not judged.
    pub(super) fn missing(&self, judged: &[Probed]) -> impl Iterator<Item = &String> {
        let is_judged = |name: &str, one: &Probed| one.probe.name == name && one.finding.verdict != Verdict::Skipped;
        self.require.iter().filter(move |name| !judged.iter().any(|one| is_judged(name, one)))
    }

    /// The server, as it is called in the output.
    pub(super) fn name(&self) -> String {
        let shown = |word: &String| {
            if word.is_empty() || word.contains(char::is_whitespace) { format!("'{word}'") } else { word.clone() }
        };
        self.addr.clone().unwrap_or_else(|| self.command.iter().map(shown).collect::<Vec<_>>().join(" "))
    }

    /// The server.
    pub(super) fn target(&self) -> Result<Target> {
        let Some(addr) = &self.addr else {
            let mut launch = Launch::new(&self.command)
                .map_err(|why| anyhow!("{why}, as in: tcp-pitfalls probe -- python3 my_server.py {{addr}}"))?;
            launch.start = Duration::from_secs(self.start);
            launch.stop = self.stop;
            return Ok(Target::Command(launch));
        };
        let loopback = |port| vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
        // Also what servers print: a port, or an address that stands for every interface.
        let addrs: Vec<SocketAddr> = match addr.strip_prefix(':').unwrap_or(addr).parse() {
            Ok(port) => loopback(port),
            Err(_) => addr.to_socket_addrs().map(Iterator::collect).with_context(|| {
                format!("\"{addr}\" is not an address to connect to. Write HOST:PORT, as in 127.0.0.1:8080")
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
        if !resolved.ip().is_loopback() && !self.remote {
            bail!(
                "{resolved} is not a loopback address. The probes send hostile traffic; use them only on servers you own. \
                 To do so here, add --remote"
            );
        }
        Ok(Target::Address(resolved))
    }
}

/// A request and its answer, as in `USER x\r\n=>331 *\r\n`.
fn exchange(text: &str) -> Result<Exchange> {
    let (request, answer) = text.split_once("=>").with_context(|| {
        format!("\"{text}\" has no => between the request and its answer, as in 'USER x\\r\\n=>331 *\\r\\n'")
    })?;
    Ok(Exchange { request: Template::request(request)?, answer: Answer::Bytes(Template::answer(answer)?) })
}
