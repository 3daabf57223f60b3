//! What a run leaves behind when something goes wrong.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::{Memlog, Target, samples};

#[test]
fn a_process_that_ends_for_good_ends_the_run_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "ending");
    let pid = target.pid();
    let memlog = Memlog::start(dir.path(), &["--pid", &pid.to_string()]);
    memlog.wait(|samples| samples.len() >= 2);
    target.kill();
    let log = memlog.log.clone();
    let done = memlog.end();
    let n_samples = samples(&log).len();
    let said = format!(
        "memlog: process {pid} ended after {n_samples} samples; mem.log is complete up to there\n"
    );
    done.is(1, &said);
}

#[test]
fn a_torn_last_line_is_repaired_and_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "torn");
    let pid = target.pid().to_string();
    let memlog = Memlog::start(dir.path(), &["--pid", &pid]);
    let before = memlog.wait(|samples| samples.len() >= 2);
    memlog.signal("KILL");
    let log = memlog.log.clone();
    memlog.end();
    let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
    file.write_all(b"Mon Oct 20 16:57:24 UTC 2008\t12245").unwrap();
    let memlog = Memlog::start(dir.path(), &["--pid", &pid]);
    let n_before = before.len();
    let after = memlog.wait(|samples| samples.len() > n_before + 1);
    assert_eq!(after[..n_before], before[..], "what was there is still there");
    memlog.interrupt().is(0, "mem.log: cut off an unfinished last line, 34 bytes");
}

#[test]
fn killed_again_and_again_it_leaves_whole_lines() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "killed");
    let pid = target.pid().to_string();
    for n_samples in 1..=10 {
        let memlog = Memlog::start(dir.path(), &["--pid", &pid]);
        // The samples are read strictly: a torn line in the middle fails here.
        memlog.wait(|samples| samples.len() >= n_samples);
        memlog.signal("KILL");
        memlog.end();
    }
}

#[test]
fn a_stopped_memlog_says_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "stopped");
    let memlog = Memlog::start(dir.path(), &["--pid", &target.pid().to_string()]);
    memlog.wait(|samples| !samples.is_empty());
    memlog.signal("STOP");
    // Some intervals pass while another one, which is not stopped, takes its samples.
    let other_dir = tempfile::tempdir().unwrap();
    let other = Memlog::start(other_dir.path(), &["--pid", &target.pid().to_string()]);
    other.wait(|samples| samples.len() >= 5);
    memlog.signal("CONT");
    let seen = memlog.wait(|samples| samples.iter().any(|it| it.n_missed >= 2));
    assert!(seen.iter().map(|it| it.n_missed).sum::<u64>() < 200, "{seen:?}");
    assert_eq!(other.interrupt().code, Some(0));
    assert_eq!(memlog.interrupt().code, Some(0));
}

#[test]
fn one_of_several_may_end_and_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    let (stays, goes) = (Target::start(dir.path(), "pair"), Target::start(dir.path(), "pair"));
    let pids = format!("{},{}", stays.pid(), goes.pid());
    let memlog = Memlog::start(dir.path(), &["--pid", &pids]);
    memlog.wait(|samples| samples.last().is_some_and(|it| it.shares.len() == 2));
    let ended = format!("process {} ended", goes.pid());
    goes.kill();
    let seen = memlog.wait(|samples| samples.last().is_some_and(|it| it.shares.is_empty()));
    assert!(seen.iter().flat_map(|it| &it.marks).any(|mark| mark.text == ended), "{seen:?}");
    assert_eq!(memlog.interrupt().code, Some(0));
}

#[test]
fn while_the_disk_takes_nothing_lines_wait_and_then_all_come() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "full");
    // A limit on the size of files stands for a full disk: part of a line fits, then nothing.
    let script = "trap '' XFSZ; ulimit -S -f 2; exec \"$@\"";
    let child = Command::new("sh")
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_memlog"), "--log", "mem.log"])
        .args(["--interval", "100ms", "--pid", &target.pid().to_string()])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut memlog = Memlog { child, log: dir.path().join("mem.log") };
    let pid = Pid::from_raw(memlog.child.id().cast_signed());
    memlog.wait(|samples| samples.len() >= 4);
    let mut said = memlog.said_until("lines wait in memory for room");
    assert!(fs::read(&memlog.log).unwrap().ends_with(b"\n"), "no torn line");
    prlimit(pid, Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    said += &memlog.said_until("the log is written again, and complete");
    assert_eq!(said.matches("cannot write").count(), 1, "{said}");
    let log = memlog.log.clone();
    assert_eq!(memlog.interrupt().code, Some(0));
    // As many lines as were due: none is lost, none is torn.
    let samples = samples(&log);
    assert!(samples.windows(2).all(|it| it[0].cpu_ms <= it[1].cpu_ms), "{samples:?}");
}
