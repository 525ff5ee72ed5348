//! Whether this machine has more to do than it can. What comes late then may be its own fault.

use std::fs;
use std::thread;

/// How many programs for each core are ready to run when the machine counts as too busy.
const TOO_MANY: f32 = 2.0;

/// How busy this machine is, such as "load 62 on 2 cores", if that is too busy to judge times. `None` also where it can't be
/// told: the load is that of Linux, a mean of the last minute.
pub fn overload() -> Option<String> {
    let cores = thread::available_parallelism().ok()?.get();
    let load: f32 = fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()?;
    let most = TOO_MANY * f32::from(u16::try_from(cores).ok()?);
    (load > most).then(|| format!("load {load:.0} on {cores} core{}", if cores == 1 { "" } else { "s" }))
}

/// Why something was not judged that could have been, and what to do, as the end of a sentence.
pub fn too_busy() -> String {
    let how = overload().map_or_else(String::new, |load| format!(" ({load})"));
    format!("this machine was too busy{how}: check again when it is quieter")
}
