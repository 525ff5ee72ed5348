//! The chat room.

use std::collections::BTreeSet;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::ex6_closing::{SOON_OVER, ends_after_grace, expect_bye, shut_after};
use super::kit::{
    AT_ONCE, TOO_LONG, Took, arrive, ask, differing, expect_end, expect_gone, expect_line, in_time, judge_line,
    with_server,
};
use super::model::{Act, Room, as_the_task_says, come, conversations, plays, say, step, talk};
use super::{Check, Exercise};
use crate::lab::client::{Client, Reply};
use crate::lab::kernel;
use crate::lab::recording::{escape, with_thousands};
use crate::lab::server::{LIMIT, Running};
use crate::lab::wait::wait_until;
use crate::probes::{
    Explained, Judged, Needs, Otherwise, Sending, Trial, falls, require_no_wrapper, silent_crowd, skipped, unreachable,
};

/// The longest line, in bytes, its end not counted.
const LONGEST_LINE: usize = 1024;

// Each check starts a room of its own: in one that went on, the names of the check before could still be taken.
pub(super) const EXERCISE: Exercise = Exercise {
    id: "capstone",
    title: "The chat room",
    folder: "chapters/capstone/exercise",
    checks: &[
        Check {
            name: "room-talks",
            does: "Two members join, say something to each other, ask who is there, and one leaves",
            needs: Needs::Command,
            why: "This is what the room is for; the other checks ask whether it stays so among bad clients",
            page: "05_bufread_lines.html#the-server-of-this-step",
            points: 1,
            starter_falls: false,
            examine: room_talks,
        },
        Check {
            name: "room-rules",
            does: "Talks before joining, joins under bad and taken names, joins twice, sends what is no command",
            needs: Needs::Command,
            why: "A client that was told what is wrong can do better; one that hears nothing waits",
            page: "04_partial_read_write.html#why",
            points: 1,
            starter_falls: false,
            examine: room_rules,
        },
        Check {
            name: "chopped-commands",
            does: "Sends a command byte by byte, several in one packet, \\r\\n, and bytes that aren't UTF-8",
            needs: Needs::Command,
            why: "TCP carries bytes and knows no commands; where a read ends, a command need not",
            page: "04_partial_read_write.html#the-pitfall",
            points: 2,
            starter_falls: true,
            examine: chopped_commands,
        },
        Check {
            name: "long-line-told",
            does: "Sends a line of 1024 bytes (1025 with its newline), then one without end; it must be told so, and \
                   the others go on",
            needs: Needs::Command,
            why: "A line without a limit takes all memory, and a reset can destroy the answer to it",
            page: "04_partial_read_write.html#the-reset-that-destroys-the-answer",
            points: 1,
            starter_falls: true,
            examine: long_line,
        },
        Check {
            name: "vanished-members",
            does: "One member resets its connection, one ends it inside a command; the others must hear of it",
            needs: Needs::Command,
            why: "Few clients say goodbye; a name that is never given back is taken for ever",
            page: "03_thread_per_conn.html#a-limit-that-cant-leak",
            points: 1,
            starter_falls: true,
            examine: vanished_members,
        },
        Check {
            name: "crowded-room",
            does: "Beside 20 silent guests 40 members join, and each says something; all must hear all of it",
            needs: Needs::Command,
            why: "A room in which one silent client holds up the others is none",
            page: "03_thread_per_conn.html#predict-then-run",
            points: 1,
            starter_falls: false,
            examine: crowded_room,
        },
        Check {
            name: "more-than-chairs",
            does: "Sends 100 clients to a server with 64 descriptors; when they leave, the next one must get in",
            needs: Needs::CommandOnLinux,
            why: "Accepting one client can fail, and that says nothing about the next",
            page: "03_thread_per_conn.html#one-failed-accept-ends-the-server",
            points: 1,
            starter_falls: true,
            examine: more_than_chairs,
        },
        Check {
            name: "slow-reader",
            does: "One member never reads while another says up to 8 MiB; all others must hear all, in order",
            needs: Needs::Command,
            why: "One client that is asleep must not silence all those who are awake",
            page: "what_the_six_steps_leave_out.html#5-back-pressure-clients-that-dont-read",
            points: 3,
            starter_falls: true,
            examine: slow_reader,
        },
        Check {
            name: "slow-reader-out",
            does: "One member never reads; when more than 1000 lines would wait for it, it must be put out",
            needs: Needs::Command,
            why: "What waits for a client that never reads has to be kept somewhere, and memory ends",
            page: "what_the_six_steps_leave_out.html#5-back-pressure-clients-that-dont-read",
            points: 2,
            starter_falls: true,
            examine: slow_reader_out,
        },
        Check {
            name: "room-closes",
            does: "Sends SIGTERM with a command half sent; it must be finished, all hear bye, idle ones at once, new \
                   clients be refused, the port be free",
            needs: Needs::Signals,
            why: "Whoever replaces a server wants to lose nobody's words, and the next one needs the port",
            page: "06_graceful_shutdown.html#why",
            points: 1,
            starter_falls: true,
            examine: room_closes,
        },
        Check {
            points: 6,
            ..as_the_task_says(
                "what_the_six_steps_leave_out.html#5-back-pressure-clients-that-dont-read",
                conversations::<Room>,
            )
        },
    ],
};

/// A client that has joined under this name.
fn member(trial: &Trial<'_>, server: &mut Running, name: &str) -> Judged<Client> {
    let mut client = arrive(server, name)?;
    join(trial, &mut client, name)?;
    Ok(client)
}

fn join(trial: &Trial<'_>, client: &mut Client, name: &str) -> Judged<()> {
    ask(trial, client, &format!("join {name}"), &format!("welcome {name}"))
}

/// A client says something, and each of these hears it.
fn speaks(trial: &Trial<'_>, speaker: &str, text: &str, members: &mut [(&str, &mut Client)]) -> Judged<()> {
    for (name, client) in members.iter_mut() {
        if *name == speaker {
            client.send(format!("say {text}\n").as_bytes());
        }
    }
    for (name, client) in members {
        let heard = expect_line(trial, client, &format!("{speaker}: {text}"));
        heard.about(&format!("{speaker} said something, and {name}"))?;
    }
    Ok(())
}

fn room_talks(trial: &Trial<'_>) -> Judged {
    let mut steps = [come(1), say(1, "join alice\n"), come(2), say(2, "join bob\n")].to_vec();
    steps.extend([
        say(1, "say hello\n"),
        say(2, "say hi there\n"),
        say(2, "who\n"),
        say(2, "leave\n"),
        say(1, "who\n"),
    ]);
    plays::<Room>(trial, &steps, "two members joined, talked, asked who was there, and one left")
}

fn room_rules(trial: &Trial<'_>) -> Judged {
    let before = talk(2, &["say hello\n", "who\n", "join\n", "join two words\n", "join seventeenletters1\n"]);
    let names = talk(2, &["join b-o-b\n", "join alice\n", "join sixteenletters16\n"]);
    let after = talk(2, &["join bob\n", "dance\n", "who\n"]);
    let steps = [vec![come(1), say(1, "join alice\n"), come(2)], before, names, after].concat();
    let evidence = plays::<Room>(trial, &steps, "each mistake was answered by its error, and the client could go on")?;
    one_gets_the_name(trial)?;
    Ok(evidence)
}

/// Guests who join under the same name in one moment: a room that looks it up first, and enters it later, lets in more of them
/// than one.
fn one_gets_the_name(trial: &Trial<'_>) -> Judged<()> {
    const GUESTS: usize = 20;
    let quiet = trial.recorder.aside();
    let mut server = trial.start()?;
    let mut guests = Vec::new();
    for number in 1..=GUESTS {
        let mut guest = server.connect_with(&format!("guest {number}"), &quiet, None).map_err(unreachable)?;
        ask(trial, &mut guest, "who", "error: join first")?;
        guests.push(guest);
    }
    trial.recorder.note("guests", format!("{GUESTS} join as ann in one moment"));
    for guest in &mut guests {
        guest.send(b"join ann\n");
    }
    let mut welcome = 0;
    for guest in &mut guests {
        match guest.line(trial.terms.limit) {
            Reply::Line(line) if line == b"welcome ann\n" => welcome += 1,
            told => judge_line(b"error: name taken\n", &told).about("twenty guests joined as ann in one moment")?,
        }
    }
    if welcome != 1 {
        falls!("{GUESTS} guests joined as ann in one moment, and {welcome} of them were welcome");
    }
    Ok(())
}

fn chopped_commands(trial: &Trial<'_>) -> Judged {
    let bytes: Vec<&[u8]> = b"join alice\n".chunks(1).collect();
    // The last command is not all there.
    let five = b"say one\nsay two\r\nwho\r\nsay \xff\xfe caf\xe9\nsay las";
    let steps = [vec![come(1)], talk(1, &bytes), vec![say(1, five), say(1, "t\n")]].concat();
    plays::<Room>(trial, &steps, "a command in eleven pieces was one, and five in one packet were five")
}

fn long_line(trial: &Trial<'_>) -> Judged {
    const CHUNK: usize = 16 * 1024;
    const MOST: usize = 1024 * CHUNK;
    let mut server = trial.start()?;
    let mut alice = member(trial, &mut server, "alice")?;
    let mut bob = member(trial, &mut server, "bob")?;
    expect_line(trial, &mut alice, "* bob joined")?;
    let longest = "x".repeat(LONGEST_LINE - "say ".len());
    speaks(trial, "bob", &longest, &mut [("bob", &mut bob), ("alice", &mut alice)])
        .about("a line of 1024 bytes is not too long")?;

    bob.note("sends \"xxxx…\" without a newline, and reads all the time");
    let mut left = MOST / CHUNK;
    let sending = Sending::begin(&bob, move || {
        left = left.checked_sub(1)?;
        Some(vec![b'x'; CHUNK])
    })?;
    // While bytes are still being taken, silence is not yet the answer. It is when that takes a minute.
    let began = Instant::now();
    let told = loop {
        let before = sending.sent();
        match bob.line(trial.terms.limit) {
            Reply::Nothing(..) if (before + 1..MOST).contains(&sending.sent()) && began.elapsed() < TOO_LONG => {}
            told => break told,
        }
    };
    let sent = with_thousands(sending.sent());
    drop(sending);
    // It may tell only whoever has said everything, and one that it has told, it may listen to until then.
    let _ = bob.stream().shutdown(Shutdown::Write);
    let told = if let Reply::Nothing(..) = told { bob.line(trial.terms.limit) } else { told };
    let judged = judge_line(b"error: line too long\n", &told)
        .and_then(|()| expect_gone(trial, &mut bob).about("after \"error: line too long\\n\""));
    judged.about(&format!("{sent} bytes without a newline were sent"))?;
    expect_line(trial, &mut alice, "* bob left").about("bob was disconnected, and alice")?;
    speaks(trial, "alice", "still here", &mut [("alice", &mut alice)])?;
    Ok(format!("after {sent} bytes without a newline the client was told, and the others that it left").into())
}

fn vanished_members(trial: &Trial<'_>) -> Judged {
    let mut steps = [come(1), say(1, "join alice\n"), come(2), say(2, "join bob\n")].to_vec();
    steps.extend([come(3), say(3, "join carol\n"), step(2, Act::Reset), say(3, "say hal"), step(3, Act::Leave)]);
    steps.extend([come(2), say(2, "join bob\n"), say(1, "who\n")]);
    plays::<Room>(trial, &steps, "the others heard that they left, and the name was free again")
}

fn crowded_room(trial: &Trial<'_>) -> Judged {
    const GUESTS: usize = 20;
    const MEMBERS: usize = 40;
    let quiet = trial.recorder.aside();
    let mut server = trial.start()?;
    let mut connect = |name: &str| server.connect_with(name, &quiet, None).map_err(unreachable);
    let mut guests = Vec::new();
    for number in 1..=GUESTS {
        guests.push(connect(&format!("guest {number}"))?);
    }
    trial.recorder.note("guests", format!("{GUESTS} connect, and say nothing"));
    let names: Vec<String> = (1..=MEMBERS).map(|number| format!("m{number:02}")).collect();
    let mut members = Vec::new();
    for name in &names {
        let mut member = connect(name)?;
        join(trial, &mut member, name)
            .about(&format!("{GUESTS} silent guests, {} members, and {name} joins", members.len()))?;
        members.push(member);
    }
    trial.recorder.note("members", format!("{MEMBERS} have joined, and each says hello"));
    for member in &mut members {
        member.send(b"say hello\n");
    }
    let all: BTreeSet<String> = names.iter().map(|name| format!("{name}: hello\n")).collect();
    let quietly = |member: &mut Client| member.quiet_line(trial.terms.limit);
    for (name, member) in names.iter().zip(&mut members) {
        let mut missing: BTreeSet<&[u8]> = all.iter().map(String::as_bytes).collect();
        while let Some(next) = missing.first().copied() {
            match next_but(member, quietly, |line| line.starts_with(b"* ")) {
                Reply::Line(line) if missing.remove(line.as_slice()) => {}
                Reply::Line(line) => {
                    let line = escape(&line);
                    falls!("each said hello once, and {name} heard \"{line}\"");
                }
                other => {
                    let (next, other) = (escape(next), Trial::describe(&other));
                    falls!("{name} did not hear \"{next}\", but got {other}");
                }
            }
        }
    }
    drop(guests);
    Ok(format!("beside {GUESTS} silent guests {MEMBERS} members heard {MEMBERS} hellos each").into())
}

fn more_than_chairs(trial: &Trial<'_>) -> Judged {
    const DESCRIPTORS: usize = 64;
    const CLIENTS: usize = 100;
    let mut server = trial.start_short_of(Some(DESCRIPTORS))?;
    let mut alice = member(trial, &mut server, "alice")?;
    let mut guest = arrive(&mut server, "guest")?;
    ask(trial, &mut guest, "who", "error: join first")?;
    require_no_wrapper(&server)?;
    // The kernel connects those who are not accepted as well, as many as its queue holds.
    let crowd = silent_crowd(trial, &server, CLIENTS)?;
    trial.recorder.note("clients", format!("{} are connected, and silent", crowd.len()));
    // The server has no event to announce here. What ends this wait early is its end.
    if server.exits_within(Duration::from_millis(500)).is_some() {
        falls!("with {DESCRIPTORS} descriptors and {} clients, {}", crowd.len(), server.obituary().unwrap_or_default());
    }
    let with_crowd = format!("with {DESCRIPTORS} descriptors and {CLIENTS} clients");
    speaks(trial, "alice", "so many", &mut [("alice", &mut alice)]).about(&with_crowd)?;
    ask(trial, &mut guest, "who", "error: join first")
        .about(&format!("{with_crowd}, a guest who had been there before"))?;
    drop(crowd);
    trial.recorder.note("clients", "all leave");
    // One that turns clients away while it is full may not know yet that the others have left, and is asked again.
    // It has a hundred ends to see first, which takes long on a busy machine.
    let (began, patience) = (Instant::now(), LIMIT.max(trial.terms.limit));
    loop {
        let mut bob = arrive(&mut server, "bob")?;
        bob.send(b"join bob\n");
        match bob.line(patience) {
            Reply::Line(line) if line == b"welcome bob\n" => break,
            Reply::End(_) | Reply::Reset(_) if began.elapsed() < patience => {}
            other => {
                let other = Trial::describe(&other);
                falls!("{with_crowd}: when they had left, the next one joined and got {other}");
            }
        }
    }
    expect_line(trial, &mut alice, "* bob joined")?;
    Ok(format!(
        "with {DESCRIPTORS} descriptors and {CLIENTS} clients it went on, and let the next one in when they had left"
    )
    .into())
}

/// How many lines are said before anybody reads: far fewer than may wait for a member who reads.
const BATCH: usize = 50;

/// What is said about a member who doesn't read is long, so that it fills the kernel's buffers soon.
fn speech(number: usize) -> String {
    format!("{number:06} {}", "x".repeat(980))
}

/// Says the next batch. That it couldn't shows at the next read.
fn say_batch(speaker: &Client, from: usize) {
    let batch: String = (from..from + BATCH).map(|number| format!("say {}\n", speech(number))).collect();
    speaker.quiet_send(batch.as_bytes());
}

/// A member with a small buffer for what it receives, and small packets, so that the kernels keep little, who never reads
/// again.
fn not_reading(trial: &Trial<'_>, server: &mut Running) -> Judged<Client> {
    let mut sam = server.connect_with("sam", trial.recorder, Some(2048)).map_err(unreachable)?;
    join(trial, &mut sam, "sam")?;
    sam.note("reads nothing from now on");
    Ok(sam)
}

fn slow_reader(trial: &Trial<'_>) -> Judged {
    const LINES: usize = 8500;
    const MAY_WAIT: usize = 1000;
    let mut server = trial.start()?;
    let _sam = not_reading(trial, &mut server)?;
    let mut tom = member(trial, &mut server, "tom")?;
    let mut uma = member(trial, &mut server, "uma")?;
    expect_line(trial, &mut tom, "* uma joined")?;
    tom.note(format!("says line after line, {BATCH} at once, and reads them with uma"));
    let began = Instant::now();
    let mut said = 0;
    let mut sam_left = false;
    while said < LINES {
        if began.elapsed() > TOO_LONG {
            skipped!("too slow to be judged: {said} lines in {} s", TOO_LONG.as_secs());
        }
        // Once sam is out, one more batch tells whether everybody else is all right.
        let last = sam_left;
        say_batch(&tom, said);
        for (name, member) in [("tom", &mut tom), ("uma", &mut uma)] {
            for number in said..said + BATCH {
                sam_left |=
                    hear(trial, name, member, &format!("tom: {}\n", speech(number))).about("while sam did not read")?;
            }
        }
        said += BATCH;
        if sam_left && said < MAY_WAIT {
            falls!("a member who reads nothing was put out after {said} lines, and {MAY_WAIT} may wait for it");
        }
        if last {
            break;
        }
    }
    let fate = if sam_left { "it was put out" } else { "it held up nobody" };
    trial.recorder.note("tom and uma", format!("hear all of {} lines; as for sam, {fate}", with_thousands(said)));
    Ok(format!("one member did not read, the others heard all of {} lines; {fate}", with_thousands(said)).into())
}

/// Expects a line, and before it at most the news that sam has left. Returns whether they came.
fn hear(trial: &Trial<'_>, name: &str, member: &mut Client, expected: &str) -> Judged<bool> {
    let mut sam_left = false;
    let is_news = |line: &[u8]| line == b"* sam left\n" && !std::mem::replace(&mut sam_left, true);
    match next_but(member, |member| member.quiet_line(trial.terms.limit), is_news) {
        Reply::Line(line) if line == expected.as_bytes() => Ok(sam_left),
        Reply::Line(line) => Err(differing(expected.as_bytes(), &line)).about(&format!("{name} missed something")),
        other => {
            // The line's number says how far it came; the rest of it is the same all over.
            let (expected, other) = (&expected[..expected.len().min(16)], Trial::describe(&other));
            member.note(format!("waits for \"{expected}…\" and gets {other}"));
            falls!("{name} waited for \"{expected}…\" and got {other}");
        }
    }
}

fn slow_reader_out(trial: &Trial<'_>) -> Judged {
    // 1 MiB may wait in the server; the kernel keeps as much as it likes besides, on Linux 4 MiB and more. Where that can be
    // seen, fewer tell it: those that may wait, those that may just be written, and some more.
    const LINES: usize = 16_000;
    const WAITING: usize = 3000;
    let mut server = trial.start()?;
    let sam = not_reading(trial, &mut server)?;
    let own = sam.stream().local_addr().map_err(|error| Otherwise::skipped(error.to_string()))?;
    let addr = server.addr();
    let kept = || kernel::under_way(addr, own) / speech(0).len();
    let mut tom = member(trial, &mut server, "tom")?;
    tom.note(format!("says line after line, {BATCH} at once, and asks who is there"));
    let (mut heard, mut said, mut is_out) = (false, 0, false);
    while !is_out && said < LINES && (said < WAITING || kept() == 0 || said < WAITING + kept()) {
        said += BATCH;
        say_batch(&tom, said);
        let is_here = sam_is_here(trial, &mut tom, &mut heard);
        is_out = !is_here.about(&format!("after {} lines", with_thousands(said)))?;
    }
    let said = with_thousands(said);
    if !is_out {
        // Its threads may need a while to leave, on a machine that is busy with others.
        let gone = wait_until(trial.terms.limit, || match sam_is_here(trial, &mut tom, &mut heard) {
            Ok(true) => None,
            gone => Some(gone),
        });
        if gone.transpose()?.is_none() {
            tom.note(format!("still finds sam there after {said} lines"));
            falls!(
                "{} s after {said} lines of a thousand bytes the member who never read any was still in the room: all \
                 that waits for it is kept somewhere, or lost, and the kernels keep {}",
                trial.terms.limit.as_secs(),
                with_thousands(kept())
            );
        }
    }
    tom.note(format!("finds sam gone after {said} lines"));
    if !heard {
        expect_line(trial, &mut tom, "* sam left").about("sam, who did not read, was put out, and tom")?;
    }
    // Whoever is put out has lost its connection as well. Its own end may come behind much that it hasn't read.
    let is_gone = || kernel::has_ended(addr, own) || kernel::unread(addr, own).is_none();
    if wait_until(trial.terms.limit, || is_gone().then_some(())).is_none() {
        let limit = trial.terms.limit.as_secs();
        falls!("sam, who did not read, had left, as the others were told, and {limit} s later was still connected");
    }
    Ok(format!("after {said} lines the member who did not read was out").into())
}

/// What tom is told when it asks who is there. All that was said before is read first, and whether it said that sam left.
fn sam_is_here(trial: &Trial<'_>, tom: &mut Client, heard: &mut bool) -> Judged<bool> {
    tom.quiet_send(b"who\n");
    let is_past = |line: &[u8]| {
        *heard |= line == b"* sam left\n";
        !line.starts_with(b"here: ")
    };
    match next_but(tom, |tom| tom.quiet_line(trial.terms.limit), is_past) {
        Reply::Line(line) if line == b"here: tom\n" => Ok(false),
        Reply::Line(line) if line == b"here: sam, tom\n" => Ok(true),
        Reply::Line(line) => Err(differing(b"here: sam, tom\n", &line)),
        other => {
            let other = Trial::describe(&other);
            tom.note(format!("asks who is there and gets {other}"));
            falls!("one member did not read, and the other one asked who is there and got {other}");
        }
    }
}

/// Expects this line. Before it others may leave, as they do when a room closes.
fn expect_among_farewells(trial: &Trial<'_>, client: &mut Client, expected: &str) -> Judged<()> {
    let got = next_but(client, |client| client.line(trial.terms.limit), |line| line.starts_with(b"* "));
    judge_line(format!("{expected}\n").as_bytes(), &got)
}

/// What comes next, but for these lines. More of them than any member is owed at once are a flood.
fn next_but(client: &mut Client, next: impl Fn(&mut Client) -> Reply, mut these: impl FnMut(&[u8]) -> bool) -> Reply {
    const FLOOD: usize = 10_000;
    for _ in 0..FLOOD {
        match next(client) {
            Reply::Line(line) if these(&line) => {}
            next => return next,
        }
    }
    Reply::Flood
}

fn room_closes(trial: &Trial<'_>) -> Judged {
    in_time(trial, || {
        with_server(trial, |server| {
            let mut alice = member(trial, server, "alice")?;
            let mut bob = member(trial, server, "bob")?;
            expect_line(trial, &mut alice, "* bob joined")?;
            // In one write: with the answer to the first command it is sure that the server has the beginning of the next.
            bob.send(b"who\nsay hal");
            expect_line(trial, &mut bob, "here: alice, bob")?;
            let mut carol = arrive(server, "carol")?;
            carol.send(b"who\nwh");
            expect_line(trial, &mut carol, "error: join first")?;
            let asked = Instant::now();
            trial.ask_to_stop("check", server)?;
            expect_bye(trial, &mut alice).about("alice was idle at the signal")?;
            let told = Took::new("after the signal, to tell an idle member bye", asked.elapsed(), AT_ONCE);
            let shut_after = shut_after(trial, server, &mut bob)?;
            let took = told.or(Took::new("after the signal, to refuse new clients", shut_after, AT_ONCE));
            if asked.elapsed() > SOON_OVER {
                let took = took.or(Took::new("to look who was told bye or refused", asked.elapsed(), SOON_OVER));
                return Ok((took, "all who were idle heard bye, and new clients were refused".into()));
            }
            bob.send(b"f\n");
            let half = "bob was in the middle of a command at the signal, and finished it";
            expect_among_farewells(trial, &mut bob, "bob: half").about(half)?;
            expect_among_farewells(trial, &mut bob, "bye").about(half)?;
            expect_end(trial, &mut bob).about(half)?;
            drop((alice, bob));
            let (status, ended) = ends_after_grace(trial, server, asked, &mut carol).about("carol")?;
            let took = took.or(ended);
            let addr = server.addr();
            let mut next = trial.start_at(&addr.to_string(), addr)?;
            member(trial, &mut next, "alice").about("started again at once")?;
            let evidence =
                format!("what was begun was finished, all heard bye, it ended with {status} and could reopen");
            Ok((took, evidence.into()))
        })
    })
}
