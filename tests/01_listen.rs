//! Chapter 1: addresses, and the sentences that explain them.

mod common;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use common::{Script, Server, Sink, run};
use socket2::{Domain, Socket, Type};
use tcp_pitfalls::chapter_01::listen::listen;
use tcp_pitfalls::chapter_01::server::answer_once;

const PROGRAM: &str = env!("CARGO_BIN_EXE_01_listen");

/// The whole error as it is printed.
#[track_caller]
fn refusal(addr: &str) -> String {
    match listen(addr) {
        Ok(listener) => panic!("\"{addr}\" must be refused, and listens on {:?}", listener.local_addr()),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn every_bad_address_is_quoted_and_explained() {
    for (addr, explanation) in [
        ("8080", "it has no port"),
        ("", "it has no port"),
        ("localhost", "it has no port"),
        (":", "the port after the colon is missing"),
        ("127.0.0.1:", "the port after the colon is missing"),
        ("127.0.0.1:http", "\"http\" is not a number"),
        ("127.0.0.1:-1", "\"-1\" is not a number"),
        ("127.0.0.1:+8080", "\"+8080\" is not a number"),
        ("127.0.0.1:65536", "above 65535"),
        ("127.0.0.1:99999999999999999999", "above 65535"),
        ("::1:8080", "needs brackets"),
        ("[::1]", "it has no port"),
        ("no.such.host.invalid:8080", "cannot be resolved"),
    ] {
        let refusal = refusal(addr);
        assert!(refusal.contains(&format!("\"{addr}\"")), "{addr:?} is quoted in {refusal:?}");
        assert!(refusal.contains(explanation), "{explanation:?} is said in {refusal:?}");
    }
}

#[test]
fn an_address_of_another_machine_is_explained() {
    // 192.0.2.0/24 is for documentation only (RFC 5737).
    let refusal = refusal("192.0.2.1:8080");
    assert!(refusal.contains("this machine has no address 192.0.2.1"), "{refusal}");
}

#[test]
fn a_port_in_use_is_named_with_a_way_to_find_its_holder() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = holder.local_addr().unwrap().to_string();
    let port = holder.local_addr().unwrap().port().to_string();
    let refusal = refusal(&addr);
    assert!(refusal.contains(&format!("port {port} is already in use")), "{refusal}");
    let command = refusal.split("To find the program that holds it: ").nth(1).expect("a command is shown");
    assert!(command.contains(&port), "{command}");
}

#[test]
fn a_second_copy_on_localhost_does_not_start_beside_the_first() {
    let first = listen("localhost:0").unwrap();
    let port = first.local_addr().unwrap().port();
    assert!(refusal(&format!("localhost:{port}")).contains("already in use"));
}

#[test]
fn a_colon_and_a_port_is_every_interface() {
    let listener = listen(":0").unwrap();
    let addr = listener.local_addr().unwrap();
    assert!(addr.ip().is_unspecified(), "{addr}");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, addr.port())).is_ok(), "IPv4 reaches {addr}");
    let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if has_ipv6 {
        assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, addr.port())).is_ok(), "IPv6 reaches {addr}");
    } else {
        println!("IPv6 was not tried: this machine has no IPv6 loopback address");
    }
}

#[test]
fn a_colon_and_a_port_in_use_does_not_fall_back_to_ipv4() {
    let holder = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    // Alone on IPv6, so that the same port of IPv4 is free.
    let held =
        holder.set_only_v6(true).and_then(|()| holder.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()));
    if held.and_then(|()| holder.listen(1)).is_err() {
        println!("not tried: this machine has no IPv6");
        return;
    }
    let port = holder.local_addr().unwrap().as_socket().unwrap().port();
    assert!(refusal(&format!(":{port}")).contains("already in use"));
}

#[test]
fn a_literal_is_taken_as_it_is() {
    let listener = listen("127.0.0.1:0").unwrap();
    assert_eq!(listener.local_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
    assert_ne!(listener.local_addr().unwrap().port(), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn the_backlog_is_longer_than_that_of_std() {
    const CLIENTS: usize = 200;
    let most: usize = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    if most < CLIENTS {
        println!("not tried: this system's own limit is {most}");
        return;
    }
    let listener = listen("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // With std's backlog of 128 the 130th of them would wait in vain: nobody accepts.
    let connect = |_| TcpStream::connect_timeout(&addr, common::LIMIT).expect("there is room in the queue");
    let clients: Vec<TcpStream> = (0..CLIENTS).map(connect).collect();
    assert_eq!(tcp_pitfalls::lab::kernel::accept_queue(addr), Some(clients.len()));
}

#[test]
fn one_message_is_answered() {
    for (sent, answer) in [("hi\n", "echo: hi\n"), ("hi", "echo: hi\n"), ("", "")] {
        let mut sink = Sink::default();
        answer_once(Script::in_pieces(sent.as_bytes(), 4096), &mut sink).unwrap();
        assert_eq!(String::from_utf8_lossy(&sink.bytes), answer, "for {sent:?}");
    }
}

#[test]
fn the_server_serves_one_client_and_ends() {
    let mut server = Server::start(PROGRAM, &[]);
    let mut client = server.connect();
    client.ask("hello");
    client.expect_end();
    let (status, said) = server.wait();
    assert!(status.success(), "{status}");
    assert!(said.contains("only programs on this machine can reach it"), "{said}");
    let command = format!("{} 127.0.0.1 {}", if cfg!(windows) { "ncat" } else { "nc" }, server.addr.port());
    assert!(said.contains(&command), "it says what to type: {said}");
}

#[test]
fn a_bad_address_ends_the_program_with_a_sentence() {
    let (code, out, err) = run(PROGRAM, &["serve", "8080"]);
    assert_eq!(code, Some(1));
    assert_eq!(out, "");
    assert!(err.starts_with("error: cannot listen on \"8080\": it has no port."), "{err}");
}

#[test]
fn a_wrong_argument_is_status_2() {
    for arguments in [&["serv"][..], &["serve", "--pitfall=none"], &["serve", "a", "b"], &["--fast"]] {
        let (code, out, err) = run(PROGRAM, arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(err.starts_with("error: "), "{err}");
    }
}

#[test]
fn one_scene_can_be_shown_alone() {
    let (code, out, err) = run(PROGRAM, &["--scene", "bare-port"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("── bare-port ") && !out.contains("── port-taken "), "{out}");
    let (code, _, err) = run(PROGRAM, &["--scene", "nonsense"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("There are: bare-port, every-interface, port-taken, restart"), "{err}");
}

#[test]
fn a_pitfall_is_not_taken_for_an_address() {
    let (code, out, err) = run(PROGRAM, &["serve", "--pitfall", "restart"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("Write --pitfall=restart"), "{err}");
}

#[test]
fn help_says_what_the_step_is() {
    let (code, out, _) = run(PROGRAM, &["--help"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("Step 1: listen where you said you would"), "{out}");
}

#[test]
fn the_usual_port_is_8080_on_loopback() {
    let (_, out, _) = run(PROGRAM, &["serve", "--help"]);
    let usual: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    assert!(out.contains(&format!("[default: {usual}]")), "{out}");
}
