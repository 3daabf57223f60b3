//! What a run writes when nothing goes wrong.

use std::fs;
use std::process::Command;

use reports::memory_log::{NoPss, OnPort};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Memlog, Target, check_gaps, connect, marks, run, samples};

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
    assert!(done.stderr.contains(&format!("on port {},", target.ports[0])), "{done:?}");
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
fn a_process_that_joins_the_others_brings_its_ports() {
    let dir = tempfile::tempdir().unwrap();
    let [stays, goes] = [(); 2].map(|()| Target::start(dir.path(), "joined"));
    let _client = stays.connect();
    let memlog = Memlog::start(dir.path(), &["--name", "joined"]);
    memlog.wait(|samples| samples.last().is_some_and(|it| it.shares.len() == 2));
    goes.kill();
    memlog.wait(|samples| marks(samples) == ["processes: 0 new, 1 gone, 1 now"]);
    let joins = Target::start(dir.path(), "joined");
    let _other = joins.connect();
    let seen = memlog.wait(|samples| samples.last().is_some_and(|it| it.n_connections == 2));
    assert!(marks(&seen).contains(&"processes: 1 new, 0 gone, 2 now"), "{seen:?}");
    assert_eq!(memlog.interrupt().code, Some(0));
}

#[test]
fn connections_on_several_ports_are_summed_and_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start_on(2, dir.path(), "ports");
    let [public, control] = [target.ports[0], target.ports[1]];
    let _clients = [public, public, control].map(connect);
    let pid = target.pid().to_string();
    let memlog = Memlog::start(dir.path(), &["--pid", &pid]);
    let seen = memlog.wait(|samples| samples.last().is_some_and(|it| it.n_connections == 3));
    let mut ports =
        vec![OnPort { port: public, n_connections: 2 }, OnPort { port: control, n_connections: 1 }];
    ports.sort_by_key(|on| on.port);
    assert_eq!(seen.last().unwrap().ports, ports);
    memlog.interrupt().is(0, "mem.log; connections are their sum, --port counts on fewer\n");
    let memlog = Memlog::start(dir.path(), &["--pid", &pid, "--port", &public.to_string()]);
    let seen = memlog.wait(|samples| samples.last().is_some_and(|it| it.n_connections == 2));
    assert!(seen.last().unwrap().ports.is_empty(), "{seen:?}");
    memlog.interrupt().is(0, "mem.log\n");
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
fn pss_is_read_at_marks_and_at_the_end_or_it_is_said_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "proportional");
    let memlog = Memlog::start(dir.path(), &["--pid", &target.pid().to_string()]);
    memlog.wait(|samples| samples.len() >= 3);
    assert_eq!(run(dir.path(), &["mark", "sending", "--log", "mem.log"]).code, Some(0));
    memlog.wait(|samples| marks(samples) == ["sending"]);
    let log = memlog.log.clone();
    let done = memlog.interrupt();
    assert_eq!(done.code, Some(0));
    let samples = samples(&log);
    let (first, last) = (&samples[0], samples.last().unwrap());
    let marked = samples.iter().find(|it| !it.marks.is_empty()).unwrap();
    for (what, sample) in [("first", first), ("marked", marked), ("last", last)] {
        // On a busy machine a reading can be slow, and then the next ones are left out.
        let is_slow = sample.no_pss == Some(NoPss::Slow);
        assert!(is_slow || sample.pss_kb.is_some_and(|kb| kb <= sample.rss_kb), "{what}: {sample}");
        assert!(!is_slow || done.stderr.contains("PSS is left out, as no_pss= says: "), "{done:?}");
    }
    let n_asked = samples.iter().filter(|it| it.pss_kb.is_some() || it.no_pss.is_some()).count();
    assert!(n_asked <= 3, "with these and no others: {samples:?}");
    check_gaps(&samples);
}

#[test]
fn a_log_that_is_a_link_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "linked");
    std::os::unix::fs::symlink(dir.path().join("real.log"), dir.path().join("mem.log")).unwrap();
    let memlog = Memlog::start(dir.path(), &["--pid", &target.pid().to_string(), "--for", "300ms"]);
    memlog.end().is(0, "memlog: warning: mem.log is a link; the lines go to /");
    assert!(!samples(&dir.path().join("real.log")).is_empty());
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
    check_gaps(&samples);
    assert!(samples.iter().any(|it| it.ms > 0), "whole seconds would be too coarse: {samples:?}");
}

#[test]
fn ports_can_be_given() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "ported");
    let _client = target.connect();
    let port = target.ports[0].to_string();
    let own = std::process::id().to_string();
    let memlog = Memlog::start(dir.path(), &["--pid", &own, "--port", &port]);
    memlog.wait(|samples| samples.last().is_some_and(|it| it.n_connections == 1));
    assert_eq!(memlog.interrupt().code, Some(0));
}

#[test]
fn a_log_that_has_grown_is_set_aside_and_no_sample_is_lost() {
    const LIMIT_BYTES: usize = 64 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "rotated");
    let pid = target.pid().to_string();
    let memlog = Memlog::start(dir.path(), &["--pid", &pid]);
    memlog.wait(|samples| !samples.is_empty());
    assert_eq!(memlog.interrupt().code, Some(0));
    // As if it had run for long: lines until the limit is near.
    let (log, first) = (dir.path().join("mem.log"), dir.path().join("mem.log.1"));
    let mut text = fs::read_to_string(&log).unwrap();
    let line = text.lines().last().unwrap().to_owned() + "\n";
    while text.len() + 3 * line.len() < LIMIT_BYTES {
        text.push_str(&line);
    }
    let n_before = text.lines().count();
    fs::write(&log, text).unwrap();
    let memlog = Memlog::start(dir.path(), &["--pid", &pid, "--rotate", "64KiB"]);
    memlog.wait(|samples| first.exists() && samples.len() >= 2);
    let done = memlog.interrupt();
    assert_eq!(done.code, Some(0), "{done:?}");
    let (old, new) = (samples(&first), samples(&log));
    assert!(fs::metadata(&first).unwrap().len() <= LIMIT_BYTES as u64);
    assert_eq!(old.len() + new.len(), n_before + done.stdout.lines().count(), "each is in one");
    check_gaps(&[&old[n_before..], &new[..]].concat());
}
