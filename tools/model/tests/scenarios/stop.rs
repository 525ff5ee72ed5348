// Played with the chapter's files and with each broken copy, so `Connections`, `Seat`, `Server`, `Stop` and `UntilStop`
// are whichever is tried.

fn server() -> Arc<Server> {
    Arc::new(Server { connections: Connections::new(1), stop: Arc::new(Stop::new().unwrap()) })
}

/// A thread for a connection, as the server starts it: the seat is taken before the thread. Returns what it has read.
fn serve(server: &Server, stream: TcpStream) -> JoinHandle<Vec<u8>> {
    let (stream, seat) = server.connections.enter(stream);
    let stop = Arc::clone(&server.stop);
    thread::spawn(move || {
        let mut read = Vec::new();
        UntilStop::new(&stream, &stop).read_to_end(&mut read).unwrap();
        drop((stream, seat));
        read
    })
}

/// The same for a client who leaves.
fn leave(seated: (Arc<TcpStream>, Seat)) -> JoinHandle<()> {
    thread::spawn(move || drop(seated))
}

fn stop(server: &Arc<Server>) -> JoinHandle<bool> {
    let server = Arc::clone(server);
    thread::spawn(move || server.stop())
}

pub(super) fn the_last_to_leave_ends_the_wait() {
    explore(|| {
        let connections = Connections::new(2);
        let clients = [connect(), connect()].map(|(client, stream)| {
            leave(connections.enter(stream));
            client
        });
        connections.wait_until(Instant::Never);
        assert!(clients.iter().all(TcpStream::has_ended), "the wait ended while a connection was open");
    });
}

pub(super) fn who_leaves_makes_room() {
    explore(|| {
        let connections = Connections::new(1);
        let mut before: Option<(TcpStream, JoinHandle<()>)> = None;
        for _ in 0..3 {
            connections.wait_for_room();
            assert!(before.is_none_or(|(client, _)| client.has_ended()), "more connections than the limit");
            let (client, stream) = connect();
            before = Some((client, leave(connections.enter(stream))));
        }
        before.unwrap().1.join().unwrap();
    });
}

pub(super) fn a_stop_ends_the_wait_for_room() {
    explore(|| {
        let server = server();
        let _stays = server.connections.enter(connect().1);
        let stopping = stop(&server);
        server.connections.wait_for_room();
        stopping.join().unwrap();
    });
}

pub(super) fn who_leaves_before_the_stop_is_not_counted() {
    explore(|| {
        let connections = Connections::new(2);
        let (client, stream) = connect();
        leave(connections.enter(stream));
        let late = connections.enter(connect().1);
        let before = usize::from(client.has_ended());
        connections.close();
        leave(late);
        let finished = connections.wait_until(Instant::Never);
        assert!((1..=2 - before).contains(&finished), "{finished} finished, and {before} before the stop");
    });
}

pub(super) fn who_leaves_after_the_stop_is_counted() {
    explore(|| {
        let connections = Connections::new(2);
        let seated = [connect(), connect()].map(|(_, stream)| connections.enter(stream));
        connections.close();
        for one in seated {
            leave(one);
        }
        connections.wait_until(Instant::Never);
        assert_eq!(connections.cut(), Stopped { finished: 2, cut: 0 });
    });
}

pub(super) fn who_leaves_while_the_time_runs_out_is_finished_or_cut() {
    explore(|| {
        let connections = Connections::new(2);
        let seated = [connect(), connect()].map(|(_, stream)| connections.enter(stream));
        connections.close();
        let leaving = seated.map(leave);
        connections.wait_until(Instant::Now);
        let Stopped { finished, cut } = connections.cut();
        assert_eq!(finished + cut, 2, "{finished} finished, {cut} cut");
        for one in leaving {
            one.join().unwrap();
        }
    });
}

pub(super) fn who_hears_of_the_stop_and_leaves_is_counted() {
    explore(|| {
        let server = server();
        let (_client, stream) = connect();
        serve(&server, stream);
        server.stop();
        server.connections.wait_until(Instant::Never);
        assert_eq!(server.connections.cut(), Stopped { finished: 1, cut: 0 });
    });
}

pub(super) fn one_of_two_stops_is_the_first() {
    explore(|| {
        let server = server();
        let other = stop(&server);
        assert!(server.stop() != other.join().unwrap());
    });
}

pub(super) fn all_who_wait_hear_of_the_stop() {
    explore(|| {
        let server = server();
        let (_client, stream) = connect();
        let serving = serve(&server, stream);
        let listener = TcpListener::bind("").unwrap();
        stop(&server);
        assert!(server.stop.wait(&listener).unwrap().stop);
        assert_eq!(serving.join().unwrap(), b"");
    });
}

pub(super) fn a_signal_that_interrupts_a_wait_does_not_end_it() {
    explore(|| {
        let server = server();
        let listener = TcpListener::bind("").unwrap();
        thread::spawn({
            let server = Arc::clone(&server);
            move || {
                net::signal();
                server.stop()
            }
        });
        let ready = server.stop.wait(&listener).unwrap();
        assert!(ready.stop && !ready.input);
    });
}

pub(super) fn a_stranger_does_not_get_the_news() {
    explore(|| {
        // While a stop is made, the first socket there is listens.
        let stranger = thread::spawn(|| TcpStream::connect(SocketAddr(0)));
        let stop = Stop::new().unwrap();
        let _stays = stranger.join().unwrap();
        stop.begin();
        assert!(stop.wait(connect().0).unwrap().stop);
    });
}

pub(super) fn a_line_that_had_arrived_before_the_stop_is_answered() {
    explore(|| {
        let server = server();
        let (client, stream) = connect();
        let serving = serve(&server, stream);
        client.send(b"a\n");
        server.stop();
        assert_eq!(serving.join().unwrap(), b"a\n");
    });
}

pub(super) fn half_a_line_that_had_arrived_before_the_stop_is_read_to_its_end() {
    explore(|| {
        let server = server();
        let (client, stream) = connect();
        let serving = serve(&server, stream);
        client.send(b"a\nb");
        server.stop();
        client.send(b"\n");
        assert_eq!(serving.join().unwrap(), b"a\nb\n");
    });
}

pub(super) fn what_comes_during_the_stop_is_answered_in_whole_lines() {
    explore(|| {
        let server = server();
        let (client, stream) = connect();
        let serving = serve(&server, stream);
        stop(&server);
        for piece in ["a", "\nb", "\n"] {
            client.send(piece.as_bytes());
        }
        let read = serving.join().unwrap();
        assert!(b"a\nb\n".starts_with(&read[..]) && read != b"a" && read != b"a\nb", "{read:?}");
    });
}

pub(super) fn a_client_who_never_pauses_is_ended_between_two_lines() {
    explore(|| {
        let server = server();
        let (client, stream) = connect();
        let mut stopping = Some(stop(&server));
        let mut reader = UntilStop::new(&stream, &server.stop);
        let mut read = Vec::new();
        for turn in 0.. {
            assert!(turn < 10, "the client is never ended");
            if turn == 3 {
                stopping.take().unwrap().join().unwrap();
            }
            // The next line has always begun.
            client.send(b"\na");
            let mut buffer = [0; 8];
            match reader.read(&mut buffer).unwrap() {
                0 => break,
                count => read.extend(&buffer[..count]),
            }
        }
        assert!(matches!(read.last(), None | Some(b'\n')), "ended in mid-line");
    });
}

pub(super) fn who_stays_in_mid_line_is_cut() {
    explore(|| {
        let server = server();
        let (client, stream) = connect();
        serve(&server, stream);
        client.send(b"a");
        server.stop();
        server.connections.wait_until(Instant::Now);
        assert_eq!(server.connections.cut(), Stopped { finished: 0, cut: 1 });
        server.connections.wait_until(Instant::Never);
        assert!(client.has_ended());
    });
}
