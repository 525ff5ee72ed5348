//! What the probes share: starting a server, asking it a line, and saying what came back instead.

use std::net::SocketAddr;
use std::time::Duration;

use super::Finding;
use crate::lab::client::{Client, Got};
use crate::lab::process::Scarcity;
use crate::lab::recording::{Payload, Recorder, What, escape};
use crate::lab::server::{LIMIT, Running, Target};

/// What was agreed with the server under examination.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What stands before an echoed line.
    pub prefix: String,
    /// How long an answer may take. 10 s, unless it is known that none will come.
    pub limit: Duration,
    /// How long a server may take to stop.
    pub grace: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Terms { prefix: "echo: ".into(), limit: LIMIT, grace: Duration::from_secs(10) }
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
    pub(super) fn new(target: &'a Target, terms: &'a Terms, recorder: &'a Recorder) -> Self {
        Trial { target, terms, recorder }
    }

    /// Starts the server, or takes the one that is running.
    pub(super) fn start(&self) -> Result<Running, Finding> {
        self.start_short_of(None)
    }

    /// Starts the server with something in short supply.
    pub(super) fn start_short_of(&self, scarcity: Option<Scarcity>) -> Result<Running, Finding> {
        self.target.start(self.recorder, scarcity).map_err(Finding::falls)
    }

    /// Starts the server with its address spelled like this.
    pub(super) fn start_at(&self, spelling: &str, addr: SocketAddr) -> Result<Running, Finding> {
        self.target.start_at(spelling, addr, self.recorder, None).map_err(Finding::falls)
    }

    /// The answer that a line must get.
    pub(super) fn answer_to(&self, line: &[u8]) -> Vec<u8> {
        [self.terms.prefix.as_bytes(), line, b"\n"].concat()
    }

    /// Sends a line and expects its echo.
    pub(super) fn ask(&self, client: &mut Client, line: &str) -> Result<(), Finding> {
        client.send(format!("{line}\n").as_bytes());
        self.expect_echo(client, line.as_bytes())
    }

    /// Expects the echo of a line that has been sent.
    pub(super) fn expect_echo(&self, client: &mut Client, line: &[u8]) -> Result<(), Finding> {
        let got = client.line(self.terms.limit);
        let expected = self.answer_to(line);
        match got {
            Got::Line(answer) if answer == expected => Ok(()),
            other => Err(Finding::falls(format!("expected \"{}\", got {}", escape(&expected), self.describe(&other)))),
        }
    }

    /// Expects that nothing more comes, and then the end of the stream.
    pub(super) fn expect_end(&self, client: &mut Client) -> Result<(), Finding> {
        match client.line(self.terms.limit) {
            Got::End(rest) if rest.is_empty() => Ok(()),
            other => Err(Finding::falls(format!(
                "expected the end of the connection after the answer, got {}",
                self.describe(&other)
            ))),
        }
    }

    /// What came instead of what was expected, as part of a sentence.
    pub(super) fn describe(&self, got: &Got) -> String {
        let after =
            |rest: &[u8]| if rest.is_empty() { String::new() } else { format!("{}, then ", Payload::new(rest)) };
        match got {
            Got::Line(line) => Payload::new(line).to_string(),
            Got::End(rest) => format!("{}the end of the connection", after(rest)),
            Got::Reset(rest) => format!("{}a reset of the connection", after(rest)),
            Got::Nothing(rest) => format!("{}nothing for {} s", after(rest), self.terms.limit.as_secs_f32()),
            Got::Flood => "a flood of bytes without a newline".into(),
        }
    }

    /// Runs an examination that ends in less than the full limit because of what should not matter: once, and if it
    /// falls, once more with twice the patience. Only a server that falls both times falls.
    pub(super) fn twice(&self, examine: impl Fn(Duration) -> super::Judged) -> super::Judged {
        let first = examine(Duration::from_secs(1))?;
        if first.verdict != super::Verdict::Falls {
            return Ok(first);
        }
        self.recorder.note("probe", "once more from the beginning, with twice the patience");
        examine(Duration::from_secs(2))
    }

    /// Writes down something that the kernel shows.
    pub(super) fn kernel(&self, text: impl Into<String>) {
        self.recorder.record("kernel", What::Note { text: text.into() });
    }
}

/// For `Running::connect`: a server that nobody can reach has fallen.
pub(super) fn unreachable(why: String) -> Finding {
    Finding::falls(why)
}

/// What a finding was about, and why: the end of the server's process explains more than a closed connection.
pub(super) fn fallen(server: &mut Running, when: &str, finding: &Finding) -> Finding {
    let ended = server.obituary().map(|obituary| format!("; {obituary}")).unwrap_or_default();
    Finding::falls(format!("{when}: {}{ended}", finding.evidence))
}
