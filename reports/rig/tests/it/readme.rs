//! Every command that README.md and the pages show is understood, those of README.md are run, and
//! links lead somewhere.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::installed::built;
use crate::rig::{assert_held, told};
use crate::scenario::Foreign;
use crate::tidy::top;

/// The documents whose commands people type.
const DOCUMENTS: [&str; 20] = [
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
    "reports/docs/scaling.md",
    "reports/docs/scenarios.md",
    "reports/docs/storms.md",
    "reports/docs/language-models.md",
    "reports/docs/CHANGELOG.md",
    "reports/docs/how-figures-are-measured.md",
    "reports/docs/installing.md",
    "reports/docs/reading-a-report.md",
    "reports/docs/several-hosts.md",
    "reports/docs/tuning.md",
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
            let is_end = |word: &String| ["|", ">", ">>", "&&", "&"].contains(&word.as_str());
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

/// The commands of README.md that stand on lines of their own, as they are typed.
fn typed(readme: &str) -> Vec<String> {
    let blocks = readme.split("\n```\n").skip(1).step_by(2);
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

#[test]
fn every_command_of_the_front_page_is_run() {
    let readme = read("README.md");
    let typed = typed(&readme);
    let [quick, whole, init, run] = typed.as_slice() else {
        panic!("another command is on the page, and has to be run here: {typed:#?}");
    };
    // The quick form is run by the gate, as it stands.
    let gate = read(".ci/run");
    assert_eq!(quick, "cargo rig c10k --minutes 0.2 --connections 1000");
    assert!(gate.contains(&format!("\n{quick} --out ")), "the gate runs {quick}");

    // The whole one is run here in small, by programs that are there.
    let place = tempfile::tempdir().unwrap();
    let rig = built("rig");
    let small = "--connections 50 --messages-per-second 100 --minutes 0.02";
    let whole = whole.replace("cargo rig", rig.to_str().unwrap());
    let output = shell(place.path(), &format!("{whole} {small}"));
    let folder = only_run(place.path(), &output);
    assert_held(output.status, &folder, &told(&output));
    assert!(folder.join("report.html").is_file(), "what the page promises is there");
    std::fs::remove_dir_all(place.path().join("runs")).unwrap();

    // A server of one's own, with the port that it has here.
    let Some(server) = Foreign::start() else { return };
    let own = |command: &str| {
        let command = command.replace("cargo rig", rig.to_str().unwrap());
        command.replace(":8080/", &format!(":{}/", server.port))
    };
    let output = shell(place.path(), &own(init));
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let small = "--set connections.count=10 --set messages.for=1s --set messages.allow-late=true";
    let output = shell(place.path(), &format!("{} {small}", own(run)));
    let folder = only_run(place.path(), &output);
    assert_held(output.status, &folder, &told(&output));
    assert!(folder.join("report.html").is_file(), "the same kind of report");
}

/// Runs `command` in `place` by a shell, without the variables by which cargo would be found: so it
/// is an installed rig that runs.
fn shell(place: &Path, command: &str) -> Output {
    let mut shell = Command::new("sh");
    shell.env_remove("CARGO").env_remove("CARGO_PKG_NAME").current_dir(place);
    shell.args(["-c", command]).output().unwrap()
}

/// The folder of the only run in `place`.
fn only_run(place: &Path, output: &Output) -> PathBuf {
    let runs = std::fs::read_dir(place.join("runs"));
    let mut runs = runs.unwrap_or_else(|error| panic!("no run: {error}: {}", told(output)));
    let run = runs.next().unwrap().unwrap().path();
    assert!(runs.next().is_none(), "one run");
    run
}

#[test]
fn the_front_page_is_short() {
    let readme = read("README.md");
    assert!(readme.lines().count() <= 150, "{} lines", readme.lines().count());
}

#[test]
fn links_lead_to_files_and_headings_that_there_are() {
    let mut documents = vec!["ARCHITECTURE.md".to_owned()];
    documents.extend(DOCUMENTS.iter().map(|it| (*it).to_owned()));
    let mut n_links = 0;
    for document in documents {
        let folder = top().join(&document).parent().unwrap().to_owned();
        for link in links(&read(&document)) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let path = if file.is_empty() { top().join(&document) } else { folder.join(file) };
            assert!(path.exists(), "{document} leads to {link}, which there is not");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&path).unwrap();
                let is_there = anchors(&text).iter().any(|it| it == heading);
                assert!(is_there, "{document} leads to {link}, a heading that there is not");
            }
            n_links += 1;
        }
    }
    assert!(n_links > 60, "there are {n_links}");
}

/// Where the links of `text` lead, but those to other places of the web.
fn links(text: &str) -> Vec<String> {
    let inline = text.split("](").skip(1).filter_map(|it| it.split_once(')')).map(|it| it.0);
    let below = text.lines().filter(|line| line.starts_with('['));
    let below = below.filter_map(|line| line.split_once("]: ")).map(|it| it.1);
    let all = inline.chain(below).filter(|it| !it.contains("://") && !it.contains(' '));
    all.map(str::to_owned).collect()
}

/// What GitHub calls the headings of `text`: small letters, digits and hyphens for spaces.
fn anchors(text: &str) -> Vec<String> {
    let is_kept = |letter: &char| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter);
    let anchor = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().chars().filter(is_kept);
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    let blocks = text.split("```").step_by(2);
    blocks.flat_map(str::lines).filter(|line| line.starts_with('#')).map(anchor).collect()
}
