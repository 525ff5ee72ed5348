//! Makes wrong servers: each model answer with one mistake at a time, as the files in `faults` have them. So no copy of it is
//! kept, and none falls behind.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=faults");
    for file in fs::read_dir("faults").expect("there are faults").flatten() {
        let path = file.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()).expect("it is called like its exercise");
        let solution = format!("../../chapters/solutions/src/bin/solution_{id}.rs");
        println!("cargo::rerun-if-changed={solution}");
        let [solution, faults] =
            [Path::new(&solution), &path].map(|path| fs::read_to_string(path).expect("it is there"));
        let (mut modules, mut arms) = (String::new(), String::new());
        for fault in faults.split("\n# ").skip(1) {
            let (heading, changes) = fault.split_once('\n').expect("a change stands below its name");
            let name = heading.split(':').next().unwrap_or_default();
            let module = name.replace('-', "_");
            let text = changed(&solution, changes, &format!("{id}, {name}"));
            modules += &format!("mod {module} {{\n{}}}\n", text.replacen("fn main(", "pub fn main(", 1));
            arms += &format!("        \"{name}\" => {module}::main(),\n");
        }
        let main = format!(
            "fn main() -> anyhow::Result<()> {{\n    let name = std::env::args().nth(2).unwrap_or_default();\n    \
             match &*name {{\n{arms}        _ => anyhow::bail!(\"usage: wrong_{id} --fault NAME ADDR\"),\n    }}\n}}\n"
        );
        let out = Path::new(&env::var_os("OUT_DIR").unwrap()).join(format!("wrong_{id}.rs"));
        fs::write(out, modules + &main).unwrap();
    }
}

/// Puts lines that begin with `+` in place of those with `-` before them, wherever these stand, however indented. Any other
/// line stands between two such changes.
fn changed(solution: &str, changes: &str, fault: &str) -> String {
    let mut lines: Vec<&str> = solution.lines().collect();
    let mut changes = changes.lines().peekable();
    while changes.peek().is_some() {
        let mut take = |sign| {
            let mut taken = Vec::new();
            while let Some(line) = changes.next_if(|line| line.starts_with(sign)) {
                taken.push(&line[1..]);
            }
            taken
        };
        let (from, to) = (take('-'), take('+'));
        if from.is_empty() {
            assert!(to.is_empty() && changes.next().is_some(), "{fault}: nothing gives way to {to:?}");
            continue;
        }
        let is_here = |at: &usize| lines[*at..].iter().zip(&from).all(|(one, other)| one.trim() == other.trim());
        let places: Vec<usize> = (0..=lines.len() - from.len()).filter(is_here).collect();
        assert_eq!(places.len(), 1, "{fault}: the model answer no longer has once: {from:?}");
        lines.splice(places[0]..places[0] + from.len(), to);
    }
    lines.join("\n") + "\n"
}
