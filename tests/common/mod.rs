//! What the tests share: scripted streams, and step servers as child processes.

// Each test file is a program of its own and uses a part of this.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use tcp_pitfalls::lab::process::Process;
use tcp_pitfalls::lab::wait::wait_until;

/// How long anything that must come may take. It comes at once, unless the machine is broken.
pub const LIMIT: Duration = Duration::from_secs(10);

/// What one `read` of a scripted stream returns.
#[derive(Clone, Debug)]
pub enum Step {
    Bytes(Vec<u8>),
    Fails(ErrorKind),
}

/// A reader that returns what its script says, and at the end of the script the end of the stream.
pub struct Script(VecDeque<Step>);

impl Script {
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Script(steps.into_iter().collect())
    }

    /// These bytes, at most `size` a read.
    pub fn in_pieces(bytes: &[u8], size: usize) -> Self {
        Script::new(bytes.chunks(size).map(|piece| Step::Bytes(piece.to_vec())))
    }

    /// These bytes one by one, and before each read an interruption.
    pub fn interrupted(bytes: &[u8]) -> Self {
        let step = |&byte| [Step::Fails(ErrorKind::Interrupted), Step::Bytes(vec![byte])];
        Script::new(bytes.iter().flat_map(step))
    }

    /// These bytes in one read, then an error, then the end: as a connection that was reset.
    pub fn reset_after(bytes: &[u8]) -> Self {
        let bytes = (!bytes.is_empty()).then(|| Step::Bytes(bytes.to_vec()));
        Script::new(bytes.into_iter().chain([Step::Fails(ErrorKind::ConnectionReset)]))
    }
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.pop_front() {
            None => Ok(0),
            Some(Step::Fails(kind)) => Err(kind.into()),
            Some(Step::Bytes(bytes)) => {
                let count = bytes.len().min(buffer.len());
                buffer[..count].copy_from_slice(&bytes[..count]);
                if count < bytes.len() {
                    self.0.push_front(Step::Bytes(bytes[count..].to_vec()));
                }
                Ok(count)
            }
        }
    }
}

/// A writer that takes at most `most` bytes a call, is interrupted before each, and keeps what it was given.
#[derive(Default)]
pub struct Sink {
    pub bytes: Vec<u8>,
    pub writes: Vec<usize>,
    pub most: Option<usize>,
    pub interrupts: bool,
    pub interrupted: bool,
}

impl Sink {
    pub fn short(most: usize) -> Self {
        Sink { most: Some(most), interrupts: true, ..Sink::default() }
    }
}

impl Write for &mut Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.interrupts && !self.interrupted {
            self.interrupted = true;
            return Err(ErrorKind::Interrupted.into());
        }
        self.interrupted = false;
        let count = bytes.len().min(self.most.unwrap_or(usize::MAX));
        self.bytes.extend_from_slice(&bytes[..count]);
        self.writes.push(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A chapter's program, serving on a port of its own. Ended when dropped.
pub struct Server {
    pub addr: SocketAddr,
    process: Process,
}

impl Server {
    /// Starts `program serve 127.0.0.1:0` with these options, and waits until it listens.
    #[track_caller]
    pub fn start(program: &str, options: &[&str]) -> Self {
        let arguments: Vec<String> =
            [program, "serve", "127.0.0.1:0"].iter().chain(options).map(|&argument| argument.to_owned()).collect();
        let process = Process::start(&arguments, None).expect("the chapter's program starts");
        let addr = || {
            let output = process.output();
            let (line, _) = output.split_once("listening on ")?.1.split_once('\n')?;
            line.parse().ok()
        };
        let addr = wait_until(LIMIT, addr).expect("the program says where it listens");
        Server { addr, process }
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    #[track_caller]
    pub fn connect(&self) -> Peer {
        Peer::connect(self.addr)
    }

    /// How it ended, and the last of what it said.
    #[track_caller]
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let status = self.process.exits_within(LIMIT).expect("the server ends");
        (status, self.process.last_output())
    }

    /// Sends SIGTERM or SIGINT.
    #[cfg(unix)]
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.id()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }
}

/// A client whose every wait has a limit.
pub struct Peer {
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Peer {
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&addr, LIMIT).expect("the server accepts connections");
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Peer { stream, reader }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the connection takes bytes");
    }

    /// The next line, without its end.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("an answer comes");
        line.strip_suffix('\n').expect("the answer is a whole line").to_owned()
    }

    #[track_caller]
    pub fn ask(&mut self, line: &str) {
        self.send(format!("{line}\n"));
        assert_eq!(self.line(), format!("echo: {line}"));
    }

    #[track_caller]
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).expect("the connection ends, and isn't reset");
        assert_eq!(String::from_utf8_lossy(&rest), "", "nothing comes before the end");
    }

    /// Whether nothing has come, not even the end. Does not wait.
    pub fn has_nothing(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        self.reader.buffer().is_empty() && peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// Runs a program to its end.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}
