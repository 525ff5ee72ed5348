// Played with the chapter's file and with each broken copy of it, so `Connections` and `Seat` are whichever is tried.

/// A thread for each connection, as the server starts them: the seat is taken before the thread.
fn leave_in_a_thread(seat: Seat) {
    thread::spawn(move || drop(seat));
}

/// What a connection's thread does, with a line of one byte. Returns the number of its answers.
fn serve(seat: &Seat) -> usize {
    let mut answers = 0;
    loop {
        seat.rest();
        match seat.connection().read(&mut [0]).unwrap() {
            0 => return answers,
            _ => answers += 1,
        }
    }
}

pub(super) fn the_last_to_leave_ends_the_wait() {
    explore(|| {
        let connections = Connections::new(2);
        let (first, second) = (net::connect(), net::connect());
        leave_in_a_thread(connections.enter(first.1));
        leave_in_a_thread(connections.enter(second.1));
        connections.wait_until(Instant::Never);
        assert!(first.0.is_closed() && second.0.is_closed(), "the wait ended while a connection was open");
    });
}

pub(super) fn who_leaves_during_the_stop_is_counted_at_most_once() {
    explore(|| {
        let connections = Connections::new(2);
        let left_before = Arc::new(AtomicUsize::new(0));
        let late = connections.enter(net::connect().1);
        let seat = connections.enter(net::connect().1);
        let left = Arc::clone(&left_before);
        thread::spawn(move || {
            drop(seat);
            left.fetch_add(1, SeqCst);
        });
        let before = left_before.load(SeqCst);
        connections.stop();
        leave_in_a_thread(late);
        let finished = connections.wait_until(Instant::Never);
        assert!((1..=2 - before).contains(&finished), "{finished} finished, and {before} before the stop");
    });
}

pub(super) fn all_who_were_open_at_the_stop_are_counted() {
    explore(|| {
        let connections = Connections::new(2);
        let seats = [net::connect(), net::connect()].map(|(_, stream)| connections.enter(stream));
        connections.stop();
        for seat in seats {
            leave_in_a_thread(seat);
        }
        connections.wait_until(Instant::Never);
        assert_eq!(connections.cut(), (2, 0));
    });
}

pub(super) fn who_leaves_while_the_time_runs_out_is_finished_or_cut() {
    explore(|| {
        let connections = Connections::new(2);
        let seats = [net::connect(), net::connect()].map(|(_, stream)| connections.enter(stream));
        connections.stop();
        for seat in seats {
            leave_in_a_thread(seat);
        }
        connections.wait_until(Instant::Now);
        let (finished, cut) = connections.cut();
        assert_eq!(finished + cut, 2, "{finished} finished, {cut} cut");
    });
}

pub(super) fn a_stop_ends_the_wait_for_room() {
    explore(|| {
        let connections = Connections::new(1);
        let _stays = connections.enter(net::connect().1);
        let stopping = Arc::clone(&connections);
        thread::spawn(move || stopping.stop());
        assert!(!connections.wait_for_room());
    });
}

pub(super) fn who_leaves_makes_room() {
    explore(|| {
        let connections = Connections::new(1);
        let mut before: Option<Client> = None;
        for _ in 0..3 {
            assert!(connections.wait_for_room());
            assert!(before.is_none_or(|client| client.is_closed()), "more connections than the limit");
            let (client, stream) = net::connect();
            leave_in_a_thread(connections.enter(stream));
            before = Some(client);
        }
    });
}

pub(super) fn one_of_two_stops_is_the_first() {
    explore(|| {
        let connections = Connections::new(1);
        let _open = connections.enter(net::connect().1);
        let other = Arc::clone(&connections);
        let other = thread::spawn(move || other.stop());
        let this = connections.stop();
        assert!(this != other.join().unwrap());
    });
}

pub(super) fn a_stop_ends_silent_connections() {
    explore(|| {
        let connections = Connections::new(1);
        let (client, stream) = net::connect();
        let seat = connections.enter(stream);
        thread::spawn(move || serve(&seat));
        connections.stop();
        connections.wait_until(Instant::Never);
        assert_eq!(connections.cut(), (1, 0));
        assert!(client.is_closed());
    });
}

pub(super) fn a_line_that_has_arrived_before_the_stop_is_answered() {
    explore_likely(|| {
        let connections = Connections::new(1);
        let (client, stream) = net::connect();
        let seat = connections.enter(stream);
        let serving = thread::spawn(move || serve(&seat));
        client.send();
        connections.stop();
        connections.wait_until(Instant::Never);
        assert_eq!(serving.join().unwrap(), 1);
    });
}

pub(super) fn half_a_line_that_has_arrived_before_the_stop_may_be_ended() {
    explore(|| {
        let connections = Connections::new(1);
        let (client, stream) = net::connect();
        let seat = connections.enter(stream);
        seat.rest();
        client.send();
        connections.stop();
        let reading = thread::spawn(move || {
            let read = || seat.connection().read(&mut [0]).unwrap();
            read() + read()
        });
        client.send();
        assert_eq!(reading.join().unwrap(), 2, "the first half was read and the second was not");
    });
}

pub(super) fn a_line_that_arrives_during_the_stop_keeps_nobody() {
    explore_likely(|| {
        let connections = Connections::new(1);
        let (client, stream) = net::connect();
        let seat = connections.enter(stream);
        thread::spawn(move || serve(&seat));
        thread::spawn(move || client.send());
        connections.stop();
        connections.wait_until(Instant::Never);
        assert_eq!(connections.cut(), (1, 0));
    });
}
