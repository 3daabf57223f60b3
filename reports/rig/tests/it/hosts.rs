//! Runs with several hosts, which a real ssh reaches.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use testing::hosts::Hosts;

use crate::rig::{PROFILE, rig_command, told};
use crate::scenario::{SERVER, has_python};

/// The programs of this checkout, built like this test.
fn built(names: &[&str]) -> Vec<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--bins", "--profile", PROFILE]);
    cargo.args(names.iter().flat_map(|name| ["--package", name]));
    assert!(cargo.status().unwrap().success(), "{names:?} can be built");
    let folder = Path::new(env!("CARGO_BIN_EXE_rig")).parent().unwrap();
    names.iter().map(|name| folder.join(name)).collect()
}

/// A command in the network of `hosts` that is otherwise `command`.
fn moved(hosts: &Hosts, command: &Command) -> Command {
    let mut moved = hosts.command(command.get_program());
    moved.args(command.get_args());
    for (name, value) in command.get_envs().filter(|(name, _)| *name != "PATH") {
        moved.env(name, value.unwrap_or_default());
    }
    moved.current_dir(command.get_current_dir().unwrap_or(Path::new(".")));
    moved
}

/// A program of a host, which says on its first line that it is ready, and ends with this.
struct Started(Child, String);

impl Started {
    /// Starts it.
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut said).unwrap();
        Self(child, said.trim().to_owned())
    }

    /// What it said first.
    fn said(&self) -> &str {
        &self.1
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is published of a run in `folder`.
fn summary(folder: &Path, said: &str) -> Value {
    let text = fs::read_to_string(folder.join("summary.json"));
    serde_json::from_str(&text.unwrap_or_else(|error| panic!("{error}: {said}"))).unwrap()
}

#[test]
fn the_memory_of_a_server_on_another_host_is_on_the_page() {
    let Some(hosts) = Hosts::make(1) else { return };
    if !has_python() {
        return;
    }
    hosts.put(0, &built(&["memlog"])[0]);
    // It listens on 127.0.0.1 unless it is told otherwise.
    let script = fs::read_to_string(SERVER).unwrap();
    let script = script.replace("\"127.0.0.1\"", "\"0.0.0.0\"");
    fs::write(hosts.home(0).join("stream.py"), script).unwrap();
    let mut server = hosts.command_on(0, "python3");
    server.arg(hosts.home(0).join("stream.py"));
    let server = Started::start(server);
    let port = server.said().rsplit(' ').next().unwrap().rsplit(':').next().unwrap();
    let url = format!("http://{}:{port}", hosts.address(0));
    let place = tempfile::tempdir().unwrap();
    let scenario = format!(
        "title = \"far away\"\n\
         [server]\n\
         name = \"stream.py\"\n\
         host = \"root@h1:2222\"\n\
         listen = {port}\n\
         [connections]\n\
         pattern = \"{url}/sub/{{id}}\"\n\
         count = 20\n\
         sse = true\n\
         id-in-url = \"/sub/([0-9]+)\"\n\
         [messages]\n\
         to = \"{url}/pub/{{id}}\"\n\
         rate = 100\n\
         sources = 5\n\
         for = \"2s\"\n\
         allow-late = true\n"
    );
    let file = place.path().join("far.toml");
    fs::write(&file, scenario).unwrap();
    let run = |folder: &str| {
        let mut rig = rig_command(&["run", "--profile", PROFILE, "--out"]);
        rig.arg(place.path().join(folder)).arg(&file);
        moved(&hosts, &rig)
    };
    let output = run("run").output().unwrap();
    let said = told(&output);
    let folder = place.path().join("run");
    assert_eq!(output.status.code(), Some(0), "{said}");
    let figures = summary(&folder, &said);
    assert_eq!(figures["cost"]["idle"]["connections"], 20, "{figures}");
    assert!(figures["cost"]["idle_bytes_per_connection"].as_f64().unwrap() > 0.0, "{figures}");
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    for words in ["root@h1:2222: Linux ", "the server's whole machine", "network in between"] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("clients and senders are on one machine"), "it is not");
    // The server has a process of its own there, and nsenter's above it is not of the host.
    let is_of_tools = |it: &testing::hosts::HostProcess| !it.line.contains("stream.py");
    testing::wait_until("no memlog is left there", || !hosts.processes(0).iter().any(is_of_tools));

    // Lost while messages are sent: what is known by then is kept.
    let mut long = run("lost");
    long.args(["--set", "messages.for=10m"]);
    let long = long.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let phases = place.path().join("lost/phases.toml");
    testing::wait_until("messages are sent", || {
        fs::read_to_string(&phases).is_ok_and(|text| text.contains("sending"))
    });
    assert_eq!(hosts.kill(0, "memlog"), 1);
    let output = long.wait_with_output().unwrap();
    let said = told(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("lost root@h1:2222 after"), "{said}");
    assert_eq!(summary(&place.path().join("lost"), &said)["verdict"], "fell_short");

    hosts.remove(0, "memlog");
    let output = run("none").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("there is no memlog on root@h1:2222"), "{}", told(&output));
}
