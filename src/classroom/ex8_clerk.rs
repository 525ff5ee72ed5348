//! The counter that waits for nobody.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use super::full_hands::{FULL, FullHands};
use super::kit::{
    AT_ONCE, TOO_LONG, Took, arrive, ask, expect_end, expect_line, expect_not_early, expect_tally, in_time, judge_line,
    not_judged,
};
use super::model::{Clerk, as_the_task_says, come, conversations, plays, say};
use super::{Check, Exercise};
use crate::lab::client::{Client, Reply};
use crate::lab::lack;
use crate::lab::server::Running;
use crate::lab::wait::{wait_for, wait_until};
use crate::probes::{Evidence, Explained, Judged, Needs, Trial, falls, unreachable};

/// How long a customer has from the first byte of a line to its end.
const LINE: Duration = Duration::from_secs(2);

/// How long it may say nothing between two lines.
const IDLE: Duration = Duration::from_secs(4);

/// How long it has to take an answer.
const TAKING: Duration = Duration::from_secs(3);

/// For how long one that was told to go may go on, at the least.
const GOING_ON: Duration = Duration::from_secs(1);

/// The same at the most. Whether it is cut off shows a moment later.
const GOING_ON_AT_MOST: Duration = Duration::from_millis(3500);

/// How much later than that it loses its place, at the latest.
const LATE: Duration = Duration::from_secs(1);

/// The same where nobody sees when the time began.
const VERY_LATE: Duration = Duration::from_secs(2);

pub(super) const EXERCISE: Exercise = Exercise {
    id: "08",
    title: "The counter that waits for nobody",
    folder: "chapters/08_deadlines/exercise",
    checks: &[
        Check {
            name: "numbered-lines",
            does: "Two customers say lines, whole, in pieces and joined; each must get its answers, with numbers of \
                   its own",
            needs: Needs::Command,
            why: "A clock at the counter is worth nothing if nobody is served in time either",
            page: "05_bufread_lines.html#the-server-of-this-step",
            points: 1,
            starter_falls: false,
            examine: numbered_lines,
        },
        Check {
            name: "half-a-line",
            does: "A customer says a line and half of the next in one write, and nothing more; it must be told that it \
                   is too slow, in time, and others be served",
            needs: Needs::Command,
            why: "It waits for an answer, and has to know that none will come",
            page: "08_deadlines.html#why",
            points: 1,
            starter_falls: true,
            examine: half_a_line,
        },
        Check {
            name: "dripping-customer",
            does: "A customer says letters without end; it must be told that it is too slow, in time and so that it \
                   can read it, and at last be cut off",
            needs: Needs::Command,
            why: "How many reads a line takes is decided by the customer, so a time for each of them is a time without \
                  end",
            page: "08_deadlines.html#the-pitfall",
            points: 1,
            starter_falls: true,
            examine: dripping_customer,
        },
        Check {
            name: "silent-customers",
            does: "A customer never says a line, and one says no second line; each must lose its place in time, \
                   without a word",
            needs: Needs::Command,
            why: "Nothing is owed between two lines: a word would be taken for the answer to the next one, and a place \
                  that nobody uses is somebody else's",
            page: "08_deadlines.html#idle-limit",
            points: 1,
            starter_falls: true,
            examine: silent_customers,
        },
        Check {
            name: "good-customer",
            does: "A customer thinks for a moment, and then says one line after the other, each in time, for longer \
                   than any limit; it must be served to the end",
            needs: Needs::Command,
            why: "What is limited is the wait for one thing, and a connection is many",
            page: "08_deadlines.html#whole-connection",
            points: 1,
            starter_falls: true,
            examine: good_customer,
        },
        Check {
            name: "full-hands",
            does: "A customer says lines and takes no answer; it must lose its place in time, and others be served; \
                   one that takes them late, but in time, must not",
            needs: Needs::Command,
            why: "A write waits for the customer as a read does, and without a limit as long as the customer likes",
            page: "08_deadlines.html#slow-reader",
            points: 1,
            starter_falls: true,
            examine: full_hands,
        },
        Check {
            name: "tally-adds-up",
            does: "Three customers lose their places, each in another way, and three go by themselves; then sends \
                   SIGTERM, and the tally must say 3",
            needs: Needs::Signals,
            why: "Only these numbers tell you whether a limit is too short, or somebody too slow on purpose",
            page: "08_deadlines.html#the-server-of-this-step",
            points: 1,
            starter_falls: true,
            examine: tally_adds_up,
        },
        as_the_task_says("08_deadlines.html#the-server-of-this-step", conversations::<Clerk>),
    ],
};

/// Somebody else comes, is served, and leaves.
fn serves_another(trial: &Trial<'_>, counter: &mut Running) -> Judged<()> {
    let mut another = arrive(counter, "another")?;
    ask(trial, &mut another, "a stamp", "1: a stamp").about("somebody else came meanwhile")?;
    another.leave();
    Ok(())
}

fn numbered_lines(trial: &Trial<'_>) -> Judged {
    let mut steps = vec![come(1), come(2), say(1, "a stamp\n"), say(2, "a form\nand a pen\nand some in"), say(1, "\n")];
    steps.extend([say(2, "k\n"), say(1, "two "), say(1, "stamps\n"), say(2, " caf\u{e9} \n")]);
    plays::<Clerk>(trial, &steps, "two customers got their answers, each with numbers of its own")
}

fn half_a_line(trial: &Trial<'_>) -> Judged {
    const WHAT: &str = "a customer that said half a line and nothing more";
    in_time(trial, || {
        let mut counter = trial.start()?;
        let mut slow = arrive(&mut counter, "customer 1")?;
        let began = Instant::now();
        // What has come of a line behind the end of another is its beginning.
        slow.send(b"a stamp\nand a for");
        expect_line(trial, &mut slow, "1: a stamp")?;
        serves_another(trial, &mut counter)?;
        expect_line(trial, &mut slow, "error: too slow").about(WHAT)?;
        let told_after = began.elapsed();
        expect_not_early(WHAT, told_after, LINE)?;
        expect_end(trial, &mut slow).about(WHAT)?;
        let what = "to tell a customer in the middle of a line that it is too slow";
        let took = Took::new(what, told_after, LINE + LATE);
        Ok((took, "a customer was told in the middle of its line that it is too slow, and others were served".into()))
    })
}

fn dripping_customer(trial: &Trial<'_>) -> Judged {
    const WHAT: &str = "a customer that said a letter now and then";
    in_time(trial, || {
        let mut counter = trial.start()?;
        let aside = trial.recorder.aside();
        let mut dripping = counter.connect_with("customer 1", &aside, None).map_err(unreachable)?;
        ask(trial, &mut dripping, "a stamp", "1: a stamp")?;
        trial
            .recorder
            .note("customer 1", "says a letter now and then, and near the end of its time one each millisecond");
        let began = Instant::now();
        let untold = drip(&mut dripping, LINE + trial.terms.limit)?;
        let told = Instant::now();
        let told_after = began.elapsed();
        expect_not_early(WHAT, told_after, LINE)?;
        trial.recorder.note("customer 1", "goes on before it reads what came");
        expect_on_and_on(&dripping, untold)?;
        expect_line(trial, &mut dripping, "error: too slow").about(WHAT)?;
        expect_end(trial, &mut dripping).about(WHAT)?;
        let still = || (!dripping.quiet_send(b"a")).then_some(());
        if wait_until(trial.terms.limit, still).is_none() {
            let limit = trial.terms.limit.as_secs();
            falls!("{WHAT} was told to go and went on for {limit} s more, and was not cut off");
        }
        let cut_off = Took::new("to cut off a customer that goes on", told.elapsed(), GOING_ON_AT_MOST);
        expect_not_early("a customer that was told to go, and went on", untold.elapsed(), GOING_ON)?;
        trial.recorder.note("customer 1", "is told that it is too slow, goes on, and is cut off");
        serves_another(trial, &mut counter)?;
        let what = "to tell a customer that says letters without end that it is too slow";
        let took = Took::new(what, told_after, LINE + LATE).or(cut_off);
        Ok((took, "a customer that would have said letters for ever was told that it is too slow".into()))
    })
}

/// Says letters until something comes back, and fewer than a line may have. Around the end of the customer's time they come
/// so fast that a counter which gives each read what is left of it meets a time of nothing. Gives when nothing had come yet.
fn drip(customer: &mut Client, most: Duration) -> Judged<Instant> {
    const HURRY: Range<Duration> = Duration::from_millis(1800)..Duration::from_millis(2200);
    let began = Instant::now();
    loop {
        let untold = Instant::now();
        let pause = if HURRY.contains(&began.elapsed()) { 1 } else { 100 };
        let sent = customer.quiet_send(b"a");
        if !sent || customer.comes_within(Duration::from_millis(pause)) {
            return Ok(untold);
        }
        if began.elapsed() > most {
            falls!("a customer said a letter now and then, and still had its place after {} s", most.as_secs());
        }
    }
}

/// Expects that a customer can go on for a moment after it was told to go, which was later than at `untold`.
fn expect_on_and_on(customer: &Client, untold: Instant) -> Judged<()> {
    const A_MOMENT: Duration = Duration::from_millis(400);
    let reset = wait_until(A_MOMENT, || (!customer.quiet_send(b"a")).then_some(()));
    // If it was this machine that took so long, the counter may have had enough.
    if reset.is_some() && untold.elapsed() < GOING_ON {
        falls!(
            "a customer that says letters without end was reset within {} ms after it was told that it is too slow: where it \
             is less lucky, it never reads that",
            untold.elapsed().as_millis()
        );
    }
    Ok(())
}

fn silent_customers(trial: &Trial<'_>) -> Judged {
    in_time(trial, || {
        let mut counter = trial.start()?;
        let came = Instant::now();
        let mut never = arrive(&mut counter, "customer 1")?;
        let mut no_more = arrive(&mut counter, "customer 2")?;
        let asked = Instant::now();
        ask(trial, &mut no_more, "a stamp", "1: a stamp")?;
        let mut longest = Duration::ZERO;
        for (customer, since, what) in [
            (&mut never, came, "a customer that never said anything"),
            (&mut no_more, asked, "a customer that said nothing after its first line"),
        ] {
            match customer.line(IDLE + trial.terms.limit) {
                Reply::End(rest) if rest.is_empty() => {}
                other => {
                    falls!("{what}: expected the end of the connection without a word, got {}", Trial::describe(&other))
                }
            }
            expect_not_early(what, since.elapsed(), IDLE)?;
            longest = longest.max(since.elapsed());
        }
        serves_another(trial, &mut counter)?;
        let took = Took::new("to let a silent customer go", longest, IDLE + LATE);
        Ok((took, "two silent customers lost their places, without a word".into()))
    })
}

fn good_customer(trial: &Trial<'_>) -> Judged {
    const ATTEMPTS: usize = 4;
    for _ in 0..ATTEMPTS {
        if let Some(evidence) = works_for_long(trial)? {
            return Ok(evidence);
        }
        trial.recorder.note("check", "was held up by this machine; once more from the beginning");
    }
    Err(not_judged("a customer that was late itself lost its place"))
}

/// Nothing if this side was not as quick as good customers are.
fn works_for_long(trial: &Trial<'_>) -> Judged<Option<Evidence>> {
    let mut counter = trial.start()?;
    let came = Instant::now();
    let mut customer = arrive(&mut counter, "customer 1")?;
    let mut silent = arrive(&mut counter, "customer 2")?;
    let were_quick = thread::scope(|scope| -> Judged<bool> {
        let silent = lack::spawn_scoped(scope, || is_silent_between_lines(trial, &mut silent))?;
        let was_quick = never_stops(trial, &mut customer, came);
        Ok(silent.join().unwrap_or(Ok(false))? & was_quick?)
    })?;
    let seconds = came.elapsed().as_secs();
    Ok(were_quick.then(|| format!("two customers that were never too slow were served for {seconds} s").into()))
}

/// A customer with whose lines the next ones begin. False if it may have been too slow itself.
fn never_stops(trial: &Trial<'_>, customer: &mut Client, came: Instant) -> Judged<bool> {
    /// Longer than a line may take, and shorter than a silence. With the first line it is longer than that.
    const SILENCE: Duration = Duration::from_secs(3);
    const HALF_OF_FIRST: Duration = Duration::from_millis(650);
    const PAUSE: Duration = Duration::from_millis(400);
    /// This much later the customer may have been too slow.
    const LATER: Duration = Duration::from_millis(300);
    wait_for(SILENCE);
    customer.send(b"a ");
    wait_for(HALF_OF_FIRST);
    customer.send(b"st");
    let mut was_quick = came.elapsed() < SILENCE + HALF_OF_FIRST + LATER;
    let mut pause = HALF_OF_FIRST;
    for number in 1.. {
        let began = Instant::now();
        wait_for(pause);
        // With the end of each line comes the beginning of the next.
        customer.send(b"amp\na st");
        was_quick &= began.elapsed() < pause + LATER;
        let answered = expect_line(trial, customer, &format!("{number}: a stamp"));
        if answered.is_err() && !was_quick {
            return Ok(false);
        }
        answered.about(&format!(
            "line {number} of a customer that thinks for a moment, and then takes a moment for each line"
        ))?;
        if came.elapsed() > SILENCE + 2 * HALF_OF_FIRST + LINE {
            break;
        }
        pause = PAUSE;
    }
    Ok(true)
}

/// A customer that takes a moment for a line, is silent, says one at once, and is silent again: from a line's first byte, or
/// from the silence before it, it is always longer than it may be silent. False if it may have been too slow itself.
fn is_silent_between_lines(trial: &Trial<'_>, customer: &mut Client) -> Judged<bool> {
    let (mut pause, mut limit, mut said) = (Duration::from_millis(900), LINE, "amp");
    let mut since = Instant::now();
    customer.send(b"a st");
    for number in 1..=3 {
        wait_for(pause);
        let now = Instant::now();
        match ask(trial, customer, said, &format!("{number}: a stamp")) {
            Err(_) if since.elapsed() >= limit => return Ok(false),
            answered => answered.about("a customer was silent for 3.4 s after each line")?,
        }
        since = now;
        (pause, limit, said) = (Duration::from_millis(3450), IDLE, "a stamp");
    }
    Ok(true)
}

/// A customer that says lines of a thousand bytes and takes no answer.
fn full_customer(trial: &Trial<'_>, counter: &mut Running) -> Judged<FullHands> {
    let line = [&[b'x'; 999][..], b"\n"].concat();
    FullHands::come(counter, "customer 1", trial.recorder, line).map_err(unreachable)
}

/// Expects that a customer which takes its answers late, but in time, keeps its place, twice. Nor is the line too slow that it
/// has half said: the counter had no time to read the rest.
fn takes_late(trial: &Trial<'_>) -> Judged<()> {
    const ATTEMPTS: usize = 3;
    // Not much less than the customer has, and still less when this machine is a little late. Together they are more.
    const IN_TIME: [Duration; 2] = [Duration::from_millis(2600), Duration::from_millis(1300)];
    const LATER: Duration = Duration::from_millis(300);
    for _ in 0..ATTEMPTS {
        let mut counter = trial.start()?;
        let mut full = full_customer(trial, &mut counter)?;
        let (mut taken, mut was_quick) = (0, true);
        let judged = IN_TIME.into_iter().try_for_each(|in_time| {
            full.last = Instant::now();
            let began = full.last;
            full.is_cut_off(FULL, TOO_LONG);
            wait_for(in_time.saturating_sub(began.elapsed()));
            was_quick &= began.elapsed() < in_time + LATER;
            take_all(trial, &mut full, &mut taken, &mut was_quick)
        });
        if judged.is_ok() || was_quick {
            return judged.with_obituary(&mut counter);
        }
    }
    Err(not_judged("a customer that took its answers late itself lost its place"))
}

/// A customer ends the line that it has begun, as soon as it can, and takes the answers to all that it has said.
fn take_all(trial: &Trial<'_>, full: &mut FullHands, taken: &mut usize, was_quick: &mut bool) -> Judged<()> {
    full.client.note("begins to take its answers");
    let _ = full.client.stream().set_write_timeout(Some(trial.terms.limit));
    let (whole, part) = (full.sent / full.word.len(), full.sent % full.word.len());
    while *taken <= whole {
        if *taken == whole {
            full.client.send(&full.word[part..]);
            full.sent += full.word.len() - part;
        }
        *taken += 1;
        let began = Instant::now();
        let got = full.client.quiet_line(trial.terms.limit);
        *was_quick &= began.elapsed() < LINE / 2;
        let limit = TAKING.as_secs();
        judge_line(&[format!("{taken}: ").as_bytes(), &full.word].concat(), &got)
            .about(&format!("a customer took its answers late, and in less than {limit} s, answer {taken}"))?;
    }
    Ok(())
}

fn full_hands(trial: &Trial<'_>) -> Judged {
    const WHAT: &str = "a customer that took no answer";
    let evidence = in_time(trial, || {
        let mut counter = trial.start()?;
        let mut full = full_customer(trial, &mut counter)?;
        let patience = TAKING + trial.terms.limit;
        let at_once = full.is_cut_off(FULL, TOO_LONG);
        if !at_once {
            serves_another(trial, &mut counter).about(WHAT)?;
            if !full.is_cut_off(patience, TOO_LONG) {
                falls!("{WHAT} still had its place {} s after its connection had taken the last", patience.as_secs());
            }
        }
        expect_not_early(WHAT, full.came.elapsed(), TAKING)?;
        let took = Took::new("to let a customer go that takes no answer", full.last.elapsed(), TAKING + VERY_LATE);
        serves_another(trial, &mut counter)?;
        Ok((took, "a customer that took no answer lost its place, and others were served".into()))
    })?;
    takes_late(trial)?;
    Ok(evidence)
}

fn tally_adds_up(trial: &Trial<'_>) -> Judged {
    in_time(trial, || loses_three(trial))
}

fn loses_three(trial: &Trial<'_>) -> Judged<(Took, Evidence)> {
    let mut counter = trial.start()?;
    let mut served = |name: &str| {
        let mut customer = arrive(&mut counter, name)?;
        ask(trial, &mut customer, "a stamp", "1: a stamp").map(|()| customer)
    };
    let mut ends = served("customer 4")?;
    ends.half_close();
    expect_end(trial, &mut ends).about("a customer ended its side")?;
    served("customer 5")?.leave();
    let mut resets = served("customer 6")?;
    resets.send(b"and a for");
    resets.reset();
    let (mut slow, idle) = (served("customer 2")?, served("customer 3")?);
    let mut full = full_customer(trial, &mut counter)?;
    let full_is_out = full.is_cut_off(FULL, TOO_LONG);
    // So that this one is the last to be told, and a tally that counts it only when it has gone says too little.
    wait_for(IDLE.saturating_sub(LATE).saturating_sub(full.came.elapsed()));
    slow.send(b"and a for");
    let ends = |mut customer: Client, what: &str, limit: Duration| {
        let patience = limit + trial.terms.limit;
        // What it is told is for the other checks.
        if !customer.comes_within(patience) {
            falls!("a customer that was {what} still had its place after {} s", patience.as_secs());
        }
        Ok(customer)
    };
    let _idle = ends(idle, "silent", IDLE)?;
    if !full_is_out && !full.is_cut_off(TAKING + trial.terms.limit, TOO_LONG) {
        falls!("a customer that took no answer never lost its place");
    }
    let _slow = ends(slow, "in the middle of a line", LINE)?;
    let asked = Instant::now();
    trial.ask_to_stop("check", &mut counter)?;
    expect_tally(trial, &mut counter, trial.terms.limit, "tally: places lost 3")
        .about("SIGTERM came when the last of three customers had just been told")?;
    let took = Took::new("after SIGTERM, to end", asked.elapsed(), AT_ONCE);
    Ok((took, "three lost their places and three did not, and the tally said so".into()))
}
