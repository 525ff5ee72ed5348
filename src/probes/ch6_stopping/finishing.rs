//! What was begun before the signal is brought to its end.

use std::time::{Duration, Instant};

use super::super::ch4_messages::{joined, read_all};
use super::super::sending::Sending;
use super::super::trial::{Trial, refuses_within, unread, until_accepted, until_read};
use super::{
    InProgress, TO_BEGIN, WITHOUT_FINISHING, before_the_stop, go_on, halt, in_time, is_more_than_killed, killed,
    lets_finish, own_limit, refuses, stop,
};
use crate::dialogue::{Match, Request};
use crate::lab::client::{Client, Reply};
use crate::lab::server::Running;
use crate::lab::wait::wait_until;
use crate::probes::{Explained, Judged, Otherwise, falls, skipped};

/// What others do with half a request, where it isn't a line.
const OTHERS: &str = "nginx, Apache, HAProxy and Node finish it on their graceful signal; Go, uvicorn and aiohttp drop it, \
                      so that the client may repeat it";

/// How long a server has to have run until a deadline that it counts from its start would show: what is commonly given, or
/// its grace time, if shorter.
const OLD: Duration = Duration::from_secs(10);

pub(super) fn finishes_line(trial: &Trial<'_>) -> Judged {
    finishes_half(trial, Half::Read, false)?;
    // A short deadline that counts from the start of the server has passed by then.
    trial.recorder.note("probe", "once more, with a server that has run for some time");
    finishes_half(trial, Half::ReadByAnOldServer, false).about("on a server that had run for some time")?;
    trial.recorder.note("probe", "once more, with the half still unread at the signal");
    finishes_half(trial, Half::Unread, false).about("with the half still unread when the signal came")?;
    let line = if trial.terms.dialogue.lines.is_some() { "line" } else { "request" };
    Ok(format!(
        "a {line} that was half sent at the signal was completed and answered, and then the connection was closed"
    )
    .into())
}

/// What has become of the half of a request when the signal comes.
#[derive(Clone, Copy, PartialEq)]
enum Half {
    Read,
    ReadByAnOldServer,
    /// It is in the server's kernel.
    Unread,
}

fn finishes_half(trial: &Trial<'_>, half: Half, again: bool) -> Judged<()> {
    const LATE: Duration = Duration::from_millis(1600);
    let mut server = trial.start()?;
    if half == Half::ReadByAnOldServer {
        // It grows old from when it can be reached: on a busy machine a program takes long to start.
        before_the_stop(trial, trial.aside(|trial| trial.connect(&mut server, "early client")))?.leave();
        let old = OLD.min(trial.terms.grace) + Duration::from_millis(200);
        wait_until(old, || server.process()?.exited());
    }
    let mut half_sent = InProgress::ready(trial, &mut server, "client 1").map_err(|why| {
        if half == Half::ReadByAnOldServer && why.accuses() {
            Otherwise::skipped(format!(
                "it serves nobody after {} s of quiet ({why}); see back-after-quiet",
                OLD.as_secs()
            ))
        } else {
            why
        }
    })?;
    if half == Half::Unread {
        halt(trial, &mut server)?;
        half_sent.send_half(trial);
    } else {
        half_sent.send_half(trial);
        until_read(&server, &half_sent.client, trial.terms.limit);
    }
    stop(trial, &mut server, &mut [&mut half_sent.client])?;
    if half == Half::Unread {
        go_on(trial, &mut server);
    }
    let asked = Instant::now();
    // The rest is late on purpose: the server has had time to stop, and to see that a deadline of its own has passed.
    refuses(trial, &server, &mut half_sent.client, TO_BEGIN);
    if half == Half::ReadByAnOldServer {
        half_sent.client.ends_within(Duration::from_millis(300));
    }
    end_by_chance(trial);
    let after = asked.elapsed();
    if let Err(instead) = half_sent.finish(trial) {
        // On a busy machine the grace time may be over by now. One that the signal has killed had none.
        if killed(&mut server).is_none() {
            if !again {
                trial.recorder.note("probe", "once more from the beginning");
                return finishes_half(trial, half, true);
            }
            in_time(after, LATE)?;
        }
        return Err(dropped(trial, &mut server, instead));
    }
    if trial.terms.dialogue.lines.is_some() {
        ends(trial, &mut half_sent.client)?;
    }
    Ok(())
}

fn dropped(trial: &Trial<'_>, server: &mut Running, instead: Otherwise) -> Otherwise {
    if trial.terms.dialogue.lines.is_some() {
        if let Some(why) = own_limit(trial, server) {
            return why;
        }
        return instead.reword(|instead| {
            format!("{WITHOUT_FINISHING}: a line was half sent at the signal and completed after it; {instead}")
        });
    }
    let killed = match killed(server) {
        Some(status) => {
            format!(" The signal simply ends it ({status}); if another one is its graceful stop, say --stop.")
        }
        None => String::new(),
    };
    Otherwise::differs(format!(
        "a request was half sent at the signal and completed after it; {instead}. {OTHERS}.{killed}"
    ))
}

/// Expects the end of the connection; last words before it are welcome.
fn ends(trial: &Trial<'_>, client: &mut Client) -> Judged<()> {
    const WORDS: usize = 100;
    for _ in 0..WORDS {
        match client.line(trial.terms.limit) {
            Reply::Line(_) => {}
            Reply::End(_) => return Ok(()),
            other => falls!(
                "the line in progress was answered, but then the client got {} and not the end of the connection",
                Trial::describe(&other)
            ),
        }
    }
    falls!("the line in progress was answered, and then came {WORDS} lines more")
}

/// How many lines the long answer is of, and how long each is: within what servers bound a line to.
const LINES: usize = 132;
const LINE: usize = 500;

/// How many requests of another protocol, of which some servers take only so many on one connection.
const REQUESTS: usize = 50;

/// A small window, so that most of the answer has to wait in the server's kernel.
const RECEIVE_BUFFER: usize = 16 * 1024;

pub(super) fn unread_answer_at_stop(trial: &Trial<'_>) -> Judged {
    trial.stays_open()?;
    if !trial.terms.dialogue.joined {
        skipped!("it answers one request at a time, so no long answer can be had");
    }
    let requests: Vec<Request> = match trial.terms.dialogue.lines {
        Some(_) => (0..LINES).map(|number| trial.line(format!("{number:0LINE$}").as_bytes())).collect(),
        None => (0..REQUESTS).map(|_| trial.request("")).collect(),
    };
    let length = unread_at_stop(trial, &requests, false)?;
    // What lay with the client already, no server could have lost.
    if length <= 2 * RECEIVE_BUFFER {
        skipped!(
            "{} of its answers are {length} bytes, all of which the client's kernel takes in: nothing was left with the \
             server that it could have lost. It takes a request with a longer answer",
            requests.len()
        );
    }
    let more = if trial.terms.dialogue.lines.is_some() && kept_at_stop(trial)? {
        format!("; so were the answers to {} MiB of requests, which the server had in its memory", MUCH >> 20)
    } else {
        String::new()
    };
    Ok(format!("an answer that was not yet read at the signal was all there, though one more request was sent{more}")
        .into())
}

/// Gives the length of the answer.
fn unread_at_stop(trial: &Trial<'_>, requests: &[Request], again: bool) -> Judged<usize> {
    // Servers read on for about a second before they close, so all of this has to be over by then.
    const LATE: Duration = Duration::from_millis(700);
    let mut server = trial.start()?;
    let mut reader = before_the_stop(trial, asker(trial, &mut server, "client 1", requests))?;
    let length = match all_answered(trial, &mut reader, requests) {
        Ok(length) => length,
        Err(instead) if !instead.accuses() => return Err(instead),
        Err(instead) => {
            skipped!("it doesn't answer so many requests at once without being stopped, either ({instead})")
        }
    };
    reader.leave();
    let mut client = before_the_stop(trial, asker(trial, &mut server, "client 2", requests))?;
    until_read(&server, &client, trial.terms.limit);
    // That the answer is written can't be seen. If it isn't, it is in progress.
    wait_until(Duration::from_millis(200), || server.process()?.exited());
    let asked = Instant::now();
    stop(trial, &mut server, &mut [])?;
    refuses_within(&server, Duration::from_millis(300), &trial.recorder.aside(), || false);
    client.send(&trial.request("late").bytes);
    // A reset, if it comes to that, comes at once.
    wait_until(Duration::from_millis(200), || server.process()?.exited());
    let after = asked.elapsed();
    let Err(instead) = all_answered(trial, &mut client, requests) else { return Ok(length) };
    is_more_than_killed(trial, &mut server)?;
    if killed(&mut server).is_none() {
        if !again {
            trial.recorder.note("probe", "once more from the beginning");
            return unread_at_stop(trial, requests, true);
        }
        in_time(after, LATE)?;
    }
    if !trial.claims_lines() && !lets_finish(trial)? {
        skipped!("half a request was dropped as well, which is for finishes-line to tell: {instead}");
    }
    let what = format!("an answer was written and not yet read at the signal, and one more request sent; {instead}");
    Err(match trial.terms.dialogue.lines {
        Some(_) => Otherwise::falls(what),
        None => Otherwise::differs(format!("{what}. Servers of HTTP may answer only the request that they are at")),
    })
}

/// More than the kernels of both sides keep of one connection: the server's up to 4 MiB (`tcp_wmem` in tcp(7)).
const MUCH: usize = 6 * 1024 * 1024;

/// Whether the server reads so much from a client that takes no answers. Then it has them in its own memory, and owes them
/// as well.
fn kept_at_stop(trial: &Trial<'_>) -> Judged<bool> {
    let stopped = || much_unread(trial, &mut trial.start()?, true);
    // On a busy machine the grace time may have been over.
    let judged = stopped().or_else(|_| stopped());
    let simpler = "it doesn't answer so much to a client that reads late without being stopped, either; see every-byte";
    trial.unless_simpler(judged, simpler, |trial, server| much_unread(trial, server, false).map(drop))
}

fn much_unread(trial: &Trial<'_>, server: &mut Running, is_stopped: bool) -> Judged<bool> {
    // On a busy machine a server that reads on may have no processor for so long.
    const STANDSTILL: Duration = Duration::from_millis(800);
    const TO_REFUSE: Duration = Duration::from_millis(300);
    const LATE: Duration = Duration::from_secs(1);
    let requests: Vec<Request> =
        (0..MUCH / LINE).map(|number| trial.line(format!("{number:0LINE$}").as_bytes())).collect();
    let mut client = trial.connect_with(server, "client 3", trial.recorder, Some(RECEIVE_BUFFER))?;
    let mut all = Some(joined(&requests));
    let sending = Sending::begin(&client, move || all.take())?;
    sending.stands_still(server, &client, STANDSTILL, trial.terms.limit, || false);
    let is_all_read = sending.is_over() && unread(server, &client) == Some(0);
    drop(sending);
    if !is_all_read {
        return Ok(false);
    }
    client.note(format!("sends {MUCH} bytes of requests, which the server reads, and takes no answer"));
    let asked = Instant::now();
    if is_stopped {
        stop(trial, server, &mut [])?;
        refuses_within(server, TO_REFUSE, &trial.recorder.aside(), || false);
    }
    let read = read_all(trial, &mut client, &requests).about("answers were still in the server's memory at the signal");
    if is_stopped && read.is_err() {
        // A right server may have a grace time that is over by now.
        in_time(asked.elapsed(), LATE)?;
    }
    read.map(|_| true)
}

/// A client with a small window that has asked all this at once.
fn asker(trial: &Trial<'_>, server: &mut Running, name: &str, requests: &[Request]) -> Judged<Client> {
    let mut client = trial.connect_with(server, name, trial.recorder, Some(RECEIVE_BUFFER))?;
    until_accepted(server, TO_BEGIN);
    client.send(&joined(requests));
    Ok(client)
}

/// Expects the answers to all requests, one behind the other. Gives their length in bytes.
fn all_answered(trial: &Trial<'_>, client: &mut Client, requests: &[Request]) -> Judged<usize> {
    let check = |got: &[u8]| {
        let mut length = 0;
        for request in requests {
            match request.check(&got[length..]) {
                Match::Whole(more) => length += more,
                Match::Partial | Match::UntilEnd => return Match::Partial,
                Match::Wrong(at) => return Match::Wrong(length + at),
            }
        }
        Match::Whole(length)
    };
    match client.answer(trial.terms.limit, check) {
        Reply::Line(all) if matches!(check(&all), Match::Whole(_)) => Ok(all.len()),
        Reply::Flood => skipped!(
            "{} of its answers are over a MiB, which is more than is kept of one client: it takes a request with a shorter \
             answer",
            requests.len()
        ),
        other => falls!("instead of {} answers it got {}", requests.len(), Trial::describe(&other)),
    }
}

/// What the recording of a scene may show otherwise in another run.
fn end_by_chance(trial: &Trial<'_>) {
    let why = "the kernel makes a reset of the end if bytes of the client are left unread";
    for of in [["sees-end", "sees-reset"], ["the end of the connection", "a reset of the connection"]] {
        trial.recorder.either_by_chance(&of, why);
    }
}
