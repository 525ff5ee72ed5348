//! Many probes on one server or on several, some at the same time.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::lab::client::{Client, Reply};
use crate::lab::process;
use crate::lab::recording::{Payload, Recorder, Recording, escape};
use crate::lab::server::Target;
use crate::probes::{Finding, Probe, Terms};

/// One probe to run on one server.
pub struct Job<'a> {
    /// The probe.
    pub probe: &'static Probe,
    /// The server.
    pub target: &'a Target,
    /// What was agreed with it.
    pub terms: &'a Terms,
}

impl Job<'_> {
    fn run(&self) -> (Finding, Recorder) {
        let recorder = Recorder::new();
        (self.probe.run(self.target, self.terms, &recorder), recorder)
    }
}

/// Runs all jobs, `at_once` side by side, and those that must be alone at the end. Calls `done` after each.
///
/// The findings come in the order of the jobs.
pub fn run(jobs: &[Job<'_>], at_once: usize, done: impl Fn() + Sync) -> Vec<Finding> {
    run_keeping(jobs, at_once, done, |finding, _| finding, Finding::skipped)
}

/// Does the same, and keeps what was written down of each.
pub fn run_recorded(jobs: &[Job<'_>], at_once: usize, done: impl Fn() + Sync) -> Vec<(Finding, Recording)> {
    let keep = |finding, recorder: &Recorder| (finding, recorder.recording());
    run_keeping(jobs, at_once, done, keep, |why| (Finding::skipped(why), Recording::default()))
}

fn run_keeping<K: Send>(
    jobs: &[Job<'_>],
    at_once: usize,
    done: impl Fn() + Sync,
    keep: impl Fn(Finding, &Recorder) -> K + Sync,
    skipped: impl Fn(&'static str) -> K,
) -> Vec<K> {
    process::raise_descriptor_limit();
    let kept: Vec<Mutex<Option<K>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let run = |index: usize| {
        let (finding, recorder) = jobs[index].run();
        *kept[index].lock().expect("nothing panics while it holds this lock") = Some(keep(finding, &recorder));
        done();
    };
    let (alone, together): (Vec<usize>, Vec<usize>) = (0..jobs.len()).partition(|&index| jobs[index].probe.runs_alone);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(&index) = together.get(next.fetch_add(1, SeqCst)) {
                    run(index);
                }
            });
        }
    });
    alone.into_iter().for_each(run);
    let taken = |cell: Mutex<Option<K>>| cell.into_inner().ok().flatten();
    kept.into_iter().map(|cell| taken(cell).unwrap_or_else(|| skipped("it was not run"))).collect()
}

/// Runs probes one after the other on a server that is running already and is not started anew for each.
///
/// When one of them has ended it, that is not held against the others.
pub fn run_in_turn(addr: SocketAddr, probes: &[&'static Probe], terms: &Terms, done: impl Fn()) -> Vec<Finding> {
    let target = Target::Address(addr);
    let mut gone_since = None;
    let mut findings = Vec::new();
    for &probe in probes {
        let finding = match gone_since {
            Some(name) => Finding::skipped(format!("nobody listens on {addr} any more since the probe {name}")),
            None => Job { probe, target: &target, terms }.run().0,
        };
        findings.push(finding);
        let still_there = || Client::connect(addr, "client", &Recorder::new(), Duration::from_secs(2)).is_ok();
        if gone_since.is_none() && !still_there() {
            gone_since = Some(probe.name);
        }
        done();
    }
    findings
}

/// How a server answers a plain first line.
#[derive(Debug, PartialEq, Eq)]
pub enum FirstLine {
    /// As was agreed.
    AsAgreed,
    /// Not at all, as this sentence says. What that means is for the probes to judge.
    NotAtAll(String),
    /// With something else: it speaks another protocol, of which this sentence gives a sample.
    Otherwise(String),
}

/// Sends a plain line and looks at the answer, so that a server of another protocol is not judged by this one.
///
/// # Errors
/// A sentence that says why the server could not be started or reached.
pub fn first_line(target: &Target, terms: &Terms) -> Result<FirstLine> {
    const LINE: &str = "hello";
    // A server that is silent for longer is judged by the probes, each of which waits for the full limit.
    const PATIENCE: Duration = Duration::from_secs(5);
    let recorder = Recorder::new();
    let mut server = target.start(&recorder, None)?;
    let mut client = server.connect("client 1")?;
    client.send(format!("{LINE}\n").as_bytes());
    let expected = [terms.prefix.as_bytes(), LINE.as_bytes(), b"\n"].concat();
    let answer = match client.line(terms.limit.min(PATIENCE)) {
        Reply::Line(answer) if answer != expected => answer,
        Reply::Nothing(part, _) | Reply::End(part) | Reply::Reset(part) if !part.is_empty() => part,
        Reply::Line(_) => return Ok(FirstLine::AsAgreed),
        Reply::Flood => return Ok(FirstLine::NotAtAll("it was answered by a flood of bytes without a newline".into())),
        Reply::Nothing(..) => {
            let silence = format!("a plain line was not answered within {} s", PATIENCE.as_secs());
            return Ok(FirstLine::NotAtAll(silence));
        }
        Reply::End(_) | Reply::Reset(_) => {
            let ended = server.obituary().map(|obituary| format!(", and {obituary}")).unwrap_or_default();
            return Ok(FirstLine::NotAtAll(format!("a plain line was answered by the end of the connection{ended}")));
        }
    };
    let sent = escape(format!("{LINE}\n").as_bytes());
    let hint = match answer.strip_suffix(b"hello\n").map(std::str::from_utf8) {
        Some(Ok(prefix)) => format!(" If that is its echo, add --prefix '{prefix}'."),
        _ => String::new(),
    };
    Ok(FirstLine::Otherwise(format!(
        "it speaks another protocol: \"{sent}\" was answered by {}, not by \"{}\".{hint}",
        Payload::new(&answer),
        escape(&expected),
    )))
}
