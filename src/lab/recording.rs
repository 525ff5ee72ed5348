//! What happened, as data: events with a time, an actor and what it did.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::leash::Leash;
use super::lock;
use super::watch::{KernelSide, Watch};

/// How many events one recording keeps. Further ones are only counted.
pub const CAPACITY: usize = 20_000;

/// How many bytes of each payload are kept.
const PAYLOAD_HEAD: usize = 24;

/// How many of its last bytes, if another line begins there.
const PAYLOAD_TAIL: usize = 12;

/// One thing that happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since the recording began.
    pub at_ns: u64,
    /// Who did it: `client 1`, `server`, `kernel`.
    pub who: String,
    /// For which connection, counted from 1, if a server with a thread for each did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<usize>,
    /// What was done.
    #[serde(flatten)]
    pub action: Action,
    /// What the kernel held when all had come to rest after this, if it did and was watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelSide>,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        call: String,
        /// The error's text.
        error: String,
    },
    /// Anything else, in words.
    Note {
        /// The words.
        text: String,
    },
    /// Many calls of the server in a row, summed up.
    MoreCalls {
        /// How many reads there were.
        reads: usize,
        /// How many bytes they got.
        read: usize,
        /// How many writes there were.
        writes: usize,
        /// How many bytes they took.
        written: usize,
    },
    /// The event before this one, so many times more.
    Repeats {
        /// How many times.
        times: usize,
    },
    /// Events that are too many to show, or were too many to keep.
    LeftOut {
        /// How many.
        events: usize,
    },
}

impl Action {
    /// Whether this stands for other events.
    pub fn is_summary(&self) -> bool {
        matches!(self, Action::MoreCalls { .. } | Action::Repeats { .. } | Action::LeftOut { .. })
    }
}

/// Bytes that were moved: how many, and the first of them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    #[serde(rename = "bytes")]
    len: usize,
    /// The first bytes, as text.
    text: String,
    /// The last bytes, as text, if they say more than that it goes on as it began.
    #[serde(skip)]
    end: String,
}

impl Payload {
    /// Notes these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let (head, rest) = bytes.split_at(bytes.len().min(PAYLOAD_HEAD));
        let end = &rest[rest.len().saturating_sub(PAYLOAD_TAIL)..];
        let has_another_line = end.iter().rev().skip(1).any(|&byte| byte == b'\n');
        let end = if has_another_line { escape(end) } else { String::new() };
        Payload { len: bytes.len(), text: escape(head), end }
    }

    /// How many bytes were moved.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks whether it is empty")]
    pub fn len(&self) -> usize {
        self.len
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
        let unit = if self.len == 1 { "byte" } else { "bytes" };
        let more = if self.len > PAYLOAD_HEAD { "…" } else { "" };
        write!(f, "\"{}{more}{}\" ({} {unit})", self.text, self.end, with_thousands(self.len))
    }
}

/// Text as text, and every other byte in one notation, `\x06`, but for `\n`, `\r`, `\t`, `\0` and `\\`.
pub fn escape(bytes: &[u8]) -> String {
    let byte = |byte: &u8| format!("\\x{byte:02x}");
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\'' => shown.push(character),
                // What can't be seen is shown as the bytes it is.
                _ if character.escape_debug().nth(1) == Some('u') => {
                    shown.extend(character.encode_utf8(&mut [0; 4]).as_bytes().iter().map(byte));
                }
                _ => shown.extend(character.escape_debug()),
            }
        }
        shown.extend(chunk.invalid().iter().map(byte));
    }
    shown
}

/// The byte that an escape stands for, given what stands behind its backslash, and what follows it.
pub(crate) fn unescape(text: &str) -> Option<(u8, &str)> {
    let kind = text.chars().next()?;
    let rest = &text[kind.len_utf8()..];
    let byte = match kind {
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        '0' => 0,
        '\\' => b'\\',
        'x' => return Some((u8::from_str_radix(rest.get(..2)?, 16).ok()?, &rest[2..])),
        _ => return None,
    };
    Some((byte, rest))
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

/// What the probe says before it plays everything again, with a longer patience. What is drawn ends here.
pub const AGAIN: &str = "once more from the beginning, with more patience";

/// Takes down events of one examination, from any thread. Clones write to the same recording.
#[derive(Clone)]
pub struct Recorder {
    start: Instant,
    connection: Option<usize>,
    recording: Arc<Mutex<Recording>>,
    leash: Leash,
    watch: Option<Arc<Watch>>,
}

/// Everything that was taken down.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recording {
    /// The events, the earliest first.
    pub events: Vec<Event>,
    /// How many more there were than are kept.
    pub left_out: usize,
    /// What the kernel held, and when. `Recorder::recording` says of each after which event that was.
    #[serde(skip)]
    looks: Vec<(u64, KernelSide)>,
    /// The last lines that a server which lived on had written to standard error.
    #[serde(skip)]
    pub complaints: Vec<String>,
    /// What may be otherwise in another run.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub chance: BTreeSet<Chance>,
}

/// Something that chance decides, and why it does. It is no difference between two recordings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chance {
    /// A number, as the words of the recording and its verdict spell it.
    Number {
        /// The number.
        is: String,
        /// Why it is chance.
        why: String,
    },
    /// One of several things happens, or is said.
    Either {
        /// Their names or words.
        of: Vec<String>,
        /// Why it is chance.
        why: String,
    },
    /// How many calls the server makes, of how many bytes, and every number that tells of them.
    Pieces {
        /// Why it is chance.
        why: String,
    },
}

impl Recorder {
    /// Begins a recording.
    pub fn new() -> Self {
        Recorder {
            start: Instant::now(),
            connection: None,
            recording: Arc::default(),
            leash: Leash::default(),
            watch: None,
        }
    }

    /// Begins a recording that watches the kernel as well, and so takes its time between one event and the next.
    pub fn watching() -> Self {
        Recorder { watch: Some(Watch::new()), ..Self::new() }
    }

    /// Another recording of the same examination: of what is too much to be read, or would hide the rest.
    #[must_use]
    pub fn aside(&self) -> Self {
        Recorder { leash: self.leash.clone(), ..Self::new() }
    }

    /// What the examination holds that this is the recorder of.
    pub fn leash(&self) -> &Leash {
        &self.leash
    }

    /// Writes to the same recording, of what is done for one connection of the server.
    #[must_use]
    pub fn of_connection(&self, number: usize) -> Self {
        Recorder { connection: Some(number), ..self.clone() }
    }

    /// Takes down that `who` did `action`, now.
    pub fn record(&self, who: &str, action: Action) {
        self.record_since(Instant::now(), who, action);
    }

    /// Takes down that `who` did `action`, and began it at `began`.
    ///
    /// For sending: the other side may have the bytes, and write that down, before the call that sent them returns.
    pub fn record_since(&self, began: Instant, who: &str, action: Action) {
        let at_ns = self.since_start(began);
        let mut recording = lock(&self.recording);
        if recording.events.len() < CAPACITY {
            recording.events.push(Event {
                at_ns,
                who: who.to_owned(),
                connection: self.connection,
                action,
                kernel: None,
            });
        } else {
            recording.left_out += 1;
        }
    }

    /// Takes down what the kernel holds after the last event, if it is watched and all comes to rest. To be called before
    /// a client does something more.
    pub(super) fn look(&self) {
        let Some(seen) = self.watch.as_ref().and_then(|watch| watch.still()) else { return };
        lock(&self.recording).looks.push((self.since_start(Instant::now()), seen));
    }

    pub(super) fn watch(&self) -> Option<&Watch> {
        self.watch.as_deref()
    }

    fn since_start(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes down something in words.
    pub fn note(&self, who: &str, text: impl Into<String>) {
        // The server isn't held up.
        if who != "server" {
            self.look();
        }
        self.record(who, Action::Note { text: text.into() });
    }

    /// Takes down that this number, wherever it stands, may be another in the next run.
    pub fn number_by_chance(&self, number: impl fmt::Display, why: &str) {
        self.by_chance(Chance::Number { is: number.to_string(), why: why.to_owned() });
    }

    /// Takes down that in another run another one of these may happen, by its name, or be said, in these words.
    pub fn either_by_chance(&self, of: &[&str], why: &str) {
        let of = of.iter().map(|&one| one.to_owned()).collect();
        self.by_chance(Chance::Either { of, why: why.to_owned() });
    }

    /// Takes down that the server may read and write in other pieces in the next run.
    pub fn pieces_by_chance(&self, why: &str) {
        self.by_chance(Chance::Pieces { why: why.to_owned() });
    }

    fn by_chance(&self, chance: Chance) {
        lock(&self.recording).chance.insert(chance);
    }

    /// Takes down what a server has written to standard error in the meantime, if it has.
    pub(super) fn complaints(&self, lines: Vec<String>) {
        if !lines.is_empty() {
            lock(&self.recording).complaints = lines;
        }
    }

    /// Takes over what another has taken down, with its times, in place of its own.
    pub fn adopt(&self, other: &Recorder) {
        *lock(&self.recording) = other.recording();
    }

    /// What has been taken down so far, in the order in which it happened.
    pub fn recording(&self) -> Recording {
        let mut recording = lock(&self.recording).clone();
        recording.events.sort_by_key(|event| event.at_ns);
        for (at_ns, seen) in std::mem::take(&mut recording.looks) {
            let before = recording.events.partition_point(|event| event.at_ns <= at_ns);
            if let Some(event) = before.checked_sub(1).and_then(|last| recording.events.get_mut(last)) {
                event.kernel = Some(seen);
            }
        }
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
            Action::MoreCalls { reads, read, writes, written } => {
                let calls = [sum_up(*reads, "read", *read), sum_up(*writes, "write", *written)];
                let calls: Vec<String> = calls.into_iter().flatten().collect();
                write!(f, "… {}", calls.join(" and "))
            }
            Action::Repeats { times } => write!(f, "… {} times more", with_thousands(*times)),
            Action::LeftOut { events } => write!(f, "… {} more events", with_thousands(*events)),
        }
    }
}

/// `12 more reads (98,304 bytes)`, or nothing.
fn sum_up(count: usize, call: &str, bytes: usize) -> Option<String> {
    let plural = if count == 1 { "" } else { "s" };
    (count > 0).then(|| format!("{} more {call}{plural} ({} bytes)", with_thousands(count), with_thousands(bytes)))
}
