//! The equipment: what it writes down, and how it draws that.

mod common;

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use tcp_pitfalls::lab::client::{Client, Reply, State};
use tcp_pitfalls::lab::port;
use tcp_pitfalls::lab::process::Process;
use tcp_pitfalls::lab::recording::{Action, Payload, Recorder, escape, with_thousands};
use tcp_pitfalls::lab::wait::wait_until;
use tcp_pitfalls::probes::Finding;
use tcp_pitfalls::show::scene::{Run, Scene};
use tcp_pitfalls::show::timeline;

#[test]
fn text_is_shown_as_text_and_other_bytes_escaped() {
    assert_eq!(escape("caf\u{e9} \"it's\"\r\n\t".as_bytes()), "café \"it's\"\\r\\n\\t");
    assert_eq!(escape(b"\xff\x00ok\xe9"), "\\xff\\0ok\\xe9");
    assert_eq!(escape("\x06\\ \u{200b}".as_bytes()), "\\x06\\\\ \\xe2\\x80\\x8b", "one notation for all");
}

#[test]
fn a_long_payload_is_shortened_and_keeps_its_length() {
    assert_eq!(Payload::new(b"hi\n").to_string(), "\"hi\\n\" (3 bytes)");
    assert_eq!(Payload::new(b"!").to_string(), "\"!\" (1 byte)");
    assert_eq!(Payload::new(&vec![b'x'; 65_536]).to_string(), format!("\"{}…\" (65,536 bytes)", "x".repeat(24)));
    assert_eq!([0, 999, 1_000, 1_234_567].map(with_thousands), ["0", "999", "1,000", "1,234,567"]);
}

#[test]
fn events_are_in_the_order_in_which_they_began() {
    let recorder = Recorder::new();
    let began = Instant::now();
    recorder.record("server", Action::Read(Payload::new(b"hi\n")));
    while Instant::now() == began {}
    // Told last, but begun before the server could read.
    recorder.record_since(began, "client 1", Action::Sends(Payload::new(b"hi\n")));
    let who: Vec<String> = recorder.recording().events.into_iter().map(|event| event.who).collect();
    assert_eq!(who, ["client 1", "server"]);
}

#[test]
fn a_recording_is_data_first() {
    let recorder = Recorder::new();
    recorder.record("client 1", Action::Sends(Payload::new(b"hi\n")));
    recorder.record("server", Action::Wrote { given: 10, taken: Payload::new(b"echo") });
    let mut json = serde_json::to_value(recorder.recording()).unwrap();
    for event in json["events"].as_array_mut().unwrap() {
        assert!(event["at_ns"].take().is_u64());
    }
    assert_eq!(
        json,
        serde_json::json!({"left_out": 0, "events": [
            {"at_ns": null, "who": "client 1", "event": "sends", "bytes": 3, "text": "hi\\n"},
            {"at_ns": null, "who": "server", "event": "wrote", "given": 10, "taken": {"bytes": 4, "text": "echo"}},
        ]})
    );
}

/// A timeline without its colours and times.
fn drawn(recorder: &Recorder) -> Vec<String> {
    let text = anstream::adapter::strip_str(&timeline::draw(&recorder.recording(), 80)).to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    text.lines().map(|line| line.chars().skip(11).collect::<String>().trim().to_owned()).collect()
}

#[test]
fn calls_by_the_thousand_are_summed_up_but_never_one_that_fell_short() {
    let recorder = Recorder::new();
    let bytes = [b'x'; 1000];
    for _ in 0..1000 {
        recorder.record("server", Action::Read(Payload::new(&bytes)));
    }
    recorder.record("server", Action::Wrote { given: 1000, taken: Payload::new(&bytes[..7]) });
    for _ in 0..3 {
        recorder.record("server", Action::Failed { call: "write".into(), error: "not now".into() });
    }
    let read = format!("server  read → \"{}…\" (1,000 bytes)", "x".repeat(24));
    let read = read.as_str();
    assert_eq!(
        drawn(&recorder),
        [
            read,
            read,
            read,
            read,
            "… 995 more reads (995,000 bytes)",
            read,
            "server  write → 7 of 1,000 bytes",
            "server  write fails: not now",
            "… 2 times more",
        ]
    );
}

#[test]
fn a_long_recording_keeps_its_beginning_and_its_end() {
    let recorder = Recorder::new();
    for number in 0..100 {
        recorder.note("client 1", format!("does {number}"));
    }
    let lines = drawn(&recorder);
    assert_eq!(lines.len(), 20);
    assert_eq!((lines[0].as_str(), lines[19].as_str()), ("client 1  does 0", "client 1  does 99"));
    assert_eq!(lines[13], "… 81 more events");
}

#[test]
fn what_a_check_did_itself_is_never_left_out_of_its_story() {
    let recorder = Recorder::new();
    for number in 0..100 {
        let who = if number == 50 { "check" } else { "client 1" };
        recorder.note(who, format!("does {number}"));
    }
    let drawn = timeline::draw_ends(&recorder.recording(), 80, 3, 6, "check");
    let text = anstream::adapter::strip_str(&drawn).to_string();
    let lines: Vec<&str> = text.lines().map(|line| line[11..].trim()).collect();
    assert_eq!(lines[3..6], ["… 47 more events", "check     does 50", "… 43 more events"]);
    assert_eq!(lines.len(), 12);
}

#[test]
fn a_scene_is_drawn_from_its_json_as_from_what_happened() {
    let recorder = Recorder::new();
    for number in 0..100 {
        recorder.of_connection(1).record("server", Action::Read(Payload::new(&[b'x'; 100])));
        if number % 10 == 0 {
            recorder.record("client 1", Action::Sends(Payload::new(b"\xff \"\n")));
        }
    }
    for _ in 0..5 {
        recorder.record("server", Action::Failed { call: "write".into(), error: "not now".into() });
    }
    recorder.number_by_chance(7, "a measured time");
    let run = || Run { caption: "one read".into(), finding: Finding::falls("7 ms"), recording: recorder.recording() };
    let scene = Scene { chapter: "04".into(), name: "every-byte".into(), pitfall: run(), cure: run() };
    let drawn = |scene: &Scene| [scene.cure.transcript("cure"), scene.figure(&scene.sides())];
    let whole = drawn(&scene);
    let short = scene.shortened();
    assert!(short.cure.recording.events.len() <= 20);
    let json = serde_json::to_string(&short).unwrap();
    let read: Scene = serde_json::from_str(&json).unwrap();
    assert!(drawn(&read) == whole, "{:#?}", drawn(&read)[0]);
    assert_eq!(serde_json::to_string(&read.shortened()).unwrap(), json);
}

/// A recording with one of everything, drawn twice in one figure.
fn figure_of_everything() -> String {
    let recorder = Recorder::new();
    let bytes = |text: &str| Payload::new(text.as_bytes());
    recorder.note("server", "is started for <\u{1b}[0m\"host\" & port>\n\nhere");
    for (who, what) in [
        ("client 1", Action::Connects),
        ("client 1", Action::Sends(bytes("one\n"))),
        ("server", Action::Read(bytes("one\n"))),
        ("server", Action::Wrote { given: 10, taken: bytes("echo: one\n") }),
        ("server", Action::Wrote { given: 1000, taken: bytes("echo") }),
        ("server", Action::Failed { call: "write".into(), error: "not now".into() }),
        ("client 1", Action::Receives(bytes("echo: one\n"))),
        ("client 1", Action::HearsNothing { for_ms: 1900 }),
        ("client 1", Action::HalfCloses),
        ("server", Action::ReadEnd),
        ("client 1", Action::SeesEnd),
        ("client 1", Action::SeesReset),
        ("client 2", Action::CannotConnect { why: "refused".into() }),
        ("client 2", Action::Resets),
        ("client 2", Action::Leaves),
        ("kernel", Action::Note { text: "counts 3".into() }),
        ("probe", Action::Note { text: "sends SIGTERM".into() }),
    ] {
        recorder.record(who, what);
    }
    let finding = Finding::falls("it said <this> & no more");
    let run = || Run { caption: "one read".into(), finding: finding.clone(), recording: recorder.recording() };
    let scene = Scene { chapter: "00".into(), name: "scene".into(), pitfall: run(), cure: run() };
    scene.figure(&scene.sides())
}

#[test]
fn a_figure_shows_every_event_and_tells_it_in_words() {
    let svg = figure_of_everything();
    let document = roxmltree::Document::parse(&svg).unwrap();
    let words = |node: roxmltree::Node<'_, '_>| -> String {
        node.descendants().filter(roxmltree::Node::is_text).filter_map(|text| text.text()).collect()
    };
    let named = |name| document.descendants().filter(move |node| node.has_tag_name(name));
    let texts: Vec<String> = named("text").map(words).collect();
    for label in [
        "scene: the pitfall",
        "scene: the cure",
        "one read",
        "client 1",
        "client 2",
        "kernel",
        "server",
        "is started for <\u{fffd}[0m\"host\" & port> here",
        "connects",
        "sends \"one\\n\" (4\u{a0}bytes)",
        "read → \"one\\n\" (4\u{a0}bytes)",
        "write → \"echo: one\\n\" (10\u{a0}bytes)",
        "write → only 4 of 1,000 bytes",
        "write fails: not now",
        "receives \"echo: one\\n\" (10\u{a0}bytes)",
        "hears nothing for 1.9 s",
        "ends its side (half-close)",
        "read → 0, the end",
        "sees the end",
        "sees a reset",
        "cannot connect: refused",
        "resets",
        "leaves",
        "counts 3",
        "probe sends SIGTERM",
        "falls: it said <this> & no more",
    ] {
        assert!(texts.iter().any(|text| text == label), "{label} is not in {texts:#?}");
    }
    let story = named("desc").map(words).collect::<String>();
    for line in [
        "scene: the pitfall: one read.",
        "server: write → 4 of 1,000 bytes.",
        "client 1: has heard nothing for 1.9 s.",
        "client 1: sees the end: the server has closed.",
        "probe: sends SIGTERM.",
        "Verdict: falls: it said <this> & no more.",
    ] {
        assert_eq!(
            story.lines().filter(|told| *told == line).count(),
            if line.contains("pitfall") { 1 } else { 2 },
            "{line}"
        );
    }
    // Twice everything, and one line for each.
    assert_eq!(story.lines().count(), 2 * (1 + 18 + 1));
}

#[test]
fn a_figure_can_be_taken_into_a_page() {
    let svg = figure_of_everything();
    assert!(svg.lines().all(|line| !line.trim().is_empty()), "a blank line would end it");
    let document = roxmltree::Document::parse(&svg).unwrap();
    let root = document.root_element();
    assert_eq!(
        (root.attribute("role"), root.attribute("aria-labelledby")),
        (Some("img"), Some("figure-00-scene-pitfall-title figure-00-scene-pitfall-desc"))
    );
    let ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
    assert_eq!(ids, ["figure-00-scene-pitfall-title", "figure-00-scene-pitfall-desc"]);
    // Nothing reaches over its edge: 360 units are as wide as the smallest phone's page.
    let width: f32 = root.attribute("viewBox").unwrap().split(' ').nth(2).unwrap().parse().unwrap();
    assert!(width <= 360.0);
    for rect in document.descendants().filter(|node| node.has_tag_name("rect")) {
        let number = |name| rect.attribute(name).map_or(0.0, |value| value.parse::<f32>().unwrap());
        assert!(number("x") >= 0.0 && number("x") + number("width") <= width, "{rect:?}");
    }
}

#[test]
fn a_chapter_writes_its_figure() {
    let program = env!("CARGO_BIN_EXE_06_graceful_shutdown");
    let file = std::env::temp_dir().join(format!("lost-count-{}.svg", std::process::id()));
    let path = file.to_str().unwrap();
    let (code, out, err) = common::run(program, &["--scene", "lost-count", "--svg", path]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains(&format!("The figure of lost-count is in {path}.")), "{out}");
    let svg = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(svg.contains(
        "<title id=\"figure-06-lost-count-pitfall-title\">lost-count: the pitfall, then lost-count: the cure"
    ));

    let nowhere = file.join("figure.svg");
    let (code, _, err) = common::run(program, &["--scene", "lost-count", "--svg", nowhere.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with(&format!("error: cannot write \"{}\": ", nowhere.display())), "{err}");
}

#[test]
#[cfg(target_os = "linux")]
fn what_the_kernel_holds_is_taken_down_when_all_has_come_to_rest() {
    use std::sync::{Arc, Barrier};

    use tcp_pitfalls::lab::server::Target;
    use tcp_pitfalls::lab::watch::{Held, KernelSide, Sleeper};

    let gate = Arc::new(Barrier::new(2));
    let server = Target::in_process({
        let gate = Arc::clone(&gate);
        move |_| {
            gate.wait();
            Ok(())
        }
    });
    let recorder = Recorder::watching();
    let mut server = server.start(&recorder, None).unwrap();
    let mut client = server.connect("client 1").unwrap();
    client.send(b"hi\n");
    let seen = wait_until(Duration::from_secs(60), || {
        client.note("looks");
        let events = recorder.recording().events;
        let sends = events.iter().position(|event| matches!(event.action, Action::Sends(_)))?;
        events[sends..].iter().find_map(|event| event.kernel.clone())
    });
    gate.wait();
    let KernelSide { connections, threads } = seen.expect("the server only waits, and so does the client");
    let held = Held {
        client: "client 1".into(),
        is_queued: false,
        client_sends: 0,
        server_receives: 3,
        server_sends: 0,
        client_receives: 0,
    };
    assert_eq!(connections, [held]);
    let sleeps = |call: &str, of: Option<&str>| Sleeper { call: call.into(), of: of.map(Into::into) };
    assert_eq!(threads, [sleeps("accept4", Some("the listener")), sleeps("futex", None)]);
}

#[test]
fn a_client_reads_lines_and_sees_what_ended_them() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let recorder = Recorder::new();
    let mut client = Client::connect(addr, "client 1", &recorder, common::LIMIT).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    assert_eq!(client.state(), State::Open);
    server.write_all(b"one\ntwo\nthr").unwrap();
    assert_eq!(client.line(common::LIMIT), Reply::Line(b"one\n".to_vec()));
    assert_eq!(client.line(common::LIMIT), Reply::Line(b"two\n".to_vec()));
    assert_eq!(client.line(Duration::ZERO), Reply::Nothing(b"thr".to_vec(), Duration::ZERO));
    assert_eq!(client.state(), State::HasBytes);
    drop(server);
    assert!(client.ends_within(common::LIMIT), "the end is seen behind bytes that nobody has taken");
    assert_eq!(client.line(common::LIMIT), Reply::End(b"thr".to_vec()));
}

#[test]
fn a_client_is_not_flooded() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut client = Client::connect(addr, "client 1", &Recorder::new(), common::LIMIT).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let flooding = std::thread::spawn(move || while server.write_all(&[b'x'; 4096]).is_ok() {});
    assert_eq!(client.line(common::LIMIT), Reply::Flood);
    drop(client);
    flooding.join().unwrap();
}

#[test]
fn two_draws_are_two_ports() {
    let [one, other] = [port::draw().unwrap(), port::draw().unwrap()];
    assert_ne!(one.number, other.number);
    assert!((10_240..32_000).contains(&one.number), "{}", one.number);
    // Reserved, and free for a server all the same.
    assert!(port::is_free(one.number));
}

#[test]
fn waiting_looks_at_least_once_and_ends_at_once() {
    assert_eq!(wait_until(Duration::ZERO, || Some(1)), Some(1));
    let mut looks = 0;
    assert_eq!(
        wait_until(Duration::ZERO, || {
            looks += 1;
            None::<()>
        }),
        None
    );
    assert_eq!(looks, 1);
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    assert!(Process::start(&["no-such-program-here".to_owned()], None).is_err());
    assert!(Process::start(&[], None).is_err());
}

#[test]
#[cfg(unix)]
fn an_examination_that_takes_too_long_is_ended_from_outside() {
    use tcp_pitfalls::lab::server::Target;

    let examination = Recorder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let connect = |recorder: &Recorder| Client::connect(addr, "client 1", recorder, common::LIMIT).unwrap();
    let (mut client, mut aside) = (connect(&examination), connect(&examination.aside()));
    let mut of_another = connect(&Recorder::new());
    let sleep = Target::command(&["sh", "-c", "exec sleep 600", "{addr}"].map(str::to_owned)).unwrap();
    let mut server = sleep.start(&examination, None).unwrap();

    examination.leash().pull();
    for ended in [&mut client, &mut aside] {
        assert_eq!(ended.line(common::LIMIT), Reply::End(Vec::new()));
    }
    assert!(server.process().unwrap().exits_within(common::LIMIT).is_some());
    assert_eq!(of_another.state(), State::Open);
    // What comes later ends as well, or the examination would begin again with it.
    assert_eq!(connect(&examination).line(common::LIMIT), Reply::End(Vec::new()));
    let again = sleep.start(&examination, None).err().map(|why| why.to_string());
    assert_eq!(again.as_deref(), Some("the time for this is over"));
}

#[test]
fn a_long_payload_ends_with_the_line_that_stands_there() {
    let payload = |bytes: &[u8]| Payload::new(bytes).to_string();
    assert!(payload(&[&b"x".repeat(100)[..], b"\nLEN after\n"].concat()).contains("x…x\\nLEN after\\n\" (111 bytes)"));
    assert!(payload(&[&b"x".repeat(100)[..], b"\n"].concat()).ends_with("xx…\" (101 bytes)"));
}
