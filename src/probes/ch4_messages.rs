//! Chapter 4: does it find the messages in the stream, and does every byte of its answers arrive?

use std::time::{Duration, Instant};

use super::sending::Sending;
use super::trial::{LONGEST, Trial, has_ended, too_slow, until_read};
use super::{Difference, Explained, Judged, Needs, Otherwise, PLAIN, Probe, falls, skipped};
use crate::dialogue::{Answer, Match, Request};
use crate::lab::client::{Client, Reply, State};
use crate::lab::kernel;
use crate::lab::recording::{Payload, escape, with_thousands};
use crate::lab::server::Running;
use crate::lab::wait::wait_until;

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "split-message",
        chapter: 4,
        does: "Sends a request one byte at a time, which must give exactly one answer",
        remedy: Some("Collect what read returns until a whole message is there"),
        examine: split_message,
        ..PLAIN
    },
    Probe {
        name: "joined-messages",
        chapter: 4,
        does: "Sends two requests in one write, and then four; each must be answered once",
        remedy: Some("Look for further messages in what read returned, and keep the rest for the next"),
        examine: joined_messages,
        ..PLAIN
    },
    Probe {
        name: "every-byte",
        chapter: 4,
        does: "Sends 8 MiB of lines and reads late, through a small window; every byte must come back in order",
        remedy: Some("Use write_all, or go on from the count that write returned"),
        examine: every_byte,
        ..PLAIN
    },
    Probe {
        name: "half-close",
        chapter: 4,
        does: "Sends a request and ends its side; the answer must come, and then the end",
        remedy: Some("Answer what was read before the end, then close; keep no second handle of the connection"),
        examine: half_close,
        ..PLAIN
    },
    Probe {
        name: "prompt-answer",
        chapter: 4,
        does: "Times 60 round trips of one request and 60 of two, half of them with an immediate acknowledgement, which must make no difference",
        remedy: Some("Write each answer with one write, and set TCP_NODELAY"),
        needs: Needs::Linux,
        runs_alone: true,
        examine: prompt_answer,
    },
];

/// Of protocols other than lines, the most requests on one connection: many servers end it after 100 (Apache, dnsmasq).
pub(super) const MOST_REQUESTS: usize = 50;

/// What to look at where a server doesn't answer a plain request either.
pub(super) const UNANSWERED: &str =
    "it doesn't answer a request that is sent as a whole; see next-client and withheld-answer";

fn split_message(trial: &Trial<'_>) -> Judged {
    trial.has_requests()?;
    trial.unless_simpler(byte_by_byte(trial), UNANSWERED, |trial, server| trial.in_turn(server, &["split"]))
}

fn byte_by_byte(trial: &Trial<'_>) -> Judged {
    // Of a long request the middle is sent at once: what is examined are its ends.
    const SINGLE: usize = 25;
    // A server may end a request that is too slow to come, and some have a limit of two seconds for that. So all of it
    // comes within less.
    const FIRST: Duration = Duration::from_millis(500);
    const EACH: Duration = Duration::from_millis(10);
    const WHOLE: Duration = Duration::from_millis(1500);
    let mut server = trial.start()?;
    let mut client = trial.connect(&mut server, "client 1")?;
    let request = trial.request("split");
    let bytes = &request.bytes;
    let last = bytes.len().saturating_sub(1);
    let mut at = 0;
    let began = Instant::now();
    while at < last {
        let next = match at {
            _ if began.elapsed() > WHOLE => last,
            SINGLE => last.saturating_sub(SINGLE).max(at + 1),
            _ => at + 1,
        };
        client.send(&bytes[at..next]);
        // The first byte gets the most time to be mistaken for a message; each of the others a little.
        let patience = if at == 0 { FIRST } else { EACH };
        at = next;
        if let Some(answer) = premature(&request, &mut client, patience) {
            let (sent, rest) = bytes.split_at(at);
            is_not_ended_by_time(trial, &request, sent, began.elapsed())?;
            falls!(
                "sent \"{}\" of \"{}\" and got {} before the rest was sent{}",
                escape(sent),
                escape(bytes),
                Trial::describe(&answer),
                answers_to(rest, &mut client)
            );
        }
        // On a busy machine the server may not have got round to it.
        until_read(&server, &client, Duration::from_secs(1));
    }
    let after = began.elapsed();
    client.send(&bytes[last..]);
    if let Err(instead) = trial.expect(&mut client, &request) {
        is_not_ended_by_time(trial, &request, &bytes[..last], after)?;
        return Err(instead);
    }
    nothing_more(trial, &mut client)?;
    Ok(format!("{} bytes, one at a time, one answer", bytes.len()).into())
}

/// The control of a request that came in pieces and was ended `after` so long. If its beginning in one piece is ended after
/// about as long, it was time that ended it, and no piece.
fn is_not_ended_by_time(trial: &Trial<'_>, request: &Request, sent: &[u8], after: Duration) -> Judged<()> {
    // Before this, nobody ends a request for being slow.
    const NOT_SLOW: Duration = Duration::from_millis(400);
    if after <= NOT_SLOW {
        return Ok(());
    }
    trial.aside(|trial| {
        let mut server = trial.start()?;
        let mut client = trial.connect(&mut server, "client")?;
        client.send(sent);
        let began = Instant::now();
        if premature(request, &mut client, after * 2).is_some() && began.elapsed() > after / 2 {
            skipped!(
                "it ends a request that takes {:.1} s to come, in pieces or not, and on this machine it took that long; see \
                 slow-line",
                after.as_secs_f32()
            );
        }
        Ok(())
    })
}

/// Sends the rest as well, a byte at a time, as long as each is answered by a line. Says how many there were in all.
fn answers_to(rest: &[u8], client: &mut Client) -> String {
    const MOST: usize = 9;
    const PATIENCE: Duration = Duration::from_secs(1);
    let is_answered = |byte: &u8| client.send(&[*byte]) && matches!(client.line(PATIENCE), Reply::Line(_));
    match rest.iter().take(MOST).map(is_answered).take_while(|&answered| answered).count() {
        0 => String::new(),
        more => format!("; with the rest of it, {} answers", more + 1),
    }
}

/// What comes within this time, though nothing should but the beginning of the right answer.
fn premature(request: &Request, client: &mut Client, patience: Duration) -> Option<Reply> {
    let early = wait_until(patience, || match client.state() {
        State::Open => None,
        State::HasBytes => matches!(request.check(client.received()), Match::Wrong(_)).then_some(()),
        State::Ended => Some(()),
    });
    // Not written down if nothing comes: this silence is as it should be.
    early.map(|()| client.line(patience))
}

/// Expects that everything has been answered once. A further request shows it: its answer is the next to come. Whether it
/// is answered at all is not asked here.
fn nothing_more(trial: &Trial<'_>, client: &mut Client) -> Judged<()> {
    let surplus = |rest: &[u8]| -> Judged<()> { falls!("after the right answer came {}", Payload::new(rest)) };
    if trial.terms.dialogue.one_request {
        let (rest, _) = client.take_until_pause(Duration::from_millis(200), Duration::from_millis(50));
        return if rest.is_empty() { Ok(()) } else { surplus(&rest) };
    }
    let request = trial.request("and-now?");
    client.send(&request.bytes);
    match client.answer(trial.terms.limit, |got| request.check(got)) {
        Reply::Line(answer) if request.is_answered_by(&answer) => Ok(()),
        Reply::Line(rest) | Reply::End(rest) | Reply::Reset(rest) | Reply::Nothing(rest, _)
            if matches!(request.check(&rest), Match::Wrong(_)) =>
        {
            surplus(&rest)
        }
        _ => Ok(()),
    }
}

fn joined_messages(trial: &Trial<'_>) -> Judged {
    trial.has_requests()?;
    trial.stays_open()?;
    if !trial.terms.dialogue.joined {
        trial.unless_simpler(is_left_waiting(trial), UNANSWERED, |trial, server| {
            trial.in_turn(server, &["one", "two"]).about("one request after the other")
        })?;
        skipped!("it doesn't answer two requests that are sent together, which its protocol need not ask for");
    }
    let judged = two_in_one_write(trial).and_then(|evidence| {
        trial.aside(|trial| four_in_one_write(trial, &mut trial.start()?, ["one", "two", "three", "four"]))?;
        Ok(evidence)
    });
    trial.unless_simpler(judged, UNANSWERED, |trial, server| trial.in_turn(server, &["one"]))
}

/// Expects four answers to four requests in one write, from a server that has answered this client before. One that handles
/// one message each time it wakes up would wake up twice for a new client: for the connection, and for what it has sent.
pub(super) fn four_in_one_write(trial: &Trial<'_>, server: &mut Running, texts: [&str; 4]) -> Judged<()> {
    let mut client = trial.connect(server, "client")?;
    trial.ask(&mut client, "hello")?;
    let requests = texts.map(|text| trial.request(text));
    client.send(&joined(&requests));
    (1..).zip(&requests).try_for_each(|(number, request)| {
        trial.expect(&mut client, request).about(&format!("answer {number} to 4 requests in one write"))
    })
}

/// A server of HTTP may end the connection after the first of two requests that are sent together. One that keeps it open
/// owes the other answer.
fn is_left_waiting(trial: &Trial<'_>) -> Judged<()> {
    if !matches!(trial.terms.dialogue.exchange.answer, Answer::Http(_)) {
        return Ok(());
    }
    let (one, two) = (trial.request("one"), trial.request("two"));
    let mut server = trial.start()?;
    let mut client = trial.connect(&mut server, "client 1")?;
    client.send(&joined(&[one.clone(), two.clone()]));
    match client.answer(trial.terms.limit, |got| one.check(got)) {
        Reply::Line(answer) if answer.starts_with(b"HTTP/1.1") && !one.is_last(&answer) => {}
        _ => return Ok(()),
    }
    match client.answer(trial.terms.limit, |got| two.check(got)) {
        Reply::Nothing(rest, patience) if rest.is_empty() => Err(trial.differs(format!(
            "of two requests in one write only the first was answered, and the connection was still open {} s later. Others answer \
             both, in order (RFC 9112, section 9.3.2), or end the connection",
            patience.as_secs()
        ))),
        _ => Ok(()),
    }
}

fn two_in_one_write(trial: &Trial<'_>) -> Judged {
    let mut server = trial.start()?;
    let mut client = trial.connect(&mut server, "client 1")?;
    let (one, two) = (trial.request("one"), trial.request("two"));
    client.send(&[&one.bytes[..], &two.bytes].concat());
    trial.expect(&mut client, &one)?;
    trial.expect(&mut client, &two)?;
    nothing_more(trial, &mut client)?;
    Ok("one write of two requests, two answers".into())
}

fn every_byte(trial: &Trial<'_>) -> Judged {
    if trial.terms.dialogue.lines.is_none() {
        skipped!(
            "it needs thousands of requests on one connection, which servers of other protocols than lines may limit"
        );
    }
    trial.stays_open()?;
    let line = "x".repeat(EVERY_LINE);
    let simpler = "it doesn't answer so many lines in one write to a client that reads at once, either; see joined-messages \
                   and pipelined-lines";
    trial.unless_simpler(read_late(trial), simpler, |trial, server| {
        let requests = vec![trial.request(&line); FITTING];
        let mut client = trial.connect(server, "client")?;
        client.send(&joined(&requests));
        read_all(trial, &mut client, &requests).map(drop)
    })
}

/// How many of them the kernels of both sides keep together with their answers, so that nobody has to wait in a write.
const FITTING: usize = 100;

/// The length of the lines of `every-byte`, without their end. A server may bound a line, but hardly below this.
const EVERY_LINE: usize = 499;

fn read_late(trial: &Trial<'_>) -> Judged {
    const LINES: usize = 8 * 1024 * 1024 / (EVERY_LINE + 1);
    const WINDOW: usize = 32 * 1024;
    // A faulty server may be saved by a client that always reads in time. So this one begins when nothing moves any
    // more: a correct server then waits in `write`, and a faulty one has thrown bytes away.
    const STANDSTILL: Duration = Duration::from_millis(300);
    const LONGEST_PAUSE: Duration = Duration::from_secs(3);
    // Longer than the pause of a server that stands still, and shorter than anybody's deadline.
    const OWN_LIMIT: Duration = Duration::from_millis(700);

    let mut server = trial.start()?;
    let line = |number: usize| format!("{:.<EVERY_LINE$}", format!("line-{number:05}-"));
    let all: Vec<Request> = (0..LINES).map(|number| trial.line(line(number).as_bytes())).collect();
    let mut client = trial.connect_with(&mut server, "client 1", trial.recorder, Some(WINDOW))?;
    trial.recorder.pieces_by_chance("the kernel cuts a big transfer, and chooses the sizes of its buffers");
    let silence = format!(", then nothing for {} s", trial.terms.limit.as_secs());
    trial
        .recorder
        .either_by_chance(&["", &silence], "a server that throws answers away may have thrown all the rest away");
    client.note(format!("sends {} lines of {EVERY_LINE} bytes", with_thousands(LINES)));
    let mut chunks: Vec<Vec<u8>> = all.chunks(128).map(joined).collect();
    chunks.reverse();
    let began = Instant::now();
    let sending = Sending::begin(&client, move || chunks.pop())?;
    sending.stands_still(&server, &client, STANDSTILL, LONGEST_PAUSE, || has_ended(&server, &client));
    let kept = began.elapsed();
    client.note(format!("begins to read: the server's side has taken {} bytes", with_thousands(sending.sent())));
    let bytes = read_all(trial, &mut client, &all).map_err(|why| {
        // Bytes that are missing while it goes on are neither a bound's doing nor a deadline's.
        if !client.ends_within(Duration::from_millis(500)) {
            return why;
        }
        match trial.aside(|trial| one_by_one(trial, &mut trial.start()?, &all)) {
            Err(plain) if plain.accuses() => Otherwise::differs(format!(
                "it doesn't answer as many requests one after the other, either: {plain}. Servers of HTTP bound their number, and \
                 tell the client with the last answer; another client loses what it has sent by then"
            )),
            // One that gives up as soon as nothing is taken has no deadline.
            _ if kept > OWN_LIMIT && why.difference().is_none() => Otherwise::skipped(format!(
                "it ended the connection of a client that had read nothing for {:.1} s, as a deadline does; see slow-reader",
                kept.as_secs_f32()
            )),
            _ => why,
        }
    })?;
    Ok(format!("{} lines sent, {} bytes of answers in order", with_thousands(LINES), with_thousands(bytes)).into())
}

/// The control of many requests at once: each when the one before has been answered, as far as the time allows.
pub(super) fn one_by_one(trial: &Trial<'_>, server: &mut Running, requests: &[Request]) -> Judged<()> {
    let (mut client, began) = (trial.connect(server, "client")?, Instant::now());
    let mut in_time = requests.iter().enumerate().take_while(|_| began.elapsed() < trial.terms.limit);
    in_time.try_for_each(|(number, request)| {
        client.send(&request.bytes);
        let got = client.quiet_answer(trial.terms.limit, |got| request.check(got));
        Trial::judge(request, &got).about(&format!("request {} on a connection", with_thousands(number + 1)))
    })
}

/// Requests, one after the other.
pub(super) fn joined(requests: &[Request]) -> Vec<u8> {
    requests.iter().flat_map(|request| &request.bytes).copied().collect()
}

/// Expects the answers to these requests in order, and counts their bytes. Writes down only what is wrong.
pub(super) fn read_all(trial: &Trial<'_>, client: &mut Client, requests: &[Request]) -> Judged<usize> {
    let mut bytes = 0;
    let start = Instant::now();
    for (number, request) in requests.iter().enumerate() {
        if start.elapsed() > LONGEST {
            return Err(too_slow(number));
        }
        let mut got = client.quiet_answer(trial.terms.limit, |got| request.check(got));
        if matches!(got, Reply::Nothing(..)) && is_under_way(client) {
            got = client.quiet_answer(trial.terms.limit * 3, |got| request.check(got));
        }
        match got {
            Reply::Line(answer) if request.is_answered_by(&answer) => bytes += answer.len(),
            other => {
                let (expected, got) = (request.expected(), Trial::describe(&other));
                let (answered, all) = (with_thousands(number), with_thousands(requests.len()));
                client.note(format!("gets the right answer to {answered} of {all}, then {got}"));
                let falls = Otherwise::falls(format!(
                    "{answered} of {all} requests were answered right; then it expected {} and got {got}",
                    Payload::new(&expected)
                ));
                return Err(match other {
                    Reply::Line(answer) => falls.showing(Difference::between(&expected, &answer)),
                    _ => falls,
                });
            }
        }
    }
    let (answers, all) = (with_thousands(requests.len()), with_thousands(bytes));
    client.note(format!("has read {answers} answers, {all} bytes, all in order"));
    Ok(bytes)
}

/// Whether the kernel still has bytes of this connection to bring.
fn is_under_way(client: &Client) -> bool {
    let (own, peer) = (client.stream().local_addr(), client.stream().peer_addr());
    own.ok().zip(peer.ok()).is_some_and(|(own, peer)| kernel::under_way(peer, own) > 0)
}

fn half_close(trial: &Trial<'_>) -> Judged {
    if trial.terms.dialogue.one_request {
        trial.aside(ends_after_its_answer)?;
    }
    trial.unless_simpler(ask_and_end(trial), UNANSWERED, |trial, server| trial.in_turn(server, &["last-words"]))
}

/// A client asks, keeps its side open, and has its answer and the end.
fn ends_after_its_answer(trial: &Trial<'_>) -> Judged<()> {
    let mut server = trial.start()?;
    let mut client = trial.connect(&mut server, "client 1")?;
    trial.ask(&mut client, "hello")?;
    match client.line(trial.terms.limit) {
        Reply::End(_) | Reply::Reset(_) => Ok(()),
        other => falls!("it should end each connection after one answer; the client got {}", Trial::describe(&other)),
    }
}

/// A client asks, ends its side, and has its answer and the end.
pub(super) fn ask_and_end(trial: &Trial<'_>) -> Judged {
    // An answer that stays open for a while may just be slow to end; one that stays open for the full limit isn't.
    let mut server = trial.start()?;
    let mut client = trial.connect(&mut server, "client 1")?;
    let request = trial.request("last-words");
    client.send(&request.bytes);
    client.half_close();
    trial.expect(&mut client, &request).map_err(|other| {
        trial.owed_by_lines(format!(
            "the client ended its side after a request: {other}. nginx and Go answer all that came before the end; Node, hyper and \
             aiohttp take it for the wish to leave"
        ))
    })?;
    match client.line(trial.terms.limit) {
        Reply::End(rest) if rest.is_empty() => {}
        // The answer has arrived, and a client that has said all loses nothing by this.
        Reply::Reset(rest) if rest.is_empty() && !trial.terms.dialogue.claimed => {}
        other => {
            let got = Trial::describe(&other);
            return Err(trial.owed_by_lines(format!(
                "the client ended its side and got its answer, but then, instead of the end of the connection, {got}"
            )));
        }
    }
    Ok("after the half-close the answer came, and then the end".into())
}

fn prompt_answer(trial: &Trial<'_>) -> Judged {
    trial.stays_open()?;
    let mut server = trial.start()?;
    let one = round_trips(trial, &mut server, 1)?;
    if !trial.terms.dialogue.joined {
        return Ok(format!("a round trip took {one}").into());
    }
    let two = round_trips(trial, &mut server, 2)?;
    Ok(format!("a round trip took {one}; with two requests in one write, {two}").into())
}

/// Times round trips of so many requests in one write. Gives the medians, in words.
fn round_trips(trial: &Trial<'_>, server: &mut Running, together: usize) -> Judged<String> {
    const ROUNDS: usize = 60;
    const SLOW: Duration = Duration::from_millis(20);
    let quiet = trial.recorder.aside();
    let mut times = [Vec::new(), Vec::new()];
    let what = if together == 1 { "one request" } else { "two requests in one write" };
    trial
        .recorder
        .note("client 1", format!("makes {ROUNDS} round trips of {what}; in every second one it acknowledges at once"));
    let began = Instant::now();
    let of_a_connection = if trial.terms.dialogue.lines.is_some() { ROUNDS } else { MOST_REQUESTS / together };
    let mut rounds = 0..ROUNDS;
    while !rounds.is_empty() {
        let connected = trial.connect_with(server, "client 1", &quiet, None);
        let no_time = |why| Otherwise::skipped(format!("no time can be told ({why}); see next-client"));
        let mut client = connected.map_err(no_time)?;
        for round in rounds.by_ref().take(of_a_connection) {
            if began.elapsed() > LONGEST / 2 {
                return Err(too_slow(round * together));
            }
            let requests: Vec<Request> = (0..together).map(|_| trial.request("prompt")).collect();
            let quick = round % 2 == 1;
            let start = Instant::now();
            client.send(&joined(&requests));
            acknowledge_at_once(&client, quick);
            for request in &requests {
                trial.expect(&mut client, request).map_err(|other| {
                    let see = if together == 1 { "" } else { "; see joined-messages" };
                    Otherwise::skipped(format!(
                        "no time can be told, since the round trip {} of {ROUNDS}, {what}, went wrong ({other}){see}",
                        round + 1
                    ))
                })?;
            }
            times[usize::from(quick)].push(start.elapsed());
        }
    }
    let [plain, quick] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    let (plain_ms, quick_ms) = (plain.as_secs_f64() * 1e3, quick.as_secs_f64() * 1e3);
    for time in [format!("{plain_ms:.1}"), format!("{plain_ms:.2}"), format!("{quick_ms:.2}")] {
        trial.recorder.number_by_chance(time, "a measured time");
    }
    trial.recorder.note("client 1", format!("median {plain_ms:.2} ms; acknowledged at once, {quick_ms:.2} ms"));
    if plain > SLOW && plain >= quick * 4 {
        falls!(
            "a round trip of {what} took {plain_ms:.1} ms, and {quick_ms:.2} ms when the client acknowledged at once: the rest of \
             what it writes waits for an acknowledgement (Nagle's algorithm)"
        );
    }
    Ok(format!("{plain_ms:.2} ms, and {quick_ms:.2} ms with an immediate acknowledgement"))
}

/// Not permanent (tcp(7)): the kernel goes back to delayed acknowledgements whenever something is sent.
#[cfg(target_os = "linux")]
fn acknowledge_at_once(client: &Client, on: bool) {
    let _ = socket2::SockRef::from(client.stream()).set_tcp_quickack(on);
}

/// Never called: the probe needs Linux.
#[cfg(not(target_os = "linux"))]
fn acknowledge_at_once(_client: &Client, _on: bool) {}
