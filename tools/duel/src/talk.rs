//! Conversations: lines sent and answers checked, with no more system calls than needed.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::cost::Meter;
use crate::results::Sample;

/// Some lines on a connection, and what has to come back.
pub struct Conversation {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    sent: usize,
    received: usize,
}

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Work for as long as wanted.
pub struct Talk {
    /// How many connections.
    pub connections: usize,
    /// How many lines are sent on a connection before the first has been answered.
    pub in_flight: usize,
    /// How long a line is, in bytes, its end counted.
    pub line: usize,
}

impl Talk {
    /// Keeps all connections busy for some time, each from a thread of its own, as if they were so many programs.
    pub fn measure(&self, addr: SocketAddr, prefix: &str, server: u32, time: Duration) -> Result<Sample> {
        let mut conversations = (0..self.connections)
            .map(|number| {
                let lines: Vec<String> = (0..self.in_flight).map(|line| text(number, line, self.line - 1)).collect();
                let stream = TcpStream::connect(addr).context("cannot connect")?;
                stream.set_nodelay(true)?;
                Conversation::new(stream, &lines, prefix)
            })
            .collect::<Result<Vec<_>>>()?;
        let (ready, end) = (Barrier::new(self.connections + 1), OnceLock::new());
        thread::scope(|scope| {
            let talking: Vec<_> =
                conversations.iter_mut().map(|one| scope.spawn(|| one.go_on_until(&end, &ready))).collect();
            ready.wait();
            // All are warm, and wait: threads that share a core with this one must not begin before it has looked.
            let meter = Meter::start(server)?;
            let began = Instant::now();
            end.get_or_init(|| began + time);
            ready.wait();
            let laps = talking.into_iter().map(|one| one.join().map_err(|_| anyhow!("a client panicked"))?);
            let laps: usize = laps.sum::<Result<_>>()?;
            Ok(Sample::new(laps * self.in_flight, began.elapsed(), meter.used()?))
        })
    }
}

/// Connects, says one line, waits for the answer and leaves, again and again.
pub fn short_connections(addr: SocketAddr, prefix: &str, server: u32, time: Duration) -> Result<Sample> {
    let mut scratch = [0; 4096];
    let mut visit = |number| {
        let stream = TcpStream::connect(addr).context("cannot connect")?;
        let mut conversation = Conversation::new(stream, &[text(number, 0, 31)], prefix)?;
        conversation.begin()?;
        conversation.finish(&mut scratch)
    };
    visit(0)?;
    let meter = Meter::start(server)?;
    let began = Instant::now();
    let mut visits = 0;
    while began.elapsed() < time {
        visits += 1;
        visit(visits)?;
    }
    Ok(Sample::new(visits, began.elapsed(), meter.used()?))
}

/// A line that no other connection has, nor any other place in this one.
pub fn text(connection: usize, line: usize, length: usize) -> String {
    format!("{connection}/{line}/{:x<length$}", "")[..length].to_owned()
}

impl Conversation {
    /// Prepares to send these lines on this connection.
    pub fn new(stream: TcpStream, lines: &[String], prefix: &str) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect();
        let answer =
            lines.iter().flat_map(|line| [prefix.as_bytes(), line.as_bytes(), b"\n"]).flatten().copied().collect();
        Ok(Conversation { stream, request, answer, sent: 0, received: 0 })
    }

    /// Has the same lines answered again and again. Returns how often.
    fn go_on_until(&mut self, end: &OnceLock<Instant>, ready: &Barrier) -> Result<usize> {
        let mut scratch = vec![0; 64 * 1024];
        // The first lines only warm up the server.
        let warm = self.begin().and_then(|()| self.finish(&mut scratch));
        ready.wait();
        ready.wait();
        warm?;
        let mut laps = 0;
        while laps == 0 || end.get().is_some_and(|end| Instant::now() < *end) {
            self.begin()?;
            self.finish(&mut scratch)?;
            laps += 1;
        }
        Ok(laps)
    }

    /// Sends what the connection takes at once.
    pub fn begin(&mut self) -> Result<()> {
        (self.sent, self.received) = (0, 0);
        self.send_on()
    }

    /// Waits for the whole answer and checks it.
    pub fn finish(&mut self, scratch: &mut [u8]) -> Result<()> {
        while self.received < self.answer.len() {
            let all_sent = self.sent == self.request.len();
            if !all_sent {
                self.wait()?;
                self.send_on()?;
            }
            let flags = if all_sent { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
            match recv(&self.stream, &mut *scratch, flags) {
                Ok((_, 0)) => bail!("the server ended the connection before its answer"),
                Ok((_, count)) => self.check(&scratch[..count])?,
                Err(Errno::AGAIN) if all_sent => bail!("no answer within {PATIENCE:?}"),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot read the answer"),
            }
        }
        Ok(())
    }

    fn check(&mut self, bytes: &[u8]) -> Result<()> {
        let owed = &self.answer[self.received..];
        if !owed.starts_with(bytes) {
            let at = bytes.iter().zip(owed).take_while(|(got, owed)| got == owed).count();
            let (got, owed) = (excerpt(&bytes[at..]), excerpt(&owed[at..]));
            bail!("wrong answer: \"{got}\" where \"{owed}\" was owed");
        }
        self.received += bytes.len();
        Ok(())
    }

    fn send_on(&mut self) -> Result<()> {
        // Never waits: the server may be waiting for us to read.
        while self.sent < self.request.len() {
            match send(&self.stream, &self.request[self.sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error).context("cannot send a line"),
            }
        }
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        let mut either = [PollFd::new(&self.stream, PollFlags::IN | PollFlags::OUT)];
        let limit = Timespec::try_from(PATIENCE).ok();
        match poll(&mut either, limit.as_ref()) {
            Ok(0) => bail!("nothing could be sent or read within {PATIENCE:?}"),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("cannot wait for the connection"),
        }
    }
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(12)]).escape_debug().to_string()
}
