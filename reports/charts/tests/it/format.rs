//! FORMAT.md names every key of a run folder, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use reports::books::{ClusterStats, ServerStats};
use reports::memory_log::{Mark, NoPss, OnPort, Sample, Share};
use reports::run::{self, Exit, Exits, Expected, Fault, Faults, PhaseStart, Phases, files};
use serde_json::Value;

use crate::fixture::Fixture;

/// The keys in the tables of FORMAT.md, by the heading that they stand under.
fn described() -> BTreeMap<String, BTreeSet<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../FORMAT.md");
    let text = fs::read_to_string(path).unwrap();
    let mut described: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for section in text.split("\n## ").skip(1) {
        let (heading, body) = section.split_once('\n').unwrap();
        let Some((_, table)) = body.split_once("| key | unit | is |\n") else { continue };
        let keys = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        described.insert(heading.to_owned(), keys.map(|(key, _)| key.to_owned()).collect());
    }
    described
}

/// The keys of `value`, those of objects in it after a dot. What has a section of its own, and
/// counts by reason, are not looked into.
fn keys(value: &Value) -> BTreeSet<String> {
    const LEAVES: [&str; 7] = [
        "server",
        "received",
        "sent",
        "connections_closed",
        "chunks_dropped",
        "failures",
        "closures",
    ];
    let mut keys = BTreeSet::new();
    let mut add = |prefix: &str, value: &Value| {
        keys.extend(self::keys(value).into_iter().map(|key| format!("{prefix}{key}")));
    };
    let mut leaves = BTreeSet::new();
    for (key, value) in value.as_object().unwrap() {
        let is_described = |object: &serde_json::Map<String, Value>| {
            ["p50_us", "rss_kb", "phase"].iter().any(|key| object.contains_key(*key))
        };
        // What a plan has of the server, and not the server's counts.
        let is_leaf = LEAVES.contains(&key.as_str()) && value.get("is_started").is_none();
        match value {
            Value::Object(object) if !is_leaf && !is_described(object) => {
                add(&format!("{key}."), value);
            }
            Value::Array(values) if values.first().is_some_and(Value::is_object) => {
                for value in values {
                    add(&format!("{key}[]."), value);
                }
            }
            _ => _ = leaves.insert(key.clone()),
        }
    }
    keys.extend(leaves);
    keys
}

#[test]
fn every_key_of_a_run_folder_is_described_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    Fixture { connections: 10, per_second: 10, sending_s: 30 }.write(folder);
    let mut plan = run::Plan::read(folder).unwrap();
    plan.server_threads = Some(1);
    plan.broker = Some("redis-server".to_owned());
    plan.transport = Some("ws".to_owned());
    plan.title = Some("a run".to_owned());
    plan.expect = vec!["lost=0".to_owned()];
    plan.server.host = Some("user@host".to_owned());
    plan.write(folder).unwrap();
    let stats = ServerStats { cluster: Some(ClusterStats::default()), ..ServerStats::default() };
    fs::write(folder.join(files::SERVER_STATS), serde_json::to_vec(&stats).unwrap()).unwrap();
    let exit = |code, signal| Exit { code, signal, ..Exit::default() };
    let told = Exit { is_early: true, is_expected: true, ..exit(Some(0), None) };
    Exits { exits: vec![exit(Some(1), None), exit(None, Some(9)), told] }.write(folder).unwrap();
    let phase = PhaseStart { name: "sending".to_owned(), unix_ms: 1 };
    Phases { phases: vec![phase] }.write(folder).unwrap();
    let fault = Fault { back_unix_ms: Some(2), unix_ms: 1, ..Fault::default() };
    Faults { faults: vec![fault] }.write(folder).unwrap();
    let why = Some("nobody knows".to_owned());
    Expected { messages: Some(1), unanswered: 0, why }.write(folder).unwrap();
    charts::report(folder).unwrap();
    let text = |name| fs::read_to_string(folder.join(name)).unwrap();
    let toml = |name| toml::from_str::<Value>(&text(name)).unwrap();
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let last = |name| json(text(name).lines().last().unwrap());
    let summary = json(&text(files::SUMMARY));
    let found = [
        (files::PLAN, toml(files::PLAN)),
        (files::HOST, toml(files::HOST)),
        (files::EXITS, toml(files::EXITS)),
        (files::FOOTPRINT, toml(files::FOOTPRINT)),
        (files::PHASES, toml(files::PHASES)),
        (files::EXPECTED, toml(files::EXPECTED)),
        (files::FAULTS, toml(files::FAULTS)),
        (files::MSGGEN, last(files::MSGGEN)),
        (files::SERVER_STATS, json(&text(files::SERVER_STATS))),
        ("Delays", summary["received"]["delivery_from_due"].clone()),
        ("Moments", summary["cost"]["idle"].clone()),
        (files::SUMMARY, summary),
    ];
    let mut described = described();
    for (name, value) in found {
        assert_eq!(keys(&value), described.remove(name).unwrap_or_default(), "{name}");
    }
    assert_eq!(columns(), described.remove(files::MEMORY).unwrap_or_default(), "memory.tsv");
    assert_eq!(described, BTreeMap::new(), "sections of no file");
}

/// The columns of a line of the memory log that has all of them.
fn columns() -> BTreeSet<String> {
    let sample = Sample {
        ms: 1,
        ports: vec![OnPort { port: 1, n_connections: 1 }],
        anon_kb: Some(1),
        pss_kb: Some(1),
        no_pss: Some(NoPss::Slow),
        kernel_tcp_kb: Some(1),
        slab_kb: Some(1),
        n_threads: Some(1),
        cpu_ms: Some(1),
        n_fds: Some(1),
        n_missed: 1,
        step_ms: 1,
        marks: vec![Mark { ms: 1, ..Mark::new("mark", Some(1)) }],
        shares: vec![Share { pid: 1, rss_kb: 1, anon_kb: Some(1) }],
        ..Sample::default()
    };
    let line = sample.to_string();
    let columns = line.split('\t').filter_map(|column| column.split_once('='));
    let name = |key: &str| key.replace("conn.1", "conn.PORT").replace(".1", ".PID");
    columns.map(|(key, _)| name(key)).collect()
}

#[test]
fn every_file_of_a_run_folder_is_described() {
    let dir = tempfile::tempdir().unwrap();
    Fixture { connections: 10, per_second: 10, sending_s: 30 }.write(dir.path());
    charts::report(dir.path()).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../FORMAT.md");
    let text = fs::read_to_string(path).unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(text.contains(&format!("`{name}`")), "{name} is not in FORMAT.md");
    }
}
