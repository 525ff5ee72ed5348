//! `cargo run --bin 08_deadlines`: clients that take their time, and limits that don't limit.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use tcp_pitfalls::demo::{Demonstration, Played, Scene, own_server};
use tcp_pitfalls::lab::client::Reply;
use tcp_pitfalls::lab::recording::Recorder;
use tcp_pitfalls::lab::server::{LIMIT, Target};
use tcp_pitfalls::probes::{self, Finding, Terms};
use tcp_pitfalls::program;
use tcp_pitfalls::steps::Step;

const ABOUT: &str = "Step 8: deadlines. A line has to end within some time, a client may be silent for some time, and has to take \
                     its answers: nobody keeps a place for longer.";

fn main() -> ExitCode {
    program::main("08_deadlines", ABOUT, Step::Eight, demonstration)
}

/// The limits of most servers here.
const DEADLINE: Duration = Duration::from_secs(1);

fn server(pitfall: &[&str]) -> Target {
    own_server(&[pitfall, &["--line-time=1", "--idle-time=1", "--write-time=1"]].concat())
}

fn terms() -> Terms {
    Terms { deadline: Some(DEADLINE), limit: Duration::from_secs(2), ..Terms::default() }
}

fn demonstration() -> Demonstration {
    let step = || ("the server of this step", server(&[]));
    Demonstration {
        title: "Chapter 8: deadlines",
        scenes: vec![
            // With two seconds for a read, a byte a second is surely in time.
            Scene::probe_with(
                "slow-line",
                Terms { deadline: Some(2 * DEADLINE), ..terms() },
                ("a timeout for each read", own_server(&["--line-time=2", "--pitfall=slow-line"])),
                ("the server of this step", own_server(&["--line-time=2"])),
            ),
            Scene::play(
                "whole-connection",
                ("one deadline for the whole connection", |recorder: &Recorder| {
                    asks_for_long(&server(&["--pitfall=whole-connection"]), recorder)
                }),
                ("the server of this step", |recorder: &Recorder| asks_for_long(&server(&[]), recorder)),
            ),
            Scene::play(
                "zero-duration",
                ("what is left, in whole seconds", |recorder: &Recorder| {
                    Ok(is_silent(&server(&["--pitfall=zero-duration"]), recorder))
                }),
                ("the server of this step", |recorder: &Recorder| Ok(is_silent(&server(&[]), recorder))),
            ),
            Scene::probe_with(
                "slow-reader",
                terms(),
                ("deadlines for reading alone", server(&["--pitfall=slow-reader"])),
                step(),
            ),
            Scene::probe_with("idle-limit", terms(), ("keepalive", server(&["--pitfall=idle-limit"])), step()),
        ],
        why: "A timeout is for one call, and a client decides how many calls it makes you do. So keep the point in time, and give \
              each wait what is left. What has to be limited is each wait on the client's good will: for the rest of a line, for \
              the next one, and for room to write.",
        next: "Run `cargo run --bin 08_deadlines -- serve --idle-time 5`, connect with nc, and do nothing. Then type half a line, and \
               end it with Ctrl-D instead of Enter.",
    }
}

/// A client asks one line after the other, without a pause, for longer than any of the limits. It is never slow.
fn asks_for_long(target: &Target, recorder: &Recorder) -> Played {
    let mut server = target.start(recorder, None)?;
    let mut client = server.connect("client 1")?;
    client.note("asks one line after the other");
    let began = Instant::now();
    let mut answers = 0_usize;
    let (mut first_answer, mut late) = (None, 0);
    loop {
        let asked = Instant::now();
        // Not written down: there are thousands.
        let sent = std::io::Write::write_all(&mut client.stream(), b"hello\n");
        match client.quiet_line(LIMIT) {
            Reply::Line(answer) if sent.is_ok() && answer == b"echo: hello\n" => {
                answers += 1;
                // The server's clock ran before its first answer, so lines asked later than this are beyond any limit. The
                // first of them may still be had by a read that began in time.
                late += usize::from(asked > *first_answer.get_or_insert_with(Instant::now) + DEADLINE);
                if late == 2 {
                    break;
                }
            }
            Reply::End(_) | Reply::Reset(_) if answers > 0 => {
                recorder.number_by_chance(answers, "how fast the machine is");
                return Ok(Finding::falls(format!(
                    "the client, which had its answer to {answers} lines at once, was ended after {:.1} s",
                    began.elapsed().as_secs_f32()
                )));
            }
            other => bail!("the client got {other:?} after {answers} answers"),
        }
    }
    recorder.number_by_chance(answers, "how fast the machine is");
    Ok(Finding::holds(format!("the client was served for longer than any limit: {answers} lines")))
}

fn is_silent(target: &Target, recorder: &Recorder) -> Finding {
    let probe = probes::find("idle-limit").expect("there is such a probe");
    probe.run(target, &terms(), recorder)
}
