//! A scene of a chapter as it was played: a pitfall's run and its cure's. This is what `book/recorded` holds, and all
//! that is shown of it, here and in the book, is drawn from it.

use anstream::adapter::strip_str;
use serde::{Deserialize, Serialize};

use super::figure;
use super::screen::{self, BOLD};
use super::timeline;
use crate::lab::recording::Recording;
use crate::probes::Finding;

/// A scene as it was played.
#[derive(Serialize, Deserialize)]
pub struct Scene {
    /// The number of its chapter, with two digits.
    pub chapter: String,
    /// The pitfall's name.
    pub name: String,
    /// What the pitfall did.
    pub pitfall: Run,
    /// What the cure did.
    pub cure: Run,
}

/// One run of a scene.
#[derive(Serialize, Deserialize)]
pub struct Run {
    /// What was run.
    pub caption: String,
    /// What it came to.
    #[serde(flatten)]
    pub finding: Finding,
    /// What happened.
    #[serde(flatten)]
    pub recording: Recording,
}

impl Scene {
    /// Both runs, each with the word for it.
    pub fn sides(&self) -> [(&'static str, &Run); 2] {
        [("pitfall", &self.pitfall), ("cure", &self.cure)]
    }

    /// The scene with as many events as are drawn.
    #[must_use]
    pub fn shortened(mut self) -> Self {
        for run in [&mut self.pitfall, &mut self.cure] {
            run.recording.events = timeline::shortened(&run.recording);
            run.recording.left_out = 0;
        }
        self
    }

    /// The figure of one side of the scene, or of both.
    pub fn figure(&self, sides: &[(&str, &Run)]) -> String {
        figure::draw(self, sides)
    }
}

impl Run {
    /// The run as it is told on a screen of this width.
    pub fn told(&self, side: &str, width: usize) -> String {
        self.told_with(side, width, timeline::draw)
    }

    /// The run as the book tells it: without colours and times.
    pub fn transcript(&self, side: &str) -> String {
        strip_str(&self.told_with(side, 80, timeline::draw_without_times)).to_string()
    }

    fn told_with(&self, side: &str, width: usize, timeline: fn(&Recording, usize) -> String) -> String {
        let Finding { verdict, evidence } = &self.finding;
        let (word, style) = (verdict.word(), screen::verdict(*verdict));
        let head = format!("  {BOLD}the {side}:{BOLD:#} ");
        let caption = screen::beside(&head, "  the : ".len() + side.len(), &self.caption, width);
        let head = format!("  → {style}{word}{style:#}: ");
        let verdict = screen::beside(&head, "  → : ".chars().count() + word.len(), &evidence.sentence, width);
        caption + &timeline(&self.recording, width) + &verdict
    }
}
