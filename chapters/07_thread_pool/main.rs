//! `cargo run --bin 07_thread_pool`: threads that are used again, and what a pool of a fixed size does to clients.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use tcp_pitfalls::demo::{Demonstration, Played, Scene, own_server};
use tcp_pitfalls::lab::client::Reply;
use tcp_pitfalls::lab::recording::Recorder;
use tcp_pitfalls::probes::{Finding, Terms};
use tcp_pitfalls::program;
use tcp_pitfalls::steps::Step;

const ABOUT: &str = "Step 7: threads that stay. One whose client has left serves the next, and a new one is started when \
                     none is free, so that nobody waits for a silent client.";

fn main() -> ExitCode {
    program::main("07_thread_pool", ABOUT, Step::Seven, demonstration)
}

fn demonstration() -> Demonstration {
    let step = || ("the server of this step", own_server(&["--grace=2"]));
    Demonstration {
        title: "Chapter 7: threads that stay",
        scenes: vec![
            Scene::probe("crowd", ("a pool of four threads", own_server(&["--pitfall=crowd"])), step()),
            Scene::probe_with(
                "serves-queue",
                Terms { grace: Duration::from_secs(2), ..Terms::default() },
                ("the pool, with a queue of clients in front of it", own_server(&["--pitfall=serves-queue"])),
                step(),
            ),
            Scene::play(
                "lost-threads",
                ("the pool, and `unwrap` on what serving a client returns", |recorder: &Recorder| {
                    four_leave_in_mid_line(&["--pitfall=lost-threads"], recorder)
                }),
                ("the server of this step", |recorder: &Recorder| four_leave_in_mid_line(&[], recorder)),
            ),
        ],
        why: "A thread that waits for its client is not free, however little it does. So the number of threads in a pool is the \
              number of clients that may be silent. Who accepts more than that has promised what he can't keep: the place for \
              clients that nobody serves yet is the kernel's queue, where they can still go elsewhere.",
        next: "Run `cargo run --bin 07_thread_pool -- serve --pitfall`, connect five times with nc, and type into the fifth. Then \
               close one of the others.",
    }
}

/// Four clients leave in the middle of a line, one after the other. Is the fifth served?
fn four_leave_in_mid_line(options: &[&str], recorder: &Recorder) -> Played {
    const PATIENCE: Duration = Duration::from_secs(2);
    let mut server = own_server(options).start(recorder, None)?;
    for number in 1..=4 {
        let mut client = server.connect(&format!("client {number}"))?;
        client.send(b"whole\nhal");
        if !matches!(client.line(PATIENCE), Reply::Line(_)) {
            bail!("client {number} was not served, and so could not leave in the middle of its second line");
        }
    }
    let mut fifth = server.connect("client 5")?;
    fifth.send(b"hello\n");
    Ok(match fifth.line(PATIENCE) {
        Reply::Line(answer) if answer == b"echo: hello\n" => {
            Finding::holds("four clients left in the middle of a line, and the fifth was served")
        }
        Reply::Nothing(..) => {
            Finding::falls("four clients left in the middle of a line, and nobody is left to serve the fifth")
        }
        other => bail!("client 5 got {other:?}"),
    })
}
