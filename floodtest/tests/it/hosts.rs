//! One plan over several hosts. Here the way to each is a script in the place of ssh, which starts
//! the program on this machine; a real sshd in a network of its own is in the rig's tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use reports::announced::Announced;
use reports::books::{ByReason, FloodReport};
use reports::latency::{Latency, LatencySummary};
use reports::latency_log::{self, Interval};
use reports::sent::{End, Header, IdLine};
use reports::stamp::{Clock, Mark, Sender, Stamp, as_us, wall_now};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{
    OUR_HEAD, Running, Server, UrlFile, children, chunk, hold, messages, send, signal,
    start_command, wait_until_gone,
};

/// Connections of each run.
const N: u64 = 90;

/// A folder with a program `ssh` for the front of PATH.
pub(crate) struct Ssh(TempDir);

impl Ssh {
    /// One that does this instead of starting floodtest as it was told, where the host has one of
    /// these names: lines of a shell, in which `$host` is its name and `"$@"` the command.
    pub(crate) fn new(cases: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = format!(
            "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nhost=$2; shift 2\n\
             case $host in\n{cases}\nesac\nexec \"$@\"\n"
        );
        let ssh = folder.path().join("ssh");
        fs::write(&ssh, script).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(
            env!("CARGO_BIN_EXE_floodtest"),
            folder.path().join("floodtest"),
        )
        .unwrap();
        Self(folder)
    }

    /// Starts a run by way of it.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floodtest"));
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.0.path().display())).args(args);
        start_command(command)
    }
}

/// A sender that is announced as long as these tests run.
struct Here {
    /// Who it is.
    sender: Sender,
    /// Its clock.
    clock: Clock,
    /// What says so.
    _announced: UnixDatagram,
}

/// What sends here.
static HERE: LazyLock<Here> = LazyLock::new(|| {
    let (sender, clock) = (Sender(std::process::id()), Clock::start());
    let announced = Announced { sender, zero_us: clock.zero_us() }.announce().unwrap();
    Here { sender, clock, _announced: announced }
});

/// The stamp of a message that is due now, of a sender that is announced.
pub(crate) fn stamp() -> Stamp {
    let Here { sender, clock, .. } = &*HERE;
    let mark = Some(Mark { id: 1, n: 1, sender: *sender });
    Stamp { due_unix_us: clock.unix_us(Instant::now()), late_us: 0, mark }
}

/// A server that sends each connection two messages, one of them with a stamp.
fn server() -> Server {
    server_that_stamps(stamp)
}

/// The same with these stamps.
fn server_that_stamps(stamp: impl Fn() -> Stamp + Send + Sync + 'static) -> Server {
    Server::start(move |_, stream| {
        let stamp = stamp();
        let second = chunk(&format!("Recvd msg #2: 'x{stamp}'<br/>"));
        send(stream, &format!("{OUR_HEAD}{}{second}", messages(&[1])));
        hold(stream);
    })
}

/// The delays of a report, those among them that came out negative too: a message that comes at
/// once may, by as much as the bound of the clocks.
fn delays(summary: &LatencySummary) -> u64 {
    summary.count + summary.negative
}

#[test]
fn hosts_share_a_plan_and_what_they_count_is_added_up() {
    let (server, ssh) = (server(), Ssh::new(""));
    let urls = server.urls(N);
    let args = ["--urls", urls.path(), "--rate", "1000", "--json", "--report", "50ms"];
    let mut running = ssh.start(&[&args[..], &["--hosts", "a=2,u@b:2222"]].concat());
    running.wait_for(|report| report.connected == N && report.chunks == 2 * N);
    let pids = children(running.pid());
    assert_eq!(pids.len(), 2);
    running.signal(Signal::INT);
    let ended = running.end().with_code(0);
    assert_eq!(ended.stderr, "", "{ended}");
    let report = ended.report();
    let FloodReport { asked, begun, connected, peak, closed, failed, .. } = report;
    assert_eq!((asked, begun, connected, peak, closed, failed), (N, N, N, N, 0, 0));
    assert_eq!((report.chunks, report.lost, report.unknown), (2 * N, Some(0), 0));
    assert_eq!((report.connect_lateness.count, delays(&report.delivery_from_due)), (N, N));
    // Two plans would be through in half the time.
    assert!((0.08..5.0).contains(&report.opening_s), "one plan for all: {report:?}");
    // Both are this machine, so that each delay is told twice.
    let bound_us = report.clock_bound_us.expect("the clocks are known");
    assert!(report.hosts.iter().all(|it| it.clock.unwrap().bound_us <= bound_us), "{report:?}");
    let apart_us = report.hosts.iter().map(|it| it.clock.unwrap().offset_us.unsigned_abs());
    assert!(apart_us.max() <= Some(bound_us), "{report:?}");
    let [a, b] = &report.hosts[..] else { panic!("{report:?}") };
    assert_eq!((&*a.host, a.connected, a.messages), ("a", 60, 120));
    assert_eq!((&*b.host, b.connected, b.messages), ("u@b:2222", 30, 60));
    assert_eq!((delays(&a.delivery_from_due), delays(&b.delivery_from_due)), (60, 30));
    assert_eq!((a.processes, b.processes), (1, 1));
    assert!(a.rss_kb + b.rss_kb == report.rss_kb && report.rss_start_kb > 0, "{report:?}");
    wait_until_gone(&pids);
    let mut asked: Vec<_> = server.requests().into_iter().map(|request| request.text).collect();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len() as u64, N, "each URL once");
}

#[test]
fn latencies_of_a_sender_that_nobody_announced_are_not_known() {
    let (server, ssh) = (
        server_that_stamps(|| {
            let mark = Mark { id: 1, n: 1, sender: Sender(0x0bad_cafe) };
            Stamp { mark: Some(mark), ..stamp() }
        }),
        Ssh::new(""),
    );
    let urls = server.urls(N);
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "50ms"];
    let expect = ["--hosts", "a,b", "--expect", "delivery_from_due.p99<1h"];
    let mut running = ssh.start(&[&args[..], &expect].concat());
    running.wait_for(|report| report.chunks == 2 * N);
    running.signal(Signal::INT);
    let ended = running.end().with_code(1);
    let report = ended.report();
    assert!(report.delivery_from_due.is_unknown && report.delivery_from_send.is_unknown);
    assert!(report.hosts.iter().all(|it| it.delivery_from_due.is_unknown), "{report:?}");
    assert_eq!(report.clock_bound_us, None);
    assert!(report.notes.iter().any(|note| note.contains("sender 0badcafe did not announce")));
    ended.mentioning("the clock of a sender is unknown");
}

#[test]
fn the_delays_of_all_are_those_of_each_host_together() {
    let (server, ssh, folder) = (server(), Ssh::new(""), tempfile::tempdir().unwrap());
    let urls = server.urls(N);
    let out = folder.path().join("out");
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "50ms"];
    let more = ["--hosts", "a,b,c=2", "--out", out.to_str().unwrap()];
    let mut running = ssh.start(&[&args[..], &more].concat());
    running.wait_for(|report| report.chunks == 2 * N);
    running.signal(Signal::INT);
    running.end().with_code(0);
    let log = |name| latency_log::read(&fs::read(out.join(name)).unwrap()).unwrap();
    let of_hosts = log("floodtest-hosts-delivery_from_due.hlog");
    let tags: Vec<_> = of_hosts.iter().filter_map(|it| it.tag.as_deref()).collect();
    assert_eq!(tags, ["a", "b", "c"]);
    let sum = |intervals: Vec<Interval>| {
        let mut sum = Latency::default();
        for it in &intervals {
            sum.merge(&it.latency);
        }
        sum
    };
    let (together, all) = (sum(of_hosts), sum(log("floodtest-delivery_from_due.hlog")));
    assert!(all.count() > 0);
    // Bucket by bucket.
    assert_eq!(serde_json::to_string(&together).unwrap(), serde_json::to_string(&all).unwrap());
}

#[test]
fn delays_go_by_the_clock_of_the_host_that_sends() {
    let (server, ssh) = (server(), Ssh::new("lost) exit 255;;"));
    let urls = server.urls(N);
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "50ms"];
    let more = ["--hosts", "a,b", "--sender-host", "s"];
    let mut running = ssh.start(&[&args[..], &more].concat());
    running.wait_for(|report| report.chunks == 2 * N);
    let pids = children(running.pid());
    assert_eq!(pids.len(), 3);
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    // Its sockets are those of this machine, where the sender has announced itself.
    assert_eq!((delays(&report.delivery_from_due), report.hosts.len()), (N, 2));
    let bound_us = report.clock_bound_us.unwrap();
    assert!(report.hosts.iter().all(|host| host.clock.unwrap().bound_us < bound_us), "{report:?}");
    wait_until_gone(&pids);

    let lost = ["--hosts", "a,b", "--sender-host", "lost"];
    let ended = ssh.start(&[&args[..], &lost].concat()).end().with_code(2);
    assert!(ended.stderr.starts_with("floodtest: lost: it says nothing; "), "{ended}");
}

#[test]
fn without_the_clock_of_the_host_that_sends_delays_are_unknown() {
    let (server, ssh) = (server(), Ssh::new(""));
    let urls = server.urls(N);
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "50ms"];
    let more = ["--hosts", "a,b", "--sender-host", "s"];
    let mut running = ssh.start(&[&args[..], &more].concat());
    running.wait_for(|report| delays(&report.delivery_from_due) == N);
    signal(children(running.pid())[2], Signal::KILL);
    running.wait_for(|report| report.delivery_from_due.is_unknown);
    running.signal(Signal::INT);
    let ended = running.end().mentioning("lost the sender's host s: its ssh ended");
    let report = ended.report();
    assert!(report.clock_bound_us.is_none() && report.connected == N, "{ended}");
}

#[test]
fn a_host_that_may_open_few_files_has_several_processes() {
    let (server, ssh) = (server(), Ssh::new("b) ulimit -n 80;;"));
    let urls = server.urls(N);
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--hosts", "a,b"];
    let mut running = ssh.start(&[&args[..], &["--report", "50ms"]].concat());
    let report = running.wait_for(|report| report.connected == N && report.chunks == 2 * N);
    assert_eq!((report.hosts[0].processes, report.hosts[1].processes), (1, 3), "16 in each");
    let agents = children(running.pid());
    let workers = children(agents[1]);
    assert_eq!(workers.len(), 2);
    signal(workers[0], Signal::KILL);
    let report = running.wait_for(|report| report.closed > 0);
    let n_dead = report.closed;
    assert_eq!(n_dead, N / 6);
    assert_eq!(report.closures, ByReason::from([("worker 3 died".to_owned(), n_dead)]));
    running.signal(Signal::INT);
    let dead = "worker 3 (on b) died: signal: 9 (SIGKILL); its 15 open connections count as closed";
    running.end().with_code(1).saying(dead);
    wait_until_gone(&[agents, workers].concat());
}

#[test]
fn all_that_is_wrong_with_hosts_is_said_at_once_before_the_first_connect() {
    let server = server();
    let urls = server.urls(N);
    let hello = "floodtest-worker {\\\"protocol\\\":9,\\\"version\\\":\\\"0.0.9\\\",\
                 \\\"hostname\\\":\\\"h\\\"";
    let ssh = Ssh::new(&format!(
        "unknown) echo 'ssh: Could not resolve hostname unknown: Name or service not known' >&2; \
         exit 255;;\n\
         refused) echo 'u@refused: Permission denied (publickey).' >&2; exit 255;;\n\
         none) exec no-such-program-here;;\n\
         loud) echo 'Welcome to loud';;\n\
         old) echo \"{hello},\\\"open_files\\\":9,\\\"open_files_of_machine\\\":null,\
         \\\"available_memory_kb\\\":null}}\"; exit 0;;\n\
         odd) echo \"error: unexpected argument '--stdio' found\" >&2; exit 2;;\n\
         low) ulimit -n 66;;"
    ));
    let hosts = "unknown,refused,none,loud,old,odd,low,good";
    let args = ["--urls", urls.path(), "--connections", "9k", "--hosts", hosts];
    let ended = ssh.start(&args).end().with_code(2);
    assert_eq!(server.requests().len(), 0);
    for sentence in [
        "floodtest: 7 hosts cannot hold connections:\n",
        "  unknown: ssh: Could not resolve hostname unknown: Name or service not known; correct \
         its name in --hosts, or give it one in ~/.ssh/config\n",
        "  refused: u@refused: Permission denied (publickey).; nobody is asked for a password \
         here: let a key of yours in with `ssh-copy-id refused`, and unlock it with `ssh-add`\n",
        "  none: floodtest cannot be started there: ",
        "; copy it, as with `scp \"$(command -v floodtest)\" none:/usr/local/bin/`, or say where \
         it is with --floodtest-path\n",
        "  loud: printed \"Welcome to loud\" before floodtest there said anything; ",
        "  old: floodtest 0.0.9 (protocol 9) is there, and ",
        "; copy this one, as with `scp \"$(command -v floodtest)\" old:/usr/local/bin/`\n",
        "  odd: floodtest there ended with exit status 2: error: unexpected argument '--stdio' \
         found; it may be another version: `ssh odd floodtest --version` says which\n",
        "  low: cannot hold 1125 connections: with an open-file limit of 66 a run holds at most \
         4; ",
    ] {
        assert!(ended.stderr.contains(sentence), "{sentence}\n{ended}");
    }
    assert!(!ended.stderr.contains("good"), "{ended}");
}

#[test]
fn a_single_fault_is_one_sentence_and_a_host_twice_is_a_bad_flag() {
    let (server, ssh) = (server(), Ssh::new("none) exit 127;;"));
    let urls = server.urls(1);
    let ended = ssh.start(&["--urls", urls.path(), "--hosts", "none"]).end().with_code(2);
    assert!(ended.stderr.starts_with("floodtest: none: floodtest cannot be started"), "{ended}");
    let ended = ssh.start(&["--urls", urls.path(), "--hosts", "a,a"]).end().with_code(2);
    assert!(ended.stderr.contains("a is named twice; HOST=2 gives"), "{ended}");
}

#[test]
fn a_plan_says_what_each_host_will_do() {
    let (server, ssh) = (server(), Ssh::new("b) ulimit -n 80;;"));
    let urls = server.urls(N);
    let ended = ssh.start(&["--urls", urls.path(), "--hosts", "a=2,b", "--plan"]).end();
    let ended = ended.with_code(0);
    assert!(ended.stdout.contains("\nhost          a: 60 connections\nprocesses     1; it may"));
    let b = "\nhost          b: 30 connections\nprocesses     2, each with 15 connections at most; \
             a process may open 80 files\n";
    assert!(ended.stdout.contains(b), "{ended}");
    assert_eq!(server.requests().len(), 0);
}

/// A run on hosts a and b whose connections are all open.
fn opened(ssh: &Ssh, urls: &UrlFile) -> (Running, Vec<u32>) {
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--hosts", "a,b"];
    let mut running = ssh.start(&[&args[..], &["--report", "50ms"]].concat());
    running.wait_for(|report| report.connected == N && report.chunks == 2 * N);
    let agents = children(running.pid());
    (running, agents)
}

#[test]
fn a_host_that_is_lost_is_named_and_its_connections_are_unknown() {
    let (server, ssh) = (server(), Ssh::new(""));
    let urls = server.urls(N);
    let (mut running, agents) = opened(&ssh, &urls);
    signal(agents[1], Signal::KILL);
    let report = running.wait_for(|report| report.unknown > 0);
    assert_eq!((report.connected, report.unknown, report.closed), (N / 2, N / 2, 0));
    assert_eq!((report.established, report.chunks), (N, 2 * N), "what came is not forgotten");
    let why = report.hosts[1].lost_why.clone().unwrap();
    assert_eq!(why, "b: its ssh ended (signal: 9 (SIGKILL))");
    assert_eq!((report.hosts[0].lost_why.clone(), report.hosts[1].unknown), (None, N / 2));
    running.signal(Signal::INT);
    running
        .end()
        .with_code(1)
        .saying(&format!("lost host {why}; its 45 connections are unknown"))
        .saying(&format!("45 connections are unknown: lost {why}"));
    wait_until_gone(&agents);
}

#[test]
fn what_is_expected_does_not_make_a_lost_host_good() {
    let (server, ssh) = (server(), Ssh::new(""));
    let urls = server.urls(N);
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "50ms"];
    let more = ["--hosts", "a,b", "--expect", "failed=0"];
    let mut running = ssh.start(&[&args[..], &more].concat());
    running.wait_for(|report| report.connected == N);
    signal(children(running.pid())[0], Signal::KILL);
    running.wait_for(|report| report.unknown == N / 2);
    running.signal(Signal::INT);
    running.end().with_code(1).mentioning("45 connections are unknown: lost a: its ssh ended");
}

#[test]
fn a_host_that_says_nothing_any_more_is_lost() {
    let (server, ssh) = (server(), Ssh::new(""));
    let urls = server.urls(N);
    let (mut running, agents) = opened(&ssh, &urls);
    signal(agents[0], Signal::STOP);
    let report = running.wait_for(|report| report.unknown > 0);
    let why = report.hosts[0].lost_why.clone().unwrap();
    assert_eq!(why, "a: nothing came from it for 8 s");
    running.signal(Signal::INT);
    running.end().with_code(1);
    wait_until_gone(&agents);
}

#[test]
fn no_host_goes_on_without_its_parent() {
    let (server, ssh) = (server(), Ssh::new("b) ulimit -n 80;;"));
    let urls = server.urls(N);
    let (running, mut agents) = opened(&ssh, &urls);
    let workers = children(agents[1]);
    assert_eq!(workers.len(), 2);
    running.signal(Signal::KILL);
    agents.extend(workers);
    wait_until_gone(&agents);
    assert_eq!(running.end().code, None);
}

#[test]
fn a_host_whose_parent_says_nothing_ends_by_itself() {
    let (server, ssh) = (server(), Ssh::new(""));
    let urls = server.urls(N);
    let (running, agents) = opened(&ssh, &urls);
    running.signal(Signal::STOP);
    wait_until_gone(&agents);
    running.signal(Signal::CONT);
    running.signal(Signal::INT);
    running.end().with_code(1).mentioning("heard nothing from the parent for 10 s");
}

#[test]
fn what_was_sent_comes_to_the_hosts_at_the_end() {
    let sender = Sender(0x0bad_cafe);
    let server = Server::start_by_id(move |id, stream| {
        let due_unix_us = as_us(wall_now());
        // Number 2 of connection 4 is lost at the end.
        let numbers = if id == 4 { 1..=1_u64 } else { 1..=2 };
        let stamps = numbers.map(|n| {
            let mark = Some(Mark { id: id as u64, n, sender });
            chunk(&format!("x{}<br/>", Stamp { due_unix_us, late_us: 0, mark }))
        });
        send(stream, &format!("{OUR_HEAD}{}", stamps.collect::<String>()));
        hold(stream);
    });
    let (urls, ssh, folder) = (server.urls(6), Ssh::new(""), tempfile::tempdir().unwrap());
    let path = folder.path().join("sent.ndjson");
    let args = ["--urls", urls.path(), "--rate", "max", "--json", "--report", "50ms"];
    let more = ["--hosts", "a,b,c", "--settle", "1ms", "--sent", path.to_str().unwrap()];
    let args = [&args[..], &more].concat();
    let mut running = ssh.start(&args);
    let first_due_unix_us = as_us(wall_now()) + as_us(Duration::from_hours(1));
    running.wait_for(|report| report.messages == 11);
    let header = Header { sent: 1, sender, first_due_unix_us, ..Header::default() };
    let mut lines = vec![serde_json::to_string(&header).unwrap()];
    lines.extend(
        (1..=6).map(|id| serde_json::to_string(&IdLine { id, n: 2, ..IdLine::default() }).unwrap()),
    );
    let end = End { end: true, last_answer_unix_us: 5, ..End::default() };
    lines.push(serde_json::to_string(&end).unwrap());
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    running.signal(Signal::INT);
    let report = running.end().with_code(1).saying("1 messages lost").report();
    assert_eq!(report.lost, Some(1));
    let [worst] = &report.worst[..] else { panic!("{report:?}") };
    let url = format!("http://{}/test/4", server.address);
    assert_eq!((&*worst.url, worst.host.as_deref()), (&*url, Some("a")), "every third is of a");

    // It is not there.
    fs::remove_file(&path).unwrap();
    let mut running = ssh.start(&args);
    running.wait_for(|report| report.messages == 11);
    running.signal(Signal::INT);
    let problem = format!("--sent: cannot read {}: No such file", path.display());
    running.end().with_code(1).mentioning(&problem);
}
