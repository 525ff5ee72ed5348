//! Programs that are started for examination, and always ended, with all that they have started.

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(super) use self::platform::kill_group;
use super::kernel;
use super::lack::{self, Lack};
use super::lock;
use super::random;
use super::recording::Recorder;
use super::signal::{self, Signal};
use super::tree::{self, Known, Member, Root, Tree, Unreadable, Window};
use super::wait::wait_until;

/// How much of a program's output is kept, in bytes: so much of its beginning, and of its end.
const OUTPUT_KEPT: usize = 16 * 1024;

/// The variable by which a process is known that has left its group.
const MARK: &str = "TCP_PITFALLS_MARK";

/// How long processes may take to end that were killed. Longer takes only what can't be ended.
const KILLED_WITHIN: Duration = Duration::from_secs(2);

/// A running program. Dropping it ends the program and all that it has started.
pub struct Process {
    child: Child,
    root: Root,
    /// Standard output and standard error. Read by two threads, so which came first is not known.
    output: [Arc<Mutex<Output>>; 2],
    /// What it reads as standard input: an empty file, so that what it writes there is seen as well.
    input: Option<std::fs::File>,
    stop: Signal,
    moment_to_stop: Option<Duration>,
    recorder: Option<Recorder>,
}

/// The programs that run at the moment.
static LIVE: Mutex<Vec<Root>> = Mutex::new(Vec::new());

/// What could not be ended when a `Process` was dropped.
static LEFT_BEHIND: Mutex<Vec<Member>> = Mutex::new(Vec::new());

/// Makes Ctrl-C, SIGTERM and SIGHUP end every program that was started here before they end this one. The status says
/// which it was: 128 and the number of the signal, as shells count. Before that, `last_words` may say what is lost.
///
/// The programs are in process groups of their own, so that a signal from the terminal doesn't reach them. Where a
/// handler is set already, that one stays.
pub fn end_all_on_ctrl_c(last_words: impl FnOnce() + Send + 'static) {
    platform::on_signal(|number| {
        last_words();
        end_all_and_exit(128 + number)
    });
}

/// Ends every program that was started here, and then this one with this status.
pub fn end_all_and_exit(status: i32) -> ! {
    // Kept to the end, so that no other thread starts one more.
    let live = lock(&LIVE);
    for left in live.iter().flat_map(kill_all) {
        let _ = writeln!(io::stderr(), "{left} could not be ended");
    }
    std::process::exit(status)
}

/// Lets this program have as many descriptors as it may: some probes are two hundred clients, and run side by side,
/// while the usual limit is 1024, or 256 on macOS. Programs that are started inherit it.
pub fn raise_descriptor_limit() {
    platform::raise_descriptor_limit();
}

/// What was started here and could not be ended, for example because it has changed its user. Each is told once, if it
/// still runs.
pub fn left_behind() -> Vec<Member> {
    let left = std::mem::take(&mut *lock(&LEFT_BEHIND));
    left.into_iter().filter(Member::lives).collect()
}

impl Process {
    /// Starts `arguments`, the first of which is the program, with at most so many descriptors (on Unix).
    ///
    /// It begins with no signal ignored or blocked, whatever this program has inherited.
    ///
    /// # Errors
    /// The system's own, if there is no such program, or a `Lack`, if this machine can't start any.
    pub fn start(arguments: &[String], descriptors: Option<usize>) -> io::Result<Process> {
        let (program, rest) = arguments
            .split_first()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "there is no command to start"))?;
        let mut command = match descriptors {
            None => Command::new(program),
            Some(limit) => {
                // The shell sets the soft and the hard limit: Go, for one, raises its soft limit by itself.
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {limit}; exec \"$@\""), "sh", program]);
                shell
            }
        };
        command.args(rest);
        // Errors in English, and panics in two lines: both are quoted as evidence.
        command.env("LC_ALL", "C").env("RUST_BACKTRACE", "0").env("GOTRACEBACK", "none");
        let mark = format!("{:016x}", random::seed());
        // A prober may itself run under a prober, whose mark its servers keep.
        let outer = std::env::var(MARK).map_or_else(|_| String::new(), |outer| outer + "/");
        command.env(MARK, outer + &mark);
        let input = platform::empty_file();
        let stdin = input.as_ref().and_then(|file| file.try_clone().ok()).map_or_else(Stdio::null, Stdio::from);
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        platform::own_group(&mut command);
        signal::as_usual();
        let mut live = lock(&LIVE);
        let child = command.spawn().map_err(|error| Lack::starting(program, error))?;
        let root = Root::new(child.id(), mark);
        live.push(root.clone());
        drop(live);
        let output = [Arc::default(), Arc::default()];
        let stop = Signal::default();
        let mut process = Process { child, root, output, input, stop, moment_to_stop: None, recorder: None };
        // Read all the time: a program whose output nobody takes would block when it writes more.
        if let Some(stdout) = process.child.stdout.take() {
            collect(stdout, Arc::clone(&process.output[0]))?;
        }
        if let Some(stderr) = process.child.stderr.take() {
            collect(stderr, Arc::clone(&process.output[1]))?;
        }
        Ok(process)
    }

    /// Says which signal stops it, SIGTERM if this isn't called, and how long it is given to do so before it is killed, if
    /// at all. A server with state that was killed may find it in disorder when it is started again.
    #[must_use]
    pub fn stopped_by(mut self, stop: Signal, moment_to_stop: Option<Duration>) -> Self {
        self.stop = stop;
        self.moment_to_stop = moment_to_stop;
        self
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub fn exits_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait_until(limit, || self.exited())
    }

    /// Looks until `look` gives something. Of `limit` only the time counts in which the process didn't wait for a processor,
    /// and it is three times as long at the most.
    pub fn waits_until<T>(&mut self, limit: Duration, mut look: impl FnMut(&mut Self) -> Option<T>) -> Option<T> {
        let (began, mut given) = (Instant::now(), limit);
        loop {
            let seen = wait_until(given.saturating_sub(began.elapsed()), || look(self));
            let starved = tree::starved(self.id()).unwrap_or_default();
            let fair = limit + starved.min(2 * limit);
            if seen.is_some() || fair <= given {
                return seen;
            }
            given = fair;
        }
    }

    /// What it has printed so far, on standard output, then on standard error, and then what it wrote to its standard
    /// input, where a daemon thinks that its client is (on Linux).
    pub fn output(&self) -> String {
        let mut printed: String = self.output.iter().map(|output| lock(output).text()).collect();
        if let Some(input) = &self.input {
            printed += &String::from_utf8_lossy(&platform::beginning(input, OUTPUT_KEPT));
        }
        printed
    }

    /// What it has printed so far on standard output.
    pub fn printed(&self) -> String {
        lock(&self.output[0]).text()
    }

    /// Has its last lines on standard error written down when it is ended: what a server that lived on complained of.
    pub(super) fn heard_by(mut self, recorder: &Recorder) -> Self {
        self.recorder = Some(recorder.clone());
        self
    }

    /// The last lines that it has written to standard error.
    fn complaints(&self) -> Vec<String> {
        const MOST: usize = 5;
        let text = lock(&self.output[1]).text();
        // Without what would be a command to the terminal.
        let lines = text.lines().map(|line| line.chars().filter(|it| !it.is_control()).collect::<String>());
        let lines: Vec<String> = lines.filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(MOST)..].to_vec()
    }

    /// What it has printed when it has ended, given a moment for the last of it to be read.
    pub fn last_output(&self) -> String {
        // A child that inherited its output may keep it open. If there is none, whoever reads it only waits for a processor.
        let is_kept_open = self.root.members().iter().any(Member::lives);
        let moment = Duration::from_secs(if is_kept_open { 1 } else { 10 });
        // Both collecting threads drop their handle at the end of the output.
        wait_until(moment, || self.output.iter().all(|output| Arc::strong_count(output) == 1).then_some(()));
        self.output()
    }

    /// Sends it a signal, and to nobody else.
    ///
    /// # Errors
    /// The system's own: it has ended, belongs to another user, or there are no signals here.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // Whom it leaves behind has to be known by then.
        self.root.members();
        platform::signal(&self.child, signal)
    }

    /// The signal that stops it.
    pub fn stop_signal(&self) -> Signal {
        self.stop
    }

    /// Asks it to stop by its signal. False where there are no signals.
    pub fn ask_to_stop(&self) -> bool {
        self.signal(self.stop).is_ok()
    }

    /// Whether it ignores a signal. One that it only blocks isn't ignored: it may wait for it by `sigwait` or `signalfd`.
    pub fn ignores(&self, signal: Signal) -> Known<bool> {
        self.has_in_set("SigIgn", signal)
    }

    /// Whether a signal was sent to it and is blocked, and nobody has taken it.
    pub fn leaves_pending(&self, signal: Signal) -> Known<bool> {
        // One that has ended it stays pending as well, for as long as nobody has waited for the process.
        Ok(self.has_in_set("ShdPnd", signal)? && self.has_in_set("SigBlk", signal)?)
    }

    fn has_in_set(&self, set: &str, signal: Signal) -> Known<bool> {
        let path = format!("/proc/{}/status", self.id());
        let status =
            std::fs::read_to_string(&path).map_err(|error| Unreadable(format!("cannot read {path}: {error}")))?;
        platform::is_in_set(&status, set, signal).ok_or_else(|| Unreadable(format!("{path} has no line {set}")))
    }

    /// It and all that it has started, as they are now.
    pub fn tree(&self) -> Known<Tree> {
        Tree::of(&self.root)
    }

    /// Watches for so long how busy it is, with all that it has started. Ends early if it does.
    pub fn watch(&mut self, length: Duration) -> Known<Window> {
        let before = self.tree()?.processor()?;
        let began = Instant::now();
        if let Some(status) = self.exits_within(length) {
            return Err(Unreadable(format!("the server's process has ended with {status}")));
        }
        Ok(self.tree()?.processor()?.since(&before, began.elapsed()))
    }

    /// Halts it and its process group: SIGSTOP.
    ///
    /// # Errors
    /// The system's own; everywhere but on Unix, that there is no such signal.
    pub fn halt(&self) -> io::Result<()> {
        platform::halt_group(self.child.id(), true)?;
        // A thread that runs on another processor does so for a moment more.
        let id = self.child.id();
        wait_until(Duration::from_secs(1), || kernel::is_halted(id).unwrap_or(true).then_some(()));
        Ok(())
    }

    /// Lets it and its process group go on after `halt`: SIGCONT.
    ///
    /// # Errors
    /// As `halt`.
    pub fn go_on(&self) -> io::Result<()> {
        platform::halt_group(self.child.id(), false)
    }

    /// Ends the process at once, and not its children.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.exits_within(KILLED_WITHIN);
    }

    /// Ends it and all that it has started, and returns what could not be ended.
    ///
    /// That is the process group, and what left it by `setsid` and is found by its environment (on Linux).
    pub fn end(&mut self) -> Vec<Member> {
        if let Some(moment) = self.moment_to_stop.take() {
            let _ = self.ask_to_stop() && self.exits_within(moment).is_some();
        }
        let left = kill_all(&self.root);
        self.kill();
        left
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let (Some(recorder), None) = (self.recorder.take(), self.exited()) {
            recorder.complaints(self.complaints());
        }
        let left = self.end();
        lock(&LEFT_BEHIND).extend(left);
        lock(&LIVE).retain(|root| root.pid != self.root.pid);
    }
}

/// Kills all processes of a tree again and again, as long as there are new ones. Returns what is still there.
fn kill_all(root: &Root) -> Vec<Member> {
    /// How many looks that find nobody are enough where some process is started during each of them.
    const LOOKS: usize = 10;
    // Halted, it starts nothing while it is looked at.
    let _ = platform::halt_group(root.pid, true);
    // When their parents have ended, nothing may tell some of them from other processes any more.
    let mut known = root.members();
    kill_group(root.pid);
    let (mut looks, mut is_sure) = (0, false);
    let gone = wait_until(KILLED_WITHIN, || {
        for member in &known {
            // With its group, which gets no new members then, however fast they follow each other.
            kill_group(member.group);
            if member.lives() {
                platform::kill(member.pid);
            }
        }
        known.retain(Member::lives);
        if known.is_empty() {
            // They may have started others, and those others again, while they were ended. A look misses somebody only if a
            // process is started meanwhile.
            let newest = tree::last_pid();
            known = root.members();
            known.retain(|member| !member.is_zombie);
            looks += 1;
            is_sure = tree::last_pid() == newest || looks >= LOOKS;
        }
        (known.is_empty() && is_sure).then_some(())
    });
    if gone.is_some() { Vec::new() } else { known }
}

/// What a program has printed: the first of it, which may say where it listens, and the last, which may say why it ended.
#[derive(Default)]
struct Output {
    beginning: Vec<u8>,
    end: Vec<u8>,
    has_gap: bool,
}

impl Output {
    fn add(&mut self, bytes: &[u8]) {
        let room = OUTPUT_KEPT - self.beginning.len();
        let (beginning, rest) = bytes.split_at(room.min(bytes.len()));
        self.beginning.extend_from_slice(beginning);
        self.end.extend_from_slice(rest);
        let surplus = self.end.len().saturating_sub(OUTPUT_KEPT);
        self.end.drain(..surplus);
        self.has_gap |= surplus > 0;
    }

    fn text(&self) -> String {
        let gap: &[u8] = if self.has_gap { b"\n" } else { b"" };
        String::from_utf8_lossy(&[&self.beginning, gap, &self.end].concat()).into_owned()
    }
}

fn collect(mut from: impl Read + Send + 'static, output: Arc<Mutex<Output>>) -> io::Result<()> {
    let collecting = lack::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            lock(&output).add(&buffer[..count]);
        }
    });
    collecting.map(drop).map_err(io::Error::other)
}

#[cfg(unix)]
mod platform {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use rustix::process::Signal as Raw;
    use rustix::process::{Pid, Resource, Rlimit, getpgrp, getrlimit, kill_process, kill_process_group, setrlimit};

    use super::Signal;

    pub(super) fn raise_descriptor_limit() {
        const ENOUGH: u64 = 4096;
        let limit = getrlimit(Resource::Nofile);
        // `None` is no limit.
        if limit.current.is_some_and(|current| current < ENOUGH) {
            let current = limit.maximum.map_or(ENOUGH, |maximum| maximum.min(ENOUGH));
            let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit });
        }
    }

    /// Calls this with the number of the first signal of SIGINT, SIGTERM and SIGHUP that comes.
    pub(super) fn on_signal(end: impl FnOnce(i32) + Send + 'static) {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        // That it is ignored is what `nohup` is for.
        let hangs_up = super::signal::is_in_set(&status, "SigIgn", SIGHUP) != Some(true);
        let signals = [SIGINT, SIGTERM].into_iter().chain(hangs_up.then_some(SIGHUP));
        if let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) {
            drop(super::lack::spawn(move || signals.forever().next().map(end)));
        }
    }

    pub(super) fn own_group(command: &mut Command) {
        command.process_group(0);
    }

    /// A file that is nowhere but in memory.
    #[cfg(target_os = "linux")]
    pub(super) fn empty_file() -> Option<File> {
        use rustix::fs::{MemfdFlags, memfd_create};
        memfd_create("standard input", MemfdFlags::CLOEXEC).ok().map(File::from)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn empty_file() -> Option<File> {
        None
    }

    /// The first bytes of a file, wherever others have read or written it.
    pub(super) fn beginning(file: &File, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; most];
        let count = file.read_at(&mut bytes, 0).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }

    pub(super) fn is_in_set(status: &str, set: &str, signal: Signal) -> Option<bool> {
        super::signal::is_in_set(status, set, signal.number())
    }

    pub(super) fn signal(child: &Child, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(child), signal.raw())?)
    }

    fn pid(number: u32) -> Option<Pid> {
        Pid::from_raw(number.try_into().ok()?)
    }

    pub(super) fn kill(number: u32) {
        if let Some(pid) = pid(number) {
            let _ = kill_process(pid, Raw::KILL);
        }
    }

    pub(super) fn halt_group(leader: u32, halt: bool) -> io::Result<()> {
        let leader = pid(leader).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(kill_process_group(leader, if halt { Raw::STOP } else { Raw::CONT })?)
    }

    /// Not this program's own, which a process may have joined.
    pub(in super::super) fn kill_group(leader: u32) {
        if let Some(leader) = pid(leader).filter(|leader| *leader != getpgrp()) {
            let _ = kill_process_group(leader, Raw::KILL);
        }
    }
}

#[cfg(not(unix))]
mod platform {
    use std::fs::File;
    use std::io;
    use std::process::{Child, Command, Stdio};

    use super::Signal;

    pub(super) fn raise_descriptor_limit() {}

    /// Calls this with the number of SIGINT when Ctrl-C is pressed.
    pub(super) fn on_signal(end: impl FnOnce(i32) + Send + 'static) {
        let mut end = Some(end);
        let set = ctrlc::set_handler(move || {
            if let Some(end) = end.take() {
                end(2);
            }
        });
        drop(set);
    }

    pub(super) fn own_group(_command: &mut Command) {}

    pub(super) fn empty_file() -> Option<File> {
        None
    }

    pub(super) fn halt_group(_leader: u32, _halt: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn beginning(_file: &File, _most: usize) -> Vec<u8> {
        Vec::new()
    }

    pub(super) fn is_in_set(_status: &str, _set: &str, _signal: Signal) -> Option<bool> {
        None
    }

    pub(super) fn signal(_child: &Child, signal: Signal) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, format!("this system doesn't have {signal}")))
    }

    /// Nobody is found here who isn't of the group.
    pub(super) fn kill(_pid: u32) {}

    pub(in super::super) fn kill_group(leader: u32) {
        // Windows has no group that std could end; `taskkill /T` ends the process and its children.
        let id = leader.to_string();
        let ended = Command::new("taskkill")
            .args(["/F", "/T", "/PID", &id])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        drop(ended);
    }
}
