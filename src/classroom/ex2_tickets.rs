//! The ticket window.

use std::time::{Duration, Instant};

use super::kit::{expect_end, expect_line, in_time, probe};
use super::{Check, Exercise, model};
use crate::lab::client::{Client, Reply, State};
use crate::lab::server::Running;
use crate::probes::{Explained, Judged, Needs, Otherwise, Trial, falls, skipped, unreachable};

// Each check starts the window anew, so that tickets begin at 1.
pub(super) const EXERCISE: Exercise = Exercise {
    id: "02",
    title: "The ticket window",
    folder: "chapters/02_accept_blocking/exercise",
    checks: &[
        Check {
            probe: probe(
                2,
                Needs::Command,
                "numbered-tickets",
                "Three customers say their names, one after the other; their tickets must have the numbers 1, 2 and 3",
                numbered_tickets,
            ),
            why: "A ticket that another customer has as well, or with half a name, is none",
            points: 1,
            page: "02_accept_blocking.html#the-server-of-this-step",
            starter_falls: false,
        },
        Check {
            probe: probe(
                2,
                Needs::Command,
                "one-at-a-time",
                "The second customer says a name before the first does; the first must still get ticket 1",
                one_at_a_time,
            ),
            why: "Numbers say who came first only if nobody is served out of turn",
            points: 1,
            page: "02_accept_blocking.html#the-kernel-accepts-you-collect",
            starter_falls: false,
        },
        Check {
            probe: probe(
                2,
                Needs::Command,
                "silent-client",
                "The first customer says nothing; it must be told that it is too slow, and the second be served",
                silent_client,
            ),
            why: "While one thread waits for one customer, everybody behind waits for the same one",
            points: 2,
            page: "02_accept_blocking.html#the-server-of-this-step",
            starter_falls: true,
        },
        Check {
            probe: probe(
                2,
                Needs::Command,
                "dripping-client",
                "The first customer says letters without end, late and ever faster; it must be told that it is too slow, in \
                 time, and the second be served",
                dripping_client,
            ),
            why: "A time limit that starts anew with every byte is no limit: a slow customer can hold you as long as \
                 it likes",
            points: 1,
            page: "02_accept_blocking.html#the-server-of-this-step",
            starter_falls: true,
        },
        Check {
            probe: probe(
                2,
                Needs::Command,
                "no-name-no-number",
                "Three customers vanish before they have said a whole name; the next must get ticket 1",
                no_name_no_number,
            ),
            why: "Customers vanish all the time, and neither the window nor the count may depend on them",
            points: 1,
            page: "02_accept_blocking.html#the-pitfall",
            starter_falls: true,
        },
        Check {
            probe: probe(
                2,
                Needs::Command,
                "gone-before-ticket",
                "Customers say their names in the queue and reset their connections; the next must be served",
                gone_before_ticket,
            ),
            why: "An answer can fail as well as a question, and its error is about one customer, not about the window",
            points: 1,
            page: "02_accept_blocking.html#a-connection-can-die-in-the-queue",
            starter_falls: true,
        },
        model::as_the_task_says(2),
    ],
};

fn numbered_tickets(trial: &Trial<'_>) -> Judged {
    let mut window = trial.start()?;
    for (index, name) in ["Ada", "Grace Hopper", "Zoë"].into_iter().enumerate() {
        let mut customer = arrive(&mut window, &format!("customer {}", index + 1))?;
        // The second types on another system, whose lines end otherwise.
        customer.send(format!("{name}{}", if index == 1 { "\r\n" } else { "\n" }).as_bytes());
        expect_line(trial, &mut customer, &format!("ticket {} for {name}", index + 1))
            .and_then(|()| expect_end(trial, &mut customer))
            .with_obituary(&mut window)?;
        customer.leave();
    }
    Ok("three customers got the tickets 1, 2 and 3, each with its name".into())
}

fn one_at_a_time(trial: &Trial<'_>) -> Judged {
    // A shorter time could only let a faulty window pass.
    const OUT_OF_TURN: Duration = Duration::from_millis(300);
    let (mut window, mut first, mut second) = behind_another(trial, |window, first| {
        let mut second = arrive(window, "customer 2")?;
        second.send(b"Grace\n");
        if second.comes_within(OUT_OF_TURN) && first.state() == State::Open {
            let got = second.line(trial.terms.limit);
            falls!("customer 1 was still at the window, and customer 2, behind it, got {}", Trial::describe(&got));
        }
        Ok(second)
    })?;
    expect_line(trial, &mut first, "ticket 1 for Ada")
        .and_then(|()| expect_line(trial, &mut second, "ticket 2 for Grace"))
        .with_obituary(&mut window)?;
    Ok("customer 2 said its name first, and customer 1, who was first, got ticket 1".into())
}

fn silent_client(trial: &Trial<'_>) -> Judged {
    let mut window = trial.start()?;
    let mut silent = arrive(&mut window, "customer 1")?;
    let mut next = arrive(&mut window, "customer 2")?;
    next.send(b"Grace\n");
    expect_ticket(trial, &mut next, "Grace")
        .with_obituary(&mut window)
        .about("customer 1 said nothing, and customer 2 waited behind it")?;
    expect_line(trial, &mut silent, "too slow")
        .and_then(|()| expect_end(trial, &mut silent))
        .with_obituary(&mut window)
        .about("customer 1 said nothing until customer 2 behind it had its ticket")?;
    Ok("the silent customer 1 was told that it is too slow, and customer 2 got its ticket".into())
}

fn dripping_client(trial: &Trial<'_>) -> Judged {
    in_time(trial, "a customer said a letter now and then, and to tell it that it is too slow", 3 * SECOND, || {
        let mut window = trial.start()?;
        let called = Instant::now();
        let mut dripping = window.connect_with("customer 1", &trial.recorder.aside(), None).map_err(unreachable)?;
        trial.recorder.note(
            "customer 1",
            "says a letter after 1.5 s, then more, and near the end of its time one each millisecond",
        );
        let mut next = arrive(&mut window, "customer 2")?;
        next.send(b"Grace\n");
        drip(&mut dripping);
        expect_line(trial, &mut dripping, "too slow")
            .with_obituary(&mut window)
            .about("customer 1, which said a letter now and then,")?;
        let took = called.elapsed();
        trial.recorder.note("customer 1", "is told that it is too slow");
        expect_ticket(trial, &mut next, "Grace")
            .with_obituary(&mut window)
            .about("customer 1 said a letter now and then, and customer 2 waited behind it")?;
        Ok((
            took,
            "customer 1 would have said letters for ever; it was told too slow, and customer 2 got its ticket".into(),
        ))
    })
}

const SECOND: Duration = Duration::from_secs(1);

/// Says letters until something comes back, and no more than a name may have. The first is late, since the customer's time
/// doesn't begin with it. Around the end of that time they come so fast that a window which gives each read what is left
/// of it meets a time of nothing.
fn drip(customer: &mut Client) {
    const LONGEST_NAME: usize = 1000;
    const LATE: Duration = Duration::from_millis(1500);
    const HURRY: Duration = Duration::from_millis(1800);
    let began = Instant::now();
    if customer.comes_within(LATE) {
        return;
    }
    for _ in 0..LONGEST_NAME {
        let pause = if began.elapsed() < HURRY { 100 } else { 1 };
        if !customer.send(b"a") || customer.comes_within(Duration::from_millis(pause)) {
            break;
        }
    }
}

fn no_name_no_number(trial: &Trial<'_>) -> Judged {
    let mut window = trial.start()?;
    arrive(&mut window, "customer 1")?.leave();
    let mut leaving = arrive(&mut window, "customer 2")?;
    leaving.send(b"Ad");
    leaving.leave();
    let mut resetting = arrive(&mut window, "customer 3")?;
    resetting.send(b"Lin");
    resetting.reset();
    let mut next = window
        .connect("customer 4")
        .map_err(|why| Otherwise::falls(format!("after three customers had vanished: {why}")))?;
    next.send(b"Grace\n");
    expect_line(trial, &mut next, "ticket 1 for Grace")
        .with_obituary(&mut window)
        .about("three customers vanished without a whole name, and customer 4 came")?;
    Ok("three customers vanished without a whole name, and the next one got ticket 1".into())
}

fn gone_before_ticket(trial: &Trial<'_>) -> Judged {
    const HASTY: usize = 3;
    let (mut window, mut first, mut next) = behind_another(trial, |window, _first| {
        for _ in 0..HASTY {
            let mut hasty = arrive(window, "hasty customer")?;
            hasty.send(b"Hasty\n");
            hasty.reset();
        }
        let mut next = arrive(window, "next customer")?;
        next.send(b"Grace\n");
        Ok(next)
    })?;
    expect_ticket(trial, &mut first, "Ada").with_obituary(&mut window)?;
    // Whether the hasty ones have spent numbers is up to the window: it may have seen a name, or only the reset.
    expect_ticket(trial, &mut next, "Grace")
        .with_obituary(&mut window)
        .about("customers said their names and reset in the queue, and the next one came")?;
    Ok(format!("{HASTY} customers reset before their tickets came, and the next one got its own").into())
}

/// Holds the window with a first customer, lets others queue up behind it, and then lets the first say its name.
///
/// The first has less time than the window has to give. If this machine takes longer for it, the window is not to blame,
/// and everything begins anew.
fn behind_another(
    trial: &Trial<'_>,
    queue_up: impl Fn(&mut Running, &mut Client) -> Judged<Client>,
) -> Judged<(Running, Client, Client)> {
    const IN_TIME: Duration = Duration::from_secs(1);
    const ATTEMPTS: usize = 5;
    for _ in 0..ATTEMPTS {
        let mut window = trial.start()?;
        let mut first = arrive(&mut window, "customer 1")?;
        let began = Instant::now();
        let queued = queue_up(&mut window, &mut first);
        if began.elapsed() < IN_TIME {
            let last = queued?;
            first.send(b"Ada\n");
            return Ok((window, first, last));
        }
        trial.recorder.note("customer 1", "was held up by this machine; once more from the beginning");
    }
    skipped!("this machine is too busy to speak in time")
}

fn arrive(window: &mut Running, name: &str) -> Judged<Client> {
    window.connect(name).map_err(unreachable)
}

/// Expects a ticket with this name, whatever its number.
fn expect_ticket(trial: &Trial<'_>, customer: &mut Client, name: &str) -> Judged<()> {
    let got = customer.line(trial.terms.limit);
    let number = match &got {
        Reply::Line(line) => std::str::from_utf8(line).ok().and_then(|line| {
            line.strip_prefix("ticket ")?.strip_suffix(&format!(" for {name}\n"))?.parse::<u32>().ok()
        }),
        _ => None,
    };
    match number {
        Some(_) => Ok(()),
        None => falls!("expected \"ticket N for {name}\\n\", got {}", Trial::describe(&got)),
    }
}
