//! `tcp-pitfalls probe` on targets that misbehave, and what it says to wrong arguments.

mod common;

use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use std::process::Command;
use std::thread;

use serde_json::Value;
use tcp_pitfalls::probes;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcp-pitfalls");
const STEP_5: &str = env!("CARGO_BIN_EXE_05_bufread_lines");

/// Runs `tcp-pitfalls probe` on a server in this process that does this with each of its connections. Gives the status,
/// and what was printed to either side.
fn probe_serving(serve: fn(TcpStream) -> io::Result<()>, options: &[&str]) -> (Option<i32>, String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // What it comes to is for the probes to tell.
            thread::spawn(move || stream.and_then(serve));
        }
    });
    common::run(PROGRAM, &[&["probe", &addr], options].concat())
}

/// The verdicts by probe, from `--json`.
#[track_caller]
fn verdicts(json: &str) -> Vec<(String, String)> {
    let examined: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let probes = examined["probes"].as_array().unwrap();
    probes.iter().map(|probe| (text(&probe["name"]), text(&probe["verdict"]))).collect()
}

#[test]
fn a_target_that_exits_at_once_is_a_sentence_with_its_last_words() {
    let (code, out, err) = common::run(PROGRAM, &["probe", "--", STEP_5, "serve", "--no-such-option", "{addr}"]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.starts_with("error: ") && err.contains("has ended with"), "{err}");
    assert!(err.contains("its last words: "), "{err}");
}

#[test]
fn a_target_that_never_listens_is_given_up() {
    // It listens, but not where it was told to.
    let elsewhere = ["probe", "--", STEP_5, "serve", "127.0.0.1:0", "--limit", "{port}"];
    let (code, out, err) = common::run(PROGRAM, &elsewhere);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("refused for 10 s") || err.contains("could not connect"), "{err}");
}

#[test]
fn a_target_that_closes_every_connection_falls() {
    let (code, out, err) = probe_serving(|_stream| Ok(()), &["--json", "--chapter=4"]);
    assert_eq!(code, Some(1), "{err}");
    let fallen = verdicts(&out).into_iter().filter(|(_, verdict)| verdict == "falls").count();
    assert!(fallen >= 3, "{out}");
}

#[test]
fn a_target_that_floods_falls_and_does_not_hang_the_probe() {
    let options = ["--json", "--only=split-message", "--only=endless-line", "--only=half-close", "--only=every-byte"];
    let flood = |mut stream: TcpStream| {
        loop {
            stream.write_all(&[b'x'; 4096])?;
        }
    };
    let (code, out, err) = probe_serving(flood, &options);
    assert_eq!(code, Some(1), "{err}");
    assert!(verdicts(&out).iter().all(|(_, verdict)| verdict == "falls"), "{out}");
}

#[test]
fn a_target_of_another_protocol_is_skipped_and_not_accused() {
    let rubbish = |mut stream: TcpStream| stream.write_all(b"\x00\xffHTTP/1.1 400\n");
    let (code, out, err) = probe_serving(rubbish, &["--json", "--chapter=5"]);
    // Not 0: nothing was found out.
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("it speaks another protocol"), "{err}");
    assert!(verdicts(&out).iter().all(|(_, verdict)| verdict == "skipped"), "{out}");
}

#[test]
fn a_target_that_never_answers_falls_after_the_full_limit() {
    let silence = |stream: TcpStream| io::copy(&mut &stream, &mut io::sink()).map(drop);
    let (code, out, err) = probe_serving(silence, &["--json", "--only=crlf"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(verdicts(&out).iter().all(|(_, verdict)| verdict == "falls"), "{out}");
    assert!(out.contains("nothing for 10 s"), "{out}");
}

#[test]
#[cfg(unix)]
fn a_target_that_ignores_sigterm_falls_and_is_ended() {
    // That a signal is ignored is inherited, and step 5 leaves it at that.
    let deaf = ["--", "sh", "-c", "trap '' TERM; exec \"$@\"", "sh", STEP_5, "serve", "{addr}"];
    let output = Command::new(PROGRAM)
        .args(["probe", "--json", "--only=stuck-client", "--grace=1"])
        .args(deaf)
        .env(MARK, "yes")
        .output()
        .unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let code = output.status.code();
    assert_eq!(code, Some(1), "{err}");
    assert!(out.contains("still running after 1 s; if your grace time is longer, pass --grace"), "{out}");
    assert!(no_server_left(), "the server was ended");
}

/// In the environment of the one server here that has to be found again.
#[cfg(unix)]
const MARK: &str = "TCP_PITFALLS_IGNORES_SIGTERM";

/// Whether every process with the mark has ended.
#[cfg(unix)]
fn no_server_left() -> bool {
    use tcp_pitfalls::lab::wait::wait_until;

    if !cfg!(target_os = "linux") {
        return true;
    }
    let runs = || {
        std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|entry| entry.starts_with(MARK.as_bytes()))
        })
    };
    wait_until(common::LIMIT, || (!runs()).then_some(())).is_some()
}

#[test]
fn a_good_server_holds_and_the_json_is_complete() {
    let arguments = ["probe", "--json", "--chapter=5", "--", STEP_5, "serve", "{addr}"];
    let (code, out, err) = common::run(PROGRAM, &arguments);
    assert_eq!(code, Some(0), "{err}");
    let examined: Value = serde_json::from_str(&out).unwrap();
    assert!(examined["target"].as_str().unwrap().ends_with("serve {addr}"), "{out}");
    for probe in examined["probes"].as_array().unwrap() {
        assert_eq!(probe["verdict"], "holds", "{probe}");
        assert_eq!(probe["chapter"], 5);
        for field in ["name", "evidence", "remedy"] {
            assert!(probe[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {probe}");
        }
    }
}

#[test]
fn a_running_server_is_examined_by_its_address() {
    let server = common::Server::start(STEP_5, &[]);
    let (code, out, err) = common::run(PROGRAM, &["probe", &server.addr.to_string(), "--json"]);
    assert_eq!(code, Some(0), "{out}{err}");
    for (name, verdict) in verdicts(&out) {
        let needs_command = probes::find(&name).unwrap().in_need_of_a_command();
        assert_eq!(
            verdict == "skipped",
            needs_command || (name == "prompt-answer" && !cfg!(target_os = "linux")),
            "{name}"
        );
    }
}

#[test]
fn a_server_with_another_prefix_is_recognised() {
    let server = common::Server::start(STEP_5, &[]);
    let addr = server.addr.to_string();
    let (code, _, err) = common::run(PROGRAM, &["probe", &addr, "--only=crlf", "--prefix=you said "]);
    assert_eq!(code, Some(2));
    assert!(err.contains("add --prefix 'echo: '"), "{err}");
}

#[test]
fn wrong_usage_is_status_2_and_says_what_to_do() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (arguments, said) in [
        (&["probe"][..], "required"),
        (&["probe", "127.0.0.1:1", "--only=nonsense"], "split-message"),
        (&["probe", "127.0.0.1:1", "--chapter=7"], "7"),
        (&["probe", "127.0.0.1"], "Write HOST:PORT"),
        (&["probe", "127.0.0.1:http"], "Write HOST:PORT"),
        (&["probe", "192.0.2.1:80"], "add --remote"),
        (&["probe", &free], "could not connect"),
        (&["probe", "--", "no-such-program-here", "{addr}"], "cannot start \"no-such-program-here\""),
        (&["probe", "--", "some-server", "8080"], "Write {addr} there"),
        (&["probe", "127.0.0.1:1", "--chapter=1", "--only=crlf"], "no probe is both"),
        (&["explain", "nonsense"], "idle-client"),
        (&["nonsense"], "nonsense"),
    ] {
        let (code, out, err) = common::run(PROGRAM, arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}: {err}");
        assert!(err.starts_with("error: ") && err.contains(said), "{arguments:?}: {err}");
    }
}

#[test]
fn every_probe_is_listed_and_explained() {
    let (code, list, _) = common::run(PROGRAM, &["list"]);
    assert_eq!(code, Some(0));
    for probe in probes::all() {
        assert!(list.contains(probe.name), "{} is listed", probe.name);
        let (code, text, _) = common::run(PROGRAM, &["explain", probe.name]);
        assert_eq!(code, Some(0));
        assert!(text.starts_with(probe.name) && text.contains("To mend a server that falls"), "{text}");
    }
}

#[test]
fn without_a_terminal_there_is_no_colour() {
    let (_, list, _) = common::run(PROGRAM, &["list"]);
    assert!(!list.contains('\x1b'), "{list:?}");
}
