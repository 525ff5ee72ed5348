//! Bytes with places to fill in: requests, and what right answers look like.

use std::fmt;

use anyhow::{Result, bail, ensure};

use crate::lab::client::Match;
use crate::lab::recording::{escape, unescape};

/// The longest answer that is waited for, in bytes. Beyond it, a `*` has not been followed by what ends it.
pub(super) const LONGEST: usize = 1024 * 1024;

/// Bytes, and places among them.
///
/// Written as text: `\r`, `\n`, `\t`, `\0`, `\\` and `\xHH` stand for bytes; `{n}` for something that differs in each
/// request; `{len1}`, `{len2}` and `{len4}` for the length in bytes of all that follows, the most significant byte
/// first. In an answer, `*` stands for anything up to what follows it, and `\*` for a star.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    /// `{n}`.
    Number,
    /// `{len2}`: the length of all that follows, as so many bytes.
    Length(usize),
    /// `*`.
    Anything,
}

impl Template {
    /// Reads a request, in which a `*` is a star.
    ///
    /// # Errors
    /// A sentence that quotes what can't be read, or says that there is nothing to send.
    pub fn request(text: &str) -> Result<Self> {
        ensure!(!text.is_empty(), "it is empty, and a request has at least one byte, as in 'PING\\r\\n'");
        Self::parse(text, false)
    }

    /// Reads what a right answer looks like.
    ///
    /// # Errors
    /// A sentence that quotes what can't be read, or says that nothing ends a `*`.
    pub fn answer(text: &str) -> Result<Self> {
        let template = Self::parse(text, true)?;
        let bounded = template.0.iter().any(|part| matches!(part, Part::Length(_)));
        let open_end = matches!(template.0.as_slice(), [.., Part::Anything]);
        ensure!(
            bounded || !open_end,
            "\"{text}\" ends with *, so nobody can say where the answer ends. Write what stands at its end, as in '220 *\\r\\n'"
        );
        ensure!(!template.0.is_empty(), "an empty answer can't be told from none");
        Ok(template)
    }

    /// Bytes as they are, without places.
    pub fn exact(bytes: &[u8]) -> Self {
        Template(vec![Part::Bytes(bytes.to_vec())])
    }

    /// A beginning, what differs in each request, and an end.
    pub fn around_number(before: &[u8], after: &[u8]) -> Self {
        Template(vec![Part::Bytes(before.to_vec()), Part::Number, Part::Bytes(after.to_vec())])
    }

    /// A beginning and an end, and anything in between.
    pub fn around_anything(before: &[u8], after: &[u8]) -> Self {
        Template(vec![Part::Bytes(before.to_vec()), Part::Anything, Part::Bytes(after.to_vec())])
    }

    fn parse(text: &str, star_is_anything: bool) -> Result<Self> {
        let mut parts = Vec::new();
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let place = match rest {
                _ if rest.starts_with("{n}") => Some((Part::Number, 3)),
                _ if rest.starts_with("{len1}") => Some((Part::Length(1), 6)),
                _ if rest.starts_with("{len2}") => Some((Part::Length(2), 6)),
                _ if rest.starts_with("{len4}") => Some((Part::Length(4), 6)),
                _ if first == '*' && star_is_anything => Some((Part::Anything, 1)),
                _ => None,
            };
            if let Some((part, length)) = place {
                if !bytes.is_empty() {
                    parts.push(Part::Bytes(std::mem::take(&mut bytes)));
                }
                parts.push(part);
                rest = &rest[length..];
                continue;
            }
            if let Some(unknown) = placeholder(rest) {
                bail!(
                    "in \"{text}\", {{{unknown}}} is no placeholder. There are {{n}}, {{len1}}, {{len2}} and {{len4}}; for a brace \
                     itself write \\x7b"
                );
            }
            rest = &rest[first.len_utf8()..];
            if first != '\\' {
                bytes.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            let star = rest.strip_prefix('*').map(|after| (b'*', after));
            let Some((byte, after)) = star.or_else(|| unescape(rest)) else {
                bail!(
                    "in \"{text}\", a \\ is not followed by r, n, t, 0, *, \\, or by x and two hexadecimal digits, as in \\x0d"
                );
            };
            bytes.push(byte);
            rest = after;
        }
        if !bytes.is_empty() {
            parts.push(Part::Bytes(bytes));
        }
        Ok(Template(parts))
    }

    /// Whether it has a place for what differs in each request.
    pub fn is_numbered(&self) -> bool {
        self.0.contains(&Part::Number)
    }

    /// The bytes of a request, `{n}` filled in.
    pub fn fill(&self, number: &[u8]) -> Vec<u8> {
        // From the end, since a length counts what follows it.
        self.0.iter().rev().fold(Vec::new(), |after, part| {
            let this = match part {
                Part::Bytes(bytes) => bytes.clone(),
                Part::Number => number.to_vec(),
                Part::Length(width) => after.len().to_be_bytes()[size_of::<usize>() - width..].to_vec(),
                Part::Anything => b"*".to_vec(),
            };
            [this, after].concat()
        })
    }

    /// Holds an answer against this, `{n}` filled in.
    pub fn check(&self, number: &[u8], got: &[u8]) -> Match {
        check(&self.0, number, got, 0)
    }
}

/// What stands in the braces that this begins with, if it looks like the name of a place: JSON doesn't.
fn placeholder(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    (!name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric())).then_some(name)
}

/// Holds what comes from `at` on against these parts.
fn check(parts: &[Part], number: &[u8], got: &[u8], at: usize) -> Match {
    let Some((part, after)) = parts.split_first() else { return Match::Whole(at) };
    let expected = match part {
        Part::Bytes(bytes) => bytes,
        Part::Number => number,
        Part::Length(width) => {
            let Some(header) = got.get(at..at + width) else { return Match::Partial };
            let length = header.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
            let end = at + width + length;
            if length > LONGEST {
                return Match::Wrong(at);
            }
            return match check(after, number, &got[..end.min(got.len())], at + width) {
                Match::Wrong(place) => Match::Wrong(place),
                _ if got.len() < end => Match::Partial,
                // What follows has to fill the announced length, no more and no less.
                Match::Whole(whole) if whole == end || after.is_empty() => Match::Whole(end),
                Match::Whole(place) => Match::Wrong(place),
                Match::Partial | Match::UntilEnd => Match::Wrong(end),
            };
        }
        Part::Anything => {
            // At the end, only what is bounded by a length in front. Else what follows is looked for, wherever it may stand.
            let next = match after.first() {
                Some(Part::Bytes(bytes)) => bytes,
                Some(Part::Number) => number,
                _ => return Match::Whole(got.len()),
            };
            let (mut wrong, mut is_open) = (None, false);
            for place in (at..got.len()).filter(|&place| got[place..].starts_with(next)) {
                match check(after, number, got, place) {
                    Match::Wrong(differs) => wrong = wrong.or(Some(differs)),
                    Match::Partial | Match::UntilEnd => is_open = true,
                    whole @ Match::Whole(_) => return whole,
                }
            }
            let is_over = matches!(after.last(), Some(Part::Bytes(end)) if got.ends_with(end));
            return match wrong {
                Some(differs) if is_over && !is_open => Match::Wrong(differs),
                _ if got.len() - at > LONGEST => Match::Wrong(got.len()),
                _ => Match::Partial,
            };
        }
    };
    let there = &got[at..];
    match there.iter().zip(expected).position(|(got, expected)| got != expected) {
        Some(differs) => Match::Wrong(at + differs),
        None if there.len() < expected.len() => Match::Partial,
        None => check(after, number, got, at + expected.len()),
    }
}

/// As it is written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Bytes(bytes) => f.write_str(&escape(bytes)),
            Part::Number => f.write_str("{n}"),
            Part::Length(width) => write!(f, "{{len{width}}}"),
            Part::Anything => f.write_str("*"),
        })
    }
}
