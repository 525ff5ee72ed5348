//! `cargo run --bin 04_partial_read_write`: what one read and one write are not.

use std::process::ExitCode;

use anyhow::bail;
use socket2::SockRef;
use tcp_pitfalls::chapter_02::server::echo_reads;
use tcp_pitfalls::chapter_04::close::close;
use tcp_pitfalls::chapter_04::frame::{echo_frames, read_frame};
use tcp_pitfalls::chapter_04::pitfall;
use tcp_pitfalls::chapter_04::server::echo_lines;
use tcp_pitfalls::demo::{Demonstration, Played, Scene};
use tcp_pitfalls::lab::client::Reply;
use tcp_pitfalls::lab::recording::{Action, Event, Recorder, with_thousands};
use tcp_pitfalls::lab::server::{Connection, LIMIT, Target};
use tcp_pitfalls::lab::wait::wait_until;
use tcp_pitfalls::probes::Finding;
use tcp_pitfalls::program;
use tcp_pitfalls::steps::Step;

const ABOUT: &str = "Step 4: a connection is a stream of bytes. The server finds the messages in it however they are cut, \
                     writes every byte of its answers, and closes so that the last of them arrives.";

fn main() -> ExitCode {
    program::main("04_partial_read_write", ABOUT, Step::Four, demonstration)
}

fn demonstration() -> Demonstration {
    let one_read = || {
        ("step 3: one read, one message", Target::in_process(|stream| echo_reads(stream.recorded(), stream.recorded())))
    };
    let step = || {
        let server = Target::in_process(|stream| {
            stream.stream.set_nodelay(true)?;
            let served = echo_lines(stream.recorded(), stream.recorded());
            close(stream.stream);
            served
        });
        ("the server of this step", server)
    };
    let no_count = Target::in_process(|stream| {
        // The kernel may grow this to megabytes, which a slow machine needs seconds to fill.
        SockRef::from(stream.stream).set_send_buffer_size(64 * 1024)?;
        let writer = stream.recording(pitfall::WithoutWaiting(stream.stream));
        pitfall::forget_the_count(stream.recorded(), writer)
    });
    let three_writes = Target::in_process(|stream| pitfall::three_writes(stream.recorded(), stream.recorded()));
    Demonstration {
        title: "Chapter 4: partial reads, partial writes",
        scenes: vec![
            Scene::probe("split-message", one_read(), step()),
            Scene::probe("joined-messages", one_read(), step()),
            Scene::probe("every-byte", ("a write that must not wait, and whose result is ignored", no_count), step())
                .watching_the_kernel(),
            Scene::probe(
                "prompt-answer",
                ("one answer in three writes", three_writes),
                ("the server of this step: one write, and TCP_NODELAY", step().1),
            ),
            Scene::play(
                "unread-input",
                ("the connection is dropped while bytes are unread", |recorder: &Recorder| {
                    long_answer(false, recorder)
                }),
                ("the same server, closing as this step does", |recorder: &Recorder| long_answer(true, recorder)),
            )
            .watching_the_kernel(),
            Scene::play(
                "split-header",
                ("a frame is read with two reads", |recorder: &Recorder| {
                    frames(recorder, |stream| pitfall::echo_frames_in_two_reads(stream.recorded(), stream.recorded()))
                }),
                ("read_frame of this step", |recorder: &Recorder| {
                    frames(recorder, |stream| {
                        echo_frames(stream.recorded(), stream.recorded(), 1024).map_err(std::io::Error::other)
                    })
                }),
            ),
        ],
        why: "TCP keeps the order of bytes and nothing else. What one write sent may come out of several reads, and several \
              writes out of one; a write may take less than it was given; and a close with unread input turns into a reset \
              that overtakes the answer. Only the program knows where a message ends.",
        next: "Read chapters/04_partial_read_write/server.rs beside that of chapter 3: the difference is this lesson. Then see \
               `cargo run --bin 05_bufread_lines`.",
    }
}

/// A client asks twice and reads only when the server has closed. How much of the first answer is left?
fn long_answer(gently: bool, recorder: &Recorder) -> Played {
    const LINE: usize = 128 * 1024;
    let target = Target::in_process(move |stream| {
        // Room for the whole answer, so that the server can write it and leave before the client reads.
        SockRef::from(stream.stream).set_send_buffer_size(2 * LINE)?;
        let served = pitfall::first_line_only(stream.recorded(), stream.recorded());
        // Waits for a byte of the second line, and leaves it there.
        stream.stream.peek(&mut [0])?;
        if gently {
            stream.note("ends its side, and reads until the client is done");
            close(stream.stream);
        } else {
            stream.note("closes, with the second line unread");
        }
        served
    });
    recorder.pieces_by_chance("the kernel cuts a big transfer, and how much of it a reset leaves");
    let mut server = target.start(recorder, None)?;
    let mut client = server.connect_with("client 1", recorder, Some(8 * 1024))?;
    client.send(&[&vec![b'x'; LINE - 1][..], b"\n"].concat());
    client.send(&[&vec![b'y'; LINE - 1][..], b"\n"].concat());
    if !gently {
        wait_until(LIMIT, || (server.served() > 0).then_some(()));
    }
    let wanted = "echo: ".len() + LINE;
    match client.line(LIMIT) {
        Reply::Line(answer) if answer.len() == wanted => {
            Ok(Finding::holds(format!("the client read all {} bytes of the answer", with_thousands(wanted))))
        }
        Reply::Reset(part) | Reply::End(part) => Ok(Finding::falls(format!(
            "the server wrote {} bytes, every write succeeded, and the client could read {} of them",
            with_thousands(wanted),
            with_thousands(part.len())
        ))),
        other => bail!("the client got {other:?}"),
    }
}

/// A client sends a frame whose header arrives in two parts.
fn frames(
    recorder: &Recorder,
    serve: impl Fn(&Connection<'_>) -> std::io::Result<()> + Send + Sync + 'static,
) -> Played {
    let target = Target::in_process(move |stream| {
        let served = serve(stream);
        // A plain drop would be a race: its reset could come before the client has sent all it has.
        close(stream.stream);
        served
    });
    let mut server = target.start(recorder, None)?;
    let mut client = server.connect("client 1")?;
    client.send(&[0, 0]);
    // The rest follows when the server has read this, so that it can't get more at once.
    let has_read = || {
        let count = |event: &Event| if let Action::Read(payload) = &event.action { payload.len() } else { 0 };
        recorder.recording().events.iter().map(count).sum::<usize>() == 2
    };
    wait_until(LIMIT, || has_read().then_some(()));
    client.send(&[0, 5]);
    client.send(b"hello");
    client.half_close();
    client.stream().set_read_timeout(Some(LIMIT))?;
    Ok(match read_frame(client.stream(), 1024) {
        Ok(Some(answer)) if answer == b"echo: hello" => {
            Finding::holds("the frame came in three parts and was answered")
        }
        Ok(Some(answer)) => Finding::falls(format!(
            "the frame \"hello\" was answered with \"{}\": half a header was taken for a whole one",
            String::from_utf8_lossy(&answer)
        )),
        Ok(None) => Finding::falls("the frame \"hello\" was not answered"),
        Err(error) => Finding::falls(format!("the frame \"hello\" was not answered: {error}")),
    })
}
