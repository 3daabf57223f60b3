//! ARCHITECTURE.md is true where that can be looked up: the tests that hold its invariants are
//! tests, and its paths lead to something.

use std::collections::BTreeSet;

use crate::readme::read;
use crate::tidy::{FOLDERS, top};

/// The invariants, the tests that hold them, and the files that these are in. What is held by
/// several tests has a row for each, and its name in the first.
fn invariants(text: &str) -> Vec<[String; 3]> {
    let section = text.split("\n## Invariants\n").nth(1).expect("the section is there");
    let section = section.split("\n## ").next().expect("one part at least");
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split(" | ");
        cells.map(|it| it.trim_matches([' ', '`', '|']).to_owned()).collect::<Vec<_>>()
    };
    rows.map(|row| cells(row).try_into().expect("an invariant, a test and a file")).collect()
}

/// Whether `source` has a test of this name: a function behind attributes of which one makes it a
/// test.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let beginning = format!("fn {name}(");
    let Some(at) = lines.iter().position(|line| line.contains(&beginning)) else { return false };
    let above = lines[..at].iter().rev();
    let mut attributes = above.take_while(|line| line.starts_with('#') || line.starts_with("//"));
    attributes.any(|line| line.starts_with("#[") && line.contains("test"))
}

#[test]
fn every_invariant_is_held_by_tests_that_there_are() {
    let invariants = invariants(&read("ARCHITECTURE.md"));
    assert!(invariants.len() > 25, "{invariants:#?}");
    assert!(!invariants[0][0].is_empty(), "the first row names what it is about");
    for [what, test, file] in &invariants {
        assert!(has_test(&read(file), test), "{what}: {file} has no test {test}");
    }
    let tests: BTreeSet<_> = invariants.iter().map(|it| &it[1]).collect();
    assert!(tests.len() > 20, "they are different ones: {tests:#?}");
    assert!(!has_test("fn helper() {}", "helper"), "this test can fail");
    assert!(!has_test("#[test]\nfn other() {}\nfn helper() {}", "helper"), "this test can fail");
}

#[test]
fn every_path_of_the_architecture_is_there() {
    let text = read("ARCHITECTURE.md");
    let names = text.split('`').skip(1).step_by(2).filter(|name| !name.contains([' ', '\n']));
    let is_path = |name: &&str| FOLDERS.iter().any(|it| name.starts_with(&format!("{it}/")));
    let paths: Vec<_> = names.filter(is_path).collect();
    assert!(paths.len() > 60, "{paths:?}");
    for path in paths {
        assert!(top().join(path).exists(), "{path} is not there");
    }
}

#[test]
fn the_architecture_is_read_in_a_quarter_of_an_hour() {
    let text = read("ARCHITECTURE.md");
    assert!(text.lines().count() <= 365, "{} lines", text.lines().count());
    assert_eq!(text.matches("```mermaid").count(), 2, "the house, and the way of a message");
}
