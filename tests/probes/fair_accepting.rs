//! Servers that a probe of chapters 1 to 3 might accuse of what they don't do, and some that do it in an unusual way.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use tcp_pitfalls::dialogue::{Answer, Dialogue, Exchange, Lines, Template};
use tcp_pitfalls::lab::recording::Recorder;
#[cfg(unix)]
use tcp_pitfalls::lab::server::Launch;
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::probes::Verdict::{Differs, Falls, Holds, Skipped};
use tcp_pitfalls::probes::{self, Finding, Terms, Verdict};

#[cfg(unix)]
use crate::common;

/// The probes that need nothing but an address.
const OF_ANY_ADDRESS: [&str; 6] =
    ["next-client", "reset-before-accept", "leaves-unread", "idle-client", "crowd", "back-after-quiet"];

/// Shorter than the full limit, where what is owed will never come.
fn terms(dialogue: Dialogue) -> Terms {
    Terms { dialogue, limit: Duration::from_secs(2), ..Terms::default() }
}

#[track_caller]
fn judge(name: &str, target: &Target, terms: &Terms, expected: Verdict) -> String {
    let probe = probes::find(name).expect("there is such a probe");
    let Finding { verdict, evidence } = probe.run(target, terms, &Recorder::new());
    assert_eq!(verdict, expected, "{name}: {evidence}");
    evidence.sentence
}

fn exchange(request: &str, answer: &str) -> Dialogue {
    let (request, answer) = (Template::request(request).unwrap(), Template::answer(answer).unwrap());
    Dialogue { claimed: true, ..Dialogue::of(Exchange { request, answer: Answer::Bytes(answer) }) }
}

/// Answers each line until `serves` says that it was the last.
fn echo(mut stream: &TcpStream, serves: impl Fn() -> bool) -> io::Result<()> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream);
    while serves() && reader.read_until(b'\n', &mut line)? > 0 {
        stream.write_all(&[b"echo: ", &*line].concat())?;
        line.clear();
    }
    Ok(())
}

/// Serves one client after the other on a thread, until one of them fails.
fn one_at_a_time(serve: impl Fn(&TcpStream) -> io::Result<()> + Send + 'static) -> Target {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().try_for_each(|stream| serve(&stream?)));
    Target::Address(addr)
}

#[test]
fn a_server_may_greet() {
    let greeting = Some(Template::answer("220 *\\r\\n").unwrap());
    let dialogue = Dialogue { greeting, ..exchange("{n}\\n", "echo: {n}\\n") };
    let greet = |stream: &TcpStream| {
        let mut out = stream;
        out.write_all(b"220 welcome\r\n")?;
        echo(stream, || true)
    };
    let target = Target::in_process(move |connection| greet(connection.stream));
    for name in OF_ANY_ADDRESS {
        judge(name, &target, &terms(dialogue.clone()), Holds);
    }
    // Whoever waits for a greeting waits as well.
    let serial = one_at_a_time(move |stream| greet(stream).or(Ok(())));
    let evidence = judge("idle-client", &serial, &terms(dialogue), Falls);
    assert!(evidence.contains("until the silent client 1 left"), "{evidence}");
}

#[test]
fn a_greeting_may_differ_each_time() {
    let greeted = AtomicUsize::new(0);
    let target = Target::in_process(move |connection| {
        let mut out = connection.stream;
        out.write_all(format!("you are number {}\n", greeted.fetch_add(1, SeqCst)).as_bytes())?;
        echo(connection.stream, || true)
    });
    let unknown = Dialogue::lines(Lines::of_the_course());
    let learned = tcp_pitfalls::dialogue::learn(&target, unknown, true).unwrap().dialogue;
    judge("next-client", &target, &terms(learned), Holds);
}

#[test]
fn a_server_may_answer_once_for_each_connection() {
    let dialogue = Dialogue { one_request: true, claimed: true, ..Dialogue::lines(Lines::of_the_course()) };
    let target = Target::in_process(|connection| {
        let asked = AtomicUsize::new(0);
        echo(connection.stream, || asked.fetch_add(1, SeqCst) == 0)
    });
    for name in OF_ANY_ADDRESS {
        judge(name, &target, &terms(dialogue.clone()), Holds);
    }
}

#[test]
fn a_request_may_have_its_length_in_front() {
    let target = Target::in_process(|connection| {
        let mut stream = connection.stream;
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut body = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut body)?;
            stream.write_all(&[&length[..], &body].concat())?;
        }
        Ok(())
    });
    let dialogue = Dialogue { joined: true, ..exchange("{len2}abc{n}", "{len2}abc{n}") };
    for name in OF_ANY_ADDRESS {
        judge(name, &target, &terms(dialogue.clone()), Holds);
    }
}

#[test]
fn a_client_too_many_may_be_told_so() {
    let connected = Arc::new(AtomicUsize::new(0));
    let target = Target::in_process(move |connection| {
        let mut stream = connection.stream;
        let served =
            if connected.fetch_add(1, SeqCst) < 20 { echo(stream, || true) } else { stream.write_all(b"busy\n") };
        connected.fetch_sub(1, SeqCst);
        served
    });
    let evidence = judge("crowd", &target, &Terms::default(), Differs);
    assert!(evidence.contains("busy"), "{evidence}");
    judge("crowd", &target, &Terms { crowd: 10, ..Terms::default() }, Holds);
}

#[test]
fn a_client_too_many_is_told_something() {
    let connected = Arc::new(AtomicUsize::new(0));
    let target = Target::in_process(move |connection| {
        let served = if connected.fetch_add(1, SeqCst) < 20 { echo(connection.stream, || true) } else { Ok(()) };
        connected.fetch_sub(1, SeqCst);
        served
    });
    judge("crowd", &target, &Terms::default(), Falls);
}

#[test]
fn who_serves_one_client_only_is_accused_of_that_alone() {
    for name in ["reset-before-accept", "leaves-unread", "crowd", "back-after-quiet"] {
        let target = one_at_a_time(|stream| echo(stream, || true).and(Err(io::Error::other("done"))));
        let evidence = judge(name, &target, &terms(Terms::default().dialogue), Skipped);
        assert!(evidence.contains("see next-client"), "{evidence}");
    }
}

#[test]
fn a_client_that_leaves_must_not_end_the_server() {
    let target = one_at_a_time(|stream| echo(stream, || true));
    let evidence = judge("leaves-unread", &target, &terms(Terms::default().dialogue), Falls);
    assert!(evidence.contains("left without reading"), "{evidence}");
}

#[cfg(unix)]
fn python(peculiarity: &str) -> Option<Target> {
    common::python("echo.py", &[peculiarity, "{addr}"])
}

#[cfg(unix)]
#[track_caller]
fn judge_python(peculiarity: &str, name: &str, expected: Verdict) -> Option<String> {
    Some(judge(name, &python(peculiarity)?, &Terms::default(), expected))
}

#[test]
#[cfg(unix)]
fn who_has_not_started_yet_is_not_accused() {
    let start = Duration::from_millis(100);
    let target = Target::Command(Launch { start, ..["sleep", "60"].map(str::to_owned).to_vec().into() });
    let targets = ["any-bytes", "serves-queue", "unread-answer-at-stop"].map(|name| (name, target.clone()));
    common::expect(Skipped, &targets, &terms(Terms::default().dialogue));
}

#[test]
#[cfg(unix)]
fn that_a_port_is_in_use_may_be_said_in_any_language() {
    judge_python("speaks-german", "port-taken", Holds);
}

#[test]
#[cfg(unix)]
fn a_second_write_to_a_client_that_has_left_brings_sigpipe() {
    // It ends a connection at the first error, so that a mere reset leaves nothing to write.
    judge_python("dies-of-sigpipe", "leaves-unread", Falls);
}

#[test]
#[cfg(unix)]
fn what_is_said_at_every_start_is_no_reason() {
    if let Some(evidence) = judge_python("announces", "port-taken", Falls) {
        assert!(evidence.contains("at every start"), "{evidence}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn two_servers_must_not_share_a_port() {
    let Some(target) = python("shares-port") else { return };
    judge("port-taken", &target, &Terms::default(), Falls);
    let not_claimed = Dialogue { claimed: false, ..Terms::default().dialogue };
    judge("port-taken", &target, &terms(not_claimed), Differs);
}

#[test]
#[cfg(unix)]
fn a_moment_without_clients_is_not_the_end() {
    if let Some(evidence) = judge_python("ends-when-quiet", "back-after-quiet", Falls) {
        assert!(evidence.contains("nobody came"), "{evidence}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn only_who_is_busier_without_descriptors_spins() {
    let Some(spins) = python("spins") else { return };
    let probe = probes::find("out-of-descriptors").unwrap();
    // On a machine that is very busy it can't be told each time, and on one that has far too much to do it isn't.
    let mut findings = (0..20).map(|_| probe.run(&spins, &Terms::default(), &Recorder::new()));
    assert!(findings.any(|finding| finding.verdict == Falls || finding.evidence.own_lack));
    judge_python("works-all-the-time", "out-of-descriptors", Holds);
    judge_python("tries-in-bursts", "out-of-descriptors", Holds);
    judge_python("forks", "out-of-descriptors", Holds);
}

#[test]
#[cfg(target_os = "linux")]
fn who_is_slow_with_descriptors_left_is_not_accused_of_having_none() {
    let Some(target) = python("accepts-slowly") else { return };
    let evidence = judge("out-of-descriptors", &target, &terms(Terms::default().dialogue), Skipped);
    assert!(evidence.contains("see no-leak and crowd"), "{evidence}");
}

#[test]
#[cfg(unix)]
fn who_is_turned_away_for_a_while_has_lost_nothing() {
    let Some(target) = python("bans") else { return };
    let targets = ["leaves-unread", "no-leak"].map(|name| (name, target.clone()));
    common::expect_no_fall(&targets, &terms(Terms::default().dialogue));
}

#[test]
#[cfg(target_os = "linux")]
fn what_the_kernel_takes_in_the_server_has_not_taken() {
    let Some(target) = python("stops-reading") else { return };
    let evidence = judge("endless-line", &target, &terms(Terms::default().dialogue), Skipped);
    assert!(evidence.contains("see every-byte"), "{evidence}");
}

#[test]
#[cfg(target_os = "linux")]
fn who_is_full_may_say_so() {
    judge_python("says-busy", "out-of-descriptors", Holds);
    if let Some(evidence) = judge_python("says-busy", "serves-queue", Skipped) {
        assert!(evidence.contains("see crowd"), "{evidence}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn who_needs_more_descriptors_is_not_judged_with_few() {
    if let Some(evidence) = judge_python("needs-descriptors", "out-of-descriptors", Skipped) {
        assert!(evidence.contains("Too many open files"), "{evidence}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_kept_after_an_error_is_a_leak() {
    let Some(target) = python("keeps-what-failed") else { return };
    judge("no-leak", &target, &terms(Terms::default().dialogue), Falls);
}

#[test]
#[cfg(target_os = "linux")]
fn who_keeps_each_descriptor_leaks_and_runs_out_of_them_by_that() {
    if let Some(evidence) = judge_python("keeps-all", "out-of-descriptors", Skipped) {
        assert!(evidence.contains("see no-leak"), "{evidence}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn who_dies_of_bytes_that_are_no_text_is_accused_of_that_alone() {
    judge_python("dies-of-other-bytes", "not-utf8", Falls);
    judge_python("dies-of-other-bytes", "any-bytes", Holds);
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_that_the_signal_has_killed_does_not_block_it() {
    let Some(target) = python("forks") else { return };
    let not_claimed = Dialogue { claimed: false, ..Terms::default().dialogue };
    for name in ["closes-idle", "stuck-client"] {
        let terms = Terms { grace: Duration::from_secs(1), ..terms(not_claimed.clone()) };
        let evidence = judge(name, &target, &terms, Skipped);
        assert!(evidence.contains("simply ends it"), "{name}: {evidence}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn who_can_t_be_looked_at_is_not_acquitted() {
    // Root looks at everybody.
    let expected = if rustix::process::geteuid().is_root() { Holds } else { Skipped };
    judge_python("hides", "no-leak", expected);
}
