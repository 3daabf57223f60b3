//! What cannot be done is said before anything is done, with what to do about it.

use std::fs;

use crate::support::{Memlog, Target, run};

#[test]
fn a_bare_interval_is_refused_with_the_word() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["--interval", "60"]).is(2, "not a time: \"60\"; write 60s");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn no_server_or_several_are_an_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["--pid", "auto", "--name", "nobody"])
        .is(2, "memlog: no process is called nobody; start it first, or name another");
    let both = [(); 2].map(|()| Target::start(dir.path(), "twice"));
    let mut pids = both.each_ref().map(Target::pid);
    // Oldest first; two of the same tick by pid.
    pids.sort_unstable();
    let done = run(dir.path(), &["--pid", "auto", "--name", "twice"]);
    done.is(2, "2 processes are called twice: ");
    for pid in pids {
        done.is(2, &pid.to_string());
    }
    done.is(2, "choose with --pid, or sum them with --name twice");
}

#[test]
fn a_pid_that_is_gone_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "gone");
    let pid = target.pid().to_string();
    target.kill();
    run(dir.path(), &["--pid", &pid]).is(2, &format!("memlog: no process {pid}\n"));
    run(dir.path(), &["--pid", "one"]).is(2, "write auto, or pids such as 4242 or 1,2,3");
    assert!(!dir.path().join("mochimem.log").exists());
}

#[test]
fn paths_are_tried_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let own = std::process::id().to_string();
    let fails = |args: &[&str], said: &str| {
        run(dir.path(), &[&["--pid", &own, "--for", "1s"], args].concat()).is(2, said);
    };
    fails(&["--log", "no/mem.log"], "cannot write no/mem.log: No such file");
    fails(&["--plot", "no/mem.png"], "cannot write no/mem.png: No such file");
    fails(&["--plot", "mem.gif"], "\"mem.gif\" is neither .png nor .svg");
    fails(&["--plot", "mem.png", "--size", "9x9"], "a chart of 9x9 cannot be drawn");
    fs::write(dir.path().join("diary.txt"), "dear diary\n").unwrap();
    fails(&["--log", "diary.txt"], "diary.txt is not a memory log, and is left alone");
    assert_eq!(fs::read(dir.path().join("diary.txt")).unwrap(), b"dear diary\n");
}

#[test]
fn two_memlogs_do_not_write_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "shared");
    let pid = target.pid().to_string();
    let memlog = Memlog::start(dir.path(), &["--pid", &pid]);
    memlog.wait(|samples| !samples.is_empty());
    run(dir.path(), &["--pid", &pid, "--log", "mem.log"]).is(2, "another memlog writes mem.log");
    assert_eq!(memlog.interrupt().code, Some(0));
}

#[test]
fn logs_that_cannot_be_drawn_are_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("empty.log"), "").unwrap();
    let plot = |log: &str| run(dir.path(), &["plot", log, "--out", "x.png"]);
    plot("empty.log").is(2, "empty.log holds no sample");
    plot("none.log").is(2, "cannot read none.log: No such file");
    let damaged = "d\t100\t1000\t1\nd\t160\t\t1\nd\t220\t1000\t1\n";
    fs::write(dir.path().join("damaged.log"), damaged).unwrap();
    plot("damaged.log").is(1, "memlog: damaged.log:2: its RSS is \"\", not a number\n");
    assert!(dir.path().join("x.png").exists(), "the rest is drawn");
}
