//! Runs side by side.

use std::fs;
use std::path::{Path, PathBuf};

use charts::{Comparison, Question};
use reports::compare::condition::{Conditions, Outcome};
use reports::compare::difference::Finding;
use reports::run::{Exits, Host, Plan, files};
use tempfile::TempDir;

use crate::fixture::Fixture;
use crate::page::{Shown, check_in_a_browser};
use crate::run_folder::SMALL;

fn written(fixture: Fixture) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fixture.write(dir.path());
    dir
}

/// The runs in the folders of two sides, with conditions.
pub(crate) fn judged(sides: [&[PathBuf]; 2], conditions: &str, despite: bool) -> Comparison {
    let conditions = match conditions {
        "" => Conditions::default(),
        text => Conditions::parse(text).unwrap(),
    };
    let question = Question { sides, conditions: &conditions, is_despite_differences: despite };
    charts::compare(&question, &sides[0][0].join(files::COMPARE)).unwrap()
}

/// One run a side, on a page in the first folder.
pub(crate) fn compare_two(a: &Path, b: &Path) -> Comparison {
    judged([&[a.to_owned()], &[b.to_owned()]], "", false)
}

fn compare(a: &TempDir, b: &TempDir) -> Comparison {
    compare_two(a.path(), b.path())
}

/// Changes the plan in `folder`.
fn replan(folder: &Path, change: impl FnOnce(&mut Plan)) {
    let mut plan = Plan::read(folder).unwrap();
    change(&mut plan);
    plan.write(folder).unwrap();
}

/// `n` runs alike, in folders of their own.
fn several(dir: &Path, side: &str, n: usize) -> Vec<PathBuf> {
    let folders: Vec<PathBuf> = (1..=n).map(|at| dir.join(format!("{side}-{at}"))).collect();
    for folder in &folders {
        fs::create_dir(folder).unwrap();
        Fixture { sending_s: 2, ..SMALL }.write(folder);
    }
    folders
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
    assert!(text.contains("comparable: same machine, same plan, all held"), "{text}");
    let row = "server.rss_per_connection, bytes                              305         \
               \x20            305       0 %\n";
    assert!(text.contains(row), "{text}");
    assert!(text.contains("One run on a side: no spread is known"), "{text}");
}

#[test]
fn changes_are_those_from_the_first_to_the_second() {
    let (a, b) = (written(SMALL), written(Fixture { per_second: 250, ..SMALL }));
    let figures = compare(&a, &b).figures;
    let find = |name: &str| figures.iter().find(|it| it.name == name).unwrap();
    assert_eq!(find("achieved_per_s").change, Some(1.5));
    assert_eq!(find("server.rss_idle").change, Some(0.0));
    assert_eq!(find("lost").change, Some(0.0), "of nothing there is a difference, and no ratio");
    assert!(figures.iter().all(|it| [Finding::OneRun, Finding::NotMeasured].contains(&it.finding)));
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
    let name = &comparison.sides[1].name;
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

#[test]
fn runs_that_differ_among_themselves_are_no_side() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (several(dir.path(), "a", 4), several(dir.path(), "b", 4));
    replan(&b[2], |plan| (plan.commit, plan.sources) = (Some("def5678".to_owned()), 7));
    let comparison = judged([&a, &b], "chunks<-1%,chunks<1", false);
    assert_eq!(
        comparison.objections,
        ["The plans differ in: sources.", "The runs of B are not of one build, by: commit."]
    );
    let sources = comparison.differences.iter().find(|it| it.what == "sources").unwrap();
    assert_eq!(sources.sides, ["100".to_owned(), "100; 7".to_owned()]);
    let outcomes: Vec<_> = comparison.judgements.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [Outcome::CannotTell, Outcome::Kept], "a plain limit needs no first side");
    assert!(comparison.judgements[0].why.ends_with("The plans differ in: sources"));
    let despite = judged([&a, &b], "chunks<-1%", true);
    assert_eq!(despite.judgements[0].outcome, Outcome::Kept);
    assert_eq!(despite.objections.len(), 2, "they are said all the same");
}

#[test]
fn several_runs_a_side_have_letters_and_those_of_one_name_their_paths() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (several(dir.path(), "a", 2), several(dir.path(), "b", 1));
    let comparison = judged([&a, &b], "", false);
    let titles = comparison.sides.each_ref().map(charts::Side::title);
    assert_eq!(titles, ["A, 2 runs", "B"]);
    assert!(comparison.to_string().starts_with("A: a-1, a-2\nB: b-1\n"), "{comparison}");
    let twin = dir.path().join("twin");
    fs::create_dir(&twin).unwrap();
    let twin = several(&twin, "a", 1);
    let comparison = judged([&a, &twin], "", false);
    assert_eq!(comparison.sides[1].runs, [twin[0].display().to_string()]);
}

/// A comparison whose figures and conditions have come out in every way.
fn in_every_way(dir: &Path) -> Comparison {
    let (a, b) = (several(dir, "a", 5), several(dir, "<b>|*@x*|\u{1b}", 5));
    let conditions = "lost>0,chunks<-1%,delivery_from_due.p99>0ms,lateness.p99>+10%,void>+1";
    judged([&a, &b], conditions, false)
}

#[test]
fn a_browser_shows_several_runs_a_side_whole_at_every_width() {
    let dir = tempfile::tempdir().unwrap();
    let comparison = in_every_way(dir.path());
    let page = fs::read_to_string(dir.path().join("a-1").join(files::COMPARE)).unwrap();
    assert!(page.contains("1 of 5 conditions broken.") && page.contains("Run by run"), "{page}");
    assert!(!page.contains("<b>|"), "a name is text: {comparison}");
    check_in_a_browser(&[Shown { of: "runs of two sides", page, n_charts: 2 }]);
}

#[test]
fn a_pull_request_shows_the_conditions_first_and_names_as_text() {
    let dir = tempfile::tempdir().unwrap();
    let markdown = in_every_way(dir.path()).markdown();
    let lines: Vec<&str> = markdown.lines().collect();
    assert_eq!(lines[0], "### A, 5 runs and B, 5 runs");
    assert_eq!(lines[2], "**1 of 5 conditions broken.**");
    let broken = r"| delivery\_from\_due.p99&gt;0ms | ❌ broken | ";
    assert!(lines.iter().any(|it| it.starts_with(broken)), "{markdown}");
    assert!(markdown.contains(r"in &lt;b&gt;\|\*&#64;x\*\| -1"), "{markdown}");
    // A row that had one cell too many would be cut.
    let n_cells = |line: &&str| line.replace(r"\|", "").matches('|').count();
    let rows: Vec<&str> = lines.iter().copied().filter(|it| it.starts_with('|')).collect();
    assert!(rows.iter().filter(|it| n_cells(it) == 6).count() > 20, "{markdown}");
    assert!(rows.iter().all(|it| [4, 6].contains(&n_cells(it))), "{markdown}");
}

#[test]
fn a_pipeline_reads_the_junit_report() {
    let dir = tempfile::tempdir().unwrap();
    let comparison = in_every_way(dir.path());
    let path = dir.path().join("compare.xml");
    fs::write(&path, comparison.junit()).unwrap();
    // A parser that nobody here wrote says what it finds.
    let script = "import sys, xml.etree.ElementTree as tree\n\
                  suites = tree.parse(sys.argv[1]).getroot()\n\
                  suite, = suites\n\
                  print(suites.tag, suite.tag, suite.attrib['failures'], suite.attrib['errors'])\n\
                  print(int(suite.attrib['tests']) - len(suite.findall('testcase')))\n\
                  print(int(suite.attrib['skipped']) - len(suite.findall('testcase/skipped')))\n\
                  print(suite.find('testcase/failure/..').attrib['name'])\n\
                  print(suite.find('testcase/failure').attrib['message'].count('<b>|*@x*|'))\n";
    let python = std::process::Command::new("python3").args(["-c", script]).arg(&path).output();
    let Ok(python) = python else { return testing::skip("python3") };
    let said = String::from_utf8(python.stdout).unwrap();
    let errors = String::from_utf8_lossy(&python.stderr);
    let expected = "testsuites testsuite 1 0\n0\n0\ndelivery_from_due.p99>0ms\n5\n";
    assert_eq!(said, expected, "{errors}");
}

#[test]
fn what_cannot_be_told_is_an_error_of_the_junit_report_and_no_pass() {
    let (a, b) = (written(SMALL), written(SMALL));
    let folders = [a.path().to_owned(), b.path().to_owned()];
    let comparison = judged([&folders[..1], &folders[1..]], "chunks<-1%", false);
    assert!(!comparison.is_kept());
    let junit = comparison.junit();
    assert!(junit.contains("failures=\"0\" errors=\"1\""), "{junit}");
    assert!(junit.contains("<error type=\"cannot_tell\" message=\"1 run a side"), "{junit}");
    let markdown = comparison.markdown();
    assert!(markdown.contains("**Not a pass: 1 of 1 condition cannot be told"), "{markdown}");
}

#[test]
fn the_json_has_every_figure_of_every_run_and_what_came_of_the_conditions() {
    let dir = tempfile::tempdir().unwrap();
    let json = serde_json::to_value(in_every_way(dir.path())).unwrap();
    assert_eq!(json["format"], 1);
    assert_eq!(json["sides"][0]["runs"][4], "a-5");
    let figures = json["figures"].as_array().unwrap();
    let names = reports::compare::figures::all();
    assert_eq!(figures.len(), names.len());
    let chunks = figures.iter().find(|it| it["name"] == "chunks").unwrap();
    assert_eq!(chunks["sides"][1]["values"].as_array().unwrap().len(), 5);
    assert_eq!((&chunks["finding"], &chunks["change"]), (&"same".into(), &0.0.into()));
    let outcomes: Vec<_> =
        json["judgements"].as_array().unwrap().iter().map(|it| &it["outcome"]).collect();
    assert_eq!(outcomes, ["kept", "kept", "broken", "kept", "kept"]);
}
