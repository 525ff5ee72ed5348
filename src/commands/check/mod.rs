//! `check` and `reset`: what a student sees of the classroom, and what a teacher gets from it.

mod grade;
mod launch;
mod progress;
mod report;
mod show;
mod watch;
mod workshop;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{self, Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use self::grade::{Graded, Server};
use self::launch::{Launch, join};
use self::progress::Progress;
use self::watch::{Places, Watch};
use self::workshop::Workshop;
use tcp_pitfalls::classroom::{self, Exercise};
use tcp_pitfalls::lab::process;
use tcp_pitfalls::lab::recording::Recorder;
use tcp_pitfalls::lab::server::Target;
use tcp_pitfalls::probes::Verdict;
use tcp_pitfalls::show::screen::{BOLD, COMMAND, DIM, eprint, eprintln, print, println};

/// Show the exercises, or examine what you made of one
///
/// Without a name, it shows all exercises, how far you are with each, and the next one to do. With one, it builds the
/// exercise, starts it, and says of each check whether your server holds, and if not, what happened.
///
/// Status 0 if no check falls, 1 if any does, was cut short, or the exercise does not compile, 2 if nothing could be
/// examined.
#[derive(Args)]
#[command(
    override_usage = "tcp-pitfalls check [OPTIONS] [EXERCISE]\n       tcp-pitfalls check [OPTIONS] EXERCISE -- COMMAND … {addr} …"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option to type")]
pub(crate) struct CheckArguments {
    /// The exercise: 1 to 6, capstone, or 8
    #[arg(value_parser = exercise())]
    exercise: Option<&'static Exercise>,
    /// How to start a server of yours in any language, with {addr} where its address belongs
    ///
    /// It is remembered: kept in the file `command` beside the exercise, where you can also write it yourself.
    #[arg(last = true, value_name = "COMMAND")]
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
    /// Watch this file or folder as well (may be repeated)
    #[arg(long, value_name = "PATH", requires = "watch", value_parser = absolute)]
    also: Vec<PathBuf>,
    /// Show the story of every check that fell, and not only of the first, each from its beginning to its end
    #[arg(long)]
    all_details: bool,
    /// Look at the files twice a second, for file systems that don't tell of changes
    #[arg(long, requires = "watch")]
    poll: bool,
    /// How many seconds a server may take to start
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    start: u64,
    /// Make the same random conversations as a check that named this number
    #[arg(long, value_name = "N", conflicts_with = "hint")]
    seed: Option<u64>,
    /// Write the result to this file as JSON; to standard output, if it is `-`
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    json: Option<PathBuf>,
    /// Write the result to this file as JUnit XML; to standard output, if it is `-`
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    junit: Option<PathBuf>,
    /// Start what students wrote under this command, which takes rights away, and keep nothing in their copy
    ///
    /// Builds and servers are started by it, such as `setpriv --reuid=student --regid=student --clear-groups`.
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["watch", "hint"])]
    under: Option<String>,
}

/// Standard output, among files.
const STDOUT: &str = "-";

/// A path that stays the same when the current folder changes.
fn absolute(text: &str) -> io::Result<PathBuf> {
    if text == STDOUT { Ok(text.into()) } else { path::absolute(text) }
}

impl CheckArguments {
    /// Whether standard output is for programs. What people read goes to standard error then.
    fn is_piped(&self) -> bool {
        [&self.json, &self.junit].into_iter().flatten().any(|file| file.as_os_str() == STDOUT)
    }

    /// Prints what people read.
    fn tell(&self, text: &str) {
        if self.is_piped() {
            eprint!("{text}");
        } else {
            print!("{text}");
        }
    }
}

/// Make an exercise as it was at the beginning
///
/// Your file is kept beside the new one, as main.rs.backup.
#[derive(Args)]
pub(crate) struct ResetArguments {
    /// The exercise: 1 to 6, capstone, or 8
    #[arg(value_parser = exercise())]
    exercise: &'static Exercise,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Takes the name of an exercise.
fn exercise() -> impl TypedValueParser<Value = &'static Exercise> {
    let value = |exercise: &Exercise| {
        let value = PossibleValue::new(exercise.id);
        if let Some(short) = exercise.id.strip_prefix('0') { value.alias(short) } else { value }
    };
    let names = PossibleValuesParser::new(classroom::ALL.iter().map(value));
    names.try_map(|name| classroom::find(&name).ok_or("there is no such exercise"))
}

/// Runs `check`.
///
/// # Errors
/// A sentence, if nothing could be examined.
pub(crate) fn check(arguments: &CheckArguments) -> Result<ExitCode> {
    process::end_all_on_ctrl_c(|| ());
    let mut workshop = Workshop::find()?;
    let exercise = arguments.exercise;
    if exercise.is_none() && !arguments.command.is_empty() {
        bail!(
            "one command can't be the server of all exercises, since each has a protocol of its own. Give it to one, as \
             in: cargo run -- check 04 -- {}. There it is remembered, and `check --all` uses it",
            join(&arguments.command)
        );
    }
    if let Some(under) = &arguments.under {
        workshop.under = Launch::parse(under).with_context(|| format!("--under \"{under}\" can't be understood"))?;
    }
    let given = workshop.enter(&arguments.command)?;
    let files = [&arguments.json, &arguments.junit].into_iter().flatten().filter(|file| file.as_os_str() != STDOUT);
    for file in files {
        // Before minutes are spent on what nobody could keep.
        let tried = fs::OpenOptions::new().create(true).append(true).open(file);
        tried.with_context(|| format!("cannot write {}", file.display()))?;
    }
    match exercise {
        Some(exercise) if arguments.hint => {
            give_hint(&workshop, exercise)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(exercise) if arguments.watch => check_on_save(&workshop, exercise, arguments, &given),
        Some(exercise) => {
            let graded = check_one(&workshop, exercise, arguments, &given)?;
            finish(arguments, &[graded])
        }
        None if arguments.all || arguments.json.is_some() || arguments.junit.is_some() => {
            let graded = check_all(&workshop, arguments)?;
            finish(arguments, &graded)
        }
        None => {
            print!("{}", show::overview(&workshop, &Progress::load(&workshop)?));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Writes the files that were asked for. The status says whether anything failed.
fn finish(arguments: &CheckArguments, graded: &[Graded]) -> Result<ExitCode> {
    for (file, content) in
        [(&arguments.json, report::json as fn(&[Graded]) -> Result<String>), (&arguments.junit, report::junit)]
    {
        match file {
            Some(file) if file.as_os_str() == STDOUT => std::print!("{}", content(graded)?),
            Some(file) => {
                fs::write(file, content(graded)?).with_context(|| format!("cannot write {}", file.display()))?;
            }
            None => {}
        }
    }
    Ok(if graded.iter().any(|graded| graded.count(Verdict::Falls) > 0 || graded.is_unfinished()) {
        ExitCode::FAILURE
    } else if graded.iter().all(|graded| graded.count(Verdict::Holds) == 0) {
        // Nothing was found out, which must not pass for a success.
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

/// Says what could not be kept. It costs nobody the findings.
fn warn(kept: Result<()>) {
    if let Err(error) = kept {
        eprintln!("{BOLD}warning:{BOLD:#} {error:#}");
    }
}

/// Builds one exercise, examines it, shows what came of it and remembers it.
fn check_one(
    workshop: &Workshop,
    exercise: &'static Exercise,
    arguments: &CheckArguments,
    given: &[String],
) -> Result<Graded> {
    let mut server = if given.is_empty() {
        workshop.servers(&[exercise])?.remove(0)
    } else {
        let launch = workshop.launch(exercise, given.to_vec())?;
        if let (None, Some((missing, beside))) = (&launch.build, launch.missing()) {
            let beside = if beside.is_empty() { "no such file".into() } else { beside.join(", ") };
            bail!("there is no {}: is the path right? Its folder holds {beside}", missing.display());
        }
        let server = workshop.server(exercise, launch);
        try_to_start(&server)?;
        server
    };
    may_take(&mut server, arguments.start);
    let graded = grade::grade(vec![server], arguments.seed, true);
    // A command that has started no server is more likely to be mistyped than to be wanted again.
    let kept = match &graded[0] {
        Graded { launch: Some(launch), problem: None, .. } if workshop.keeps() => workshop.remember(exercise, launch),
        _ => Ok(()),
    };
    show_and_keep(workshop, &graded, |progress| {
        arguments.tell(&show::graded(workshop, &graded[0], progress, arguments.all_details));
    });
    warn(kept);
    graded.into_iter().next().context("nothing was examined")
}

/// A command that can't be started is a mistake in the command, and no server that falls.
fn try_to_start(server: &Server) -> Result<()> {
    match &server.target {
        Ok(target) => target.start(&Recorder::new(), None).map(drop),
        // What does not compile is said with the points that it costs.
        Err(_) if server.launch.as_ref().is_some_and(|launch| launch.target(&[]).is_ok()) => Ok(()),
        Err(why) => bail!("{why:#}, as in: cargo run -- check 04 -- python3 my_server.py {{addr}}"),
    }
}

/// Lets a server take so many seconds to start.
fn may_take(server: &mut Server, seconds: u64) {
    if let Ok(Target::Command(launch)) = &mut server.target {
        launch.start = Duration::from_secs(seconds);
    }
}

fn check_all(workshop: &Workshop, arguments: &CheckArguments) -> Result<Vec<Graded>> {
    let exercises: Vec<&'static Exercise> = classroom::ALL.iter().collect();
    let mut servers = workshop.servers(&exercises)?;
    for server in &mut servers {
        may_take(server, arguments.start);
    }
    let graded = grade::grade(servers, arguments.seed, false);
    show_and_keep(workshop, &graded, |_| arguments.tell(&show::table(&graded)));
    Ok(graded)
}

/// Shows the findings to a student who is so far, and keeps them.
fn show_and_keep(workshop: &Workshop, graded: &[Graded], show: impl FnOnce(&Progress)) {
    // Grading leaves no trace in a student's copy, where a link could lead what is written elsewhere.
    if !workshop.keeps() {
        return show(&Progress::default());
    }
    let (mut progress, loaded) = Progress::load_or_begin(workshop);
    for graded in graded {
        progress.remember(workshop, graded);
    }
    show(&progress);
    warn(loaded.and_then(|()| progress.save(workshop)));
}

fn check_on_save(
    workshop: &Workshop,
    exercise: &'static Exercise,
    arguments: &CheckArguments,
    given: &[String],
) -> Result<ExitCode> {
    let launch = if given.is_empty() { workshop.remembered(exercise)? } else { None };
    let launch = if given.is_empty() { launch } else { Some(workshop.launch(exercise, given.to_vec())?) };
    let mut places = Places::default();
    places.add(&workshop.folder(exercise));
    if let Some(launch) = &launch {
        launch.sources().iter().for_each(|file| places.add_folder_of(Path::new(file)));
        places.ignored = launch.built().map(OsStr::to_owned).collect();
    }
    if !given.is_empty() {
        // Kept by the first check itself.
        places.ignored.extend(workshop.command(exercise).file_name().map(OsStr::to_owned));
    }
    arguments.also.iter().for_each(|path| places.add(path));
    let mut watch = Watch::new(places, arguments.poll)?;
    loop {
        watch.look();
        if let Err(error) = check_one(workshop, exercise, arguments, given) {
            // The next save may mend this as well.
            eprintln!("{BOLD}error:{BOLD:#} {error:#}");
        }
        println!("{DIM}Waiting for you to save. Ctrl-C ends this.{DIM:#}");
        let changed = watch.wait()?;
        println!("\n{DIM}{} has changed.{DIM:#}", workshop.shown(&changed));
    }
}

fn give_hint(workshop: &Workshop, exercise: &Exercise) -> Result<()> {
    let path = workshop.folder(exercise).join("hints.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    // Its sections, each without the number that its heading ends with.
    let sections = text.split("\n## Hint ").skip(1).filter_map(|section| section.split_once('\n'));
    let hints: Vec<&str> = sections.map(|(_, hint)| hint.trim()).collect();
    if hints.is_empty() {
        bail!("there are no hints in {}", path.display());
    }
    let (mut progress, loaded) = Progress::load_or_begin(workshop);
    let given = progress.next_hint(exercise, hints.len());
    warn(loaded.and_then(|()| progress.save(workshop)));
    let Exercise { id, title, .. } = exercise;
    println!("{BOLD}{id}, {title}: hint {given} of {}{BOLD:#}\n", hints.len());
    print!("{}", show::hint(hints[given - 1]));
    if workshop.remembered(exercise).is_ok_and(|launch| launch.is_some()) {
        println!("\nTraps of other languages than Rust: {}", workshop.shown(&workshop.page("other_languages.html")));
    }
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
    let exercise = arguments.exercise;
    let (file, starter) = (workshop.file(exercise), workshop.starter(exercise));
    let pristine = fs::read(&starter).with_context(|| format!("cannot read the starter {}", starter.display()))?;
    let mine = fs::read(&file).unwrap_or_default();
    let shown = workshop.shown(&file);
    let command = workshop.command(exercise);
    if mine == pristine && !command.exists() {
        println!("{shown} is as it was at the beginning.");
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.yes {
        println!("This replaces {shown} by the starter.");
        if command.exists() {
            println!("It removes {}. The server that it starts stays.", workshop.shown(&command));
        }
        print!("Your file is kept beside it. Go on? [y/N] ");
        io::stdout().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !answer.trim().to_lowercase().starts_with('y') {
            println!("Nothing was changed.");
            return Ok(ExitCode::FAILURE);
        }
    }
    if let Ok(line) = fs::read_to_string(&command) {
        fs::remove_file(&command).with_context(|| format!("cannot remove {}", command.display()))?;
        println!("Your command was: {}", line.trim());
    }
    if !mine.is_empty() && mine != pristine {
        let backup = workshop.backup(exercise);
        fs::copy(&file, &backup).with_context(|| format!("cannot keep your file as {}", backup.display()))?;
        println!("Your file is kept as {}.", workshop.shown(&backup));
    }
    fs::write(&file, pristine).with_context(|| format!("cannot write {}", file.display()))?;
    let mut progress = Progress::load(&workshop)?;
    progress.forget(exercise);
    warn(progress.save(&workshop));
    println!("{shown} is as it was at the beginning.");
    println!("Next: {COMMAND}cargo run -- check {}{COMMAND:#}", exercise.id);
    Ok(ExitCode::SUCCESS)
}
