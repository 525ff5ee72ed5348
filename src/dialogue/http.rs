//! Where an HTTP answer ends, and what its status is (RFC 9112, sections 6 and 7). One that doesn't say how long it is ends
//! with the connection (section 6.3).

use super::template::LONGEST;
use crate::lab::client::Match;

/// What a right HTTP answer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Its status, if one is expected.
    pub status: Option<u16>,
}

/// An answer that has been read.
pub(super) struct Parsed {
    pub(super) status: u16,
    /// Where it begins: behind interim answers, if there are any.
    at: usize,
    /// Where it ends. Nothing if it ends with the connection.
    pub(super) end: Option<usize>,
    /// Whether the connection ends with it, as it says itself.
    pub(super) is_last: bool,
}

impl HttpAnswer {
    /// Holds an answer against this.
    pub fn check(&self, got: &[u8]) -> Match {
        match parse(got) {
            Err(at) => Match::Wrong(at),
            Ok(None) if got.len() > LONGEST => Match::Wrong(got.len()),
            Ok(None) => Match::Partial,
            // The digits of the status stand behind "HTTP/1.1 ".
            Ok(Some(answer)) if self.status.is_some_and(|status| status != answer.status) => {
                Match::Wrong(answer.at + 9)
            }
            Ok(Some(Parsed { end: Some(end), .. })) if end <= got.len() => Match::Whole(end),
            Ok(Some(Parsed { end: Some(_), .. })) => Match::Partial,
            Ok(Some(Parsed { end: None, .. })) => Match::UntilEnd,
        }
    }
}

/// Reads the head, and as much of the body as it takes to find the end. `Err` is the place of what is no HTTP.
///
/// An interim answer, such as 103 with hints, stands before the answer (RFC 9110, section 15.2).
pub(super) fn parse(got: &[u8]) -> Result<Option<Parsed>, usize> {
    const PREFIX: &[u8] = b"HTTP/1.";
    if let Some(at) = got.iter().zip(PREFIX).position(|(got, expected)| got != expected) {
        return Err(at);
    }
    let mut headers = [httparse::EMPTY_HEADER; 96];
    let mut head = httparse::Response::new(&mut headers);
    let body = match head.parse(got) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(PREFIX.len()),
    };
    let header = |name: &str| {
        let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase())
    };
    let status = head.code.unwrap_or_default();
    if matches!(status, 100 | 102..200) {
        let last = parse(&got[body..]).map_err(|at| body + at)?;
        return Ok(last.map(|last| Parsed { at: body + last.at, end: last.end.map(|end| body + end), ..last }));
    }
    let is_last = match header("connection") {
        Some(value) => value.contains("close"),
        None => head.version == Some(0),
    };
    let chunked = header("transfer-encoding").is_some_and(|value| value.ends_with("chunked"));
    let end = if matches!(status, 101 | 204 | 304) {
        Some(body)
    } else if chunked {
        match end_of_chunks(got, body)? {
            Some(end) => Some(end),
            None => return Ok(None),
        }
    } else {
        header("content-length").and_then(|length| length.parse::<usize>().ok()).map(|length| body + length)
    };
    Ok(Some(Parsed { status, at: 0, end, is_last }))
}

fn end_of_chunks(got: &[u8], mut at: usize) -> Result<Option<usize>, usize> {
    loop {
        match httparse::parse_chunk_size(&got[at..]) {
            Ok(httparse::Status::Complete((line, 0))) => {
                // Trailers, if any, and an empty line.
                let trailers = &got[at + line - 2..];
                let end = trailers.windows(4).position(|window| window == b"\r\n\r\n");
                return Ok(end.map(|end| at + line - 2 + end + 4));
            }
            Ok(httparse::Status::Complete((line, size))) => {
                at += line + usize::try_from(size).unwrap_or(LONGEST).min(LONGEST) + 2;
                if at > got.len() {
                    return Ok(None);
                }
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(at),
        }
    }
}
