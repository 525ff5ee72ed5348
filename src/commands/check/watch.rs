//! Waiting for a file to be saved.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use notify::{RecursiveMode, Watcher};

/// How long it must be quiet before a save counts as finished: editors write in several steps.
const QUIET: Duration = Duration::from_millis(200);

/// The longest that quiet is waited for. Something else may be busy in the same folder.
const RESTLESS: Duration = Duration::from_secs(2);

/// How often the files are looked at: with `--poll`, and without it in case that a change was not told of.
const POLL: Duration = Duration::from_millis(500);
const SELDOM: Duration = Duration::from_secs(3600);

/// The files that are a student's server, and a watch over them.
pub(super) struct Watch {
    folder: PathBuf,
    /// Files that the command names: the server, if it is in another language.
    named: Vec<PathBuf>,
    seen: Vec<Seen>,
    events: Receiver<()>,
    look_every: Duration,
    /// Neither may end before the watch does.
    _kept: (Sender<()>, Option<Box<dyn Watcher>>),
}

/// A file, the time of its last change, and its length.
type Seen = (PathBuf, Option<SystemTime>, u64);

impl Watch {
    pub(super) fn new(folder: &Path, command: &[String], poll: bool) -> Result<Self> {
        let named: Vec<PathBuf> = command.iter().map(PathBuf::from).filter(|path| path.is_file()).collect();
        let (sender, events) = mpsc::channel();
        let watcher = if poll { None } else { Some(watcher(folder, &named, sender.clone())?) };
        let look_every = if poll { POLL } else { SELDOM };
        Ok(Watch { folder: folder.to_owned(), named, seen: Vec::new(), events, look_every, _kept: (sender, watcher) })
    }

    /// Takes the files as they are now for what has been seen.
    pub(super) fn look(&mut self) {
        self.seen = self.files();
    }

    /// Waits until the files differ from what has been seen.
    pub(super) fn wait(&mut self) -> Result<()> {
        // Events tell of reading as well, and of files that are not the student's: the files themselves decide.
        while self.files() == self.seen {
            if self.events.recv_timeout(self.look_every) == Err(RecvTimeoutError::Disconnected) {
                bail!("the watch over the files has ended");
            }
        }
        let began = Instant::now();
        while began.elapsed() < RESTLESS && self.events.recv_timeout(QUIET).is_ok() {}
        Ok(())
    }

    /// The Rust files of the exercise, and the files that the command names.
    fn files(&self) -> Vec<Seen> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let rust = entries.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
        let seen = |path: PathBuf| {
            let metadata = fs::metadata(&path).ok()?;
            Some((path, metadata.modified().ok(), metadata.len()))
        };
        let mut files: Vec<Seen> = rust.chain(self.named.iter().cloned()).filter_map(seen).collect();
        files.sort();
        files
    }
}

/// Sends a message whenever something happens in the folder of the exercise, or beside a named file.
fn watcher(folder: &Path, named: &[PathBuf], sender: Sender<()>) -> Result<Box<dyn Watcher>> {
    let handler = move |_: notify::Result<notify::Event>| {
        // That the message can't be sent means that nobody waits for it.
        let _ = sender.send(());
    };
    let cannot = || format!("cannot watch {}. Add --poll, which looks at the files itself", folder.display());
    let mut watcher = notify::recommended_watcher(handler).with_context(cannot)?;
    // Folders and not files, since many editors save by putting a new file in the place of the old one.
    let parent = |path: &PathBuf| Some(fs::canonicalize(path).ok()?.parent()?.to_owned());
    let mut folders: Vec<PathBuf> = named.iter().filter_map(parent).chain([folder.to_owned()]).collect();
    folders.sort();
    folders.dedup();
    for folder in folders {
        watcher.watch(&folder, RecursiveMode::NonRecursive).with_context(cannot)?;
    }
    Ok(Box::new(watcher))
}
