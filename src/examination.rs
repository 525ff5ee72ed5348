//! Many probes on one server or on several, some at the same time, each for a bounded time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::process;
use crate::lab::recording::{Action, Recorder, Recording};
use crate::lab::server::Target;
use crate::lab::wait::wait_for;
use crate::lab::{lack, load, lock};
use crate::probes::{Evidence, Finding, Needs, Probe, Terms, Trial, Verdict};

/// How long a probe may take as a whole, besides what was allowed to the server: its grace time and its deadline.
pub const WHOLE: Duration = Duration::from_secs(60);

/// One probe to run on one server.
pub struct Job<'a> {
    /// The probe.
    pub probe: &'a Probe,
    /// The server.
    pub target: &'a Target,
    /// What was agreed with it.
    pub terms: &'a Terms,
}

/// What came of a job.
pub struct Done {
    /// The verdict.
    pub finding: Finding,
    /// What was written down.
    pub recording: Recording,
    /// How long it took.
    pub took: Duration,
}

impl Done {
    /// Of a probe that was not run.
    fn without_a_run(finding: Finding) -> Self {
        Done { finding, recording: Recording::default(), took: Duration::ZERO }
    }
}

/// What is told of a job while many are run.
pub enum Progress<'a> {
    /// It begins.
    Begins,
    /// It is done.
    Ends(&'a Done),
}

impl Job<'_> {
    /// How long it may take.
    pub fn limit(&self) -> Duration {
        let grace = if self.probe.needs == Needs::Signals { self.terms.grace } else { Duration::ZERO };
        WHOLE + grace + self.terms.deadline.unwrap_or_default()
    }

    /// Runs it for as long as it may take, and only until nobody waits for it any more.
    fn run(&self, in_vain: &(impl Fn() -> bool + Sync)) -> Done {
        const LOOK_EVERY: Duration = Duration::from_millis(100);
        let recorder = Recorder::new();
        let began = Instant::now();
        let limit = self.limit();
        let (finding, ended) = thread::scope(|scope| {
            let (over, is_over) = mpsc::channel::<()>();
            let leash = recorder.leash();
            // Without this thread, the probe has only its own limits.
            let watchdog = thread::Builder::new().name("watchdog".into()).spawn_scoped(scope, move || {
                while began.elapsed() < limit && !in_vain() {
                    if is_over.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Disconnected) {
                        return None;
                    }
                }
                leash.pull();
                Some(began.elapsed())
            });
            let finding = self.probe.run(self.target, self.terms, &recorder);
            drop(over);
            (finding, watchdog.ok().and_then(|watchdog| watchdog.join().ok().flatten()))
        });
        let recording = recorder.recording();
        // What it says then is of a server that was ended from here.
        let finding = match ended {
            Some(after) => {
                let is_busy = load::overload().is_some();
                let why = unfinished(&recording, after, is_busy);
                // Worth another try, if it could have taken longer, or takes less on another day.
                Finding::skipped(Evidence { own_lack: is_busy || after < limit, ..why.into() })
            }
            None => finding,
        };
        Done { finding, recording, took: began.elapsed() }
    }
}

/// How a probe stood when its time was over.
fn unfinished(recording: &Recording, after: Duration, is_busy: bool) -> String {
    if is_busy {
        return format!("it was not over after {} s, for {}", after.as_secs(), load::too_busy());
    }
    let limit_ns = after.as_nanos();
    let last = recording.events.iter().rfind(|event| u128::from(event.at_ns) < limit_ns);
    let last = last.map_or(String::new(), |event| {
        format!(". The last that was seen, after {} s: {} {}", event.at_ns / 1_000_000_000, event.who, event.action)
    });
    format!("it was not over after {} s, and was ended there{last}", after.as_secs())
}

/// Runs all jobs, `at_once` side by side, and those that must be alone at the end. Calls `done` after each.
///
/// The findings come in the order of the jobs.
pub fn run(jobs: &[Job<'_>], at_once: usize, done: impl Fn() + Sync) -> Vec<Finding> {
    run_recorded(jobs, at_once, None, done).into_iter().map(|(finding, _)| finding).collect()
}

/// When somebody who waits for many probes has waited for long enough.
#[derive(Clone, Copy)]
pub struct Hurry {
    /// Then, if the server hangs: something has fallen, and either nothing has held so far or this machine isn't busy.
    pub enough: Instant,
    /// Then, in any case.
    pub last: Instant,
}

/// Does the same, and keeps what was written down of each. Who is in a hurry has those ended that aren't over in time.
pub fn run_recorded(
    jobs: &[Job<'_>],
    at_once: usize,
    hurry: Option<Hurry>,
    done: impl Fn() + Sync,
) -> Vec<(Finding, Recording)> {
    let (fell, held) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // Looked at before these probes are a load themselves.
    let is_busy = load::overload().is_some();
    let hangs = || fell.load(SeqCst) > 0 && (!is_busy || held.load(SeqCst) == 0);
    let in_vain = || hurry.is_some_and(|Hurry { enough, last }| Instant::now() >= if hangs() { enough } else { last });
    let each = |index: usize| {
        let Done { finding, recording, .. } = if in_vain() {
            let why = if is_busy { format!(": {}", load::too_busy()) } else { String::new() };
            Done::without_a_run(Finding::own_lack(format!("there was no time left for it{why}")))
        } else {
            jobs[index].run(&in_vain)
        };
        match finding.verdict {
            Verdict::Falls => fell.fetch_add(1, SeqCst),
            Verdict::Holds => held.fetch_add(1, SeqCst),
            _ => 0,
        };
        done();
        (finding, recording)
    };
    in_order(jobs, at_once, each)
}

/// Runs probes on one server, tells of each as it begins and ends, and skips the rest where it is hopeless: nobody
/// listens at the address any more, three probes waited in vain and none was answered meanwhile, or the server keeps one
/// after the other waiting.
///
/// A server that is running already is examined by one probe after the other.
pub fn run_watched(
    jobs: &[Job<'_>],
    at_once: usize,
    watch: impl Fn(usize, Progress<'_>) + Sync,
) -> Vec<(Finding, Duration)> {
    let at_once = if jobs.iter().any(|job| matches!(job.target, Target::Address(_))) { 1 } else { at_once };
    let threads = u32::try_from(at_once.max(1)).unwrap_or(u32::MAX);
    let is_served = jobs.first().is_some_and(|job| matches!(job.target, Target::Address(_)) && serves(job));
    // Whether a probe has brought that to an end.
    let is_broken = AtomicBool::new(false);
    let serves_no_more = |job: &Job<'_>| {
        if !is_served || serves(job) {
            return false;
        }
        // A bound on how often somebody may come is none after some quiet.
        wait_for(job.terms.limit);
        !serves(job)
    };
    let hope = Mutex::new(Hope { began: Instant::now(), silent: Vec::new(), kept: Duration::ZERO, lost: None });
    let each = |index: usize| {
        let job = &jobs[index];
        watch(index, Progress::Begins);
        let tells_more = !is_broken.load(SeqCst) && OF_SILENCE.contains(&job.probe.name);
        let is_told = |_: &String| !tells_more && job.probe.impossible(job.target).is_none();
        let lost = lock(&hope).lost.clone().filter(is_told);
        let done = match lost {
            Some(why) => Done::without_a_run(Finding::skipped(why)),
            None => {
                let mut done = job.run(&|| false);
                lock(&hope).consider(job, threads, &done);
                if serves_no_more(job) {
                    let lost = format!("nobody is served any more since the probe {}", job.probe.name);
                    if done.finding.verdict != Verdict::Falls {
                        done.finding = Finding::falls(format!("{lost}: {}", done.finding.evidence));
                    }
                    is_broken.store(true, SeqCst);
                    lock(&hope).lost = Some(lost);
                }
                done
            }
        };
        watch(index, Progress::Ends(&done));
        (done.finding, done.took)
    };
    in_order(jobs, at_once, each)
}

/// The probes that tell what it means if a polite client gets no answer.
pub const OF_SILENCE: [&str; 2] = ["next-client", "withheld-answer"];

/// Whether it makes sense to go on.
struct Hope {
    /// When the first probe began.
    began: Instant,
    /// The probes that waited in vain for the whole limit, since something was heard the last time.
    silent: Vec<&'static str>,
    /// How long the server has kept probes that it then fell into, or that got no verdict.
    kept: Duration,
    /// Why it doesn't.
    lost: Option<String>,
}

impl Hope {
    /// How long it may keep them. It is seldom more than a quarter of that.
    const PATIENCE: Duration = Duration::from_secs(80);
    /// When no more probes are begun, so that all is over within three minutes. Most servers take a quarter of one.
    const LAST_BEGINS: Duration = Duration::from_secs(90);

    fn consider(&mut self, job: &Job<'_>, at_once: u32, Done { finding, recording, took }: &Done) {
        let Job { probe, terms, .. } = job;
        let limit = terms.limit.as_millis();
        let in_vain =
            |action: &Action| matches!(action, Action::HearsNothing { for_ms } if u128::from(*for_ms) >= limit);
        if recording.events.iter().any(|event| matches!(event.action, Action::Receives(_))) {
            self.silent.clear();
        } else if recording.events.iter().any(|event| in_vain(&event.action)) {
            self.silent.push(probe.name);
        }
        if matches!(finding.verdict, Verdict::Falls | Verdict::Skipped) && *took >= terms.limit {
            self.kept += if probe.runs_alone { *took } else { *took / at_once };
        }
        let allowed = 2 * (terms.grace + terms.deadline.unwrap_or_default());
        let elapsed = self.began.elapsed();
        let lost = if self.silent.len() >= 3 {
            format!("nothing was answered to {}", self.silent.join(", "))
        } else if self.kept > Self::PATIENCE + allowed {
            format!("what it fell into, or what got no verdict, has taken {} s already", self.kept.as_secs())
        } else if elapsed > Self::LAST_BEGINS + allowed {
            format!("all before it has taken {} s already: run it alone, with --only", elapsed.as_secs())
        } else {
            return;
        };
        self.lost.get_or_insert(lost);
    }
}

/// Whether a polite client is served. A probe may have ended a server that was running already, or hung it.
fn serves(job: &Job<'_>) -> bool {
    let recorder = Recorder::new();
    let trial = Trial::new(job.target, job.terms, &recorder);
    trial.start().and_then(|mut server| trial.in_turn(&mut server, &["hello"])).is_ok()
}

/// Does this for the index of each job, `at_once` side by side, and alone at the end what must be.
fn in_order<K: Send + Sync>(jobs: &[Job<'_>], at_once: usize, each: impl Fn(usize) -> K + Sync) -> Vec<K> {
    process::raise_descriptor_limit();
    let kept: Vec<OnceLock<K>> = jobs.iter().map(|_| OnceLock::new()).collect();
    let run = |index: usize| drop(kept[index].set(each(index)));
    let (alone, together): (Vec<usize>, Vec<usize>) = (0..jobs.len()).partition(|&index| jobs[index].probe.runs_alone);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&index) = together.get(next.fetch_add(1, SeqCst)) {
            run(index);
        }
    };
    thread::scope(|scope| {
        for _ in 1..at_once {
            drop(lack::spawn_scoped(scope, work));
        }
        // One works here, even if this machine has no other thread to give.
        work();
    });
    alone.into_iter().for_each(run);
    // By now there is something in each.
    kept.into_iter().filter_map(OnceLock::into_inner).collect()
}
