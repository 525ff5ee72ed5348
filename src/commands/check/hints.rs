//! The hints of an exercise: the folded parts of its README.

/// The hints, each as the Markdown that stands between `</summary>` and `</details>`.
pub(super) fn parse(readme: &str) -> Vec<String> {
    let folded = readme.split("<details>").skip(1).filter_map(|rest| rest.split_once("</details>"));
    folded.filter_map(|(inside, _)| Some(inside.split_once("</summary>")?.1.trim().to_owned())).collect()
}
