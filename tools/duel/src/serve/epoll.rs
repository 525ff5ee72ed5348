//! One thread for all connections, told by epoll which of them are ready.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};

use anyhow::Result;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use tcp_pitfalls::chapter_01::announce::announce;
use tcp_pitfalls::chapter_01::listen::listen;

const LISTENER: Token = Token(usize::MAX);
/// How much is read at once, and how much may be owed to a client before no more is read from it.
const CHUNK: usize = 64 * 1024;

/// Runs the server.
pub fn run(addr: &str) -> Result<()> {
    let listener = listen(addr)?;
    announce(&listener)?;
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections = HashMap::new();
    let mut next = 0;
    let mut chunk = vec![0; CHUNK];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                // An event is told once, so take all there are.
                while let Ok((mut stream, _peer)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let token = Token(next);
                    next += 1;
                    poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                    connections.insert(token, Connection::new(stream));
                }
            } else if let Some(connection) = connections.get_mut(&event.token()) {
                // Dropping the stream closes it, and epoll forgets it.
                if !connection.go_on(&mut chunk).unwrap_or(false) {
                    connections.remove(&event.token());
                }
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// The beginning of a line.
    partial: Vec<u8>,
    /// What is still to be written.
    answers: Vec<u8>,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Connection { stream, partial: Vec::new(), answers: Vec::new() }
    }

    /// Reads and writes until neither is possible any more. False if the client has ended its side.
    fn go_on(&mut self, chunk: &mut [u8]) -> io::Result<bool> {
        loop {
            while !self.answers.is_empty() {
                match self.stream.write(&self.answers) {
                    Ok(count) => drop(self.answers.drain(..count)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                    Err(error) => return Err(error),
                }
            }
            match self.stream.read(chunk) {
                Ok(0) => return Ok(false),
                Ok(count) => self.answer(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    fn answer(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            if piece.ends_with(b"\n") {
                self.answers.extend_from_slice(b"echo: ");
                self.answers.append(&mut self.partial);
                self.answers.extend_from_slice(piece);
            } else {
                self.partial.extend_from_slice(piece);
            }
        }
    }
}
