//! The rig in small: real programs, 200 connections, and books that balance.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The rig itself, which cargo builds beside the tests.
fn rig() -> Command {
    let mut path = std::env::current_exe().unwrap();
    assert!(path.pop() && path.pop());
    let mut command = Command::new(path.join("examples/rig"));
    // The programs are built like this test, into the same folder.
    path.pop();
    command.args(["c10k", "--profile", if cfg!(debug_assertions) { "dev" } else { "release" }]);
    command.env("CARGO_TARGET_DIR", path).env("CARGO", env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

#[test]
fn two_hundred_connections_get_every_message() {
    let small = ["--connections", "200", "--messages-per-second", "400", "--minutes", "0.05"];
    let output = rig().args(small).arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["shortfalls"], serde_json::json!([]), "{summary}");
    assert_eq!(summary["received"]["connected"], 200, "{summary}");
    assert_eq!(summary["sent"]["answered"], 1_200, "{summary}");
    assert_eq!(summary["received"]["chunks"], 1_200, "every message has a receiver: {summary}");
    assert_eq!(summary["received"]["delivery"]["count"], 1_200, "{summary}");
    assert!(summary["cost"]["rss_idle_kb"].as_u64().unwrap() > 0, "{summary}");
}

#[test]
fn an_interrupted_rig_leaves_nothing_running() {
    let mut rig = rig();
    rig.args(["--connections", "7", "--minutes", "10"]);
    let mut child = rig.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let is_sending = |line: &String| line.contains("chunks received by 7 connections");
    assert!(lines.by_ref().map_while(Result::ok).any(|line| is_sending(&line)));
    let parts = children(child.id());
    assert_eq!(parts.len(), 3, "server, floodtest, msggen");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(2));
    let deadline = Instant::now() + Duration::from_secs(20);
    while parts.iter().any(|pid| PathBuf::from(format!("/proc/{pid}")).exists()) {
        assert!(Instant::now() < deadline, "some of {parts:?} are left");
        std::thread::yield_now();
    }
}

#[test]
fn a_part_that_dies_ends_the_run_and_is_named() {
    let mut rig = rig();
    rig.args(["--connections", "7", "--minutes", "10"]);
    let mut child = rig.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("chunks received by 7 connections")));
    let msggen = children(child.id()).into_iter().find(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "msggen\n")
    });
    let msggen = msggen.unwrap().to_string();
    assert!(Command::new("kill").args(["-KILL", &msggen]).status().unwrap().success());
    let rest: Vec<_> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(2), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("msggen ended early (signal: 9")), "{rest:?}");
}

#[test]
fn a_rig_without_time_to_send_in_says_so() {
    let output = rig().args(["--minutes", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("give --minutes or --hours above 0"), "{}", told(&output));
}

/// The processes that `pid` has started and that still run.
fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = std::fs::read_to_string(path).unwrap();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
