//! `cargo run --bin 02_accept_blocking`: what ends an accept loop, and what holds it up.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use tcp_pitfalls::demo::{Demonstration, Played, Scene, own_server};
use tcp_pitfalls::lab::client::{Client, Reply};
use tcp_pitfalls::lab::kernel;
use tcp_pitfalls::lab::recording::Recorder;
use tcp_pitfalls::lab::server::{LIMIT, Running};
use tcp_pitfalls::probes::Finding;
use tcp_pitfalls::program;
use tcp_pitfalls::steps::Step;

const ABOUT: &str = "Step 2: accept one client after the other, and let none of them end the loop. A silent client still \
                     holds up all behind it, but no longer than the read timeout.";

fn main() -> ExitCode {
    program::main("02_accept_blocking", ABOUT, Step::Two, demonstration)
}

fn demonstration() -> Demonstration {
    let step = || ("the server of this step", own_server(&[]));
    Demonstration {
        title: "Chapter 2: accept, and block",
        scenes: vec![
            Scene::probe("next-client", ("step 1, which has no loop", own_server(&["--pitfall=next-client"])), step()),
            Scene::probe(
                "reset-before-accept",
                ("`peer_addr().unwrap()` in the loop", own_server(&["--pitfall=reset-before-accept"])),
                step(),
            ),
            Scene::play(
                "idle-client",
                ("the loop of this step, without a read timeout", |recorder: &Recorder| stuck_behind_silence(recorder)),
                ("the loop with a read timeout of one second", |recorder: &Recorder| held_up_for_a_second(recorder)),
            )
            .watching_the_kernel(),
        ],
        why: "The kernel accepts connections by itself and lets them wait in a queue, so a client can connect, write and even \
              leave before the server knows of it. The server is not stuck in its second accept: it is still in the first \
              client's read. Nothing is lost meanwhile, it only waits.",
        next: "Run `cargo run --bin 02_accept_blocking -- serve` and connect twice with nc. Then see \
               `cargo run --bin 03_thread_per_conn`, where nobody waits for a silent client.",
    }
}

fn stuck_behind_silence(recorder: &Recorder) -> Played {
    play(&["--pitfall=idle-client"], recorder, |server, silent, asking| {
        if !matches!(asking.line(Duration::from_secs(1)), Reply::Nothing(part, _) if part.is_empty()) {
            return Ok(Finding::holds("client 2 was answered while client 1 was silent"));
        }
        if let Some(call) = server.id().and_then(kernel::blocked_call) {
            recorder.note("kernel", format!("shows the server blocked in {call}: it reads from client 1"));
        }
        let unread = asking.stream().local_addr().ok().and_then(|asking| kernel::unread(server.addr(), asking));
        if let Some(unread) = unread {
            recorder.note("kernel", format!("keeps {unread} bytes of client 2 that no program has read"));
        }
        let mut behind = Vec::new();
        for name in ["client 3", "client 4"] {
            behind.push(server.connect(name)?);
        }
        if let Some(queue) = kernel::accept_queue(server.addr()) {
            recorder.note("kernel", format!("counts {queue} connections that nobody has accepted"));
        }
        silent.leave();
        match asking.line(LIMIT) {
            Reply::Line(_) => Ok(Finding::falls("client 2 was answered the moment client 1 left, and not before")),
            other => bail!("client 2 was not answered even after client 1 had left: {other:?}"),
        }
    })
}

fn held_up_for_a_second(recorder: &Recorder) -> Played {
    play(&["--read-timeout=1"], recorder, |_server, mut silent, asking| {
        Ok(match asking.line(LIMIT) {
            Reply::Line(_) if silent.ends_within(LIMIT) => {
                silent.note("finds that the server has hung up");
                Finding::holds("client 2 was answered though client 1 never left: its time was up")
            }
            Reply::Line(_) => Finding::falls("client 2 was answered, but client 1 may be silent for ever"),
            other => Finding::falls(format!("client 2 waited in vain for {} s: {other:?}", LIMIT.as_secs())),
        })
    })
}

/// Starts the server, connects client 1, who is silent, and client 2, who asks; then goes on as told.
fn play(
    options: &[&str],
    recorder: &Recorder,
    scene: impl FnOnce(&mut Running, Client, &mut Client) -> Played,
) -> Played {
    let mut server = own_server(options).start(recorder, None)?;
    // The queue is first in, first out: whoever connects first is accepted first.
    let silent = server.connect("client 1")?;
    let mut asking = server.connect("client 2")?;
    asking.send(b"hello\n");
    scene(&mut server, silent, &mut asking)
}
