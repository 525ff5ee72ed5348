//! Waiting for a file to be saved.

use std::collections::BTreeMap;
use std::ffi::OsString;
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

/// A watch over what belongs to a student's server.
pub(super) struct Watch {
    places: Places,
    seen: Seen,
    events: Receiver<()>,
    look_every: Duration,
    /// Neither may end before the watch does.
    _kept: (Sender<()>, Option<Box<dyn Watcher>>),
}

/// What belongs to a student's server.
#[derive(Default)]
pub(super) struct Places {
    /// Folders of which every file counts that is to be seen there.
    pub(super) folders: Vec<PathBuf>,
    /// Files that count by themselves.
    pub(super) files: Vec<PathBuf>,
    /// The names of files that don't count: what a build makes is no reason for the next.
    pub(super) ignored: Vec<OsString>,
}

/// The files, with the time of their last change and their length.
type Seen = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

impl Places {
    /// Adds a folder, or a file.
    pub(super) fn add(&mut self, path: &Path) {
        if path.is_dir() { &mut self.folders } else { &mut self.files }.push(path.to_owned());
    }

    /// Adds the folder that this file is in.
    pub(super) fn add_folder_of(&mut self, file: &Path) {
        self.folders.extend(folder_of(file));
    }

    fn see(&self) -> Seen {
        let entries = self.folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        let own = entries.map(|entry| entry.path()).filter(|path| self.counts(path));
        let seen = |path: PathBuf| {
            let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
            Some((path, (metadata.modified().ok(), metadata.len())))
        };
        own.chain(self.files.iter().cloned()).filter_map(seen).collect()
    }

    /// Whether this file may be part of a server: not hidden, no editor's copy, and nothing that was built.
    fn counts(&self, path: &Path) -> bool {
        let Some(name) = path.file_name() else { return false };
        let text = name.to_string_lossy();
        !text.starts_with('.') && !text.ends_with('~') && !self.ignored.iter().any(|ignored| ignored == name)
    }
}

impl Watch {
    pub(super) fn new(places: Places, poll: bool) -> Result<Self> {
        let (sender, events) = mpsc::channel();
        let watcher = if poll { None } else { Some(watcher(&places, sender.clone())?) };
        let look_every = if poll { POLL } else { SELDOM };
        Ok(Watch { places, seen: Seen::new(), events, look_every, _kept: (sender, watcher) })
    }

    /// Takes the files as they are now for what has been seen.
    pub(super) fn look(&mut self) {
        self.seen = self.places.see();
    }

    /// Waits until the files differ from what has been seen, and gives one that does.
    pub(super) fn wait(&mut self) -> Result<PathBuf> {
        // Events tell of reading as well, and of files that are not the student's: the files themselves decide.
        let changed = loop {
            let now = self.places.see();
            let differs = |path: &&PathBuf| now.get(*path) != self.seen.get(*path);
            if let Some(path) = now.keys().chain(self.seen.keys()).find(differs) {
                break path.clone();
            }
            if self.events.recv_timeout(self.look_every) == Err(RecvTimeoutError::Disconnected) {
                bail!("the watch over the files has ended");
            }
        };
        let began = Instant::now();
        while began.elapsed() < RESTLESS && self.events.recv_timeout(QUIET).is_ok() {}
        Ok(changed)
    }
}

fn folder_of(file: &Path) -> Option<PathBuf> {
    Some(fs::canonicalize(file).ok()?.parent()?.to_owned())
}

/// Sends a message whenever something happens in one of the folders, or beside one of the files.
fn watcher(places: &Places, sender: Sender<()>) -> Result<Box<dyn Watcher>> {
    let handler = move |_: notify::Result<notify::Event>| {
        // That the message can't be sent means that nobody waits for it.
        let _ = sender.send(());
    };
    let mut watcher =
        notify::recommended_watcher(handler).context("cannot watch files. Add --poll, which looks at them itself")?;
    // Folders and not files, since many editors save by putting a new file in the place of the old one.
    let mut folders: Vec<PathBuf> = places.files.iter().filter_map(|file| folder_of(file)).collect();
    folders.extend_from_slice(&places.folders);
    folders.sort();
    folders.dedup();
    for folder in folders {
        let cannot = || format!("cannot watch {}. Add --poll, which looks at the files itself", folder.display());
        watcher.watch(&folder, RecursiveMode::NonRecursive).with_context(cannot)?;
    }
    Ok(Box::new(watcher))
}
