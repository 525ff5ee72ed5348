//! Signals by name, and what a started program inherits of them.

use std::fmt;
use std::str::FromStr;

use anyhow::{Error, bail};

/// A signal that servers are told to stop, reload or report with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signal {
    /// What `kill PID` sends: please stop.
    #[default]
    Term,
    /// Ctrl-C.
    Int,
    /// The graceful stop of nginx; others write a core or a list of their threads.
    Quit,
    /// The terminal is gone. Many servers read their configuration again.
    Hup,
    /// For each program to define; the graceful stop of HAProxy.
    Usr1,
    /// For each program to define.
    Usr2,
    /// The graceful stop of Apache.
    Winch,
}

impl Signal {
    /// All of them.
    pub const ALL: [Signal; 7] =
        [Signal::Term, Signal::Int, Signal::Quit, Signal::Hup, Signal::Usr1, Signal::Usr2, Signal::Winch];

    /// Its name without `SIG`, as `kill -s` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Term => "TERM",
            Signal::Int => "INT",
            Signal::Quit => "QUIT",
            Signal::Hup => "HUP",
            Signal::Usr1 => "USR1",
            Signal::Usr2 => "USR2",
            Signal::Winch => "WINCH",
        }
    }

    /// The number that this system gives it. `WINCH` is 28 on Linux and macOS alike, `USR1` isn't.
    #[cfg(unix)]
    pub fn number(self) -> i32 {
        self.raw().as_raw()
    }

    #[cfg(unix)]
    pub(super) fn raw(self) -> rustix::process::Signal {
        use rustix::process::Signal as Raw;
        match self {
            Signal::Term => Raw::TERM,
            Signal::Int => Raw::INT,
            Signal::Quit => Raw::QUIT,
            Signal::Hup => Raw::HUP,
            Signal::Usr1 => Raw::USR1,
            Signal::Usr2 => Raw::USR2,
            Signal::Winch => Raw::WINCH,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIG{}", self.name())
    }
}

/// With or without `SIG`, in capitals or not.
impl FromStr for Signal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let capitals = text.to_uppercase();
        let name = capitals.strip_prefix("SIG").unwrap_or(&capitals);
        if let Some(signal) = Signal::ALL.into_iter().find(|signal| signal.name() == name) {
            return Ok(signal);
        }
        let names = Signal::ALL.map(Signal::name).join(", ");
        bail!("\"{text}\" is not a signal that can be sent here. Write one of {names}")
    }
}

/// Makes every program that the calling thread starts from now on begin with signals as usual: none blocked, none ignored.
///
/// Both are inherited. A script starts its background jobs with SIGINT ignored, `nohup` ignores SIGHUP, and a server that
/// never sees its signal would be accused of not stopping.
#[cfg(unix)]
pub(super) fn as_usual() {
    use std::sync::Once;

    static CATCH_IGNORED: Once = Once::new();
    CATCH_IGNORED.call_once(|| ignored().into_iter().for_each(catch));
    // The calling thread's mask is what the program would inherit.
    let _ = nix::sys::signal::SigSet::all().thread_unblock();
}

#[cfg(not(unix))]
pub(super) fn as_usual() {}

/// Catches a signal and does nothing, which is as good as to ignore it, but isn't inherited: what is caught is set back to
/// the default when a program is started (execve(2)).
#[cfg(unix)]
fn catch(signal: i32) {
    let _ = signal_hook::flag::register(signal, std::sync::Arc::default());
}

/// The signals that this program ignores, as far as that is known (on Linux), but for those that can't or mustn't be caught,
/// and SIGPIPE, which std takes care of.
#[cfg(unix)]
fn ignored() -> Vec<i32> {
    use signal_hook::consts::{FORBIDDEN, SIGPIPE};
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_left_alone = |signal: &i32| FORBIDDEN.contains(signal) || *signal == SIGPIPE;
    let is_ignored = |signal: &i32| is_in_set(&status, "SigIgn", *signal) == Some(true);
    (1..32).filter(|signal| !is_left_alone(signal) && is_ignored(signal)).collect()
}

/// Whether a set of signals in a `/proc/PID/status` has this one (proc(5)).
#[cfg(unix)]
pub(super) fn is_in_set(status: &str, set: &str, signal: i32) -> Option<bool> {
    let set = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(':'))?;
    let set = u64::from_str_radix(set.trim(), 16).ok()?;
    Some(set & (1 << (signal - 1)) != 0)
}
