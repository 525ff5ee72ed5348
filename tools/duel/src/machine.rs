//! Where the figures come from: they mean little elsewhere.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

/// What others may take of all processors, in percent, before figures mean little.
pub const BUSY: f64 = 10.0;

/// The machine and what runs on it.
#[derive(Serialize)]
pub struct Machine {
    /// The processor, as it calls itself.
    pub processor: String,
    /// How many cores there are.
    pub cores: usize,
    /// The core that client and servers shared, if they did.
    pub shared_core: Option<usize>,
    /// The kernel's release.
    pub kernel: String,
    /// The compiler's version.
    pub rustc: String,
    /// Go's version, if there is Go.
    pub go: Option<String>,
    /// How many processes wanted a core, on average over the minute before the start.
    pub load_at_start: Option<String>,
    /// The same at the end. The benchmark itself is about 1 of them.
    pub load_at_end: Option<String>,
    /// What others took of all processors, in percent, in the second before each round.
    pub taken_by_others: Vec<f64>,
}

impl Machine {
    /// Looks at this machine. `cores` is how many there are, asked before this process was kept on one.
    pub fn look(shared_core: Option<usize>, go: Option<String>) -> Self {
        let unknown = || "unknown".to_owned();
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let processor =
            model.and_then(|line| line.split_once(": ")).map_or_else(unknown, |(_, model)| model.to_owned());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
        let rustc = Command::new("rustc").arg("--version").output();
        Machine {
            processor,
            cores: if cores > 0 { cores } else { thread::available_parallelism().map_or(1, Into::into) },
            shared_core,
            kernel: kernel.map_or_else(|_| unknown(), |text| text.trim().to_owned()),
            rustc: rustc.map_or_else(|_| unknown(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            go,
            load_at_start: load(),
            load_at_end: None,
            taken_by_others: Vec::new(),
        }
    }

    /// The most that others took before a round, in percent of all processors.
    pub fn most_taken(&self) -> f64 {
        self.taken_by_others.iter().copied().fold(0.0, f64::max)
    }
}

/// What others take of all processors, in percent: this program sleeps for a second and looks who works.
pub fn taken_by_others() -> Result<f64> {
    let before = ticks()?;
    thread::sleep(Duration::from_secs(1));
    let after = ticks()?;
    let (idle, all) = (after.0 - before.0, after.1 - before.1);
    Ok(if all > 0.0 { 100.0 * (1.0 - idle / all) } else { 0.0 })
}

/// The time that all processors have been idle, and all of their time. What another machine on the same host took (steal) is
/// not idle.
fn ticks() -> Result<(f64, f64)> {
    let stat = fs::read_to_string("/proc/stat").context("cannot see how busy the processors are")?;
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is in these (proc_stat(5)).
    let ticks: Vec<f64> =
        stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
    let [_, _, _, idle, waiting, ..] = ticks[..] else { anyhow::bail!("/proc/stat has another form than expected") };
    Ok((idle + waiting, ticks.iter().sum()))
}

/// The load average of the last minute.
pub fn load() -> Option<String> {
    let loads = fs::read_to_string("/proc/loadavg").ok()?;
    loads.split(' ').next().map(str::to_owned)
}
