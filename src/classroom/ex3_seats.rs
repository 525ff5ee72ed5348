//! Six seats.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::kit::{AT_ONCE, Took, arrive, ask, expect_end, expect_gone, expect_line, in_time};
use super::model::{Counter, as_the_task_says, conversations};
use super::{Check, Exercise};
use crate::lab::client::{Client, Reply};
use crate::lab::recording::Recorder;
use crate::lab::server::Running;
use crate::lab::wait::wait_until;
use crate::probes::{Explained, Judged, Needs, Otherwise, Trial, falls, unreachable};

// Each check starts the counter anew, so that every seat is free.
pub(super) const EXERCISE: Exercise = Exercise {
    id: "03",
    title: "Six seats",
    folder: "chapters/03_thread_per_conn/exercise",
    checks: &[
        Check {
            name: "six-and-no-more",
            does: "Guests come, twenty in one moment and one after the other; six must be seated and served side by \
                   side, and the others be told busy at once, until one leaves",
            needs: Needs::Command,
            why: "A limit protects those who are inside, and is no limit if it can be passed",
            page: "03_thread_per_conn.html#a-limit-that-cant-leak",
            points: 1,
            starter_falls: false,
            examine: six_and_no_more,
        },
        Check {
            name: "busy-can-be-read",
            does: "While all seats are taken, guests come and order at once; each must read busy, and then the end, \
                   not a reset",
            needs: Needs::Command,
            why: "A connection closed with bytes unread is reset, and a reset can overtake the last word",
            page: "04_partial_read_write.html#closing-so-that-the-answer-arrives",
            points: 2,
            starter_falls: true,
            examine: busy_can_be_read,
        },
        Check {
            name: "lingering-seventh",
            does: "Guests who were told busy stay at the door; others must still be told so at once, and be seated \
                   when one leaves",
            needs: Needs::Command,
            why: "The one thread that lets people in must never wait for one of them",
            page: "03_thread_per_conn.html#a-thread-for-each-client",
            points: 1,
            starter_falls: false,
            examine: lingering_seventh,
        },
        Check {
            name: "reset-gives-seat-back",
            does: "Guests reset their connections before they are seated, and in the middle of an order; their seats \
                   must be free again",
            needs: Needs::Command,
            why: "A seat that is lost whenever a guest vanishes is lost for good: after six, nobody is served any more",
            page: "03_thread_per_conn.html#a-limit-that-cant-leak",
            points: 2,
            starter_falls: true,
            examine: reset_gives_seat_back,
        },
        Check {
            name: "panic-gives-seat-back",
            does: "Guests order fire, at which the handler panics; their seats must be free again, and the others \
                   notice nothing",
            needs: Needs::Command,
            why: "A bug that hits one guest in a thousand costs a seat each time, and the counter dies of it at night",
            page: "03_thread_per_conn.html#a-limit-that-cant-leak",
            points: 1,
            starter_falls: true,
            examine: panic_gives_seat_back,
        },
        as_the_task_says("03_thread_per_conn.html#the-server-of-this-step", conversations::<Counter>),
    ],
};

/// How many guests can sit at the counter.
const SEATS: usize = 6;

fn six_and_no_more(trial: &Trial<'_>) -> Judged {
    all_at_once(trial)?;
    give_back(trial, "had ended its side", |_number, mut guest| {
        guest.half_close();
        expect_end(trial, &mut guest).about("a guest ended its side")
    })?;
    let (mut counter, mut guests) = in_time(trial, || {
        let mut counter = trial.start()?;
        let began = Instant::now();
        let guests = fill(trial, &mut counter)?;
        let what = "to seat six guests and tell the seventh that all is taken";
        Ok((Took::new(what, began.elapsed(), 2 * AT_ONCE), (counter, guests)))
    })?;
    if guests.len() != SEATS {
        falls!("there are {SEATS} seats, and {} guests were seated", guests.len());
    }
    for (index, guest) in guests.iter_mut().enumerate() {
        let order = format!("tea {}", index + 1);
        served(trial, guest, &order).with_obituary(&mut counter)?;
    }
    if let Some(guest) = guests.pop() {
        guest.leave();
    }
    let mut next = sit_down(trial, &mut counter, "next guest", "after a guest had left")?;
    served(trial, &mut next, "coffee")?;
    Ok("six guests were served side by side, the seventh was told busy, and seated when one had left".into())
}

/// Lets twenty guests come in one moment: the counter is halted while they connect. Where it can't be, nothing is examined.
fn all_at_once(trial: &Trial<'_>) -> Judged<()> {
    const GUESTS: usize = 20;
    let quiet = trial.recorder.aside();
    let mut counter = trial.start()?;
    // Halted before it listens, it would let nobody in.
    let _first = sit_down(trial, &mut counter, "first guest", "at the beginning")?;
    let guests = queue(counter.addr(), GUESTS, &quiet);
    let Some(mut guests) = counter.while_halted(|| guests.collect::<Vec<Client>>()) else { return Ok(()) };
    let came = guests.len();
    trial.recorder.note("guests", format!("{came} come in one moment"));
    let mut seated = 1;
    for guest in &mut guests {
        let told = is_seated(trial, guest).with_obituary(&mut counter);
        seated += usize::from(told.about(&format!("{came} guests came in one moment, and one of them"))?);
    }
    trial.recorder.note("guests", format!("{seated} are seated now, and {} were told busy", 1 + came - seated));
    if seated != SEATS.min(1 + came) {
        falls!("there are {SEATS} seats, {came} guests came in one moment beside the first, and {seated} were seated");
    }
    Ok(())
}

/// Guests who come while the counter is halted, as many as there is room for in its queue.
fn queue(addr: SocketAddr, most: usize, recorder: &Recorder) -> impl Iterator<Item = Client> {
    (1..=most).map_while(move |number| {
        Client::connect(addr, &format!("guest {number}"), recorder, Duration::from_millis(300)).ok()
    })
}

fn busy_can_be_read(trial: &Trial<'_>) -> Judged {
    // One would do where the order is sure to be there first. Elsewhere, one of so many is.
    const HASTY: usize = 10;
    let mut counter = trial.start()?;
    let _guests = fill(trial, &mut counter)?;
    for number in 1..=HASTY {
        order_at_the_door(trial, counter.addr(), &format!("hasty guest {number}"))
            .with_obituary(&mut counter)
            .about("a guest ordered while all seats were taken")?;
    }
    Ok(format!("{HASTY} guests ordered while all seats were taken, and read busy and then the end").into())
}

/// Comes with an order while all seats are taken, and expects to read `busy`, and then the end.
fn order_at_the_door(trial: &Trial<'_>, addr: SocketAddr, name: &str) -> Judged<()> {
    // Linux: the handshake's last packet waits for the order and takes it along, so that the order is there before the
    // counter can answer.
    let came = Client::connect_prepared(addr, name, trial.recorder, trial.terms.limit, |socket| {
        #[cfg(target_os = "linux")]
        socket.set_tcp_quickack(false)?;
        #[cfg(not(target_os = "linux"))]
        let _ = socket;
        Ok(())
    });
    let mut guest = came.map_err(|error| Otherwise::falls(format!("a guest could not come: {error}")))?;
    guest.send(b"tea\ncoffee\n");
    expect_line(trial, &mut guest, "busy")?;
    expect_end(trial, &mut guest).about("after \"busy\\n\"")
}

fn lingering_seventh(trial: &Trial<'_>) -> Judged {
    // So many that a counter which gives each a second, one after the other or some at a time, is found waiting for them.
    const LINGERING: usize = 30;
    in_time(trial, || {
        let quiet = trial.recorder.aside();
        let mut counter = trial.start()?;
        let mut guests = fill(trial, &mut counter)?;
        let began = Instant::now();
        let mut lingering = Vec::new();
        // Each is told before the next comes: nobody has said how many must have room in the queue.
        while lingering.len() < LINGERING && began.elapsed() < trial.terms.limit {
            let name = format!("guest {} at the door", lingering.len() + 1);
            let mut guest = counter.connect_with(&name, &quiet, None).map_err(unreachable)?;
            let came = format!("{} guests stay at the door, and one more came", lingering.len());
            if is_seated(trial, &mut guest).with_obituary(&mut counter).about(&came)? {
                falls!("{came} and was seated");
            }
            lingering.push(guest);
        }
        trial.recorder.note("guests", format!("come, {} of them, and stay at the door", lingering.len()));
        let what = "to tell guests who stay at the door that all is taken";
        let took = Took::new(what, began.elapsed(), 2 * AT_ONCE);
        if let Some(guest) = guests.pop() {
            guest.leave();
        }
        let when = "after a guest had left, while others who were told busy stay at the door";
        let mut next = sit_down(trial, &mut counter, "next guest", when)?;
        served(trial, &mut next, "tea")?;
        Ok((took, format!("{LINGERING} guests who were told busy stayed at the door, and the next was seated").into()))
    })
}

fn reset_gives_seat_back(trial: &Trial<'_>) -> Judged {
    const HASTY: usize = 8;
    let mut counter = trial.start()?;
    let _regular = sit_down(trial, &mut counter, "regular guest", "at the beginning")?;
    let quiet = trial.recorder.aside();
    let hasty = queue(counter.addr(), HASTY, &quiet);
    if let Some(count) = counter.while_halted(|| hasty.map(Client::reset).count()) {
        let text = format!("connect, {count} of them, and reset their connections before they are accepted");
        trial.recorder.note("hasty guests", text);
    }
    sit_down(trial, &mut counter, "next guest", "after guests had reset their connections before they were seated")?;
    give_back(trial, "had reset its connection", |number, mut guest| {
        // In the middle of an order, or before what was ordered has come.
        guest.send(if number % 2 == 0 { b"tea\n" } else { b"te" });
        guest.reset();
        Ok(())
    })
}

fn panic_gives_seat_back(trial: &Trial<'_>) -> Judged {
    give_back(trial, "had ordered fire", |_number, mut guest| {
        guest.send(b"fire\n");
        expect_gone(trial, &mut guest).about("a guest ordered fire")
    })
}

/// Lets more guests than there are seats sit down and end their visits like this, one after the other, while one guest
/// who has nothing to do with it stays.
fn give_back(trial: &Trial<'_>, what_happened: &str, end_visit: impl Fn(usize, Client) -> Judged<()>) -> Judged {
    const VISITS: usize = SEATS + 2;
    // How many there are is for another check to judge.
    let seats = fill(trial, &mut trial.start()?)?.len();
    let mut counter = trial.start()?;
    let after = |visits| match visits {
        0 => "at the beginning".to_owned(),
        1 => format!("after a guest {what_happened}"),
        _ => format!("after each of {visits} guests {what_happened}"),
    };
    let mut regular = sit_down(trial, &mut counter, "regular guest", &after(0))?;
    for number in 1..=VISITS {
        let guest = sit_down(trial, &mut counter, &format!("guest {number}"), &after(number - 1))?;
        end_visit(number, guest).with_obituary(&mut counter)?;
    }
    // No seat is lost, and none has become two.
    let mut others = Vec::new();
    while others.len() + 1 < seats {
        others.push(sit_down(trial, &mut counter, &format!("new guest {}", others.len() + 1), &after(VISITS))?);
    }
    let mut one_more = arrive(&mut counter, "one more guest")?;
    let when = format!("{}, all {seats} seats were taken again, and one more guest came", after(VISITS));
    if is_seated(trial, &mut one_more).about(&when)? {
        falls!("{when} and was seated");
    }
    let when = format!("each of {VISITS} guests {what_happened}, and a guest beside them ordered");
    served(trial, &mut regular, "tea").with_obituary(&mut counter).about(&when)?;
    Ok(format!("each of {VISITS} guests {what_happened}, and there were {seats} seats again").into())
}

/// Lets guests come until one is told that all seats are taken.
fn fill(trial: &Trial<'_>, counter: &mut Running) -> Judged<Vec<Client>> {
    const MOST: usize = 2 * SEATS;
    let mut seated = Vec::new();
    while seated.len() < MOST {
        let name = format!("guest {}", seated.len() + 1);
        let mut guest = arrive(counter, &name)?;
        if !is_seated(trial, &mut guest).with_obituary(counter).about(&format!("{name} came"))? {
            return Ok(seated);
        }
        seated.push(guest);
    }
    falls!("there are {SEATS} seats, and {MOST} guests were seated, with no end")
}

/// Whether a guest who has come is seated. Else it is told that all seats are taken.
fn is_seated(trial: &Trial<'_>, guest: &mut Client) -> Judged<bool> {
    match guest.line(trial.terms.limit) {
        Reply::Line(line) if line == b"seated\n" => Ok(true),
        Reply::Line(line) if line == b"busy\n" => Ok(false),
        other => falls!("expected \"seated\\n\" or \"busy\\n\", got {}", Trial::describe(&other)),
    }
}

/// Lets a guest come again and again until a seat is free: the counter may take a moment to see that somebody has left.
fn sit_down(trial: &Trial<'_>, counter: &mut Running, name: &str, when: &str) -> Judged<Client> {
    let mut told_busy = 0;
    let quiet = trial.recorder.aside();
    let seated = wait_until(trial.terms.limit, || {
        // All but the first visit look the same.
        let recorder = if told_busy == 0 { trial.recorder } else { &quiet };
        let came = counter.connect_with(name, recorder, None).map_err(unreachable);
        let seated = came.and_then(|mut guest| Ok(is_seated(trial, &mut guest)?.then_some(guest)));
        told_busy += usize::from(matches!(seated, Ok(None)));
        seated.transpose()
    });
    if told_busy > 1 {
        trial.recorder.note(name, format!("came again, and was told busy {told_busy} times in all"));
    }
    match seated {
        Some(judged) => judged.with_obituary(counter).about(&format!("{when}, a guest came")),
        None => falls!(
            "{when}, there must be a free seat, and the next guest was told busy for {} s",
            trial.terms.limit.as_secs()
        ),
    }
}

/// Expects that an order is served.
fn served(trial: &Trial<'_>, guest: &mut Client, order: &str) -> Judged<()> {
    ask(trial, guest, order, &format!("here is your {order}"))
}
