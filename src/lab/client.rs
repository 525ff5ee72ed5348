//! A client that writes down what it does and what it gets. Every wait has a limit and every answer a size.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memchr;
use socket2::{Domain, SockRef, Socket, Type};

use super::lack::Lack;
use super::recording::{Action, Payload, Recorder};
use super::wait::wait_until;

/// The longest answer that is read as one line, in bytes: 1 MiB and a header. A server that sends more without a newline
/// floods.
pub const LONGEST_ANSWER: usize = 1024 * 1024 + 4;

/// What every host takes, in bytes: RFC 9293, 3.7.1.
#[cfg(target_os = "linux")]
const SMALL_SEGMENT: u32 = 536;

/// A connection to the server under examination.
pub struct Client {
    stream: Arc<TcpStream>,
    name: String,
    recorder: Recorder,
    pending: Vec<u8>,
    /// Whether the connection is known to have ended, so that leaving it is no event.
    over: bool,
    /// Whether it has ended its sending side. How soon its answer comes may be judged then, so no look at the kernel may delay
    /// it.
    half_closed: bool,
}

/// What a client got when it waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A line, its `\n` included, or an answer of another form.
    Line(Vec<u8>),
    /// The end of the stream, after these bytes of an unfinished line.
    End(Vec<u8>),
    /// A reset, after these bytes of an unfinished line.
    Reset(Vec<u8>),
    /// Nothing in this time, or only these bytes of an unfinished line.
    Nothing(Vec<u8>, Duration),
    /// More than `LONGEST_ANSWER` without a newline.
    Flood,
}

/// How far the bytes that have come are the answer that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// The first so many of them are the whole answer.
    Whole(usize),
    /// They may become it.
    Partial,
    /// They are the whole answer if the connection ends behind them, and else a part of it.
    UntilEnd,
    /// The one at this place is another than was expected.
    Wrong(usize),
}

/// Whether the server still holds a connection open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Open, nothing to read.
    Open,
    /// Open, and bytes are waiting.
    HasBytes,
    /// The server has ended or reset it.
    Ended,
}

impl Client {
    /// Connects to `addr`, once.
    ///
    /// # Errors
    /// The system's own error; `ConnectionRefused` also for a connection of the port with itself (TCP self-connect). What is
    /// not the server's fault is a `Lack` inside of it.
    pub fn connect(addr: SocketAddr, name: &str, recorder: &Recorder, limit: Duration) -> io::Result<Client> {
        Self::connect_with(addr, name, recorder, limit, None)
    }

    /// Connects with a receive buffer of about so many bytes, set before connecting so that the window fits it. One of less
    /// than 4 KiB makes segments small, too: by their size the other side's kernel decides how much it keeps to send.
    pub fn connect_with(
        addr: SocketAddr,
        name: &str,
        recorder: &Recorder,
        limit: Duration,
        receive_buffer: Option<usize>,
    ) -> io::Result<Client> {
        Self::connect_prepared(addr, name, recorder, limit, |socket| {
            let Some(size) = receive_buffer else { return Ok(()) };
            socket.set_recv_buffer_size(size)?;
            #[cfg(target_os = "linux")]
            if size < 4096 {
                socket.set_tcp_mss(SMALL_SEGMENT)?;
            }
            Ok(())
        })
    }

    /// Connects from this address of this machine, and not from the one that the system would choose.
    ///
    /// # Errors
    /// Those of `connect`, and the system's own if the address isn't this machine's.
    pub fn connect_from(
        own: IpAddr,
        addr: SocketAddr,
        name: &str,
        recorder: &Recorder,
        limit: Duration,
    ) -> io::Result<Client> {
        Self::connect_prepared(addr, name, recorder, limit, |socket| socket.bind(&SocketAddr::new(own, 0).into()))
    }

    /// Connects from a socket that is prepared like this before.
    ///
    /// # Errors
    /// Those of `connect`, and the system's own of preparing it.
    pub fn connect_prepared(
        addr: SocketAddr,
        name: &str,
        recorder: &Recorder,
        limit: Duration,
        prepare: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> io::Result<Client> {
        recorder.look();
        let stream = Self::open(addr, limit, prepare).map_err(|error| Lack::connecting(addr, error))?;
        recorder.record(name, Action::Connects);
        if let (Some(watch), Ok(own)) = (recorder.watch(), stream.local_addr()) {
            watch.client(name, own);
        }
        let stream = Arc::new(stream);
        recorder.leash().connection(&stream);
        Ok(Client {
            stream,
            name: name.to_owned(),
            recorder: recorder.clone(),
            pending: Vec::new(),
            over: false,
            half_closed: false,
        })
    }

    fn open(
        addr: SocketAddr,
        limit: Duration,
        prepare: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        prepare(&socket)?;
        socket.connect_timeout(&addr.into(), limit)?;
        let stream = TcpStream::from(socket);
        if stream.local_addr()? == stream.peer_addr()? {
            return Err(io::Error::new(ErrorKind::ConnectionRefused, "the port was connected with itself"));
        }
        // What the client sends shall arrive as it was sent: the pitfalls examined are the server's.
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(limit))?;
        Ok(stream)
    }

    /// The connection, for what this type doesn't offer.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Writes down something in words.
    pub fn note(&self, text: impl Into<String>) {
        self.recorder.note(&self.name, text);
    }

    /// Sends bytes. False if the connection didn't take them; what that means shows at the next read.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.recorder.look();
        let began = Instant::now();
        let sent = (&*self.stream).write_all(bytes);
        match &sent {
            Ok(()) => self.recorder.record_since(began, &self.name, Action::Sends(Payload::new(bytes))),
            Err(error) => self.note(format!("cannot send {}: {error}", Payload::new(bytes))),
        }
        sent.is_ok()
    }

    /// Sends bytes as `send` does, and writes nothing down. For requests by the thousand.
    pub fn quiet_send(&self, bytes: &[u8]) -> bool {
        (&*self.stream).write_all(bytes).is_ok()
    }

    /// Waits for one line, at most for `patience`.
    pub fn line(&mut self, patience: Duration) -> Reply {
        self.look();
        let got = self.quiet_line(patience);
        self.record_reply(&got);
        got
    }

    fn look(&self) {
        if !self.half_closed {
            self.recorder.look();
        }
    }

    fn record_reply(&mut self, got: &Reply) {
        self.over |= matches!(got, Reply::End(_) | Reply::Reset(_));
        match got {
            Reply::Line(bytes) => self.recorder.record(&self.name, Action::Receives(Payload::new(bytes))),
            Reply::End(bytes) => self.record_rest(bytes, Action::SeesEnd),
            Reply::Reset(bytes) => self.record_rest(bytes, Action::SeesReset),
            Reply::Nothing(bytes, patience) => {
                let for_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
                self.record_rest(bytes, Action::HearsNothing { for_ms });
            }
            Reply::Flood => self.note(format!("is flooded: more than {LONGEST_ANSWER} bytes without a newline")),
        }
    }

    /// Waits for an answer of any form, at most for `patience`: `check` says when it is whole. What can't become the
    /// answer is given as it is, to the end of its line if it has one.
    pub fn answer(&mut self, patience: Duration, check: impl Fn(&[u8]) -> Match) -> Reply {
        self.look();
        let got = self.quiet_answer(patience, check);
        self.record_reply(&got);
        got
    }

    /// Waits for an answer as `answer` does, and writes nothing down. For answers by the thousand.
    pub fn quiet_answer(&mut self, patience: Duration, check: impl Fn(&[u8]) -> Match) -> Reply {
        let deadline = Instant::now() + patience;
        loop {
            match check(&self.pending) {
                Match::Whole(length) => {
                    let rest = self.pending.split_off(length);
                    return Reply::Line(std::mem::replace(&mut self.pending, rest));
                }
                Match::Wrong(_) => {
                    let soon = Duration::from_millis(200).min(deadline.saturating_duration_since(Instant::now()));
                    return match self.quiet_line(soon) {
                        Reply::Nothing(_, _) => Reply::Line(std::mem::take(&mut self.pending)),
                        other => other,
                    };
                }
                Match::Partial | Match::UntilEnd if self.pending.len() > LONGEST_ANSWER => return Reply::Flood,
                Match::Partial | Match::UntilEnd => {}
            }
            let mut buffer = [0; 16 * 1024];
            match self.read_before(deadline, &mut buffer) {
                Ok(Some(0)) => {
                    let is_whole = check(&self.pending) == Match::UntilEnd;
                    let got = std::mem::take(&mut self.pending);
                    return if is_whole { Reply::Line(got) } else { Reply::End(got) };
                }
                Ok(Some(count)) => self.pending.extend_from_slice(&buffer[..count]),
                Ok(None) => return Reply::Nothing(self.pending.clone(), patience),
                Err(_) => return Reply::Reset(std::mem::take(&mut self.pending)),
            }
        }
    }

    /// Waits for one line as `line` does, and writes nothing down. For answers by the thousand.
    pub fn quiet_line(&mut self, patience: Duration) -> Reply {
        let to_its_end = |pending: &[u8]| match memchr(b'\n', pending) {
            Some(end) => Match::Whole(end + 1),
            None => Match::Partial,
        };
        self.quiet_answer(patience, to_its_end)
    }

    /// Takes all that comes until nothing came for `pause`; the first of it may take `patience`. Says whether the
    /// connection has ended then.
    pub fn take_until_pause(&mut self, patience: Duration, pause: Duration) -> (Vec<u8>, bool) {
        let mut buffer = [0; 16 * 1024];
        let mut wait = if self.pending.is_empty() { patience } else { pause };
        let ended = loop {
            match self.read_before(Instant::now() + wait, &mut buffer) {
                Ok(Some(0)) | Err(_) => break true,
                Ok(Some(count)) => self.pending.extend_from_slice(&buffer[..count]),
                Ok(None) => break false,
            }
            if self.pending.len() > LONGEST_ANSWER {
                break false;
            }
            wait = pause;
        };
        self.over |= ended;
        let taken = std::mem::take(&mut self.pending);
        if !taken.is_empty() {
            self.recorder.record(&self.name, Action::Receives(Payload::new(&taken)));
        }
        (taken, ended)
    }

    /// Whether anything comes within `patience`: bytes, the end, or a reset.
    pub fn comes_within(&mut self, patience: Duration) -> bool {
        wait_until(patience, || (self.state() != State::Open).then_some(())).is_some()
    }

    fn record_rest(&self, bytes: &[u8], then: Action) {
        if !bytes.is_empty() {
            self.recorder.record(&self.name, Action::Receives(Payload::new(bytes)));
        }
        self.recorder.record(&self.name, then);
    }

    /// One read, `None` when the time is up.
    fn read_before(&self, deadline: Instant, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // A timeout of zero is an error to std; a last look is still due.
            self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match (&*self.stream).read(buffer) {
                Ok(count) => return Ok(Some(count)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if left.is_zero() {
                        return Ok(None);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Looks at the connection without waiting. Bytes that have come are kept for `line`.
    pub fn state(&mut self) -> State {
        if self.stream.set_nonblocking(true).is_err() {
            return State::Ended;
        }
        let mut buffer = [0; 4096];
        // The end stands behind the bytes that came before it, so they have to be taken to see it.
        let ended = loop {
            match (&*self.stream).read(&mut buffer) {
                Ok(0) => break true,
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break true,
            }
            if self.pending.len() > LONGEST_ANSWER {
                break false;
            }
        };
        let _ = self.stream.set_nonblocking(false);
        self.over |= ended;
        match (ended, self.pending.is_empty()) {
            (true, _) => State::Ended,
            (false, true) => State::Open,
            (false, false) => State::HasBytes,
        }
    }

    /// What has come of the next line so far.
    pub fn received(&self) -> &[u8] {
        &self.pending
    }

    /// Whether the server ends this connection within `limit`.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        wait_until(limit, || (self.state() == State::Ended).then_some(())).is_some()
    }

    /// Ends the sending side: the server reads the end, and can still answer.
    pub fn half_close(&mut self) {
        self.recorder.look();
        self.recorder.record(&self.name, Action::HalfCloses);
        self.half_closed = true;
        // An error means that the connection has ended already, which shows at the next read.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Closes the connection, as dropping it does.
    pub fn leave(self) {}

    /// Resets the connection: the server's next read fails, and bytes on their way are lost.
    pub fn reset(mut self) {
        self.over = true;
        self.recorder.look();
        self.recorder.record(&self.name, Action::Resets);
        let _ = SockRef::from(&*self.stream).set_linger(Some(Duration::ZERO));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The kernel tells the server only after this.
        if !self.over {
            self.recorder.look();
            self.recorder.record(&self.name, Action::Leaves);
        }
    }
}
