//! Samples of another host, which a real ssh reaches.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use testing::hosts::Hosts;
use testing::wait_until;

use crate::support::{MEMLOG, Memlog, Target, check_gaps};

/// A host with memlog on it.
fn host() -> Option<Hosts> {
    let hosts = Hosts::make(1)?;
    hosts.put(0, Path::new(MEMLOG));
    Some(hosts)
}

/// A server on the host, which is called comet-server.
fn server(hosts: &Hosts) -> Target {
    let program = hosts.home(0).join("comet-server");
    symlink(std::env::current_exe().unwrap(), &program).unwrap();
    Target::start_by(hosts.command_on(0, program), 1, 0)
}

/// A client of it, on the host as well.
fn client(hosts: &Hosts, server: &Target) -> Child {
    let line = format!("exec 3<>/dev/tcp/127.0.0.1/{}; read -r end", server.ports[0]);
    let mut client = hosts.command_on(0, "bash");
    client.args(["-c", &line]).stdin(Stdio::piped()).spawn().unwrap()
}

/// memlog here, for the host.
fn memlog(hosts: &Hosts, dir: &Path, args: &[&str]) -> Memlog {
    Memlog::start_by(hosts.command(MEMLOG), dir, args)
}

/// Waits until no memlog is left on the host.
fn wait_until_gone(hosts: &Hosts) {
    wait_until("no memlog is left there", || {
        !hosts.processes(0).iter().any(|it| it.line.contains("memlog"))
    });
}

#[test]
fn the_lines_of_another_host_are_kept_here() {
    let Some(hosts) = host() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = server(&hosts);
    let mut client = client(&hosts, &server);
    let there = || fs::read_dir(hosts.home(0)).unwrap().count();
    let n_files = there();
    let args = ["--host", "root@h1:2222", "--plot", "mem.svg"];
    let mut memlog = memlog(&hosts, dir.path(), &args);
    memlog.said_until("root@h1:2222: watching comet-server on port ");
    memlog.wait(|samples| samples.last().is_some_and(|it| it.n_connections == 1));
    let mut mark = hosts.command(MEMLOG);
    mark.args(["mark", "a phase", "--log", "mem.log"]);
    assert!(mark.current_dir(dir.path()).status().unwrap().success());
    let is_marked = |it: &reports::memory_log::Sample| {
        it.marks.first().is_some_and(|mark| mark.text == "a phase")
    };
    let samples = memlog.wait(|samples| {
        let marked = samples.iter().rposition(is_marked);
        marked.is_some_and(|at| samples.len() > at + 3)
    });
    let marked = samples.iter().find(|it| is_marked(it)).unwrap();
    assert!(marked.pss_kb.is_some(), "it is read at a mark: {marked}");
    let mark_ms = marked.marks[0].unix_ms().unwrap();
    assert!(mark_ms <= marked.unix_ms(), "{marked}");
    let done = memlog.interrupt();
    done.is(0, "to mem.log");
    let log = fs::read_to_string(dir.path().join("mem.log")).unwrap();
    assert_eq!(done.stdout, log, "what is kept is printed");
    check_gaps(&crate::support::samples(&dir.path().join("mem.log")));
    assert!(fs::read_to_string(dir.path().join("mem.svg")).unwrap().contains("</svg>"));
    assert_eq!(there(), n_files, "nothing is written there");
    drop((client.stdin.take(), server));
    client.wait().unwrap();
    hosts.wait_until_quiet(0);
}

#[test]
fn lines_are_dated_by_the_clock_of_here() {
    let Some(hosts) = Hosts::make(1) else { return };
    if !hosts.put_with_other_time(0, Path::new(MEMLOG), "+1h") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let _server = server(&hosts);
    #[expect(clippy::disallowed_methods, reason = "it is what the lines have")]
    let now_ms = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let from = now_ms();
    let memlog = memlog(&hosts, dir.path(), &["--host", "h1"]);
    memlog.wait(|samples| samples.len() > 5);
    memlog.interrupt().is(0, "");
    let samples = crate::support::samples(&dir.path().join("mem.log"));
    let is_of_here = |ms: u64| (from..=now_ms()).contains(&ms.into());
    assert!(samples.iter().all(|it| is_of_here(it.unix_ms()) && it.step_ms == 0), "{samples:?}");
    check_gaps(&samples);
}

#[test]
fn what_is_wrong_with_a_host_is_said_with_what_to_do_before_anything_is_written() {
    let Some(hosts) = Hosts::make(1) else { return };
    let dir = tempfile::tempdir().unwrap();
    let fails = |host: &str, said: &str| {
        memlog(&hosts, dir.path(), &[&format!("--host={host}")]).end().is(2, said);
        assert!(!dir.path().join("mem.log").exists(), "{host}");
    };
    fails(
        "-oProxyCommand=x",
        "not a host: \"-oProxyCommand=x\"; write HOST, USER@HOST or USER@HOST:PORT",
    );
    fails("nowhere", "cannot reach nowhere: ssh: Could not resolve hostname nowhere: ");
    fails("nowhere", "; see that `ssh nowhere true` works here");
    fails("h1:1", "cannot reach h1:1: ssh: connect to host 10.77.0.2 port 1: Connection refused");
    fails("h1:1", "see that `ssh -p 1 h1 true` works here");
    let copy = |flag: &str| format!("`scp {flag}{MEMLOG} h1:/usr/local/bin/`");
    let none = "on the PATH that ssh finds there; copy it: ";
    fails("h1", &format!("there is no memlog on h1, {none}{}", copy("")));
    let copy_by_port = copy("-P 2222 ");
    fails("h1:2222", &format!("there is no memlog on h1:2222, {none}{copy_by_port}"));
    hosts.put_script(0, "memlog", "echo memlog-worker 0.0.1; read -r order");
    let own = about::version();
    let same = format!("and here {own}; use the same on both: {}", copy(""));
    fails("h1", &format!("memlog on h1 is 0.0.1, {same}"));
    hosts.put_script(0, "memlog", "echo \"memlog: unrecognized subcommand 'worker'\" >&2; exit 2");
    fails("h1", &format!("memlog on h1 is another version, {same}"));
    hosts.put_script(0, "memlog", "echo gone >&2; exit 3");
    fails("h1", "did not answer: memlog there ended with exit code 3, and said \"gone\"; see what");
    hosts.put_script(0, "memlog", "yes hello; read -r order");
    fails("h1", "h1 printed \"hello\" before memlog spoke there; let its shell print nothing");
    hosts.remove(0, "memlog");
    hosts.put(0, Path::new(MEMLOG));
    fails("h1", "h1: no process is called comet-server; start it first, or name another");
    hosts.greet(0, "echo; echo Welcome to h1");
    fails("h1", "h1 printed \"Welcome to h1\" before memlog spoke there; let its shell print");
    hosts.refuse(0);
    fails("h1", "cannot reach h1: root@10.77.0.2: Permission denied (publickey).; see that");
    hosts.wait_until_quiet(0);
}

#[test]
fn a_log_that_is_in_the_way_is_said_and_the_host_is_left() {
    let Some(hosts) = host() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = server(&hosts);
    fs::write(dir.path().join("mem.log"), "dear diary\n").unwrap();
    memlog(&hosts, dir.path(), &["--host", "h1"]).end().is(2, "mem.log is not a memory log");
    drop(server);
    hosts.wait_until_quiet(0);
}

#[test]
fn a_host_that_is_lost_is_named_and_nothing_is_left_there() {
    let Some(hosts) = host() else { return };
    let _server = server(&hosts);
    let lose = |how: &dyn Fn(), why: &str| {
        let dir = tempfile::tempdir().unwrap();
        let memlog = memlog(&hosts, dir.path(), &["--host", "h1"]);
        memlog.wait(|samples| samples.len() > 2);
        how();
        let done = memlog.end();
        done.is(1, why);
        let n_lines = fs::read_to_string(dir.path().join("mem.log")).unwrap().lines().count();
        done.is(1, &format!("memlog: lost h1 after {n_lines} samples: "));
        done.is(1, "; mem.log is complete up to there");
        wait_until_gone(&hosts);
    };
    lose(&|| assert!(hosts.kill(0, "memlog") == 1), "memlog there was killed;");
    let closed = "ssh has ended, and said \"Connection to 10.77.0.2 closed by remote host.\"";
    lose(&|| assert!(hosts.kill(0, "sshd") > 0), closed);
    lose(&|| hosts.cut(0), "nothing was heard of it for 8 s");
}

#[test]
fn a_memlog_that_is_gone_leaves_nothing_on_the_host() {
    let Some(hosts) = host() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = server(&hosts);
    let mut memlog = memlog(&hosts, dir.path(), &["--host", "h1"]);
    memlog.wait(|samples| samples.len() > 2);
    memlog.child().kill().unwrap();
    memlog.child().wait().unwrap();
    drop(server);
    hosts.wait_until_quiet(0);
}

#[test]
fn a_target_that_ends_there_ends_the_log_and_is_called_so() {
    let Some(hosts) = host() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = server(&hosts);
    let pids = hosts.command_on(0, "pidof").arg("comet-server").output().unwrap();
    let pid = String::from_utf8(pids.stdout).unwrap().trim().to_owned();
    let memlog = memlog(&hosts, dir.path(), &["--host", "h1", "--pid", &pid]);
    memlog.wait(|samples| samples.len() > 2);
    drop(server);
    memlog.end().is(1, &format!("memlog: h1: process {pid} ended after "));
    hosts.wait_until_quiet(0);
}
