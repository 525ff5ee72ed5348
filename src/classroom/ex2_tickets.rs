//! The ticket window.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::kit::{AT_ONCE, Took, arrive, expect_end, expect_line, expect_not_early, in_time};
use super::model::{Act, NOBODY, Step, Window, as_the_task_says, come, conversations, plays, say, step};
use super::{Check, Exercise};
use crate::lab::client::{Client, Reply};
use crate::lab::server::Running;
use crate::probes::{Explained, Judged, Needs, Trial, falls, unreachable};

// Each check starts the window anew, so that tickets begin at 1.
pub(super) const EXERCISE: Exercise = Exercise {
    id: "02",
    title: "The ticket window",
    folder: "chapters/02_accept_blocking/exercise",
    checks: &[
        Check {
            name: "numbered-tickets",
            does: "Three customers say their names, one after the other; their tickets must have the numbers 1, 2 and \
                   3",
            needs: Needs::Command,
            why: "A ticket that another customer has as well, or with half a name, is none",
            page: "02_accept_blocking.html#the-server-of-this-step",
            points: 1,
            starter_falls: false,
            examine: numbered_tickets,
        },
        Check {
            name: "one-at-a-time",
            does: "The second customer says a name before the first does; the first must still get ticket 1",
            needs: Needs::Command,
            why: "Numbers say who came first only if nobody is served out of turn",
            page: "02_accept_blocking.html#the-kernel-accepts-you-collect",
            points: 1,
            starter_falls: false,
            examine: one_at_a_time,
        },
        Check {
            name: "silent-client",
            does: "The first customer says nothing; it must be told that it is too slow, and the second be served",
            needs: Needs::Command,
            why: "While one thread waits for one customer, everybody behind waits for the same one",
            page: "02_accept_blocking.html#the-server-of-this-step",
            points: 2,
            starter_falls: true,
            examine: silent_client,
        },
        Check {
            name: "dripping-client",
            does: "The first customer says letters without end, late and ever faster; it must be told that it is too \
                   slow, in time, and the second be served",
            needs: Needs::Command,
            why: "A time limit that starts anew with every byte is no limit, and one that is over early turns away who is \
                  slow and in time",
            page: "02_accept_blocking.html#the-server-of-this-step",
            points: 1,
            starter_falls: true,
            examine: dripping_client,
        },
        Check {
            name: "no-name-no-number",
            does: "Three customers vanish before they have said a whole name; the next must get ticket 1",
            needs: Needs::Command,
            why: "Customers vanish all the time, and neither the window nor the count may depend on them",
            page: "02_accept_blocking.html#the-pitfall",
            points: 1,
            starter_falls: true,
            examine: no_name_no_number,
        },
        Check {
            name: "gone-before-ticket",
            does: "Customers say their names in the queue and reset their connections; the next must be served",
            needs: Needs::Command,
            why: "An answer can fail as well as a question, and its error is about one customer, not about the window",
            page: "02_accept_blocking.html#a-connection-can-die-in-the-queue",
            points: 1,
            starter_falls: true,
            examine: gone_before_ticket,
        },
        as_the_task_says("02_accept_blocking.html#the-server-of-this-step", conversations::<Window>),
    ],
};

fn numbered_tickets(trial: &Trial<'_>) -> Judged {
    // The second types on another system, whose lines end otherwise.
    let names = [(1, "Ada\n"), (2, "Grace Hopper\r\n"), (3, "Zo\u{eb}\n")];
    let steps: Vec<Step> = names.into_iter().flat_map(|(who, name)| [come(who), say(who, name)]).collect();
    plays::<Window>(trial, &steps, "three customers got the tickets 1, 2 and 3, each with its name")
}

fn one_at_a_time(trial: &Trial<'_>) -> Judged {
    let steps = [come(1), come(2), say(2, "Grace\n"), step(NOBODY, Act::Pause(300)), say(1, "Ada\n")];
    plays::<Window>(trial, &steps, "customer 2 said its name first, and customer 1, who was first, got ticket 1")
}

fn silent_client(trial: &Trial<'_>) -> Judged {
    in_time(trial, || {
        let (mut window, called) = served_once(trial)?;
        let mut silent = arrive(&mut window, "customer 1")?;
        let mut next = arrive(&mut window, "customer 2")?;
        next.send(b"Grace\n");
        has_room(trial, &window)?;
        let what = "a customer that said nothing";
        let took = judge_slow(trial, called, &mut silent, what).with_obituary(&mut window)?;
        expect_end(trial, &mut silent).with_obituary(&mut window).about(what)?;
        expect_ticket(trial, &mut next, "Grace")
            .with_obituary(&mut window)
            .about("customer 1 said nothing, and customer 2 waited behind it")?;
        let evidence = "the silent customer 1 was told that it is too slow, and customer 2 got its ticket";
        Ok((took.or(next_took(called)), evidence.into()))
    })
}

/// A window that has served a customer, and when it had: while a server starts, nobody is called.
fn served_once(trial: &Trial<'_>) -> Judged<(Running, Instant)> {
    let mut window = trial.start()?;
    let mut first = arrive(&mut window, "customer 0")?;
    first.send(b"Lin\n");
    expect_ticket(trial, &mut first, "Lin").with_obituary(&mut window)?;
    Ok((window, Instant::now()))
}

/// Expects that a customer is told that it is too slow, and not too early. It was called later than at `called`.
fn judge_slow(trial: &Trial<'_>, called: Instant, customer: &mut Client, what: &str) -> Judged<Took> {
    expect_line(trial, customer, "too slow").about(what)?;
    let told = called.elapsed();
    expect_not_early(what, told, 2 * SECOND)?;
    Ok(Took::new("to tell a customer that it is too slow", told, 3 * SECOND))
}

/// The next customer has its ticket now, and came when the one before it was called.
fn next_took(called: Instant) -> Took {
    Took::new("to serve the next one behind a customer that is too slow", called.elapsed(), 3 * SECOND + AT_ONCE)
}

/// Lets more customers come while the first two are there, and go again.
fn has_room(trial: &Trial<'_>, window: &Running) -> Judged<()> {
    // Where there is no room, the kernel says nothing, and the customer's own tries again after a second.
    const LESS: Duration = Duration::from_millis(900);
    let quiet = trial.recorder.aside();
    let come = |number| Client::connect(window.addr(), &format!("customer {number}"), &quiet, LESS);
    let queue: Vec<_> = (3..=1 + QUEUE).map(|number| come(number).map_err(|error| (number, error))).collect();
    trial.recorder.note("more customers", "come, until there are six, and go again");
    match queue.into_iter().find_map(Result::err) {
        Some((number, error)) if error.kind() == ErrorKind::TimedOut => {
            falls!("customer {number} found no room in the queue, and there must be room for {QUEUE}")
        }
        _ => Ok(()),
    }
}

fn dripping_client(trial: &Trial<'_>) -> Judged {
    in_time(trial, || {
        let (mut window, called) = served_once(trial)?;
        let mut dripping = window.connect_with("customer 1", &trial.recorder.aside(), None).map_err(unreachable)?;
        trial.recorder.note("customer 1", "says a letter after 1.5 s, then more, and from 1.8 s on one every 2 ms");
        let mut next = arrive(&mut window, "customer 2")?;
        next.send(b"Grace\n");
        drip(&mut dripping);
        let what = "a customer that said a letter now and then";
        let took = judge_slow(trial, called, &mut dripping, what).with_obituary(&mut window)?;
        trial.recorder.note("customer 1", "is told that it is too slow");
        expect_ticket(trial, &mut next, "Grace")
            .with_obituary(&mut window)
            .about("customer 1 said a letter now and then, and customer 2 waited behind it")?;
        let evidence =
            "customer 1 would have said letters for ever; it was told too slow, and customer 2 got its ticket";
        Ok((took.or(next_took(called)), evidence.into()))
    })
}

/// How many customers must have room in the queue, behind the one at the window.
const QUEUE: usize = 5;

const SECOND: Duration = Duration::from_secs(1);

/// Says letters until something comes back, and no more than a name may have. The first is late, since the customer's time
/// doesn't begin with it. Around the end of that time they come so fast that a window which gives each read what is left
/// of it meets a time of nothing, and not so fast that a name's letters are at an end before the time is over in vain.
fn drip(customer: &mut Client) {
    const LONGEST_NAME: usize = 1000;
    const LATE: Duration = Duration::from_millis(1500);
    const HURRY: Duration = Duration::from_millis(1800);
    let began = Instant::now();
    if customer.comes_within(LATE) {
        return;
    }
    for _ in 0..LONGEST_NAME {
        let pause = if began.elapsed() < HURRY { 100 } else { 2 };
        if !customer.send(b"a") || customer.comes_within(Duration::from_millis(pause)) {
            break;
        }
    }
}

fn no_name_no_number(trial: &Trial<'_>) -> Judged {
    let mut steps = vec![come(1), step(1, Act::Leave), come(2), say(2, "Ad"), step(2, Act::Leave)];
    steps.extend([come(3), say(3, "Lin"), step(3, Act::Reset), come(4), say(4, "Grace\n")]);
    plays::<Window>(trial, &steps, "three customers vanished without a whole name, and the next one got ticket 1")
}

fn gone_before_ticket(trial: &Trial<'_>) -> Judged {
    let hasty = |who| [come(who), say(who, "Hasty\n"), step(who, Act::Reset)];
    let mut steps = vec![come(1)];
    steps.extend((2..=4).flat_map(hasty));
    // Whether they have spent numbers is up to the window: it may have seen a name, or only the reset.
    steps.extend([come(5), say(5, "Grace\n"), say(1, "Ada\n")]);
    plays::<Window>(trial, &steps, "three customers reset before their tickets came, and the next one got its own")
}

/// Expects a ticket with this name, whatever its number.
fn expect_ticket(trial: &Trial<'_>, customer: &mut Client, name: &str) -> Judged<()> {
    let got = customer.line(trial.terms.limit);
    let end = format!(" for {name}\n");
    let number =
        |line| std::str::from_utf8(line).ok()?.strip_prefix("ticket ")?.strip_suffix(&end)?.parse::<u32>().ok();
    match &got {
        Reply::Line(line) if number(line).is_some() => Ok(()),
        _ => falls!("expected \"ticket N for {name}\\n\", got {}", Trial::describe(&got)),
    }
}
