//! `cargo run --bin 05_bufread_lines`: what a buffer is good for, and what it hides.

use std::process::ExitCode;

use tcp_pitfalls::chapter_04::close::close;
use tcp_pitfalls::chapter_05::pitfall;
use tcp_pitfalls::chapter_05::server::echo_lines;
use tcp_pitfalls::demo::{Demonstration, Scene};
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::program;
use tcp_pitfalls::steps::Step;

const ABOUT: &str = "Step 5: lines through a buffer. The longest line is bounded, its bytes may be any, answers are flushed \
                     before the server waits, and many lines that come together are answered with one write.";

fn main() -> ExitCode {
    program::main("05_bufread_lines", ABOUT, Step::Five, demonstration)
}

fn demonstration() -> Demonstration {
    let step = || {
        (
            "the server of this step",
            Target::in_process(|stream| {
                stream.stream.set_nodelay(true)?;
                let served = echo_lines(stream.recorded(), stream.recorded(), 64 * 1024);
                close(stream.stream);
                served
            }),
        )
    };
    let read_line = Target::in_process(|stream| pitfall::read_line(stream.recorded(), stream.recorded()));
    let lines_unwrap = Target::in_process(|stream| pitfall::lines_unwrap(stream.recorded(), stream.recorded()));
    let never_flushed = Target::in_process(|stream| pitfall::never_flushed(stream.recorded()));
    let reader_per_line = Target::in_process(|stream| pitfall::reader_per_line(stream.recorded(), stream.recorded()));
    Demonstration {
        title: "Chapter 5: lines through a buffer",
        scenes: vec![
            Scene::probe("endless-line", ("read_line, which has no limit", read_line), step()),
            Scene::probe("not-utf8", ("lines() and unwrap()", lines_unwrap), step()),
            Scene::probe("withheld-answer", ("BufStream without flush", never_flushed), step()).watching_the_kernel(),
            Scene::probe("pipelined-lines", ("a new BufReader for each line", reader_per_line), step())
                .watching_the_kernel(),
        ],
        why: "A buffered reader takes from the kernel what is there, and gives out lines; what it has read ahead exists nowhere \
              else. A buffered writer keeps answers until it is full or told to flush. Neither knows how long a line may be, \
              what bytes it may hold, or when the client is waiting: the program has to say.",
        next: "Run `cargo run --bin 05_bufread_lines -- serve --limit 10`, and send a long line with nc. Then see \
               `cargo run --bin 06_graceful_shutdown`.",
    }
}
