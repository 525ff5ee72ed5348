//! `cargo xtask survey`: the probes on servers that people know, where they are installed.
//!
//! Each file of `tools/survey/*.args` is one server: arguments as `tcp-pitfalls probe @FILE` takes them, behind comments
//! that say what it is, how it tells its version and, for servers of this repository, how it is built. Nothing is
//! installed. What was found is written to `book/recorded/survey.json`, and the book draws its tables from that.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anstream::println;
use anyhow::{Context as _, Result, bail, ensure};
use regex::Regex;
use serde::{Deserialize, Serialize};

/// Probe the servers of tools/survey, twice each, and write down what was found; run it by hand, before a release
#[derive(clap::Args)]
pub struct Arguments {
    /// Only these, as their files are called without .args; the others stay as they were recorded
    servers: Vec<String>,
}

/// What is recorded: each server's name, and what was found.
type Survey = BTreeMap<String, Surveyed>;

/// A server, and what two runs found.
#[derive(Serialize, Deserialize)]
struct Surveyed {
    what: String,
    version: String,
    /// As for a shell.
    arguments: String,
    date: String,
    /// The kernel, and how many processors it has.
    machine: String,
    /// Of the prober.
    prober: String,
    learned: Vec<String>,
    /// How long the first run took, and the second.
    seconds: [f64; 2],
    /// Of the first run.
    probes: Vec<Judged>,
    /// What the second run found otherwise.
    otherwise: Vec<Judged>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Judged {
    name: String,
    verdict: String,
    evidence: String,
}

/// What `probe --json` prints, as far as it is kept.
#[derive(Deserialize)]
struct Report {
    version: String,
    learned: Vec<String>,
    seconds: f64,
    probes: Vec<Judged>,
}

/// A server that is to be probed.
struct Server {
    name: String,
    what: String,
    version: String,
    build: Option<String>,
    arguments: String,
}

pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let prober = prober(root)?;
    let mut survey = recorded(root).unwrap_or_default();
    let servers = servers(root)?;
    for name in &arguments.servers {
        ensure!(servers.iter().any(|server| server.name == *name), "there is no tools/survey/{name}.args");
    }
    if arguments.servers.is_empty() {
        survey.retain(|name, _| servers.iter().any(|server| server.name == *name));
    }
    let mut failed = Vec::new();
    for server in servers {
        if !arguments.servers.is_empty() && !arguments.servers.contains(&server.name) {
            continue;
        }
        let Some(version) = server.installed(root)? else {
            println!("left out  {}: it is not installed", server.name);
            survey.remove(&server.name);
            continue;
        };
        match server.survey(root, &prober, version) {
            Ok(now) => {
                println!(
                    "probed    {} {} in {:.0} and {:.0} s",
                    server.name, now.version, now.seconds[0], now.seconds[1]
                );
                for Judged { name, verdict, .. } in &now.otherwise {
                    println!("          {name}: {verdict} in the second run");
                }
                if let Some(before) = survey.get(&server.name) {
                    tell_changes(before, &now);
                }
                // What has been found is kept, whatever becomes of the rest. Another run may have written meanwhile.
                survey = recorded(root).unwrap_or(survey);
                survey.insert(server.name, now);
                let text = serde_json::to_string_pretty(&survey)?;
                fs::write(file(root), format!("{text}\n")).context("cannot write what was found")?;
            }
            Err(why) => failed.push(format!("{}: {why:#}", server.name)),
        }
    }
    print!("\n{}", figures(&survey));
    if !failed.is_empty() {
        bail!("not every server could be probed:\n{}", failed.join("\n"));
    }
    Ok(())
}

fn file(root: &Path) -> PathBuf {
    root.join("book/recorded/survey.json")
}

fn recorded(root: &Path) -> Result<Survey> {
    let text = fs::read_to_string(file(root)).context("there is no survey yet: run `cargo xtask survey`")?;
    serde_json::from_str(&text)
        .context("book/recorded/survey.json is no survey of this version: run `cargo xtask survey`")
}

/// Builds the prober, which cargo puts beside this program.
fn prober(root: &Path) -> Result<PathBuf> {
    must_succeed("cargo build", &shell(root, "cargo build --quiet --package tcp-pitfalls --bin tcp-pitfalls")?)?;
    Ok(std::env::current_exe()?.with_file_name("tcp-pitfalls"))
}

/// All servers, by their names.
fn servers(root: &Path) -> Result<Vec<Server>> {
    let folder = root.join("tools/survey");
    let mut servers = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "args") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let (comments, arguments): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
        let said = |what: &str| comments.iter().find_map(|line| line.strip_prefix(&format!("# {what}: ")));
        servers.push(Server {
            name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            what: comments.first().map_or("", |line| line.trim_start_matches(['#', ' '])).to_owned(),
            version: said("version").with_context(|| format!("{} says no version", path.display()))?.to_owned(),
            build: said("build").map(str::to_owned),
            arguments: arguments.join("\n"),
        });
    }
    servers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(servers)
}

impl Server {
    /// Its version, if it is there.
    fn installed(&self, root: &Path) -> Result<Option<String>> {
        let output = shell(root, &self.version)?;
        let said = [output.stdout, output.stderr].concat();
        let number = Regex::new(r"\d+(\.\d+)+")?;
        Ok(number.find(&String::from_utf8_lossy(&said)).map(|found| found.as_str().to_owned()))
    }

    fn survey(&self, root: &Path, prober: &Path, version: String) -> Result<Surveyed> {
        if let Some(build) = &self.build {
            must_succeed(build, &shell(root, build)?)?;
        }
        let one = self.probe(root, prober)?;
        let other = self.probe(root, prober)?;
        let is_same = |judged: &&Judged| {
            one.probes.iter().any(|first| first.name == judged.name && first.verdict == judged.verdict)
        };
        Ok(Surveyed {
            what: self.what.clone(),
            version,
            arguments: self.arguments.clone(),
            date: line(root, "date -u +%F")?,
            machine: format!("{}, {} processors", line(root, "uname -sr")?, std::thread::available_parallelism()?),
            prober: one.version,
            learned: one.learned,
            seconds: [one.seconds, other.seconds],
            otherwise: other.probes.iter().filter(|judged| !is_same(judged)).cloned().collect(),
            probes: one.probes,
        })
    }

    fn probe(&self, root: &Path, prober: &Path) -> Result<Report> {
        let output = Command::new(prober)
            .args(["probe", "--json", &format!("@tools/survey/{}.args", self.name)])
            .current_dir(root)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", prober.display()))?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("it was not probed: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

fn shell(root: &Path, command: &str) -> Result<Output> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(root).stdin(Stdio::null());
    shell.output().with_context(|| format!("cannot run sh -c '{command}'"))
}

fn line(root: &Path, command: &str) -> Result<String> {
    Ok(String::from_utf8_lossy(&shell(root, command)?.stdout).trim().to_owned())
}

fn must_succeed(what: &str, output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{what} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Says what is otherwise than in the last survey.
fn tell_changes(before: &Surveyed, now: &Surveyed) {
    for Judged { name, verdict, evidence } in &now.probes {
        match before.probes.iter().find(|judged| judged.name == *name) {
            Some(then) if then.verdict == *verdict => {}
            Some(then) => {
                println!("          {name}: {} in {}, now {verdict}: {evidence}", then.verdict, before.version);
            }
            None => println!("          {name} is new: {verdict}"),
        }
    }
}

/// How long it took, and how often two runs agreed.
fn figures(survey: &Survey) -> String {
    let mut seconds: Vec<f64> = survey.values().flat_map(|server| server.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let median = seconds.get(seconds.len() / 2).copied().unwrap_or_default();
    let cells: usize = survey.values().map(|server| server.probes.len()).sum();
    let otherwise: usize = survey.values().map(|server| server.otherwise.len()).sum();
    format!(
        "{} servers, each probed twice in a median of {median:.0} s; {} of {cells} verdicts were the same in both runs.\n",
        survey.len(),
        cells - otherwise
    )
}

/// Draws the table of all servers, and what was seen of each, in Markdown.
///
/// # Errors
/// If there is no survey, or it can't be read.
pub fn draw(root: &Path, drawn: &Path) -> Result<()> {
    let survey = recorded(root)?;
    let mut table =
        "| Server | Version | holds | falls | differs | Seconds |\n| --- | --- | ---: | --- | --- | ---: |\n"
            .to_owned();
    let mut each = String::new();
    for (name, server) in &survey {
        let holds = server.probes.iter().filter(|judged| judged.verdict == "holds").count();
        let [falls, differs] = ["falls", "differs"].map(|verdict| {
            let judged: Vec<String> = server
                .judged(verdict)
                .map(|judged| format!("[{0}](probe_your_own_server.md#{0})", judged.name))
                .collect();
            if judged.is_empty() { "–".to_owned() } else { judged.join(", ") }
        });
        let Surveyed { what, version, date, machine, arguments, seconds, .. } = server;
        let anchor: String = name.chars().filter(|character| *character != '.').collect();
        table += &format!("| [{name}](#{anchor}) | {version} | {holds} | {falls} | {differs} | {:.0} |\n", seconds[0]);
        each +=
            &format!("### {name}\n\n{what} Version {version}, on {date} ({machine}).\n\n```text\n{arguments}\n```\n\n");
        for verdict in ["falls", "differs"] {
            for Judged { name, evidence, .. } in server.judged(verdict) {
                let other = |judged: &&Judged| judged.name == *name && judged.verdict != verdict;
                let once = server.probes.iter().chain(&server.otherwise).find(other);
                let once = once.map_or(String::new(), |other| format!(" In the other run: {}.", other.verdict));
                each += &format!("- *{verdict}* `{name}`: {}.{once}\n", escaped(evidence.trim_end_matches('.')));
            }
        }
        each += "\n";
    }
    let files = [("survey.md", format!("{}\n{table}", figures(&survey))), ("survey-of-each.md", each)];
    files.iter().try_for_each(|(name, text)| fs::write(drawn.join(name), text)).context("could not draw the survey")
}

impl Surveyed {
    /// What was judged like this in one of the two runs.
    fn judged<'a>(&'a self, verdict: &'a str) -> impl Iterator<Item = &'a Judged> {
        self.probes.iter().chain(&self.otherwise).filter(move |judged| judged.verdict == verdict)
    }
}

/// Text of a program, which may have what Markdown takes for its own.
fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|character| "\\`*_<>[]|&#~".contains(character).then_some('\\').into_iter().chain([character]))
        .collect()
}
