//! Scenario files: experiments with servers that are not ours.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use testing::skip;

use crate::readme::help;
use crate::rig::{rig_command, told};

/// The server of these tests, and how its clients and senders reach it.
pub(crate) const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/servers/stream.py");

/// A scenario with that server and so many messages a second.
fn scenario(options: &str, rate: u64) -> String {
    format!(
        "title = \"streams of Python\"\n\
         [server]\n\
         name = \"stream.py\"\n\
         command = \"python3 {SERVER} {options}\"\n\
         says = [\"stream.py serves {{own}}\"]\n\
         [connections]\n\
         pattern = \"http://127.0.0.1:{{own}}/sub/{{id}}\"\n\
         count = 20\n\
         sse = true\n\
         id-in-url = \"/sub/([0-9]+)\"\n\
         [messages]\n\
         to = \"http://127.0.0.1:{{own}}/pub/{{id}}\"\n\
         rate = {rate}\n\
         sources = 5\n\
         for = \"2s\"\n\
         # The machine of a test has other things to do.\n\
         allow-late = true\n"
    )
}

/// Runs a scenario with these flags. Its folder is `run` in `place`.
fn run(place: &Path, scenario: &str, flags: &[&str]) -> Output {
    let file = place.join("server.toml");
    fs::write(&file, scenario).unwrap();
    let mut rig = rig_command(&["run"]);
    rig.args(flags).arg("--out").arg(place.join("run")).arg(file).output().unwrap()
}

/// What is published of the run.
fn summary(place: &Path, output: &Output) -> Value {
    let text = fs::read_to_string(place.join("run/summary.json"));
    let text = text.unwrap_or_else(|error| panic!("no summary: {error}: {}", told(output)));
    serde_json::from_str(&text).unwrap()
}

/// Whether the server of these tests can be started.
pub(crate) fn has_python() -> bool {
    let is_there = Command::new("python3").arg("--version").output().is_ok();
    is_there || {
        skip("python3");
        false
    }
}

/// The identity with this name: its two sides.
fn line(summary: &Value, what: &str) -> [u64; 2] {
    let lines = summary["books"].as_array().unwrap();
    let line = lines.iter().find(|line| line["what"] == what);
    let line = line.unwrap_or_else(|| panic!("{what} is not in {lines:?}"));
    [&line["left"], &line["right"]].map(|side| side.as_u64().unwrap())
}

const EXPECTED: &str = "messages expected = floodtest messages + lost";

#[test]
fn the_books_of_a_foreign_server_are_those_of_sender_and_receivers() {
    if !has_python() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let output = run(place.path(), &scenario("", 100), &[]);
    let summary = summary(place.path(), &output);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert_eq!(line(&summary, EXPECTED), [200, 200]);
    assert_eq!(summary["server_name"], "stream.py");
    assert_eq!(summary["server"], Value::Null, "it gives no counts that are known");
    assert!(summary["cost"]["idle_bytes_per_connection"].as_f64().unwrap() > 0.0, "{summary}");
    assert_eq!(summary["cost"]["idle"]["connections"], 20);
    let page = fs::read_to_string(place.path().join("run/report.html")).unwrap();
    for words in ["streams of Python", "stream.py gives no counts", EXPECTED, "text/event-stream"] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("article, 2008"), "it is not the article's experiment");
    // The run has the scenario with it, and can be made again from that alone.
    let kept = fs::read_to_string(place.path().join("run/scenario.toml")).unwrap();
    assert!(kept.contains("# The machine of a test"), "with its comments: {kept}");
}

#[test]
fn messages_that_a_server_leaves_out_are_found() {
    if !has_python() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let output = run(place.path(), &scenario("drop=10", 100), &["--set", "expect.lost=0"]);
    let summary = summary(place.path(), &output);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert_eq!(summary["received"]["lost"], 20, "{}", summary["received"]);
    assert_eq!(line(&summary, EXPECTED), [200, 200], "those that came, and those that did not");
    assert!(told(&output).contains("expected lost=0, found 20"), "{}", told(&output));
}

#[test]
fn a_server_that_dies_ends_the_run_with_what_is_known() {
    if !has_python() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let output = run(place.path(), &scenario("die=30", 100), &["--set", "messages.for=10m"]);
    let summary = summary(place.path(), &output);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let said = told(&output);
    let death = "stream.py ended in the middle of the run with exit code 3: out of luck";
    assert!(said.contains(death), "{said}");
    assert_eq!(summary["verdict"], "fell_short");
    assert_eq!(summary["received"]["messages"], 30, "what came before is kept");
}

#[test]
fn a_server_that_never_becomes_ready_is_told_with_its_last_output() {
    let place = tempfile::tempdir().unwrap();
    let silent = "[server]\n\
                  command = \"sh -c 'echo hello; echo trouble >&2; exec sleep 600'\"\n\
                  ready = 9\n\
                  ready-timeout = \"1s\"\n\
                  [connections]\n\
                  pattern = \"http://127.0.0.1:9/test/{id}\"\n\
                  count = 5\n";
    let output = run(place.path(), silent, &[]);
    let said = told(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("sh was not ready at 9 within 1s"), "{said}");
    assert!(said.contains("its last output: hello; trouble"), "{said}");
}

#[test]
fn what_is_wrong_with_a_scenario_is_told_with_file_and_line() {
    let place = tempfile::tempdir().unwrap();
    let connections = "[connections]\npattern = \"http://127.0.0.1:9/{id}\"\ncount = 5\n";
    for (text, why) in [
        ("[server]\ncomand = 'x'\n", ":2: [server] has no key comand; did you mean command?"),
        ("[sevrer]\n", ":1: there is no section [sevrer]; did you mean [server]?"),
        ("tilte = 'x'\n", ":1: a scenario has no key tilte; did you mean title?"),
        ("x = = 3\n", ":1: "),
        ("[server]\ncommand = 'x'\nhost = 'h'\n", "it has command and host"),
        ("[server]\npid = 1\nprocess = 'x'\n", "it has process and pid"),
        ("[server]\nlisten = 1\nhost = '-oX'\n", "\"-oX\" is no host; write user@host"),
        ("[server]\nlisten = 0\n", ":2: listen: write a port"),
        ("[server]\nnodes = 2\ncommand = 'x'\n", "several nodes need {address}"),
        ("[messages]\nto = 'http://h'\nrate = 0\n", ":3: rate: it must be at least 1"),
        ("[messages]\nto = 'http://h'\nrate = 1\nfor = 60\n", ":4: for: write a time in quotes"),
        ("[messages]\nto = 'http://h'\nrate = 1\nnum = 6\n", ":4: the rig itself gives msggen"),
        ("[expect]\n'server.rss' = 5\n", "there is no figure \"server.rss\""),
        ("[expect]\nvoid = 0\n", ":2: void=0 is of msggen, and there is no section [messages]"),
    ] {
        let output = run(place.path(), &format!("{text}{connections}"), &[]);
        let said = told(&output);
        assert_eq!(output.status.code(), Some(2), "{text}: {said}");
        assert!(said.contains("server.toml") && said.contains(why), "{text}: {said}");
        assert!(!place.path().join("run").exists(), "nothing was begun: {text}");
    }
    let output = rig_command(&["run", "c10k", "--set", "connections.cuont=5"]).output().unwrap();
    let why = "--set connections.cuont=5: [connections] has no key cuont; did you mean count?";
    assert!(told(&output).contains(why), "{}", told(&output));
    let output = rig_command(&["run", "no-such-file"]).output().unwrap();
    assert!(
        told(&output).contains("the built-in ones are c10k, cluster, c1m"),
        "{}",
        told(&output)
    );
}

#[test]
fn what_a_tool_refuses_is_told_in_its_own_words() {
    let place = tempfile::tempdir().unwrap();
    let refused = "[server]\nname = 'it'\n[connections]\n\
                   pattern = 'http://127.0.0.1:9/{id}'\ncount = 5\nheader = 'bad'\n";
    let output = run(place.path(), refused, &[]);
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("not a header field: \"bad\""), "{}", told(&output));
    let gone = "[server]\npid = 4194304\n[connections]\n\
                pattern = 'http://127.0.0.1:9/{id}'\ncount = 5\n";
    let place = tempfile::tempdir().unwrap();
    let output = run(place.path(), gone, &[]);
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("no process 4194304"), "{}", told(&output));
}

#[test]
fn the_built_in_scenarios_can_be_printed_and_are_read_as_they_are_printed() {
    for name in ["c10k", "cluster", "c1m", "friends", "storm", "llm"] {
        let output = rig_command(&["run", "--print", name]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("copy.toml");
        fs::write(&file, &output.stdout).unwrap();
        let again = rig_command(&["run", "--print"]).arg(&file).output().unwrap();
        assert_eq!(again.stdout, output.stdout, "{}", told(&again));
        let set = rig_command(&["run", "--print", name, "--set", "connections.count=7"]);
        let set = { set }.output().unwrap();
        assert!(String::from_utf8_lossy(&set.stdout).contains("count = 7"), "{}", told(&set));
    }
}

#[test]
fn flags_of_the_tools_are_known_by_name() {
    let source =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/scenario/flags.rs")).unwrap();
    for program in ["floodtest", "msggen", "memlog"] {
        let help = String::from_utf8(help(program, &[]).stdout).unwrap();
        let flags: Vec<&str> = help
            .lines()
            .filter_map(|line| line.trim_start().split_once("--"))
            .filter(|(before, _)| before.is_empty() || before.ends_with(", "))
            .filter_map(|(_, flag)| flag.split([' ', '[', '=', ',', ':']).next())
            .filter(|flag| !["help", "version"].contains(flag))
            .collect();
        assert!(flags.len() > 8, "{program}: {help}");
        for flag in flags {
            assert!(source.contains(&format!("\"{flag}\"")), "{program} --{flag} is in no list");
        }
    }
}

#[test]
fn a_url_becomes_a_first_scenario() {
    let Some(server) = Foreign::start() else { return };
    let port = &server.port;
    let (url, to) = (format!("127.0.0.1:{port}/sub/7"), format!("127.0.0.1:{port}/pub/{{id}}"));
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("first.toml");
    let mut init = rig_command(&["init"]);
    let init = init.arg(format!("http://{url}")).arg("--to").arg(format!("http://{to}"));
    let output = init.arg("--out").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let text = fs::read_to_string(&file).unwrap();
    for words in [
        "Content-Type text/event-stream",
        "Of 5 messages that were sent 5 were answered, and 5 came.",
        &format!("listen = [{port}]"),
        &format!("pattern = \"http://127.0.0.1:{port}/sub/{{id}}\""),
        "id-in-url = \"/sub/([0-9]+)\"",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // It runs as it is; smaller here.
    let mut run = rig_command(&["run"]);
    let run = run.args(["--set", "connections.count=10", "--set", "messages.for=1s"]);
    let run = run.args(["--set", "messages.allow-late=true", "--out"]);
    let output = run.arg(place.path().join("run")).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));

    let init = |url: &str| rig_command(&["init", url]).output().unwrap();
    let output = init(&format!("http://127.0.0.1:{port}/elsewhere"));
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("status 404"), "{}", told(&output));
    let output = init("127.0.0.1/no-scheme");
    assert!(told(&output).contains("is no URL"), "{}", told(&output));

    // Beside the same server, without a file.
    let mut attach = rig_command(&["attach", "--listen", port]);
    let attach = attach.args(["--connections", "10", "--for", "1s", "--pattern"]);
    let attach = attach.arg(format!("http://127.0.0.1:{port}/sub/{{id}}"));
    let attach =
        attach.arg("--to").arg(format!("http://{to}")).args(["--set", "connections.ssee=true"]);
    let output = attach.output().unwrap();
    assert!(told(&output).contains("did you mean sse?"), "{}", told(&output));
    let mut attach = rig_command(&["attach"]);
    let attach = attach.args(["--pid", &server.server.id().to_string(), "--connections", "10"]);
    let attach = attach.args(["--for", "1s", "--pattern"]).arg(format!("http://{url}"));
    let attach = attach.arg("--to").arg(format!("http://127.0.0.1:{port}/pub/7"));
    let attach = attach.args(["--set", "messages.allow-late=true", "--out"]);
    let output = attach.arg(place.path().join("attached")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(told(&output).contains("How many messages were to come is not known"), "no id in URLs");
}

/// The server of these tests, which runs until this is dropped.
pub(crate) struct Foreign {
    server: Child,
    /// Where it listens, on 127.0.0.1.
    pub(crate) port: String,
}

impl Foreign {
    /// Starts it, if there is a Python.
    pub(crate) fn start() -> Option<Self> {
        if !has_python() {
            return None;
        }
        let mut server = Command::new("python3");
        let mut server = server.arg(SERVER).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let port = said.trim().rsplit(' ').next().unwrap().to_owned();
        Some(Self { server, port })
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        _ = self.server.kill();
        _ = self.server.wait();
    }
}
