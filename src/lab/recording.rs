//! What happened, as data: events with a time, an actor and what it did.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde::Serialize;

use super::lock;

/// How many events one recording keeps. Further ones are only counted.
const CAPACITY: usize = 20_000;

/// How many bytes of each payload are kept.
const PAYLOAD_HEAD: usize = 48;

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Nanoseconds since the recording began.
    pub at_ns: u64,
    /// Who did it: `client 1`, `server`, `kernel`.
    pub who: String,
    /// What was done.
    #[serde(flatten)]
    pub action: Action,
}

impl Event {
    /// Whether a call of the server did all that was asked of it: a `read` that got bytes, a `write` that took all.
    pub fn is_ordinary_call(&self) -> bool {
        match &self.action {
            Action::Read(_) => true,
            Action::Wrote { given, taken } => *given == taken.len(),
            _ => false,
        }
    }
}

/// What an event was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Action {
    /// A client's connection was established.
    Connects,
    /// A client could not connect.
    CannotConnect {
        /// The system's reason.
        why: String,
    },
    /// A client handed these bytes to its kernel.
    Sends(Payload),
    /// A client got these bytes.
    Receives(Payload),
    /// A client was told that no more will come.
    SeesEnd,
    /// A client was told that the connection was reset.
    SeesReset,
    /// A client waited in vain.
    HearsNothing {
        /// For how many milliseconds.
        for_ms: u64,
    },
    /// A client ended its sending side.
    HalfCloses,
    /// A client closed its connection.
    Leaves,
    /// A client reset its connection.
    Resets,
    /// One `read` of the server returned.
    Read(Payload),
    /// One `read` of the server returned 0.
    ReadEnd,
    /// One `write` of the server returned.
    Wrote {
        /// How many bytes it was given.
        given: usize,
        /// How many of them it took.
        taken: Payload,
    },
    /// A `read` or `write` of the server failed.
    Failed {
        /// `read` or `write`.
        call: &'static str,
        /// The error's text.
        error: String,
    },
    /// Anything else, in words.
    Note {
        /// The words.
        text: String,
    },
}

/// Bytes that were moved: how many, and the first of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    len: usize,
    head: Vec<u8>,
}

impl Payload {
    /// Notes these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Payload { len: bytes.len(), head: bytes[..bytes.len().min(PAYLOAD_HEAD)].to_vec() }
    }

    /// How many bytes were moved.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks whether it is empty")]
    pub fn len(&self) -> usize {
        self.len
    }
}

impl Serialize for Payload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown {
            bytes: usize,
            text: String,
        }
        Shown { bytes: self.len, text: escape(&self.head) }.serialize(serializer)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `"hello\n" (6 bytes)`, long ones shortened.
impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 24;
        let unit = if self.len == 1 { "byte" } else { "bytes" };
        let more = if self.len > SHOWN { "…" } else { "" };
        let head = &self.head[..self.head.len().min(SHOWN)];
        write!(f, "\"{}{more}\" ({} {unit})", escape(head), with_thousands(self.len))
    }
}

/// Text as text, everything else escaped: `\n`, `\r`, `\t`, `\xff`.
pub fn escape(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\'' => shown.push(character),
                _ => shown.extend(character.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// A number with commas between its thousands.
pub fn with_thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Takes down events, from any thread. Clones write to the same recording.
#[derive(Clone)]
pub struct Recorder {
    start: Instant,
    recording: Arc<Mutex<Recording>>,
}

/// Everything that was taken down.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Recording {
    /// The events, the earliest first.
    pub events: Vec<Event>,
    /// How many more there were than are kept.
    pub left_out: usize,
}

impl Recorder {
    /// Begins a recording.
    pub fn new() -> Self {
        Recorder { start: Instant::now(), recording: Arc::default() }
    }

    /// Takes down that `who` did `action`, now.
    pub fn record(&self, who: &str, action: Action) {
        self.record_since(Instant::now(), who, action);
    }

    /// Takes down that `who` did `action`, and began it at `began`.
    ///
    /// For sending: the other side may have the bytes, and write that down, before the call that sent them returns.
    pub fn record_since(&self, began: Instant, who: &str, action: Action) {
        let at_ns = u64::try_from(began.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX);
        let mut recording = lock(&self.recording);
        if recording.events.len() < CAPACITY {
            recording.events.push(Event { at_ns, who: who.to_owned(), action });
        } else {
            recording.left_out += 1;
        }
    }

    /// Takes down something in words.
    pub fn note(&self, who: &str, text: impl Into<String>) {
        self.record(who, Action::Note { text: text.into() });
    }

    /// Takes over what another has taken down, with its times, in place of its own.
    pub fn adopt(&self, other: &Recorder) {
        *self.recording.lock().expect("nothing panics while it holds this lock") = other.recording();
    }

    /// What has been taken down so far, in the order in which it happened.
    pub fn recording(&self) -> Recording {
        let mut recording = lock(&self.recording).clone();
        recording.events.sort_by_key(|event| event.at_ns);
        recording
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Connects => write!(f, "connects"),
            Action::CannotConnect { why } => write!(f, "cannot connect: {why}"),
            Action::Sends(payload) => write!(f, "sends {payload}"),
            Action::Receives(payload) => write!(f, "receives {payload}"),
            Action::SeesEnd => write!(f, "sees the end: the server has closed"),
            Action::SeesReset => write!(f, "sees a reset of the connection"),
            Action::HearsNothing { for_ms } => {
                write!(f, "has heard nothing for {}.{} s", for_ms / 1000, for_ms % 1000 / 100)
            }
            Action::HalfCloses => write!(f, "ends its sending side (half-close)"),
            Action::Leaves => write!(f, "leaves"),
            Action::Resets => write!(f, "resets its connection"),
            Action::Read(payload) => write!(f, "read → {payload}"),
            Action::ReadEnd => write!(f, "read → 0, the end"),
            Action::Wrote { given, taken } if *given == taken.len => write!(f, "write → all of {taken}"),
            Action::Wrote { given, taken } => {
                write!(f, "write → {} of {} bytes", with_thousands(taken.len), with_thousands(*given))
            }
            Action::Failed { call, error } => write!(f, "{call} fails: {error}"),
            Action::Note { text } => write!(f, "{text}"),
        }
    }
}
