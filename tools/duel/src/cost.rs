//! What work costs: processor time and memory, as the kernel counts them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this process, and every one that it starts, on one core. Returns which, or nothing where that isn't allowed.
pub fn pin() -> Option<usize> {
    let allowed = sched_getaffinity(None).ok()?;
    // The last: interrupts tend to be served by the first.
    let core = (0..CpuSet::MAX_CPU).rev().find(|&core| allowed.is_set(core))?;
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one).ok()?;
    Some(core)
}

/// Allows this process, and every one that it starts, as many descriptors as it may have.
pub fn raise_descriptor_limit() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("cannot raise the limit of descriptors")
}

/// Processor time of client and server, from a moment on.
pub struct Meter {
    server: ClockId,
    server_began: Duration,
    client_began: Duration,
}

/// Processor time used.
#[derive(Clone, Copy)]
pub struct Used {
    /// By the server, all its threads, ended ones included.
    pub server: Duration,
    /// By this process.
    pub client: Duration,
}

impl Meter {
    /// Begins to measure.
    pub fn start(server: u32) -> Result<Self> {
        let pid = Pid::from_raw(server.try_into().context("the server's process number is too large")?);
        let server = clock_getcpuclockid(pid).context("cannot see the processor time of the server")?;
        Ok(Meter { server, server_began: now(server)?, client_began: now(CLIENT)? })
    }

    /// What was used since.
    pub fn used(&self) -> Result<Used> {
        Ok(Used {
            server: now(self.server)?.saturating_sub(self.server_began),
            client: now(CLIENT)?.saturating_sub(self.client_began),
        })
    }
}

const CLIENT: ClockId = ClockId::CLOCK_PROCESS_CPUTIME_ID;

fn now(clock: ClockId) -> Result<Duration> {
    let time = clock_gettime(clock).context("cannot read the processor time: the server may have ended")?;
    Ok(Duration::from_nanos(time.num_nanoseconds().try_into()?))
}

/// How many bytes of a process's memory are resident.
pub fn resident(pid: u32) -> Result<u64> {
    // Not `statm`, which may be off by some pages for each core.
    let rollup =
        fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("cannot see the memory of the server")?;
    let line =
        rollup.lines().find_map(|line| line.strip_prefix("Rss:")).context("the kernel tells no resident memory")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("the kernel tells no resident memory")?;
    Ok(kib * 1024)
}
