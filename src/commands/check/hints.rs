//! The hints of an exercise: the sections of its `hints.md`.

/// The hints, each as the Markdown that stands below its heading.
pub(super) fn parse(text: &str) -> Vec<String> {
    let sections = text.split("\n## Hint ").skip(1);
    sections.filter_map(|section| Some(section.split_once('\n')?.1.trim().to_owned())).collect()
}
