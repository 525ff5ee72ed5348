//! `cargo run --bin 06_graceful_shutdown`: what a signal to stop does to the clients.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use tcp_pitfalls::chapter_06::connections::Connections;
use tcp_pitfalls::chapter_06::pitfall::Count;
use tcp_pitfalls::demo::{Demonstration, Played, Scene, own_server};
use tcp_pitfalls::lab::client::Reply;
use tcp_pitfalls::lab::recording::Recorder;
use tcp_pitfalls::lab::server::LIMIT;
use tcp_pitfalls::probes::{Finding, Terms};
use tcp_pitfalls::program;
use tcp_pitfalls::steps::Step;

const ABOUT: &str = "Step 6: stop when asked to, by Ctrl-C or SIGTERM: refuse new clients, serve those in the queue, close idle \
                     connections, let lines in progress finish, and end in bounded time.";

fn main() -> ExitCode {
    program::main("06_graceful_shutdown", ABOUT, Step::Six, demonstration)
}

fn demonstration() -> Demonstration {
    let step = || ("the server of this step, with a grace time of 2 s", own_server(&["--grace=2"]));
    let terms = || Terms { grace: Duration::from_secs(2), ..Terms::default() };
    let pitfall = |caption, option| (caption, own_server(&[option]));
    Demonstration {
        title: "Chapter 6: graceful shutdown",
        scenes: vec![
            Scene::probe_with(
                "finishes-line",
                terms(),
                pitfall("step 5, which the signal just kills", "--pitfall=finishes-line"),
                step(),
            )
            .watching_the_kernel(),
            Scene::probe_with(
                "stops-when-quiet",
                terms(),
                pitfall("a flag that a blocked accept never sees", "--pitfall=stops-when-quiet"),
                step(),
            ),
            Scene::probe_with(
                "refuses-after-stop",
                terms(),
                pitfall(
                    "the same flag: a client wakes the loop, and nobody waits for the others",
                    "--pitfall=stops-when-quiet",
                ),
                step(),
            ),
            Scene::probe_with(
                "stuck-client",
                terms(),
                pitfall("a wait for all threads, without a limit", "--pitfall=stuck-client"),
                step(),
            )
            .watching_the_kernel(),
            Scene::probe_with(
                "half-close",
                terms(),
                pitfall(
                    "clones of all connections, kept for the stop: long before it, none of them ends",
                    "--pitfall=half-close",
                ),
                ("the server of this step", step().1),
            ),
            Scene::play(
                "serves-queue",
                ("step 5, which the signal just kills", |recorder: &Recorder| {
                    queue_at_the_stop("--pitfall=finishes-line", recorder)
                }),
                ("the server of this step, with a grace time of 2 s", |recorder: &Recorder| {
                    queue_at_the_stop("--grace=2", recorder)
                }),
            )
            .watching_the_kernel(),
            Scene::play(
                "lost-count",
                ("two threads, held apart on purpose: the connection's thread counts itself", |recorder: &Recorder| {
                    Ok(count_inside(recorder))
                }),
                ("the same two threads: the connection is counted before its thread starts", count_before),
            ),
        ],
        why: "By default a signal ends the process in the middle of whatever it does, and no destructor runs. A graceful stop is \
              a sequence: wake the thread in accept, take in the queue, close the listener, end what is idle, wait for the rest \
              with a limit, and end that by force. Each part has its own way to wait for ever.",
        next: "Run `cargo run --bin 06_graceful_shutdown -- serve`, connect with nc, type half a line (end it with Ctrl-D, not \
               Enter), and press Ctrl-C at the server. Then run `cargo run` for the whole staircase.",
    }
}

/// Two clients connect and ask while the server is halted, so that the signal comes before it could accept them.
fn queue_at_the_stop(option: &str, recorder: &Recorder) -> Played {
    let mut server = own_server(&[option]).start(recorder, None)?;
    let mut accepted = server.connect("client 1")?;
    accepted.send(b"one\n");
    accepted.line(LIMIT);
    recorder.note("probe", "halts the server (SIGSTOP)");
    if let Some(Err(why)) = server.process().map(|process| process.halt()) {
        return Ok(Finding::skipped(format!("the server can't be halted: {why}")));
    }
    let mut waiting = Vec::new();
    for (name, line) in [("client 2", b"two\n".as_slice()), ("client 3", b"three\n")] {
        let mut client = server.connect(name)?;
        client.send(line);
        waiting.push(client);
    }
    if let Some(process) = server.process() {
        let stop = process.stop_signal();
        recorder.note("probe", format!("sends {stop} to the server, and lets it go on"));
        process.signal(stop)?;
        process.go_on()?;
    }
    let answered =
        waiting.iter_mut().filter_map(|client| matches!(client.line(LIMIT), Reply::Line(_)).then_some(())).count();
    Ok(match answered {
        2 => Finding::holds("both clients in the queue were answered after the signal"),
        _ => Finding::falls(format!(
            "2 clients stood in the queue with their lines at the signal, and {answered} were answered"
        )),
    })
}

/// A connection's thread is held at its first line, as a busy machine would hold it, while the server stops and waits.
fn count_inside(recorder: &Recorder) -> Finding {
    let count = Arc::new(Count::default());
    let gate = Arc::new(Barrier::new(2));
    let thread = thread::spawn({
        let (count, gate, recorder) = (Arc::clone(&count), Arc::clone(&gate), recorder.clone());
        move || {
            gate.wait();
            count.add();
            recorder.note("connection", "starts, and counts itself");
            count.done();
        }
    });
    recorder.note("server", "has started a thread for the connection, and stops");
    count.wait();
    recorder.note("server", "has waited until the count was 0, and ends");
    gate.wait();
    let _ = thread.join();
    Finding::falls("the wait was over before the connection's thread had counted itself, so nobody waited for it")
}

fn count_before(recorder: &Recorder) -> Played {
    let (_client, accepted) = connected_pair()?;
    let connections = Connections::new(10);
    let gate = Arc::new(Barrier::new(2));
    let (stream, seat) = connections.enter(accepted);
    let thread = thread::spawn({
        let (gate, recorder) = (Arc::clone(&gate), recorder.clone());
        move || {
            gate.wait();
            recorder.note("connection", "starts, and ends");
            drop(stream);
            drop(seat);
        }
    });
    recorder.note("server", "has counted the connection, started its thread, and stops");
    connections.close();
    let finished = connections.wait_until(Instant::now());
    recorder.note("server", format!("sees that {finished} connections have ended, and waits on"));
    gate.wait();
    let all = connections.wait_until(Instant::now() + Duration::from_secs(10));
    recorder.note("server", format!("sees that {all} connection has ended, and ends"));
    let _ = thread.join();
    Ok(match (finished, all) {
        (0, 1) => Finding::holds("the connection was counted before its thread began, and the server waited for it"),
        other => Finding::falls(format!("the counts were {other:?}")),
    })
}

fn connected_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}
