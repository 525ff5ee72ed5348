//! `cargo run --bin 03_thread_per_conn`: a thread for each client, and the three usual mistakes of that.

use std::process::ExitCode;

use anyhow::bail;
use tcp_pitfalls::demo::{Demonstration, Played, Scene, own_server};
use tcp_pitfalls::lab::client::Reply;
use tcp_pitfalls::lab::recording::Recorder;
use tcp_pitfalls::lab::server::LIMIT;
use tcp_pitfalls::probes::Finding;
use tcp_pitfalls::program;
use tcp_pitfalls::steps::Step;

const ABOUT: &str = "Step 3: a thread for each connection, so that nobody waits for a silent client, and a bound on \
                     everything that a connection takes: threads, stacks, descriptors.";

fn main() -> ExitCode {
    program::main("03_thread_per_conn", ABOUT, Step::Three, demonstration)
}

fn demonstration() -> Demonstration {
    let step = || ("the server of this step", own_server(&[]));
    Demonstration {
        title: "Chapter 3: a thread per connection",
        scenes: vec![
            Scene::probe(
                "idle-client",
                ("step 2, one client at a time", own_server(&["--pitfall=idle-client"])),
                step(),
            ),
            Scene::probe(
                "out-of-descriptors",
                ("`accept()?` in the loop", own_server(&["--pitfall=out-of-descriptors"])),
                step(),
            ),
            Scene::play(
                "out-of-threads",
                ("spawn(…).expect(…) in the loop, which is what thread::spawn does", |recorder: &Recorder| {
                    out_of_threads(&["--pitfall=out-of-threads", TOO_LARGE], recorder)
                }),
                ("the server of this step", |recorder: &Recorder| out_of_threads(&[TOO_LARGE], recorder)),
            ),
            Scene::probe("no-leak", ("every JoinHandle kept in a Vec", own_server(&["--pitfall=no-leak"])), step()),
        ],
        why: "A thread of its own lets each connection wait for its own client. But threads, stacks and descriptors are \
              limited, and they run out in the accept loop, the one place that serves everybody: an error there must cost \
              one client its turn, and never the others their server.",
        next: "Run `cargo run --bin 03_thread_per_conn -- serve --max-connections 2`, connect three times with nc, and close \
               one of them. Then see `cargo run --bin 04_partial_read_write`.",
    }
}

/// No system has a stack of this size to give, so that every attempt to start a thread fails.
const TOO_LARGE: &str = "--stack-size=140737488355328";

/// Two clients come while there are no threads. They can't be served, but the second must find the server still there.
fn out_of_threads(options: &[&str], recorder: &Recorder) -> Played {
    let mut server = own_server(options).start(recorder, None)?;
    for name in ["client 1", "client 2"] {
        let mut client = match server.connect(name) {
            Ok(client) => client,
            Err(why) => return Ok(Finding::falls(why.to_string())),
        };
        // It says nothing: to close with a line unread would be a reset, which is chapter 4's.
        match client.line(LIMIT) {
            Reply::End(part) | Reply::Reset(part) if part.is_empty() => {}
            other => bail!("{name} got {other:?}, though there was no thread for it"),
        }
        if let Some(obituary) = server.obituary() {
            return Ok(Finding::falls(format!("there was no thread for {name}, and {obituary}")));
        }
    }
    Ok(Finding::holds("there was no thread for either client; both were turned away, and the server went on"))
}
