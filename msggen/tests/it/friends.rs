//! `msggen friends`: graphs as a program writes them.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::support::msggen;

#[test]
fn a_graph_goes_to_stdout_and_the_same_one_into_a_file() {
    let folder = tempfile::tempdir().unwrap();
    for shape in ["ba", "uniform", "ring"] {
        let flags = format!("friends --users 1k --follows 3 --shape {shape} --seed 5");
        let run = msggen(&flags).code(0);
        run.assert(run.stderr.is_empty(), "nothing is said");
        assert_eq!(run.stdout.lines().count(), 3_000);
        let path = folder.path().join(shape);
        std::fs::write(&path, "what was there before").unwrap();
        let run_to_file = msggen(&format!("{flags} --out {}", path.display())).code(0);
        run_to_file.assert(run_to_file.stdout.is_empty(), "nothing goes to stdout");
        assert!(std::fs::read_to_string(&path).unwrap() == run.stdout, "{shape}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "no other file is left");
}

#[test]
fn without_a_seed_another_graph_comes_each_time_and_can_be_repeated() {
    let first = msggen("friends --users 100 --follows 2").code(0).says("--seed ");
    let (_, seed) = first.stderr.trim().split_once("msggen: the seed is ").unwrap();
    let (seed, _) = seed.split_once(';').unwrap();
    let again = msggen(&format!("friends --users 100 --follows 2 --seed {seed}")).code(0);
    assert_eq!(first.stdout, again.stdout);
    let other = msggen("friends --users 100 --follows 2").code(0);
    assert_ne!(first.stdout, other.stdout);
}

#[test]
fn what_is_no_graph_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("friends.txt").display().to_string();
    for (flags, why) in [
        ("--follows 15".to_owned(), "--users <N>"),
        ("--users 0".to_owned(), "must be at least 1"),
        ("--users 5000m".to_owned(), "must be at most 4294967295: ids have 32 bits here"),
        ("--users 15".to_owned(), "15 users cannot follow 15 others each"),
        ("--users 9 --follows 0".to_owned(), "must be at least 1"),
        ("--users 20k --follows 10001".to_owned(), "must be at most 10000"),
        ("--users 100m".to_owned(), "1500000000 edges are more than the 250000000 that --shape ba"),
        ("--users 99 --shape star".to_owned(), "write ba (Barabási–Albert), uniform or ring"),
        ("--users 99 --num 3".to_owned(), "--num"),
        (format!("--users 99 --out {}", folder.path().display()), "is no regular file"),
    ] {
        let out = if flags.contains("--out") { String::new() } else { format!("--out {out}") };
        let run = msggen(&format!("friends {flags} {out}")).code(2).says(why);
        run.assert(run.stderr.starts_with("msggen: "), "it says who speaks");
    }
    msggen("--num 5 friends --users 99").code(2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was written");
}

#[test]
fn a_reader_that_has_read_enough_ends_it_well() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_msggen"));
    command.args(["friends", "--users", "100k", "--shape", "ring", "--seed", "1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((line.as_str(), output.status.code()), ("1 2\n", Some(0)));
    assert!(output.stderr.is_empty(), "{output:?}");
}
