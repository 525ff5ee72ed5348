//! What the probes share: starting a server, asking it a line, and saying what came back instead.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use super::Finding;
use crate::lab::client::{Client, Reply};
use crate::lab::kernel;
use crate::lab::port::{self, Port};
use crate::lab::recording::{Action, Payload, Recorder, escape};
use crate::lab::server::{LIMIT, Running, Target};
use crate::lab::wait::wait_until;

/// What was agreed with the server under examination.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What stands before an echoed line.
    pub prefix: String,
    /// How long an answer may take. 10 s, unless it is known that none will come.
    pub limit: Duration,
    /// How long a server may take to stop.
    pub grace: Duration,
    /// What random conversations are made of. The same seed makes the same ones.
    pub seed: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Terms { prefix: "echo: ".into(), limit: LIMIT, grace: Duration::from_secs(10), seed: 1 }
    }
}

/// One examination.
pub struct Trial<'a> {
    /// The server.
    pub target: &'a Target,
    /// What was agreed.
    pub terms: &'a Terms,
    /// Where everything is written down.
    pub recorder: &'a Recorder,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(target: &'a Target, terms: &'a Terms, recorder: &'a Recorder) -> Self {
        Trial { target, terms, recorder }
    }

    /// Starts the server, or takes the one that is running. That it can be started has been tried: if it can't, then this
    /// machine is at fault, or short of something.
    pub(crate) fn start(&self) -> Result<Running, Finding> {
        self.start_short_of(None)
    }

    /// Starts the server with at most so many descriptors.
    pub(crate) fn start_short_of(&self, descriptors: Option<usize>) -> Result<Running, Finding> {
        self.target.start(self.recorder, descriptors).map_err(|why| Finding::skipped(format!("{why:#}")))
    }

    /// Starts the server with its address spelled like this.
    pub(crate) fn start_at(&self, spelling: &str, addr: SocketAddr) -> Result<Running, Finding> {
        self.target.start_at(spelling, addr, self.recorder, None).map_err(|why| Finding::skipped(format!("{why:#}")))
    }

    /// The answer that a line must get.
    pub(crate) fn answer_to(&self, line: &[u8]) -> Vec<u8> {
        [self.terms.prefix.as_bytes(), line, b"\n"].concat()
    }

    /// Sends a line and expects its echo.
    pub(crate) fn ask(&self, client: &mut Client, line: &str) -> Result<(), Finding> {
        client.send(format!("{line}\n").as_bytes());
        self.expect_echo(client, line.as_bytes())
    }

    /// Expects the echo of a line that has been sent.
    pub(crate) fn expect_echo(&self, client: &mut Client, line: &[u8]) -> Result<(), Finding> {
        let got = client.line(self.terms.limit);
        self.judge_echo(line, &got)
    }

    /// Expects that what came is the echo of this line.
    pub(crate) fn judge_echo(&self, line: &[u8], got: &Reply) -> Result<(), Finding> {
        let expected = self.answer_to(line);
        match got {
            Reply::Line(answer) if *answer == expected => Ok(()),
            other => Err(Finding::falls(format!("expected \"{}\", got {}", escape(&expected), Self::describe(other)))),
        }
    }

    /// Expects that nothing more comes, and then the end of the stream.
    pub(crate) fn expect_end(&self, client: &mut Client) -> Result<(), Finding> {
        match client.line(self.terms.limit) {
            Reply::End(rest) if rest.is_empty() => Ok(()),
            other => Err(Finding::falls(format!(
                "expected the end of the connection after the answer, got {}",
                Self::describe(&other)
            ))),
        }
    }

    /// What came instead of what was expected, as part of a sentence.
    pub(crate) fn describe(got: &Reply) -> String {
        let after =
            |rest: &[u8]| if rest.is_empty() { String::new() } else { format!("{}, then ", Payload::new(rest)) };
        match got {
            Reply::Line(line) => Payload::new(line).to_string(),
            Reply::End(rest) => format!("{}the end of the connection", after(rest)),
            Reply::Reset(rest) => format!("{}a reset of the connection", after(rest)),
            Reply::Nothing(rest, patience) => format!("{}nothing for {} s", after(rest), patience.as_secs_f32()),
            Reply::Flood => "a flood of bytes without a newline".into(),
        }
    }

    /// Runs an examination that ends its wait, after the patience it is given, by doing what should not matter.
    ///
    /// Only a server that answers right after that falls, and only if it does so twice, after waits so different that
    /// a slow one can't be at fault in both by chance. A server that answers later is slow, and has the full limit.
    pub(crate) fn twice(&self, examine: impl Fn(Duration) -> Result<Silence, Finding>) -> super::Judged {
        const FIRST: Duration = Duration::from_secs(1);
        const SECOND: Duration = Duration::from_millis(1900);
        let mut broken = None;
        for patience in [FIRST, SECOND] {
            match examine(patience)? {
                Silence::No(finding) => return Ok(finding),
                Silence::UntilThen(finding) => broken = Some(finding),
                Silence::Longer => return Ok(examine(self.terms.limit)?.finding()),
            }
            if patience == FIRST {
                self.recorder.note("probe", "once more from the beginning, with more patience");
            }
        }
        broken.ok_or_else(|| Finding::skipped("it was not examined"))
    }

    /// Expects that the address can be spelled in any way where the server is started.
    pub(crate) fn spelled_by_hand(&self) -> Result<(), Finding> {
        if self.target.takes_any_address() {
            Ok(())
        } else {
            Err(Finding::skipped("the command has {host} and {port}, so the address can't be spelled otherwise"))
        }
    }

    /// Sends SIGTERM to the process that listens. `who` is written down as the one who does.
    pub(crate) fn ask_to_stop(&self, who: &str, server: &mut Running) -> Result<(), Finding> {
        require_no_wrapper(server)?;
        self.recorder.note(who, "sends SIGTERM to the server");
        match server.process().map(|process| process.ask_to_stop()) {
            Some(true) => Ok(()),
            _ => Err(Finding::skipped("the signal could not be sent")),
        }
    }

    /// Writes down something that the kernel shows.
    pub(crate) fn kernel(&self, text: impl Into<String>) {
        self.recorder.record("kernel", Action::Note { text: text.into() });
    }
}

/// What came of a wait for an answer, ended by what should not matter.
pub(crate) enum Silence {
    /// There was none: this is the verdict.
    No(Finding),
    /// It was over right after that: this would be the verdict.
    UntilThen(Finding),
    /// It lasted longer.
    Longer,
}

impl Silence {
    /// How soon an answer must come to count as caused by what happened before.
    pub(crate) const SOON: Duration = Duration::from_millis(700);

    fn finding(self) -> Finding {
        match self {
            Silence::No(finding) | Silence::UntilThen(finding) => finding,
            Silence::Longer => Finding::falls("it did not answer at all"),
        }
    }
}

/// The longest that a probe goes on with a server that answers right, but slowly.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

/// A server that is right, but too slow for this probe.
pub(crate) fn too_slow(answers: usize) -> Finding {
    Finding::skipped(format!("too slow to be judged: {answers} right answers in {} s", LONGEST.as_secs()))
}

/// On Linux, makes sure that the process that was started is the one that listens: limits, signals and numbers in /proc
/// are those of that process alone.
pub(crate) fn require_no_wrapper(server: &Running) -> Result<(), Finding> {
    match server.id().map(|id| kernel::listens(id, server.addr())) {
        Some(Some(false)) => Err(Finding::skipped(
            "the program that listens is not the one that was started: start it without a wrapper, or let that exec it",
        )),
        _ => Ok(()),
    }
}

/// For `Running::connect`: a server that nobody can reach has fallen.
#[expect(clippy::needless_pass_by_value, reason = "so that `map_err` takes it")]
pub(crate) fn unreachable(why: anyhow::Error) -> Finding {
    Finding::falls(format!("{why:#}"))
}

/// A finding that says what it is about.
pub(crate) fn about(when: &str, finding: &Finding) -> Finding {
    // What was expected and what came stand one above the other, so they begin a line.
    let gap = if finding.evidence.contains('\n') { "\n" } else { " " };
    Finding { verdict: finding.verdict, evidence: format!("{when}:{gap}{}", finding.evidence) }
}

/// A finding that says how the server's process ended, if it has: that explains more than the end of a connection.
pub(crate) fn with_obituary(server: &mut Running, finding: Finding) -> Finding {
    let Some(obituary) = server.obituary() else { return finding };
    let gap = if finding.evidence.contains('\n') { "\n" } else { "; " };
    Finding { evidence: format!("{}{gap}{obituary}", finding.evidence), ..finding }
}

/// A port for a server that is to be started on one that is known beforehand.
pub(crate) fn draw_port() -> Result<Port, Finding> {
    port::draw().map_err(|error| Finding::skipped(error.to_string()))
}

/// Whether new clients are refused within `limit`, or `abort` ends the wait. What they do goes to `recorder`.
pub(crate) fn refuses_within(
    server: &Running,
    limit: Duration,
    recorder: &Recorder,
    mut abort: impl FnMut() -> bool,
) -> bool {
    let addr = server.addr();
    let refused = wait_until(limit, || match Client::connect(addr, "new client", recorder, Duration::from_secs(2)) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Some(true),
        _ => abort().then_some(false),
    });
    refused == Some(true)
}
