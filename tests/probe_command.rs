//! `tcp-pitfalls probe` on targets that misbehave, and what it says to wrong arguments.

mod common;

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
#[cfg(unix)]
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use serde_json::Value;
use tcp_pitfalls::probes::{self, Needs};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tcp-pitfalls");
const STEP_5: &str = env!("CARGO_BIN_EXE_05_bufread_lines");
const STEP_6: &str = env!("CARGO_BIN_EXE_06_graceful_shutdown");

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
#[cfg(target_os = "linux")]
fn a_target_that_goes_into_the_background_is_named() {
    let daemon = format!("sleep 0.2; {STEP_6} serve $0 & exit 0");
    let (code, out, err) = common::run(PROGRAM, &["probe", "--", "sh", "-c", &daemon, "{addr}"]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("in the background") && err.contains("--foreground"), "{err}");
}

#[test]
fn two_claims_of_what_it_speaks_are_one_too_many() {
    let (code, _, err) = common::run(PROGRAM, &["probe", "--speaks=redis", "--ask=PING", "127.0.0.1:1"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("--ask and --speaks") && err.contains("Keep one"), "{err}");
}

#[test]
fn a_target_that_never_listens_is_given_up() {
    // It listens, but not where it was told to.
    let elsewhere = ["probe", "--start=2", "--", STEP_5, "serve", "127.0.0.1:0", "--limit", "{port}"];
    let (code, out, err) = common::run(PROGRAM, &elsewhere);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("refused for 2 s") || err.contains("could not connect"), "{err}");
}

/// What is told of a server that answers nobody: `next-client` falls with `said`, `withheld-answer` may, and everything
/// else is skipped with one sentence. Where neither was asked for, nothing was judged.
#[track_caller]
fn only_next_client_is_to_blame(serve: fn(TcpStream) -> io::Result<()>, said: &str) {
    let options = ["--json", "--only=next-client", "--only=idle-client", "--only=split-message", "--only=not-utf8"];
    let (code, out, err) = probe_serving(serve, &options);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains(said), "{said}: {out}");
    for (name, verdict) in verdicts(&out) {
        assert_eq!(verdict, if name == "next-client" { "falls" } else { "skipped" }, "{name}: {out}");
    }
    assert_eq!(out.matches("it answers nobody (").count(), 3, "{out}");
}

fn takes_and_is_silent(mut stream: TcpStream) -> io::Result<()> {
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

#[test]
fn a_target_that_closes_every_connection_falls() {
    // It may have read what it was asked, or not.
    only_next_client_is_to_blame(|_stream| Ok(()), "expected \\\"echo: one\\\\n\\\", got ");
}

#[test]
fn a_target_that_floods_falls_and_does_not_hang_the_probe() {
    let flood = |mut stream: TcpStream| {
        loop {
            stream.write_all(&[b'x'; 4096])?;
        }
    };
    only_next_client_is_to_blame(flood, "got a flood of bytes");
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
#[ignore = "it takes more than 10 s; run by `cargo xtask ci --only long`"]
fn a_target_that_never_answers_falls_after_the_full_limit() {
    only_next_client_is_to_blame(takes_and_is_silent, "got nothing for 10 s");
}

#[test]
fn where_nobody_is_answered_and_nothing_else_was_asked_nothing_is_judged() {
    let (code, out, err) = probe_serving(|_stream| Ok(()), &["--chapter=4"]);
    assert_eq!(code, Some(2), "{out}{err}");
    assert_eq!(out.matches("- skipped").count(), 1, "{out}");
    assert!(out.contains("it answers nobody (") && out.contains("see next-client and"), "{out}");
}

#[test]
#[cfg(unix)]
fn a_target_that_ignores_sigterm_is_not_judged_and_is_ended() {
    // That a signal is ignored is inherited, and step 5 leaves it at that: whose fault it is can't be told.
    let deaf = ["--", "sh", "-c", "trap '' TERM; exec \"$@\"", "sh", STEP_5, "serve", "{addr}"];
    let output = Command::new(PROGRAM)
        .args(["probe", "--json", "--only=stuck-client", "--grace=1"])
        .args(deaf)
        .env(MARK, "yes")
        .output()
        .unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let code = output.status.code();
    assert_eq!(code, Some(2), "{err}");
    assert!(out.contains("its process ignores SIGTERM"), "{out}");
    assert!(no_process_with(MARK), "the server was ended");
}

/// In the environment of the one server here that has to be found again.
#[cfg(unix)]
const MARK: &str = "TCP_PITFALLS_IGNORES_SIGTERM";

/// Whether every process with this mark in its environment has ended.
#[cfg(unix)]
fn no_process_with(mark: &str) -> bool {
    use tcp_pitfalls::lab::wait::wait_until;

    if !cfg!(target_os = "linux") {
        return true;
    }
    let runs = || {
        std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|entry| entry.starts_with(mark.as_bytes()))
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
    assert_eq!(examined["version"], env!("CARGO_PKG_VERSION"));
    assert!(examined["learned"].as_array().is_some() && examined["seconds"].as_f64().is_some(), "{out}");
    for probe in examined["probes"].as_array().unwrap() {
        let is_a_figure = ["slow-reader", "slow-line", "idle-limit"].iter().any(|name| probe["name"] == *name);
        assert_eq!(probe["verdict"], if is_a_figure { "note" } else { "holds" }, "{probe}");
        assert_eq!(probe["chapter"], 5);
        assert!(probe["seconds"].as_f64().is_some(), "{probe}");
        for field in ["name", "evidence", "remedy"] {
            assert!(probe[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {probe}");
        }
    }
}

#[test]
#[ignore = "it takes more than 10 s; run by `cargo xtask ci --only long`"]
fn a_running_server_is_examined_by_its_address() {
    let server = common::Server::start(STEP_5, &[]);
    let (code, out, err) = common::run(PROGRAM, &["probe", &server.addr.to_string(), "--json"]);
    assert_eq!(code, Some(0), "{out}{err}");
    for (name, verdict) in verdicts(&out) {
        let probe = probes::find(&name).unwrap();
        let is_impossible = probe.in_need_of_a_command()
            || (probe.needs == Needs::Linux && !cfg!(target_os = "linux"))
            || name == "half-close-while-working";
        assert_eq!(verdict == "skipped", is_impossible, "{name}");
    }
}

/// Echoes lines, and nobody's any more once one of them was no text.
fn is_broken_by_other_bytes(mut stream: TcpStream) -> io::Result<()> {
    static IS_BROKEN: AtomicBool = AtomicBool::new(false);
    for line in BufReader::new(stream.try_clone()?).split(b'\n') {
        let line = line?;
        if std::str::from_utf8(&line).is_err() {
            IS_BROKEN.store(true, SeqCst);
        }
        if IS_BROKEN.load(SeqCst) {
            break;
        }
        stream.write_all(&[b"echo: ", &line[..], b"\n"].concat())?;
    }
    Ok(())
}

#[test]
#[ignore = "it takes more than 10 s; run by `cargo xtask ci --only long`"]
fn a_running_server_that_a_probe_breaks_falls_into_it() {
    let options = ["--json", "--speaks=lines", "--only=next-client,not-utf8,withheld-answer"];
    let (code, out, err) = probe_serving(is_broken_by_other_bytes, &options);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains("nobody is served any more since the probe not-utf8"), "{out}");
    assert!(verdicts(&out).iter().all(|(name, verdict)| (verdict == "falls") == (name == "not-utf8")), "{out}");
}

#[test]
fn a_prefix_that_is_claimed_is_not_learned_away() {
    let server = common::Server::start(STEP_5, &[]);
    let addr = server.addr.to_string();
    let (code, out, err) = common::run(PROGRAM, &["probe", &addr, "--only=next-client", "--prefix=you said "]);
    assert_eq!(code, Some(1), "{out}{err}");
    // Without a claim, what stands there is learned.
    let (code, out, err) = common::run(PROGRAM, &["probe", &addr, "--only=next-client"]);
    assert_eq!(code, Some(0), "{out}{err}");
}

/// Step 5 falls when it is told to stop, and step 6 doesn't.
fn stopping(options: &[&str], step: &str) -> (Option<i32>, String, String) {
    common::run(
        PROGRAM,
        &[&["probe", "--speaks=lines", "--only=clean-exit"], options, &["--", step, "serve", "{addr}"]].concat(),
    )
}

#[test]
fn a_fall_that_is_expected_is_no_failure_and_one_that_is_over_is_told() {
    let (code, out, err) = stopping(&["--json", "--expect-falls=crlf,clean-exit"], STEP_5);
    assert_eq!(code, Some(0), "{out}{err}");
    let examined: Value = serde_json::from_str(&out).unwrap();
    let probe = &examined["probes"][0];
    assert_eq!((&probe["verdict"], &probe["expected"]), (&"falls".into(), &true.into()), "{out}");
    let (code, _, err) = stopping(&["--expect-falls=crlf"], STEP_5);
    assert_eq!(code, Some(1), "{err}");
    let (code, _, err) = stopping(&["--expect-falls=clean-exit"], STEP_6);
    assert_eq!(code, Some(0));
    assert!(err.contains("clean-exit was expected to fall, and holds now"), "{err}");
}

#[test]
fn a_probe_that_is_required_and_skipped_is_no_success() {
    let required = |names: &str| stopping(&["--json", "--only=finishes-answer", names], STEP_6);
    let (code, out, err) = required("--require=clean-exit");
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("\"status\": 0"), "{out}");
    let (code, out, err) = required("--require=clean-exit,finishes-answer");
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("\"status\": 2"), "{out}");
    assert!(err.contains("finishes-answer is required, and was not judged"), "{err}");
}

#[test]
fn junit_has_a_case_for_each_probe() {
    let file = std::env::temp_dir().join(format!("tcp-pitfalls-junit-{}.xml", std::process::id()));
    let (code, out, err) = stopping(&["--junit", file.to_str().unwrap()], STEP_5);
    assert_eq!(code, Some(1), "{out}{err}");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
    assert_eq!((suite.attribute("tests"), suite.attribute("failures")), (Some("1"), Some("1")), "{text}");
    let case = suite.children().find(|node| node.has_tag_name("testcase")).unwrap();
    assert_eq!(case.attribute("name"), Some("clean-exit"));
    assert!(case.attribute("time").unwrap().parse::<f64>().is_ok_and(|seconds| seconds > 0.0), "{text}");
    assert!(case.children().any(|node| node.has_tag_name("failure")), "{text}");
    // That it can't be written is found out before a server is started.
    let (code, out, err) = stopping(&["--junit", "/no/such/folder/it.xml"], STEP_6);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("cannot write the result to /no/such/folder/it.xml"), "{err}");
}

/// Answers every line with `250 ok`.
fn says_ok(mut stream: TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    while lines.read_line(&mut String::new())? > 0 {
        stream.write_all(b"250 ok\r\n")?;
    }
    Ok(())
}

/// Nothing is judged of a server about which this is said, and whoever reads the result finds that there.
#[track_caller]
fn nothing_is_judged(serve: fn(TcpStream) -> io::Result<()>, options: &[&str], said: &[&str]) {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let number = FILES.fetch_add(1, SeqCst);
    let file = std::env::temp_dir().join(format!("tcp-pitfalls-{}-{number}.xml", std::process::id()));
    let junit = ["--json", "--only=next-client", "--only=crowd", "--junit", file.to_str().unwrap()];
    let (code, out, err) = probe_serving(serve, &[options, &junit].concat());
    let result = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(code, Some(2), "{out}{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    for said in said {
        assert!(err.contains(said) && told["error"].as_str().unwrap().contains(said), "{said}: {out}{err}");
    }
    assert!(result.contains("errors=\"1\""), "{result}");
}

#[test]
fn a_request_that_nobody_answers_is_not_judged_by_an_empty_answer() {
    nothing_is_judged(says_ok, &["--ask=NOOP"], &["\"NOOP\" was not answered", "as in 'NOOP\\r\\n'", "--answer"]);
}

#[test]
fn a_claim_that_is_not_kept_is_no_success() {
    let claims: [(&[&str], &str); 3] = [
        (
            &["--ask=NOOP\\r\\n", "--answer=251 *\\r\\n"],
            "is answered by \"251 *\\r\\n\", and it was answered by \"250 ok",
        ),
        (&["--ask=NOOP\\n", "--setup=HELO\\n=>220 *\\r\\n"], "is answered by \"220 *"),
        (&["--speaks=http"], "HTTP/1.1"),
    ];
    for (options, said) in claims {
        nothing_is_judged(says_ok, options, &[said, "250 ok", "Correct that, or the server"]);
    }
    let only_once = |mut stream: TcpStream| {
        for (number, line) in BufReader::new(stream.try_clone()?).lines().enumerate() {
            line?;
            stream.write_all(if number == 0 { b"250 ok\r\n" } else { b"250 ok, once more\r\n" })?;
        }
        Ok(())
    };
    let claim = ["--ask=NOOP\\r\\n", "--answer=250 ok\\r\\n"];
    nothing_is_judged(only_once, &claim, &["the second time on a connection: you say", "once more"]);
    let greets = |mut stream: TcpStream| {
        stream.write_all(b"hello\n")?;
        says_ok(stream)
    };
    let claim = ["--ask=NOOP\\n", "--greeting=220 *\\r\\n"];
    nothing_is_judged(greets, &claim, &["greets with \"220 *\\r\\n\", and it greeted with \"hello"]);
}

/// Answers as Python's `http.server` does: without saying how long the answer is.
fn says_until_the_end(mut stream: TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let asked = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let status = if asked.contains(" / ") { "200 OK" } else { "404 Not Found" };
    stream.write_all(format!("HTTP/1.0 {status}\r\nServer: plain\r\n\r\n").as_bytes())?;
    stream.write_all(b"hello\n")
}

#[test]
fn an_answer_of_http_may_end_with_the_connection() {
    let only = ["--only=next-client", "--only=crowd", "--only=split-message", "--json"];
    let (code, out, err) = probe_serving(says_until_the_end, &[&["--speaks=http"], &only[..]].concat());
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(verdicts(&out).iter().all(|(_, verdict)| verdict == "holds"), "{out}");
    assert!(out.contains("it answers with status 200"), "{out}");
    // A path that is named is there, unless the user knows better.
    nothing_is_judged(says_until_the_end, &["--speaks=http", "--path=/nothing"], &["status 404", "--status 404"]);
    let (code, out, err) =
        probe_serving(says_until_the_end, &[&["--speaks=http", "--path=/x", "--status=404"], &only[..]].concat());
    assert_eq!(code, Some(0), "{out}{err}");
}

#[test]
fn what_is_typed_behind_a_file_of_arguments_is_for_the_prober() {
    let file = std::env::temp_dir().join(format!("tcp-pitfalls-{}.args", std::process::id()));
    std::fs::write(&file, "--grace 3\n-- no-such-server {addr}\n").unwrap();
    let at = format!("@{}", file.display());
    let (code, out, err) = common::run(PROGRAM, &["probe", &at, "--dry-run", "--only", "crowd"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.starts_with("no-such-server {addr}: nothing is started") && !out.contains("idle-client"), "{out}");
    for twice in [&["probe", &at, "--", "b", "{addr}"][..], &["probe", &at, &at]] {
        let (code, out, err) = common::run(PROGRAM, twice);
        assert_eq!((code, out.as_str()), (Some(2), ""));
        assert!(err.contains("a server is started by one"), "{err}");
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn what_is_asked_for_is_shown_and_nothing_twice() {
    let (_, out, err) = stopping(&["--verbose"], STEP_5);
    assert!(out.contains("is started for 127.0.0.1:"), "the timeline is shown: {out}{err}");
    let untrue = out.lines().position(|line| line.contains("Untrue? ")).expect("a fall says how to disagree");
    let how = out.lines().skip(untrue).take(3).collect::<Vec<_>>().join(" ");
    assert!(how.contains("--only clean-exit") && how.contains("src/probes/ch6_stopping"), "{how}");

    let server = common::Server::start(STEP_5, &[]);
    let (_, out, err) = common::run(PROGRAM, &["probe", &server.addr.to_string(), "--chapter=1"]);
    assert_eq!(out.matches("no start command was given").count(), 1, "{out}{err}");
}

#[test]
fn the_source_that_a_fall_names_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for probe in probes::all() {
        let path = root.join(probe.source());
        let file = if path.is_dir() { path.join("mod.rs") } else { path };
        let source = std::fs::read_to_string(&file).unwrap();
        assert!(source.contains(&format!("name: \"{}\"", probe.name)), "{} is not in {file:?}", probe.name);
    }
}

#[test]
fn a_dry_run_touches_nothing() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = free.local_addr().unwrap().to_string();
    let asked = ["--ask=PING\\r\\n", "--answer=+PONG\\r\\n"];
    let (code, out, err) = common::run(PROGRAM, &[&["probe", "--dry-run", &addr], &asked[..]].concat());
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains(r#""PING\r\n", answered "+PONG\r\n""#), "{out}");
    for said in ["nothing is started", "asked", "started", "taken", "idle-client", "for want of a command"] {
        assert!(out.contains(said), "{said}: {out}");
    }
    free.set_nonblocking(true).unwrap();
    assert!(free.accept().is_err(), "nobody has connected");
    let (code, out, _) = common::run(PROGRAM, &["probe", "--dry-run", "--", "no-such-program", "{addr}"]);
    assert_eq!(code, Some(0), "{out}");
}

#[test]
#[ignore = "it takes more than 10 s; run by `cargo xtask ci --only long`"]
fn after_three_probes_without_an_answer_the_rest_is_skipped() {
    let (code, out, err) = probe_serving(takes_and_is_silent, &["--json", "--speaks=lines"]);
    assert_eq!(code, Some(1), "{err}");
    let examined: Value = serde_json::from_str(&out).unwrap();
    let probes = examined["probes"].as_array().unwrap();
    let given_up = |probe: &&Value| probe["evidence"].as_str().unwrap().starts_with("nothing was answered to ");
    assert!(probes.iter().filter(given_up).count() > 5, "{out}");
    let fallen: Vec<&Value> = probes.iter().filter(|probe| probe["verdict"] == "falls").collect();
    assert!(fallen.len() == 1 && fallen[0]["name"] == "next-client", "{out}");
}

/// Servers that would keep a careless examiner for ever, or leave something behind.
#[test]
#[cfg(unix)]
#[ignore = "it takes more than 10 s; run by `cargo xtask ci --only long`"]
fn hostile_servers_are_examined_to_an_end_and_ended() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: there is no python3");
        return;
    }
    let servers = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/hostile.py");
    let examine = |how: &str, probe: &str| {
        let mark = format!("TCP_PITFALLS_HOSTILE_{how}");
        let only = format!("--only={probe}");
        let output = Command::new(PROGRAM)
            .args(["probe", "--json", "--speaks=lines", "--grace=1", &only, "--", "python3", servers, how, "{addr}"])
            .env(&mark, "yes")
            .output()
            .unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(verdicts(&out).len(), 1, "{how}: {out}{err}");
        assert!(no_process_with(&mark), "{how} has left something behind: {err}");
        (verdicts(&out).remove(0).1, out)
    };
    thread::scope(|scope| {
        for (how, probe, expected) in [
            ("flood", "next-client", "falls"),
            ("drip", "next-client", "holds"),
            ("never_end", "next-client", "holds"),
            ("stay", "stops-when-quiet", "falls"),
        ] {
            scope.spawn(move || {
                let (verdict, out) = examine(how, probe);
                assert_eq!(verdict, expected, "{how}: {out}");
            });
        }
    });
}

#[test]
#[cfg(unix)]
fn a_probe_that_is_ended_ends_its_servers_and_tells_by_which_signal() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::process::Stdio;
    use tcp_pitfalls::lab::wait::wait_until;

    for (signal, status) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let mark = format!("TCP_PITFALLS_ENDED_BY_{status}");
        let folder = std::env::temp_dir().join(format!("tcp-pitfalls-ended-{}-{status}", std::process::id()));
        let junit = folder.with_extension("xml");
        // It says by a file that it runs, and never listens.
        let script = format!("touch '{}'; exec sleep 600", folder.display());
        let prober = Command::new(PROGRAM)
            .args(["probe", "--speaks=lines", "--only=next-client", "--only=crowd", "--junit"])
            .arg(&junit)
            .args(["--", "sh", "-c", &script, "sh", "{addr}"])
            .env(&mark, "yes")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until(common::LIMIT, || folder.exists().then_some(())).expect("the server is started");
        kill_process(Pid::from_child(&prober), signal).unwrap();
        let ended = prober.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(status));
        assert!(no_process_with(&mark), "the server was ended");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(said.ends_with("ended before the verdict of next-client, crowd\n"), "{said}");
        let document = std::fs::read_to_string(&junit).unwrap();
        assert!(document.contains("errors=\"1\"") && document.contains("ended before it was over"), "{document}");
        std::fs::remove_file(folder).unwrap();
        std::fs::remove_file(junit).unwrap();
    }
}

#[test]
#[cfg(unix)]
fn what_the_prober_lacks_is_status_2_and_no_verdict() {
    let probe = "ulimit -n 60; exec \"$@\"";
    let arguments = ["probe", "--json", "--only=crowd", "--", STEP_6, "serve", "{addr}"];
    let output = Command::new("sh").args(["-c", probe, "sh", PROGRAM]).args(arguments).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(verdicts(&out), [("crowd".to_owned(), "skipped".to_owned())], "{out}");
    assert_eq!(output.status.code(), Some(2), "{out}");
    assert!(out.contains("\"own_lack\": true") && out.contains("raise the limit"), "{out}");
}

#[test]
#[cfg(target_os = "linux")]
fn an_output_that_takes_nothing_is_no_panic() {
    use std::fs::File;

    let full = || File::options().write(true).open("/dev/full").unwrap();
    for arguments in [&["list"][..], &["explain", "crlf"], &["probe", "--dry-run", "127.0.0.1:1"], &["check"]] {
        let output = Command::new(PROGRAM).args(arguments).stdout(full()).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {err}");
        assert!(err.starts_with("error: cannot write to standard output: No space left"), "{err}");
        // Nobody reads any more: as if SIGPIPE had ended it, and without a word.
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = Command::new(PROGRAM).args(arguments).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(141), 0), "{arguments:?}");
    }
    // That an error can't be told changes nothing.
    let status = Command::new(PROGRAM).args(["probe", "192.0.2.1:80"]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn wrong_usage_is_status_2_and_says_what_to_do() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for (arguments, said) in [
        (&["probe"][..], "required"),
        (&["probe", "127.0.0.1:1", "--only=nonsense"], "All names: tcp-pitfalls list"),
        (&["probe", "127.0.0.1:1", "--only=idle_client"], "Did you mean idle-client?"),
        (&["probe", "127.0.0.1:1", "--chapter=7"], "7"),
        (&["probe", "127.0.0.1"], "Write HOST:PORT"),
        (&["probe", "127.0.0.1:http"], "Write HOST:PORT"),
        (&["probe", "192.0.2.1:80"], "add --remote"),
        (&["probe", &free], "Start the server there, or write its command behind --"),
        (&["probe", "--", "true", "{addr}"], "error: the server's process has ended"),
        (&["probe", "--", "./hello", "{adr}"], "belongs: it has \"{adr}\". Write {addr} there"),
        (&["probe", "127.0.0.1:1", "--grace", "-1"], "write a whole number from 1 to 3600"),
        (&["probe", "127.0.0.1:1", "--deadline", "abc"], "write a whole number from 1 to 3600"),
        (&["probe", "--", "no-such-program-here", "{addr}"], "cannot start \"no-such-program-here\""),
        (&["probe", "--", "some-server", "8080"], "Write {addr} there"),
        (&["probe", "127.0.0.1:1", "--chapter=1", "--only=crlf"], "crlf is of chapter 5"),
        (&["probe", "127.0.0.1:1", "--ask="], "at least one byte"),
        (&["probe", "127.0.0.1:1", "--ask=a\\n", "--slow-ask="], "at least one byte"),
        (&["probe", "127.0.0.1:1", "--ask=a\\n", "--setup==>a"], "at least one byte"),
        (&["probe", "127.0.0.1:1", "--ask=PING {m}\\n"], "{m} is no placeholder. There are {n}"),
        (&["probe", "127.0.0.1:1", "--endless=GET /"], "has no =>"),
        (&["probe", "127.0.0.1:1", "--split=0"], "--split"),
        (&["probe", "127.0.0.1:1", "--path=/health"], "--speaks"),
        (&["probe", "127.0.0.1:1", "--speaks=lines", "--path=/health"], "are for --speaks http"),
        (&["probe", "127.0.0.1:1", "--speaks=http", "--path=health"], "\"health\" is no path"),
        (&["probe", "./hello", "{addr}"], "probe -- ./my_server {addr}"),
        (&["explain", "leaks"], "no probe has that name"),
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
        let is_apart = |line: &str| line.split_whitespace().next() == Some(probe.name);
        assert!(list.lines().any(is_apart), "{} is listed, and its column apart from the text", probe.name);
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
