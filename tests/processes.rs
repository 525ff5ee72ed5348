//! The equipment: programs that are started, told to stop, measured and ended, and what the prober itself may lack.

#![cfg(target_os = "linux")]

mod common;

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::LIMIT;
use tcp_pitfalls::lab::client::Client;
use tcp_pitfalls::lab::lack::{self, Lack};
use tcp_pitfalls::lab::port;
use tcp_pitfalls::lab::process::Process;
use tcp_pitfalls::lab::recording::Recorder;
use tcp_pitfalls::lab::server::{Launch, Running, Target};
use tcp_pitfalls::lab::signal::Signal;
use tcp_pitfalls::lab::tree::Tree;
use tcp_pitfalls::lab::wait::wait_until;

const STEP_6: &str = env!("CARGO_BIN_EXE_06_graceful_shutdown");

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn shell(script: &str) -> Process {
    Process::start(&strings(&["sh", "-c", script]), None).unwrap()
}

fn waits_for_output(process: &Process, text: &str) {
    wait_until(LIMIT, || process.output().contains(text).then_some(()))
        .unwrap_or_else(|| panic!("it says {text:?}, not {:?}", process.output()));
}

fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // An orphan that nobody has waited for yet has ended all the same.
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Whether this machine has a program, or an option of it.
fn can(command: &[&str]) -> bool {
    let tried = Command::new(command[0]).args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        println!("not tried: this machine can't run {command:?}");
    }
    can
}

/// Whether this test was started by `again`.
fn is_again() -> bool {
    std::env::var_os("AGAIN").is_some()
}

/// Runs a test of this file as a program of its own, behind some words of shell, and expects that it passes.
#[track_caller]
fn again(test: &str, before: &str) {
    let Output { status, stdout, stderr } = Command::new("sh")
        .args(["-c", &format!("{before} \"$0\" --exact {test} --nocapture")])
        .arg(std::env::current_exe().unwrap())
        .env("AGAIN", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&stdout);
    assert!(status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&stderr));
}

#[test]
fn what_a_program_started_ends_with_it() {
    let mut process = shell("sleep 3600 & echo $!; wait");
    let child = wait_until(LIMIT, || process.output().trim().parse::<u32>().ok()).unwrap();
    assert!(runs(child));
    assert_eq!(process.end(), []);
    assert!(!runs(child));
}

#[test]
fn what_left_its_group_and_lost_its_parent_ends_with_it() {
    if !can(&["setsid", "true"]) {
        return;
    }
    let mut process = shell("(setsid sh -c 'echo $$; exec sleep 3600' &); exit 0");
    let orphan = wait_until(LIMIT, || process.output().trim().parse::<u32>().ok()).unwrap();
    process.exits_within(LIMIT).expect("its parent has ended");
    assert!(runs(orphan));
    assert_eq!(process.end(), []);
    assert!(!runs(orphan));
}

#[test]
#[cfg(target_os = "linux")]
fn what_has_nothing_in_common_with_a_program_that_was_stopped_ends_with_it() {
    if !can(&["setsid", "true"]) {
        return;
    }
    let mut process = shell("setsid env -i sh -c 'echo $$; exec sleep 3600' & wait");
    let orphan = wait_until(LIMIT, || process.output().trim().parse::<u32>().ok()).unwrap();
    assert!(process.ask_to_stop());
    process.exits_within(LIMIT).expect("the signal ends it");
    assert!(runs(orphan));
    assert_eq!(process.end(), []);
    assert!(!runs(orphan));
}

#[test]
fn what_a_prober_under_a_prober_started_ends_with_it() {
    if !can(&["setsid", "true"]) {
        return;
    }
    // As another prober would do it: a mark of its own behind the one that it has inherited.
    let inner = "TCP_PITFALLS_MARK=$TCP_PITFALLS_MARK/another setsid sh -c 'echo $$; exec sleep 3600'";
    let mut process = shell(&format!("({inner} &); exec sleep 3600"));
    let orphan = wait_until(LIMIT, || process.output().trim().parse::<u32>().ok()).unwrap();
    assert_eq!(process.end(), []);
    assert!(!runs(orphan));
}

#[test]
fn of_much_output_the_beginning_and_the_end_are_kept() {
    let process = shell("echo listening; head -c 1000000 /dev/zero | tr '\\0' x; echo; echo tally");
    waits_for_output(&process, "tally");
    let printed = process.printed();
    assert!(printed.starts_with("listening\nx") && printed.ends_with("x\ntally\n"), "{printed}");
    assert!(printed.len() < 40_000, "{}", printed.len());
}

#[test]
fn a_server_with_state_is_asked_to_stop_before_it_is_killed() {
    let script = "trap 'echo tidied up; exit 0' QUIT; sleep 3600 & echo up; wait";
    let mut process = shell(script).stopped_by(Signal::Quit, Some(LIMIT));
    waits_for_output(&process, "up");
    assert_eq!(process.end(), []);
    assert!(process.last_output().contains("tidied up"));

    // One that doesn't is killed all the same, with its children.
    let mut process =
        shell("trap '' TERM; sleep 3600 & echo $!; wait").stopped_by(Signal::Term, Some(Duration::from_millis(10)));
    let child = wait_until(LIMIT, || process.output().trim().parse::<u32>().ok()).unwrap();
    assert_eq!(process.end(), []);
    assert!(!runs(child));
}

#[test]
fn each_signal_has_a_name_and_arrives() {
    let script = "for s in TERM INT QUIT HUP USR1 USR2 WINCH; do trap \"echo got $s\" $s; done
        echo up; while :; do sleep 3600 & wait; done";
    let process = shell(script);
    waits_for_output(&process, "up");
    for signal in Signal::ALL {
        for text in [signal.to_string(), signal.name().to_lowercase()] {
            assert_eq!(text.parse::<Signal>().unwrap(), signal);
        }
        process.signal(signal).unwrap();
        waits_for_output(&process, &format!("got {}\n", signal.name()));
    }
    let error = "KILL".parse::<Signal>().unwrap_err().to_string();
    assert!(error.starts_with("\"KILL\" is not a signal that can be sent here. Write one of TERM, INT"), "{error}");
}

#[test]
fn what_a_program_ignores_is_known() {
    let process = shell("trap '' HUP; echo up; exec sleep 3600");
    waits_for_output(&process, "up");
    assert_eq!(process.ignores(Signal::Hup), Ok(true));
    assert_eq!(process.ignores(Signal::Term), Ok(false));
}

#[test]
#[cfg(target_os = "linux")]
fn a_signal_that_has_ended_a_program_is_not_pending() {
    let process = shell("echo up; exec sleep 3600");
    waits_for_output(&process, "up");
    assert!(process.ask_to_stop());
    // Nobody has waited for it yet, so the kernel still shows what it was.
    wait_until(LIMIT, || (!runs(process.id())).then_some(())).expect("the signal ends it");
    assert_eq!(process.leaves_pending(Signal::Term), Ok(false));
}

#[test]
fn no_program_inherits_ignored_or_blocked_signals() {
    if is_again() {
        let mut process = Process::start(&strings(&["sleep", "3600"]), None).unwrap();
        for signal in Signal::ALL {
            assert_eq!(process.ignores(signal), Ok(false), "{signal}");
        }
        assert!(process.ask_to_stop());
        // Of an ignored SIGCHLD the system would not tell how the child ended.
        process.exits_within(LIMIT).expect("the signal was not blocked either");
    } else {
        let ignoring = "trap '' HUP INT QUIT USR1 WINCH CHLD; exec";
        again("no_program_inherits_ignored_or_blocked_signals", ignoring);
        if can(&["env", "--block-signal=TERM", "true"]) {
            again("no_program_inherits_ignored_or_blocked_signals", "exec env --block-signal=TERM");
        }
    }
}

#[test]
fn the_tree_counts_every_process() {
    let leaves = if can(&["setsid", "true"]) { "setsid" } else { "" };
    let process = shell(&format!("sleep 3600 & ({leaves} sleep 3600 &); exec sleep 3600"));
    let tree = wait_until(LIMIT, || {
        let tree = process.tree().unwrap();
        (tree.processes().filter(|process| process.name == "sleep").count() == 3).then_some(tree)
    })
    .expect("three processes");
    let one = Process::start(&strings(&["sleep", "3600"]), None).unwrap();
    let one = one.tree().unwrap();
    for figure in [Tree::mappings, Tree::descriptors, Tree::address_space, Tree::memory] {
        let (all, one) = (figure(&tree).unwrap(), figure(&one).unwrap());
        assert!(all > one && one > 0, "{all} {one}");
    }
    assert_eq!(tree.zombies(), 0);
}

#[test]
fn what_nobody_waited_for_is_counted_apart() {
    let process = shell("true & exec sleep 3600");
    wait_until(LIMIT, || (process.tree().unwrap().zombies() == 1).then_some(())).expect("one zombie");
    assert_eq!(process.tree().unwrap().processes().count(), 1);
}

#[test]
fn what_cannot_be_read_is_not_zero() {
    let mut process = shell("exec sleep 3600");
    let tree = process.tree().unwrap();
    process.kill();
    for unknown in [tree.memory(), tree.descriptors(), tree.mappings(), process.tree().unwrap().address_space()] {
        assert_eq!(unknown.unwrap_err().to_string(), "the server's process has ended");
    }
    assert!(process.watch(Duration::ZERO).is_err());
    assert!(process.ignores(Signal::Term).is_err());
}

/// A program that its user may run and not read protects itself from being looked into.
#[test]
fn what_protects_itself_is_not_zero_either() {
    const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        let me = std::env::current_exe().unwrap();
        if can(&[&NOBODY[..], &[me.to_str().unwrap(), "--list"]].concat()) {
            again("what_protects_itself_is_not_zero_either", &format!("exec {}", NOBODY.join(" ")));
        }
        return;
    }
    let file = std::env::temp_dir().join(format!("unreadable-sleep-{}", std::process::id()));
    std::fs::copy("/bin/sleep", &file).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o111)).unwrap();
    let mut process = Process::start(&strings(&[file.to_str().unwrap(), "3600"]), None).unwrap();
    let tree = process.tree().unwrap();
    let (descriptors, mappings) = (tree.descriptors(), tree.mappings());
    assert_eq!(process.end(), []);
    std::fs::remove_file(&file).unwrap();
    for unknown in [descriptors, mappings] {
        let why = unknown.unwrap_err().to_string();
        assert!(why.contains("can't be read: Permission denied") && why.contains("as root"), "{why}");
    }
}

#[test]
fn a_spinning_server_runs_or_waits_for_a_processor() {
    const WINDOW: Duration = Duration::from_millis(200);
    let mut spinning = shell("echo up; (while :; do :; done)");
    let mut idle = shell("echo up; exec sleep 3600");
    waits_for_output(&spinning, "up");
    waits_for_output(&idle, "up");
    let (spinning, idle) = (spinning.watch(WINDOW).unwrap(), idle.watch(WINDOW).unwrap());
    assert!(spinning.running + spinning.waiting > idle.running + idle.waiting, "{spinning:?} {idle:?}");
    assert!(spinning.length >= WINDOW);
}

#[test]
fn a_lack_is_told_from_what_the_server_did() {
    use rustix::io::Errno;
    let addr = SocketAddr::from(([127, 0, 0, 1], 4000));
    let connecting = |errno: Errno| Lack::connecting(addr, errno.into());
    for (errno, remedy) in [
        (Errno::MFILE, "ulimit -n"),
        (Errno::NFILE, "fs.file-max"),
        (Errno::ADDRNOTAVAIL, "ephemeral port"),
        (Errno::AGAIN, "ephemeral port"),
        (Errno::NOBUFS, "memory"),
        (Errno::NOMEM, "memory"),
        (Errno::NETUNREACH, "loopback"),
        (Errno::ACCESS, "firewall"),
        (Errno::PERM, "firewall"),
    ] {
        let error = connecting(errno);
        let sentence = Lack::of(&error).expect("it is a lack").to_string();
        assert!(sentence.starts_with("cannot connect to 127.0.0.1:4000: ") && sentence.contains(remedy), "{sentence}");
        assert_eq!(error.kind(), io::Error::from(errno).kind());
        // It is found through other errors as well.
        assert!(Lack::behind(&anyhow::Error::from(error).context("the examination ended")).is_some());
    }
    for errno in [Errno::CONNREFUSED, Errno::CONNRESET, Errno::TIMEDOUT, Errno::PIPE] {
        assert!(Lack::of(&connecting(errno)).is_none(), "{errno}");
    }
}

#[test]
fn without_a_descriptor_nothing_is_said_of_the_server() {
    if !is_again() {
        again("without_a_descriptor_nothing_is_said_of_the_server", "ulimit -n 24; exec");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let recorder = Recorder::new();
    let mut server = Target::Address(listener.local_addr().unwrap()).start(&recorder, None).unwrap();
    let mut clients = Vec::new();
    let error = loop {
        assert!(clients.len() < 24);
        match server.connect("client 1") {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
    };
    assert!(Lack::behind(&error).is_some(), "{error:#}");
    let error = Target::Command(strings(&["sleep", "{port}"]).into()).start(&recorder, None).err().unwrap();
    assert!(Lack::behind(&error).is_some(), "{error:#}");
    let error = Process::start(&strings(&["sleep", "3600"]), None).err().unwrap();
    assert!(Lack::of(&error).is_some(), "{error}");
    assert!(Lack::of(&port::draw().err().unwrap()).is_some());
}

#[test]
fn without_a_thread_nothing_panics() {
    if !is_again() {
        // It is a stack that no memory is left for. A thread that was started needs some more for its signal stack and its
        // allocations, and std aborts where it gets none: so stacks are large, and what is left of one is enough for that.
        let few_stacks = "ulimit -v 400000; exec env MALLOC_ARENA_MAX=1 RUST_MIN_STACK=67108864";
        again("without_a_thread_nothing_panics", few_stacks);
        return;
    }
    let (door, opens) = mpsc::channel::<()>();
    let opens = Arc::new(Mutex::new(opens));
    let (begins, begun) = mpsc::channel();
    let mut threads = Vec::new();
    let lack = loop {
        assert!(threads.len() < 1000);
        let (opens, begins) = (Arc::clone(&opens), begins.clone());
        let waiting = move || {
            begins.send(()).unwrap();
            opens.lock().unwrap().recv().is_err()
        };
        match lack::spawn(waiting) {
            Ok(thread) => threads.push(thread),
            Err(lack) => break lack,
        }
        // The next one must not take what this one still needs.
        begun.recv_timeout(LIMIT).unwrap();
    };
    drop(door);
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    assert!(lack.to_string().contains("ulimit -u"), "{lack}");
}

fn start(command: &[&str]) -> Running {
    let launch = Launch { start: Duration::ZERO, ..strings(command).into() };
    Target::Command(launch).start(&Recorder::new(), None).unwrap()
}

#[test]
fn a_server_that_listens_elsewhere_is_told_where() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("not tried: this machine has no IPv6");
        return;
    }
    let mut server = start(&[STEP_6, "serve", "[::1]:{port}"]);
    waits_for_output(server.process().unwrap(), "listening on");
    let port = server.addr().port();
    let error = server.connect("client 1").err().unwrap().to_string();
    let expected = format!("Its process runs and listens on [::1]:{port}, not on 127.0.0.1:{port}");
    assert!(error.ends_with(&expected), "{error}");
}

#[test]
fn a_server_that_does_not_listen_yet_may_be_given_longer() {
    let mut server = start(&["sh", "-c", "echo {port}; exec sleep 3600"]);
    let error = server.connect("client 1").err().unwrap().to_string();
    let expected = ": refused for 0 s. Its process runs and listens nowhere. Check the command, or give it longer to start: --start SECONDS";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn last_words_are_a_message_and_not_its_trace() {
    for (language, output, told) in [
        (
            "Python",
            "Traceback (most recent call last):\n  File \"echo.py\", line 3, in <module>\n    s.bind(('127.0.0.1', {port}))\n\
             OSError: [Errno 98] Address already in use\n",
            "OSError: [Errno 98] Address already in use (File \"echo.py\", line 3, in <module>)",
        ),
        (
            "Java",
            "Exception in thread \"main\" java.net.BindException: Address already in use\n\
             \tat java.base/sun.nio.ch.Net.bind0(Native Method)\n\tat Echo.main(Echo.java:5)\n",
            "Exception in thread \"main\" java.net.BindException: Address already in use",
        ),
        (
            "Node.js",
            "node:events:497\n      throw er; // Unhandled 'error' event\n      ^\n\n\
             Error: listen EADDRINUSE: address already in use 127.0.0.1:{port}\n    at Server.listen (node:net:1817:16)\n\
             Emitted 'error' event on Server instance at:\n    at emitErrorNT (node:net:1796:8) {\n  code: 'EADDRINUSE',\n\
             \x20 port: {port}\n}\n\nNode.js v20.20.2\n",
            "Error: listen EADDRINUSE: address already in use 127.0.0.1:{port}",
        ),
        (
            "Go",
            "panic: listen tcp 127.0.0.1:{port}: bind: address already in use\n\ngoroutine 1 [running]:\nmain.main()\n\
             \t/echo.go:12 +0x9c\nexit status 2\n",
            "panic: listen tcp 127.0.0.1:{port}: bind: address already in use",
        ),
        (
            "Ruby",
            "echo.rb:2:in 'initialize': Address already in use - bind(2) for \"127.0.0.1\" port {port} (Errno::EADDRINUSE)\n\
             \tfrom echo.rb:2:in 'new'\n\tfrom echo.rb:2:in '<main>'\n",
            "echo.rb:2:in 'initialize': Address already in use - bind(2) for \"127.0.0.1\" port {port} (Errno::EADDRINUSE)",
        ),
        (
            ".NET",
            "Unhandled exception. System.Net.Sockets.SocketException (98): Address already in use\n\
             \x20  at System.Net.Sockets.Socket.Bind(EndPoint localEP)\n   at Program.Main() in /Echo.cs:line 5\n",
            "Unhandled exception. System.Net.Sockets.SocketException (98): Address already in use",
        ),
        (
            "Rust",
            "listening on 127.0.0.1:{port}\nthread 'main' panicked at src/main.rs:3:5:\nthe table is full\n\
             note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
            "the table is full",
        ),
        (
            "Rust's anyhow",
            "Error: cannot serve\n\nCaused by:\n    0: cannot open the door\n    1: too many open files\n",
            "Error: cannot serve (too many open files)",
        ),
        (
            "Erlang",
            "init terminating in do_boot ({{badmatch,{error,emfile}},[{echo,accept,1,[]}]})\r\n\r\n\
             Crash dump is being written to: erl_crash.dump...done\r\n",
            "init terminating in do_boot ({{badmatch,{error,emfile}},[{echo,accept,1,[]}]})",
        ),
        ("a server that goes on", "error: port {port} is in use\nshutting down\n", "error: port {port} is in use"),
        ("nothing but a trace", "   at nowhere\n", "at nowhere"),
    ] {
        let mut server = start(&["sh", "-c", "printf %s \"$0\" >&2; exit 1", output]);
        let port = server.addr().port().to_string();
        let obituary = server.obituary().expect("it has ended");
        let (_, said) = obituary.split_once("its last words: ").expect("it had some");
        assert_eq!(said, told.replace("{port}", &port), "{language}");
    }
}

#[test]
fn what_is_said_to_the_standard_input_is_heard() {
    let mut server = start(&["sh", "-c", "read nothing; echo no room on {port} >&0; exit 3"]);
    let port = server.addr().port();
    let obituary = server.obituary().expect("it has ended, as it can read nothing");
    assert!(obituary.ends_with(&format!("its last words: no room on {port}")), "{obituary}");
}

#[test]
fn a_command_is_quoted_for_what_it_has() {
    let target = |words: &[&str]| Target::command(&strings(words));
    let error = target(&["server", "{host}"]).err().unwrap().to_string();
    assert!(error.contains("where the server's address belongs, only its host. Write {addr} there"), "{error}");
    assert!(target(&["server", "{addr}"]).unwrap().takes_any_address().is_ok());
    for (words, has) in [(["{host}", "{port}"], "{host} and {port}"), (["-p", "{port}"], "only {port}")] {
        let why = target(&words).unwrap().takes_any_address().unwrap_err().to_string();
        assert_eq!(why, format!("the command has {has}, so the address can't be spelled otherwise"));
    }
}

#[test]
fn a_client_without_a_lack_is_refused_by_the_server() {
    let port = port::draw().unwrap();
    let addr = port.addr();
    let error = Client::connect(addr, "client 1", &Recorder::new(), LIMIT).err().unwrap();
    assert_eq!((error.kind(), Lack::of(&error)), (io::ErrorKind::ConnectionRefused, None));
}
