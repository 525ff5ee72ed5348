//! A started program and everything that it has started: which processes those are, and what they use. Linux only.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;

/// Why a figure could not be had, in a sentence. Never to be taken for zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

/// A figure, or why there is none.
pub type Known<T> = Result<T, Unreadable>;

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub pid: u32,
    /// Its program's name, of which the kernel keeps 15 bytes.
    pub name: String,
    parent: u32,
    pub(super) group: u32,
    /// When it was started, in the kernel's ticks since the machine was. With the number it names one process for good.
    began: u64,
    /// Ended, and not yet waited for.
    pub(super) is_zombie: bool,
    /// Ended as a zombie is, but threads other than the first go on.
    is_headless: bool,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

impl Member {
    fn read(pid: u32) -> Option<Member> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The program's name may hold spaces and parentheses: count from behind it (proc(5)).
        let (name, fields) = stat.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ended = matches!(*fields.first()?, "Z" | "X");
        let threads: usize = fields.get(17)?.parse().ok()?;
        Some(Member {
            pid,
            name: name.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            began: fields.get(19)?.parse().ok()?,
            is_zombie: ended && threads < 2,
            is_headless: ended && threads > 1,
        })
    }

    /// Whether this very process, and not one that has its number now, still runs.
    pub(super) fn lives(&self) -> bool {
        Member::read(self.pid).is_some_and(|now| now.began == self.began && !now.is_zombie)
    }
}

/// How the processes are recognised that one start has brought about.
#[derive(Clone, Debug)]
pub(super) struct Root {
    pub(super) pid: u32,
    /// What all of them have in their environment, unless they have taken it out.
    pub(super) mark: String,
    began: u64,
    /// All that were ever found, by number and beginning: when a parent has ended, nothing may tell of them any more.
    seen: Arc<Mutex<HashSet<(u32, u64)>>>,
}

impl Root {
    pub(super) fn new(pid: u32, mark: String) -> Self {
        let began = Member::read(pid).map_or(0, |member| member.began);
        Root { pid, mark, began, seen: Arc::default() }
    }

    /// The processes of the tree, zombies among them.
    ///
    /// They are children, members of the process group, or have the mark: `setsid` leaves the group, the end of a parent
    /// makes an orphan, and a program may overwrite its environment (nginx does, for its title), but rarely all at once.
    /// Who has been found once is found again.
    pub(super) fn members(&self) -> Vec<Member> {
        let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = processes.flatten().filter_map(|process| process.file_name().to_str()?.parse().ok());
        let mut pids: BTreeSet<u32> = pids.collect();
        // After all of them are listed.
        if let Some(last) = last_pid() {
            pids.retain(|&pid| is_between(self.pid, pid, last));
        }
        let mut seen = lock(&self.seen);
        // The youngest first, and each looked at all at once: some start another and end, again and again.
        let (mut members, mut others): (Vec<Member>, Vec<Member>) =
            pids.into_iter().rev().filter_map(Member::read).filter(|process| process.began >= self.began).partition(
                |process| {
                    let is_seen = seen.contains(&(process.pid, process.began));
                    is_seen || process.group == self.pid || self.has_marked(process.pid)
                },
            );
        loop {
            let is_child = |process: &Member| members.iter().any(|member| member.pid == process.parent);
            let (children, rest): (Vec<Member>, Vec<Member>) = others.into_iter().partition(is_child);
            if children.is_empty() {
                break;
            }
            members.extend(children);
            others = rest;
        }
        seen.extend(members.iter().map(|member| (member.pid, member.began)));
        members
    }

    fn has_marked(&self, pid: u32) -> bool {
        let mark = self.mark.as_bytes();
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(mark.len()).any(|window| window == mark)
    }
}

/// The process number that was given out last. Numbers are given out in order, and after the highest from the lowest again. So
/// most of a machine's thousands of processes can be left out, and to read when each began would take longer than all else.
pub(super) fn last_pid() -> Option<u32> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next_back()?.parse().ok()
}

/// Whether a number was given out since that of the first, which is one of them.
fn is_between(first: u32, pid: u32, last: u32) -> bool {
    if first <= last { (first..=last).contains(&pid) } else { pid >= first || pid <= last }
}

/// The processes of a started program at one moment, and what they use together.
#[derive(Debug)]
pub struct Tree {
    members: Vec<Member>,
}

impl Tree {
    pub(super) fn of(root: &Root) -> Known<Tree> {
        if !cfg!(target_os = "linux") {
            return Err(Unreadable("this system doesn't tell what processes use; Linux does".into()));
        }
        Ok(Tree { members: root.members() })
    }

    /// The processes that run.
    pub fn processes(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.is_zombie)
    }

    /// How many have ended without being waited for. Each keeps its number taken.
    pub fn zombies(&self) -> usize {
        self.members.iter().filter(|member| member.is_zombie).count()
    }

    /// The memory in use that isn't a file's, in bytes (`RssAnon`). What processes share after a fork counts for each.
    pub fn memory(&self) -> Known<u64> {
        self.sum("memory", |pid| status_in_bytes(pid, "RssAnon:"))
    }

    /// The address space in bytes (`VmSize`).
    pub fn address_space(&self) -> Known<u64> {
        self.sum("address space", |pid| status_in_bytes(pid, "VmSize:"))
    }

    /// How many descriptors are open.
    pub fn descriptors(&self) -> Known<u64> {
        self.sum("descriptors", |pid| Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64))
    }

    /// How many mappings the address spaces consist of. Each stack of a thread is two or more.
    pub fn mappings(&self) -> Known<u64> {
        self.sum("mappings", |pid| match fs::read(format!("/proc/{pid}/maps"))? {
            maps if maps.is_empty() => Err(io::Error::other("it has none any more")),
            maps => Ok(memchr::memchr_iter(b'\n', &maps).count() as u64),
        })
    }

    fn sum(&self, what: &str, read: impl Fn(u32) -> io::Result<u64>) -> Known<u64> {
        Ok(self.each(what, read)?.into_iter().sum())
    }

    /// Reads of every process what it uses. One that has ended in the meantime uses nothing.
    fn each<T>(&self, what: &str, read: impl Fn(u32) -> io::Result<T>) -> Known<Vec<T>> {
        let mut figures = Vec::new();
        for member in self.processes() {
            let why = match read(member.pid) {
                _ if member.is_headless => "its first thread has ended".into(),
                Ok(figure) => {
                    figures.push(figure);
                    continue;
                }
                Err(_) if !member.lives() => continue,
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    format!(
                        "{error}: it belongs to another user or protects itself. Examine it as its own user or as root"
                    )
                }
                Err(error) => error.to_string(),
            };
            return Err(Unreadable(format!("the {what} of {member} can't be read: {why}")));
        }
        if figures.is_empty() {
            return Err(Unreadable("the server's process has ended".into()));
        }
        Ok(figures)
    }

    /// The processor time that every thread has used and waited for so far.
    pub(super) fn processor(&self) -> Known<Usage> {
        let usage: HashMap<u32, Time> = self.each("processor time", threads)?.into_iter().flatten().collect();
        // Where the kernel wasn't built to count, it says 0 of everybody (kernel/sched, `sched_info_on`).
        if usage.values().all(|time| time.running.is_zero()) {
            return Err(Unreadable("this kernel doesn't count the time that threads wait for a processor".into()));
        }
        Ok(Usage(usage))
    }
}

/// Processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Time {
    running: Duration,
    waiting: Duration,
}

/// By the numbers of the threads, which are unique among all processes.
pub(super) struct Usage(HashMap<u32, Time>);

impl Usage {
    /// What was used since `before`. Threads that have ended meanwhile count for nothing.
    pub(super) fn since(&self, before: &Usage, length: Duration) -> Window {
        let mut window = Window { length, running: Duration::ZERO, waiting: Duration::ZERO };
        for (thread, now) in &self.0 {
            let before = before.0.get(thread).copied().unwrap_or_default();
            window.running += now.running.saturating_sub(before.running);
            window.waiting += now.waiting.saturating_sub(before.waiting);
        }
        window
    }
}

/// How busy a server was for a while: all threads of all its processes together.
///
/// A server that spins on a busy machine runs little and waits much; an idle Java waits as well, and hardly runs. So
/// both count, and both are to be compared with another window of the same server in which it has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How long it was watched.
    pub length: Duration,
    /// The processor time that it got.
    pub running: Duration,
    /// The time that its threads were ready to run, and had no processor.
    pub waiting: Duration,
}

/// The second and third word of a `/proc/PID/task/TID/schedstat` are nanoseconds (Linux, Documentation/scheduler/sched-stats).
fn threads(pid: u32) -> io::Result<Vec<(u32, Time)>> {
    let mut times = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?;
        let text = match fs::read_to_string(thread.path().join("schedstat")) {
            Ok(text) => text,
            Err(_) if !thread.path().exists() => continue,
            Err(error) => return Err(error),
        };
        let mut numbers = text.split_whitespace().map(|number| number.parse().map(Duration::from_nanos));
        let (Some(Ok(running)), Some(Ok(waiting)), Some(Ok(id))) =
            (numbers.next(), numbers.next(), thread.file_name().to_str().map(str::parse))
        else {
            return Err(io::Error::other(format!("\"{}\" is not understood", text.trim())));
        };
        times.push((id, Time { running, waiting }));
    }
    Ok(times)
}

/// How long the thread of a process that fared worst was ready to run and had no processor.
pub(super) fn starved(pid: u32) -> Option<Duration> {
    threads(pid).ok()?.into_iter().map(|(_, time)| time.waiting).max()
}

/// A line of `/proc/PID/status` that counts kilobytes.
fn status_in_bytes(pid: u32, line: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|text| text.strip_prefix(line)?.trim().strip_suffix("kB")?.trim().parse().ok());
    let kilobytes: u64 = value.ok_or_else(|| io::Error::other(format!("it has no line {line}")))?;
    Ok(kilobytes * 1024)
}
