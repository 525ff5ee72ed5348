//! Draws what was recorded for the pages to include, in `book/drawn`: each run of a scene as a transcript and as a figure,
//! the staircase as a table, and the survey as tables.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use tcp_pitfalls::show::scene::Scene;
use walkdir::WalkDir;

use crate::record::folder;
use crate::{stairs, survey};

/// Draws all scenes anew.
pub fn all(root: &Path) -> Result<()> {
    let drawn = root.join("book/drawn");
    if drawn.exists() {
        fs::remove_dir_all(&drawn).with_context(|| format!("could not empty {}", drawn.display()))?;
    }
    stairs::draw_all(root, &drawn)?;

    // Beside the folders of scenes stand the staircase and the survey, and that of the benchmark.
    for entry in WalkDir::new(folder(root)).min_depth(2) {
        let entry = entry.context("could not list the recordings")?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "json") && !path.starts_with(folder(root).join("duel"))
        {
            scene(&drawn, path)?;
        }
    }
    survey::draw(root, &drawn)
}

fn scene(drawn: &Path, path: &Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    let scene: Scene = serde_json::from_str(&text)
        .with_context(|| format!("{} is no recording of this version: run `cargo book record`", path.display()))?;
    let folder = drawn.join(&scene.chapter);
    fs::create_dir_all(&folder).with_context(|| format!("could not make the folder {}", folder.display()))?;
    for side in scene.sides() {
        let (word, run) = side;
        for (extension, text) in [("txt", run.transcript(word)), ("svg", scene.figure(&[side]))] {
            let path = folder.join(format!("{}.{word}.{extension}", scene.name));
            fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
        }
    }
    Ok(())
}
