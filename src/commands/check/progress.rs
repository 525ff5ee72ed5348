//! What was achieved so far, kept in a file beside the exercises.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::grade::Graded;
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
    /// Whether nothing was left to mend.
    pub(super) done: bool,
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
        serde_json::from_str(&text).with_context(garbled)
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

    pub(super) fn remember(&mut self, graded: &Graded) {
        let checked = LastCheck { points: graded.points(), done: graded.is_done() };
        self.entry(graded.exercise).checked = Some(checked);
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

    /// The first exercise that isn't done.
    pub(super) fn next(&self) -> Option<&'static Exercise> {
        classroom::ALL.iter().find(|exercise| !self.is_done(exercise))
    }
}
