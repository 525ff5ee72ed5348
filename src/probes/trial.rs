//! What the probes share: starting a server, asking it a line, and saying what came back instead.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use super::{Difference, Evidence, Explained, Judged, Otherwise, Verdict, falls, skipped};
use crate::dialogue::{Dialogue, Lines, Match, Request};
use crate::lab::client::{Client, Reply};
use crate::lab::lack::Lack;
use crate::lab::port::{self, Port};
use crate::lab::recording::{AGAIN, Action, Payload, Recorder, escape};
use crate::lab::server::{LIMIT, Running, Target};
use crate::lab::wait::wait_until;
use crate::lab::{kernel, load};

/// What was agreed with the server under examination.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What the server speaks.
    pub dialogue: Dialogue,
    /// How long an answer may take. 10 s, unless it is known that none will come.
    pub limit: Duration,
    /// How long a server may take to stop.
    pub grace: Duration,
    /// How many clients it must serve at once.
    pub crowd: usize,
    /// How long it may let a client be slow or silent. Without it, that is only measured.
    pub deadline: Option<Duration>,
    /// What random conversations are made of. Without it, another each time.
    pub seed: Option<u64>,
}

impl Default for Terms {
    fn default() -> Self {
        // Whoever says nothing else claims the protocol of the course, as its own servers do.
        let dialogue = Dialogue { claimed: true, ..Dialogue::lines(Lines::of_the_course()) };
        Terms { dialogue, limit: LIMIT, grace: Duration::from_secs(10), crowd: 64, deadline: None, seed: None }
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
    /// How many requests were made: what `{n}` stands for in the next one.
    requests: AtomicUsize,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(target: &'a Target, terms: &'a Terms, recorder: &'a Recorder) -> Self {
        Trial { target, terms, recorder, requests: AtomicUsize::new(0) }
    }

    /// Starts the server, or takes the one that is running. It could be started before: if it can't now, this machine is at
    /// fault, or short of something.
    pub(crate) fn start(&self) -> Judged<Running> {
        self.start_short_of(None)
    }

    /// Starts the server with at most so many descriptors.
    pub(crate) fn start_short_of(&self, descriptors: Option<usize>) -> Judged<Running> {
        self.target.start(self.recorder, descriptors).map_err(unable)
    }

    /// Starts the server with its address spelled like this.
    pub(crate) fn start_at(&self, spelling: &str, addr: SocketAddr) -> Judged<Running> {
        self.target.start_at(spelling, addr, self.recorder, None).map_err(unable)
    }

    /// Connects a client that is polite: it hears the greeting, and says what has to be said first.
    pub(crate) fn connect(&self, server: &mut Running, name: &str) -> Judged<Client> {
        self.connect_with(server, name, self.recorder, None)
    }

    /// The same for a client that writes to another recording, or has a small receive buffer.
    pub(crate) fn connect_with(
        &self,
        server: &mut Running,
        name: &str,
        recorder: &Recorder,
        receive_buffer: Option<usize>,
    ) -> Judged<Client> {
        let connected = server.connect_with(name, recorder, receive_buffer);
        self.introduce(connected.map_err(|why| not_reached(server, why))?)
    }

    /// Has a client that is connected be polite.
    pub(crate) fn introduce(&self, mut client: Client) -> Judged<Client> {
        let Dialogue { greeting, setup, .. } = &self.terms.dialogue;
        if let Some(greeting) = greeting {
            let said = client.answer(self.terms.limit, |got| greeting.check(b"", got));
            let Reply::Line(said) = &said else { falls!("it did not greet: the client got {}", Self::describe(&said)) };
            if !matches!(greeting.check(b"", said), Match::Whole(_)) {
                falls!("it did not greet with \"{greeting}\": the client got {}", Payload::new(said));
            }
        }
        for step in setup {
            let request = step.fill(self.number().to_string().as_bytes());
            client.send(&request.bytes);
            self.expect(&mut client, &request).about("at the beginning of the connection")?;
        }
        Ok(client)
    }

    /// Has a polite client served, before a probe does what it is about. A failure here is for `next-client` to judge.
    pub(crate) fn served(&self, server: &mut Running, which: &str) -> Judged<Client> {
        let answered = self.connect(server, &format!("{which} client")).and_then(|mut client| {
            self.ask(&mut client, "hello")?;
            Ok(client)
        });
        answered.map_err(|why| match why.verdict() {
            Verdict::Falls => Otherwise::skipped(format!("it doesn't serve a {which} client at all: see next-client")),
            _ => why,
        })
    }

    /// Has two polite clients served, one after the other: the control of a probe that is about something worse.
    pub(crate) fn serves_two(&self, server: &mut Running) -> Judged<()> {
        self.served(server, "first")?.leave();
        self.served(server, "second")?.leave();
        Ok(())
    }

    fn number(&self) -> usize {
        self.requests.fetch_add(1, SeqCst)
    }

    /// The next request. Of echoed lines it is this text; other protocols get a number in its place.
    pub(crate) fn request(&self, text: &str) -> Request {
        self.terms.dialogue.request(text, self.number())
    }

    /// A line of any bytes, as a request.
    pub(crate) fn line(&self, line: &[u8]) -> Request {
        self.terms.dialogue.exchange.fill(line)
    }

    /// Expects that the server echoes lines, each as a whole. Probes of what is in a line begin with this.
    pub(crate) fn lines(&self) -> Judged<&Lines> {
        match &self.terms.dialogue.lines {
            None => skipped!("it is about the echo of lines, which this server doesn't claim to do"),
            Some(lines) if lines.bytewise => skipped!("it gives back bytes as they come, and knows nothing of lines"),
            Some(lines) => Ok(lines),
        }
    }

    /// Expects that the server knows where a request ends, as an echo of bytes doesn't.
    pub(crate) fn has_requests(&self) -> Judged<()> {
        if self.terms.dialogue.lines.is_some() { self.lines().map(drop) } else { Ok(()) }
    }

    /// Expects that a connection stays open for a second request.
    pub(crate) fn stays_open(&self) -> Judged<()> {
        if self.terms.dialogue.one_request {
            skipped!("it ends each connection after one answer");
        }
        Ok(())
    }

    /// What the server does otherwise than was expected: a fault where the user claims its protocol, and else what sane
    /// servers decide differently.
    pub(crate) fn differs(&self, evidence: impl Into<Evidence>) -> Otherwise {
        if self.terms.dialogue.claimed { Otherwise::falls(evidence) } else { Otherwise::differs(evidence) }
    }

    /// Whether the user says that the server echoes lines.
    pub(crate) fn claims_lines(&self) -> bool {
        self.terms.dialogue.claimed && self.terms.dialogue.lines.is_some()
    }

    /// What a server owes if the user says that it echoes lines. In other protocols sane servers decide it differently, also
    /// where the user says what a right answer is.
    pub(crate) fn owed_by_lines(&self, evidence: impl Into<Evidence>) -> Otherwise {
        if self.claims_lines() { Otherwise::falls(evidence) } else { Otherwise::differs(evidence) }
    }

    /// Takes an accusation back if a plainer conversation fails as well: the `control`, with a server of its own. Then what
    /// the probe is about isn't to blame, and `simpler` says which probe to look at. If the control can't be held, the verdict
    /// is why.
    pub(crate) fn unless_simpler<T>(
        &self,
        judged: Judged<T>,
        simpler: &str,
        control: impl FnOnce(&Trial<'_>, &mut Running) -> Judged<()>,
    ) -> Judged<T> {
        match judged {
            Err(accusation) if accusation.accuses() => {
                let plain = self.aside(|trial| control(trial, &mut trial.start()?));
                Err(match plain {
                    Ok(()) => accusation,
                    Err(why) if why.accuses() => Otherwise::skipped(format!("{simpler}: {why}")),
                    Err(why) => why,
                })
            }
            judged => judged,
        }
    }

    /// Takes an accusation back if the server serves again after some quiet. What is broken or lost stays so; a bound on how
    /// often somebody may connect doesn't.
    pub(crate) fn unless_it_recovers<T>(&self, judged: Judged<T>, server: &mut Running) -> Judged<T> {
        let Some(instead) = judged.as_ref().err().filter(|why| why.accuses()) else { return judged };
        wait_until(self.terms.limit, || server.process()?.exited());
        if self.aside(|trial| trial.in_turn(server, &["hello"])).is_ok() {
            skipped!(
                "it served again after {} s of quiet, so it may bound how often somebody connects: {instead}",
                self.terms.limit.as_secs()
            );
        }
        judged
    }

    /// Does something and keeps only its verdict. A control would hide what was seen in the recording of the probe.
    pub(crate) fn aside<T>(&self, examine: impl FnOnce(&Trial<'_>) -> Judged<T>) -> Judged<T> {
        let quiet = self.recorder.aside();
        examine(&Trial::new(self.target, self.terms, &quiet))
    }

    /// Makes so many requests one after the other on one connection, as a control.
    pub(crate) fn in_turn(&self, server: &mut Running, texts: &[&str]) -> Judged<()> {
        let mut client = self.connect(server, "client")?;
        texts.iter().try_for_each(|text| self.ask(&mut client, text))
    }

    /// Sends a request and expects its answer.
    pub(crate) fn ask(&self, client: &mut Client, text: &str) -> Judged<()> {
        let request = self.request(text);
        client.send(&request.bytes);
        self.expect(client, &request)
    }

    /// Expects the answer to a request that has been sent.
    pub(crate) fn expect(&self, client: &mut Client, request: &Request) -> Judged<()> {
        let got = client.answer(self.terms.limit, |got| request.check(got));
        Self::judge(request, &got)
    }

    /// Expects that what came is the answer to this request.
    pub(crate) fn judge(request: &Request, got: &Reply) -> Judged<()> {
        let expected = request.expected();
        let wrong = || Otherwise::falls(format!("expected {}, got {}", shown(&expected), Self::describe(got)));
        match got {
            Reply::Line(answer) if request.is_answered_by(answer) => Ok(()),
            Reply::Line(answer) => Err(wrong().showing(Difference::between(&expected, answer))),
            _ => Err(wrong()),
        }
    }

    /// Expects that a server which gave no answer had a processor to run on. `before` is how long it had waited for one when
    /// it was asked: a server that waits for something else sleeps, and that doesn't count.
    pub(crate) fn is_no_starvation(&self, got: &Reply, before: Duration) -> Judged<()> {
        let starved = || self.recorder.leash().starved().saturating_sub(before);
        if matches!(got, Reply::Nothing(..)) && starved() > self.terms.limit / 2 {
            return Err(Otherwise::own_lack(format!("whether it answers can't be told, for {}", load::too_busy())));
        }
        Ok(())
    }

    /// What came instead of what was expected, as part of a sentence.
    pub(crate) fn describe(got: &Reply) -> String {
        let after =
            |rest: &[u8]| if rest.is_empty() { String::new() } else { format!("{}, then ", Payload::new(rest)) };
        match got {
            Reply::Line(line) => Payload::new(line).to_string(),
            Reply::End(rest) => format!("{}the end of the connection", after(rest)),
            Reply::Reset(rest) => format!("{}a reset of the connection", after(rest)),
            Reply::Nothing(rest, patience) => {
                let seconds = (patience.as_secs_f32() * 10.0).round() / 10.0;
                format!("{}nothing for {seconds} s", after(rest))
            }
            Reply::Flood => "a flood of bytes without an end".into(),
        }
    }

    /// Runs an examination that waits for an answer as long as it is told to, and then does what should not matter.
    ///
    /// A server falls only if it answers right after that, twice, and after waits so different that a slow one can't do so
    /// by chance. One that answers later is slow, and has the full limit.
    pub(crate) fn twice(&self, examine: impl Fn(Duration) -> Judged<Silence>) -> Judged {
        const FIRST: Duration = Duration::from_secs(1);
        const SECOND: Duration = Duration::from_millis(1900);
        let mut silence = examine(FIRST)?;
        if matches!(silence, Silence::UntilThen(_)) {
            self.recorder.note("probe", AGAIN);
            silence = examine(SECOND)?;
        }
        if matches!(silence, Silence::Longer) {
            silence = examine(self.terms.limit)?;
        }
        match silence {
            Silence::No(evidence) => Ok(evidence),
            Silence::UntilThen(falls) => Err(falls),
            Silence::Longer => falls!("it did not answer at all"),
        }
    }

    /// Expects that the address can be spelled in any way where the server is started.
    pub(crate) fn spelled_by_hand(&self) -> Judged<()> {
        self.target.takes_any_address().map_err(|why| Otherwise::skipped(why.to_string()))
    }

    /// Sends the signal that stops it to the process that listens. `who` is written down as the one who does.
    pub(crate) fn ask_to_stop(&self, who: &str, server: &mut Running) -> Judged<()> {
        require_no_wrapper(server)?;
        self.send_stop(who, server)
    }

    /// The same where it is known that the process that was started is the one that listens.
    pub(crate) fn send_stop(&self, who: &str, server: &mut Running) -> Judged<()> {
        let Some(process) = server.process() else { skipped!("there is no process to send a signal to") };
        let stop = process.stop_signal();
        self.recorder.note(who, format!("sends {stop} to the server"));
        process.signal(stop).map_err(|error| Otherwise::skipped(format!("{stop} could not be sent: {error}")))
    }

    /// Writes down something that the kernel shows.
    pub(crate) fn kernel(&self, text: impl Into<String>) {
        self.recorder.record("kernel", Action::Note { text: text.into() });
    }
}

/// How long a server was silent, when its client ended the wait for an answer by doing what should not matter.
pub(crate) enum Silence {
    /// It wasn't: the answer came before that. So it holds.
    No(Evidence),
    /// Until right after that, and so because of it, as it seems. Seen twice, this is the verdict.
    UntilThen(Otherwise),
    /// Longer than that.
    Longer,
}

impl Silence {
    /// How soon an answer must come to count as caused by what happened before.
    pub(crate) const SOON: Duration = Duration::from_millis(700);
}

/// The longest that a probe goes on with a server that answers right, but slowly: less than any probe may take in all.
pub(crate) const LONGEST: Duration = Duration::from_secs(50);

/// A server that is right, but too slow for this probe.
pub(crate) fn too_slow(answers: usize) -> Otherwise {
    Otherwise::skipped(format!("too slow to be judged: {answers} right answers in {} s", LONGEST.as_secs()))
}

/// On Linux, makes sure that the process that was started is the one that listens: limits, signals and numbers in /proc
/// are those of that process alone.
pub(crate) fn require_no_wrapper(server: &Running) -> Judged<()> {
    match server.id().map(|id| kernel::listens(id, server.addr())) {
        Some(Some(false)) => skipped!(
            "the program that listens is not the one that was started: start it without a wrapper, or let that exec it"
        ),
        _ => Ok(()),
    }
}

/// Bytes in quotes, or as much of them as a sentence has room for.
pub(super) fn shown(bytes: &[u8]) -> String {
    if bytes.len() > 60 { Payload::new(bytes).to_string() } else { format!("\"{}\"", escape(bytes)) }
}

/// How many bytes of this client have arrived that the server hasn't read. `None` where that can't be seen.
pub(super) fn unread(server: &Running, client: &Client) -> Option<usize> {
    kernel::unread(server.addr(), client.stream().local_addr().ok()?)
}

/// Waits until the server has read all that this client has sent, so that it meets what is sent next by itself. Where that
/// can't be seen, the two may meet on their way.
pub(super) fn until_read(server: &Running, client: &Client, limit: Duration) {
    wait_until(limit, || (unread(server, client).unwrap_or(0) == 0).then_some(()));
}

/// Waits until the server has accepted whoever is connected. Where that can't be seen, not at all.
pub(super) fn until_accepted(server: &Running, limit: Duration) {
    wait_until(limit, || (kernel::accept_queue(server.addr()).unwrap_or(0) == 0).then_some(()));
}

/// Whether the server has ended its side of this connection, though its client may not have come to that yet. False where
/// that can't be seen.
pub(super) fn has_ended(server: &Running, client: &Client) -> bool {
    client.stream().local_addr().is_ok_and(|own| kernel::has_ended(server.addr(), own))
}

/// Connects a client that says nothing yet. A server that nobody has reached is not judged: it may be slow to start.
pub(crate) fn reach(server: &mut Running, name: &str) -> Judged<Client> {
    server.connect(name).map_err(|why| not_reached(server, why))
}

/// A server that has been reached before and isn't now has fallen. Whether it ever starts is for others to judge.
fn not_reached(server: &Running, why: anyhow::Error) -> Otherwise {
    if server.was_reached() { unreachable(why) } else { unable(why) }
}

/// For `Target::start`: a probe whose server can't be started can't be run.
#[expect(clippy::needless_pass_by_value, reason = "so that `map_err` takes it")]
fn unable(why: anyhow::Error) -> Otherwise {
    match Lack::behind(&why) {
        Some(lack) => lack.clone().into(),
        None => Otherwise::skipped(format!("{why:#}")),
    }
}

/// For `Running::connect`: a server that nobody can reach has fallen, unless this machine is short of something.
#[expect(clippy::needless_pass_by_value, reason = "so that `map_err` takes it")]
pub(crate) fn unreachable(why: anyhow::Error) -> Otherwise {
    match Lack::behind(&why) {
        Some(lack) => lack.clone().into(),
        None => Otherwise::falls(format!("{why:#}")),
    }
}

/// A port for a server that is to be started on one that is known beforehand.
pub(crate) fn draw_port() -> Judged<Port> {
    port::draw().map_err(|error| Otherwise::skipped(error.to_string()))
}

/// Whether new clients are refused within `limit`, or `abort` ends the wait. What they do goes to `recorder`.
pub(crate) fn refuses_within(
    server: &Running,
    limit: Duration,
    recorder: &Recorder,
    mut abort: impl FnMut() -> bool,
) -> bool {
    const LONGEST_PAUSE: Duration = Duration::from_millis(500);
    let addr = server.addr();
    let mut pause = Duration::from_millis(5);
    let refused = wait_until(limit, || match Client::connect(addr, "new client", recorder, Duration::from_secs(2)) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Some(true),
        _ => {
            // A server may first accept whoever comes, until nobody does for a moment. It is left such a moment.
            pause = (pause * 2).min(LONGEST_PAUSE);
            wait_until(pause.min(limit), || abort().then_some(false))
        }
    });
    refused == Some(true)
}
