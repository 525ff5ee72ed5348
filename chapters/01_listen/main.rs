//! `cargo run --bin 01_listen`: four ways to start a server, and what goes wrong with each.

use std::process::ExitCode;

use tcp_pitfalls::demo::{Demonstration, Scene, own_server};
use tcp_pitfalls::program;
use tcp_pitfalls::steps::Step;

const ABOUT: &str = "Step 1: listen where you said you would, say where that is, and explain every failure. The server \
                     accepts one client, answers one message, and ends.";

fn main() -> ExitCode {
    program::main("01_listen", ABOUT, Step::One, demonstration)
}

fn demonstration() -> Demonstration {
    let unwrap = || ("TcpListener::bind(arg).unwrap()", own_server(&["--pitfall=every-interface"]));
    let by_hand = ("a listener made by hand, without SO_REUSEADDR", own_server(&["--pitfall=restart"]));
    let step = || ("the server of this step", own_server(&[]));
    Demonstration {
        title: "Chapter 1: listen",
        scenes: vec![
            Scene::probe("bare-port", unwrap(), step()),
            Scene::probe("every-interface", unwrap(), step()),
            Scene::probe("port-taken", unwrap(), step()),
            Scene::probe("restart", by_hand, step()).without_pitfall_if(
                cfg!(windows),
                "Windows gives out a port in TIME_WAIT without being asked to, so there is nothing to forget",
            ),
        ],
        why: "An address is not one thing: a port alone, a colon and a port, a name and a port mean different things to Go, \
              to Rust and to the system. std passes on what the system says, which rarely names the address. And the side \
              that closes first keeps the port in TIME_WAIT for a while; a server that is to come back at once has to say \
              that it doesn't mind.",
        next: "Run `cargo run --bin 01_listen -- serve :8080` twice, in two terminals, and read what the second says. Then \
               open chapters/01_listen/server.rs.",
    }
}
