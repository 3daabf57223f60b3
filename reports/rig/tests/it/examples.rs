//! The pipelines in `reports/docs/examples`: what they run does what they say, in small.

use std::fs;
use std::thread;

use serde_json::Value;

use crate::guides;
use crate::installed::built;
use crate::tidy::top;

/// How the command begins that is not run: it takes minutes, and what it makes is there already.
const INSTALL: &str = "for it in server floodtest msggen memlog reports/rig";

/// And the one that gets the sources of that.
const CLONE: &str = "git clone ";

/// A file of the examples.
fn example(name: &str) -> String {
    fs::read_to_string(top().join("reports/docs/examples").join(name)).unwrap()
}

/// An example that is YAML.
fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&example(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What the steps of a job on GitHub run, each a script.
fn of_github() -> Vec<String> {
    let workflow = yaml("github-actions.yml");
    let steps = workflow["jobs"]["load"]["steps"].as_array().unwrap();
    steps.iter().filter_map(|step| step["run"].as_str()).map(str::to_owned).collect()
}

/// What a job on GitLab runs, each a line of its script.
fn of_gitlab() -> Vec<String> {
    let pipeline = yaml("gitlab-ci.yml");
    let parts = ["before_script", "script", "after_script"];
    let lines = parts.iter().flat_map(|part| pipeline["load"][part].as_array().unwrap());
    lines.map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// The commands that are run of a pipeline, in one shell: without those that install the programs,
/// and with the scenario in small beside them. `expected` stands in it for `lost = 0`.
fn in_small(commands: &[String], expected: &str) -> String {
    let (left_out, run): (Vec<&String>, Vec<&String>) =
        commands.iter().partition(|it| it.starts_with(INSTALL) || it.starts_with(CLONE));
    assert!(!left_out.is_empty(), "how the programs come there is said: {commands:?}");
    assert_eq!(run.len(), 2, "a run, and what becomes of it: {run:?}");
    let mut scenario = example("load.toml");
    for (from, to) in [
        ("count = 1_000", "count = 50"),
        ("connected = 1_000", "connected = 50"),
        ("rate = 500\nsources", "rate = 100\nsources"),
        ("for = \"30s\"", "for = \"1s\""),
        // How fast, and with how much for each of so few, is not what is tried.
        ("<500ms", "<10m"),
        ("<20000", "<1000000"),
        ("lost = 0", expected),
    ] {
        assert!(scenario.contains(from), "{from:?} is made small here: {scenario}");
        scenario = scenario.replace(from, to);
    }
    let [job, afterwards] = [run[0], run[1]];
    format!(
        "export GITHUB_STEP_SUMMARY=summary.md\n\
         cat > load.toml <<'END'\n{scenario}END\n\
         CODE=0; {job} || CODE=$?\n\
         {afterwards}\n"
    )
}

#[test]
fn the_pipelines_run_a_scenario_and_fail_on_a_threshold() {
    built("rig");
    let github = "grep -q '^verdict: ' summary.md && [ \"$(grep -c '^```$' summary.md)\" = 2 ]";
    let gitlab = "grep -q '^verdict: ' run/summary.txt";
    thread::scope(|scope| {
        for (name, commands, check) in
            [("github-actions.yml", of_github(), github), ("gitlab-ci.yml", of_gitlab(), gitlab)]
        {
            for (expected, code) in [("lost = 0", 0), ("lost = \">0\"", 1)] {
                let commands = in_small(&commands, expected);
                let check = format!("{check}\n[ $CODE = {code} ]\nls run/report.html\n");
                scope.spawn(move || guides::run(name, &format!("{commands}{check}")));
            }
        }
    });
}
