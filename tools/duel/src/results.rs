//! What was measured, and what it comes to.

use std::time::Duration;

use serde::Serialize;

use crate::contestants::{GO, STEP_6};
use crate::cost::Used;
use crate::machine::Machine;

/// Everything that was measured.
#[derive(Serialize)]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// How often.
    pub rounds: u32,
    /// The servers, in the order of the table.
    pub servers: Vec<Server>,
}

/// One server's figures.
#[derive(Serialize)]
pub struct Server {
    /// What it is called.
    pub name: String,
    /// Its speed in each workload, in the order of `WORKLOADS`.
    pub speeds: Vec<Speed>,
    /// Bursts of connects, one for each round.
    pub bursts: Vec<Burst>,
    /// Idle connections, one for each round that measured them.
    pub idle: Vec<Idle>,
    /// System calls for each line in ping-pong on one connection.
    pub calls_ping_pong: Option<f64>,
    /// System calls for each line with 64 in flight on one connection.
    pub calls_pipelined: Option<f64>,
    /// A crowd of clients, if that was tried.
    pub survival: Option<Survival>,
    /// Out of descriptors, if that was tried.
    pub starved: Option<Starved>,
    /// What failed, as sentences.
    pub failures: Vec<String>,
}

/// Speed in one workload.
#[derive(Serialize)]
pub struct Speed {
    /// The workload.
    pub workload: &'static str,
    /// One for each round; empty if the server failed.
    pub samples: Vec<Sample>,
    /// How many times as fast as the server that is 1.
    pub ratio: Option<Spread>,
    /// The same by the processor time of client and server together, which other programs hardly disturb.
    pub ratio_by_processor_time: Option<Spread>,
}

/// One round's measure.
#[derive(Clone, Copy, Serialize)]
pub struct Sample {
    /// Lines, or short connections, in a second.
    pub per_second: f64,
    /// The server's processor time for each, in microseconds. That is also seconds for a million.
    pub server_us: f64,
    /// The client's.
    pub client_us: f64,
}

/// A thousand clients at once.
#[derive(Clone, Copy, Serialize)]
pub struct Burst {
    /// How many got no answer.
    pub lost: usize,
    /// When the last was connected, in milliseconds.
    pub last_connected_ms: f64,
    /// When the last had its answer.
    pub last_answered_ms: f64,
}

/// Ten thousand connections.
#[derive(Clone, Copy, Serialize)]
pub struct Idle {
    /// When the last was accepted, in milliseconds.
    pub accepted_ms: f64,
    /// Resident memory for each when none had said a word.
    pub silent_bytes: u64,
    /// The same when each had said a line.
    pub after_a_line_bytes: u64,
}

/// More clients than a process can have threads.
#[derive(Clone, Copy, Serialize)]
pub struct Survival {
    /// How many were connected, those in the kernel's queue counted.
    pub connected: usize,
    /// Whether the first client still got an answer when all the others were there.
    pub first_is_served: bool,
    /// Whether one that came when all had left was served.
    pub next_is_served: bool,
}

/// More clients than descriptors.
#[derive(Clone, Copy, Serialize)]
pub struct Starved {
    /// The server's processor time meanwhile, in percent of one core.
    pub processor_percent: f64,
    /// Whether a client that came when all had left was served.
    pub next_is_served: bool,
}

/// The middle of several rounds, and how far they reach.
#[derive(Clone, Copy, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Sample {
    /// Makes it from a count of lines or connections, and what they took.
    #[expect(clippy::cast_precision_loss, reason = "there are fewer lines than an f64 can count")]
    pub fn new(count: usize, time: Duration, used: Used) -> Self {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        Sample {
            per_second: count as f64 / time.as_secs_f64(),
            server_us: each(used.server),
            client_us: each(used.client),
        }
    }

    fn both_us(&self) -> f64 {
        self.server_us + self.client_us
    }
}

impl Spread {
    /// Of these numbers, if there are any.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let (min, max) = (*numbers.first()?, *numbers.last()?);
        let (low, high) = (numbers[(numbers.len() - 1) / 2], numbers[numbers.len() / 2]);
        Some(Spread { median: f64::midpoint(low, high), min, max })
    }
}

impl Server {
    /// One of which nothing is known.
    pub fn new(name: &str, workloads: impl Iterator<Item = &'static str>) -> Self {
        Server {
            name: name.to_owned(),
            speeds: workloads
                .map(|workload| Speed { workload, samples: Vec::new(), ratio: None, ratio_by_processor_time: None })
                .collect(),
            bursts: Vec::new(),
            idle: Vec::new(),
            calls_ping_pong: None,
            calls_pipelined: None,
            survival: None,
            starved: None,
            failures: Vec::new(),
        }
    }
}

impl Results {
    /// The name of the server that is 1.
    pub fn base(&self) -> &str {
        let go = self.servers.iter().any(|server| server.name == GO);
        if go { GO } else { STEP_6 }
    }

    /// Fills in the ratios. Each compares two measures of the same round, and so of nearly the same moment.
    pub fn compare(&mut self) {
        let base = self.servers.iter().find(|server| server.name == self.base());
        let base: Vec<Vec<Sample>> =
            base.map_or(Vec::new(), |server| server.speeds.iter().map(|speed| speed.samples.clone()).collect());
        for server in &mut self.servers {
            for (speed, base) in server.speeds.iter_mut().zip(&base) {
                let rounds = || speed.samples.iter().zip(base);
                speed.ratio = Spread::of(rounds().map(|(sample, base)| sample.per_second / base.per_second));
                speed.ratio_by_processor_time =
                    Spread::of(rounds().map(|(sample, base)| base.both_us() / sample.both_us()));
            }
        }
    }
}

/// As milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
