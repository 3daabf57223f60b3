//! The commands that the page "Your own server" tells its readers to type, as they stand there.

use std::fs;
use std::path::Path;

use floodtest::args::Cli;

/// The page.
const PAGE: &str = "../reports/docs/your-own-server.md";

/// The commands for one server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recipe {
    /// The arguments of `floodtest urls`, if it is that which writes the URLs.
    pub(crate) urls: Vec<String>,
    /// The arguments of `floodtest`.
    pub(crate) flood: Vec<String>,
    /// The arguments of `msggen`, if messages are sent.
    pub(crate) send: Vec<String>,
}

impl Recipe {
    /// The commands under this heading.
    pub(crate) fn of(name: &str) -> Self {
        let recipes = recipes();
        let found = recipes.into_iter().find(|(heading, _)| heading == name);
        found.unwrap_or_else(|| panic!("there is nothing about {name:?} on {PAGE}")).1
    }

    /// The same with other values in place of those that the page has.
    pub(crate) fn replacing(mut self, replacements: &[(&str, &str)]) -> Self {
        for argument in self.urls.iter_mut().chain(&mut self.flood).chain(&mut self.send) {
            for (from, to) in replacements {
                *argument = argument.replace(from, to);
            }
        }
        self
    }

    /// The same with another value for a flag of `msggen`.
    pub(crate) fn sending(mut self, flag: &str, value: &str) -> Self {
        let at = self.send.iter().position(|argument| argument == flag).unwrap();
        value.clone_into(&mut self.send[at + 1]);
        self
    }

    /// The value of a flag.
    pub(crate) fn value<'a>(arguments: &'a [String], flag: &str) -> Option<&'a str> {
        let at = arguments.iter().position(|argument| argument == flag)?;
        Some(&arguments[at + 1])
    }
}

/// All headings of the page that have commands, and these.
fn recipes() -> Vec<(String, Recipe)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let page = fs::read_to_string(&path).unwrap();
    let mut recipes = Vec::new();
    let mut heading = String::new();
    let mut is_code = false;
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            name.clone_into(&mut heading);
        } else if line.starts_with("```") {
            is_code = line == "```sh";
            if is_code {
                recipes.push((heading.clone(), Recipe::default()));
            }
        } else if is_code {
            let recipe = &mut recipes.last_mut().expect("a block has begun").1;
            let mut words = words(line);
            let program = words.remove(0);
            match program.as_str() {
                "floodtest" if words[0] == "urls" => {
                    // Up to the place where the shell puts the output.
                    words.truncate(words.iter().position(|word| word == ">").unwrap());
                    recipe.urls = words;
                }
                "floodtest" => recipe.flood = words,
                "msggen" => recipe.send = words,
                other => panic!("{other} is none of our programs: {line}"),
            }
        }
    }
    recipes
}

/// The words of a command, as a shell sees them: single quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (k, part) in line.split('\'').enumerate() {
        let mut last = words.pop().expect("there is one always");
        if k % 2 == 1 {
            words.push(last + part);
            continue;
        }
        let mut parts = part.split(' ');
        last.push_str(parts.next().expect("a split has one part at least"));
        words.push(last);
        words.extend(parts.map(str::to_owned));
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_of_the_page_is_understood() {
    let recipes = recipes();
    assert!(recipes.len() >= 13, "there are {}", recipes.len());
    for (heading, recipe) in recipes {
        let commands = [&recipe.urls, &recipe.flood].into_iter().filter(|it| !it.is_empty());
        for arguments in commands {
            let line = std::iter::once("floodtest").chain(arguments.iter().map(String::as_str));
            let result = <Cli as clap::Parser>::try_parse_from(line);
            assert!(result.is_ok(), "{heading}: {arguments:?}: {}", result.unwrap_err());
        }
    }
}
