//! What the checks share: saying a line, and showing where an answer differs.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::client::{Client, Reply};
use crate::lab::recording::{Payload, escape};
use crate::lab::server::Running;
use crate::lab::wait::wait_for;
use crate::lab::{lack, load, lock};
use crate::probes::{Difference, Explained, Judged, Otherwise, Trial, falls, unreachable};

/// Starts a server for this. What falls tells how its process has ended, if it has.
pub(super) fn with_server<T>(trial: &Trial<'_>, examine: impl FnOnce(&mut Running) -> Judged<T>) -> Judged<T> {
    let mut server = trial.start()?;
    let judged = examine(&mut server);
    judged.with_obituary(&mut server)
}

/// A client comes. If it can't, the server has fallen.
pub(super) fn arrive(server: &mut Running, name: &str) -> Judged<Client> {
    server.connect(name).map_err(unreachable)
}

/// Sends a line and expects this one as its answer.
pub(super) fn ask(trial: &Trial<'_>, client: &mut Client, line: &str, expected: &str) -> Judged<()> {
    client.send(format!("{line}\n").as_bytes());
    expect_line(trial, client, expected)
}

/// Expects this line to come next, its end not counted.
pub(super) fn expect_line(trial: &Trial<'_>, client: &mut Client, expected: &str) -> Judged<()> {
    judge_line(format!("{expected}\n").as_bytes(), &client.line(trial.terms.limit))
}

/// Expects that what came is this line.
pub(super) fn judge_line(expected: &[u8], got: &Reply) -> Judged<()> {
    match got {
        Reply::Line(line) if line == expected => Ok(()),
        Reply::Line(line) => Err(differing(expected, line)),
        Reply::Nothing(..) => falls!(
            "it never answered, and before all else you have to find out what it waits for: expected {}, got {}",
            Payload::new(expected),
            Trial::describe(got)
        ),
        other => falls!("expected {}, got {}", Payload::new(expected), Trial::describe(other)),
    }
}

/// So much earlier than the task says counts as in time: clocks are read at different moments, and some count in steps.
pub(super) const TOLERANCE: Duration = Duration::from_millis(100);

/// Expects that the time of a customer wasn't over too early. That this machine is busy is no excuse: the server's clock began
/// later than ours.
pub(super) fn expect_not_early(what: &str, took: Duration, limit: Duration) -> Judged<()> {
    if took + TOLERANCE < limit {
        falls!("the time of {what} was over after {:.1} s, and it has {} s", took.as_secs_f32(), limit.as_secs());
    }
    Ok(())
}

/// Expects the end of the stream, and nothing before it.
pub(super) fn expect_end(trial: &Trial<'_>, client: &mut Client) -> Judged<()> {
    match client.line(trial.terms.limit) {
        Reply::End(rest) if rest.is_empty() => Ok(()),
        other => falls!("expected the end of the connection, got {}", Trial::describe(&other)),
    }
}

/// Expects the end of the stream or a reset, and nothing before it: what a client sees that may have sent more is chance.
pub(super) fn expect_gone(trial: &Trial<'_>, client: &mut Client) -> Judged<()> {
    match client.line(trial.terms.limit) {
        Reply::End(rest) | Reply::Reset(rest) if rest.is_empty() => Ok(()),
        other => falls!("expected the end of the connection, got {}", Trial::describe(&other)),
    }
}

/// Expects that the process ends within `limit`, and says this line of a tally on standard output.
pub(super) fn expect_tally(trial: &Trial<'_>, server: &mut Running, limit: Duration, expected: &str) -> Judged<()> {
    let Some(status) = server.exits_within(limit) else {
        falls!("the process never ended: it still ran {} s later, without a tally", limit.as_secs());
    };
    let output = server.process().map(|process| process.last_output()).unwrap_or_default();
    let said = output.lines().map(str::trim_end).rfind(|line| line.starts_with("tally:"));
    trial.recorder.note("server", format!("ends with {status}, and says {}", said.unwrap_or("no tally")));
    match said {
        Some(said) if said == expected => Ok(()),
        Some(other) => Err(differing(expected.as_bytes(), other.as_bytes())),
        None => falls!(
            "expected \"{}\" on standard output, and no line that begins with tally: was there when the process had \
             ended with {status}",
            escape(expected.as_bytes())
        ),
    }
}

/// Something else came than was expected. The bytes of both are shown below that, with a caret where they differ.
pub(super) fn differing(expected: &[u8], got: &[u8]) -> Otherwise {
    let difference = Difference::between(expected, got);
    let sentence = format!("what came differs from what was expected, first at byte {}", difference.at);
    Otherwise::falls(sentence).showing(difference)
}

/// The longest that a check goes on with a server that is slow, and not yet wrong.
pub(super) const TOO_LONG: Duration = Duration::from_secs(60);

/// How long "at once" may take: the half second that the tasks give a server to notice something, and as much again.
pub(super) const AT_ONCE: Duration = Duration::from_secs(1);

/// How long something took, and how long it may take.
pub(super) struct Took {
    what: &'static str,
    time: Duration,
    most: Duration,
}

impl Took {
    pub(super) fn new(what: &'static str, time: Duration, most: Duration) -> Self {
        Took { what, time, most }
    }

    /// Of two things the one that was later.
    pub(super) fn or(self, other: Took) -> Took {
        if other.time.saturating_sub(other.most) > self.time.saturating_sub(self.most) { other } else { self }
    }
}

/// Expects that something takes no longer than it may. `attempt` does it with a new server, and says how long it took.
///
/// A server falls if it takes longer twice, each time by more than this machine can be blamed for: a control server, which
/// does nothing but answer, shows how much that is. If it may have been this machine every time, the time isn't judged, which
/// costs no point and is said.
pub(super) fn in_time<T>(trial: &Trial<'_>, attempt: impl Fn() -> Judged<(Took, T)>) -> Judged<T> {
    const ATTEMPTS: usize = 4;
    const AT_MOST: Duration = Duration::from_secs(20);
    let began = Instant::now();
    let (mut attempts, mut late) = (0, 0);
    loop {
        attempts += 1;
        let (control, judged) = beside_control_server(trial, &attempt)?;
        let (Took { what, time, most }, value) = judged?;
        if time <= most {
            return Ok(value);
        }
        let seconds = time.as_secs_f32();
        late += u32::from(!control.explains(time.saturating_sub(most)));
        if late == 2 {
            falls!("{what} took {seconds:.1} s, and must not take more than {} s", most.as_secs_f32());
        }
        if attempts == ATTEMPTS || began.elapsed() > AT_MOST {
            return Err(not_judged(&format!("all came as it should; {what} took {seconds:.1} s")));
        }
        trial.recorder.note("check", format!("once more: it took {seconds:.1} s"));
    }
}

/// All that was seen is right, but what was late may be this machine's fault and could not be judged. To call that `holds`
/// would favour wrong servers, and to call it `skipped`, as if nothing had been seen, would cost right ones their points.
pub(super) fn not_judged(seen: &str) -> Otherwise {
    Otherwise::note(format!("{seen}, which could not be judged: {}", load::too_busy()))
}

/// How late this machine was: the answers of the control server in sum, and how long the server examined had no processor to
/// run on, since the control server needs so little of one that it seldom waits.
#[derive(Clone, Copy, Default)]
pub(super) struct Lateness {
    in_sum: Duration,
    starved: Duration,
}

impl Lateness {
    /// Whether this machine may be why something was so late. What several threads wait for one after the other adds up, and
    /// this shows the wait of one.
    pub(super) fn explains(self, late_by: Duration) -> bool {
        late_by <= 2 * (self.in_sum + self.starved)
    }
}

/// Does something while a client asks a control server again and again, and says how late it was.
pub(super) fn beside_control_server<T>(trial: &Trial<'_>, something: impl Fn() -> T) -> Judged<(Lateness, T)> {
    const PAUSE: Duration = Duration::from_millis(10);
    const LOOK_EVERY: usize = 10;
    /// A thread that isn't woken at once, but soon.
    const ORDINARY: Duration = Duration::from_millis(5);
    let failed = |error: io::Error| Otherwise::skipped(format!("there could be no control server: {error}"));
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let mut client = TcpStream::connect(listener.local_addr().map_err(failed)?).map_err(failed)?;
    let (mut server, _client) = listener.accept().map_err(failed)?;
    let ender = client.try_clone().map_err(failed)?;
    let before = trial.recorder.leash().starved_by_program();
    let (lateness, done) = (Mutex::new(Lateness::default()), AtomicBool::new(false));
    let value = thread::scope(|scope| {
        let answering = lack::spawn_scoped(scope, move || {
            let mut byte = [0];
            while server.read_exact(&mut byte).is_ok() && server.write_all(&byte).is_ok() {}
        });
        let asking = lack::spawn_scoped(scope, || {
            let mut byte = [0];
            for round in 0.. {
                if done.load(SeqCst) {
                    break;
                }
                // A pause that lasts too long says as much as a slow answer.
                let began = Instant::now();
                wait_for(PAUSE);
                if client.write_all(&byte).and_then(|()| client.read_exact(&mut byte)).is_err() {
                    break;
                }
                let late = began.elapsed().saturating_sub(PAUSE + ORDINARY);
                let mut lateness = lock(&lateness);
                lateness.in_sum += late;
                if round % LOOK_EVERY == 0 {
                    lateness.starved = lateness.starved.max(trial.recorder.leash().starved_since(&before));
                }
            }
        });
        let value = something();
        done.store(true, SeqCst);
        // Ends the one that answers, also if there was no thread left to ask.
        let _ = asking.and_then(|asking| asking.join().map_or(Ok(()), Ok));
        drop(ender.shutdown(Shutdown::Both));
        answering.map(|_answering| value)
    })?;
    let lateness = *lock(&lateness);
    Ok((lateness, value))
}
