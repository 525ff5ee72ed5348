//! How a student's own command starts the server of an exercise.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use tcp_pitfalls::lab::server::Target;

/// A command that starts a server in any language, with `{addr}` where its address belongs.
#[derive(Clone)]
pub(super) struct Launch {
    pub(super) words: Vec<String>,
    /// What is run once before, where the language is a compiled one.
    pub(super) build: Option<Vec<String>>,
}

/// Languages by the programs that run or compile them, and by the ends of their files' names.
const LANGUAGES: &[(&str, &[&str])] = &[
    ("Python", &["python", "pypy", ".py"]),
    ("JavaScript", &["node", ".js", ".mjs", ".cjs"]),
    ("TypeScript", &["deno", "bun", "tsx", ".ts"]),
    ("Go", &["go", ".go"]),
    ("C", &["gcc", "cc", "clang", ".c"]),
    ("C++", &["g++", "c++", "clang++", ".cpp", ".cc"]),
    ("Rust", &["cargo", "rustc", ".rs"]),
    ("Java", &["java", "javac", ".jar", ".java"]),
    ("C#", &["dotnet", ".cs", ".dll"]),
    ("Ruby", &["ruby", ".rb"]),
    ("Elixir", &["elixir", ".exs"]),
];

impl Launch {
    /// The command in a file of one line.
    pub(super) fn parse(line: &str) -> Result<Vec<String>> {
        match shlex::split(line.trim()) {
            Some(words) if !words.is_empty() && line.trim().lines().count() == 1 => Ok(words),
            _ => bail!("it must be one command on one line, with every quote closed"),
        }
    }

    /// The server that this starts, each of its processes under the command `under`.
    pub(super) fn target(&self, under: &[String]) -> Result<Target> {
        Target::command(&[under, &self.words].concat())
    }

    /// The command as it is typed.
    pub(super) fn line(&self) -> String {
        join(&self.words)
    }

    /// What it is written in, as far as the names of programs and files tell.
    pub(super) fn language(&self) -> Option<&'static str> {
        self.build.iter().flatten().chain(&self.words).find_map(|word| language(word))
    }

    /// The student's own files that it names, from the folder in which it is run.
    pub(super) fn sources(&self) -> Vec<&str> {
        let words = self.build.as_ref().unwrap_or(&self.words);
        let is_built = |word: &str| self.built().any(|built| Path::new(word).file_name() == Some(built));
        let files = words.iter().map(String::as_str).filter(|word| Path::new(word).is_file() && !is_built(word));
        let files: Vec<&str> = files.collect();
        match &files[..] {
            // An interpreter, by its whole path.
            [program, rest @ ..] if !rest.is_empty() && *program == words[0] => rest.to_vec(),
            _ => files,
        }
    }

    /// A file that it names and that isn't there, by the end of its name, and which of the kind there are beside it.
    pub(super) fn missing(&self) -> Option<(&Path, Vec<String>)> {
        let is_missing = |file: &&Path| file.extension().is_some_and(is_source) && !file.exists();
        let missing = self.words.iter().map(Path::new).find(is_missing)?;
        let folder = missing.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let beside = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut beside: Vec<String> = beside
            .filter(|file| file.extension() == missing.extension())
            .filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()))
            .collect();
        beside.sort();
        Some((missing, beside))
    }

    /// A command like this for another server, whose files are yet to be written.
    pub(super) fn like(&self) -> Launch {
        let sources = self.sources();
        let other = |word: &String| match Path::new(word).extension() {
            _ if !sources.contains(&word.as_str()) => word.clone(),
            Some(extension) => format!("my_server.{}", extension.to_string_lossy()),
            None => "./my_server".into(),
        };
        Launch { words: self.words.iter().map(other).collect(), build: None }
    }

    /// The names of what its build makes: the files of the command. Without a build, none.
    pub(super) fn built(&self) -> impl Iterator<Item = &OsStr> {
        let words = if self.build.is_some() { &self.words[..] } else { &[] };
        words.iter().filter_map(|word| Path::new(word).file_name())
    }
}

/// Whether files that end like this belong to a language.
fn is_source(extension: &OsStr) -> bool {
    let is_it = |mark: &&str| mark.strip_prefix('.').is_some_and(|mark| extension == mark);
    LANGUAGES.iter().any(|(_, marks)| marks.iter().any(is_it))
}

fn language(word: &str) -> Option<&'static str> {
    let name = Path::new(word).file_name()?.to_str()?;
    let stem = name.trim_end_matches(".exe").trim_end_matches(|it: char| it.is_ascii_digit() || ".-".contains(it));
    let tells = |mark: &&str| if mark.starts_with('.') { name.ends_with(*mark) } else { stem == *mark };
    LANGUAGES.iter().find(|(_, marks)| marks.iter().any(tells)).map(|(language, _)| *language)
}

/// Words as they are typed. Braces alone need no quotes, and `{addr}` is easier to read without them.
pub(super) fn join(words: &[String]) -> String {
    let quoted = |word: &String| match shlex::try_quote(&word.replace(['{', '}'], "")) {
        Ok(Cow::Borrowed(_)) => word.clone(),
        _ => shlex::try_quote(word).map_or_else(|_| word.clone(), Cow::into_owned),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
