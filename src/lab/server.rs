//! The server under examination: at an address, started by a command, or run in this process.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::client::Client;
use super::port::{self, Port};
use super::process::Process;
use super::recording::{Action, Payload, Recorder};
use super::wait::wait_until;

/// How long anything that a server owes may take.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The name of a thread that serves a connection in this process. What it panics is part of the demonstration.
pub const CONNECTION_THREAD: &str = "connection";

/// A function that serves one connection.
pub type Handler = dyn Fn(&Connection<'_>) -> io::Result<()> + Send + Sync;

/// How a server to examine is reached.
#[derive(Clone)]
pub enum Target {
    /// It is running already.
    Address(SocketAddr),
    /// It is started by this command, with `{addr}`, or `{host}` and `{port}`, where the address belongs.
    Command(Vec<String>),
    /// It runs in this process: a function that serves one connection.
    InProcess(Arc<Handler>),
}

/// A server that has been started, or was running.
pub struct Running {
    addr: SocketAddr,
    process: Option<Process>,
    recorder: Recorder,
    in_process: Option<InProcess>,
    /// Kept from others as long as this server is examined.
    _port: Option<Port>,
}

impl Target {
    /// Makes a target of a function that serves one connection in this process.
    pub fn in_process(serve: impl Fn(&Connection<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Target::InProcess(Arc::new(serve))
    }

    /// A server that is started by this command.
    ///
    /// # Errors
    /// A sentence, if the command does not say where the server's address belongs.
    pub fn command(arguments: &[String]) -> Result<Self> {
        let has = |placeholder| arguments.iter().any(|argument| argument.contains(placeholder));
        if has("{addr}") || has("{port}") {
            return Ok(Target::Command(arguments.to_vec()));
        }
        bail!(
            "the command does not say where the server's address belongs. Write {{addr}} there, or {{host}} and {{port}}"
        )
    }

    /// Whether the whole address can be put into the command, so that its spelling can be examined.
    pub fn takes_any_address(&self) -> bool {
        matches!(self, Target::Command(arguments) if arguments.iter().any(|argument| argument.contains("{addr}")))
    }

    /// Starts the server on a port of its own.
    ///
    /// # Errors
    /// A sentence, if there is nothing to start: no such program, or no thread.
    pub fn start(&self, recorder: &Recorder, descriptors: Option<usize>) -> Result<Running> {
        let recorder = recorder.clone();
        match self {
            Target::Address(addr) => {
                Ok(Running { addr: *addr, process: None, recorder, in_process: None, _port: None })
            }
            Target::InProcess(serve) => {
                let in_process = InProcess::start(Arc::clone(serve), &recorder)
                    .context("cannot start the server in this process")?;
                Ok(Running {
                    addr: in_process.addr,
                    process: None,
                    recorder,
                    in_process: Some(in_process),
                    _port: None,
                })
            }
            Target::Command(_) => {
                let port = port::draw()?;
                let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number));
                let running = self.start_at(&addr.to_string(), addr, &recorder, descriptors)?;
                Ok(Running { _port: Some(port), ..running })
            }
        }
    }

    /// Starts the command with its address spelled like this. `addr` is where it is to be reached.
    ///
    /// # Errors
    /// A sentence, if this is not a command, or there is no such program.
    pub fn start_at(
        &self,
        spelling: &str,
        addr: SocketAddr,
        recorder: &Recorder,
        descriptors: Option<usize>,
    ) -> Result<Running> {
        let Target::Command(arguments) = self else {
            bail!("the server can't be started anew, since there is no command for it");
        };
        let (host, port) = (addr.ip().to_string(), addr.port().to_string());
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| argument.replace("{addr}", spelling).replace("{host}", &host).replace("{port}", &port))
            .collect();
        let process = Process::start(&arguments, descriptors).map_err(|error| {
            let program = arguments.first().map_or("", String::as_str);
            anyhow!("cannot start \"{program}\": {error}. Check the command")
        })?;
        recorder.note("server", format!("is started for {spelling}"));
        Ok(Running { addr, process: Some(process), recorder: recorder.clone(), in_process: None, _port: None })
    }
}

impl Running {
    /// Where it is to be reached.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The process, if it was started by a command.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// The process's number, if it was started by a command.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Connects a client. While the server refuses, tries again, at most for 10 s: it may still be starting.
    ///
    /// # Errors
    /// A sentence that says why nobody could connect.
    pub fn connect(&mut self, name: &str) -> Result<Client> {
        self.connect_with(name, &self.recorder.clone(), None)
    }

    /// Connects a client that writes to another recording, or has a small receive buffer.
    ///
    /// # Errors
    /// A sentence that says why nobody could connect.
    pub fn connect_with(&mut self, name: &str, recorder: &Recorder, receive_buffer: Option<usize>) -> Result<Client> {
        let addr = self.addr;
        let attempt = wait_until(LIMIT, || {
            match Client::connect_with(addr, name, recorder, LIMIT, receive_buffer) {
                Ok(client) => Some(Ok(client)),
                // Nobody is there yet, unless the process has ended: then nobody will be.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    let gone = self.process.as_mut().is_some_and(|process| process.exited().is_some());
                    (gone || self.process.is_none()).then_some(Err(error))
                }
                Err(error) => Some(Err(error)),
            }
        });
        let error = match attempt {
            Some(Ok(client)) => return Ok(client),
            Some(Err(error)) => error.to_string(),
            None => format!("refused for {} s", LIMIT.as_secs()),
        };
        recorder.record(name, Action::CannotConnect { why: error.clone() });
        Err(match self.obituary() {
            Some(obituary) => anyhow!("{name} could not connect: {obituary}"),
            None => anyhow!("{name} could not connect to {addr}: {error}"),
        })
    }

    /// How the process ended and what it said last, if it was started here and has ended.
    ///
    /// Its connections may be gone a moment before it is, so this waits for half a second.
    pub fn obituary(&mut self) -> Option<String> {
        let process = self.process.as_mut()?;
        let status = process.exits_within(Duration::from_millis(500))?;
        let output = process.last_output();
        // A panic's second line is its message; `note: run with …` is none, nor is the version that Node.js ends with.
        let tells = |line: &&str| !line.is_empty() && !line.starts_with("note: ") && !line.starts_with("Node.js v");
        let last = output.lines().filter(|_| !status.success()).map(str::trim).rfind(tells);
        let said = last.map_or(String::new(), |line| format!("; its last words: {}", shorten(line, 240)));
        let text = format!("the server's process has ended with {status}{said}");
        self.recorder.note("server", format!("has ended with {status}"));
        Some(text)
    }

    /// How many connections the server in this process has served to their end.
    pub fn served(&self) -> usize {
        self.in_process.as_ref().map_or(0, InProcess::served)
    }
}

/// Text of at most `width` characters.
fn shorten(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// One connection of a server that runs in this process. What its handler reads and writes is recorded.
pub struct Connection<'a> {
    /// The connection itself.
    pub stream: &'a TcpStream,
    recorder: &'a Recorder,
}

impl<'a> Connection<'a> {
    /// The connection, each `read` and `write` recorded.
    pub fn recorded(&self) -> Recorded<&'a TcpStream> {
        Recorded { inner: self.stream, recorder: self.recorder.clone() }
    }

    /// Writes down something that the server does.
    pub fn note(&self, text: &str) {
        self.recorder.note("server", text);
    }

    /// A writer of the handler's own, each `write` recorded.
    pub fn recording<W>(&self, inner: W) -> Recorded<W> {
        Recorded { inner, recorder: self.recorder.clone() }
    }
}

/// A stream whose calls are written down as the server's.
pub struct Recorded<S> {
    inner: S,
    recorder: Recorder,
}

impl<S: Read> Read for Recorded<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.inner.read(buffer);
        self.recorder.record(
            "server",
            match &result {
                Ok(0) => Action::ReadEnd,
                Ok(count) => Action::Read(Payload::new(&buffer[..*count])),
                Err(error) => Action::Failed { call: "read", error: error.to_string() },
            },
        );
        result
    }
}

impl<S: Write> Write for Recorded<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let began = Instant::now();
        let result = self.inner.write(bytes);
        let what = match &result {
            Ok(count) => Action::Wrote { given: bytes.len(), taken: Payload::new(&bytes[..*count]) },
            Err(error) => Action::Failed { call: "write", error: error.to_string() },
        };
        self.recorder.record_since(began, "server", what);
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A server in this process, with a thread for each connection.
struct InProcess {
    addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    served: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
}

impl InProcess {
    fn start(serve: Arc<Handler>, recorder: &Recorder) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        let (accepted, served) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let stopping = Arc::new(AtomicBool::new(false));
        let this = InProcess {
            addr,
            accepted: Arc::clone(&accepted),
            served: Arc::clone(&served),
            stopping: Arc::clone(&stopping),
        };
        let recorder = recorder.clone();
        thread::Builder::new().name("server".into()).spawn(move || {
            while let Ok((stream, _peer)) = listener.accept() {
                if stopping.load(SeqCst) {
                    return;
                }
                accepted.fetch_add(1, SeqCst);
                let (serve, served, recorder) = (Arc::clone(&serve), Arc::clone(&served), recorder.clone());
                let handling = thread::Builder::new().name(CONNECTION_THREAD.into()).spawn(move || {
                    let connection = Connection { stream: &stream, recorder: &recorder };
                    match panic::catch_unwind(AssertUnwindSafe(|| serve(&connection))) {
                        Ok(Ok(())) => recorder.note("server", "is done with the connection"),
                        Ok(Err(error)) => recorder.note("server", format!("gives up the connection: {error}")),
                        Err(_) => recorder.note("server", "panics: the thread of this connection unwinds"),
                    }
                    drop(stream);
                    served.fetch_add(1, SeqCst);
                });
                drop(handling);
            }
        })?;
        Ok(this)
    }

    fn served(&self) -> usize {
        self.served.load(SeqCst)
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.stopping.store(true, SeqCst);
        // Wakes the blocked accept; if it fails, nothing is blocked.
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
        // Its clients have gone, so its threads are about to end. What they still do belongs to the recording.
        wait_until(Duration::from_secs(1), || (self.served() == self.accepted.load(SeqCst)).then_some(()));
    }
}
