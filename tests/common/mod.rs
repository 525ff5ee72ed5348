//! What the tests share: scripted streams, and step servers as child processes.

// Each test file is a program of its own and uses a part of this.
#![allow(dead_code, missing_docs, unreachable_pub, unused_imports)]

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

pub use script::{Script, Sink, Step};
use tcp_pitfalls::classroom::Exercise;
use tcp_pitfalls::examination::{self, Job};
use tcp_pitfalls::lab::process::Process;
use tcp_pitfalls::lab::server::{Launch, Target};
use tcp_pitfalls::lab::wait::wait_until;
use tcp_pitfalls::probes::{self, Finding, Terms, Verdict};

#[path = "../streams/script.rs"]
mod script;

/// How long anything that must come may take. It comes at once, unless the machine is broken.
pub const LIMIT: Duration = Duration::from_secs(10);

/// A chapter's program, serving on a port of its own. Ended when dropped.
pub struct Server {
    pub addr: SocketAddr,
    process: Process,
}

impl Server {
    /// Starts `program serve 127.0.0.1:0` with these options, and waits until it listens.
    #[track_caller]
    pub fn start(program: &str, options: &[&str]) -> Self {
        Self::start_short_of(program, options, None)
    }

    /// The same with at most so many descriptors (on Unix).
    #[track_caller]
    pub fn start_short_of(program: &str, options: &[&str], descriptors: Option<usize>) -> Self {
        let arguments: Vec<String> =
            [program, "serve", "127.0.0.1:0"].iter().chain(options).map(|&argument| argument.to_owned()).collect();
        let process = Process::start(&arguments, descriptors).expect("the chapter's program starts");
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

    /// What it has said so far.
    pub fn output(&self) -> String {
        self.process.output()
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
        assert_eq!(self.rest(), "", "nothing comes before the end");
    }

    /// All that comes until the end.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).expect("the connection ends, and isn't reset");
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Whether nothing has come, not even the end. Does not wait.
    pub fn has_nothing(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        self.reader.buffer().is_empty() && peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// Copies the repository, but for what was built or installed there.
pub fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        match entry.file_type()? {
            _ if ["target", ".git", "node_modules"].iter().any(|other| name == *other) => {}
            kind if kind.is_dir() => copy_folder(&entry.path(), &to.join(name))?,
            kind if kind.is_file() => drop(fs::copy(entry.path(), to.join(name))?),
            _ => {}
        }
    }
    Ok(())
}

/// Runs a program to its end.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A server of `tests/servers` with these arguments, unless there is no Python: then nothing is tested.
pub fn python(server: &str, arguments: &[&str]) -> Option<Target> {
    static FOUND: LazyLock<bool> = LazyLock::new(|| {
        let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
        if !found {
            println!("skipped: there is no python3");
        }
        found
    });
    let path = format!("{}/tests/servers/{server}", env!("CARGO_MANIFEST_DIR"));
    let command: Vec<String> = ["python3", &path].iter().chain(arguments).map(|&word| word.to_owned()).collect();
    // Many are started at the same time, and beside other tests.
    FOUND.then(|| Target::Command(Launch { start: Duration::from_secs(60), ..command.into() }))
}

/// Runs each probe on its target. One that this machine was too busy for is run again, alone.
#[track_caller]
pub fn findings<'a>(targets: &[(&'a str, Target)], terms: &Terms) -> Vec<(&'a str, Finding)> {
    let probe = |name| probes::find(name).expect("there is such a probe");
    let jobs: Vec<Job<'_>> = targets.iter().map(|(name, target)| Job { probe: probe(name), target, terms }).collect();
    let mut findings = examination::run(&jobs, 8, || ());
    for (job, finding) in jobs.iter().zip(&mut findings) {
        for _ in 0..5 {
            if finding.evidence.own_lack {
                *finding = examination::run(std::slice::from_ref(job), 1, || ()).remove(0);
            }
        }
    }
    targets.iter().map(|(name, _)| *name).zip(findings).collect()
}

/// Runs each probe on its target, and expects the verdict, or a reason why it was skipped.
#[track_caller]
pub fn expect(verdict: Verdict, targets: &[(&str, Target)], terms: &Terms) {
    for (name, Finding { verdict: found, evidence }) in findings(targets, terms) {
        if found == Verdict::Skipped && !cfg!(target_os = "linux") {
            println!("{name} skipped: {evidence}");
        } else {
            assert_eq!(found, verdict, "{name}: {evidence}");
        }
    }
}

/// Runs each probe on its target, and expects that none of them falls.
#[track_caller]
pub fn expect_no_fall(targets: &[(&str, Target)], terms: &Terms) {
    for (name, Finding { verdict, evidence }) in findings(targets, terms) {
        assert_ne!(verdict, Verdict::Falls, "{name}: {evidence}");
    }
}

/// The faults of an exercise's wrong servers, each with the check that finds it. tests/classroom/faults has them.
pub fn faults(exercise: &Exercise) -> Vec<(String, String)> {
    let path = format!("{}/tests/classroom/faults/{}.diff", env!("CARGO_MANIFEST_DIR"), exercise.id);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let headings = text.lines().filter_map(|line| line.strip_prefix("# "));
    let found = headings.map(|heading| match heading.split_once(": ") {
        Some(found) => found,
        None if exercise.checks.iter().any(|check| check.name == heading) => (heading, heading),
        None => (heading, "as-the-task-says"),
    });
    found.map(|(fault, finder)| (fault.to_owned(), finder.to_owned())).collect()
}
