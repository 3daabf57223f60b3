//! README.md agrees with the programs: its commands are understood, and its limits are theirs.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use crate::installed::built;
use crate::rig::told;
use crate::tidy::top;

/// The documents whose commands people type.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "reports/docs/friends.md",
    "reports/docs/promises.md",
    "reports/docs/pipelines.md",
    "reports/docs/scenarios.md",
    "reports/docs/storms.md",
    "reports/docs/language-models.md",
];

/// A document of the repository.
fn read(name: &str) -> String {
    std::fs::read_to_string(top().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The commands in the code blocks of `text` that start one of our programs, as lines of a shell.
/// A line that ends in a backslash goes on; an ellipsis stands for flags that are named elsewhere.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    // A console shows what programs have said as well.
    let blocks = text.split("```").skip(1).step_by(2).filter(|it| !it.starts_with("console"));
    for block in blocks {
        for line in block.replace("\\\n", " ").lines() {
            let words = shlex::split(&line.replace('…', " ")).unwrap_or_default();
            // What another program reads or a file takes is none of this one's.
            let is_end = |word: &String| ["|", ">", ">>", "&&"].contains(&word.as_str());
            let words: Vec<String> = words.into_iter().take_while(|word| !is_end(word)).collect();
            let words = match words.as_slice() {
                [cargo, rig, rest @ ..] if cargo == "cargo" && rig == "rig" => {
                    [&["rig".to_owned()], rest].concat()
                }
                _ => words,
            };
            let ours = ["comet-server", "floodtest", "msggen", "memlog", "rig"];
            if words.first().is_some_and(|it| ours.contains(&it.as_str())) {
                commands.push(words);
            }
        }
    }
    commands
}

/// What `program` says to these arguments and a wish for help, which it only grants when it has
/// understood all that stands before it.
pub(crate) fn help(program: &str, arguments: &[String]) -> Output {
    let mut command = Command::new(built(program));
    // Behind a `--` nothing is a flag.
    let n_flags = arguments.iter().position(|it| it == "--").unwrap_or(arguments.len());
    let (flags, rest) = arguments.split_at(n_flags);
    command.args(flags).arg("--help").args(rest).env("COLUMNS", "200").output().unwrap()
}

#[test]
fn every_command_is_understood() {
    let mut n_commands = 0;
    for document in DOCUMENTS {
        for words in commands(&read(document)) {
            let output = help(&words[0], &words[1..]);
            assert_eq!(output.status.code(), Some(0), "{words:?} of {document}: {}", told(&output));
            n_commands += 1;
        }
    }
    assert!(n_commands >= 18, "there are {n_commands}");
    let output = help("floodtest", &["--no-such-flag".to_owned()]);
    assert_eq!(output.status.code(), Some(2), "this test can fail: {}", told(&output));
}

/// The defaults of `program`'s flags that are numbers, as its help says them.
fn defaults(program: &str) -> BTreeMap<String, String> {
    let text = String::from_utf8(help(program, &[]).stdout).unwrap();
    let mut defaults = BTreeMap::new();
    let mut flag = None;
    for line in text.lines() {
        if let Some(at) = line.find("--").filter(|at| line[..*at].trim().len() <= 3) {
            let name = line[at..].split([' ', '[', '<']).next().unwrap();
            flag = Some(name.to_owned());
        }
        if let (Some(flag), Some((_, rest))) = (&flag, line.split_once("[default: ")) {
            let default = rest.split([']', ',']).next().unwrap();
            if default.starts_with(|it: char| it.is_ascii_digit()) {
                defaults.insert(flag.clone(), default.to_owned());
            }
        }
    }
    defaults
}

/// Whether the cell of a table that says a default begins with the `default` of a help text, whose
/// numbers and units stand together.
fn says(cell: &str, default: &str) -> bool {
    let plain = |text: &str| text.replace([' ', ',', '`'], "").to_lowercase();
    plain(cell).starts_with(&plain(default))
}

#[test]
fn the_defaults_in_the_tables_are_those_of_the_programs() {
    let readme = read("README.md");
    let mut n_compared = BTreeMap::new();
    for section in readme.split("\n### ").skip(1) {
        let program = section.lines().next().unwrap();
        let defaults = defaults(program);
        for row in section.lines().filter(|line| line.starts_with("| `--")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let [_, name, default, _, _] = cells.as_slice() else { continue };
            // A row of several has the most that each may be.
            if name.contains(';') {
                continue;
            }
            let flag = name.trim_start_matches('`').split(['`', ' ']).next().unwrap();
            if let Some(expected) = defaults.get(flag) {
                assert!(says(default, expected), "{program} {flag}: {expected}; README: {default}");
                *n_compared.entry(program.to_owned()).or_insert(0) += 1;
            }
        }
    }
    let n_all: u32 = n_compared.values().sum();
    assert!(n_all >= 12 && n_compared.len() == 4, "compared: {n_compared:?}");
}
