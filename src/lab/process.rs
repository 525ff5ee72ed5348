//! Programs that are started for examination, and always ended, with their children.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::wait::wait_until;

/// How much of a program's output is kept, in bytes: the last of it.
const OUTPUT_KEPT: usize = 16 * 1024;

/// A running program. Dropping it ends the program and every process of its group.
pub struct Process {
    child: Child,
    /// Standard output and standard error. Read by two threads, so which came first is not known.
    output: [Arc<Mutex<Vec<u8>>>; 2],
}

/// The programs that run at the moment.
static LIVE: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Makes Ctrl-C end every program that was started here before it ends this one.
///
/// They are in process groups of their own, so that a signal from the terminal doesn't reach them. Where a handler is
/// set already, that one stays.
pub fn end_all_on_ctrl_c() {
    let set = ctrlc::set_handler(|| {
        for id in LIVE.lock().expect("nothing panics while it holds this lock").drain(..) {
            platform::kill_group(id);
        }
        eprintln!();
        // 128 and the number of SIGINT, as shells count.
        std::process::exit(130);
    });
    drop(set);
}

/// Lets this program have as many descriptors as it may: some probes are two hundred clients, and run side by side,
/// while the usual limit is 1024, or 256 on macOS. Programs that are started inherit it.
pub fn raise_descriptor_limit() {
    platform::raise_descriptor_limit();
}

impl Process {
    /// Starts `arguments`, the first of which is the program, with at most so many descriptors (on Unix).
    ///
    /// # Errors
    /// The system's own, if there is no such program.
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
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        platform::own_group(&mut command);
        let mut live = LIVE.lock().expect("nothing panics while it holds this lock");
        let mut child = command.spawn()?;
        live.push(child.id());
        drop(live);
        let output = [Arc::default(), Arc::default()];
        // Read all the time: a program whose output nobody takes would block when it writes more.
        if let Some(stdout) = child.stdout.take() {
            collect(stdout, Arc::clone(&output[0]));
        }
        if let Some(stderr) = child.stderr.take() {
            collect(stderr, Arc::clone(&output[1]));
        }
        Ok(Process { child, output })
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

    /// What it has printed so far, on standard output, and then on standard error.
    pub fn output(&self) -> String {
        let text = |output: &Arc<Mutex<Vec<u8>>>| {
            String::from_utf8_lossy(&output.lock().expect("nothing panics while it holds this lock")).into_owned()
        };
        self.output.iter().map(text).collect()
    }

    /// What it has printed so far on standard output.
    pub fn printed(&self) -> String {
        let printed = self.output[0].lock().expect("nothing panics while it holds this lock");
        String::from_utf8_lossy(&printed).into_owned()
    }

    /// What it has printed when it has ended, given a moment for the last of it to be read.
    pub fn last_output(&self) -> String {
        // Both collecting threads drop their handle at the end of the output. A child that inherited it may hold it.
        wait_until(Duration::from_secs(1), || {
            self.output.iter().all(|output| Arc::strong_count(output) == 1).then_some(())
        });
        self.output()
    }

    /// Asks it to stop, as `kill PID` does: SIGTERM. False where there are no signals.
    pub fn ask_to_stop(&self) -> bool {
        platform::terminate(&self.child)
    }

    /// Ends the process at once, and not its children.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        platform::kill_group(self.child.id());
        self.kill();
        LIVE.lock().expect("nothing panics while it holds this lock").retain(|&id| id != self.child.id());
    }
}

fn collect(mut from: impl Read + Send + 'static, output: Arc<Mutex<Vec<u8>>>) {
    let collecting = thread::Builder::new().name("output".into()).spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut output = output.lock().expect("nothing panics while it holds this lock");
            output.extend_from_slice(&buffer[..count]);
            let surplus = output.len().saturating_sub(OUTPUT_KEPT);
            output.drain(..surplus);
        }
    });
    // Without the thread the output is closed, and the program's own writes fail.
    drop(collecting);
}

#[cfg(unix)]
mod platform {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, kill_process_group, setrlimit};

    pub(super) fn raise_descriptor_limit() {
        const ENOUGH: u64 = 4096;
        let limit = getrlimit(Resource::Nofile);
        // `None` is no limit.
        if limit.current.is_some_and(|current| current < ENOUGH) {
            let current = limit.maximum.map_or(ENOUGH, |maximum| maximum.min(ENOUGH));
            let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit });
        }
    }

    pub(super) fn own_group(command: &mut Command) {
        command.process_group(0);
    }

    pub(super) fn terminate(child: &Child) -> bool {
        kill_process(Pid::from_child(child), Signal::TERM).is_ok()
    }

    pub(super) fn kill_group(leader: u32) {
        if let Some(leader) = leader.try_into().ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(not(unix))]
mod platform {
    use std::process::{Child, Command, Stdio};

    pub(super) fn raise_descriptor_limit() {}

    pub(super) fn own_group(_command: &mut Command) {}

    pub(super) fn terminate(_child: &Child) -> bool {
        false
    }

    pub(super) fn kill_group(leader: u32) {
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
