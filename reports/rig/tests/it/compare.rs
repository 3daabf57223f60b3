//! `rig compare` as people and pipelines start it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::rig::told;
use crate::tidy::top;

#[path = "../../../charts/tests/it/fixture.rs"]
#[expect(dead_code, reason = "the charts' tests have use for all of it")]
mod fixture;

use fixture::Fixture;

/// What each run of a side has as its delays, in thousandths: a spread of 2 %.
const SPREAD: [u64; 5] = [1_000, 980, 1_020, 1_010, 990];

/// Five runs that are called `before` and five `after`, whose delays are `slower` as long.
fn runs(slower: f64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (side, factor) in [("before", 1.0), ("after", slower)] {
        for (at, slow) in (1..).zip(SPREAD) {
            let folder = dir.path().join(format!("{side}-{at}"));
            fs::create_dir(&folder).unwrap();
            #[expect(clippy::cast_possible_truncation, reason = "a few thousandths")]
            #[expect(clippy::cast_sign_loss, reason = "a factor")]
            let slow = (slow as f64 * factor) as u64;
            let small = Fixture { connections: 500, per_second: 50, sending_s: 2 };
            small.write_slower(&folder, slow);
        }
    }
    dir
}

/// The folders of a side.
fn folders(side: &str) -> Vec<String> {
    (1..=SPREAD.len()).map(|at| format!("{side}-{at}")).collect()
}

/// `rig compare` in the folder `dir`.
fn compare(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rig"));
    command.current_dir(dir).arg("compare").args(arguments).output().unwrap()
}

/// All runs before against all after, with `flags`.
fn compare_all(dir: &Path, flags: &[&str]) -> Output {
    let (before, after) = (folders("before"), folders("after"));
    let all = before.iter().map(String::as_str).chain(flags.iter().copied()).chain(["--"]);
    compare(dir, &all.chain(after.iter().map(String::as_str)).collect::<Vec<_>>())
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn two_folders_are_one_run_a_side_and_a_page() {
    let dir = runs(1.0);
    let output = compare(dir.path(), &["before-1", "after-1"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(stdout(&output).contains("One run on a side: no spread is known"), "{}", told(&output));
    assert!(dir.path().join("compare.html").exists());
}

#[test]
fn a_change_for_the_worse_breaks_a_condition_and_is_named() {
    let dir = runs(1.3);
    let condition = "delivery_from_due.p99>+10%";
    let output = compare_all(dir.path(), &["--fail-if", condition, "--out", "p.html"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let errors = String::from_utf8_lossy(&output.stderr);
    let named = "rig: delivery_from_due.p99>+10%: broken: delivery_from_due.p99 changed by +30";
    assert!(errors.starts_with(named) && errors.contains("the page is p.html"), "{errors}");
    assert!(stdout(&output).contains("1 of 1 condition broken."), "{}", told(&output));
    assert!(stdout(&output).contains("worse: +2"), "{}", told(&output));
    let kept = compare_all(dir.path(), &["--fail-if", "delivery_from_due.p99>+50%,lost>0"]);
    assert_eq!(kept.status.code(), Some(0), "{}", told(&kept));
    assert!(stdout(&kept).ends_with("All 2 conditions kept.\n"), "{}", told(&kept));
}

#[test]
fn what_these_runs_cannot_tell_is_no_pass_and_the_json_says_which_it_was() {
    let dir = runs(1.0);
    let condition = ["--fail-if", "delivery_from_due.p99>+10%", "--json"];
    let arguments =
        [&["before-1", "before-2"], condition.as_slice(), &["--", "after-1", "after-2"]];
    let output = compare(dir.path(), &arguments.concat());
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["judgements"][0]["outcome"], "cannot_tell");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("3 a side is the fewest that could"), "{errors}");
}

#[test]
fn every_key_of_the_json_is_described() {
    let dir = runs(1.0);
    let output = compare_all(dir.path(), &["--fail-if", "lost>0", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let guide = fs::read_to_string(top().join("reports/docs/pipelines.md")).unwrap();
    let parts = [
        &json,
        &json["sides"][0],
        &json["judgements"][0],
        &json["figures"][0],
        &json["figures"][0]["sides"][0],
    ];
    let keys: Vec<&String> = parts.iter().flat_map(|it| it.as_object().unwrap().keys()).collect();
    assert!(keys.len() > 20, "{keys:?}");
    for key in keys {
        assert!(guide.contains(&format!("`{key}`")), "{key} is not described");
    }
}

#[test]
fn what_is_not_understood_is_refused_with_what_to_write() {
    let dir = runs(1.0);
    for (arguments, error) in [
        (&["before-1"][..], "the second side stands behind a --: rig compare A1 A2 A3 -- B1 B2 B3"),
        (&["before-1", "before-2", "after-1"], "which runs are on which side?"),
        (&["before-1", "--", "after-1", "--json"], "\"--json\" stands behind the --"),
        (&["before-1", "./before-1", "--", "after-1"], "./before-1 is given twice on one side"),
        (&["before-1", "nowhere"], "cannot read nowhere/plan.toml"),
        (
            &["before-1", "after-1", "--fail-if", "delivery_from_due.p9>+1%"],
            "there is no figure \"delivery_from_due.p9\", but \"delivery_from_due.p90\"",
        ),
        (&["before-1", "after-1", "--fail-if", "lost>=0"], "not a condition: \"lost>=0\""),
        (&["before-1", "after-1", "--junit", "no/c.xml"], "cannot write no/c.xml"),
        (&[], "required arguments were not provided"),
    ] {
        let output = compare(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", told(&output));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(error), "{arguments:?}: {said}");
    }
}

#[test]
fn the_figures_that_can_be_named_are_listed() {
    let output = compare(Path::new("."), &["--figures"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let text = stdout(&output);
    let line = "server.rss_per_connection            (RSS idle − empty) ÷ connections, bytes \
                (memory.tsv)\n";
    assert!(text.contains(line), "{text}");
    assert_eq!(text.lines().count(), reports::compare::figures::all().len());
}

/// The blocks of the guide that compare runs: whole commands of a shell. Those that make the runs
/// are run by `guides.rs`.
fn commands() -> Vec<String> {
    let guide = fs::read_to_string(top().join("reports/docs/pipelines.md")).unwrap();
    let blocks = guide.split("```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap().to_owned());
    blocks.filter(|block| block.starts_with("rig compare")).collect()
}

#[test]
fn the_commands_of_the_guide_do_what_it_says() {
    let dir = runs(1.02);
    let summary = dir.path().join("summary.md");
    let programs = Path::new(env!("CARGO_BIN_EXE_rig")).parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap();
    let path: Vec<PathBuf> = [programs].into_iter().chain(std::env::split_paths(&path)).collect();
    let commands = commands();
    assert_eq!(commands.len(), 3);
    for command in &commands {
        let output = Command::new("bash")
            .args(["-euc", command])
            .current_dir(dir.path())
            .env("PATH", std::env::join_paths(&path).unwrap())
            .env("GITHUB_STEP_SUMMARY", &summary)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{command}: {}", told(&output));
    }
    let summary = fs::read_to_string(summary).unwrap();
    assert!(summary.starts_with("### A, 5 runs and B, 5 runs\n\n**All 3 conditions kept.**"));
    let junit = fs::read_to_string(dir.path().join("compare.xml")).unwrap();
    assert!(junit.contains("failures=\"0\" errors=\"0\""), "{junit}");
    let json: Value =
        serde_json::from_slice(&fs::read(dir.path().join("compare.json")).unwrap()).unwrap();
    assert_eq!(json["sides"][1]["runs"][4], "after-5");
}
