//! Chapter 5: lines of any length and any bytes, and answers that don't wait in a buffer.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use super::ch4_messages::{MOST_REQUESTS, UNANSWERED, joined, one_by_one, read_all};
use super::sending::{Sending, grown, memory};
use super::trial::{Silence, Trial};
use super::{Explained, Judged, Otherwise, PLAIN, Probe, falls, skipped};
use crate::dialogue::{Lines, Request};
use crate::lab::client::{Client, Reply};
use crate::lab::recording::{Payload, with_thousands};
use crate::lab::server::Running;

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "endless-line",
        chapter: 5,
        does: "Sends up to 64 MiB without an end of the line; the server must refuse at some point, in a way the client can read",
        remedy: Some("Bound the line; answer a longer one with an error, then read on for a moment before closing"),
        examine: endless_line,
        ..PLAIN
    },
    Probe {
        name: "crlf",
        chapter: 5,
        does: "Ends a line with \\r\\n, as telnet and many clients do; the \\r must not be echoed",
        remedy: Some("Drop one \\r before the \\n"),
        examine: crlf,
        ..PLAIN
    },
    Probe {
        name: "not-utf8",
        chapter: 5,
        does: "Sends bytes that aren't UTF-8; a line of them must be echoed as it is or refused with a text, and the next client be served",
        remedy: Some("Read lines as bytes; where text is needed, treat the error as this line's, not as the end"),
        examine: not_utf8,
        ..PLAIN
    },
    Probe {
        name: "withheld-answer",
        chapter: 5,
        does: "Sends a request and waits, and again one with the beginning of the next; the answer must come before the client \
               goes on",
        remedy: Some(
            "Flush the buffered writer before waiting for more of the next request, whether its beginning is here or not",
        ),
        examine: withheld_answer,
        ..PLAIN
    },
    Probe {
        name: "pipelined-lines",
        chapter: 5,
        does: "Sends 10,000 lines without waiting, or 50 requests of another protocol; all must be answered in order",
        remedy: Some(
            "Keep one buffered reader for the whole life of a connection; if joined-messages falls, mend that first",
        ),
        examine: pipelined_lines,
        ..PLAIN
    },
];

/// What is sent without an end, at most, in bytes.
const ENDLESS: usize = 64 * 1024 * 1024;

fn endless_line(trial: &Trial<'_>) -> Judged {
    let dialogue = &trial.terms.dialogue;
    trial.has_requests()?;
    let lines = dialogue.lines.as_ref();
    let (beginning, repeated) = match (lines, &dialogue.endless) {
        (Some(_), _) => (Vec::new(), b"x".to_vec()),
        (None, Some(endless)) => endless.clone(),
        (None, None) => {
            skipped!("no request without an end is known: name one with --endless 'BEGINNING=>REPEATED'")
        }
    };
    let chunk = repeated.repeat((64 * 1024 / repeated.len().max(1)).max(1));
    let mut server = trial.start()?;
    let flood = Flood::send(trial, &mut server, &beginning, &chunk)?;
    let sent = with_thousands(flood.sent);
    let said = Payload::new(&flood.answer);
    if lines.is_some_and(|lines| flood.is_echo(lines)) {
        // A server that answers a long line in pieces keeps none of it.
        if flood.sent_before_answer.is_some_and(|sent| sent < ENDLESS / 16) && !dialogue.claimed {
            return Err(Otherwise::differs(format!(
                "it gave back the beginning of a line before its end: {said}. It has a bound, and a client can't tell such a piece \
                 from an answer"
            )));
        }
        falls!("took a line of {sent} bytes and echoed it: {said}");
    }
    match flood.ending {
        // One that refuses and reads on for a moment may take all of it in that moment.
        _ if !flood.answer.is_empty() => {}
        _ if flood.sent >= ENDLESS => return silent(trial, &mut server, &flood, &beginning, &chunk),
        Reply::Nothing(..) if flood.still_takes => {
            let grown = flood.grown.unwrap_or(0);
            if flood.sent > ENDLESS / 64 && grown > flood.sent / 2 {
                falls!(
                    "after {} s it still took bytes without an end, {sent} of them, and its memory had grown by {} KiB",
                    FLOODING.as_secs(),
                    with_thousands(grown / 1024)
                );
            }
            skipped!("too slow to be judged: after {} s it still took bytes, {sent} of them", FLOODING.as_secs());
        }
        Reply::Nothing(..) if lines.is_some() && flood.grown.is_some_and(|grown| grown < flood.sent / 2) => {
            skipped!(
                "it read no further, and kept little of the {sent} bytes without an end that the kernel took; see every-byte \
                 and pipelined-lines"
            )
        }
        Reply::Nothing(..) if lines.is_some() => {
            return Err(trial.differs(format!("took {sent} bytes without a newline and said nothing")));
        }
        _ => {}
    }
    let after = format!("after {sent} bytes without an end");
    Ok(match flood.ending {
        Reply::Flood => falls!("{after} it flooded the client: {said}"),
        Reply::Nothing(..) if flood.answer.is_empty() => format!("took no more {after}"),
        // A missing end is for half-close to judge.
        Reply::Nothing(..) => format!("{after} it answered {said}"),
        // Which of the two a client sees is chance: a reset is told to one thread, the other may read an end.
        _ if flood.answer.is_empty() => format!("closed the connection {after}, without saying why"),
        Reply::Reset(_) => format!(
            "{after} it answered {said}; the connection was then reset, which the answer survived here but need not everywhere"
        ),
        _ => format!("{after} it answered {said} and closed"),
    }
    .into())
}

/// Judges a server that has taken everything without a word: it may have kept it, or thrown it away.
fn silent(trial: &Trial<'_>, server: &mut Running, first: &Flood, beginning: &[u8], chunk: &[u8]) -> Judged {
    let sent = with_thousands(first.sent);
    let is_lines = trial.terms.dialogue.lines.is_some();
    if is_lines && trial.terms.dialogue.claimed {
        falls!("took {sent} bytes without a newline and said nothing");
    }
    let Some(grown) = first.grown else {
        let what = format!("took {sent} bytes without an end and said nothing; its memory can't be seen from here");
        return Err(if is_lines { trial.differs(what) } else { Otherwise::skipped(what) });
    };
    let mib = |bytes: usize| format!("{} MiB", bytes / 1024 / 1024);
    if grown >= first.sent / 2 {
        // What a collector of garbage has not cleared away yet is no growth: it doesn't come a second time.
        let second = Flood::send(trial, server, beginning, chunk).ok();
        let Some(second) = second.filter(|second| second.sent > ENDLESS / 2) else {
            return Err(Otherwise::differs(format!(
                "took {sent} bytes without an end and said nothing, and its memory grew by {}. It serves no second client beside, so it may \
                 keep them or only not have collected its garbage",
                mib(grown)
            )));
        };
        if let Some(again) = second.grown.filter(|&again| again >= second.sent / 2) {
            falls!(
                "took {sent} bytes without an end and said nothing, and its memory grew by {}; by {} for another client that did \
                 the same",
                mib(grown),
                mib(again)
            );
        }
    }
    let what = format!("took {sent} bytes without an end and said nothing, and its memory grew by {}", mib(grown));
    if is_lines {
        return Err(Otherwise::differs(format!("{what}: it discards what is too long. Others say so, and close")));
    }
    Ok(what.into())
}

/// Takes a part of an answer that has come by now. Says how the connection ended, if it did.
fn hear(client: &Client, answer: &mut Vec<u8>) -> Option<Reply> {
    let mut buffer = [0; 16 * 1024];
    match client.stream().read(&mut buffer) {
        Ok(0) => Some(Reply::End(Vec::new())),
        Ok(count) => {
            answer.extend_from_slice(&buffer[..count]);
            (answer.len() > 2 * ENDLESS).then_some(Reply::Flood)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
            None
        }
        Err(_) => Some(Reply::Reset(Vec::new())),
    }
}

/// For how long bytes without an end are sent at most.
const FLOODING: Duration = Duration::from_secs(20);

/// What came of sending without an end. The client stays connected.
struct Flood {
    sent: usize,
    /// How much was sent when the first byte of an answer came.
    sent_before_answer: Option<usize>,
    answer: Vec<u8>,
    ending: Reply,
    /// Whether the server was still taking bytes when the time was over.
    still_takes: bool,
    /// By how many bytes the server's memory had grown, if that can be seen.
    grown: Option<usize>,
    _client: Client,
}

impl Flood {
    fn send(trial: &Trial<'_>, server: &mut Running, beginning: &[u8], chunk: &[u8]) -> Judged<Flood> {
        const LOOK: Duration = Duration::from_millis(100);
        // Bytes that are still on their way to the server may change its mind.
        const LAST_WORD: Duration = Duration::from_secs(2);
        const TO_THE_END: Duration = Duration::from_secs(3);

        let mut client = trial.connect(server, "client 1")?;
        if client.comes_within(LOOK) {
            let early = Trial::describe(&client.line(LOOK));
            skipped!("it speaks before it is asked ({early}); say what it says with --greeting");
        }
        let before = memory(server);
        trial.recorder.pieces_by_chance("the kernel cuts what is sent without a pause");
        client.note(format!("sends {} again and again, without an end, and reads all the time", Payload::new(chunk)));
        let mut left = ENDLESS.div_ceil(chunk.len());
        let (mut first, chunk) = (beginning.to_vec(), chunk.to_vec());
        let sending = Sending::begin(&client, move || {
            left = left.checked_sub(1)?;
            Some([std::mem::take(&mut first), chunk.clone()].concat())
        })?;

        let _ = client.stream().set_read_timeout(Some(LOOK));
        let (mut answer, mut ending) = (Vec::new(), None);
        let began = Instant::now();
        let (mut sent, mut moved, mut most) = (0, began, None);
        let mut is_stuck = false;
        while answer.is_empty() && ending.is_none() && !is_stuck && began.elapsed() < FLOODING {
            ending = hear(&client, &mut answer);
            if sending.sent() != sent {
                (sent, moved) = (sending.sent(), Instant::now());
            }
            most = most.max(grown(server, before));
            is_stuck = moved.elapsed() > if sent >= ENDLESS { LAST_WORD } else { trial.terms.limit };
        }
        drop(sending);
        let sent_before_answer = (!answer.is_empty()).then_some(sent);
        if !answer.is_empty() {
            // There may be more of the answer. A server may wait for the client's end before it closes.
            client.half_close();
            let until = Instant::now() + TO_THE_END;
            while ending.is_none() && Instant::now() < until {
                ending = hear(&client, &mut answer);
            }
        }
        let still_takes = ending.is_none() && answer.is_empty() && !is_stuck;
        let ending = ending.unwrap_or_else(|| Reply::Nothing(Vec::new(), moved.elapsed()));
        client.note(format!(
            "has sent {} bytes, received {}, then {}",
            with_thousands(sent),
            Payload::new(&answer),
            Trial::describe(&ending)
        ));
        Ok(Flood { sent, sent_before_answer, answer, ending, still_takes, grown: most, _client: client })
    }

    /// Whether the answer is an echo, or as much of its beginning as a reset left.
    fn is_echo(&self, lines: &Lines) -> bool {
        let echo = [&lines.prefix[..], b"x"].concat();
        !self.answer.is_empty() && (self.answer.starts_with(&echo) || echo.starts_with(&self.answer))
    }
}

fn crlf(trial: &Trial<'_>) -> Judged {
    if trial.lines()?.ends == b"\r\n" {
        skipped!("it wants its lines to end with \\r\\n, and so they do");
    }
    let judged = (|| {
        let mut server = trial.start()?;
        let mut client = trial.connect(&mut server, "client 1")?;
        client.send(b"hi\r\n");
        trial.expect(&mut client, &trial.line(b"hi")).map_err(|other| {
            trial.differs(format!(
                "sent \"hi\\r\\n\": {other}. Node's readline and Go's Scanner drop the \\r, Python's readline keeps it"
            ))
        })?;
        Ok("\"hi\\r\\n\" was answered as \"hi\\n\" would be".into())
    })();
    trial.unless_simpler(judged, "it doesn't answer \"hi\\n\" either; see withheld-answer", |trial, server| {
        trial.in_turn(server, &["hi"])
    })
}

fn not_utf8(trial: &Trial<'_>) -> Judged {
    const LINE: &[u8] = b"\xff\xfe-caf\xe9";
    let mut server = trial.start()?;
    let mut client = trial.connect(&mut server, "client 1")?;
    let lines = trial.terms.dialogue.lines.as_ref().filter(|lines| !lines.bytewise);
    let request = match lines {
        Some(_) => trial.line(LINE).bytes,
        None => [LINE, b"\r\n\0\x80 rubbish\r\n\r\n"].concat(),
    };
    let sent = Payload::new(&request);
    client.send(&request);
    let how = match lines {
        Some(lines) => {
            let kept = is_kept_or_refused(trial, &mut client, lines, &sent);
            trial.unless_simpler(kept, UNANSWERED, |trial, server| trial.in_turn(server, &["plain"]))?.sentence
        }
        // Which answer is right nobody can say who doesn't know the protocol.
        None => {
            let (answer, ended) = listen(&mut client);
            let how = match (answer.is_empty(), ended) {
                (false, _) => "was answered",
                (true, true) => "was answered by the end of the connection",
                (true, false) => "was not answered",
            };
            how.to_owned()
        }
    };
    client.leave();
    let judged = (|| {
        let mut next = trial.connect(&mut server, "next client")?;
        trial.ask(&mut next, "hello").with_obituary(&mut server).about(&format!("after {sent}, the next client"))?;
        Ok(format!("{sent} {how}, and the next client was served").into())
    })();
    let simpler = "after plain text the next client isn't served, either; see leaves-unread";
    trial.unless_simpler(judged, simpler, |trial, server| {
        trial.serves_two(server)?;
        let mut plain = trial.connect(server, "client 1")?;
        plain.send(&[&vec![b'x'; request.len()][..], b"\r\n"].concat());
        listen(&mut plain);
        plain.leave();
        trial.in_turn(server, &["hello"])
    })
}

/// Takes what comes as an answer when nobody knows how long that is, and whether the connection ended with it.
fn listen(client: &mut Client) -> (Vec<u8>, bool) {
    client.take_until_pause(Duration::from_secs(1), Duration::from_millis(300))
}

/// How a line that isn't UTF-8 was answered, as part of a sentence.
fn is_kept_or_refused(trial: &Trial<'_>, client: &mut Client, lines: &Lines, sent: &Payload) -> Judged {
    let request = trial.line(b"\xff\xfe-caf\xe9");
    let got = client.line(trial.terms.limit);
    // An echo that was changed still has the part that is text.
    let is_echo = |answer: &[u8]| answer.starts_with(&lines.prefix) && answer.windows(4).any(|part| part == b"-caf");
    match &got {
        Reply::Line(answer) if request.is_answered_by(answer) => Ok("was echoed as it is".into()),
        Reply::Line(answer) if !is_echo(answer) => Ok("was refused with a text".into()),
        Reply::End(text) if !text.is_empty() && !is_echo(text) => Ok("was refused with a text".into()),
        Reply::Line(_) => Err(trial.differs(format!("{sent} was changed to {}", Trial::describe(&got)))),
        _ => Err(trial.differs(format!("{sent} was answered by {}", Trial::describe(&got)))),
    }
}

fn withheld_answer(trial: &Trial<'_>) -> Judged {
    let evidence = is_withheld(trial, false)?;
    if trial.terms.dialogue.joined && !trial.terms.dialogue.one_request {
        trial.aside(|trial| is_withheld(trial, true))?;
    }
    Ok(evidence)
}

/// Whether the answer comes only at the client's end, or when the next request is whole that has `begun` in the same write.
fn is_withheld(trial: &Trial<'_>, begun: bool) -> Judged {
    trial.twice(|patience| {
        let mut server = trial.start()?;
        let mut client = trial.connect(&mut server, "client 1")?;
        let (request, next) = (trial.request("hello"), trial.request("next"));
        let half = if begun { trial.terms.dialogue.half(&next) } else { &[] };
        let bytes = [&request.bytes[..], half].concat();
        let sent = Payload::new(&bytes);
        client.send(&bytes);
        match client.answer(patience, |got| request.check(got)) {
            Reply::Line(answer) if request.is_answered_by(&answer) => {
                return Ok(Silence::No("the answer came while the client kept its side open".into()));
            }
            Reply::Nothing(rest, _) if rest.is_empty() => {}
            // Nothing is withheld where something else comes.
            _ if begun => return Ok(Silence::No("something else came".into())),
            other => skipped!("sent {sent} and got {}: see next-client", Trial::describe(&other)),
        }
        if patience >= trial.terms.limit {
            skipped!("sent {sent} and got nothing for {} s: see next-client", patience.as_secs_f32());
        }
        let until = if begun {
            client.send(&next.bytes[half.len()..]);
            "the next request was whole, of which a part had come in the same write"
        } else {
            client.half_close();
            "the client ended its side"
        };
        let ended = Instant::now();
        match client.answer(trial.terms.limit, |got| request.check(got)) {
            Reply::Line(answer) if request.is_answered_by(&answer) && ended.elapsed() < Silence::SOON => {
                Ok(Silence::UntilThen(Otherwise::falls(format!(
                    "the answer did not come until {until}; then it came at once"
                ))))
            }
            // A server that takes the end for the wish to leave drops what it was still working on.
            Reply::Line(_) | Reply::End(_) | Reply::Reset(_) => Ok(Silence::Longer),
            other => falls!("sent {sent} and got {}", Trial::describe(&other)),
        }
    })
}

fn pipelined_lines(trial: &Trial<'_>) -> Judged {
    const LINES: usize = 10_000;
    trial.stays_open()?;
    let dialogue = &trial.terms.dialogue;
    if !dialogue.joined {
        skipped!("it doesn't answer two requests that are sent together, which its protocol need not ask for");
    }
    let count =
        if dialogue.lines.is_some() { LINES } else { MOST_REQUESTS - dialogue.setup.len().min(MOST_REQUESTS / 2) };
    let judged = all_at_once(trial, count);
    // What is lost in the course of many is lost without their being joined.
    let simpler = "it doesn't answer as many one after the other, either; see every-byte";
    trial.unless_simpler(judged, simpler, |trial, server| {
        let requests: Vec<Request> = (0..count).map(|number| trial.request(&format!("line-{number}"))).collect();
        one_by_one(trial, server, &requests)
    })
}

fn all_at_once(trial: &Trial<'_>, count: usize) -> Judged {
    let mut server = trial.start()?;
    let mut client = trial.connect(&mut server, "client 1")?;
    let requests: Vec<Request> = (0..count).map(|number| trial.request(&format!("line-{number}"))).collect();
    let mut all = Some(joined(&requests));
    let bytes = all.as_ref().map_or(0, Vec::len);
    trial.recorder.pieces_by_chance("the kernel cuts what is sent without a pause");
    client.note(format!(
        "sends {} requests at once, {} bytes, and reads all the time",
        with_thousands(count),
        with_thousands(bytes)
    ));
    let sending = Sending::begin(&client, move || all.take())?;
    let read = read_all(trial, &mut client, &requests);
    if read.is_err() {
        // A server that has lost some is let go on to its own end, not cut off in a write.
        client.ends_within(Duration::from_secs(1));
    }
    drop(sending);
    Ok(format!("{} requests sent at once, {} bytes of answers in order", with_thousands(count), with_thousands(read?))
        .into())
}
