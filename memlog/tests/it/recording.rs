//! What a run writes when nothing goes wrong.

use std::fs;
use std::process::Command;

use reports::memory_log::Sample;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Memlog, Target, marks, run, samples};

#[test]
fn a_line_is_as_in_the_article_and_counts_the_connections() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "counted");
    let clients = [(); 3].map(|()| target.connect());
    let memlog = Memlog::start(dir.path(), &["--pid", &target.pid().to_string()]);
    memlog.wait(|samples| samples.last().is_some_and(|it| it.n_connections == 3));
    drop(clients);
    let seen = memlog.wait(|samples| samples.last().is_some_and(|it| it.n_connections == 0));
    assert!(seen.iter().all(|it| it.n_missed == 0 || it.n_missed < 50), "{seen:?}");
    let done = memlog.interrupt();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains(&format!("on port {},", target.address.port())), "{done:?}");
    let log = fs::read_to_string(dir.path().join("mem.log")).unwrap();
    assert_eq!(done.stdout, log, "stdout is what tee would show");
    for line in log.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        assert_eq!(columns[0].split_whitespace().count(), 6, "a date: {line}");
        assert!(columns[1..4].iter().all(|it| it.parse::<u64>().is_ok()), "{line}");
        assert_eq!(columns[4], "v=1");
        assert!(columns[5..].iter().all(|it| it.contains('=')), "{line}");
    }
    let last = samples(&dir.path().join("mem.log")).pop().unwrap();
    assert!(last.anon_kb.unwrap() < last.rss_kb && last.kernel_tcp_kb.is_some(), "{last:?}");
    assert!(last.n_threads.unwrap() >= 2 && last.cpu_ms.is_some(), "{last:?}");
}

#[test]
fn the_one_process_of_a_name_is_found_and_followed_through_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = Target::start(dir.path(), "followed");
    let _client = first.connect();
    let memlog = Memlog::start(dir.path(), &["--pid", "auto", "--name", "followed"]);
    memlog.wait(|samples| samples.last().is_some_and(|it| it.n_connections == 1));
    let mut target = first;
    for n_restarts in 1..=3 {
        target.kill();
        target = Target::start(dir.path(), "followed");
        let n_clients = n_restarts + 1;
        let clients: Vec<_> = (0..n_clients).map(|_| target.connect()).collect();
        let is_followed = |it: &Sample| it.n_connections == n_clients;
        let seen = memlog.wait(|samples| samples.last().is_some_and(is_followed));
        assert_eq!(marks(&seen), vec!["restart"; clients.len() - 1]);
    }
    assert_eq!(memlog.interrupt().code, Some(0));
}

#[test]
fn descendants_are_watched_with_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh").args(["-c", "sleep 100 & wait"]).spawn().unwrap();
    let pid = shell.id().to_string();
    let memlog = Memlog::start(dir.path(), &["--pid", &pid, "--tree"]);
    let seen = memlog.wait(|samples| samples.last().is_some_and(|it| it.shares.len() == 2));
    let child = seen.last().unwrap().shares.iter().find(|it| it.pid != shell.id()).unwrap().pid;
    memlog.interrupt().is(0, "on no port yet");
    kill_process(Pid::from_raw(child.cast_signed()).unwrap(), Signal::KILL).unwrap();
    shell.wait().unwrap();
}

#[test]
fn several_processes_are_summed_and_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let both = [(); 2].map(|()| Target::start(dir.path(), "summed"));
    let _clients: Vec<_> = both.iter().map(Target::connect).collect();
    let memlog = Memlog::start(dir.path(), &["--name", "summed"]);
    let seen = memlog.wait(|samples| samples.last().is_some_and(|it| it.n_connections == 2));
    let last = seen.last().unwrap();
    let mut pids: Vec<u32> = last.shares.iter().map(|it| it.pid).collect();
    pids.sort_unstable();
    let mut expected = both.each_ref().map(Target::pid);
    expected.sort_unstable();
    assert_eq!(pids, expected);
    assert_eq!(last.shares.iter().map(|it| it.rss_kb).sum::<u64>(), last.rss_kb);
    memlog.interrupt().is(0, "watching summed on ports");
}

#[test]
fn phases_are_marked_by_word_and_by_signal() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "marked");
    let memlog = Memlog::start(dir.path(), &["--pid", &target.pid().to_string()]);
    memlog.wait(|samples| !samples.is_empty());
    assert_eq!(run(dir.path(), &["mark", "msggen starts", "--log", "mem.log"]).code, Some(0));
    memlog.wait(|samples| marks(samples) == ["msggen starts"]);
    memlog.signal("USR1");
    let seen = memlog.wait(|samples| marks(samples).len() == 2);
    assert_eq!(marks(&seen), ["msggen starts", "mark 1"]);
    assert_eq!(memlog.interrupt().code, Some(0));
    run(dir.path(), &["mark", "late", "--log", "mem.log"]).is(2, "no memlog writes mem.log");
}

#[test]
fn it_ends_by_itself_after_the_time_given() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "timed");
    let pid = target.pid().to_string();
    let memlog = Memlog::start(dir.path(), &["--pid", &pid, "--for", "300ms", "--quiet"]);
    let log = memlog.log.clone();
    let done = memlog.end();
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), ""), "{done:?}");
    let samples = samples(&log);
    let n_missed: u64 = samples.iter().map(|it| it.n_missed).sum();
    assert_eq!(samples.len() as u64 + n_missed, 4, "at 0, 100, 200 and 300 ms: {samples:?}");
}

#[test]
fn ports_can_be_given() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "ported");
    let _client = target.connect();
    let port = target.address.port().to_string();
    let own = std::process::id().to_string();
    let memlog = Memlog::start(dir.path(), &["--pid", &own, "--port", &port]);
    memlog.wait(|samples| samples.last().is_some_and(|it| it.n_connections == 1));
    assert_eq!(memlog.interrupt().code, Some(0));
}
