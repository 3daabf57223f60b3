//! What a run leaves behind when something goes wrong.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use reports::memory_log::Sample;
use reports::stamp::wall_now;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::{INTERVAL_MS, Memlog, Target, check_gaps, marks, samples};

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
fn ten_restarts_are_followed_and_marked() {
    let dir = tempfile::tempdir().unwrap();
    let mut target = Target::start(dir.path(), "followed");
    let mut memlog = Memlog::start(dir.path(), &["--pid", "auto", "--name", "followed"]);
    memlog.said_until("watching followed on port");
    for n_restarts in 1..=10 {
        target.kill();
        // Five times it stays away until that is seen.
        if n_restarts <= 5 {
            memlog.said_until("followed has ended; waiting for it to come back");
        }
        target = Target::start(dir.path(), "followed");
        let clients: Vec<_> = (0..n_restarts).map(|_| target.connect()).collect();
        let is_followed = |it: &Sample| it.n_connections == clients.len() as u64;
        let seen = memlog.wait(|samples| samples.last().is_some_and(is_followed));
        assert_eq!(marks(&seen), vec!["restart"; n_restarts]);
        if n_restarts <= 5 {
            // Its port may be found a little later.
            memlog.said_until("followed is back, on ");
        }
    }
    let log = memlog.log.clone();
    assert_eq!(memlog.interrupt().code, Some(0));
    let samples = samples(&log);
    check_gaps(&samples);
    let n_after_gaps = samples.iter().filter(|it| !it.marks.is_empty() && it.n_missed > 0).count();
    assert!(n_after_gaps >= 5, "{samples:#?}");
}

/// Starts a hundred memlogs on one log, one after the other. `kill` ends each; it is told which one
/// it is, and how many whole lines there were before it.
fn kill_a_hundred(name: &str, mut kill: impl FnMut(&mut Memlog, u64, usize)) {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), name);
    let pid = target.pid().to_string();
    let log = dir.path().join("mem.log");
    let mut n_before = 0;
    for round in 0..100 {
        let begun_at = wall_now();
        let mut memlog = Memlog::start(dir.path(), &["--pid", &pid, "--quiet"]);
        kill(&mut memlog, round, n_before);
        assert_eq!(memlog.end().code, None, "it was killed");
        // Read strictly: a torn line that is not the last one fails here.
        let samples = samples(&log);
        let ran = begun_at.as_millis()..=wall_now().as_millis();
        for sample in &samples[n_before..] {
            assert!(ran.contains(&sample.unix_ms().into()), "nobody ran then: {sample}");
        }
        n_before = samples.len();
    }
    // Nobody writes the log while this one writes another.
    let other_dir = tempfile::tempdir().unwrap();
    assert_eq!(
        Memlog::start(other_dir.path(), &["--pid", &pid, "--for", "500ms"]).end().code,
        Some(0)
    );
    let memlog = Memlog::start(dir.path(), &["--pid", &pid]);
    memlog.wait(|samples| samples.len() > n_before);
    assert_eq!(memlog.interrupt().code, Some(0));
    assert!(is_whole(&log));
    check_gaps(&samples(&log));
}

/// Whether the last line of a log is whole.
fn is_whole(log: &Path) -> bool {
    fs::read(log).unwrap().ends_with(b"\n")
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the moment of the kill is chance, and no event")]
fn killed_at_any_moment_a_hundred_times_it_leaves_whole_lines() {
    kill_a_hundred("killed", |memlog, round, _| {
        // From before its first sample until after its second one, in no order.
        std::thread::sleep(Duration::from_millis(round * 37 % (INTERVAL_MS + 30)));
        memlog.signal("KILL");
    });
}

#[test]
fn killed_in_the_middle_of_a_line_a_hundred_times_it_leaves_whole_lines() {
    let mut n_torn = 0;
    kill_a_hundred("torn", |memlog, round, n_before| {
        let log = memlog.log.clone();
        let lines = memlog.wait(|samples| samples.len() > n_before && is_whole(&log));
        // The kernel takes the first bytes of the next line, and then ends the process.
        let limit = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
        let n_bytes = lines.last().unwrap().to_string().len() as u64;
        let end = fs::metadata(&log).unwrap().len();
        let pid = Pid::from_raw(memlog.child().id().cast_signed());
        prlimit(pid, Resource::Core, limit(0)).unwrap();
        prlimit(pid, Resource::Fsize, limit(end + 1 + round % n_bytes)).unwrap();
        memlog.child().wait().unwrap();
        n_torn += u32::from(!is_whole(&log));
    });
    assert!(n_torn > 90, "only {n_torn} were killed in the middle of a line");
}

/// Stops a memlog for some seconds, and goes on with it.
fn stop_for(seconds: u64) {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "stopped");
    let pid = target.pid().to_string();
    let memlog = Memlog::start(dir.path(), &["--pid", &pid]);
    memlog.wait(|samples| !samples.is_empty());
    memlog.signal("STOP");
    // Another one, which is not stopped, ends when the time is over.
    let other_dir = tempfile::tempdir().unwrap();
    let other = Memlog::start(other_dir.path(), &["--pid", &pid, "--for", &format!("{seconds}s")]);
    other.end().is(0, "watching process");
    memlog.signal("CONT");
    let n_due = seconds * 1_000 / INTERVAL_MS;
    let seen = memlog.wait(|samples| samples.iter().any(|it| it.n_missed >= n_due - 1));
    // How many at most follows from the times.
    check_gaps(&seen);
    assert_eq!(memlog.interrupt().code, Some(0));
}

#[test]
fn a_stopped_memlog_says_what_it_missed() {
    stop_for(3);
}

#[test]
#[ignore = "takes a minute"]
fn a_memlog_that_is_stopped_for_a_minute_says_what_it_missed() {
    stop_for(60);
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
