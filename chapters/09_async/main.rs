//! `cargo run --features async --bin 09_async`: tasks instead of threads, and what goes wrong with them.

use std::process::ExitCode;
use std::time::Duration;

use tcp_pitfalls::demo::{Demonstration, Scene, own_server};
use tcp_pitfalls::probes::Terms;
use tcp_pitfalls::program;
use tcp_pitfalls::steps::Step;

const ABOUT: &str = "Step 9: the server of step 8 on tokio. A task for each client waits without a thread, and every wait can be \
                     given up: for the stop, for a deadline, for the end of the grace time.";

fn main() -> ExitCode {
    program::main("09_async", ABOUT, Step::Nine, demonstration)
}

fn demonstration() -> Demonstration {
    let step = || ("the server of this step", own_server(&["--grace=2"]));
    let terms = || Terms { grace: Duration::from_secs(2), ..Terms::default() };
    let scene = |name, caption, option| Scene::probe_with(name, terms(), (caption, own_server(&[option])), step());
    Demonstration {
        title: "Chapter 9: tasks",
        scenes: vec![
            scene("split-message", "read_until in select!, beside a tick", "--pitfall=split-message"),
            scene("idle-client", "a blocking read in a task, and one thread for tasks", "--pitfall=idle-client"),
            scene("finishes-line", "tasks that nobody waits for", "--pitfall=finishes-line"),
            scene("out-of-descriptors", "`?` in the accept loop", "--pitfall=out-of-descriptors"),
            scene("deaf-client", "an unbounded channel to the task that writes", "--pitfall=deaf-client"),
        ],
        why: "A task gives its thread back at each `await`, and only there: what blocks in between holds up all tasks of that \
              thread. At an `await` it can also be ended, so that whatever it had half done is lost, unless it is kept where it \
              survives. Streams, limits and stops are as they were.",
        next: "Run `cargo run --features async --bin 09_async -- serve`, connect a few times with nc, and count its threads: \
               ls /proc/$(pgrep -n 09_async)/task | wc -l. Then press Ctrl-C.",
    }
}
