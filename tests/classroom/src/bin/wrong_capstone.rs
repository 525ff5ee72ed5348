//! The capstone, the chat room: a server with one mistake.
//!
//! `wrong_capstone --fault NAME ADDR` does all that the exercise asks for, except one thing. NAME is a check, which finds it, or a
//! fault that only `as-the-task-says` finds; tests/as_the_task_says.rs has them all.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// No thread reads or accepts for longer than this without a look at whether the room is closing.
fn tick() -> Duration {
    Duration::from_millis(if wrong("tick-of-2500-ms") { 2500 } else { 20 })
}
const GRACE: Duration = Duration::from_secs(3);
const LONGEST_LINE: usize = 1024;
const LONGEST_NAME: usize = 16;
/// How many lines may wait for one client.
const QUEUE: usize = 1000;
/// A client that takes nothing for so long while something waits for it is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// How many clients can wait in the kernel, connected and not yet accepted: as many as std asks it to keep.
const BACKLOG: usize = 128;

/// Whether this is the mistake to make.
fn wrong(fault: &str) -> bool {
    env::args().nth(2).is_some_and(|name| name == fault)
}

/// One copy for everybody who gets it.
type Line = Arc<[u8]>;

fn main() -> Result<()> {
    let addr = env::args().skip(1).last().context("say where to listen, as in 127.0.0.1:8080")?;
    let listener = TcpListener::bind(&addr).with_context(|| format!("cannot listen on \"{addr}\""))?;
    listener.set_nonblocking(true).context("cannot have accept return when nobody is there")?;
    let room = Arc::new(Room::default());
    let on_signal = Arc::clone(&room);
    ctrlc::set_handler(move || on_signal.closing.store(true, SeqCst)).context("cannot ask to be told about signals")?;
    println!("listening on {}", listener.local_addr()?);

    while !room.is_closing() {
        if wrong("crowded-room") && room.is_full() {
            thread::sleep(tick());
            continue;
        }
        if let Err(error) = admit(&listener, &room) {
            // Out of descriptors, or of threads: that passes when somebody leaves.
            if error.kind() != ErrorKind::WouldBlock {
                if wrong("more-than-chairs") {
                    return Err(error).context("cannot admit a client");
                }
                eprintln!("cannot admit a client: {error}");
            }
            thread::sleep(tick());
        }
    }
    // For the kernel these are connected, and may have sent something. Closing the listener would reset them.
    if wrong("shuts-after-2-seconds") {
        thread::sleep(Duration::from_secs(2));
    }
    for _ in 0..BACKLOG {
        if admit(&listener, &room).is_err() {
            break;
        }
    }
    drop(listener);
    // Whoever is still there after this is cut off by the end of the process.
    room.wait_until_empty(if wrong("grace-1-second") { GRACE / 3 } else { GRACE });
    anyhow::ensure!(!wrong("room-closes"), "the room has been closed");
    Ok(())
}

/// Accepts a client, if one is there, and serves it on threads of its own.
fn admit(listener: &TcpListener, room: &Arc<Room>) -> io::Result<()> {
    let (stream, peer) = listener.accept()?;
    // Linux gives out a blocking stream anyway; macOS and Windows hand the listener's mode on.
    stream.set_nonblocking(false)?;
    // Counted before its thread starts: later, nobody might wait for it any more.
    let place = Place::take(room);
    thread::Builder::new().spawn(move || {
        if let Err(error) = serve(stream, &place.0) {
            eprintln!("{peer}: {error}");
        }
    })?;
    Ok(())
}

fn serve(stream: TcpStream, room: &Room) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(tick()))?;
    stream.set_write_timeout(Some(WRITE_PATIENCE))?;
    let stream = Arc::new(stream);
    let (queue, waiting) = mpsc::sync_channel(if wrong("slow-reader-out") { 100 * QUEUE } else { QUEUE });
    let client = Client { stream: Arc::clone(&stream), queue };
    let served = thread::scope(|scope| {
        thread::Builder::new().spawn_scoped(scope, || pass_on(waiting, &stream))?;
        let served = converse(&client, room);
        // With it goes the last sender of the queue, and then the writer ends by itself, after the last line.
        drop(client);
        served
    });
    close(&stream);
    served
}

/// Writes what waits for a client, until there will be no more.
fn pass_on(waiting: Receiver<Line>, mut stream: &TcpStream) {
    for line in waiting {
        if stream.write_all(&line).is_err() {
            // The thread that reads has to know: it may be the only one left.
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// Carries out what a client sends, until it leaves, vanishes, or the room closes.
fn converse(client: &Client, room: &Room) -> io::Result<()> {
    let mut reader = BufReader::new(&*client.stream);
    let mut visit = Visit { client, room, name: None };
    let mut line = Vec::new();
    let since = Instant::now();
    if wrong("guests-hear") {
        room.listeners.lock().expect("nothing panics while it holds this lock").push(client.clone());
    }
    let longest = match () {
        () if wrong("limit-too-low") => LONGEST_LINE - 1,
        () if wrong("limit-too-high") => LONGEST_LINE + 1,
        () => LONGEST_LINE,
    };
    let last: &[u8] = loop {
        // The longest line and its end, `\r\n`.
        let left = if wrong("long-line-told") { usize::MAX } else { LONGEST_LINE + 2 - line.len() };
        match reader.by_ref().take(left as u64).read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") || (line.len() > LONGEST_LINE + 1 && !wrong("long-line-told")) => {
                let text = line.strip_suffix(b"\n").unwrap_or(&line);
                let text = text.strip_suffix(b"\r").filter(|_| !wrong("chopped-commands")).unwrap_or(text);
                let text = if wrong("strips-returns") { text.trim_ascii_end() } else { text };
                if text.len() > longest && !wrong("long-line-told") {
                    if wrong("long-line-not-told-to-others") {
                        if let Some(name) = visit.name.take() {
                            room.members().remove(&name);
                        }
                    }
                    break b"error: line too long";
                }
                if !visit.carry_out(text) {
                    if wrong("room-talks") {
                        return Ok(());
                    }
                    break b"bye";
                }
                line.clear();
            }
            Ok(_) if wrong("half-line-will-do") && !line.is_empty() => {
                visit.carry_out(&line);
                return Ok(());
            }
            Err(_) if wrong("idle-limit") && since.elapsed() > Duration::from_secs(2) => return Ok(()),
            // The end. Half a line before it is no command.
            Ok(_) => return Ok(()),
            // Nothing came in this tick. What came before it is kept in `line`.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => {
                if wrong("vanished-members") {
                    // As an early return does where leaving is the last line of a function.
                    visit.name = None;
                }
                return Err(error);
            }
        }
        if room.is_closing() && wrong("half-is-dropped") {
            break b"bye";
        }
        if room.is_closing() && wrong("guests-hear-no-bye") && visit.name.is_none() {
            return Ok(());
        }
        if room.is_closing() && line.is_empty() && reader.buffer().is_empty() {
            break b"bye";
        }
    };
    // Out of the room first, or what others say could come behind its last line.
    drop(visit);
    client.answer(last);
    Ok(())
}

/// Closes a connection so that the last line arrives: says that no more will come, and takes in what still comes from
/// the client, at most for a second. With bytes of it unread the kernel would send a reset.
fn close(mut stream: &TcpStream) {
    let deadline = Instant::now() + Duration::from_secs(1);
    let mut unread = [0; 4096];
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    loop {
        match stream.read(&mut unread) {
            Ok(1..) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(0) | Err(_) => return,
        }
        if Instant::now() >= deadline {
            return;
        }
    }
}

/// One client, from coming to going.
struct Visit<'a> {
    client: &'a Client,
    room: &'a Room,
    /// Its name, once it has joined.
    name: Option<String>,
}

impl Visit<'_> {
    /// False if the client wants to leave.
    fn carry_out(&mut self, command: &[u8]) -> bool {
        let space = command.iter().position(|&byte| byte == b' ').unwrap_or(command.len());
        let (verb, rest) = (&command[..space], command.get(space + 1..).unwrap_or_default());
        let upper = verb.to_ascii_lowercase();
        let verb = if wrong("any-case") { &upper[..] } else { verb };
        match (verb, &self.name) {
            (b"leave", None) if wrong("guest-cant-leave") => self.client.answer(b"error: join first"),
            (b"join", Some(_)) if wrong("bad-name-before-joined") && valid_name(rest).is_none() => {
                self.client.answer(b"error: bad name");
            }
            (b"join", Some(_)) if wrong("joins-twice") => self.client.answer(b"error: unknown command"),
            (unknown, None)
                if wrong("unknown-before-joining") && ![&b"leave"[..], b"join", b"say", b"who"].contains(&unknown) =>
            {
                self.client.answer(b"error: unknown command");
            }
            (b"say", Some(name)) if wrong("strips-blanks") => {
                self.room.tell(&[name.as_bytes(), b": ", rest.trim_ascii()].concat());
            }
            (b"say", Some(name)) if wrong("is-text") => {
                self.room.tell(format!("{name}: {}", String::from_utf8_lossy(rest)).as_bytes());
            }
            (b"leave", _) => return false,
            (b"join", Some(_)) => self.client.answer(b"error: already joined"),
            (b"join", None) => match valid_name(rest) {
                Some(name) if self.room.join(name, self.client) => self.name = Some(name.to_owned()),
                Some(_) => self.client.answer(b"error: name taken"),
                None => self.client.answer(b"error: bad name"),
            },
            (_, None) => self.client.answer(b"error: join first"),
            (b"say", Some(name)) => self.room.tell(&[name.as_bytes(), b": ", rest].concat()),
            (b"who", Some(_)) => self.client.answer(format!("here: {}", self.room.names()).as_bytes()),
            _ => self.client.answer(b"error: unknown command"),
        }
        true
    }
}

/// However the visit ends: a client that vanishes leaves as well, and one whose thread panics.
impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.room.leave(name);
        }
    }
}

fn valid_name(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    if wrong("room-rules") {
        return Some(name);
    }
    if wrong("all-alphabets") {
        return ((1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(char::is_alphanumeric)).then_some(name);
    }
    let longest = match () {
        () if wrong("short-names") => LONGEST_NAME - 1,
        () if wrong("long-names") => LONGEST_NAME + 1,
        () => LONGEST_NAME,
    };
    let fits = (1..=longest).contains(&name.len());
    (fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(name)
}

/// Whether anybody was put out.
static PUT_OUT: AtomicBool = AtomicBool::new(false);

/// A client as others see it: somebody to pass lines to.
#[derive(Clone)]
struct Client {
    stream: Arc<TcpStream>,
    queue: SyncSender<Line>,
}

impl Client {
    /// For answers to its own commands. Waits while the queue is full: then this client has to read before it can ask
    /// more. Without a writer there is nobody to answer.
    fn answer(&self, text: &[u8]) {
        let _ = self.queue.send(line(text));
    }

    /// For what others cause. Never waits: they must not suffer from a client that doesn't read.
    fn pass(&self, line: &Line) -> Result<(), TrySendError<Line>> {
        let passed = self.queue.try_send(Arc::clone(line));
        if let Err(TrySendError::Full(_)) = passed {
            // Its two threads notice, and it leaves as anybody does who vanishes.
            PUT_OUT.store(true, SeqCst);
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        passed
    }
}

fn line(text: &[u8]) -> Line {
    [text, b"\n"].concat().into()
}

/// What all threads share.
#[derive(Default)]
struct Room {
    closing: AtomicBool,
    members: Mutex<BTreeMap<String, Client>>,
    clients: Mutex<usize>,
    client_left: Condvar,
    /// Those who hear everything, as one fault has it.
    listeners: Mutex<Vec<Client>>,
}

impl Room {
    /// False if there is one of that name already.
    fn join(&self, name: &str, client: &Client) -> bool {
        let mut members = self.members();
        let same = |other: &String| {
            wrong("names-in-any-case") && other.eq_ignore_ascii_case(name)
                || wrong("names-of-eight") && other.len() > 8 && other.get(..8) == name.get(..8)
        };
        if members.contains_key(name) || members.keys().any(same) {
            return false;
        }
        // All under one lock, so that the welcome comes before anything that the others say.
        let _ = client.pass(&line(format!("welcome {name}").as_bytes()));
        if wrong("joiner-hears-itself") {
            members.insert(name.to_owned(), client.clone());
        }
        tell(&members, format!("* {name} joined").as_bytes());
        members.insert(name.to_owned(), client.clone());
        true
    }

    fn leave(&self, name: &str) {
        let mut members = self.members();
        if !wrong("name-stays-taken") {
            members.remove(name);
        }
        if PUT_OUT.load(SeqCst) && wrong("put-out-in-silence") {
            return;
        }
        tell(&members, format!("* {name} left").as_bytes());
    }

    fn tell(&self, text: &[u8]) {
        tell(&self.members(), text);
        for listener in self.listeners.lock().expect("nothing panics while it holds this lock").iter() {
            let heard = self.members().values().any(|member| Arc::ptr_eq(&member.stream, &listener.stream));
            let _ = if heard { Ok(()) } else { listener.pass(&line(text)) };
        }
    }

    fn names(&self) -> String {
        let members = self.members();
        let mut names: Vec<&str> = members.keys().map(String::as_str).collect();
        if wrong("sorts-in-any-case") {
            names.sort_by_key(|name| name.to_lowercase());
        }
        names.join(if wrong("names-without-blanks") { "," } else { ", " })
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<String, Client>> {
        self.members.lock().expect("nothing panics while it holds this lock")
    }

    fn is_closing(&self) -> bool {
        self.closing.load(SeqCst)
    }

    fn is_full(&self) -> bool {
        *self.clients.lock().expect("nothing panics while it holds this lock") >= 30
    }

    fn wait_until_empty(&self, limit: Duration) {
        let clients = self.clients.lock().expect("nothing panics while it holds this lock");
        drop(self.client_left.wait_timeout_while(clients, limit, |clients| *clients > 0));
    }
}

/// Tells all members the same, in the same order, since whoever calls this holds the lock.
fn tell(members: &BTreeMap<String, Client>, text: &[u8]) {
    let line = line(text);
    for member in members.values() {
        if member.pass(&line).is_err() && wrong("slow-reader") {
            // As a `?` does in a loop: those behind the one that failed get nothing.
            return;
        }
    }
}

/// A client's place among those who are there. Dropping it gives it back, also when a panic does that.
struct Place(Arc<Room>);

impl Place {
    fn take(room: &Arc<Room>) -> Self {
        *room.clients.lock().expect("nothing panics while it holds this lock") += 1;
        Place(Arc::clone(room))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.clients.lock().expect("nothing panics while it holds this lock") -= 1;
        self.0.client_left.notify_all();
    }
}
