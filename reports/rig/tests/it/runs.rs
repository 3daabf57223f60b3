//! Published runs: the index has all of them, and the script that makes them again makes them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::installed::built;
use crate::rig::told;
use crate::tidy::top;

#[test]
fn the_index_has_every_published_run_and_no_other() {
    let runs = top().join("reports/runs");
    let index = fs::read_to_string(runs.join("README.md")).unwrap();
    let mut n_runs = 0;
    for entry in fs::read_dir(&runs).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        // What `remake.sh` is at has no line yet.
        let is_whole =
            ![Some("part"), Some("short")].contains(&name.rsplit_once('.').map(|it| it.1));
        if entry.file_type().unwrap().is_dir() && is_whole {
            assert!(index.contains(&format!("| [{name}]({name}/README.md) | ")), "{name}");
            assert!(entry.path().join("README.md").exists(), "{name} says what it shows");
            n_runs += 1;
        }
    }
    let n_rows = index.lines().filter(|line| line.starts_with("| [")).count();
    assert_eq!(n_rows, n_runs, "a line for each");
}

/// `remake.sh` in small, with `names`, in `folder`.
fn remake(folder: &Path, names: &[&str]) -> Output {
    let mut script = Command::new(top().join("reports/runs/remake.sh"));
    script.args(names).env("SMALL", "1").env("TO", folder).env("DATE", "2026-01-02");
    script.env("RIG", built("rig")).env_remove("CARGO").env_remove("CARGO_PKG_NAME");
    script.output().unwrap()
}

#[test]
fn the_published_runs_are_made_again_where_that_stopped() {
    if Command::new("jq").arg("--version").output().is_err() {
        testing::skip("jq, for the script that makes the published runs again");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (folder, of) = (place.path(), |name: &str| place.path().join(name));
    fs::write(of("README.md"), "# Index\n\n| run | shows |\n|---|---|\n| old | x |\n").unwrap();
    // It was stopped in the middle of a run, and somebody had made one of that name by hand.
    fs::create_dir_all(of("2026-01-02-c10k-again.part/hour")).unwrap();
    fs::write(of("2026-01-02-c10k-again.part/hour/plan.toml"), "half a pl").unwrap();
    fs::create_dir_all(of("2026-01-02-c10k")).unwrap();
    let output = remake(folder, &["c10k"]);
    let run = of("2026-01-02-c10k-again");
    // Where the machine of the test was too busy for the schedule the run is not published.
    if output.status.code() == Some(1) {
        assert!(told(&output).contains("c10k: fell short; look at "), "{}", told(&output));
        assert!(of("2026-01-02-c10k-again.short/README.md").exists());
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(run.join("hour/report.html").exists() && run.join("hour/memory.tsv").exists());
    assert!(!of("2026-01-02-c10k-again.part").exists() && !run.join("said.txt").exists());
    let readme = fs::read_to_string(run.join("README.md")).unwrap();
    assert!(
        readme.contains("| [hour](hour/report.html) | `rig c10k --connections 100 "),
        "{readme}"
    );
    assert!(readme.contains("| held: 240 messages answered, 240 received, 100 of 100"), "{readme}");
    let index = || fs::read_to_string(of("README.md")).unwrap();
    let row = "|---|---|\n| [2026-01-02-c10k-again](2026-01-02-c10k-again/README.md) | The \
               article's experiment for an hour: 10,000 connections, 1,000 messages a second |\n\
               | old | x |\n";
    assert!(index().ends_with(row), "{}", index());

    let again = remake(folder, &["c10k"]);
    assert_eq!(again.status.code(), Some(0), "{}", told(&again));
    assert!(told(&again).contains("2026-01-02-c10k-again is there"), "{}", told(&again));
    assert!(index().ends_with(row), "it has one line of it: {}", index());
    let unknown = remake(folder, &["c11k"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", told(&unknown));
    let hosts = remake(folder, &["hosts"]);
    assert_eq!(hosts.status.code(), Some(1), "{}", told(&hosts));
}
