//! What is said to a server, and how right answers are told from wrong ones.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tcp_pitfalls::dialogue::{Answer, Dialogue, Exchange, HttpAnswer, Learned, Lines, Match, Template, learn};
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::lab::wait::wait_for;

#[track_caller]
fn answer(text: &str) -> Template {
    Template::answer(text).unwrap()
}

#[test]
fn a_request_is_bytes_with_a_number_in_it() {
    assert_eq!(Template::request("PING\\r\\n").unwrap().fill(b"7"), b"PING\r\n");
    assert_eq!(Template::request("ECHO {n}\\x00\\\\").unwrap().fill(b"7"), b"ECHO 7\0\\");
    assert_eq!(Template::request("*1\\r\\n").unwrap().fill(b""), b"*1\r\n", "a star is a star here");
    assert_eq!(Template::request("{len2}ab{n}").unwrap().fill(b"cd"), b"\0\x04abcd");
    assert_eq!(Template::request("größer").unwrap().fill(b""), "größer".as_bytes());
}

#[test]
fn what_cannot_be_read_is_quoted() {
    for (text, why) in
        [("a\\q", "is not followed by r, n"), ("\\x0", "two hexadecimal digits"), ("\\", "is not followed")]
    {
        let error = Template::request(text).unwrap_err().to_string();
        assert!(error.contains(text) && error.contains(why), "{error}");
    }
    assert!(Template::answer("220 *").unwrap_err().to_string().contains("where the answer ends"));
    assert!(Template::answer("").is_err());
    assert!(Template::request("").unwrap_err().to_string().contains("at least one byte"));
    assert!(Template::request("PING {m}").unwrap_err().to_string().contains("{m} is no placeholder"));
    assert_eq!(Template::request("{\"a\": {}}").unwrap().fill(b""), b"{\"a\": {}}");
}

#[test]
fn an_answer_is_known_to_be_whole_partial_or_wrong_at_any_cut() {
    let pattern = answer("220 *\\r\\n");
    assert_eq!(pattern.check(b"", b"220 hello\r\n250"), Match::Whole(11));
    assert_eq!(pattern.check(b"", b"220 hello\r"), Match::Partial);
    assert_eq!(pattern.check(b"", b"221"), Match::Wrong(2));
    let numbered = answer("<{n}>");
    assert_eq!(numbered.check(b"12", b"<12>"), Match::Whole(4));
    assert_eq!(numbered.check(b"12", b"<13>"), Match::Wrong(2));
    let anywhere = answer("*x{n}\\n");
    assert_eq!(anywhere.check(b"0", b"you said x x1? no: x0\n"), Match::Whole(22));
    assert_eq!(anywhere.check(b"0", b"you said x"), Match::Partial);
    assert_eq!(anywhere.check(b"0", b"you said x1\n"), Match::Wrong(10));
    assert_eq!(answer("*{n}\\n").check(b"12", b"1 and 12\n"), Match::Whole(9));
    let framed = answer("{len2}*");
    assert_eq!(framed.check(b"", b"\0\x03abcd"), Match::Whole(5));
    assert_eq!(framed.check(b"", b"\0\x03ab"), Match::Partial);
    assert_eq!(framed.check(b"", b"\0"), Match::Partial);
    let exact_in_frame = answer("{len1}ab");
    assert_eq!(exact_in_frame.check(b"", b"\x02ab"), Match::Whole(3));
    assert_eq!(exact_in_frame.check(b"", b"\x03abc"), Match::Wrong(3));
    assert_eq!(exact_in_frame.check(b"", b"\x01a"), Match::Wrong(2));
}

#[test]
fn http_answers_end_where_they_say() {
    let any = HttpAnswer { status: None };
    let length = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(any.check(length), Match::Whole(length.len()));
    assert_eq!(any.check(&length[..length.len() - 1]), Match::Partial);
    let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\nyou\r\n0\r\n\r\n";
    assert_eq!(any.check(chunks), Match::Whole(chunks.len()));
    let interim = [&b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"[..], length].concat();
    assert_eq!(HttpAnswer { status: Some(200) }.check(&interim), Match::Whole(interim.len()));
    assert_eq!(any.check(&interim[..interim.len() - length.len()]), Match::Partial);
    for end in 0..chunks.len() {
        assert_eq!(any.check(&chunks[..end]), Match::Partial, "cut at {end}");
    }
    assert_eq!(any.check(b"SSH-2.0"), Match::Wrong(0));
    assert_eq!(
        HttpAnswer { status: Some(200) }.check(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
        Match::Wrong(9)
    );
    assert_eq!(any.check(b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nhi"), Match::UntilEnd);
    assert_eq!(any.check(b"HTTP/1.1 204 No Content\r\n\r\nHTTP"), Match::Whole(27));
    let head = interim.len() - length.len();
    assert_eq!(HttpAnswer { status: Some(404) }.check(&interim), Match::Wrong(head + 9));
}

/// A server in this process that answers each line so, after a greeting.
fn lines(greeting: &'static str, reply: impl Fn(&str) -> String + Send + Sync + 'static) -> Target {
    Target::in_process(move |connection| {
        let mut stream = connection.stream;
        stream.write_all(greeting.as_bytes())?;
        for line in BufReader::new(stream).lines() {
            stream.write_all(reply(&line?).as_bytes())?;
        }
        Ok(())
    })
}

fn learned(target: &Target) -> Learned {
    learn(target, Dialogue::lines(Lines::of_the_course()), true).unwrap()
}

#[test]
fn the_protocol_of_the_course_is_nothing_to_tell() {
    let learned = learned(&lines("", |line| format!("echo: {line}\n")));
    assert_eq!(learned.dialogue, Dialogue::lines(Lines::of_the_course()));
    assert!(learned.says.is_empty() && learned.silence.is_none() && learned.otherwise.is_none(), "{learned:?}");
}

#[test]
fn a_greeting_and_another_prefix_are_learned() {
    let learned = learned(&lines("welcome\n", |line| format!("> {line}\r\n")));
    let lines = learned.dialogue.lines.as_ref().unwrap();
    assert_eq!((&lines.prefix[..], lines.answer_ends), (&b"> "[..], &b"\r\n"[..]));
    assert_eq!(learned.dialogue.greeting, Some(Template::exact(b"welcome\n")));
    assert_eq!(learned.says.len(), 2, "{:?}", learned.says);
}

#[test]
fn what_changes_before_the_echo_is_not_learned() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    // A time of no seconds, the line's length, and what differs only for the next line or the next client.
    let clients = Arc::new(AtomicUsize::new(0));
    let each_client = Target::in_process(move |connection| {
        let prefix = ["first> ", "another> "][clients.fetch_add(1, SeqCst).min(1)];
        let mut stream = connection.stream;
        BufReader::new(stream).lines().try_for_each(|line| stream.write_all(format!("{prefix}{}\n", line?).as_bytes()))
    });
    let parity = |line: &str| format!("{}: {line}\n", if line.len() % 2 == 0 { "even" } else { "odd" });
    for target in [lines("", |line| format!("[10:39] {line}\n")), lines("", parity), each_client] {
        let learned = learned(&target);
        let Dialogue { exchange, lines, joined, one_request, .. } = &learned.dialogue;
        assert!(lines.is_none() && *joined && !one_request, "{learned:?}");
        let request = exchange.fill(b"7");
        assert_eq!(request.bytes, b"hello 7\n");
        assert!(request.is_answered_by(b"[10:40] hello 7\n") && !request.is_answered_by(b"[10:40] hello 8\n"));
        assert!(learned.says.last().unwrap().contains("--answer '*hello {n}\\n'"), "{:?}", learned.says);
    }
}

#[test]
fn a_server_that_wants_crlf_is_given_it() {
    let target = Target::in_process(|connection| {
        let mut stream = connection.stream;
        let mut line = Vec::new();
        let mut reader = BufReader::new(stream);
        while !line.ends_with(b"\r\n") && reader.read_until(b'\n', &mut line)? > 0 {
            if line.ends_with(b"\r\n") {
                stream.write_all(&[b"echo: ", &line[..]].concat())?;
                line.clear();
            }
        }
        Ok(())
    });
    let learned = learned(&target);
    assert_eq!(learned.dialogue.lines.as_ref().unwrap().ends, b"\r\n", "{learned:?}");
}

fn give_back(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

#[test]
fn an_echo_of_bytes_is_known_as_such() {
    let learned = learned(&Target::in_process(|connection| give_back(connection.stream)));
    assert!(learned.dialogue.lines.as_ref().unwrap().bytewise, "{learned:?}");
}

#[test]
fn one_answer_for_each_connection_is_seen() {
    let target = Target::in_process(|connection| {
        let mut stream = connection.stream;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        stream.write_all(format!("echo: {line}").as_bytes())
    });
    assert!(learned(&target).dialogue.one_request);
}

#[test]
fn a_second_request_that_stays_unanswered_is_no_end_of_the_connection() {
    let target = Target::in_process(|connection| {
        let mut stream = connection.stream;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        stream.write_all(format!("echo: {line}").as_bytes())?;
        std::io::copy(&mut reader, &mut std::io::sink()).map(drop)
    });
    let learned = learned(&target);
    assert!(!learned.dialogue.one_request, "{learned:?}");
    assert!(learned.says.iter().any(|it| it.contains("second request on a connection unanswered")), "{learned:?}");
}

/// A server in this process that gives the first of these answers to the first head of a connection, and then the other.
fn heads(answers: [&'static str; 2]) -> Target {
    Target::in_process(move |connection| {
        let mut stream = connection.stream;
        let ends = BufReader::new(stream).lines().map_while(Result::ok).filter(String::is_empty);
        ends.zip(answers.into_iter().chain(std::iter::repeat(answers[1])))
            .try_for_each(|(_, answer)| stream.write_all(answer.as_bytes()))
    })
}

#[test]
fn an_answer_of_http_that_is_not_as_it_says_is_told_before_any_probe() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let big = String::leak(format!("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n{}", "x".repeat(3_000_000)));
    for (answers, said) in [
        (["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nhi"; 2], "behind that came \"i\""),
        ([OK, "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nhi"], "the second time on a connection with status 500"),
        ([&*big; 2], "longer than 1 MiB"),
    ] {
        let request = Template::request("GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n").unwrap();
        let exchange = Exchange { request, answer: Answer::Http(HttpAnswer { status: None }) };
        let error = learn(&heads(answers), Dialogue::of(exchange), true).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn another_protocol_is_told_with_a_sample() {
    let learned = learned(&lines("", |_| "500 what?\n".into()));
    assert!(learned.otherwise.unwrap().contains("500 what?"));
}

/// A server in this process that waits so long before its greeting, and before each part of its answer to each line.
fn slow(before_greeting: u64, greeting: fn() -> String, before_part: u64, parts: &'static [&'static str]) -> Target {
    let pass = |millis| wait_for(Duration::from_millis(millis));
    Target::in_process(move |connection| {
        let mut stream = connection.stream;
        pass(before_greeting);
        stream.write_all(greeting().as_bytes())?;
        for line in BufReader::new(stream).lines() {
            let line = line?;
            for part in parts {
                pass(before_part);
                stream.write_all(part.replace("{}", &line).as_bytes())?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_greeting_that_comes_late_is_not_taken_for_a_part_of_the_answer() {
    let target = || slow(700, || "welcome\n".into(), 0, &["echo: {}\n"]);
    let learned = learned(&target());
    assert_eq!(learned.dialogue.greeting, Some(Template::exact(b"welcome\n")), "{learned:?}");
    assert_eq!(learned.dialogue.lines, Some(Lines::of_the_course()));
    let learned = learn(&target(), asked("hello\\n"), false).unwrap();
    assert_eq!(learned.dialogue.greeting, Some(Template::exact(b"welcome\n")), "{learned:?}");
    assert_eq!(learned.dialogue.exchange.answer, Answer::Bytes(Template::exact(b"echo: hello\n")));
}

#[test]
fn a_greeting_that_waits_for_a_question_is_told_as_such() {
    let target = Target::in_process(|connection| {
        let mut stream = connection.stream;
        let mut unsent = "welcome\n".to_owned();
        for line in BufReader::new(stream).lines() {
            stream.write_all(format!("{}echo: {}\n", std::mem::take(&mut unsent), line?).as_bytes())?;
        }
        Ok(())
    });
    let error = learn(&target, asked("hello\\n"), false).unwrap_err().to_string();
    assert!(error.contains("welcome") && error.contains("before it is asked"), "{error}");
    assert!(learned(&target).otherwise.unwrap().contains("welcome"));
}

#[test]
fn of_a_greeting_that_differs_each_time_the_rest_is_learned() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    static CLIENTS: AtomicUsize = AtomicUsize::new(0);
    let greeting = || format!("220 ready at 12:00:0{} UTC\r\n", CLIENTS.fetch_add(1, SeqCst) % 10);
    let learned = learned(&slow(0, greeting, 0, &["echo: {}\n"]));
    assert_eq!(learned.dialogue.greeting, Some(Template::answer("220 ready at *\\r\\n").unwrap()), "{learned:?}");
}

#[test]
fn a_greeting_that_is_claimed_is_heard_and_never_learned_away() {
    let claim = Dialogue { greeting: Some(Template::exact(b"hello\n")), ..asked("x\\n") };
    let learned = learn(&lines("hello\n", |_| "yes\n".into()), claim.clone(), false).unwrap();
    assert_eq!(learned.dialogue.greeting, Some(Template::exact(b"hello\n")));
    assert_eq!(learned.dialogue.exchange.answer, Answer::Bytes(Template::exact(b"yes\n")));
    let error = learn(&lines("welcome\n", |_| "yes\n".into()), claim, false).unwrap_err().to_string();
    assert!(error.contains("greets with \"hello\\n\"") && error.contains("welcome"), "{error}");
}

#[test]
fn a_slow_request_is_answered_as_the_other_is_once_that_is_learned() {
    let slow = Some(asked("slow\\n").exchange);
    let learned = learn(&lines("", |_| "yes\n".into()), Dialogue { slow, ..asked("x\\n") }, false).unwrap();
    assert_eq!(learned.dialogue.slow.unwrap().answer, Answer::Bytes(Template::exact(b"yes\n")));
}

#[test]
fn a_slow_answer_is_heard_to_its_end() {
    let learned = learned(&slow(0, String::new, 600, &["echo: ", "{}\n"]));
    assert!(learned.otherwise.is_none() && learned.silence.is_none(), "{learned:?}");
    assert_eq!(learned.dialogue.lines, Some(Lines::of_the_course()));
}

#[test]
fn a_claim_that_says_all_costs_a_running_server_no_conversation() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::Address(listener.local_addr().unwrap());
    for claim in [Dialogue::lines(Lines::of_the_course()), Dialogue::redis()] {
        let learned = learn(&target, Dialogue { claimed: true, ..claim.clone() }, true).unwrap();
        assert_eq!(learned.dialogue, Dialogue { claimed: true, ..claim });
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody has connected");
}

#[test]
fn where_the_answer_is_known_one_conversation_is_enough() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    let clients = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&clients);
    let target = Target::in_process(move |connection| {
        count.fetch_add(1, SeqCst);
        let mut stream = connection.stream;
        BufReader::new(stream).lines().try_for_each(|line| stream.write_all(format!("{}!\n", line?).as_bytes()))
    });
    let exchange = Exchange { request: Template::request("a\\n").unwrap(), answer: Answer::Bytes(answer("a!\\n")) };
    let learned = learn(&target, Dialogue { claimed: true, ..Dialogue::of(exchange) }, true).unwrap();
    assert!(learned.dialogue.joined && !learned.dialogue.one_request, "{learned:?}");
    assert_eq!(clients.load(SeqCst), 1);
}

fn asked(request: &str) -> Dialogue {
    let request = Template::request(request).unwrap();
    Dialogue::of(Exchange { request, answer: Answer::Bytes(Template::exact(b"?")) })
}

#[test]
fn three_equal_answers_are_the_expectation() {
    let learned = learn(&lines("", |_| "+PONG\r\n".into()), asked("PING\\r\\n"), false).unwrap();
    assert_eq!(learned.dialogue.exchange.answer, Answer::Bytes(Template::exact(b"+PONG\r\n")));
    assert!(learned.dialogue.joined && !learned.dialogue.one_request, "{learned:?}");
}

#[test]
fn the_number_is_found_in_the_answers() {
    let learned = learn(&lines("", |line| format!("0 you said {line}!\n")), asked("m{n}\\n"), false).unwrap();
    let Answer::Bytes(template) = learned.dialogue.exchange.answer else { panic!("bytes are learned") };
    assert_eq!(template.fill(b"77"), b"0 you said m77!\n");
}

#[test]
fn answers_that_differ_are_refused_with_what_to_do() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let reply = move |_: &str| format!("{}\n", count.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
    let error = learn(&lines("", reply), asked("next\\n"), false).unwrap_err().to_string();
    assert!(error.contains("from byte 1 on") && error.contains("--answer"), "{error}");

    let each_line = Target::in_process(|connection| {
        let mut stream = connection.stream;
        let mut lines = BufReader::new(stream).lines().enumerate();
        lines.try_for_each(|(number, line)| stream.write_all(format!("{number} {}\n", line?).as_bytes()))
    });
    let error = learn(&each_line, asked("next\\n"), false).unwrap_err().to_string();
    assert!(error.contains("0 next") && error.contains("1 next"), "{error}");
}
