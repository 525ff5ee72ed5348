//! Many connections: all at once, or for a long time.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockRef, Socket, Type};
use tcp_pitfalls::lab::kernel::descriptors;
use tcp_pitfalls::lab::wait::wait_until;

use crate::contestants::{Contestant, Running};
use crate::cost::{self, Meter};
use crate::results::{Burst, Idle, Starved, Survival, millis};
use crate::talk::{Conversation, PATIENCE, text};

/// How many clients come at once.
pub const BURST: usize = 1000;
/// How many connections are kept open.
pub const IDLE: usize = 10_000;

/// More clients than a process can have threads.
pub const CROWD: usize = 19_900;
/// How many descriptors a server gets that is to run out of them.
pub const FEW: usize = 256;

/// All clients connect in the same moment, then each sends a line.
pub fn burst(addr: SocketAddr, prefix: &str) -> Result<Burst> {
    let began = Instant::now();
    let mut connecting = Vec::new();
    for _ in 0..BURST {
        connecting.push(begin_to_connect(addr)?);
    }
    let mut connected = Vec::new();
    let mut last = Duration::ZERO;
    while !connecting.is_empty() && began.elapsed() < PATIENCE {
        let mut polled: Vec<_> = connecting.iter().map(|socket| PollFd::new(socket, PollFlags::OUT)).collect();
        poll(&mut polled, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }))?;
        let ready: Vec<bool> = polled.iter().map(|one| !one.revents().is_empty()).collect();
        let (done, waiting): (Vec<_>, Vec<_>) = connecting.into_iter().zip(ready).partition(|(_, ready)| *ready);
        connecting = waiting.into_iter().map(|(socket, _)| socket).collect();
        for (socket, _) in done {
            if socket.take_error()?.is_none() {
                last = began.elapsed();
                connected.push(socket);
            }
        }
    }
    // A client can be connected although the server's queue was full: then its line is what gets lost.
    let mut conversations = Vec::new();
    for (number, socket) in connected.into_iter().enumerate() {
        socket.set_nonblocking(false)?;
        let mut conversation = Conversation::new(socket.into(), &[text(number, 0, 31)], prefix)?;
        if conversation.begin().is_ok() {
            conversations.push(conversation);
        }
    }
    let mut scratch = [0; 4096];
    let answered = conversations.iter_mut().filter_map(|one| one.finish(&mut scratch).ok()).count();
    Ok(Burst { lost: BURST - answered, last_connected_ms: millis(last), last_answered_ms: millis(began.elapsed()) })
}

/// Clients connect and say nothing, then each says one line and is silent again.
pub fn idle(server: &Running, prefix: &str) -> Result<Idle> {
    let pid = server.process.id();
    let mut scratch = [0; 4096];
    // One first, so that what the server sets up once isn't counted.
    say(std::slice::from_mut(&mut connect(server.addr, 0, prefix)?), &mut scratch)?;
    let before = cost::resident(pid)?;
    let began = Instant::now();
    let mut conversations = (0..IDLE).map(|number| connect(server.addr, number, prefix)).collect::<Result<Vec<_>>>()?;
    // Connections are accepted in order, so an answer to the last means that all have been.
    say(&mut conversations[IDLE - 1..], &mut scratch)?;
    let accepted = began.elapsed();
    let silent = cost::resident(pid)?;
    say(&mut conversations, &mut scratch)?;
    let after_a_line = cost::resident(pid)?;
    let each = |now: u64| now.saturating_sub(before) / IDLE as u64;
    Ok(Idle { accepted_ms: millis(accepted), silent_bytes: each(silent), after_a_line_bytes: each(after_a_line) })
}

/// More clients than there can be threads. Does the server outlive them, and go on when they have left?
pub fn survive(server: &mut Running, prefix: &str) -> Result<Survival> {
    let mut scratch = [0; 4096];
    let mut first = connect(server.addr, 0, prefix)?;
    say(std::slice::from_mut(&mut first), &mut scratch)?;
    let crowd = (1..CROWD).map(|_| begin_to_connect(server.addr)).collect::<Result<Vec<_>>>()?;
    // The server takes as many as it will; then nothing changes any more.
    let (mut connected, mut steady) = (0, 0);
    while steady < 4 && server.process.exited().is_none() {
        thread::sleep(Duration::from_millis(500));
        let now = crowd.iter().filter(|socket| socket.peer_addr().is_ok()).count();
        (connected, steady) = (now, if now == connected { steady + 1 } else { 0 });
    }
    let first_is_served = say(std::slice::from_mut(&mut first), &mut scratch).is_ok();
    drop(crowd);
    let mut next = connect(server.addr, 1, prefix);
    let next_is_served = next.as_mut().is_ok_and(|next| say(std::slice::from_mut(next), &mut scratch).is_ok());
    Ok(Survival { connected: connected + 1, first_is_served, next_is_served })
}

/// More clients than the server has descriptors for. What does it cost to have none left?
pub fn starve(contestant: &Contestant) -> Result<Starved> {
    let limited = format!("ulimit -n {FEW} && exec \"$0\" \"$@\"");
    let mut server = contestant.start_under(&["sh".into(), "-c".into(), limited])?;
    let crowd = (0..2 * FEW).map(|_| begin_to_connect(server.addr)).collect::<Result<Vec<_>>>()?;
    let full = wait_until(PATIENCE, || {
        let open = descriptors(server.process.id())?;
        (open + 1 >= FEW || server.process.exited().is_some()).then_some(())
    });
    full.context("the server doesn't use up its descriptors")?;
    let meter = Meter::start(server.process.id())?;
    thread::sleep(Duration::from_secs(2));
    let used = meter.used()?.server;
    drop(crowd);
    let mut scratch = [0; 4096];
    let mut next = connect(server.addr, 0, contestant.prefix);
    let next_is_served = next.as_mut().is_ok_and(|next| say(std::slice::from_mut(next), &mut scratch).is_ok());
    Ok(Starved { processor_percent: used.as_secs_f64() / 2.0 * 100.0, next_is_served })
}

fn begin_to_connect(addr: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).context("cannot make one more socket")?;
    socket.set_nonblocking(true)?;
    // It ends with a reset, so that its port isn't left in TIME_WAIT.
    socket.set_linger(Some(Duration::ZERO))?;
    // It says that it is in progress; how it went is asked later.
    let _ = socket.connect(&addr.into());
    Ok(socket)
}

fn connect(addr: SocketAddr, number: usize, prefix: &str) -> Result<Conversation> {
    let stream = TcpStream::connect(addr).with_context(|| format!("cannot open connection {number}"))?;
    // It will end with a reset, so that ten thousand ports aren't left in TIME_WAIT.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Conversation::new(stream, &[text(number, 0, 31)], prefix)
}

fn say(conversations: &mut [Conversation], scratch: &mut [u8]) -> Result<()> {
    conversations.iter_mut().try_for_each(Conversation::begin)?;
    let answered = conversations.iter_mut().filter_map(|one| one.finish(scratch).ok()).count();
    ensure!(answered == conversations.len(), "{answered} of {} clients got their answer", conversations.len());
    Ok(())
}
