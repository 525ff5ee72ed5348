//! Hostile but fair clients. Each detects one pitfall in any server that echoes lines, in whatever language it is
//! written, and knows nothing of how it is built.
//!
//! `falls` is said only of an event that was observed, or after the full limit of 10 s. Where a shorter patience is
//! used, it can only let a faulty server pass.

mod any_bytes;
mod ch1_start_up;
mod ch2_accepting;
mod ch3_crowding;
mod ch4_messages;
mod ch5_lines;
mod ch6_stopping;
mod deadlines;
mod deaf_client;
mod finding;
mod sending;
mod trial;

pub(crate) use self::ch3_crowding::silent_crowd;
pub use self::finding::{Difference, Evidence, Finding, Verdict};
pub(crate) use self::finding::{Explained, Judged, Otherwise, falls, skipped};
pub(crate) use self::sending::Sending;
pub use self::trial::{Terms, Trial};
pub(crate) use self::trial::{draw_port, refuses_within, require_no_wrapper, unreachable};
use crate::lab::recording::Recorder;
use crate::lab::server::Target;

/// What a probe needs besides an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Address,
    /// A command, so that it can start the server itself.
    Command,
    /// A command, and Linux, whose `/proc` it reads.
    CommandOnLinux,
    /// Linux, for a socket option.
    Linux,
    /// A command, and signals.
    Signals,
}

impl Needs {
    /// What that is, as the end of "It needs".
    pub fn in_words(self) -> &'static str {
        match self {
            Needs::Address => "only the server's address",
            Needs::Command => "a command that starts the server",
            Needs::CommandOnLinux => "a command that starts the server, and Linux, whose /proc it reads",
            Needs::Linux => "Linux, for a socket option",
            Needs::Signals => "a command that starts the server, and a system with signals",
        }
    }
}

/// A client that detects one pitfall.
pub struct Probe {
    /// Its kebab-case name, which is the pitfall's as well.
    pub name: &'static str,
    /// The chapter whose server is the first to hold.
    pub chapter: u8,
    /// What it does and what it expects, in a sentence.
    pub does: &'static str,
    /// How to mend a server that falls, in a sentence. None where that is for the reader to find out.
    pub remedy: Option<&'static str>,
    /// What it needs.
    pub needs: Needs,
    /// Whether other work on the machine at the same time would disturb it.
    pub runs_alone: bool,
    pub(crate) examine: fn(&Trial<'_>) -> Judged,
}

/// What most probes have in common. The rest of it is no probe.
const PLAIN: Probe = Probe {
    name: "",
    chapter: 0,
    does: "",
    remedy: None,
    needs: Needs::Address,
    runs_alone: false,
    examine: |_| skipped!("it does nothing"),
};

impl Probe {
    /// Examines a server.
    pub fn run(&self, target: &Target, terms: &Terms, recorder: &Recorder) -> Finding {
        if let Some(why) = self.impossible(target) {
            return Finding::skipped(why);
        }
        let trial = Trial::new(target, terms, recorder);
        (self.examine)(&trial).into()
    }

    /// Whether it has to start the server itself.
    pub fn in_need_of_a_command(&self) -> bool {
        matches!(self.needs, Needs::Command | Needs::CommandOnLinux | Needs::Signals)
    }

    /// Where its source is in the repository: a file, or a folder.
    pub fn source(&self) -> String {
        let file = ALL.iter().find(|(_, probes)| probes.iter().any(|probe| probe.name == self.name));
        format!("src/probes/{}", file.map_or("", |(file, _)| file))
    }

    /// Why this probe can't be run on this target here.
    pub(crate) fn impossible(&self, target: &Target) -> Option<&'static str> {
        let linux = cfg!(target_os = "linux");
        match self.needs {
            _ if self.in_need_of_a_command() && !matches!(target, Target::Command(_)) => {
                Some("no start command was given; it has to start the server itself")
            }
            Needs::Linux if !linux => Some("it needs Linux, for a socket option"),
            Needs::CommandOnLinux if !linux => Some("it needs Linux, whose /proc it reads"),
            Needs::Signals if !cfg!(unix) => Some("it stops the server with SIGTERM, which this system does not have"),
            _ => None,
        }
    }
}

/// Every probe, in the order of the chapters, with the file or folder of src/probes that has its source.
static ALL: &[(&str, &[Probe])] = &[
    ("ch1_start_up.rs", ch1_start_up::PROBES),
    ("ch2_accepting.rs", ch2_accepting::PROBES),
    ("ch3_crowding.rs", ch3_crowding::PROBES),
    ("ch4_messages.rs", ch4_messages::PROBES),
    ("any_bytes.rs", any_bytes::PROBES),
    ("ch5_lines.rs", ch5_lines::PROBES),
    ("deaf_client.rs", deaf_client::PROBES),
    ("deadlines.rs", deadlines::PROBES),
    ("ch6_stopping", ch6_stopping::PROBES),
];

/// All probes, one after the other.
pub fn all() -> impl Iterator<Item = &'static Probe> {
    ALL.iter().flat_map(|(_, probes)| *probes)
}

/// The probe with this name.
pub fn find(name: &str) -> Option<&'static Probe> {
    all().find(|probe| probe.name == name)
}
