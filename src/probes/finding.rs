//! What a probe says of a server: a verdict, and the evidence that it rests on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::lab::lack::Lack;
use crate::lab::server::Running;

/// The verdict on one pitfall. Only `falls` makes a program end with status 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The server avoids the pitfall.
    Holds,
    /// The server is in the pitfall.
    Falls,
    /// The server does what sane servers decide differently, and its user should know.
    Differs,
    /// A figure without a judgement.
    Note,
    /// The probe could not be run; the evidence says why.
    Skipped,
}

impl Verdict {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Falls => "falls",
            Verdict::Differs => "differs",
            Verdict::Note => "note",
            Verdict::Skipped => "skipped",
        }
    }
}

/// A verdict and what it rests on. In JSON: `verdict`, and the evidence's `evidence` and `difference`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// What it rests on.
    #[serde(flatten)]
    pub evidence: Evidence,
}

impl Finding {
    /// The server avoids the pitfall, as this shows.
    pub fn holds(evidence: impl Into<Evidence>) -> Self {
        Finding { verdict: Verdict::Holds, evidence: evidence.into() }
    }

    /// The server is in the pitfall, as this shows.
    pub fn falls(evidence: impl Into<Evidence>) -> Self {
        Finding { verdict: Verdict::Falls, evidence: evidence.into() }
    }

    /// The probe was not run, for this reason.
    pub fn skipped(why: impl Into<Evidence>) -> Self {
        Finding { verdict: Verdict::Skipped, evidence: why.into() }
    }

    /// The prober or its machine lacks this, which says nothing of the server.
    pub(crate) fn own_lack(why: impl Into<Evidence>) -> Self {
        Self::skipped(Evidence { own_lack: true, ..why.into() })
    }
}

/// What a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was sent and what came back, in a sentence that tells all without the difference.
    #[serde(rename = "evidence")]
    pub sentence: String,
    /// Where what came differs from what was expected, if two runs of bytes were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
    /// Whether it tells of what the prober or its machine lacks: then the probe should be run again where that is not so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_lack: bool,
}

impl<S: Into<String>> From<S> for Evidence {
    fn from(sentence: S) -> Self {
        Evidence { sentence: sentence.into(), difference: None, own_lack: false }
    }
}

/// The sentence.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// Bytes that were expected and others that came. In JSON, both as text, with `\n` and `\xff` for what isn't text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What was expected.
    #[serde(with = "escaped")]
    pub expected: Vec<u8>,
    /// What came.
    #[serde(with = "escaped")]
    pub got: Vec<u8>,
    /// The first byte that differs, counted from 0. Where one is the beginning of the other, its length.
    pub at: usize,
}

impl Difference {
    /// Compares what was expected with what came.
    pub fn between(expected: &[u8], got: &[u8]) -> Self {
        let at = expected.iter().zip(got).take_while(|(one, other)| one == other).count();
        Difference { expected: expected.to_vec(), got: got.to_vec(), at }
    }
}

/// Bytes as text, and back.
mod escaped {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::lab::recording::{escape, unescape};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        bytes(&text).ok_or_else(|| D::Error::custom(format!("\"{text}\" has a backslash that escapes nothing")))
    }

    /// The bytes of which `escape` made this text.
    fn bytes(text: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some((plain, escape)) = rest.split_once('\\') {
            let (byte, after) = unescape(escape)?;
            bytes.extend_from_slice(plain.as_bytes());
            bytes.push(byte);
            rest = after;
        }
        bytes.extend_from_slice(rest.as_bytes());
        Some(bytes)
    }
}

/// How a probe ends. `Ok` is the evidence that the server holds, and can be nothing else; `?` ends the probe with any
/// other verdict. A part of a probe gives something of its own for `Ok`, and the probe goes on.
pub(crate) type Judged<T = Evidence> = Result<T, Otherwise>;

/// A finding that isn't `holds`.
#[derive(Debug)]
pub(crate) struct Otherwise(Finding);

impl Otherwise {
    /// The server is in the pitfall, as this shows.
    pub(crate) fn falls(evidence: impl Into<Evidence>) -> Self {
        Otherwise(Finding::falls(evidence))
    }

    /// The server does what sane servers decide differently, as this shows.
    pub(crate) fn differs(evidence: impl Into<Evidence>) -> Self {
        Otherwise(Finding { verdict: Verdict::Differs, evidence: evidence.into() })
    }

    /// A figure without a judgement.
    pub(crate) fn note(evidence: impl Into<Evidence>) -> Self {
        Otherwise(Finding { verdict: Verdict::Note, evidence: evidence.into() })
    }

    /// The probe can't be run, for this reason.
    pub(crate) fn skipped(why: impl Into<Evidence>) -> Self {
        Otherwise(Finding::skipped(why))
    }

    /// The prober or its machine lacks this, which says nothing of the server.
    pub(crate) fn own_lack(why: impl Into<Evidence>) -> Self {
        Otherwise(Finding::own_lack(why))
    }

    /// Which it is.
    pub(crate) fn verdict(&self) -> Verdict {
        self.0.verdict
    }

    /// Where what came differs from what was expected, if two runs of bytes were compared.
    pub(crate) fn difference(&self) -> Option<&Difference> {
        self.0.evidence.difference.as_ref()
    }

    /// Whether it says that the server does something otherwise than was expected.
    pub(crate) fn accuses(&self) -> bool {
        matches!(self.0.verdict, Verdict::Falls | Verdict::Differs)
    }

    /// The same with this difference beside the sentence.
    pub(crate) fn showing(mut self, difference: Difference) -> Self {
        self.0.evidence.difference = Some(difference);
        self
    }

    /// The same in other words.
    pub(crate) fn reword(mut self, change: impl FnOnce(&str) -> String) -> Self {
        self.0.evidence.sentence = change(&self.0.evidence.sentence);
        self
    }
}

impl From<Lack> for Otherwise {
    fn from(lack: Lack) -> Self {
        Otherwise::own_lack(lack.to_string())
    }
}

/// The sentence.
impl fmt::Display for Otherwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.evidence.fmt(f)
    }
}

/// Ends a probe: the server falls, as this sentence shows. Written like `format!`.
macro_rules! falls {
    ($($sentence:tt)+) => { return Err($crate::probes::Otherwise::falls(format!($($sentence)+))) };
}
pub(crate) use falls;

/// Ends a probe: it can't be run, for this reason. Written like `format!`.
macro_rules! skipped {
    ($($why:tt)+) => { return Err($crate::probes::Otherwise::skipped(format!($($why)+))) };
}
pub(crate) use skipped;

impl From<Judged> for Finding {
    fn from(judged: Judged) -> Self {
        judged.map_or_else(|Otherwise(finding)| finding, Finding::holds)
    }
}

/// What can be added to the sentence of a verdict on its way out of a probe.
pub(crate) trait Explained {
    /// What it is about: stands before the sentence.
    fn about(self, what: &str) -> Self;

    /// How the server's process ended, if it has: that explains more than the end of a connection.
    fn with_obituary(self, server: &mut Running) -> Self;
}

impl<T> Explained for Judged<T> {
    fn about(self, what: &str) -> Self {
        self.map_err(|other| other.reword(|sentence| format!("{what}: {sentence}")))
    }

    fn with_obituary(self, server: &mut Running) -> Self {
        self.map_err(|other| match server.obituary() {
            // A client that could not connect has said it already.
            Some(obituary) if !other.0.evidence.sentence.contains(&obituary) => {
                other.reword(|sentence| format!("{sentence}; {obituary}"))
            }
            _ => other,
        })
    }
}
