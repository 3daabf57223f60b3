//! What needs mounts and pids of its own: a disk that is full, a pid that is used again, and a
//! machine on which no server runs.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Memlog, Target, check_gaps, is_alone, marks, run, samples};

/// A file system in memory, in a folder of its own.
struct Disk(TempDir);

impl Disk {
    /// Mounts it.
    fn mount(options: &str) -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(disk.path());
        assert!(mount.status().unwrap().success(), "{mount:?}");
        disk
    }

    /// Where it is.
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The folder can be removed only without it.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// Fills the disk with a file at `path`.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
}

#[test]
fn on_a_full_disk_it_goes_on_and_catches_up() {
    if !is_alone("alone::on_a_full_disk_it_goes_on_and_catches_up") {
        return;
    }
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::mount("size=64k"));
    let filler = disk.path().join("filler");
    let target = Target::start(dir.path(), "full");
    let pid = target.pid().to_string();
    let mut memlog = Memlog::start(disk.path(), &["--pid", &pid]);
    memlog.wait(|samples| samples.len() >= 3);
    let mut printed =
        BufReader::new(memlog.child().stdout.take().unwrap()).lines().map(Result::unwrap);
    fill(&filler);
    let mut said = memlog.said_until("lines wait in memory for room");
    assert!(said.contains("cannot write mem.log: No space left on device"), "{said}");
    let log = memlog.log.clone();
    let written = fs::read_to_string(&log).unwrap();
    assert!(written.ends_with('\n'), "no torn line: {written:?}");
    let mut lines: Vec<String> = printed.by_ref().take(written.lines().count() + 10).collect();
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        written,
        "it samples, and the disk takes nothing"
    );
    fs::remove_file(&filler).unwrap();
    said += &memlog.said_until("the log is written again");
    assert_eq!(said.matches("cannot write").count(), 1, "{said}");

    // Full again, it is killed: what waited is lost, and is a gap.
    fill(&filler);
    memlog.said_until("lines wait in memory for room");
    let n_written = fs::read_to_string(&log).unwrap().lines().count();
    lines.extend(printed.by_ref().take(n_written + 5 - lines.len()));
    memlog.signal("KILL");
    memlog.end();
    lines.extend(printed);
    // Part of a line may be there, if it was killed at that moment.
    let written = fs::read_to_string(&log).unwrap();
    let (written, _) = written.rsplit_once('\n').unwrap();
    let (kept, lost) = lines.split_at(written.lines().count());
    assert_eq!(kept, written.lines().collect::<Vec<_>>(), "every line came, and none twice");
    fs::remove_file(&filler).unwrap();
    let mut memlog = Memlog::start(disk.path(), &["--pid", &pid]);
    let seen = memlog.wait(|samples| samples.len() > kept.len());
    let next = &seen[kept.len()];
    assert!(lost.len() >= 5 && next.n_missed >= lost.len() as u64 - 1, "{lost:#?}, then {next}");

    // Full to the end.
    fill(&filler);
    memlog.said_until("lines wait in memory for room");
    memlog.interrupt().is(1, "memlog: mem.log lacks the last ");
    check_gaps(&samples(&log));
}

#[test]
fn a_pid_that_is_used_again_is_another_process() {
    if !is_alone("alone::a_pid_that_is_used_again_is_another_process") {
        return;
    }
    let [dir, other_dir] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let first = Target::start(dir.path(), "reused");
    let (pid, _client) = (first.pid(), first.connect());
    let by_name = Memlog::start(dir.path(), &["--pid", "auto", "--name", "reused"]);
    let by_pid = Memlog::start(other_dir.path(), &["--pid", &pid.to_string()]);
    for memlog in [&by_name, &by_pid] {
        memlog.wait(|samples| samples.last().is_some_and(|it| it.n_connections == 1));
        // Neither sees that the pid is nobody's for a while.
        memlog.signal("STOP");
    }
    first.kill();
    let second = start_with(pid, dir.path());
    for memlog in [&by_name, &by_pid] {
        memlog.signal("CONT");
    }
    let seen = by_name.wait(|samples| samples.last().is_some_and(|it| it.n_connections == 0));
    assert_eq!(marks(&seen), ["restart"]);
    let log = by_pid.log.clone();
    by_pid.end().is(1, &format!("memlog: process {pid} ended after "));
    assert!(samples(&log).iter().all(|it| it.n_connections == 1), "not one of the second process");
    assert_eq!(by_name.interrupt().code, Some(0));
    drop(second);
}

/// Starts a target that has this pid.
fn start_with(pid: u32, dir: &Path) -> Target {
    for _ in 0..100 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let target = Target::start(dir, "reused");
        if target.pid() == pid {
            return target;
        }
    }
    panic!("no process got the pid {pid}");
}

#[test]
fn auto_is_the_one_comet_server() {
    if !is_alone("alone::auto_is_the_one_comet_server") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let auto = || run(dir.path(), &["--pid", "auto", "--for", "100ms", "--interval", "100ms"]);
    auto().is(2, "memlog: no process is called comet-server; start it first, or name another");
    let one = Target::start(dir.path(), "comet-server");
    let done = auto();
    done.is(0, &format!("watching comet-server on port {}, every 100ms", one.ports[0]));
    // It is a link to this test program, which is another file than the name says.
    let program = std::env::current_exe().unwrap();
    let (pid, program) = (one.pid(), program.display());
    done.is(0, &format!("memlog: comet-server is process {pid}, {program}\n"));
    let doubt = format!("is called comet-server, but is the program {program}; if another one is");
    done.is(0, &format!("memlog: warning: process {pid} {doubt} meant, choose it with --pid\n"));
    let other = Target::start(dir.path(), "comet-server");
    let both = format!("{} and {}", one.pid(), other.pid());
    let cure = "choose with --pid, or sum them with --name comet-server";
    auto().is(2, &format!("memlog: 2 processes are called comet-server: {both}; {cure}\n"));
}

#[test]
fn a_disk_that_takes_no_file_is_found_out_before_the_run() {
    if !is_alone("alone::a_disk_that_takes_no_file_is_found_out_before_the_run") {
        return;
    }
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::mount("ro"));
    let disk = disk.path().to_str().unwrap();
    let own = std::process::id().to_string();
    for (flag, name) in [("--log", "mem.log"), ("--plot", "mem.png"), ("--plot", "mem.svg")] {
        let path = format!("{disk}/{name}");
        let done = run(dir.path(), &["--pid", &own, "--for", "1s", flag, &path]);
        done.is(2, &format!("memlog: cannot write {path}: Read-only file system"));
    }
}
