//! The rig in small: real programs, 200 connections, and books that balance.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use reports::memory_log;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

/// The cargo profile of this test, of the rig that is built beside it, and so of the programs.
pub(crate) const PROFILE: &str = if cfg!(debug_assertions) { "dev" } else { "release" };

/// The rig itself, which cargo builds beside the tests.
pub(crate) fn rig_command(args: &[&str]) -> Command {
    let rig = Path::new(env!("CARGO_BIN_EXE_rig"));
    let mut command = Command::new(rig);
    // The programs are built like this test, into the same folder.
    let target = rig.ancestors().nth(2).unwrap();
    command.env("CARGO_TARGET_DIR", target).env("CARGO", env!("CARGO"));
    command.env("CARGO_PKG_NAME", env!("CARGO_PKG_NAME"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args);
    command
}

/// The rig with an experiment.
pub(crate) fn rig_with(experiment: &str) -> Command {
    rig_command(&[experiment])
}

/// The rig with the experiment that most tests need.
fn rig() -> Command {
    rig_with("c10k")
}

pub(crate) fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Checks that the run in `folder` held, except that msggen may have been late: the machine of a
/// test has other things to do, and every message is sent all the same.
pub(crate) fn assert_held(status: ExitStatus, folder: &Path, said: &str) {
    let summary = std::fs::read_to_string(folder.join("summary.json"));
    let summary = summary.unwrap_or_else(|error| panic!("no summary: {error}: {said}"));
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let shortfalls = summary["shortfalls"].as_array().unwrap();
    let (verdict, code) = if shortfalls.is_empty() { ("held", 0) } else { ("fell_short", 1) };
    assert_eq!((&summary["verdict"], status.code()), (&verdict.into(), Some(code)), "{said}");
    let is_late = |shortfall: &Value| {
        let shortfall = shortfall.as_str().unwrap();
        shortfall.starts_with("msggen ended with exit code 1: ")
            && shortfall.contains(" s behind the schedule at the end")
    };
    assert!(shortfalls.iter().all(is_late), "{shortfalls:?}: {said}");
}

/// The last line of a file of the run in `folder`, which is JSON.
fn last(folder: &Path, name: &str) -> Value {
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn two_hundred_connections_get_every_message() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("run");
    let small = ["--connections", "200", "--messages-per-second", "400", "--minutes", "0.05"];
    // It runs as well where there are no certificates of authorities, as in a new container.
    let mut bare = rig();
    bare.env("SSL_CERT_FILE", "/dev/null").env("SSL_CERT_DIR", place.path());
    let output = bare.args(small).arg("--out").arg(&folder).output().unwrap();
    assert_held(output.status, &folder, &told(&output));
    let received = last(&folder, "floodtest.ndjson");
    assert_eq!(received["connected"], 200, "{received}");
    assert_eq!(received["chunks"], 1_200, "every message has a receiver: {received}");
    assert_eq!(received["delivery_from_due"]["count"], 1_200, "{received}");
    assert_eq!(last(&folder, "msggen.ndjson")["answered"], 1_200);
    assert_eq!(last(&folder, "server-stats.json")["chunks_written"], 1_200);
    let mut samples = Vec::new();
    let log = std::fs::read(folder.join("memory.tsv")).unwrap();
    memory_log::read(&log[..], |sample| samples.push(sample), |it| panic!("{it:?}")).unwrap();
    let phases = samples.iter().flat_map(|it| &it.marks).map(|mark| mark.text.as_str());
    let all =
        ["nobody connected", "connecting", "all connected", "sending", "sent", "disconnecting"];
    assert_eq!(phases.collect::<Vec<_>>(), all);
    assert_eq!(samples[0].n_connections, 0);
    assert!(samples.iter().any(|it| it.n_connections == 200), "msggen's are not counted");
    assert!(samples.iter().all(|it| it.n_connections <= 200), "msggen's are not counted");
    // Everything else follows from these files, as often as one likes.
    let derived = ["summary.json", "report.html", "memory.png", "percentiles.svg"];
    let made: Vec<Vec<u8>> = derived.map(|name| std::fs::read(folder.join(name)).unwrap()).into();
    for name in derived {
        std::fs::remove_file(folder.join(name)).unwrap();
    }
    let output = rig_command(&["report"]).arg(&folder).arg("--json").output().unwrap();
    assert_held(output.status, &folder, &told(&output));
    let again: Vec<Vec<u8>> = derived.map(|name| std::fs::read(folder.join(name)).unwrap()).into();
    assert!(made == again, "the same files make the same report");

    let page = place.path().join("both.html");
    let mut compare = rig_command(&["compare"]);
    let output = compare.args([&folder, &folder]).arg("--out").arg(&page).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(std::fs::read_to_string(&page).unwrap().starts_with("<!DOCTYPE html>"));

    let again = rig().args(small).arg("--out").arg(&folder).output().unwrap();
    assert_eq!(again.status.code(), Some(2), "{}", told(&again));
    assert!(told(&again).contains("is not empty; name another folder"), "{}", told(&again));
}

#[test]
fn events_and_websockets_get_every_message_and_are_named() {
    for transport in ["events", "ws"] {
        let mut rig = rig();
        rig.args(["--transport", transport, "--connections", "100", "--minutes", "0.03"]);
        rig.args(["--messages-per-second", "400"]);
        let (folder, summary) = held(rig);
        let received = last(folder.path(), "floodtest.ndjson");
        let n_answered = last(folder.path(), "msggen.ndjson")["answered"].clone();
        assert!(n_answered.as_u64() >= Some(720), "400 a second for 1.8 s: {n_answered}");
        assert_eq!(received["connected"], 100, "{transport}: {received}");
        assert_eq!(received["delivery_from_due"]["count"], n_answered, "{transport}: {received}");
        assert_eq!(summary["sent"]["reached"], n_answered, "{transport}: {summary}");
        let stats = last(folder.path(), "server-stats.json");
        assert_eq!(stats["chunks_written"], n_answered, "{transport}: {stats}");
        let plan = std::fs::read_to_string(folder.path().join("plan.toml")).unwrap();
        let plan: toml::Table = plan.parse().unwrap();
        assert_eq!(plan["transport"].as_str(), Some(transport));
        assert_eq!(plan["profile"].as_str(), Some(PROFILE), "the programs are built like the rig");
    }
}

/// Starts a rig that sends for ten minutes, and waits until it does.
fn start_long(folder: &Path) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut rig = rig();
    rig.args(["--connections", "7", "--minutes", "10", "--out"]).arg(folder);
    start(rig)
}

/// Starts `rig` with 7 connections, and waits until it sends.
fn start(rig: Command) -> (Child, impl Iterator<Item = String> + use<>) {
    start_with(rig, 7)
}

/// Starts `rig` with so many connections, and waits until it sends.
fn start_with(
    mut rig: Command,
    n_connections: u32,
) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = rig.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let mut lines = stderr.lines().map_while(Result::ok);
    let sending = format!("chunks received by {n_connections} connections");
    assert!(lines.any(|line| line.contains(&sending)));
    (child, lines)
}

/// Waits until none of `processes` runs.
fn all_gone(processes: &[u32]) {
    let most = Timespec { tv_sec: 60, tv_nsec: 0 };
    for &pid in processes {
        // The descriptor of a process is readable once it has ended.
        let process = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        let process = match pidfd_open(process, PidfdFlags::empty()) {
            Err(Errno::SRCH) => continue,
            opened => opened.unwrap(),
        };
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&most)).unwrap();
        assert_eq!(ended, 1, "process {pid} of {processes:?} is left");
    }
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

#[test]
fn an_interrupted_rig_ends_the_sending_and_balances_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _lines) = start_long(folder.path());
    let processes = children(child.id());
    assert_eq!(processes.len(), 4, "server, memlog, floodtest, msggen");
    signal(child.id(), "-INT");
    assert_held(child.wait().unwrap(), folder.path(), "");
    all_gone(&processes);
    let sent = last(folder.path(), "msggen.ndjson");
    assert!(sent["answered"].as_u64().unwrap() > 0, "{sent}");
    assert_eq!(sent["answered"], last(folder.path(), "floodtest.ndjson")["chunks"]);
}

#[test]
fn a_rig_that_is_told_to_end_twice_leaves_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, lines) = start_long(folder.path());
    let processes = children(child.id());
    signal(child.id(), "-TERM");
    // Signals of one kind that wait are one signal; of two kinds, both arrive.
    signal(child.id(), "-INT");
    let rest: Vec<_> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(2), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("everything is stopped")), "{rest:?}");
    all_gone(&processes);
}

/// Whether there is a redis-server; there must be one where everything is to be tested.
fn has_redis() -> bool {
    let has_it = Command::new("redis-server").arg("--version").output().is_ok();
    if !has_it {
        testing::skip("redis-server");
    }
    has_it
}

#[test]
fn a_rig_that_is_killed_leaves_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    // More connections than a process may open, so that floodtest has workers.
    let rig = rig_with("cluster");
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 600; exec \"$0\" \"$@\""]).arg(rig.get_program());
    limited.args(rig.get_args()).args(["--nodes", "4", "--connections", "600"]);
    limited.args(["--minutes", "10", "--out"]).arg(folder.path());
    let envs = rig.get_envs().filter_map(|(name, value)| Some((name, value?)));
    limited.envs(envs).current_dir(env!("CARGO_MANIFEST_DIR"));
    let (broker, n_brokers): (&[&str], _) =
        if has_redis() { (&[], 1) } else { (&["--no-cluster"], 0) };
    limited.args(broker);
    let (mut child, _lines) = start_with(limited, 600);
    let processes = children(child.id());
    assert_eq!(
        processes.len(),
        n_brokers + 4 + 3,
        "servers, memlog, floodtest, msggen, the broker"
    );
    let workers = children(child_named(&child, "floodtest"));
    assert!(workers.len() > 1, "{workers:?}");
    signal(child.id(), "-KILL");
    child.wait().unwrap();
    all_gone(&[processes, workers].concat());
}

#[test]
fn what_the_rig_starts_is_killed_if_the_rig_is_gone_already() {
    // The parent of this one is not the process that it is told.
    let output = rig_command(&["__child", "1", "sleep", "1000"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("rig: the rig that started this is gone"), "{}", told(&output));
    let output = rig_command(&["__child"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
}

/// The child of a rig that runs the program `name`.
fn child_named(rig: &Child, name: &str) -> u32 {
    let is_named = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|found| found.trim() == name)
    };
    children(rig.id()).into_iter().find(is_named).unwrap()
}

#[test]
fn a_sender_that_dies_is_named_and_what_there_is_of_the_run_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, lines) = start_long(folder.path());
    signal(child_named(&child, "msggen"), "-KILL");
    let rest: Vec<_> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("msggen ended with signal 9")), "{rest:?}");
    assert!(folder.path().join("report.html").exists(), "{rest:?}");
}

#[test]
fn a_server_that_dies_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, lines) = start_long(folder.path());
    signal(child_named(&child, "comet-server"), "-KILL");
    let rest: Vec<_> = lines.collect();
    // What is known by then is reported.
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
    let death = "comet-server ended in the middle of the run with signal 9";
    assert!(rest.iter().any(|line| line.contains(death)), "{rest:?}");
    assert!(folder.path().join("report.html").exists(), "{rest:?}");
}

/// Messages of a small run with several servers: 400 a second for three seconds.
const SEVERAL: [&str; 6] = ["--messages-per-second", "400", "--sources", "10", "--minutes", "0.05"];

/// The summary of a run of `rig`, which must have held.
fn held(mut rig: Command) -> (tempfile::TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    let output = rig.arg("--json").arg("--out").arg(folder.path()).output().unwrap();
    assert_held(output.status, folder.path(), &told(&output));
    let summary = serde_json::from_slice(&output.stdout).unwrap();
    (folder, summary)
}

#[test]
fn a_million_in_small_takes_as_many_servers_as_it_needs() {
    let mut rig = rig_with("c1m");
    rig.args(["--connections", "300", "--per-node", "100", "--no-cluster"]).args(SEVERAL);
    let (folder, summary) = held(rig);
    assert_eq!(summary["nodes"], 4, "with three the hash gives one of them more than 100");
    assert_eq!(summary["received"]["connected"], 300);
    assert_eq!(
        (&summary["sent"]["reached"], &summary["received"]["chunks"]),
        (&json!(1_200), &json!(1_200))
    );
    assert_eq!(summary["cost"]["after"]["connections"], 300, "those of all servers, and no others");
    let after = &summary["machine"]["after"];
    assert_eq!((&after["server_processes"], &after["floodtest_processes"]), (&json!(4), &json!(1)));
    for figure in ["server_pss_kb", "floodtest_pss_kb", "slab_kb"] {
        assert!(after[figure].as_u64().is_some_and(|it| it > 0), "{figure}: {after}");
    }
    assert!(after["tcp_sockets"].as_u64().is_some_and(|it| it >= 600), "both ends: {after}");
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("The whole machine") && page.contains("Part 3"));
}

#[test]
fn a_server_of_several_that_dies_is_named_and_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = rig_with("cluster");
    rig.args(["--no-cluster", "--connections", "7", "--minutes", "10", "--out"]).arg(folder.path());
    let (mut child, lines) = start(rig);
    let processes = children(child.id());
    assert_eq!(processes.len(), 6, "three servers, memlog, floodtest, msggen");
    signal(child_named(&child, "comet-server"), "-KILL");
    let rest: Vec<_> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
    let death = "comet-server n1 ended in the middle of the run with signal 9";
    assert!(rest.iter().any(|line| line.contains(death)), "{rest:?}");
    all_gone(&processes);
}

#[test]
fn servers_in_a_cluster_reach_each_others_connections() {
    if !has_redis() {
        println!("SKIPPED redis-server");
        return;
    }
    let mut rig = rig_with("cluster");
    rig.args(["--nodes", "2", "--connections", "100"]).args(SEVERAL);
    let (folder, summary) = held(rig);
    assert_eq!((&summary["nodes"], &summary["received"]["connected"]), (&json!(2), &json!(100)));
    assert_eq!(summary["received"]["chunks"], 1_200, "each message went through the broker");
    assert!(summary["machine"]["broker_bytes_per_id"].as_f64().is_some_and(|bytes| bytes > 0.0));
    let exits = std::fs::read_to_string(folder.path().join("exits.toml")).unwrap();
    assert!(exits.contains("redis-server"), "{exits}");
}

#[test]
fn a_plan_says_what_it_needs_and_refuses_what_is_impossible() {
    let plan = |connections| {
        let mut rig = rig_command(&["c1m", "--plan", "--connections", connections]);
        rig.args(["--per-node", "100", "--no-cluster"]).output().unwrap()
    };
    let output = plan("300");
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    for line in ["servers      4, each on its own, at 127.0.1.1 to 127.0.1.4", "memory, KB"] {
        assert!(told(&output).contains(line), "{line:?} is not in {}", told(&output));
    }
    let output = plan("100k");
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("cannot hold 100000 connections: with 100 of them on a server"));
    // A billion bytes of descriptors are beyond any machine that tests run on.
    let mut rig = rig_command(&["cluster", "--nodes", "250", "--connections", "1000m"]);
    let output = rig.arg("--no-cluster").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    let said = told(&output);
    for cause in ["cannot hold 1000000000 connections on this machine", "memory, KB: 10", "needed,"]
    {
        assert!(said.contains(cause), "{cause:?} is not in {said}");
    }
    assert!(said.contains("or ask for fewer with --connections"), "{said}");
}

#[test]
fn a_folder_that_holds_no_run_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = rig_command(&["report"]).arg(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    let told = told(&output);
    assert!(told.contains("plan.toml: No such file or directory (os error 2)\n"), "{told}");
    assert_eq!(told.matches("os error 2").count(), 1, "{told}");
}

#[test]
fn a_value_that_no_run_can_have_is_refused_with_its_flag() {
    let output = rig().args(["--minutes", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    let said = told(&output);
    assert!(said.contains("error: invalid value '0' for '--minutes <M>': it must be a"), "{said}");
    let output = rig_with("cluster").args(["--nodes", "251"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("'--nodes <N>': it must be at most 250"), "{}", told(&output));
}

/// The processes that `pid` has started and that still run.
fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = std::fs::read_to_string(path).unwrap();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
