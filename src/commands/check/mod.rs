//! `check` and `reset`: what a student sees of the classroom, and what a teacher gets from it.

mod grade;
mod hints;
mod progress;
mod report;
mod show;
mod watch;
mod workshop;

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anstream::{eprintln, print, println};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};

use self::grade::Graded;
use self::progress::Progress;
use self::watch::Watch;
use self::workshop::Workshop;
use tcp_pitfalls::classroom::{self, Exercise};
use tcp_pitfalls::lab::process;
use tcp_pitfalls::lab::recording::Recorder;
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::show::screen::{BOLD, COMMAND, DIM};

/// Show the exercises, or examine what you made of one
///
/// Without a name, it shows all exercises, how far you are with each, and the next one to do. With one, it builds the
/// exercise, starts it, and says of each check whether your server holds, and if not, what happened.
///
/// Status 0 if no check falls, 1 if any does or the exercise does not compile, 2 if nothing could be examined.
#[derive(Args)]
#[command(
    override_usage = "tcp-pitfalls check [OPTIONS] [EXERCISE]\n       tcp-pitfalls check [OPTIONS] EXERCISE -- COMMAND … {addr} …"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option to type")]
pub(crate) struct CheckArguments {
    /// The exercise: 1 to 6, or capstone
    #[arg(value_parser = exercise_names())]
    exercise: Option<String>,
    /// How to start a server of yours in any language, with {addr} where its address belongs
    #[arg(last = true, value_name = "COMMAND", requires = "exercise")]
    command: Vec<String>,
    /// Examine all exercises
    #[arg(long, conflicts_with = "exercise")]
    all: bool,
    /// Give the next hint instead
    #[arg(long, requires = "exercise", conflicts_with_all = ["watch", "json", "junit", "command"])]
    hint: bool,
    /// Examine it again whenever you save
    #[arg(long, requires = "exercise", conflicts_with_all = ["json", "junit"])]
    watch: bool,
    /// Look at the files twice a second, for file systems that don't tell of changes
    #[arg(long, requires = "watch")]
    poll: bool,
    /// Make the same random conversations as a check that named this number
    #[arg(long, value_name = "N", conflicts_with = "hint")]
    seed: Option<u64>,
    /// Write the result to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the result to this file as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// Make an exercise as it was at the beginning
///
/// Your file is kept beside the new one, as main.rs.backup.
#[derive(Args)]
pub(crate) struct ResetArguments {
    /// The exercise: 1 to 6, or capstone
    #[arg(value_parser = exercise_names())]
    exercise: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

fn exercise_names() -> PossibleValuesParser {
    let value = |exercise: &Exercise| {
        let value = PossibleValue::new(exercise.id);
        if let Some(short) = exercise.id.strip_prefix('0') { value.alias(short) } else { value }
    };
    PossibleValuesParser::new(classroom::ALL.iter().map(value))
}

/// The exercise that was named.
fn named(name: &str) -> Result<&'static Exercise> {
    classroom::find(name).with_context(|| format!("there is no exercise \"{name}\""))
}

/// Runs `check`.
///
/// # Errors
/// A sentence, if nothing could be examined.
pub(crate) fn check(arguments: &CheckArguments) -> Result<ExitCode> {
    let workshop = Workshop::find()?;
    let exercise = arguments.exercise.as_deref().map(named).transpose()?;
    match exercise {
        Some(exercise) if arguments.hint => {
            give_hint(&workshop, exercise)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(exercise) if arguments.watch => check_on_save(&workshop, exercise, arguments),
        Some(exercise) => {
            let graded = check_one(&workshop, exercise, arguments)?;
            finish(arguments, &[graded])
        }
        None if arguments.all || arguments.json.is_some() || arguments.junit.is_some() => {
            let graded = check_all(&workshop, arguments)?;
            print!("{}", show::table(&graded));
            finish(arguments, &graded)
        }
        None => {
            print!("{}", show::overview(&Progress::load(&workshop)?));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Writes the files that were asked for. The status says whether anything failed.
fn finish(arguments: &CheckArguments, graded: &[Graded]) -> Result<ExitCode> {
    for (file, content) in
        [(&arguments.json, report::json as fn(&[Graded]) -> Result<String>), (&arguments.junit, report::junit)]
    {
        if let Some(file) = file {
            fs::write(file, content(graded)?).with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(if graded.iter().any(|graded| graded.problem.is_some() || graded.falls() > 0) {
        ExitCode::FAILURE
    } else if graded.iter().all(|graded| graded.holds() == 0) {
        // Nothing was found out, which must not pass for a success.
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

/// Builds one exercise, examines it, shows what came of it and remembers it.
fn check_one(workshop: &Workshop, exercise: &'static Exercise, arguments: &CheckArguments) -> Result<Graded> {
    let command = &arguments.command[..];
    process::end_all_on_ctrl_c();
    let mut progress = Progress::load(workshop)?;
    let target = if command.is_empty() { workshop.build(&[exercise])?.remove(0) } else { Ok(started_by(command)?) };
    let graded = grade::grade(&[(exercise, target)], arguments.seed).remove(0);
    progress.remember(&graded);
    progress.save(workshop)?;
    print!("{}", show::graded(workshop, &graded, command, &progress));
    Ok(graded)
}

/// The server that this command starts. That it can be started is tried.
fn started_by(command: &[String]) -> Result<Target> {
    let target = Target::command(command)
        .map_err(|why| anyhow!("{why}, as in: cargo run -- check 04 -- python3 my_server.py {{addr}}"))?;
    target.start(&Recorder::new(), None)?;
    Ok(target)
}

fn check_all(workshop: &Workshop, arguments: &CheckArguments) -> Result<Vec<Graded>> {
    process::end_all_on_ctrl_c();
    let mut progress = Progress::load(workshop)?;
    let exercises: Vec<&'static Exercise> = classroom::ALL.iter().collect();
    let targets = workshop.build(&exercises)?;
    let servers: Vec<_> = exercises.into_iter().zip(targets).collect();
    let graded = grade::grade(&servers, arguments.seed);
    for graded in &graded {
        progress.remember(graded);
    }
    progress.save(workshop)?;
    Ok(graded)
}

fn check_on_save(workshop: &Workshop, exercise: &'static Exercise, arguments: &CheckArguments) -> Result<ExitCode> {
    let mut watch = Watch::new(&workshop.folder(exercise), &arguments.command, arguments.poll)?;
    loop {
        watch.look();
        if let Err(error) = check_one(workshop, exercise, arguments) {
            // The next save may mend this as well.
            eprintln!("{BOLD}error:{BOLD:#} {error:#}");
        }
        println!("{DIM}Waiting for you to save. Ctrl-C ends this.{DIM:#}");
        watch.wait()?;
        println!();
    }
}

fn give_hint(workshop: &Workshop, exercise: &Exercise) -> Result<()> {
    let path = workshop.readme(exercise);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let hints = hints::parse(&text);
    if hints.is_empty() {
        bail!("there are no hints in {}", path.display());
    }
    let mut progress = Progress::load(workshop)?;
    let given = progress.next_hint(exercise, hints.len());
    progress.save(workshop)?;
    let Exercise { id, title, .. } = exercise;
    println!("{BOLD}{id}, {title}: hint {given} of {}{BOLD:#}\n", hints.len());
    print!("{}", show::markdown(&hints[given - 1], 2));
    if given < hints.len() {
        println!("\nStill stuck? {COMMAND}cargo run -- check {id} --hint{COMMAND:#} gives the next one.");
    } else {
        println!("\nThat is the last one. All of them are in\n{}", workshop.shown(&path));
    }
    Ok(())
}

/// Runs `reset`.
///
/// # Errors
/// A sentence, if it can't be done.
pub(crate) fn reset(arguments: &ResetArguments) -> Result<ExitCode> {
    let workshop = Workshop::find()?;
    let exercise = named(&arguments.exercise)?;
    let (file, starter) = (workshop.file(exercise), workshop.starter(exercise));
    let pristine = fs::read(&starter).with_context(|| format!("cannot read the starter {}", starter.display()))?;
    let mine = fs::read(&file).unwrap_or_default();
    let shown = workshop.shown(&file);
    if mine == pristine {
        println!("{shown} is as it was at the beginning.");
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.yes {
        println!("This replaces {shown} by the starter.");
        print!("Your file is kept beside it. Go on? [y/N] ");
        io::stdout().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !answer.trim().to_lowercase().starts_with('y') {
            println!("Nothing was changed.");
            return Ok(ExitCode::FAILURE);
        }
    }
    if !mine.is_empty() {
        let backup = workshop.backup(exercise);
        fs::copy(&file, &backup).with_context(|| format!("cannot keep your file as {}", backup.display()))?;
        println!("Your file is kept as {}.", workshop.shown(&backup));
    }
    fs::write(&file, pristine).with_context(|| format!("cannot write {}", file.display()))?;
    let mut progress = Progress::load(&workshop)?;
    progress.forget(exercise);
    progress.save(&workshop)?;
    println!("{shown} is as it was at the beginning.");
    println!("Next: {COMMAND}cargo run -- check {}{COMMAND:#}", exercise.id);
    Ok(ExitCode::SUCCESS)
}
