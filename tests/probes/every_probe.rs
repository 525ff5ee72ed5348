//! Every probe, on a server that falls and on sound ones that none may accuse. On step 6, where each holds, the staircase
//! runs them all.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tcp_pitfalls::dialogue::{self, Dialogue, Exchange, Lines, Template};
use tcp_pitfalls::examination::{self, Job};
use tcp_pitfalls::lab::recording::Recorder;
use tcp_pitfalls::lab::server::{Connection, Target};
use tcp_pitfalls::probes::{self, Finding, Needs, Terms, Verdict};
use tcp_pitfalls::{chapter_04, chapter_05};

use crate::common;

const STEP_6: &str = env!("CARGO_BIN_EXE_06_graceful_shutdown");

/// For each probe, the chapter's program and the pitfall that it falls into.
const PITFALLS: &[(&str, &str, &str)] = &[
    ("bare-port", env!("CARGO_BIN_EXE_01_listen"), "every-interface"),
    ("every-interface", env!("CARGO_BIN_EXE_01_listen"), "every-interface"),
    ("port-taken", env!("CARGO_BIN_EXE_01_listen"), "every-interface"),
    ("restart", env!("CARGO_BIN_EXE_01_listen"), "restart"),
    ("next-client", env!("CARGO_BIN_EXE_02_accept_blocking"), "next-client"),
    ("reset-before-accept", env!("CARGO_BIN_EXE_02_accept_blocking"), "reset-before-accept"),
    ("idle-client", env!("CARGO_BIN_EXE_03_thread_per_conn"), "idle-client"),
    ("crowd", env!("CARGO_BIN_EXE_03_thread_per_conn"), "idle-client"),
    ("out-of-descriptors", env!("CARGO_BIN_EXE_03_thread_per_conn"), "out-of-descriptors"),
    ("no-leak", env!("CARGO_BIN_EXE_03_thread_per_conn"), "no-leak"),
    ("split-message", env!("CARGO_BIN_EXE_04_partial_read_write"), "split-message"),
    ("joined-messages", env!("CARGO_BIN_EXE_04_partial_read_write"), "split-message"),
    ("every-byte", env!("CARGO_BIN_EXE_04_partial_read_write"), "every-byte"),
    ("half-close", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "half-close"),
    ("prompt-answer", env!("CARGO_BIN_EXE_04_partial_read_write"), "prompt-answer"),
    ("endless-line", env!("CARGO_BIN_EXE_05_bufread_lines"), "endless-line"),
    ("crlf", env!("CARGO_BIN_EXE_04_partial_read_write"), "prompt-answer"),
    ("not-utf8", env!("CARGO_BIN_EXE_05_bufread_lines"), "not-utf8"),
    ("withheld-answer", env!("CARGO_BIN_EXE_05_bufread_lines"), "withheld-answer"),
    ("pipelined-lines", env!("CARGO_BIN_EXE_05_bufread_lines"), "pipelined-lines"),
    ("stops-when-quiet", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "stops-when-quiet"),
    ("refuses-after-stop", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "stops-when-quiet"),
    ("serves-queue", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "finishes-line"),
    ("unread-answer-at-stop", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "finishes-line"),
    ("finishes-line", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "finishes-line"),
    ("closes-idle", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "stuck-client"),
    ("stuck-client", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "stuck-client"),
    ("clean-exit", env!("CARGO_BIN_EXE_06_graceful_shutdown"), "finishes-line"),
];

/// Those that ask for a slow request, which the course's servers don't have: see `stopping.rs`.
const SLOW: &[&str] = &["finishes-answer", "half-close-while-working", "queued-requests"];

/// Those that no pitfall of a chapter springs; `fair_accepting` has a server that falls.
const WITHOUT_PITFALL: &[&str] = &["back-after-quiet", "leaves-unread"];

fn command(program: &str, option: &str) -> Target {
    Target::Command([program, "serve", "{addr}", option].map(str::to_owned).to_vec().into())
}

/// Probes of what no chapter gets wrong. The servers that fall are further down.
const OF_OTHER_FAULTS: &[&str] = &["any-bytes", "deaf-client"];

/// Probes that only tell figures, unless a deadline is claimed.
const OF_DEADLINES: &[&str] = &["slow-reader", "slow-line", "idle-limit"];

#[test]
fn each_falls_on_its_pitfall() {
    // Windows gives out a port in TIME_WAIT without being asked to.
    let pitfalls = PITFALLS.iter().copied().filter(|(name, ..)| !cfg!(windows) || *name != "restart");
    let target = |pitfall, program| command(program, &format!("--pitfall={pitfall}"));
    let targets: Vec<_> = pitfalls.map(|(name, program, pitfall)| (name, target(pitfall, program))).collect();
    // Shorter than the full limit: what these owe will never come.
    let terms = Terms { limit: Duration::from_secs(2), grace: Duration::from_secs(1), ..Terms::default() };
    common::expect(Verdict::Falls, &targets, &terms);
}

#[test]
fn a_server_that_dies_of_a_reset_is_accused_once() {
    let target = command(env!("CARGO_BIN_EXE_02_accept_blocking"), "--pitfall=reset-before-accept");
    common::expect(Verdict::Skipped, &[("leaves-unread", target)], &Terms::default());
}

#[test]
fn each_probe_has_a_server_that_falls_and_a_text_for_people() {
    let pitfalls = PITFALLS.iter().map(|(name, ..)| name);
    let others = [OF_OTHER_FAULTS, OF_DEADLINES, SLOW, WITHOUT_PITFALL].concat();
    let tried: BTreeSet<&str> = pitfalls.copied().chain(others).collect();
    let all: BTreeSet<&str> = probes::all().map(|probe| probe.name).collect();
    assert_eq!(tried, all);
    for probe in probes::all() {
        for text in [probe.does, probe.remedy.unwrap()] {
            assert!(text.len() > 20 && !text.ends_with('.'), "{}: {text}", probe.name);
        }
    }
}

/// Runs probes on a server, side by side where they may.
fn run<'a>(names: impl IntoIterator<Item = &'a str>, target: &Target, terms: &Terms) -> Vec<(&'static str, Finding)> {
    let jobs: Vec<Job<'_>> =
        names.into_iter().map(|name| Job { probe: probes::find(name).unwrap(), target, terms }).collect();
    let findings = examination::run(&jobs, 8, || ());
    jobs.iter().map(|job| job.probe.name).zip(findings).collect()
}

/// Runs a probe on a server, and expects this verdict.
#[track_caller]
fn expect(name: &str, target: &Target, verdict: Verdict) -> Finding {
    let finding = probes::find(name).unwrap().run(target, &Terms::default(), &Recorder::new());
    assert_eq!(finding.verdict, verdict, "{name}: {}", finding.evidence);
    finding
}

#[test]
fn a_server_without_a_command_is_not_accused_of_what_needs_one() {
    let target = Target::in_process(|connection| chapter_04::server::echo_lines(connection.stream, connection.stream));
    for probe in probes::all() {
        if matches!(probe.needs, Needs::Command | Needs::CommandOnLinux | Needs::Signals) {
            expect(probe.name, &target, Verdict::Skipped);
        }
    }
}

#[test]
fn a_line_that_is_refused_with_a_text_is_no_pitfall() {
    let refuses = |mut stream: &TcpStream| -> std::io::Result<()> {
        let mut line = Vec::new();
        let mut reader = BufReader::new(stream);
        while reader.read_until(b'\n', &mut line)? > 0 {
            match std::str::from_utf8(&line) {
                Ok(text) => stream.write_all(format!("echo: {text}").as_bytes())?,
                Err(_) => stream.write_all(b"error: not UTF-8\n")?,
            }
            line.clear();
        }
        Ok(())
    };
    let target = Target::in_process(move |connection| refuses(connection.stream));
    expect("not-utf8", &target, Verdict::Holds);
}

#[test]
fn a_line_that_is_too_long_may_be_answered_by_the_end_alone() {
    let target = Target::in_process(|connection| {
        let served = chapter_05::buf_stream::echo_lines(connection.stream, 1024);
        chapter_04::close::close(connection.stream);
        served
    });
    expect("endless-line", &target, Verdict::Holds);
}

#[test]
fn a_silent_client_that_is_dropped_was_not_served_beside() {
    // One thread, and a short read timeout: client 2 is answered, but only since client 1 is cut off.
    let target = command(env!("CARGO_BIN_EXE_02_accept_blocking"), "--read-timeout=1");
    expect("idle-client", &target, Verdict::Falls);
}

/// What a server makes of a line. `None` for no answer.
type Change = fn(&[u8]) -> Option<Vec<u8>>;

/// How an in-process server speaks that is right in all that the probes ask.
struct Manner {
    greeting: &'static [u8],
    ends: &'static [u8],
    one_answer: bool,
    /// What becomes of a line before it is echoed.
    change: Change,
}

impl Manner {
    const RIGHT: Manner = Manner { greeting: b"", ends: b"\n", one_answer: false, change: |line| Some(line.to_vec()) };

    fn serve(&self, mut stream: &TcpStream) -> io::Result<()> {
        const LONGEST: usize = 1000;
        stream.set_nodelay(true)?;
        stream.write_all(self.greeting)?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            while !line.ends_with(self.ends) {
                if line.len() > LONGEST {
                    stream.write_all(b"error: too long\n")?;
                    chapter_04::close::close(stream);
                    return Ok(());
                }
                if reader.by_ref().take(LONGEST as u64 + 2).read_until(b'\n', &mut line)? == 0 {
                    return Ok(());
                }
            }
            line.truncate(line.len() - self.ends.len());
            line = line.strip_suffix(b"\r").map(<[u8]>::to_vec).unwrap_or(line);
            if let Some(line) = (self.change)(&line) {
                stream.write_all(&[b"echo: ", &line[..], self.ends].concat())?;
            }
            if self.one_answer {
                chapter_04::close::close(stream);
                return Ok(());
            }
        }
    }

    fn target(self) -> Target {
        Target::in_process(move |connection| self.serve(connection.stream))
    }
}

/// What is agreed with a server about which nothing is claimed.
fn unclaimed(target: &Target) -> Terms {
    let learned = dialogue::learn(target, Dialogue::lines(Lines::of_the_course()), true).unwrap();
    assert!(learned.silence.is_none() && learned.otherwise.is_none(), "{learned:?}");
    Terms { dialogue: learned.dialogue, ..Terms::default() }
}

fn of_messages_and_lines() -> impl Iterator<Item = &'static str> {
    probes::all().filter(|probe| matches!(probe.chapter, 4 | 5)).map(|probe| probe.name)
}

#[track_caller]
fn accuses_nobody(target: &Target) {
    for (name, finding) in run(of_messages_and_lines(), target, &unclaimed(target)) {
        assert!(!matches!(finding.verdict, Verdict::Falls | Verdict::Differs), "{name}: {}", finding.evidence);
    }
}

#[test]
#[ignore = "it takes more than 10 s; run by `cargo xtask ci --only long`"]
fn a_server_that_wants_crlf_is_not_accused() {
    accuses_nobody(&Manner { ends: b"\r\n", ..Manner::RIGHT }.target());
}

#[test]
fn a_server_that_greets_is_not_accused() {
    accuses_nobody(&Manner { greeting: b"Welcome!\r\n", ..Manner::RIGHT }.target());
}

#[test]
fn a_server_of_one_answer_for_each_connection_is_not_accused() {
    accuses_nobody(&Manner { one_answer: true, ..Manner::RIGHT }.target());
}

#[test]
fn an_echo_of_bytes_is_not_accused() {
    accuses_nobody(&Target::in_process(|connection| {
        connection.stream.set_nodelay(true)?;
        io::copy(&mut &*connection.stream, &mut &*connection.stream).map(drop)
    }));
}

#[test]
fn a_server_that_ends_late_is_accused_by_half_close_alone() {
    // The second handle keeps the connection open, as a forgotten one does.
    let kept: Mutex<Vec<TcpStream>> = Mutex::default();
    let target = Target::in_process(move |connection| {
        kept.lock().unwrap().push(connection.stream.try_clone()?);
        Manner::RIGHT.serve(connection.stream)
    });
    let terms = Terms { limit: Duration::from_secs(2), ..Terms::default() };
    for (name, finding) in run(of_messages_and_lines(), &target, &terms) {
        assert_eq!(finding.verdict == Verdict::Falls, name == "half-close", "{name}: {}", finding.evidence);
    }
}

#[test]
fn any_bytes_sees_what_becomes_of_a_line() {
    let cut_at_nul = |line: &[u8]| line.split(|&byte| byte == 0).next().map(<[u8]>::to_vec);
    let skips_empty = |line: &[u8]| (!line.is_empty()).then(|| line.to_vec());
    let cut = |line: &[u8]| Some(line[..line.len().min(300)].to_vec());
    // As telnet has it, where a byte of 255 begins a command.
    let halves = |line: &[u8]| {
        Some(
            line.iter()
                .scan(0, |last, &byte| Some((std::mem::replace(last, byte), byte)))
                .filter(|pair| *pair != (255, 255))
                .map(|(_, byte)| byte)
                .collect(),
        )
    };
    let changes: [(&str, Change, Verdict); 5] = [
        ("cut", cut, Verdict::Differs),
        ("halved if it is 255 twice", halves, Verdict::Differs),
        ("trimmed", |line| Some(line.trim_ascii().to_vec()), Verdict::Differs),
        ("cut at NUL", cut_at_nul, Verdict::Differs),
        ("skipped if empty", skips_empty, Verdict::Falls),
    ];
    for (what, change, unless_claimed) in changes {
        let target = Manner { change, ..Manner::RIGHT }.target();
        let sentence = expect("any-bytes", &target, Verdict::Falls).evidence.sentence;
        assert!(sentence.contains("seed ") || sentence.contains("without the rest"), "{sentence}");
        let finding = probes::find("any-bytes").unwrap().run(&target, &unclaimed(&target), &Recorder::new());
        assert_eq!(finding.verdict, unless_claimed, "{what}, and nothing claimed: {}", finding.evidence);
    }
}

#[test]
fn any_bytes_leaves_a_short_line_and_a_text_that_is_none_to_others() {
    let target = Target::in_process(|connection: &Connection<'_>| {
        let text = |line: &[u8]| Some(String::from_utf8_lossy(line).into_owned().into_bytes());
        Manner { change: text, ..Manner::RIGHT }.serve(connection.stream)
    });
    expect("any-bytes", &target, Verdict::Holds);
}

#[test]
fn any_bytes_sees_letters_that_are_cut() {
    let target = Target::in_process(|connection| {
        let (mut lines, mut read) = (String::new(), [0; 4096]);
        loop {
            let count = (&mut &*connection.stream).read(&mut read)?;
            if count == 0 {
                return Ok(());
            }
            // Half a letter is no letter.
            lines += &String::from_utf8_lossy(&read[..count]);
            while let Some(end) = lines.find('\n') {
                let line: String = lines.drain(..=end).collect();
                let line = line.trim_end_matches(['\r', '\n']);
                (&mut &*connection.stream).write_all(format!("echo: {line}\n").as_bytes())?;
            }
        }
    });
    expect("any-bytes", &target, Verdict::Falls);
}

#[test]
fn answers_that_reach_the_wrong_client_are_blamed_on_one_probe() {
    static LINE: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    let shared: Change = |line| {
        *LINE.lock().unwrap() = line.to_vec();
        // Others that have a line come in between.
        (0..10).for_each(|_| thread::yield_now());
        Some(LINE.lock().unwrap().clone())
    };
    let target = Manner { change: shared, ..Manner::RIGHT }.target();
    for (name, verdict, said) in
        [("any-bytes", Verdict::Falls, "got the answer to another one"), ("crowd", Verdict::Skipped, "and any-bytes")]
    {
        let evidence = expect(name, &target, verdict).evidence;
        assert!(evidence.sentence.contains(said), "{name}: {evidence}");
    }
}

#[test]
fn who_withholds_every_answer_is_not_accused_of_withholding_one() {
    let target = Target::in_process(|connection| {
        let mut all = Vec::new();
        (&mut &*connection.stream).read_to_end(&mut all)?;
        all.split_inclusive(|&byte| byte == b'\n')
            .try_for_each(|line| (&mut &*connection.stream).write_all(&[b"echo: ", line].concat()))
    });
    let terms = Terms { limit: Duration::from_secs(2), ..Terms::default() };
    for (name, verdict) in
        [("withheld-answer", Verdict::Falls), ("next-client", Verdict::Skipped), ("not-utf8", Verdict::Skipped)]
    {
        let finding = probes::find(name).unwrap().run(&target, &terms, &Recorder::new());
        assert_eq!(finding.verdict, verdict, "{name}: {}", finding.evidence);
    }
}

#[test]
fn an_answer_that_waits_for_more_is_not_blamed_on_what_is_in_the_line() {
    // As with `if r.Buffered() == 0 { w.Flush() }`: the beginning of the next line keeps the answer back.
    let flushed_when_all_is_read = Target::in_process(|connection| {
        let mut reader = BufReader::new(connection.stream);
        let (mut line, mut answers) = (Vec::new(), Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 {
            answers.extend([b"echo: ", &line[..]].concat());
            line.clear();
            if reader.buffer().is_empty() {
                (&mut &*connection.stream).write_all(&answers)?;
                answers.clear();
            }
        }
        Ok(())
    });
    // As with edge-triggered epoll, which wakes it up twice for a new client that has sent something.
    let one_line_each_time_it_wakes_up = Target::in_process(|connection| {
        let (mut unread, mut read, mut lines) = (Vec::new(), [0; 16 * 1024], 2);
        loop {
            let count = (&mut &*connection.stream).read(&mut read)?;
            if count == 0 {
                return Ok(());
            }
            unread.extend(&read[..count]);
            for _ in 0..std::mem::replace(&mut lines, 1) {
                let Some(end) = unread.iter().position(|&byte| byte == b'\n') else { break };
                let line: Vec<u8> = unread.drain(..=end).collect();
                (&mut &*connection.stream).write_all(&[b"echo: ", &line[..]].concat())?;
            }
        }
    });
    let terms = Terms { limit: Duration::from_secs(2), ..Terms::default() };
    let names = ["withheld-answer", "joined-messages", "any-bytes", "every-byte"];
    for (target, at_fault) in
        [(flushed_when_all_is_read, "withheld-answer"), (one_line_each_time_it_wakes_up, "joined-messages")]
    {
        for (name, finding) in run(names, &target, &terms) {
            assert_eq!(finding.verdict == Verdict::Falls, name == at_fault, "{name}: {}", finding.evidence);
        }
    }
}

#[test]
fn what_is_lost_of_many_answers_is_lost_without_their_being_joined() {
    let target = Target::in_process(|connection| {
        let (mut line, mut bytes) = (Vec::new(), 0);
        let mut reader = BufReader::new(connection.stream);
        connection.stream.set_nodelay(true)?;
        while reader.read_until(b'\n', &mut line)? > 0 {
            bytes += line.len();
            if bytes > 60_000 {
                bytes = 0;
                line.remove(0);
            }
            (&mut &*connection.stream).write_all(&[b"echo: ", &line[..]].concat())?;
            line.clear();
        }
        Ok(())
    });
    expect("every-byte", &target, Verdict::Falls);
    expect("pipelined-lines", &target, Verdict::Skipped);
}

#[test]
fn a_bound_on_the_requests_of_a_connection_is_no_lost_byte() {
    // What is unread when it closes is answered by a reset, which may destroy the last answers.
    for resets in [true, false] {
        let target = Target::in_process(move |connection| {
            let mut stream = connection.stream;
            for line in BufReader::new(stream).split(b'\n').take(1000) {
                stream.write_all(&[b"echo: ", &line?[..], b"\n"].concat())?;
            }
            stream.write_all(b"bye\n")?;
            if !resets {
                chapter_04::close::close(stream);
            }
            Ok(())
        });
        let finding = expect("every-byte", &target, Verdict::Differs);
        assert!(finding.evidence.sentence.contains("request 1,001"), "{}", finding.evidence);
        expect("pipelined-lines", &target, Verdict::Skipped);
    }
}

#[test]
fn who_sends_two_requests_of_http_is_not_left_waiting() {
    // What it has read behind a request is thrown away.
    let target = Target::in_process(|connection| {
        let (mut stream, mut read) = (connection.stream, [0; 1024]);
        while stream.read(&mut read)? > 0 {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")?;
        }
        Ok(())
    });
    let claim = Dialogue { claimed: true, ..Dialogue::http("/", None) };
    let dialogue = dialogue::learn(&target, claim, true).unwrap().dialogue;
    let terms = Terms { dialogue, limit: Duration::from_secs(2), ..Terms::default() };
    let finding = probes::find("joined-messages").unwrap().run(&target, &terms, &Recorder::new());
    assert_eq!(finding.verdict, Verdict::Falls, "{}", finding.evidence);
}

#[test]
fn a_client_in_the_middle_of_a_line_must_not_be_waited_for_by_all() {
    // As with select and a readline that blocks: whoever has something to say has the server until the end of a line.
    let reading = Arc::new(Mutex::new(()));
    let target = Target::in_process(move |connection| {
        let mut reader = BufReader::new(connection.stream);
        let mut line = Vec::new();
        while !reader.fill_buf()?.is_empty() {
            let _reading = reading.lock().unwrap();
            reader.read_until(b'\n', &mut line)?;
            (&mut &*connection.stream).write_all(&[b"echo: ", &line[..]].concat())?;
            line.clear();
        }
        Ok(())
    });
    let finding = expect("idle-client", &target, Verdict::Falls);
    assert!(finding.evidence.sentence.contains("in the middle of a request"), "{}", finding.evidence);
}

#[test]
fn what_two_clients_send_must_not_be_mixed() {
    let shared = Arc::new(Mutex::new(Vec::new()));
    let target = Target::in_process(move |connection| {
        let mut read = [0; 4096];
        loop {
            let count = (&mut &*connection.stream).read(&mut read)?;
            if count == 0 {
                return Ok(());
            }
            let mut shared = shared.lock().unwrap();
            shared.extend(&read[..count]);
            while let Some(end) = shared.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = shared.drain(..=end).collect();
                (&mut &*connection.stream).write_all(&[b"echo: ", &line[..]].concat())?;
            }
        }
    });
    let finding = expect("any-bytes", &target, Verdict::Falls);
    assert!(finding.evidence.sentence.contains("client 2"), "{}", finding.evidence);
}

#[test]
fn a_deaf_client_must_not_be_waited_for_by_all() {
    let writing = Arc::new(Mutex::new(()));
    let target = Target::in_process(move |connection| {
        let mut reader = BufReader::new(connection.stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            let _writing = writing.lock().unwrap();
            (&mut &*connection.stream).write_all(&[b"echo: ", &line[..]].concat())?;
            line.clear();
        }
        Ok(())
    });
    let terms = Terms { limit: Duration::from_secs(2), ..Terms::default() };
    let finding = probes::find("deaf-client").unwrap().run(&target, &terms, &Recorder::new());
    assert_eq!(finding.verdict, Verdict::Falls, "{}", finding.evidence);
}

#[test]
#[cfg(target_os = "linux")]
fn answers_that_nobody_takes_must_not_be_kept() {
    let Some(target) = common::python("keeps_answers.py", &["{addr}"]) else { return };
    expect("deaf-client", &target, Verdict::Falls);
}

#[test]
#[ignore = "it takes more than 10 s; run by `cargo xtask ci --only long`"]
fn a_deadline_that_is_claimed_must_be_there() {
    let terms = Terms { deadline: Some(Duration::from_secs(1)), ..Terms::default() };
    let targets: Vec<_> = OF_DEADLINES.iter().map(|&name| (name, command(STEP_6, "--grace=2"))).collect();
    common::expect(Verdict::Falls, &targets, &terms);

    let strict = Target::in_process(|connection| {
        connection.stream.set_read_timeout(Some(Duration::from_millis(1500)))?;
        connection.stream.set_write_timeout(Some(Duration::from_millis(1500)))?;
        let served = Manner::RIGHT.serve(connection.stream);
        connection.stream.shutdown(std::net::Shutdown::Both)?;
        served
    });
    for (name, finding) in run(OF_DEADLINES.iter().copied(), &strict, &terms) {
        // A timeout of each read begins anew with every byte.
        let expected = if name == "slow-line" { Verdict::Falls } else { Verdict::Holds };
        assert_eq!(finding.verdict, expected, "{name}: {}", finding.evidence);
    }

    expect("slow-line", &strict, Verdict::Note);
}

#[test]
fn a_request_of_another_protocol_may_never_end() {
    let exchange = |ask: &str, answer: &str| Exchange {
        request: Template::request(ask).unwrap(),
        answer: dialogue::Answer::Bytes(Template::answer(answer).unwrap()),
    };
    let endless = Some((Vec::new(), b"x".to_vec()));
    let ask = Dialogue { endless, claimed: true, joined: true, ..Dialogue::of(exchange("m{n}\n", "echo: m{n}\n")) };
    let target = Manner::RIGHT.target();
    for (name, finding) in run(of_messages_and_lines(), &target, &Terms { dialogue: ask, ..Terms::default() }) {
        let expected = match name {
            "any-bytes" | "crlf" | "every-byte" => Verdict::Skipped,
            // On a busy machine, so many short answers take longer to fill a connection than it waits for.
            "slow-reader" if finding.evidence.sentence.contains("too slow") => Verdict::Skipped,
            "slow-reader" | "slow-line" | "idle-limit" => Verdict::Note,
            _ => Verdict::Holds,
        };
        assert_eq!(finding.verdict, expected, "{name}: {}", finding.evidence);
    }
}
