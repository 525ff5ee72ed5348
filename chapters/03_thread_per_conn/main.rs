//! `cargo run --bin 03_thread_per_conn`: a thread for each client, and the three usual mistakes of that.

use std::process::ExitCode;
use std::time::Duration;

use tcp_pitfalls::demo::{self, Demonstration, Played, Scene, own_server};
use tcp_pitfalls::lab::client::{Client, Got};
use tcp_pitfalls::lab::process::Scarcity;
use tcp_pitfalls::lab::recording::Recorder;
use tcp_pitfalls::lab::server::LIMIT;
use tcp_pitfalls::probes::Finding;
use tcp_pitfalls::steps::Step;

const ABOUT: &str = "Step 3: a thread for each connection, so that nobody waits for a silent client, and a bound on \
                     everything that a connection takes: threads, stacks, descriptors.";

fn main() -> ExitCode {
    demo::main("03_thread_per_conn", ABOUT, Step::Three, demonstration)
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
                ("thread::spawn in the loop", |recorder: &Recorder| {
                    short_of_threads(&["--pitfall=out-of-threads"], recorder)
                }),
                ("the server of this step", |recorder: &Recorder| short_of_threads(&[], recorder)),
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

/// Gives the server too little memory for the threads of all its clients.
fn short_of_threads(options: &[&str], recorder: &Recorder) -> Played {
    const CLIENTS: usize = 150;
    // Room for the program and about a hundred threads of 2 MiB, or for a thousand of a small stack; the limit counts
    // what is reserved, not what is used.
    const ADDRESS_SPACE_KIB: usize = 256 * 1024;
    if !cfg!(target_os = "linux") {
        return Ok(Finding::skipped("it limits the server's address space, which it can do on Linux only"));
    }
    let mut server = own_server(options).start(recorder, Some(Scarcity::AddressSpace(ADDRESS_SPACE_KIB)))?;
    let quiet = Recorder::new();
    let mut crowd = vec![server.connect_with("client", &quiet, None)?];
    while crowd.len() < CLIENTS {
        match Client::connect(server.addr(), "client", &quiet, LIMIT) {
            Ok(client) => crowd.push(client),
            Err(_) => break,
        }
    }
    recorder.note("clients", format!("{} connect and stay", crowd.len()));
    // The last of them is served only when all before it have been: there is no better sign that the server is
    // through with the crowd, or has ended.
    if let Some(last) = crowd.last_mut() {
        last.send(b"am I in?\n");
        last.line(Duration::from_secs(1));
    }
    drop(crowd);
    recorder.note("clients", "all leave");
    let mut next = match server.connect("next client") {
        Ok(next) => next,
        Err(why) => return Ok(Finding::falls(format!("after {CLIENTS} clients: {why}"))),
    };
    next.send(b"and now?\n");
    Ok(match next.line(LIMIT) {
        Got::Line(_) => Finding::holds(format!(
            "{CLIENTS} clients needed more threads than there were; when they had left, the next one was served"
        )),
        _ => Finding::falls(format!(
            "after {CLIENTS} clients: {}",
            server.obituary().unwrap_or_else(|| "the next one was not served".into())
        )),
    })
}
