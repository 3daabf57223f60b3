//! What is done to a server while a run goes on, and the storms that the rig has with it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::rig::{assert_held, rig_command, rig_with, told};

/// What is published of the run in `folder`.
fn summary(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("summary.json")).unwrap()).unwrap()
}

/// A run of c10k in small with `faults`.
fn with_faults(folder: &Path, faults: &str) -> std::process::Output {
    let mut rig = rig_command(&["run", "c10k", "--profile", crate::rig::PROFILE]);
    for set in ["connections.count=50", "messages.rate=200", "messages.for=3s"] {
        rig.args(["--set", set]);
    }
    rig.args(["--set", &format!("faults={faults}"), "--out"]).arg(folder).output().unwrap()
}

#[test]
fn a_server_that_is_stopped_and_continued_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let faults = "[{at=\"1s\",do=\"stop\",back-after=\"300ms\"},\
                  {at=\"2s\",do=\"stop\",back-after=\"300ms\"}]";
    let output = with_faults(folder.path(), faults);
    assert_held(output.status, folder.path(), &told(&output));
    let summary = summary(folder.path());
    assert_eq!(summary["received"]["messages"], 600, "{summary}");
    let faults = summary["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 2, "{faults:?}");
    for fault in faults {
        assert_eq!(fault["what"], "stop");
        let [from, to] = ["unix_ms", "back_unix_ms"].map(|key| fault[key].as_u64().unwrap());
        assert!(to >= from + 300, "it stands still for as long as was asked: {fault}");
    }
    assert_eq!(summary["books"][3]["what"], "msggen sent = answered + failed + unanswered");
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("server stopped") && page.contains("<code>faults.toml</code>"));
    let kept = fs::read_to_string(folder.path().join("scenario.toml")).unwrap();
    assert!(kept.contains("[[faults]]"), "the run can be made again from it: {kept}");
}

#[test]
fn a_server_that_is_killed_must_come_back_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    // The control port of c10k's server is any port: its sender would not find it again.
    let output = with_faults(folder.path(), "[{at=\"1s\",do=\"kill\",back-after=\"100ms\"}]");
    // Whether anything had been sent by then, so that there is a run, is the machine's affair.
    assert!(!output.status.success(), "{}", told(&output));
    assert!(told(&output).contains("give it fixed ports, such as {port}"), "{}", told(&output));
    let faults = fs::read_to_string(folder.path().join("faults.toml")).unwrap();
    assert!(faults.contains("what = \"kill\"") && !faults.contains("back_unix_ms"), "{faults}");
}

#[test]
fn what_a_scenario_does_to_its_server_is_refused_where_it_cannot_be_done() {
    let refused = |sets: &[&str]| {
        let mut rig = rig_command(&["run", "storm", "--print"]);
        let output = sets.iter().fold(&mut rig, |rig, set| rig.args(["--set", set]));
        let output = output.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
        told(&output)
    };
    let why = refused(&["faults=[{at=\"1s\",do=\"burn\"}]"]);
    assert!(why.contains("faults: number 1: do is \"kill\""), "{why}");
    let why = refused(&["server.nodes=2"]);
    assert!(why.contains("faults are done to one server that the rig starts"), "{why}");
    let mut rig = rig_with("storm");
    let output = rig.args(["--sweep", "backoff=5s,1s"]).output().unwrap();
    assert!(told(&output).contains("the shortest first"), "{}", told(&output));
    // Without the kill there is nothing to be done.
    let output = rig_with("storm").args(["--no-kill", "--print"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("faults") && text.contains("storm = "), "{text}");
    let output = rig_with("llm").args(["--rate", "50", "--print"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("for = \"1m\"") && !text.contains("reopen"), "an open loop: {text}");
}

#[test]
fn all_are_back_after_a_storm_and_after_the_server_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = rig_with("storm");
    rig.args(["--connections", "60", "--messages-per-second", "200", "--sources", "10"]);
    rig.args(["--minutes", "0.1", "--storm", "2s:50%", "--kill-at", "4s", "--back-after", "300ms"]);
    let output = rig.args(["--reopen", "backoff:50ms..500ms", "--out"]).arg(folder.path()).output();
    let output = output.unwrap();
    assert_held(output.status, folder.path(), &told(&output));
    let summary = summary(folder.path());
    let received = &summary["received"];
    let count = |name: &str| received[name].as_u64().unwrap();
    assert_eq!((count("connected"), count("away"), &received["lost"]), (60, 0, &0.into()));
    assert_eq!(count("begun"), count("established") + count("failed"), "{received}");
    assert_eq!(count("established"), count("connected") + count("closed"), "{received}");
    let settles = received["settles"].as_array().unwrap();
    let closed: Vec<_> = settles.iter().map(|it| (&it["cause"], &it["closed"])).collect();
    assert_eq!(closed, [(&"storm 50%".into(), &30.into()), (&"server away".into(), &60.into())]);
    assert!(settles.iter().all(|it| it["t100_s"].is_number()), "{settles:?}");
    assert_eq!(summary["faults"][0]["what"], "kill");
    let text = told(&output);
    assert!(text.contains("its counts are those since its last start"), "{text}");
    assert!(folder.path().join("open.svg").exists(), "{text}");
}

#[test]
fn streams_of_tokens_are_followed_by_the_next_and_their_tokens_are_counted() {
    let has_compiler = ["cc", "make"]
        .iter()
        .all(|program| std::process::Command::new(program).arg("--version").output().is_ok());
    if !has_compiler {
        testing::skip("cc and make");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let serve = concat!(env!("CARGO_MANIFEST_DIR"), "/../measure/serve");
    let command = format!(
        "server.command=\"env 'TOKENS_FLAGS=-n 5 -r 50' {serve} tokens {{port}} {{control_port}} \
         {{dir}}\""
    );
    let mut rig = rig_with("llm");
    rig.args(["--streams", "10", "--for", "2s", "--set", &command, "--out"]).arg(folder.path());
    let output = rig.output().unwrap();
    let summary = summary(folder.path());
    // Goodput is decided by delays, which are not valid on a machine that has other things to do.
    for shortfall in summary["shortfalls"].as_array().unwrap() {
        assert!(shortfall.as_str().unwrap().contains("not valid: "), "{}", told(&output));
    }
    let streams = &summary["received"]["streams"];
    let n_done = streams["done"].as_u64().unwrap();
    assert!(n_done > 10, "each is followed by the next: {streams}");
    // A stream may have said how many tokens it had, and not have ended when the run did.
    let n_counted = streams["counted"]["streams"].as_u64().unwrap();
    assert!(n_counted >= n_done, "{streams}");
    assert_eq!(streams["counted"]["total"], 5 * n_counted, "{streams}");
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("first_item_from_send (TTFT)"), "{page}");
}
