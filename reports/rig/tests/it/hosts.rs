//! Runs with several hosts, which a real ssh reaches.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use reports::books::FloodReport;
use serde_json::Value;
use testing::hosts::{HostProcess, Hosts};
use testing::{DEADLINE, wait_until};

use crate::installed::built;
use crate::rig::{rig_command, told};
use crate::scenario::{SERVER, has_python};

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
struct Started(Child, BufReader<std::process::ChildStdout>, String);

impl Started {
    /// Starts it.
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut started = Self(child, stdout, String::new());
        started.2 = started.next_line();
        started
    }

    /// The next line that it says.
    fn next_line(&mut self) -> String {
        let mut said = String::new();
        self.1.read_line(&mut said).unwrap();
        said.trim().to_owned()
    }

    /// What it said first.
    fn said(&self) -> &str {
        &self.2
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
    hosts.put(0, &built("memlog"));
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
        let mut rig = rig_command(&["run", "--out"]);
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
    let is_of_tools = |it: &HostProcess| !it.line.contains("stream.py");
    wait_until("no memlog is left there", || !hosts.processes(0).iter().any(is_of_tools));

    // Lost while messages are sent: what is known by then is kept.
    let mut long = run("lost");
    long.args(["--set", "messages.for=10m"]);
    let long = long.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let phases = place.path().join("lost/phases.toml");
    wait_until("messages are sent", || {
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

/// Connections of a run of floodtest, and messages to them. Each id is followed twice, by two
/// connections that are neighbours in the plan, and so on two hosts.
const N: u64 = 40;
const N_MESSAGES: u64 = 400;

/// comet-server and hosts with floodtest.
struct Field {
    /// The hosts.
    hosts: Hosts,
    /// comet-server, here.
    _server: Started,
    /// floodtest, msggen and comet-server.
    programs: [PathBuf; 3],
    /// Its URL for messages.
    control: String,
    /// The URL file, and what msggen writes.
    dir: tempfile::TempDir,
}

impl Field {
    /// Makes `n` hosts and starts a server that they reach. `None`: that cannot be done here.
    fn make(n: usize) -> Option<Self> {
        let hosts = Hosts::make(n)?;
        let programs = ["floodtest", "msggen", "comet-server"].map(built);
        (0..n).for_each(|at| hosts.put(at, &programs[0]));
        let mut server = hosts.command(&programs[2]);
        let listen = format!("{}:0", hosts.here());
        server.args(["--listen", &listen, "--control", "127.0.0.1:0"]);
        let mut server = Started::start(server);
        let url = server.said().strip_prefix("listening on ").unwrap().to_owned();
        let control = server.next_line();
        let control = control.strip_prefix("control on ").unwrap().to_owned();
        let dir = tempfile::tempdir().unwrap();
        let urls = (0..N).map(|k| url.replace("{id}", &(k / 2 + 1).to_string()) + "\n");
        fs::write(dir.path().join("urls.txt"), urls.collect::<String>()).unwrap();
        Some(Self { hosts, _server: server, programs, control, dir })
    }

    /// Starts floodtest here, on `hosts`.
    fn flood(&self, hosts: &str, more: &[&str]) -> Flood {
        let mut flood = self.hosts.command(&self.programs[0]);
        flood.current_dir(self.dir.path());
        flood.args(["--urls", "urls.txt", "--rate", "200", "--json", "--report", "100ms"]);
        Flood::start(flood.args(["--hosts", hosts]).args(more))
    }

    /// Sends messages to all ids with msggen, here.
    fn send(&self) {
        let mut msggen = self.hosts.command(&self.programs[1]);
        msggen.current_dir(self.dir.path()).args(["--server", &self.control, "--stamp"]);
        let (num, max) = (N_MESSAGES / 10, N / 2);
        let numbers = format!("--num {num} --max {max} --interval 20 --sources 10 --seed 7");
        let output = msggen.args(numbers.split(' ')).output().unwrap();
        // On a busy machine it may be late, which is no matter here.
        assert!(output.status.code().is_some_and(|code| code < 2), "{}", told(&output));
    }

    /// Waits until nothing of floodtest's is left on any host.
    fn wait_until_gone(&self) {
        let is_of_floodtest = |it: &HostProcess| it.line.contains("floodtest");
        let n = self.hosts.names().split(',').count();
        wait_until("no floodtest is left on any host", || {
            !(0..n).any(|at| self.hosts.processes(at).iter().any(is_of_floodtest))
        });
    }
}

/// A running floodtest, here.
struct Flood {
    /// The process, until its end is waited for.
    child: Child,
    /// Its reports.
    reports: Receiver<FloodReport>,
    /// The last of them that was looked at.
    last: FloodReport,
}

impl Flood {
    /// Starts it.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (each, reports) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if let Ok(report) = serde_json::from_str(&line) {
                    let _ = each.send(report);
                }
            }
        });
        Self { child, reports, last: FloodReport::default() }
    }

    /// Waits for a report that is as `is_so` says.
    #[track_caller]
    fn wait_for(&mut self, what: &str, is_so: impl Fn(&FloodReport) -> bool) -> FloodReport {
        while let Ok(report) = self.reports.recv_timeout(DEADLINE) {
            self.last = report;
            if is_so(&self.last) {
                return self.last.clone();
            }
        }
        let _ = self.child.kill();
        let mut said = String::new();
        let _ = self.child.stderr.take().unwrap().read_to_string(&mut said);
        panic!("in vain waited for {what}: {said}\n{:?}", self.last)
    }

    /// Ends it as Ctrl-C does.
    fn interrupt(self) -> (Option<i32>, FloodReport, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.end()
    }

    /// Waits for its end: exit code, last report, and what it said.
    fn end(mut self) -> (Option<i32>, FloodReport, String) {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let code = self.child.wait().unwrap().code();
        let last = self.reports.iter().last().unwrap_or(self.last);
        (code, last, said)
    }
}

/// A run of all connections and messages on these hosts, which must hold.
fn whole_run(field: &Field, hosts: &str) -> FloodReport {
    let mut flood = field.flood(hosts, &[]);
    flood.wait_for("all are connected", |report| report.connected == N);
    field.send();
    flood.wait_for("all messages came", |report| report.messages == 2 * N_MESSAGES);
    let (code, report, said) = flood.interrupt();
    assert_eq!(code, Some(0), "{said}");
    field.wait_until_gone();
    report
}

#[test]
fn two_hosts_and_three_count_what_one_does() {
    let Some(field) = Field::make(3) else { return };
    let counts = |it: &FloodReport| {
        let FloodReport { asked, begun, connected, established, closed, failed, .. } = it;
        let of_messages = (it.items, it.messages, it.lost, it.duplicated, it.reordered);
        let delays = (it.delivery_from_due.count, it.delivery_from_due.negative, it.unknown);
        ([*asked, *begun, *connected, *established, *closed, *failed], of_messages, delays)
    };
    let one = whole_run(&field, "h1");
    for (hosts, shares) in [("h1,h2", &[20, 20][..]), ("h1,root@h2:2222=2,h3", &[10, 20, 10])] {
        let several = whole_run(&field, hosts);
        assert_eq!(counts(&several), counts(&one), "{hosts}");
        let connected: Vec<u64> = several.hosts.iter().map(|host| host.connected).collect();
        assert_eq!(connected, shares);
        let sum = |of: &dyn Fn(&reports::books::HostReport) -> u64| {
            several.hosts.iter().map(of).sum::<u64>()
        };
        assert_eq!(sum(&|it| it.messages), several.messages);
        assert_eq!(sum(&|it| it.delivery_from_due.count), several.delivery_from_due.count);
        let longest = several.hosts.iter().map(|it| it.delivery_from_due.max_us).max();
        assert_eq!(longest, Some(several.delivery_from_due.max_us), "of all it is the longest");
    }
}

/// By how much the clocks of a host are wrong at least that has another time, in microseconds.
const SHIFT_US: i64 = 200_000;

#[test]
fn a_host_whose_clocks_are_shifted_begins_in_time_and_its_delays_are_set_right() {
    let Some(field) = Field::make(2) else { return };
    if !field.hosts.put_with_other_time(1, &field.programs[0], "+0.2s x1.00005") {
        return;
    }
    let report = whole_run(&field, "h1,h2");
    let [right, shifted] = &report.hosts[..] else { panic!("{report:?}") };
    let [of_right, of_shifted] = [right, shifted].map(|host| host.clock.unwrap());
    // It has the very clock that is asked here, so this is the truth.
    assert!(of_right.offset_us.unsigned_abs() <= of_right.bound_us, "{of_right:?}");
    // faketime takes the monotonic clock further away than it was told to.
    assert!(of_shifted.offset_us.abs() > SHIFT_US / 2, "{of_shifted:?}");
    // Each message goes to both at once. So what they say of it may differ by what is not known of
    // their clocks, and by what a busy machine does to either.
    let [p50, other] = [right, shifted].map(|host| host.delivery_from_due.p50_us.cast_signed());
    let bound = (of_right.bound_us + of_shifted.bound_us).cast_signed();
    assert!((p50 - other).abs() <= bound + SHIFT_US / 4, "{p50} and {other}, {bound}");
}

#[test]
fn what_is_wrong_with_any_host_is_said_at_once_with_the_words_of_ssh() {
    let Some(field) = Field::make(4) else { return };
    field.hosts.remove(0, "floodtest");
    field.hosts.greet(1, "echo Welcome to h2");
    field.hosts.refuse(2);
    let (code, report, said) = field.flood("nowhere,h1,h2,h3,h4", &[]).end();
    assert_eq!((code, report.begun), (Some(2), 0), "{said}");
    for words in [
        "4 hosts cannot hold connections:",
        "nowhere: ssh: Could not resolve hostname nowhere: ",
        "h1: floodtest cannot be started there: ",
        "h2: printed \"Welcome to h2\" before floodtest there said anything; ",
        "h3: root@10.77.0.4: Permission denied (publickey).; ",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    field.wait_until_gone();
}

#[test]
fn a_host_that_is_lost_is_named_and_nothing_is_left_anywhere() {
    let Some(field) = Field::make(2) else { return };
    let lose = |how: &dyn Fn(), why: &str| {
        let mut flood = field.flood("h1,h2", &[]);
        flood.wait_for("all are connected", |report| report.connected == N);
        how();
        let report = flood.wait_for("a host is lost", |report| report.unknown > 0);
        assert_eq!((report.connected, report.unknown, report.closed), (N / 2, N / 2, 0), "{why}");
        let lost_why = report.hosts[1].lost_why.clone().unwrap();
        assert!(lost_why.starts_with("h2: ") && lost_why.contains(why), "{lost_why}");
        let (code, _, said) = flood.interrupt();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("lost host {lost_why}; its 20 connections")), "{said}");
        field.wait_until_gone();
    };
    lose(&|| assert_eq!(field.hosts.kill(1, "floodtest"), 1), "");
    lose(&|| assert!(field.hosts.kill(1, "sshd") > 0), "its ssh ended");
    lose(&|| field.hosts.cut(1), "nothing came from it for 8 s");
}

#[test]
fn a_floodtest_that_is_killed_leaves_nothing_on_its_hosts() {
    let Some(field) = Field::make(2) else { return };
    // So few that a host takes two processes.
    let program = field.programs[0].display();
    field.hosts.put_script(1, "floodtest", &format!("ulimit -n 75; exec {program} \"$@\""));
    let mut flood = field.flood("h1,h2", &[]);
    let report = flood.wait_for("all are connected", |report| report.connected == N);
    assert!(report.hosts[1].processes > 1, "{:?}", report.hosts);
    flood.child.kill().unwrap();
    flood.child.wait().unwrap();
    field.wait_until_gone();
}
