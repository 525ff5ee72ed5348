//! `cargo xtask ci`: everything that must hold before a change is taken.

use std::env;
use std::path::Path;
use std::time::Instant;

use anstream::println;
use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;
use xshell::{Shell, cmd};

use crate::tools::in_ci;
use crate::{BAD, BOLD};

/// Run all that CI runs, and say how long each part took
///
/// It ends with the first part that fails. A part that lacks a tool is skipped and says so; in CI, where the variable CI
/// is set, it fails. Nothing is installed.
#[derive(Args)]
pub struct Arguments {
    /// Run only this part; may be given several times
    #[arg(long, value_name = "PART", value_parser = PossibleValuesParser::new(PARTS.iter().map(|part| part.name)))]
    only: Vec<String>,
    /// List the parts, and run none
    #[arg(long)]
    list: bool,
}

/// One thing that must hold, and the commands that show it.
struct Part {
    /// Its name for `--only`.
    name: &'static str,
    /// What holds if it passes.
    holds: &'static str,
    /// What it can't do without: programs, variables in capitals, paths with a slash. One of several as "one or other".
    needs: &'static [&'static str],
    /// Whether other systems would add nothing to what Linux shows, or lack what it takes, such as `/proc`.
    linux_only: bool,
    /// Runs its commands in the root of the repository.
    run: fn(&Shell) -> Result<()>,
}

/// A part that needs nothing, on any system.
const EVERYWHERE: Part = Part { name: "", holds: "", needs: &[], linux_only: false, run: |_| Ok(()) };

/// What is quick, and what most often fails, comes first.
const PARTS: &[Part] = &[
    Part {
        name: "format",
        holds: "rustfmt changes nothing",
        run: |sh| Ok(cmd!(sh, "cargo fmt --all --check").run()?),
        ..EVERYWHERE
    },
    Part {
        name: "clippy",
        holds: "clippy warns of nothing",
        run: |sh| {
            // The benchmark and what the book is made with are for Linux only.
            let members = cfg!(target_os = "linux").then_some("--workspace");
            Ok(cmd!(sh, "cargo clippy --locked {members...} --all-targets -- -D warnings").run()?)
        },
        ..EVERYWHERE
    },
    Part {
        name: "licences",
        holds: "every dependency has a licence that deny.toml allows",
        needs: &["cargo-deny"],
        linux_only: true,
        run: |sh| Ok(cmd!(sh, "cargo deny --workspace check licenses").run()?),
    },
    Part {
        name: "docs",
        holds: "rustdoc warns of nothing",
        run: |sh| Ok(cmd!(sh, "cargo doc --locked --no-deps").env("RUSTDOCFLAGS", "-D warnings").run()?),
        ..EVERYWHERE
    },
    Part { name: "demonstrations", holds: "every chapter shows what it promises", run: demonstrations, ..EVERYWHERE },
    Part { name: "tests", holds: "the README's own test command passes", run: tests, ..EVERYWHERE },
    Part {
        name: "install",
        holds: "the installed command works without the repository, or says what it lacks",
        run: |sh| Ok(cmd!(sh, "cargo test --locked --test checkout -- --ignored").run()?),
        ..EVERYWHERE
    },
    Part {
        name: "beyond",
        holds: "the steps beyond the six hold, step 9 on tokio included",
        run: |sh| {
            cmd!(sh, "cargo test --locked --features async --test 09_async").run()?;
            Ok(cmd!(sh, "cargo test --locked --features async --test staircase -- --ignored").run()?)
        },
        ..EVERYWHERE
    },
    Part {
        name: "members",
        holds: "the benchmark passes its tests, and the models find every mistake put in",
        linux_only: true,
        run: |sh| {
            cmd!(sh, "cargo test --locked --package duel").run()?;
            Ok(cmd!(sh, "cargo test --locked --package tcp-pitfalls-model").run()?)
        },
        ..EVERYWHERE
    },
    Part {
        name: "classroom",
        holds: "exercises, solutions and checks agree, and students and teachers are served",
        linux_only: true,
        run: |sh| Ok(cmd!(sh, "cargo test --locked --test classroom --test as_the_task_says -- --ignored").run()?),
        ..EVERYWHERE
    },
    Part {
        name: "long",
        holds: "what takes more than 10 s of waiting holds as well",
        run: |sh| Ok(cmd!(sh, "cargo test --locked --test go --test probe_command --test probes -- --ignored").run()?),
        ..EVERYWHERE
    },
    Part {
        name: "soak",
        holds: "steps 6 and 8 bear hostile clients for thirty seconds",
        linux_only: true,
        run: |sh| {
            let soak = cmd!(sh, "cargo test --locked --release --test soak -- --ignored --nocapture");
            Ok(soak.env("SOAK_SECONDS", "30").run()?)
        },
        ..EVERYWHERE
    },
    Part {
        name: "go",
        holds: "gofmt changes nothing in the Go programs, and go vet finds nothing",
        needs: &["go", "gofmt", "git"],
        linux_only: true,
        run: go,
    },
    Part {
        name: "book",
        holds: "cargo book and cargo xtask keep their own tests, and everything in the book is so",
        linux_only: true,
        run: |sh| {
            cmd!(sh, "cargo test --locked --package xtask").run()?;
            Ok(cmd!(sh, "cargo book check").run()?)
        },
        ..EVERYWHERE
    },
    Part {
        name: "browser",
        holds: "a browser finds no fault in any page of the book",
        needs: &["npm", "CHROMIUM or chromium or chromium-browser or google-chrome", "book/browser/node_modules"],
        linux_only: true,
        run: |sh| {
            cmd!(sh, "cargo book").run()?;
            Ok(cmd!(sh, "npm run --silent --prefix book/browser check").run()?)
        },
    },
];

fn demonstrations(sh: &Shell) -> Result<()> {
    // Sorted, as they are numbered.
    for folder in sh.read_dir("chapters")? {
        let chapter = folder.file_name().unwrap_or_default();
        if chapter.to_string_lossy().starts_with(|first: char| first.is_ascii_digit()) {
            // Without the feature cargo refuses step 9, and with it the others would be built anew.
            let features = if chapter == "09_async" { "async" } else { "" };
            cmd!(sh, "cargo run --locked --quiet --features={features} --bin {chapter}").run()?;
        }
    }
    Ok(())
}

fn tests(sh: &Shell) -> Result<()> {
    let readme = sh.read_file("README.md")?;
    let words =
        test_command(&readme).context("README.md has no line that begins with `cargo test`")?.split_whitespace();
    Ok(sh.cmd("cargo").args(words.skip(1)).run()?)
}

/// The command by which the README says to run the tests.
fn test_command(readme: &str) -> Option<&str> {
    readme.lines().find(|line| line.starts_with("cargo test"))
}

fn go(sh: &Shell) -> Result<()> {
    let listed = cmd!(sh, "git ls-files *.go").read()?;
    let programs: Vec<&str> = listed.lines().collect();
    let difference = cmd!(sh, "gofmt -d").args(&programs).ignore_status().read()?;
    ensure!(difference.is_empty(), "gofmt would change this:\n{difference}");
    for program in programs {
        cmd!(sh, "go vet {program}").run()?;
    }
    Ok(())
}

impl Part {
    /// Runs it, and returns how it ended in a word: "passed", or why it was skipped.
    fn outcome(&self, sh: &Shell, in_ci: bool) -> Result<String> {
        if self.linux_only && !cfg!(target_os = "linux") {
            return Ok("skipped: it is only for Linux".into());
        }
        match self.needs.iter().find(|need| !is_there(need, sh)) {
            None => (self.run)(sh).map(|()| "passed".into()),
            Some(need) if in_ci => Err(anyhow!("it needs {need}, and in CI no part is skipped")),
            Some(need) => Ok(format!("skipped: it needs {need}. .ci/run shows how to install it")),
        }
    }
}

/// Whether a part's need is met.
fn is_there(need: &str, sh: &Shell) -> bool {
    let path = sh.var_os("PATH").unwrap_or_default();
    let is_program = |name| env::split_paths(&path).any(|folder| sh.path_exists(folder.join(&name)));
    let is_there = |one: &str| match one {
        _ if one.contains('/') => sh.path_exists(one),
        _ if one.chars().all(|it| it.is_ascii_uppercase()) => sh.var_os(one).is_some(),
        _ => is_program(format!("{one}{}", env::consts::EXE_SUFFIX)),
    };
    need.split(" or ").any(is_there)
}

/// Runs the chosen parts, up to the first that fails.
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let is_chosen = |part: &&Part| arguments.only.is_empty() || arguments.only.iter().any(|name| name == part.name);
    let chosen: Vec<&Part> = PARTS.iter().filter(is_chosen).collect();
    for part in &chosen {
        println!("{:16}{}", part.name, part.holds);
    }
    if arguments.list {
        return Ok(());
    }
    let sh = Shell::new().context("cannot tell the current folder")?;
    sh.change_dir(root);
    // Where `.ci/run` installs tools.
    let path = env::var_os("PATH").unwrap_or_default();
    let tools = [root.join("target/ci-tools/bin")].into_iter().chain(env::split_paths(&path));
    sh.set_var("PATH", env::join_paths(tools).context("the PATH can't be extended by target/ci-tools/bin")?);

    let mut table = String::new();
    let mut result = Ok(());
    for part in chosen {
        println!("\n{BOLD}== {}{BOLD:#}", part.name);
        let begun = Instant::now();
        let outcome = part.outcome(&sh, in_ci());
        let word = match &outcome {
            Ok(word) => word.clone(),
            Err(_) => format!("{BAD}FAILED{BAD:#}"),
        };
        println!("{}: {word}", part.name);
        table += &format!("{:16}{:5.0} s  {word}\n", part.name, begun.elapsed().as_secs_f32());
        if let Err(error) = outcome {
            result = Err(anyhow!("{} failed: {error:#}. To run it alone: cargo xtask ci --only {0}", part.name));
            break;
        }
    }
    println!("\n{BOLD}How long each part took{BOLD:#}\n{}", table.trim_end());
    result
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn part(need: &'static [&'static str]) -> Part {
        Part { name: "part", needs: need, run: |_| bail!("it ran"), ..EVERYWHERE }
    }

    #[test]
    fn a_missing_tool_skips_a_part_but_in_ci() {
        let sh = Shell::new().unwrap();
        let part = part(&["cargo", "no-such-tool or no/such/file or NOSUCHVARIABLE"]);
        assert!(part.outcome(&sh, false).unwrap().starts_with("skipped: it needs no-such-tool"));
        let error = part.outcome(&sh, true).unwrap_err().to_string();
        assert!(error.starts_with("it needs no-such-tool"), "{error}");
    }

    #[test]
    fn one_of_several_tools_is_enough() {
        let sh = Shell::new().unwrap();
        for need in ["no-such-tool or cargo", "no/such/file or PATH", "src/ci.rs or no-such-tool"] {
            sh.change_dir(env!("CARGO_MANIFEST_DIR"));
            assert!(is_there(need, &sh), "{need}");
        }
        assert_eq!(part(&["cargo"]).outcome(&sh, false).unwrap_err().to_string(), "it ran");
    }

    #[test]
    fn the_readme_says_how_to_test() {
        let readme = include_str!("../../../README.md");
        assert!(test_command(readme).is_some());
        assert_eq!(test_command("```sh\ncargo run\ncargo test --quiet\n"), Some("cargo test --quiet"));
    }
}
