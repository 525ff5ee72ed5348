//! Demonstrations: the scenes that a chapter scripts, played and shown.

use std::env;
use std::fs;
use std::io::{self, IsTerminal};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::lab::lack::{self, Lack};
use crate::lab::process;
use crate::lab::recording::{Recorder, Recording};
use crate::lab::server::{CONNECTION_THREAD, Target};
use crate::probes::{self, Finding, Terms, Verdict};
use crate::show::scene::{self, Run};
use crate::show::screen::{self, BAD, BOLD, GOOD, eprint, eprintln, print, println, report};

/// How long a demonstration waits for what a pitfall owes. Strangers are given `server::LIMIT`.
const SHORT_LIMIT: Duration = Duration::from_secs(2);

/// A chapter's demonstration, as its `main.rs` scripts it.
pub struct Demonstration {
    /// What the chapter is called on the screen.
    pub title: &'static str,
    /// Each pitfall, sprung and disarmed.
    pub scenes: Vec<Scene>,
    /// Why it happens, in two or three sentences.
    pub why: &'static str,
    /// What to try next.
    pub next: &'static str,
}

/// One pitfall and its cure.
pub struct Scene {
    /// The name of the pitfall.
    pub name: &'static str,
    pitfall: Take,
    cure: Take,
    alone: bool,
}

/// What a scene came to: a finding, or why it could not be played, which shows nothing of pitfall or cure.
pub type Played = Result<Finding>;

/// One run of a scene.
struct Take {
    caption: &'static str,
    run: Box<dyn FnOnce(&Recorder) -> Played + Send>,
    watches: bool,
}

/// What was seen of one run.
struct Seen {
    run: Run,
    /// Whether it could be played at all.
    is_played: bool,
}

impl Seen {
    fn new(caption: &str, played: Played, recording: Recording) -> Self {
        let is_played = played.is_ok();
        let finding = played.unwrap_or_else(|why| Finding::skipped(format!("could not be shown: {why:#}")));
        Seen { run: Run { caption: caption.to_owned(), finding, recording }, is_played }
    }

    fn has(&self, verdict: Verdict) -> bool {
        self.is_played && self.run.finding.verdict == verdict
    }
}

impl Scene {
    /// A probe, run on the pitfall and on the cure.
    ///
    /// # Panics
    /// If there is no probe with this name.
    pub fn probe(name: &'static str, pitfall: (&'static str, Target), cure: (&'static str, Target)) -> Self {
        Self::probe_with(name, Terms::default(), pitfall, cure)
    }

    /// The same with other terms.
    ///
    /// # Panics
    /// If there is no probe with this name.
    pub fn probe_with(
        name: &'static str,
        terms: Terms,
        pitfall: (&'static str, Target),
        cure: (&'static str, Target),
    ) -> Self {
        let probe = probes::find(name).expect("a chapter names probes that exist");
        let again = terms.clone();
        // What the pitfall owes will never come. What the cure owes may be late on a busy machine.
        let terms = Terms { limit: SHORT_LIMIT, ..terms };
        let mut scene = Self::play(
            name,
            (pitfall.0, move |recorder: &Recorder| Ok(probe.run(&pitfall.1, &terms, recorder))),
            (cure.0, move |recorder: &Recorder| Ok(probe.run(&cure.1, &again, recorder))),
        );
        scene.alone = probe.runs_alone;
        scene
    }

    /// Where the system rules the mistake out, says why it can't be made there. The cure is shown all the same.
    #[must_use]
    pub fn without_pitfall_if(mut self, impossible: bool, why: &'static str) -> Self {
        if impossible {
            self.pitfall.run = Box::new(move |_| Ok(Finding::skipped(why)));
        }
        self
    }

    /// A scene of the chapter's own: two functions that write down what happens and say what it shows.
    pub fn play(
        name: &'static str,
        pitfall: (&'static str, impl FnOnce(&Recorder) -> Played + Send + 'static),
        cure: (&'static str, impl FnOnce(&Recorder) -> Played + Send + 'static),
    ) -> Self {
        Scene {
            name,
            pitfall: Take { caption: pitfall.0, run: Box::new(pitfall.1), watches: false },
            cure: Take { caption: cure.0, run: Box::new(cure.1), watches: false },
            alone: false,
        }
    }

    /// A recording of it shows the kernel's side as well, wherever all stands still.
    #[must_use]
    pub fn watching_the_kernel(mut self) -> Self {
        self.pitfall.watches = true;
        self.cure.watches = true;
        self
    }
}

/// The chapter's own program as a server to examine: `serve {addr}` and these options.
pub fn own_server(options: &[&str]) -> Target {
    // Without a path to itself the program can't be started: the probe then says so.
    let program = env::current_exe().map_or_else(|_| String::new(), |path| path.to_string_lossy().into_owned());
    let arguments = [program.as_str(), "serve", "{addr}"].into_iter().chain(options.iter().copied()).map(str::to_owned);
    Target::Command(arguments.collect::<Vec<_>>().into())
}

/// What is shown of the demonstration, and where else than on the screen.
#[derive(Args)]
pub(crate) struct Show {
    /// Show this scene of the demonstration alone
    #[arg(long, value_name = "NAME")]
    scene: Option<String>,
    /// Wait for Enter before each pitfall and each cure, for a class
    #[arg(long)]
    step: bool,
    /// Also draw a scene as a figure (SVG): the pitfall's run, and the cure's below. The first scene, without --scene
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Also write each scene's two runs as data, for the book
    #[arg(long, value_name = "DIR", hide = true)]
    record: Option<PathBuf>,
}

/// Plays the scenes and prints what came of them. Status 0 if every pitfall sprang and every cure held.
pub(crate) fn demonstrate(name: &str, demonstration: Demonstration, show: &Show) -> ExitCode {
    let Demonstration { title, mut scenes, why, next } = demonstration;
    let only = show.scene.as_deref();
    let all: Vec<&str> = scenes.iter().map(|scene| scene.name).collect();
    let all = all.join(", ");
    if let Some(only) = only {
        scenes.retain(|scene| scene.name == only);
        if scenes.is_empty() {
            eprintln!("{BAD}error:{BAD:#} there is no scene \"{only}\" in this chapter. There are: {all}");
            return ExitCode::from(2);
        }
    }
    process::end_all_on_ctrl_c(|| ());
    process::raise_descriptor_limit();
    keep_pitfalls_quiet();
    println!("{BOLD}{title}{BOLD:#}");
    let names: Vec<&str> = scenes.iter().map(|scene| scene.name).collect();
    let (mut broken_claims, mut skipped) = (Vec::new(), Vec::new());
    for take in scenes.iter_mut().flat_map(|scene| [&mut scene.pitfall, &mut scene.cure]) {
        // It takes time, and only the book shows it.
        take.watches &= show.record.is_some();
    }
    let played: Vec<[Seen; 2]> = play_all(scenes);
    for (&name, [pitfall, cure]) in names.iter().zip(&played) {
        println!("\n{BOLD}── {name} {}{BOLD:#}", "─".repeat(screen::width().saturating_sub(name.len() + 4)));
        let claims =
            [("pitfall", pitfall, Verdict::Falls, "did not spring"), ("cure", cure, Verdict::Holds, "did not hold")];
        for (side, seen, claimed, broken) in claims {
            if show.step {
                wait_for_enter(side);
            }
            print!("\n{}", seen.run.told(side, screen::width()));
            if !seen.is_played {
                broken_claims.push(format!("{name}: the {side} could not be shown"));
            } else if !seen.has(claimed) && !seen.has(Verdict::Skipped) {
                broken_claims.push(format!("{name}: the {side} {broken}"));
            }
        }
        if pitfall.has(Verdict::Skipped) || cure.has(Verdict::Skipped) {
            skipped.push(name);
        }
    }
    if names.len() > 1 {
        println!("\n{BOLD}In short{BOLD:#}\n{}", in_short(&names, &played));
    }
    println!("{BOLD}Why{BOLD:#}\n{}", screen::paragraph(why, 2));
    println!("{BOLD}Next{BOLD:#}\n{}", screen::paragraph(next, 2));
    if only.is_none() {
        let alone = format!("Each scene can be shown alone, with `-- --scene NAME`: {all}.");
        println!("{}", screen::paragraph(&alone, 2));
    }
    let chapter = name.split('_').next().unwrap_or_default();
    if let Err(error) = write_down(chapter, &names, played, show) {
        return report(Err(error));
    }
    if broken_claims.is_empty() {
        if skipped.is_empty() {
            println!("{GOOD}{name}: every pitfall sprang, and every cure held.{GOOD:#}");
        } else {
            let but = format!("but for what was skipped ({})", skipped.join(", "));
            println!("{GOOD}{name}: every pitfall sprang, and every cure held,{GOOD:#} {but}.");
        }
        return ExitCode::SUCCESS;
    }
    for claim in broken_claims {
        eprintln!("{BAD}{name}: {claim}{BAD:#}");
    }
    ExitCode::FAILURE
}

/// A line for each scene.
fn in_short(names: &[&str], played: &[[Seen; 2]]) -> String {
    let line = |(name, [pitfall, cure]): (&&str, &[Seen; 2])| {
        let sign = |seen: &Seen| {
            let verdict = seen.run.finding.verdict;
            let style = screen::verdict(verdict);
            format!("{style}{} {:5}{style:#}", screen::sign(verdict), verdict.word())
        };
        format!("  {name:20} the pitfall {}  the cure {}\n", sign(pitfall), sign(cure))
    };
    names.iter().zip(played).map(line).collect()
}

/// Nobody has to press Enter where nobody can.
fn wait_for_enter(side: &str) {
    if io::stdin().is_terminal() {
        eprint!("\n  Enter shows the {side} ");
        let _ = io::stdin().read_line(&mut String::new());
    }
}

/// A handler that panics is shown in the timeline. Its message would stand in the middle of the screen.
fn keep_pitfalls_quiet() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name() != Some(CONNECTION_THREAD) {
            usual(info);
        }
    }));
}

/// Plays all scenes, those at the same time that don't disturb each other. They come back in their order.
fn play_all(scenes: Vec<Scene>) -> Vec<[Seen; 2]> {
    let spinner = screen::spinner("starting servers and their hostile clients");
    let seen = thread::scope(|scope| {
        let start = |take: Take| (take.caption, lack::spawn_scoped(scope, || play(take)));
        let finish = |(caption, playing): (&str, Result<ScopedJoinHandle<'_, Seen>, Lack>)| match playing {
            Ok(playing) => playing.join().expect("a scene doesn't panic"),
            Err(lack) => Seen::new(caption, Err(lack.into()), Recording::default()),
        };
        let takes = scenes.into_iter().map(|Scene { pitfall, cure, alone, .. }| {
            [pitfall, cure].map(|take| if alone { Err(take) } else { Ok(start(take)) })
        });
        let started: Vec<[Result<_, Take>; 2]> = takes.collect();
        // All that run side by side have to end before one that must be alone begins.
        let finished: Vec<_> = started.into_iter().map(|takes| takes.map(|take| take.map(finish))).collect();
        finished.into_iter().map(|takes| takes.map(|take| take.unwrap_or_else(play))).collect()
    });
    spinner.finish_and_clear();
    seen
}

fn play(take: Take) -> Seen {
    let recorder = if take.watches { Recorder::watching() } else { Recorder::new() };
    let played = (take.run)(&recorder);
    Seen::new(take.caption, played, recorder.recording())
}

/// Writes the files that were asked for.
fn write_down(chapter: &str, names: &[&str], played: Vec<[Seen; 2]>, show: &Show) -> anyhow::Result<()> {
    let write = |path: &Path, text: String| {
        fs::write(path, text).with_context(|| format!("cannot write \"{}\"", path.display()))
    };
    let scenes = names.iter().zip(played).map(|(&name, takes)| {
        let [pitfall, cure] = takes.map(|seen| seen.run);
        scene::Scene { chapter: chapter.to_owned(), name: name.to_owned(), pitfall, cure }
    });
    for (number, scene) in scenes.enumerate() {
        if let (0, Some(path)) = (number, &show.svg) {
            write(path, scene.figure(&scene.sides()))?;
            println!("The figure of {} is in {}.", scene.name, path.display());
        }
        if let Some(folder) = &show.record {
            fs::create_dir_all(folder).with_context(|| format!("cannot make the folder \"{}\"", folder.display()))?;
            let path = folder.join(&scene.name).with_extension("json");
            write(&path, serde_json::to_string_pretty(&scene.shortened())? + "\n")?;
        }
    }
    Ok(())
}
