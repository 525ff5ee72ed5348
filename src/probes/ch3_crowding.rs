//! Chapter 3: many clients at once, and what they cost.

use std::fmt;
use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use super::any_bytes;
use super::ch2_accepting::{A_MOMENT, reset_in_the_middle};
use super::trial::{LONGEST, Silence, Trial, reach, unreachable, unread, until_accepted};
use super::{Explained, Judged, Needs, Otherwise, PLAIN, Probe, Verdict, falls, skipped};
use crate::dialogue::Dialogue;
use crate::lab::client::{Client, Match, Reply, State};
use crate::lab::lack::{self, Lack};
use crate::lab::recording::{Payload, Recorder};
use crate::lab::server::Running;
use crate::lab::tree::{Known, Unreadable, Window};
use crate::lab::wait::wait_until;
use crate::lab::{kernel, load};

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "idle-client",
        chapter: 3,
        does: "Connects one client that says nothing and a second that asks; the second must not wait for the first",
        remedy: Some("Serve each connection on a thread, task or goroutine of its own"),
        examine: idle_client,
        ..PLAIN
    },
    Probe {
        name: "crowd",
        chapter: 3,
        does: "Connects 64 clients that all stay; each asks once and must be answered",
        remedy: Some("Serve connections side by side, and let a limit be larger than 64"),
        examine: crowd,
        ..PLAIN
    },
    Probe {
        name: "out-of-descriptors",
        chapter: 3,
        does: "Gives the server 64 descriptors and 200 clients; it must neither end nor spin, and serve the next one when they leave",
        remedy: Some("When accept fails, neither end nor try again at once: pause, a little longer each time"),
        needs: Needs::CommandOnLinux,
        examine: out_of_descriptors,
        ..PLAIN
    },
    Probe {
        name: "back-after-quiet",
        chapter: 3,
        does: "Is served and leaves; after a second and a half without any client, the next one must be served",
        remedy: Some("Don't take a moment without clients, or a timeout of accept, for the end"),
        examine: back_after_quiet,
        ..PLAIN
    },
    Probe {
        name: "no-leak",
        chapter: 3,
        does: "Serves 500 clients that ask, and 500 that reset in the middle of a request or take no answer, and then as many \
               again; what these took must be given back",
        remedy: Some(
            "Close each connection on every way out, also after an error, and don't collect the handles of finished threads",
        ),
        needs: Needs::CommandOnLinux,
        examine: no_leak,
        ..PLAIN
    },
];

fn idle_client(trial: &Trial<'_>) -> Judged {
    let judged = is_served_beside(trial, false).and_then(|evidence| {
        // One that reads whole lines when there is something to read waits only for a client that has begun one.
        trial.aside(|trial| is_served_beside(trial, true))?;
        Ok(evidence)
    });
    let simpler = "it doesn't serve a client that is alone, either; see next-client";
    // Of lines that are claimed this is the headline of its chapter, which each earlier step falls into.
    trial.unless_simpler(judged, simpler, |trial, server| {
        if trial.terms.dialogue.claimed { trial.in_turn(server, &["hello"]) } else { trial.serves_two(server) }
    })
}

/// Whether a client is served beside one that says nothing, or that has `begun` a request and says no more.
fn is_served_beside(trial: &Trial<'_>, begun: bool) -> Judged {
    let (silence, until) = if begun {
        ("stopped in the middle of a request", "client 1 left, which had stopped in the middle of a request")
    } else {
        ("was silent", "the silent client 1 left")
    };
    trial.twice(|patience| {
        let mut server = trial.start()?;
        let mut silent = reach(&mut server, "client 1")?;
        if begun {
            silent = trial.introduce(silent)?;
            silent.send(trial.terms.dialogue.half(&trial.request("hello")));
            // Whoever reads the whole line first is reading now.
            wait_until(Duration::from_millis(500), || (unread(&server, &silent)? == 0).then_some(()));
        }
        let asking = server.connect("client 2").map_err(unreachable)?;
        // On a thread of its own, since it may be kept waiting for a greeting as well as for the answer.
        thread::scope(|scope| {
            let asking = lack::spawn_scoped(scope, || trial.ask(&mut trial.introduce(asking)?, "hello"))?;
            let is_over = || asking.is_finished().then_some(());
            let before = wait_until(patience, is_over).is_some();
            let dropped = silent.state() == State::Ended;
            silent.leave();
            let soon = before || wait_until(Silence::SOON, is_over).is_some();
            let answered = asking.join().unwrap_or_else(|_| skipped!("the thread of client 2 has panicked"));
            answered.about(&format!("client 2 asked while client 1 {silence}"))?;
            match (before, soon) {
                (true, _) if dropped && !begun => {
                    falls!("client 2 was served only after the silent client 1 had been dropped")
                }
                (true, _) => {
                    Ok(Silence::No("client 1 is silent and still connected, and client 2 got its answer".into()))
                }
                (false, true) => Ok(Silence::UntilThen(Otherwise::falls(format!(
                    "client 2 asked and got nothing until {until}; then it was answered"
                )))),
                (false, false) => Ok(Silence::Longer),
            }
        })
    })
}

fn crowd(trial: &Trial<'_>) -> Judged {
    let simpler = "it goes wrong with a few clients already; see idle-client and any-bytes";
    trial.unless_simpler(serves_a_crowd(trial), simpler, |trial, server| {
        // Of lines that are claimed the course shows this in each step that serves one client at a time.
        if !trial.terms.dialogue.claimed {
            let _silent = trial.connect(server, "client 1")?;
            trial.in_turn(server, &["hello"])?;
        }
        any_bytes::each_its_own(trial, server)
    })
}

fn serves_a_crowd(trial: &Trial<'_>) -> Judged {
    let crowd = trial.terms.crowd;
    let mut server = trial.start()?;
    trial.serves_two(&mut server)?;
    let quiet = trial.recorder.aside();
    let mut clients = Vec::new();
    for number in 1..=crowd {
        clients.push(server.connect_with(&format!("client {number}"), &quiet, None).map_err(unreachable)?);
    }
    let all = format!("{crowd} clients");
    trial.recorder.note(&all, "connect, ask, and stay");
    // Who is turned away is told so before it asks: a request that nobody reads would destroy what it is told.
    until_accepted(&server, Duration::from_millis(500));
    let mut asked = Vec::new();
    for (mut client, number) in clients.into_iter().zip(1..) {
        if let Some(text) = told_unasked(trial, &mut client) {
            return Err(turned_away(number, crowd, &text));
        }
        let mut client = trial.introduce(client).about(&format!("client {number} of {crowd}"))?;
        let request = trial.request(&format!("I-am-{number}"));
        client.send(&request.bytes);
        asked.push((client, request, number));
    }
    let deadline = Instant::now() + trial.terms.limit;
    for (client, request, number) in &mut asked {
        let got = client.answer(deadline.saturating_duration_since(Instant::now()), |got| request.check(got));
        match (Trial::judge(request, &got), &got) {
            (Ok(()), _) => {}
            (_, Reply::End(text) | Reply::Reset(text)) => return Err(turned_away(*number, crowd, text)),
            (_, Reply::Line(text)) if client.ends_within(A_MOMENT) => return Err(turned_away(*number, crowd, text)),
            (_, Reply::Nothing(rest, _)) if rest.is_empty() => falls!(
                "with all {crowd} clients connected, client {number} was not answered within {} s",
                trial.terms.limit.as_secs_f32()
            ),
            (wrong, _) => wrong.about(&format!("client {number} of {crowd}"))?,
        }
    }
    trial.recorder.note(&all, "have their answers");
    Ok(format!("{crowd} clients at once, each was answered while all stayed").into())
}

/// What a client is told that has not asked anything, if it was no greeting and the connection is over then.
fn told_unasked(trial: &Trial<'_>, client: &mut Client) -> Option<Vec<u8>> {
    if let Some(greeting) = &trial.terms.dialogue.greeting {
        client.comes_within(trial.terms.limit);
        if !matches!(greeting.check(b"", client.received()), Match::Wrong(_)) {
            return None;
        }
    }
    let told = client.state() != State::Open && client.ends_within(A_MOMENT);
    told.then(|| client.received().to_vec())
}

/// A server that bounds its clients, and says so, does nothing wrong.
fn turned_away(number: usize, crowd: usize, text: &[u8]) -> Otherwise {
    if text.is_empty() {
        return Otherwise::falls(format!("client {number} of {crowd} was disconnected without an answer"));
    }
    Otherwise::differs(format!(
        "it limits its clients: number {number} of {crowd} was told {} and disconnected. vsftpd does that to many clients \
         of one address. If it is meant, say how many it serves: --crowd N",
        Payload::new(text)
    ))
}

/// How many clients come at once to a server that has few descriptors.
const CLIENTS: usize = 200;

fn out_of_descriptors(trial: &Trial<'_>) -> Judged {
    let mut server = start_with_few(trial)?;
    let crowd = silent_crowd(trial, &server, CLIENTS)?;
    let count = crowd.len();
    trial.recorder.number_by_chance(count, "clients connect until the server gives up");
    trial.recorder.note("clients", format!("{count} have connected, and say nothing"));
    let full = watch(&mut server).about(&format!("with {FEW} descriptors and {count} clients"))?;
    if let Ok(window) = &full {
        for time in [window.running, window.waiting] {
            trial.recorder.number_by_chance(time.as_millis(), "a measured time");
        }
        trial.kernel(format!("counts {} for the server", in_words(window)));
        if is_busy(window) || never_rests(window) {
            expect_no_spin(trial, window)?;
        }
    }
    // To leave with a greeting unread would be a reset.
    for mut client in crowd {
        client.state();
    }
    trial.recorder.note("clients", "all leave");
    // One that turns clients away while it is full may not know yet that the others have left, and is asked again.
    let mut asked = Err(Otherwise::falls("it listens no more"));
    wait_until(trial.terms.limit, || {
        let Ok(next) = server.connect("next client") else { return Some(()) };
        asked = trial.introduce(next).and_then(|mut next| trial.ask(&mut next, "and-now?"));
        (asked.is_ok() || server.obituary().is_some()).then_some(())
    });
    let asked = asked.with_obituary(&mut server).about(&format!("after {count} clients had come and left"));
    let simpler =
        "it doesn't get over clients that come and leave with descriptors left, either; see no-leak and crowd";
    trial.unless_simpler(asked, simpler, |trial, server| {
        let mut few = start_with_few(trial)?;
        (0..FEW).try_for_each(|_| trial.in_turn(&mut few, &["hello"]))?;
        drop(silent_crowd(trial, server, CLIENTS)?);
        trial.in_turn(server, &["hello"])
    })?;
    let went_on =
        format!("with {FEW} descriptors and {count} clients it went on, and served the next one when they had left");
    match full {
        Ok(window) => Ok(format!("{went_on}; it used {} in 2 s", in_words(&window)).into()),
        Err(why) => skipped!("{went_on}; but whether it spins can't be seen: {why}"),
    }
}

/// How many descriptors the server gets.
const FEW: usize = 64;

/// Starts the server with few descriptors, and has it serve two clients.
fn start_with_few(trial: &Trial<'_>) -> Judged<Running> {
    let mut server = trial.start_short_of(Some(FEW))?;
    // To close its first connection takes Java a descriptor (JDK 17, FileDispatcherImpl), and without one it never closes
    // any. So it has to have closed one before there are none.
    let Err(why) = trial.serves_two(&mut server) else { return Ok(server) };
    let status = server.exits_within(A_MOMENT);
    match server.obituary() {
        Some(obituary) if status.is_some_and(|status| !status.success()) => {
            skipped!("it can't be run with {FEW} descriptors: {obituary}")
        }
        _ => Err(why),
    }
}

/// Watches for 2 s how busy a server is that has nothing to do. It falls if it ends.
fn watch(server: &mut Running) -> Judged<Known<Window>> {
    let Some(process) = server.process() else { skipped!("there is no process to watch") };
    let watched = process.watch(Duration::from_secs(2));
    // One that can't be watched may be about to end, which takes a moment.
    let moment = if watched.is_ok() { Duration::ZERO } else { Duration::from_millis(500) };
    match process.exits_within(moment).and_then(|_| server.obituary()) {
        Some(obituary) => falls!("{obituary}"),
        None => Ok(watched),
    }
}

/// Whether a server may be spinning. On a busy machine, one that spins gets little of a processor and waits for more all the
/// time. An idle JVM waits as well, but hardly runs. One that tries again in bursts, as asyncio does each second, does
/// neither; but where very many others run, each of its bursts waits until the next one is due.
fn is_busy(window: &Window) -> bool {
    window.running >= Duration::from_millis(500)
        || never_rests(window) && window.running >= Duration::from_millis(100) && load::overload().is_none()
}

fn never_rests(window: &Window) -> bool {
    all_of(window) >= Duration::from_millis(1500) && window.running >= Duration::from_millis(20)
}

fn all_of(window: &Window) -> Duration {
    window.running + window.waiting
}

/// Expects that a server which was busy without descriptors is nearly as busy with some left: then it does something else
/// than to try again.
fn expect_no_spin(trial: &Trial<'_>, full: &Window) -> Judged<()> {
    let mut server = trial.start()?;
    trial.serves_two(&mut server)?;
    // As many: one that starts a process for each has that to do, with descriptors or without.
    let silent = silent_crowd(trial, &server, CLIENTS)?;
    let Ok(control) = watch(&mut server)? else { return Ok(()) };
    drop(silent);
    trial.kernel(format!("counts {} for one that has descriptors left", in_words(&control)));
    // On a busy machine one that rests may wait for the processor as long as one that spins.
    let waits_alike = all_of(full) < all_of(&control) * 4;
    if full.running >= control.running * 4 && !(waits_alike && load::overload().is_none()) {
        if waits_alike || !is_busy(full) {
            let why = format!(
                "out of descriptors, it used {} in 2 s without traffic, but whether it rests can't be told: {}",
                in_words(full),
                load::too_busy()
            );
            return Err(Otherwise::own_lack(why));
        }
        falls!(
            "out of descriptors, it tries again without a pause: it used {} in 2 s without traffic; with descriptors left, {}",
            in_words(full),
            in_words(&control)
        );
    }
    Ok(())
}

fn in_words(window: &Window) -> String {
    format!("{} ms of processor time ({} ms of waiting for it)", window.running.as_millis(), window.waiting.as_millis())
}

/// Connects so many silent clients, or as many as the server takes.
pub(crate) fn silent_crowd(trial: &Trial<'_>, server: &Running, count: usize) -> Judged<Vec<Client>> {
    let quiet = trial.recorder.aside();
    let addr = server.addr();
    let mut crowd = Vec::new();
    while crowd.len() < count {
        match Client::connect(addr, "client", &quiet, Duration::from_millis(500)) {
            Ok(client) => crowd.push(client),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
            Err(error) => {
                if let Some(lack) = Lack::of(&error) {
                    skipped!("{lack}");
                }
                // The queue is full. A server that empties it has room for more; one that doesn't has all it will take.
                let empty = || (kernel::accept_queue(addr)? == 0).then_some(());
                if wait_until(Duration::from_millis(500), empty).is_none() {
                    break;
                }
            }
        }
    }
    Ok(crowd)
}

fn back_after_quiet(trial: &Trial<'_>) -> Judged {
    const QUIET: Duration = Duration::from_millis(1500);
    let mut server = trial.start()?;
    trial.serves_two(&mut server)?;
    let quiet = format!("{} s without any client", QUIET.as_secs_f32());
    trial.recorder.note("probe", format!("lets the server have {quiet}"));
    wait_until(QUIET, || server.process()?.exited());
    let answered = trial.in_turn(&mut server, &["hello-again"]);
    answered.with_obituary(&mut server).about(&format!("after {quiet}"))?;
    Ok(format!("after {quiet}, the next one was served").into())
}

fn no_leak(trial: &Trial<'_>) -> Judged {
    const ROUND: usize = 500;

    let began = Instant::now();
    let mut server = trial.start()?;
    trial.serves_two(&mut server)?;
    survives_resets(trial, &mut server)?;
    one_after_the_other(trial, &mut server, ROUND, began)?;
    // The last connections may take a moment to be cleared away. And what grows once is no leak: an allocator reserves
    // address space for threads that happened to run at the same time. What leaks grows in every round.
    let mut evidence = String::new();
    for patience in [trial.terms.limit, Duration::from_millis(500), Duration::from_millis(500)] {
        let before = Held::by(&mut server)?;
        match one_after_the_other(trial, &mut server, ROUND, began) {
            // A slow one has been judged by what it kept so far.
            Err(why) if why.verdict() == Verdict::Skipped && !evidence.is_empty() => break,
            other => other?,
        }
        let mut more = Held::by(&mut server)?.since(&before);
        let mut looked = Instant::now();
        let settled = wait_until(patience, || {
            // To look at all processes takes time, which the server may need.
            if !more.is_little() && looked.elapsed() > Duration::from_millis(200) {
                more = Held::by(&mut server).ok()?.since(&before);
                looked = Instant::now();
            }
            more.is_little().then_some(())
        });
        trial.recorder.number_by_chance(more.descriptors, "what is not cleared away yet");
        trial.recorder.number_by_chance(more.mappings, "which threads ran at the same time");
        trial.recorder.number_by_chance(more.mebibytes(), "which threads ran at the same time");
        trial.kernel(format!("counts more than before: {more}"));
        evidence = format!("{ROUND} clients that left and {ROUND} that reset or took no answer left behind {more}");
        if settled.is_some() {
            return Ok(evidence.into());
        }
    }
    falls!("{evidence}")
}

/// What the processes of a server hold.
struct Held {
    /// With the processes that have ended and were not waited for: those are kept as descriptors are, by their numbers.
    descriptors: u64,
    mappings: u64,
    address_space: u64,
}

impl Held {
    fn by(server: &mut Running) -> Judged<Held> {
        let Some(process) = server.process() else { skipped!("there is no process to look at") };
        let read = || {
            let tree = process.tree()?;
            Ok(Held {
                descriptors: tree.descriptors()? + tree.zombies() as u64,
                mappings: tree.mappings()?,
                address_space: tree.address_space()?,
            })
        };
        read().map_err(|Unreadable(why)| Otherwise::skipped(why))
    }

    fn since(self, before: &Held) -> Held {
        Held {
            descriptors: self.descriptors.saturating_sub(before.descriptors),
            mappings: self.mappings.saturating_sub(before.mappings),
            address_space: self.address_space.saturating_sub(before.address_space),
        }
    }

    /// Half of what 500 clients leave that leave a descriptor each, or a thread: its stack and the guard page are two
    /// mappings.
    fn is_little(&self) -> bool {
        self.descriptors < 250 && self.mappings < 250 && self.mebibytes() < 500
    }

    fn mebibytes(&self) -> u64 {
        self.address_space / 1024 / 1024
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Held { descriptors, mappings, .. } = self;
        let space = self.mebibytes();
        write!(f, "descriptors or ended processes {descriptors}, memory mappings {mappings}, address space {space} MiB")
    }
}

/// A client that asks and is gone when it is answered.
fn leave_unread(trial: &Trial<'_>, server: &mut Running, recorder: &Recorder) -> Judged<()> {
    let Dialogue { one_request, joined, .. } = trial.terms.dialogue;
    // More than is read and answered at once: the second write finds nobody.
    let count = if one_request || !joined { 1 } else { 200 };
    let mut client = trial.introduce(server.connect_with("hasty client", recorder, None).map_err(unreachable)?)?;
    client.send(&trial.request(&"x".repeat(499)).bytes.repeat(count));
    client.half_close();
    client.leave();
    Ok(())
}

/// Expects that the server doesn't end over a client that resets in the middle of a request: that is another pitfall.
fn survives_resets(trial: &Trial<'_>, server: &mut Running) -> Judged<()> {
    const ENOUGH: usize = 10;
    let quiet = trial.recorder.aside();
    let all: Judged<()> = (0..ENOUGH).try_for_each(|_| {
        reset_in_the_middle(trial, server, &quiet, true)?;
        reset_in_the_middle(trial, server, &quiet, false)?;
        trial.in_turn(server, &["hello"])
    });
    let patience = if all.is_ok() { A_MOMENT } else { A_MOMENT * 10 };
    match server.exits_within(patience) {
        Some(_) => skipped!("it ends when a client resets in the middle of a request: see leaves-unread"),
        // Nothing is used up by so few.
        None => {
            let more = |()| trial.aside(|trial| one_after_the_other(trial, server, ENOUGH, Instant::now()));
            all.and_then(more).map_err(|why| {
                Otherwise::skipped(format!(
                    "it goes wrong after a few clients already that have reset ({why}); see reset-before-accept and leaves-unread"
                ))
            })
        }
    }
}

/// So many clients that ask and leave, and as many that reset or take no answer: what the way out of an error forgets is
/// lost as well.
fn one_after_the_other(trial: &Trial<'_>, server: &mut Running, count: usize, began: Instant) -> Judged<()> {
    let quiet = trial.recorder.aside();
    for number in 1..=count {
        if began.elapsed() > LONGEST {
            skipped!("too slow to be judged: it took over {} s", LONGEST.as_secs());
        }
        if number % 4 == 0 {
            leave_unread(trial, server, &quiet)?;
        } else {
            reset_in_the_middle(trial, server, &quiet, false)?;
        }
        let client = server.connect_with("client", &quiet, None).map_err(unreachable)?;
        let answered = trial.introduce(client).and_then(|mut client| trial.ask(&mut client, "hello"));
        let answered = trial.unless_it_recovers(answered, server);
        answered.with_obituary(server).about(&format!("client {number} of {count}, one after the other"))?;
    }
    trial.recorder.note("clients", format!("{count} come, ask and leave, and {count} reset or take no answer"));
    Ok(())
}
