//! Where the figures come from: they mean little elsewhere.

use std::fs;
use std::process::Command;
use std::thread;

use serde::Serialize;

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
        }
    }
}

/// The load average of the last minute.
pub fn load() -> Option<String> {
    let loads = fs::read_to_string("/proc/loadavg").ok()?;
    loads.split(' ').next().map(str::to_owned)
}
