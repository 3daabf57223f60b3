//! Two runs side by side.

use std::path::Path;

use charts::Comparison;
use reports::run::{Exits, Host, Plan, files};
use tempfile::TempDir;

use crate::fixture::Fixture;
use crate::run_folder::SMALL;

fn written(fixture: Fixture) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fixture.write(dir.path());
    dir
}

fn compare(a: &TempDir, b: &TempDir) -> Comparison {
    charts::compare(a.path(), b.path(), &a.path().join(files::COMPARE)).unwrap()
}

/// Changes the plan in `folder`.
fn replan(folder: &Path, change: impl FnOnce(&mut Plan)) {
    let mut plan = Plan::read(folder).unwrap();
    change(&mut plan);
    plan.write(folder).unwrap();
}

#[test]
fn runs_of_one_plan_on_one_machine_are_comparable() {
    let (a, b) = (written(SMALL), written(SMALL));
    replan(b.path(), |plan| plan.commit = Some("def5678".to_owned()));
    let comparison = compare(&a, &b);
    assert_eq!(comparison.objections, Vec::<String>::new());
    let differences: Vec<_> = comparison.differences.iter().map(|it| it.what).collect();
    assert_eq!(differences, ["commit"], "it is shown, and nothing is wrong with it");
    let text = comparison.to_string();
    assert!(text.contains("comparable: same machine, same plan, both held"), "{text}");
    let row = "bytes per idle connection                                     305         \
               \x20            305     1.00";
    assert!(text.contains(row), "{text}");
}

#[test]
fn ratios_are_those_of_the_second_to_the_first() {
    let (a, b) = (written(SMALL), written(Fixture { per_second: 250, ..SMALL }));
    let figures = compare(&a, &b).figures;
    let ratio = |what: &str| figures.iter().find(|it| it.what == what).unwrap().ratio();
    assert_eq!(ratio("messages sent a second"), Some(2.5));
    assert_eq!(ratio("RSS idle, KB"), Some(1.0));
    assert_eq!(ratio("lost, duplicated or reordered"), None, "nothing to divide by");
}

#[test]
fn whatever_makes_runs_incomparable_is_said() {
    let (a, b) = (written(SMALL), written(Fixture { connections: 1_000, ..SMALL }));
    replan(b.path(), |plan| {
        (plan.profile, plan.is_modified) = ("dev".to_owned(), true);
        plan.server_threads = Some(2);
    });
    let host = Host::read(b.path()).unwrap();
    Host { cpus: Some(4), load_before: Some([3.0, 2.0, 1.0]), ..host }.write(b.path()).unwrap();
    let mut exits = Exits::read(b.path()).unwrap();
    (exits.exits[0].code, exits.exits[0].said) = (Some(1), "some are missing".to_owned());
    exits.write(b.path()).unwrap();
    let comparison = compare(&a, &b);
    let name = &comparison.names[1];
    assert_eq!(
        comparison.objections,
        [
            "The machines differ in: processors that may be used.".to_owned(),
            "The plans differ in: connections; threads of the server; profile.".to_owned(),
            format!("{name} fell short: floodtest ended with exit code 1: some are missing."),
            format!("{name}: The programs were built with the profile dev, not release."),
            format!("{name}: The programs were built from files that differ from commit abc1234."),
            format!("{name}: The machine was not idle: its load was 3.00 before the run."),
        ]
    );
    let cpus = comparison.differences.iter().find(|it| it.what == "processors that may be used");
    assert_eq!(cpus.unwrap().sides, ["2".to_owned(), "4".to_owned()]);
    assert!(comparison.to_string().contains("not comparable as they are:"));
}
