//! A page a program in reports/docs: its last part has every flag of `--help`, made from it; what
//! people wrote above that names no other flags, and says the same defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::readme::{help, read};
use crate::tidy::top;

/// The programs, each with a page of its name.
const PROGRAMS: [&str; 5] = ["comet-server", "floodtest", "msggen", "memlog", "rig"];

/// What a page begins its last part with.
const HEADING: &str = "## Every flag\n";

/// What stands below the heading.
const ORIGIN: &str = "\nThis part is made from `--help`. `PAGES=write cargo test -p rig --test it \
                      pages` writes it anew.\n";

/// Commands without flags, which all programs have alike.
const ALIKE: [&str; 3] = ["help", "completions", "man"];

/// What a help text says before the values that a flag may have.
const VALUES: &str = "Possible values:";

/// Flags on a page that are another program's, of which each must be that program's indeed. `cargo`
/// and `curl` are not asked.
const OTHERS: [(&str, &str, &str); 6] = [
    ("comet-server", "--data-binary", "curl"),
    ("floodtest", "--followers", "msggen"),
    ("floodtest", "--server", "msggen"),
    ("floodtest", "--stamp", "msggen"),
    ("msggen", "--friends", "comet-server"),
    ("rig", "--path", "cargo"),
];

/// An argument as a help text shows it.
#[derive(Debug, Default)]
struct Argument {
    /// The heading that it stands under.
    group: String,
    /// `--rate <N>`, or `-q, --quiet`.
    name: String,
    /// `[default: …]` without its brackets, or nothing.
    default: String,
    /// What it does.
    text: String,
}

/// A command of a program, as its help text shows it.
#[derive(Debug, Default)]
struct Shown {
    about: String,
    arguments: Vec<Argument>,
    commands: Vec<String>,
}

/// Reads a help text. Names of arguments are indented by 2 or 6 columns, what they do by more.
fn shown(text: &str) -> Shown {
    let mut shown = Shown::default();
    let mut group = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let said = line.trim();
        if said.is_empty() {
            continue;
        }
        if indent == 0 {
            if let Some(heading) = said.strip_suffix(':') {
                heading.clone_into(&mut group);
            } else if group.is_empty() && shown.about.is_empty() {
                said.clone_into(&mut shown.about);
            }
        } else if group == "Commands" {
            if indent == 2 {
                let name = said.split(' ').next().expect("a line that is not empty");
                shown.commands.push(name.to_owned());
            }
        } else if [2, 6].contains(&indent) && said.starts_with(['-', '<', '[']) {
            let (name, text) = said.split_once("  ").unwrap_or((said, ""));
            shown.arguments.push(Argument {
                group: group.clone(),
                name: name.to_owned(),
                text: text.trim().to_owned(),
                ..Argument::default()
            });
        } else if let Some(last) = shown.arguments.last_mut() {
            // A list of values becomes a sentence.
            let value = said.strip_prefix("- ").and_then(|it| it.split_once(": "));
            let (between, said) = match value.filter(|_| indent == 10) {
                Some((value, means)) => {
                    let is_first = last.text.ends_with(VALUES);
                    let between = if is_first { " " } else { "; " };
                    (between, format!("`{value}`: {}", means.trim()))
                }
                None if said == VALUES && !last.text.ends_with('.') => (". ", said.to_owned()),
                None => (" ", said.to_owned()),
            };
            last.text =
                if last.text.is_empty() { said } else { last.text.clone() + between + &said };
        }
    }
    for argument in &mut shown.arguments {
        take_default(argument);
    }
    shown.arguments.retain(|it| !["-h, --help", "-V, --version"].contains(&it.name.as_str()));
    shown
}

/// Moves the default out of an argument's text. It may have brackets of its own.
fn take_default(argument: &mut Argument) {
    const BEGIN: &str = "[default: ";
    let Some(begin) = argument.text.find(BEGIN) else { return };
    let mut depth = 0;
    let end = argument.text[begin..].find(|letter| {
        depth += i32::from(letter == '[') - i32::from(letter == ']');
        depth == 0
    });
    let end = begin + end.expect("a default ends");
    argument.default = argument.text[begin + BEGIN.len()..end].to_owned();
    let before = argument.text[..begin].trim_end();
    let after =
        argument.text[end + 1..].trim_start_matches(|it| it == '.' && before.ends_with('.'));
    argument.text = format!("{before}{after}");
}

/// `text` as the cell of a table: nothing in it is Markdown but what stands between backticks.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    let mut is_code = false;
    for letter in text.chars() {
        is_code ^= letter == '`';
        match letter {
            '|' => cell.push_str("\\|"),
            '<' if !is_code => cell.push_str("&lt;"),
            '*' if !is_code => cell.push_str("\\*"),
            _ => cell.push(letter),
        }
    }
    cell
}

/// The commands of `program` that have something to show, itself first, each with its words.
fn commands(program: &str) -> Vec<(Vec<String>, Shown)> {
    let mut found = Vec::new();
    let mut to_ask = vec![vec![]];
    while let Some(words) = to_ask.pop() {
        let output = help(program, &words);
        let it = shown(std::str::from_utf8(&output.stdout).expect("help is text"));
        let further = it.commands.iter().filter(|it| !ALIKE.contains(&it.as_str())).rev();
        to_ask.extend(further.map(|name| [words.as_slice(), std::slice::from_ref(name)].concat()));
        found.push((words, it));
    }
    found
}

/// The last part of `program`'s page.
fn every_flag(program: &str) -> String {
    let mut part = format!("{HEADING}{ORIGIN}");
    for (words, shown) in commands(program) {
        if shown.arguments.is_empty() {
            continue;
        }
        let name = [&[program.to_owned()], words.as_slice()].concat().join(" ");
        write!(part, "\n### `{name}`\n\n{}\n", shown.about).expect("a String takes all");
        let mut group = "";
        for argument in &shown.arguments {
            if argument.group != group {
                group = &argument.group;
                write!(part, "\n| {} | default | |\n|---|---|---|\n", group.to_lowercase())
                    .expect("a String takes all");
            }
            let name = argument.name.replace('|', "\\|");
            let (default, text) = (cell(&argument.default), cell(&argument.text));
            writeln!(part, "| `{name}` | {default} | {text} |").expect("a String takes all");
        }
    }
    part
}

/// The flags of `program`, those of its commands included.
fn flags(program: &str) -> BTreeSet<String> {
    let names = |shown: Shown| {
        let words = |it: &Argument| named(&it.name);
        shown.arguments.iter().flat_map(words).collect::<Vec<_>>()
    };
    let mut all: BTreeSet<_> = commands(program).into_iter().flat_map(|it| names(it.1)).collect();
    all.extend(["--help", "--version"].map(str::to_owned));
    all
}

/// The flags that `text` names.
fn named(text: &str) -> Vec<String> {
    let is_inside = |letter: char| letter.is_ascii_lowercase() || letter == '-';
    let words = text.split(|letter: char| !is_inside(letter) && !letter.is_ascii_digit());
    let is_flag = |word: &&str| {
        word.len() > 3 && word.starts_with("--") && word.as_bytes()[2].is_ascii_lowercase()
    };
    words.filter(is_flag).map(str::to_owned).collect()
}

/// The name of `program`'s page in the repository.
fn page(program: &str) -> String {
    format!("reports/docs/{program}.md")
}

#[test]
fn every_flag_of_the_help_is_on_the_page_of_its_program() {
    for program in PROGRAMS {
        let text = read(&page(program));
        let (above, part) = text.split_once(HEADING).unwrap_or((&text, ""));
        let expected = every_flag(program);
        assert!(expected.matches("\n| `-").count() > 8, "{expected}");
        if std::env::var("PAGES").is_ok_and(|it| it == "write") {
            let text = format!("{}\n\n{expected}", above.trim_end());
            std::fs::write(top().join(page(program)), text).unwrap();
            continue;
        }
        let is = format!("{HEADING}{part}");
        let differs = expected.lines().zip(is.lines()).find(|(expected, is)| expected != is);
        let why = differs.unwrap_or(("its length", "differs"));
        assert!(is == expected, "{}: {why:?}; PAGES=write makes it anew", page(program));
    }
}

#[test]
fn every_flag_on_a_page_is_one_of_its_program_or_said_to_be_another_s() {
    let flags: BTreeMap<_, _> = PROGRAMS.iter().map(|it| (*it, flags(it))).collect();
    let mut foreign = BTreeSet::new();
    for program in PROGRAMS {
        let text = read(&page(program));
        let above = text.split_once(HEADING).expect("the page has its last part").0;
        for flag in named(above) {
            if !flags[program].contains(&flag) {
                foreign.insert((program, flag));
            }
        }
    }
    let said: BTreeSet<_> =
        OTHERS.iter().map(|(page, flag, _)| (*page, (*flag).to_owned())).collect();
    assert_eq!(foreign, said, "left: on the pages; right: what OTHERS says");
    for (page, flag, whose) in OTHERS {
        let is_ours = flags.get(whose).is_none_or(|its| its.contains(flag));
        assert!(is_ours, "{flag} on the page of {page} is none of {whose}");
    }
}

/// Whether the cell of a table that says a default begins with the `default` of a help text, whose
/// numbers and units stand together.
fn says(cell: &str, default: &str) -> bool {
    let plain = |text: &str| text.replace([' ', ',', '`'], "").to_lowercase();
    plain(cell).starts_with(&plain(default))
}

#[test]
fn the_defaults_in_the_tables_of_limits_are_those_of_the_programs() {
    let mut n_compared = BTreeMap::new();
    for program in PROGRAMS {
        let text = read(&page(program));
        let above = text.split_once(HEADING).expect("the page has its last part").0;
        let of_itself = commands(program).swap_remove(0).1.arguments;
        for row in above.lines().filter(|line| line.starts_with("| `--")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let [_, name, default, _, _] = cells.as_slice() else { continue };
            // A row of several has the most that each may be.
            if name.contains(';') {
                continue;
            }
            let flag = &named(name)[0];
            let its = of_itself.iter().find(|it| named(&it.name).contains(flag));
            let Some(its) = its.map(|it| it.default.split(',').next().expect("one at least"))
            else {
                continue;
            };
            if its.starts_with(|it: char| it.is_ascii_digit()) {
                assert!(says(default, its), "{program} {flag}: {its}; the page: {default}");
                *n_compared.entry(program).or_insert(0) += 1;
            }
        }
    }
    let n_all: u32 = n_compared.values().sum();
    assert!(n_all >= 12 && n_compared.len() == 4, "compared: {n_compared:?}");
}
