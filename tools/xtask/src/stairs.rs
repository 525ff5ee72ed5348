//! The staircase as a picture: a table of links for the pages, with the evidence of each cell, and an SVG for the README.
//! Both are drawn from one recorded run.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use tcp_pitfalls::probes::Verdict;
use tcp_pitfalls::staircase::{BEYOND, DEADLINES, EXPECTED, Row, STEPS, Staircase, number};

use crate::compare::with_numbers_of;
use crate::fault::Fault;
use crate::record::folder;

/// The recordings: of the six steps, and of the last of them and those beyond. The picture for the README is beside them.
const RECORDED: &str = "staircase.json";
const BEYOND_RECORDED: &str = "staircase-beyond.json";
const PICTURE: &str = "staircase.svg";

/// A verdict as a sign, which is not told by its colour alone.
fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "✓",
        Verdict::Falls => "✗",
        Verdict::Differs => "≠",
        Verdict::Note => "i",
        Verdict::Skipped => "-",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The run that is committed.
fn recorded(root: &Path, name: &str) -> Result<Staircase> {
    let path = folder(root).join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no recording of this version", path.display()))
}

/// Runs both, by what `run` prints with these arguments, and writes them down, with the picture. If one says what the
/// committed one says, but for numbers, which are others each time, that one stays as it is. Returns what was written.
pub fn record(root: &Path, run: impl Fn(&[&str]) -> Result<String>) -> Result<Vec<&'static str>> {
    let mut written = Vec::new();
    for (name, arguments) in [(RECORDED, &["--json"][..]), (BEYOND_RECORDED, &["--json", "--beyond"])] {
        let json = run(arguments)?;
        let new: Staircase = serde_json::from_str(&json).context("the staircase can't be read back")?;
        let committed = fs::read_to_string(folder(root).join(name)).unwrap_or_default();
        if committed == with_numbers_of(&committed, &json, |_, _| true) {
            continue;
        }
        fs::write(folder(root).join(name), json).context("could not write the staircase")?;
        written.push(name);
        if name == RECORDED {
            fs::write(folder(root).join(PICTURE), picture(&new))
                .context("could not write the picture of the staircase")?;
        }
    }
    Ok(written)
}

/// Finds what is not as the course says: a run that does not say it is none to show.
pub fn check(root: &Path) -> Vec<Fault> {
    let six = EXPECTED.iter().map(|(name, verdicts)| (*name, verdicts.to_vec())).collect();
    let beyond = DEADLINES.iter().map(|(name, verdicts)| (*name, verdicts.to_vec())).collect();
    let mut faults = Vec::new();
    for (name, owed) in [(RECORDED, six), (BEYOND_RECORDED, beyond)] {
        match recorded(root, name) {
            Ok(recorded) => faults.extend(stale(&recorded, name, owed)),
            Err(error) => faults.push(fault(name, &format!("{error:#}. Run `cargo book record`"))),
        }
    }
    let picture = recorded(root, RECORDED).ok().map(|recorded| picture(&recorded));
    if fs::read_to_string(folder(root).join(PICTURE)).ok() != picture {
        faults.push(fault(PICTURE, "is not drawn from the recording. Run `cargo book record`"));
    }
    faults
}

fn stale(staircase: &Staircase, file: &str, owed: Vec<(&str, Vec<Verdict>)>) -> Vec<Fault> {
    let verdicts = |row: &Row| -> Vec<Verdict> { row.findings.iter().map(|finding| finding.verdict).collect() };
    let is_figure = |verdict: &Verdict| matches!(verdict, Verdict::Note | Verdict::Skipped);
    let stale = owed.into_iter().filter(|(name, owed)| {
        staircase.probes.iter().find(|row| row.name == *name).is_none_or(|row| {
            let said = verdicts(row);
            owed.iter().zip(&said).any(|(owed, said)| owed != said && !(is_figure(owed) && is_figure(said)))
        })
    });
    let what = |name: &str| format!("{name} is not what the course says. Run `cargo book record`");
    stale.map(|(name, _)| fault(file, &what(name))).collect()
}

/// Writes what the pages include: both tables whole, and for each chapter a small one that says where that is.
pub fn draw_all(root: &Path, drawn: &Path) -> Result<()> {
    let folder = drawn.join("staircase");
    fs::create_dir_all(&folder).with_context(|| format!("could not make the folder {}", folder.display()))?;
    let write = |name: &str, class: &str, tables: &[String]| {
        let text = format!("<div class=\"stairs{class}\">\n{}\n</div>\n", tables.join("\n"));
        fs::write(folder.join(name), text).with_context(|| format!("could not write the staircase {name}"))
    };
    let six = recorded(root, RECORDED)?;
    let rows: Vec<&Row> = six.probes.iter().filter(|row| row.differs()).collect();
    let (left, right) = rows.split_at(rows.len().div_ceil(2));
    write("all.html", "", &[left, right].map(|half| table(&six, root, half, None, "")))?;
    let headlines: Vec<&Row> = six.probes.iter().filter(|row| row.headline).collect();
    for (step, name) in (1..).zip(STEPS) {
        let caption = format!("<caption>You are here: step {step} of {}</caption>\n", STEPS.len());
        write(&format!("{}.html", &name[..2]), " here", &[table(&six, root, &headlines, Some(step), &caption)])?;
    }
    let beyond = recorded(root, BEYOND_RECORDED)?;
    let rows: Vec<&Row> = beyond.probes.iter().filter(|row| row.differs()).collect();
    write("beyond.html", "", &[table(&beyond, root, &rows, None, "")])?;
    for name in BEYOND {
        let step = number(name);
        let caption = format!("<caption>You are here: step {step}, beyond the six</caption>\n");
        write(&format!("{}.html", &name[..2]), " here", &[table(&beyond, root, &rows, Some(step), &caption)])?;
    }
    Ok(())
}

/// Rows as a table. No line is blank, which would end it in the middle of a page written in Markdown.
fn table(staircase: &Staircase, root: &Path, rows: &[&Row], here: Option<usize>, caption: &str) -> String {
    let mut table = format!("<table>\n{caption}<thead>\n<tr><th scope=\"col\">Probe</th>");
    let class = |step: usize| if here == Some(step) { " class=\"here\"" } else { "" };
    for page in &staircase.steps {
        let step = number(page);
        let _ = write!(
            table,
            "<th scope=\"col\"{}><a href=\"{page}.html\" title=\"Step {step}\">{step}</a></th>",
            class(step)
        );
    }
    table += "</tr>\n</thead>\n<tbody>\n";
    let mut chapter = 0;
    for row in rows {
        let mut classes: Vec<&str> = Vec::new();
        classes.extend((row.chapter != chapter).then_some("first"));
        classes.extend(row.headline.then_some("headline"));
        classes.extend((here == Some(row.chapter.into())).then_some("here"));
        chapter = row.chapter;
        let _ = write!(
            table,
            "<tr class=\"{}\"><th scope=\"row\"><a href=\"{}\">{}</a></th>",
            classes.join(" "),
            place(root, row),
            row.name
        );
        for (page, finding) in staircase.steps.iter().zip(&row.findings) {
            let step = number(page);
            let word = finding.verdict.word();
            let evidence = escaped(&format!("Step {step}, {}: {word}: {}", row.name, finding.evidence));
            let at = if here == Some(step) { " here" } else { "" };
            let _ = write!(table, "<td class=\"{word}{at}\" title=\"{evidence}\">{}</td>", sign(finding.verdict));
        }
        table += "</tr>\n";
    }
    table + "</tbody>\n</table>"
}

/// The table for the README, which has no style of its own and is looked at in light and dark.
fn picture(staircase: &Staircase) -> String {
    const ROW: usize = 22;
    let rows: Vec<&Row> = staircase.probes.iter().filter(|row| row.differs()).collect();
    let half = rows.len().div_ceil(2);
    let height = 40 + half * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 720 {height}\" width=\"720\" height=\"{height}\">\n\
         <title>The staircase: which step falls into which pitfall</title>\n<style>\n\
         text {{ font: 13px sans-serif; fill: #1f2328; }}\n.head, .headline {{ font-weight: bold; }}\n\
         .sign {{ fill: #fff; font-weight: bold; text-anchor: middle; }}\n.holds {{ fill: #1a7f37; }}\n.falls {{ fill: #b52731; }}\n\
         .differs, .note {{ fill: #57606a; }}\n.skipped {{ fill: none; }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3; }} .sign {{ fill: #0d1117; }} .holds {{ fill: #3fb950; }} \
         .falls {{ fill: #ff7b72; }} .differs, .note {{ fill: #9198a1; }} }}\n</style>\n"
    );
    for (index, row) in rows.iter().enumerate() {
        let (left, top) = (if index < half { 0 } else { 370 }, 34 + index % half * ROW);
        let column = |step: usize| left + 190 + step * 24;
        if index % half == 0 {
            for step in 1..=STEPS.len() {
                let _ = writeln!(
                    svg,
                    "<text class=\"head\" x=\"{}\" y=\"20\" text-anchor=\"middle\">{step}</text>",
                    column(step - 1) + 9
                );
            }
        }
        let class = if row.headline { " class=\"headline\"" } else { "" };
        let _ = writeln!(svg, "<text{class} x=\"{}\" y=\"{}\">{} {}</text>", left + 6, top + 14, row.chapter, row.name);
        for (step, finding) in row.findings.iter().enumerate() {
            let (x, word) = (column(step), finding.verdict.word());
            let _ = writeln!(svg, "<rect class=\"{word}\" x=\"{x}\" y=\"{top}\" width=\"18\" height=\"18\" rx=\"4\"/>");
            if finding.verdict != Verdict::Skipped {
                let _ = writeln!(
                    svg,
                    "<text class=\"sign\" x=\"{}\" y=\"{}\">{}</text>",
                    x + 9,
                    top + 14,
                    sign(finding.verdict)
                );
            }
        }
    }
    svg + "</svg>\n"
}

/// Where the pitfall is told: in the first chapter from its own on that has a heading of this name, or else with the probes.
fn place(root: &Path, row: &Row) -> String {
    let tells = |page: &&&str| {
        let text = fs::read_to_string(root.join(format!("book/src/{page}.md"))).unwrap_or_default();
        number(page) >= row.chapter.into() && text.contains(&format!("\n### {}\n", row.name))
    };
    let page = STEPS.iter().chain(BEYOND).find(tells).unwrap_or(&"probe_your_own_server");
    format!("{page}.html#{}", row.name)
}

fn fault(name: &str, what: &str) -> Fault {
    Fault::in_file(format!("book/recorded/{name}"), what)
}

#[cfg(test)]
mod tests {
    use tcp_pitfalls::probes::Finding;

    use super::*;

    fn of_one_row(name: &str, evidence: &str) -> Staircase {
        let findings = STEPS.iter().map(|_| Finding::falls(evidence)).collect();
        let steps = STEPS.map(str::to_owned).to_vec();
        let row = Row { name: name.into(), chapter: 4, headline: true, findings };
        Staircase { steps, probes: vec![row], surprises: Vec::new() }
    }

    #[test]
    fn a_table_has_a_cell_for_each_step_and_tells_what_happened_there() {
        let staircase = of_one_row("split-message", "sent \"a\" & got <b>");
        let rows: Vec<&Row> = staircase.probes.iter().collect();
        let table = table(&staircase, Path::new("."), &rows, Some(4), "");
        assert_eq!(table.matches("<td class=\"falls").count(), STEPS.len());
        assert!(table.contains("falls: sent &quot;a&quot; &amp; got &lt;b&gt;"), "{table}");
        assert!(!table.contains("\n\n"), "a blank line would end it in the middle of a page");
    }

    #[test]
    fn a_run_that_says_something_else_than_the_course_is_none_to_show() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("book/recorded")).unwrap();
        fs::write(
            folder.path().join("book/recorded/staircase.json"),
            "{\"steps\": [], \"probes\": [], \"surprises\": []}",
        )
        .unwrap();
        let faults = check(folder.path());
        assert!(faults.len() >= EXPECTED.len(), "a row that isn't there is a fault");
    }
}
