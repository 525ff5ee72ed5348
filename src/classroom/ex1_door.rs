//! A door with a sign.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use super::kit::{AT_ONCE, Took, arrive, in_time};
use super::model::{as_the_task_says, doors, doors_at, greeted, has_ipv6, refused};
use super::{Check, Exercise};
use crate::lab::client::Client;
use crate::lab::kernel;
use crate::lab::server::Running;
use crate::lab::wait::wait_until;
use crate::probes::{Explained, Judged, Needs, Trial, draw_port, skipped, unreachable};

pub(super) const EXERCISE: Exercise = Exercise {
    id: "01",
    title: "A door with a sign",
    folder: "chapters/01_listen/exercise",
    checks: &[
        Check {
            name: "every-caller",
            does: "Calls five times, one call after the other; each must be greeted by its address, and then see the \
                   end",
            needs: Needs::Command,
            why: "A door that lets one caller in and then stays shut is of little use",
            page: "02_accept_blocking.html#the-pitfall",
            points: 1,
            starter_falls: false,
            examine: every_caller,
        },
        Check {
            name: "real-port",
            does: "Starts the door on 127.0.0.1:0, and calls where it says that it listens",
            needs: Needs::Command,
            why: "Nobody can dial port 0; only the system knows which port it gave instead",
            page: "01_listen.html#the-server-of-this-step",
            points: 1,
            starter_falls: true,
            examine: real_port,
        },
        Check {
            name: "both-families",
            does: "Starts the door on :PORT, and calls by IPv4 and by IPv6; each caller must be greeted by its own \
                   address",
            needs: Needs::Command,
            why: "Some of your callers have only IPv4 and some only IPv6: each has to find the door, and to be known by the \
                  address that is its own",
            page: "01_listen.html#where-is-every-interface",
            points: 2,
            starter_falls: true,
            examine: both_families,
        },
        Check {
            name: "bad-address",
            does: "Starts the door with five addresses that are no good; each time it must end, quote the address, and \
                   say what is wrong with it",
            needs: Needs::Command,
            why: "Whoever reads \"invalid socket address\" at night has to guess which, and what a valid one looks \
                  like",
            page: "01_listen.html#bare-port",
            points: 1,
            starter_falls: true,
            examine: bad_address,
        },
        Check {
            name: "door-taken",
            does: "Starts the door on a port that another program holds; it must end, quote the address, and say \
                   that its port is in use",
            needs: Needs::Command,
            why: "An error that doesn't name the port doesn't tell which of the programs here is in the way of which",
            page: "01_listen.html#port-taken",
            points: 1,
            starter_falls: true,
            examine: door_taken,
        },
        Check {
            name: "opens-again",
            does: "Ends the door after it has greeted a caller, and starts it again on the same port at once; the same \
                   with :PORT and [::1]:PORT, if the door can stand there",
            needs: Needs::Command,
            why: "The side that closes first leaves its port in TIME_WAIT, and here that is the door, with every \
                  caller",
            page: "01_listen.html#restart",
            points: 1,
            starter_falls: false,
            examine: opens_again,
        },
        as_the_task_says("01_listen.html#the-server-of-this-step", doors),
    ],
};

fn every_caller(trial: &Trial<'_>) -> Judged {
    in_time(trial, || {
        let mut door = trial.start()?;
        // They don't close their side: no door has to wait for that.
        let mut callers = Vec::new();
        let mut longest = Duration::ZERO;
        for number in 1..=5 {
            let caller = arrive(&mut door, &format!("caller {number}"))?;
            let came = Instant::now();
            callers.push(greeted(trial, caller).with_obituary(&mut door)?);
            longest = longest.max(came.elapsed());
            if longest > AT_ONCE {
                break;
            }
        }
        let took = Took::new("to greet a caller and to end the connection", longest, AT_ONCE);
        Ok((took, "five callers, one after the other, were greeted by their address".into()))
    })
}

fn real_port(trial: &Trial<'_>) -> Judged {
    let evidence = "started on port 0, it said on which port it listens, and there callers were greeted";
    doors_at(trial, &["127.0.0.1:0"], evidence)
}

fn both_families(trial: &Trial<'_>) -> Judged {
    doors_at(trial, &[":PORT"], "started with \":PORT\", it greeted callers of each family that this machine has")
}

fn bad_address(trial: &Trial<'_>) -> Judged {
    let bad = ["PORT", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "::1:PORT"];
    doors_at(trial, &bad, "for each of five bad addresses it quoted the address and said what is wrong with it")
}

fn door_taken(trial: &Trial<'_>) -> Judged {
    let reserved = draw_port()?;
    let (port, addr) = (reserved.number, reserved.addr());
    // A process that is just being started beside this one may still have the listener with which the port was tried.
    let Some(_holder) = wait_until(trial.terms.limit, || TcpListener::bind(addr).ok()) else {
        skipped!("port {port} could not be held");
    };
    trial.recorder.note("neighbour", format!("holds port {port}"));
    let spelling = addr.to_string();
    let mut door = trial.start_at(&spelling, addr)?;
    // The system's own words count, Windows' as well.
    refused(trial, &mut door, &spelling, &["in use", "only one usage"])
        .about(&format!("started on {addr}, which another program holds"))?;
    Ok("on a port that another program holds, it says so, and ends".into())
}

fn opens_again(trial: &Trial<'_>) -> Judged {
    let mut places = vec![("127.0.0.1", IpAddr::from(Ipv4Addr::LOCALHOST))];
    // There the standard library may listen, which sets unasked what this needs. At others a listener may be made by hand.
    if trial.target.takes_any_address().is_ok() {
        places.push(("", Ipv4Addr::LOCALHOST.into()));
        places.extend(has_ipv6().then_some(("[::1]", Ipv6Addr::LOCALHOST.into())));
    }
    for (host, ip) in places {
        let reserved = draw_port()?;
        let spelling = format!("{host}:{}", reserved.number);
        let mut first = trial.start_at(&spelling, SocketAddr::new(ip, reserved.number))?;
        match first.connect("caller 1") {
            Ok(caller) => opens_twice(trial, first, caller, &spelling)?,
            Err(why) if host == "127.0.0.1" => return Err(unreachable(why)),
            // That the door doesn't stand there at all is for another check to say.
            Err(_) => {}
        }
    }
    Ok("started again on the same port at once, it greeted the next caller".into())
}

/// Has the caller greeted, ends this door, starts it again at the same place, and has another caller greeted.
fn opens_twice(trial: &Trial<'_>, mut first: Running, caller: Client, spelling: &str) -> Judged<()> {
    let addr = first.addr();
    let port = addr.port();
    greeted(trial, caller).with_obituary(&mut first)?;
    // The door has closed that connection, and the caller has closed it after.
    if wait_until(Duration::from_secs(1), || kernel::has_time_wait(port).then_some(())).is_some() {
        trial.recorder.note("kernel", format!("keeps port {port} in TIME_WAIT"));
    }
    if let Some(process) = first.process() {
        process.kill();
        trial.recorder.note("server", "is killed");
    }
    // What its process left behind, such as children, ends with this.
    drop(first);
    let mut second = trial.start_at(spelling, addr)?;
    let next = arrive(&mut second, "caller 2");
    let greeted = next.and_then(|caller| greeted(trial, caller)).with_obituary(&mut second);
    greeted.map(drop).about(&format!("started again on \"{spelling}\" at once"))
}
