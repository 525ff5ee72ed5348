//! What was achieved so far, kept in a file beside the exercises.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

use anstream::eprintln;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::grade::{Graded, of};
use super::launch::Launch;
use super::workshop::Workshop;
use tcp_pitfalls::classroom::{self, Exercise};

/// How far a student is.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Progress {
    exercises: BTreeMap<String, Standing>,
}

/// How far a student is with one exercise.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Standing {
    /// How many hints were given.
    #[serde(default)]
    pub(super) hints: usize,
    /// What the last check came to, if there was one.
    #[serde(default)]
    pub(super) checked: Option<LastCheck>,
}

/// What the last check came to.
#[derive(Serialize, Deserialize)]
pub(super) struct LastCheck {
    /// The points it gave.
    pub(super) points: u32,
    /// How many more could not be judged.
    #[serde(default)]
    pub(super) not_judged: u32,
    /// Whether nothing was left to mend.
    pub(super) done: bool,
    /// The command that started the server, if it wasn't the exercise's Rust file.
    #[serde(default)]
    command: Option<String>,
}

impl Progress {
    /// What is kept in the file. Nothing, if there is none yet.
    pub(super) fn load(workshop: &Workshop) -> Result<Self> {
        let path = workshop.progress();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            text => text.with_context(|| format!("cannot read your progress from {}", path.display()))?,
        };
        let garbled = || format!("your progress in {} is garbled. Delete that file to begin anew", path.display());
        let mut progress: Self = serde_json::from_str(&text).with_context(garbled)?;
        for (id, standing) in &mut progress.exercises {
            let all = classroom::find(id).map_or(0, of);
            let too_many =
                |checked: &mut LastCheck| u64::from(checked.points) + u64::from(checked.not_judged) > all.into();
            if standing.checked.take_if(too_many).is_some() {
                eprintln!("{} has more points for {id} than there are, and is not believed.", path.display());
            }
        }
        Ok(progress)
    }

    /// The same, or nothing and why it can't be read. Then nothing may be saved in its place.
    pub(super) fn load_or_begin(workshop: &Workshop) -> (Self, Result<()>) {
        match Self::load(workshop) {
            Ok(progress) => (progress, Ok(())),
            Err(error) => (Self::default(), Err(error)),
        }
    }

    pub(super) fn save(&self, workshop: &Workshop) -> Result<()> {
        let path = workshop.progress();
        let text = serde_json::to_string_pretty(self)? + "\n";
        // At once or not at all: a full disk shall not cost what was there.
        let new = path.with_extension("json.new");
        let saved = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        saved.with_context(|| format!("cannot keep your progress in {}", path.display()))
    }

    pub(super) fn of(&self, exercise: &Exercise) -> Option<&Standing> {
        self.exercises.get(exercise.id)
    }

    fn entry(&mut self, exercise: &Exercise) -> &mut Standing {
        self.exercises.entry(exercise.id.to_owned()).or_default()
    }

    /// Remembers what a check came to. What a starter in Rust earns takes the place of no other server's, and what a new
    /// command earns that starts no server takes the place of nothing: it may be mistyped.
    pub(super) fn remember(&mut self, workshop: &Workshop, graded: &Graded) {
        let command = graded.launch.as_ref().map(Launch::line);
        let kept = || workshop.remembered(graded.exercise).ok().flatten().map(|launch| launch.line());
        if graded.problem.is_some() && command.is_some() && command != kept() {
            return;
        }
        let checked = &mut self.entry(graded.exercise).checked;
        let other = checked.as_ref().is_some_and(|checked| checked.command.is_some());
        if command.is_some() || !other || !workshop.is_at_the_beginning(graded.exercise) {
            let (points, not_judged) = (graded.points(), graded.not_judged());
            *checked = Some(LastCheck { points, not_judged, done: graded.is_done(), command });
        }
    }

    pub(super) fn forget(&mut self, exercise: &Exercise) {
        self.exercises.remove(exercise.id);
    }

    /// The number of the hint to give now. After the last one, that one again.
    pub(super) fn next_hint(&mut self, exercise: &Exercise, hints: usize) -> usize {
        let standing = self.entry(exercise);
        standing.hints = (standing.hints + 1).min(hints);
        standing.hints
    }

    pub(super) fn is_done(&self, exercise: &Exercise) -> bool {
        self.of(exercise).and_then(|standing| standing.checked.as_ref()).is_some_and(|checked| checked.done)
    }

    /// The first exercise after this one that isn't done, and if there is none, the first before it.
    pub(super) fn next_after(&self, done: &Exercise) -> Option<&'static Exercise> {
        let behind = classroom::ALL.iter().position(|exercise| exercise.id == done.id).map_or(0, |index| index + 1);
        let (before, after) = classroom::ALL.split_at(behind);
        after.iter().chain(before).find(|exercise| !self.is_done(exercise))
    }

    /// The one after the last that is done.
    pub(super) fn next(&self) -> Option<&'static Exercise> {
        let done = classroom::ALL.iter().rfind(|exercise| self.is_done(exercise));
        done.map_or(classroom::ALL.first(), |done| self.next_after(done))
    }
}
