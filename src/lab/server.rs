//! The server under examination: at an address, started by a command, or run in this process.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::client::Client;
use super::kernel;
use super::lack::{self, Lack};
use super::port::{self, Port};
use super::process::Process;
use super::recording::{Action, Payload, Recorder};
use super::signal::Signal;
use super::tree::Tree;
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
    /// It is started by a command.
    Command(Launch),
    /// It runs in this process: a function that serves one connection.
    InProcess(Arc<Handler>),
}

/// How a server is started and stopped.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program and its arguments, with `{addr}`, or `{host}` and `{port}`, where the address belongs.
    pub command: Vec<String>,
    /// How long it may take until it listens. 10 s.
    pub start: Duration,
    /// The signal that stops it. SIGTERM.
    pub stop: Signal,
    /// How long it is given to stop by that signal before it is killed after an examination. By default it is killed at
    /// once. For servers with state.
    pub moment_to_stop: Option<Duration>,
}

impl Launch {
    /// The command that somebody has given.
    ///
    /// # Errors
    /// A sentence, if it does not say where the server's address belongs.
    pub fn new(command: &[String]) -> Result<Self> {
        let launch = Launch::from(command.to_vec());
        if launch.has("{addr}") || launch.has("{port}") {
            return Ok(launch);
        }
        let braced = |word: &&String| word.contains('{') && word.contains('}');
        let but = match command.iter().find(braced) {
            Some(_) if launch.has("{host}") => ", only its host".into(),
            Some(word) => format!(": it has \"{word}\""),
            None => String::new(),
        };
        bail!(
            "the command does not say where the server's address belongs{but}. Write {{addr}} there, or {{host}} and {{port}}"
        )
    }

    fn has(&self, placeholder: &str) -> bool {
        self.command.iter().any(|argument| argument.contains(placeholder))
    }
}

impl From<Vec<String>> for Launch {
    fn from(command: Vec<String>) -> Self {
        Launch { command, start: LIMIT, stop: Signal::default(), moment_to_stop: None }
    }
}

/// A server that has been started, or was running.
pub struct Running {
    addr: SocketAddr,
    /// By which the process can be ended from outside. Stands before it, to be dropped while the number is its own.
    _leash: Option<Arc<u32>>,
    process: Option<Process>,
    recorder: Recorder,
    in_process: Option<InProcess>,
    /// How long a server that refuses is waited for: as long as it may take to start, until it has been reached once.
    patience: Duration,
    reached: bool,
    /// Kept from others as long as this server is examined.
    _port: Option<Port>,
}

impl Target {
    /// Makes a target of a function that serves one connection in this process.
    pub fn in_process(serve: impl Fn(&Connection<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Target::InProcess(Arc::new(serve))
    }

    /// A server that is started by this command, see `Launch::new`.
    pub fn command(arguments: &[String]) -> Result<Self> {
        Launch::new(arguments).map(Target::Command)
    }

    /// Expects that the whole address can be put into the command, so that its spelling can be examined.
    ///
    /// # Errors
    /// A sentence that says what the command has instead.
    pub fn takes_any_address(&self) -> Result<()> {
        let Target::Command(launch) = self else { bail!("there is no command in which the address could be spelled") };
        let has = match (launch.has("{addr}"), launch.has("{host}")) {
            (true, _) => return Ok(()),
            (false, true) => "{host} and {port}",
            (false, false) => "only {port}",
        };
        bail!("the command has {has}, so the address can't be spelled otherwise")
    }

    /// How long the server may take to start.
    pub fn patience(&self) -> Duration {
        match self {
            Target::Command(launch) => launch.start,
            Target::Address(_) | Target::InProcess(_) => LIMIT,
        }
    }

    /// Starts the server on a port of its own.
    ///
    /// # Errors
    /// A sentence, if there is nothing to start: no such program, or a `Lack` of this machine.
    pub fn start(&self, recorder: &Recorder, descriptors: Option<usize>) -> Result<Running> {
        let recorder = recorder.clone();
        match self {
            Target::Address(addr) => Ok(Running::new(*addr, recorder)),
            Target::InProcess(serve) => {
                let in_process = InProcess::start(Arc::clone(serve), &recorder)
                    .context("cannot start the server in this process")?;
                let addr = in_process.addr;
                Ok(Running { in_process: Some(in_process), ..Running::new(addr, recorder) })
            }
            Target::Command(_) => {
                let port = port::draw()?;
                let addr = port.addr();
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
        let Target::Command(launch) = self else {
            bail!("the server can't be started anew, since there is no command for it");
        };
        if recorder.leash().is_pulled() {
            bail!("the time for this is over");
        }
        let (host, port) = (addr.ip().to_string(), addr.port().to_string());
        let arguments: Vec<String> = launch
            .command
            .iter()
            .map(|argument| argument.replace("{addr}", spelling).replace("{host}", &host).replace("{port}", &port))
            .collect();
        let process = Process::start(&arguments, descriptors).map_err(|error| {
            if Lack::of(&error).is_some() {
                return error.into();
            }
            let program = arguments.first().map_or("", String::as_str);
            anyhow!("cannot start \"{program}\": {error}. Check the command")
        })?;
        let process = process.stopped_by(launch.stop, launch.moment_to_stop).heard_by(recorder);
        recorder.note("server", format!("is started for {spelling}"));
        recorder.number_by_chance(port, "a port is drawn for each run");
        if let Some(watch) = recorder.watch() {
            watch.server(addr, Some(process.id()));
        }
        let leash = recorder.leash().program(process.id());
        let running = Running::new(addr, recorder.clone());
        Ok(Running { _leash: Some(leash), process: Some(process), patience: launch.start, ..running })
    }
}

impl Running {
    /// One that is running already.
    fn new(addr: SocketAddr, recorder: Recorder) -> Self {
        Running {
            addr,
            _leash: None,
            process: None,
            recorder,
            in_process: None,
            patience: LIMIT,
            reached: false,
            _port: None,
        }
    }

    /// Where it is to be reached.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether anybody has been able to connect since it was started.
    pub fn was_reached(&self) -> bool {
        self.reached
    }

    /// The process, if it was started by a command.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// The processes of it, if it was started by a command and this system shows them.
    pub fn tree(&self) -> Option<Tree> {
        self.process.as_ref()?.tree().ok()
    }

    /// The process's number, if it was started by a command.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Waits for the end of the process, at once in vain if it was not started here.
    pub fn exits_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.process()?.exits_within(limit)
    }

    /// Connects a client. While the server refuses, tries again, at most for 10 s, or for as long as it may take to start.
    ///
    /// # Errors
    /// A sentence that says why nobody could connect. It is a `Lack`, if that isn't the server's fault.
    pub fn connect(&mut self, name: &str) -> Result<Client> {
        self.connect_with(name, &self.recorder.clone(), None)
    }

    /// Connects a client that writes to another recording, or has a small receive buffer.
    ///
    /// # Errors
    /// A sentence that says why nobody could connect. It is a `Lack`, if that isn't the server's fault.
    pub fn connect_with(&mut self, name: &str, recorder: &Recorder, receive_buffer: Option<usize>) -> Result<Client> {
        let addr = self.addr;
        let patience = if self.reached { LIMIT } else { self.patience };
        let attempt = wait_until(patience, || {
            let attempt = Client::connect_with(addr, name, recorder, LIMIT, receive_buffer);
            let is_refused = attempt.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
            // Nobody is there yet, unless the process has ended: then nobody will be.
            let is_early = is_refused && self.process.as_mut().is_some_and(|process| process.exited().is_none());
            (!is_early).then_some(attempt)
        });
        let (error, whereabouts) = match attempt {
            Some(Ok(client)) => {
                self.reached = true;
                return Ok(client);
            }
            Some(Err(error)) => {
                if let Some(lack) = Lack::of(&error) {
                    recorder.record(name, Action::CannotConnect { why: lack.to_string() });
                    return Err(lack.clone().into());
                }
                let is_full = error.kind() == ErrorKind::TimedOut && self.process.is_some();
                let why = if is_full { ". It listens there, but doesn't accept, and its queue is full" } else { "" };
                (error.to_string(), why.into())
            }
            None => (format!("refused for {} s", patience.as_secs_f32()), self.whereabouts()),
        };
        recorder.record(name, Action::CannotConnect { why: error.clone() });
        Err(match self.obituary() {
            Some(obituary) => anyhow!("{name} could not connect: {obituary}"),
            None => anyhow!("{name} could not connect to {addr}: {error}{whereabouts}"),
        })
    }

    /// Does something while its process is halted, so that whatever comes waits in the kernel. `None` where there is no
    /// process to halt, or the system can't.
    pub fn while_halted<T>(&mut self, something: impl FnOnce() -> T) -> Option<T> {
        self.process.as_ref()?.halt().ok()?;
        let value = something();
        // An error means that the process has ended, which the next client sees.
        let _ = self.process.as_ref()?.go_on();
        Some(value)
    }

    /// What the kernel shows of a process that runs and is not where it is looked for, as the end of a sentence.
    fn whereabouts(&self) -> String {
        if self.process.is_none() {
            return String::new();
        }
        let longer = if self.reached { "" } else { ", or give it longer to start: --start SECONDS" };
        let pids = |tree: Tree| kernel::listening(tree.processes().map(|process| process.pid));
        let Some(listeners) = self.tree().and_then(pids) else {
            return format!(". Its process runs. Check the command{longer}");
        };
        if listeners.is_empty() {
            return format!(". Its process runs and listens nowhere. Check the command{longer}");
        }
        let refused = |error: &io::Error| error.kind() == ErrorKind::ConnectionRefused;
        if !TcpStream::connect_timeout(&self.addr, Duration::from_secs(1)).as_ref().is_err_and(refused) {
            let longer = if self.reached { "" } else { ". Give it longer to start: --start SECONDS" };
            return format!(", though its process runs and listens there by now{longer}");
        }
        // Two processes, or two listeners that share a port, may be in the same place.
        let places: BTreeSet<String> = listeners.iter().map(SocketAddr::to_string).collect();
        let places = places.into_iter().collect::<Vec<_>>().join(" and ");
        format!(". Its process runs and listens on {places}, not on {}", self.addr)
    }

    /// How the process ended and what it said last, if it was started here and has ended.
    ///
    /// Its connections may be gone a moment before it is, so this waits for half a second.
    pub fn obituary(&mut self) -> Option<String> {
        let process = self.process.as_mut()?;
        let status = process.exits_within(Duration::from_millis(500))?;
        let output = process.last_output();
        let last = if status.success() { None } else { last_words(&output, self.addr.port()) };
        let more = last.and_then(|_| place_in_source(&output).or_else(|| cause(&output)));
        let more = more.map_or(String::new(), |more| format!(" ({more})"));
        let said = last.map_or(String::new(), |line| format!("; its last words: {}{more}", shorten(line, 240)));
        let text = format!("the server's process has ended with {status}{said}");
        self.recorder.note("server", format!("has ended with {status}"));
        Some(text)
    }

    /// The process that listens, if the one that was started has ended as if all were well and left it behind. It may take a
    /// moment until it listens.
    pub fn went_to_background(&mut self) -> Option<u32> {
        let addr = self.addr;
        let process = self.process.as_mut()?;
        process.exited().filter(ExitStatus::success)?;
        let found = wait_until(Duration::from_secs(2), || {
            let pids: Vec<u32> = process.tree().ok()?.processes().map(|member| member.pid).collect();
            let listens = pids.iter().copied().find(|&pid| kernel::listens(pid, addr) == Some(true));
            (listens.is_some() || pids.is_empty()).then_some(listens)
        });
        found.flatten()
    }

    /// How many connections the server in this process has served to their end.
    pub fn served(&self) -> usize {
        self.in_process.as_ref().map_or(0, InProcess::served)
    }
}

/// The line of a program's output that says best why it ended: the one that tells of an address that it could not have,
/// and rather one that names the port, else the last that is a message.
fn last_words(output: &str, port: u16) -> Option<&str> {
    // Below this line of Go everything is a trace.
    let trace = output.find("\ngoroutine ").unwrap_or(output.len());
    let messages = || output[..trace].lines().filter(|line| is_message(line));
    let port = port.to_string();
    let reason = |line: &&str| {
        let words = line.to_lowercase();
        let tells = ["in use", "addrinuse", "eaddr"].iter().any(|reason| words.contains(reason));
        tells.then(|| line.contains(&port))
    };
    let best = messages().filter(|line| reason(line).is_some()).max_by_key(reason);
    best.or_else(|| messages().next_back())
        .or_else(|| output.lines().rfind(|line| !line.trim().is_empty()))
        .map(str::trim)
}

/// Where Python says that it went wrong: the last line of the trace that names a file, as `File "server.py", line 7`.
fn place_in_source(output: &str) -> Option<&str> {
    output.lines().map(str::trim).rfind(|line| line.starts_with("File \"") && line.contains("\", line "))
}

/// What Rust's `anyhow` names last, below the error itself: the cause of all.
fn cause(output: &str) -> Option<&str> {
    let (_, causes) = output.split_once("\nCaused by:\n")?;
    let last = causes.lines().map(str::trim).take_while(|line| !line.is_empty()).last()?;
    // Several are numbered.
    let number = last.split_once(": ").filter(|(number, _)| number.parse::<u8>().is_ok());
    Some(number.map_or(last, |(_, cause)| cause))
}

/// Whether a line is a message, and not a part of a stack trace as Python, Java, Node.js, Go, Ruby, .NET, Rust and Erlang print it.
fn is_message(line: &str) -> bool {
    // All of them indent the trace. Its headings end with a colon, and some have a hint at the end.
    let heading = line.trim_end().ends_with(':');
    let hint = ["note: ", "Node.js v", "exit status ", "Crash dump is "].iter().any(|hint| line.starts_with(hint));
    let indented = line.starts_with(char::is_whitespace);
    !indented && !heading && !hint && line.contains(char::is_alphabetic)
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
        self.recording(self.stream)
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
                Err(error) => Action::Failed { call: "read".into(), error: error.to_string() },
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
            Err(error) => Action::Failed { call: "write".into(), error: error.to_string() },
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
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    accepted: AtomicUsize,
    served: AtomicUsize,
    stopping: AtomicBool,
}

impl InProcess {
    fn start(serve: Arc<Handler>, recorder: &Recorder) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Lack::binding)?;
        let addr = listener.local_addr()?;
        if let Some(watch) = recorder.watch() {
            watch.server(addr, None);
        }
        let state = Arc::<State>::default();
        let this = InProcess { addr, state: Arc::clone(&state) };
        let recorder = recorder.clone();
        let accepting = lack::spawn(move || {
            recorder.watch().inspect(|watch| watch.this_thread());
            while let Ok((stream, _peer)) = listener.accept() {
                if state.stopping.load(SeqCst) {
                    return;
                }
                let number = state.accepted.fetch_add(1, SeqCst) + 1;
                let (serve, state_too, told) = (Arc::clone(&serve), Arc::clone(&state), recorder.of_connection(number));
                let handling = thread::Builder::new().name(CONNECTION_THREAD.into()).spawn(move || {
                    told.watch().inspect(|watch| watch.this_thread());
                    let connection = Connection { stream: &stream, recorder: &told };
                    match panic::catch_unwind(AssertUnwindSafe(|| serve(&connection))) {
                        Ok(Ok(())) => told.note("server", "is done with the connection"),
                        Ok(Err(error)) => told.note("server", format!("gives up the connection: {error}")),
                        Err(_) => told.note("server", "panics: the thread of this connection unwinds"),
                    }
                    drop(stream);
                    state_too.served.fetch_add(1, SeqCst);
                });
                if let Err(error) = handling {
                    recorder.note("server", format!("has no thread for the connection: {error}"));
                    state.accepted.fetch_sub(1, SeqCst);
                }
            }
        });
        accepting.map(drop).map_err(io::Error::other)?;
        Ok(this)
    }

    fn served(&self) -> usize {
        self.state.served.load(SeqCst)
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.state.stopping.store(true, SeqCst);
        // Wakes the blocked accept; if it fails, nothing is blocked.
        let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
        // Its clients have gone, so its threads are about to end. What they still do belongs to the recording.
        wait_until(Duration::from_secs(1), || (self.served() == self.state.accepted.load(SeqCst)).then_some(()));
    }
}
