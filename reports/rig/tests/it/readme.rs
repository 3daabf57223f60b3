//! Every command that README.md and the pages show is understood.

use std::process::{Command, Output};

use crate::installed::built;
use crate::rig::told;
use crate::tidy::top;

/// The documents whose commands people type.
const DOCUMENTS: [&str; 13] = [
    "README.md",
    "reports/docs/comet-server.md",
    "reports/docs/figures.md",
    "reports/docs/floodtest.md",
    "reports/docs/friends.md",
    "reports/docs/memlog.md",
    "reports/docs/msggen.md",
    "reports/docs/promises.md",
    "reports/docs/rig.md",
    "reports/docs/pipelines.md",
    "reports/docs/scenarios.md",
    "reports/docs/storms.md",
    "reports/docs/language-models.md",
];

/// A document of the repository.
pub(crate) fn read(name: &str) -> String {
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
