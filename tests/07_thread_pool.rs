//! Chapter 7: threads that stay, and a pool that starves.

mod common;

use std::sync::{Arc, Barrier, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

#[cfg(target_os = "linux")]
use common::Peer;
use common::{LIMIT, Server};
use tcp_pitfalls::chapter_07::workers::Workers;
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::lab::wait::wait_until;
use tcp_pitfalls::probes::{Terms, Verdict};

const PROGRAM: &str = env!("CARGO_BIN_EXE_07_thread_pool");
const STACK_SIZE: usize = 128 * 1024;

/// The thread on which a visit is run.
fn thread_of_a_visit(workers: &Arc<Workers>) -> ThreadId {
    let (sender, ran) = mpsc::channel();
    workers.run(Box::new(move || sender.send(thread::current().id()).unwrap())).unwrap();
    ran.recv_timeout(LIMIT).expect("it is run")
}

#[test]
fn a_thread_whose_client_has_left_serves_another() {
    let workers = Workers::new(STACK_SIZE);
    let first = thread_of_a_visit(&workers);
    // It may not be back yet when the next one comes.
    wait_until(LIMIT, || (thread_of_a_visit(&workers) == first).then_some(())).expect("the first thread serves again");
}

#[test]
fn silent_clients_have_a_thread_each() {
    const SILENT: usize = 100;
    let workers = Workers::new(STACK_SIZE);
    let (sender, served) = mpsc::channel();
    let gate = Arc::new(Barrier::new(SILENT + 1));
    // Some threads are free, which must not be given more than one client each.
    for _ in 0..10 {
        thread_of_a_visit(&workers);
    }
    for _ in 0..SILENT {
        let (sender, gate) = (sender.clone(), Arc::clone(&gate));
        let visit = move || {
            sender.send(()).unwrap();
            gate.wait();
        };
        workers.run(Box::new(visit)).unwrap();
    }
    for _ in 0..SILENT {
        served.recv_timeout(LIMIT).expect("nobody waits until another has left");
    }
    gate.wait();
}

#[test]
fn a_panic_takes_no_thread_away() {
    let workers = Workers::new(STACK_SIZE);
    for _ in 0..10 {
        workers.run(Box::new(|| panic!("as the test wants it"))).unwrap();
        thread_of_a_visit(&workers);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn threads_without_a_client_end_and_the_next_client_is_served() {
    let server = Server::start(PROGRAM, &[]);
    let threads = || std::fs::read_dir(format!("/proc/{}/task", server.id())).unwrap().count();
    let before = threads();
    for _ in 0..2 {
        let mut crowd: Vec<Peer> = (0..20).map(|_| server.connect()).collect();
        for client in &mut crowd {
            client.ask("hello");
        }
        assert_eq!(threads(), before + 20);
        drop(crowd);
        wait_until(LIMIT, || (threads() == before).then_some(())).expect("their threads end");
    }
}

#[test]
fn without_a_thread_to_be_had_the_server_goes_on() {
    // No system has a stack of this size to give.
    let server = Server::start(PROGRAM, &["--stack-size=140737488355328"]);
    for _ in 0..3 {
        server.connect().expect_end();
    }
}

#[test]
#[cfg(unix)]
fn it_stops_as_step_6_does() {
    let mut server = Server::start(PROGRAM, &[]);
    let mut idle = server.connect();
    idle.ask("hello");
    // Its thread is free, and has nothing to say at the stop.
    let mut left = server.connect();
    left.ask("hello");
    drop(left);
    server.signal(rustix::process::Signal::TERM);
    idle.expect_end();
    let (status, said) = server.wait();
    assert!(status.success(), "{status}");
    assert!(said.contains(" finished, 0 cut"), "{said}");
}

fn pitfall(name: &str) -> Target {
    let arguments = [PROGRAM, "serve", "{addr}", &format!("--pitfall={name}")].map(str::to_owned);
    Target::Command(arguments.to_vec().into())
}

#[test]
fn pitfalls_spring() {
    // Shorter than the full limit: what these owe will never come.
    let terms = Terms { limit: Duration::from_secs(2), grace: Duration::from_secs(1), ..Terms::default() };
    let falls = ["crowd", "serves-queue"].map(|name| (name, pitfall(name)));
    common::expect(Verdict::Falls, &falls, &terms);
}

#[test]
fn one_silent_client_is_no_trouble_for_a_pool_of_four() {
    common::expect(Verdict::Holds, &[("idle-client", pitfall("crowd"))], &Terms::default());
}
