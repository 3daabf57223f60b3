//! What the system says about processes.
//!
//! They are found and described by sysinfo. What is taken with every sample is read from `/proc`
//! here: two small files, `status` and `stat`, the children of each thread, and the size of a
//! folder. For a server with 10,000 connections that takes 35 µs; sysinfo takes 61 µs for the
//! memory alone, and 11 ms to count descriptors, since it walks them. It has neither the anonymous
//! part of the memory nor a start time that tells two processes of one second apart. What walks
//! the target's mappings or descriptors says so: it is for rare moments, so that the target is
//! never held up.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

/// A process, told apart from a later one with the same pid by when it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Its pid.
    pub pid: u32,
    /// When it was started, in clock ticks since boot.
    started_ticks: u64,
}

/// What a sample takes from a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vitals {
    /// Resident memory, as `ps` prints it.
    pub rss_kb: u64,
    /// The anonymous part of it. `None` on kernels before 4.5.
    pub anon_kb: Option<u64>,
    /// Threads.
    pub n_threads: u64,
    /// CPU time so far, user and system.
    pub cpu_ms: u64,
    /// Open descriptors. `None` on kernels before 6.2, where only walking them would tell.
    pub n_fds: Option<u64>,
}

/// What is used of `/proc/PID/stat`.
struct Stat {
    /// Start, in clock ticks since boot.
    started_ticks: u64,
    /// User and system time, in clock ticks.
    cpu_ticks: u64,
    /// Threads.
    n_threads: u64,
}

impl Identity {
    /// The process that has `pid` now. `None` when there is none, or only what its parent has not
    /// yet reaped.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = Stat::read(pid)?;
        Some(Self { pid, started_ticks: stat.started_ticks })
    }

    /// The same start under another pid: a process that never was.
    #[cfg(test)]
    pub(crate) fn with_pid(self, pid: u32) -> Self {
        Self { pid, ..self }
    }

    /// Whether it is still there.
    pub fn is_alive(&self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.started_ticks == self.started_ticks)
    }

    /// Its vitals. `None` when it has ended, whoever may have its pid by now.
    pub fn vitals(&self) -> Option<Vitals> {
        /// Milliseconds in a second.
        const MS_PER_S: u64 = 1_000;
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let n_fds = self.n_fds();
        // Read last: when it is still the same process now, it was it then.
        let stat = Stat::read(self.pid)?;
        if stat.started_ticks != self.started_ticks {
            return None;
        }
        Some(Vitals {
            rss_kb: status_kb(&status, "VmRSS:")?,
            anon_kb: status_kb(&status, "RssAnon:"),
            n_threads: stat.n_threads,
            cpu_ms: stat.cpu_ticks * MS_PER_S / rustix::param::clock_ticks_per_second(),
            n_fds,
        })
    }

    /// How many descriptors it has open, without walking them. `None` on kernels before 6.2.
    pub fn n_fds(&self) -> Option<u64> {
        let n_fds = fs::metadata(format!("/proc/{}/fd", self.pid)).map_or(0, |it| it.len());
        (n_fds > 0).then_some(n_fds)
    }

    /// Its PSS in KB. The kernel walks all of its mappings for it, and holds it up meanwhile where
    /// it needs more memory: never read with every sample.
    pub fn pss_kb(&self) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?;
        status_kb(&text, "Pss:").ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Its name as the kernel keeps it, or a question mark when it has ended.
    pub fn name(&self) -> String {
        let name = self.described(least(), |it| it.name().to_string_lossy().into_owned());
        match name.as_deref() {
            None | Some("") => "?".to_owned(),
            Some(name) => name.replace(char::is_control, "?"),
        }
    }

    /// The file of its program. `None` when it has ended, or when this user may not look into the
    /// processes of its user.
    pub fn program(&self) -> Option<PathBuf> {
        let kind = least().with_exe(UpdateKind::Always);
        self.described(kind, |it| it.exe().map(Path::to_path_buf))?
    }

    /// The user that it belongs to.
    pub fn user(&self) -> Option<u32> {
        let kind = least().with_user(UpdateKind::Always);
        self.described(kind, |it| it.user_id().map(|id| **id))?
    }

    /// What `of` takes from sysinfo's description of it. The description is made for this question
    /// alone: sysinfo would keep a file open for each process that it knows.
    fn described<T>(
        &self,
        kind: ProcessRefreshKind,
        of: impl FnOnce(&sysinfo::Process) -> T,
    ) -> Option<T> {
        let pid = Pid::from_u32(self.pid);
        look_up(ProcessesToUpdate::Some(&[pid]), kind).process(pid).map(of)
    }
}

impl Stat {
    /// Reads `/proc/PID/stat`.
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Reads the line. The name in it may hold spaces and parentheses; the last one ends it.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        // proc_pid_stat(5) numbers fields from 1; the state, field 3, is the first one here.
        let is_alive = !matches!(*fields.first()?, "Z" | "X");
        is_alive.then_some(())?;
        Some(Self {
            started_ticks: number(22 - 3)?,
            cpu_ticks: number(14 - 3)? + number(15 - 3)?,
            n_threads: number(20 - 3)?,
        })
    }
}

/// The number of KB behind `key` in the text of a `status` file.
fn status_kb(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Every live process that is called `name`, oldest first: by its own name, or by the file that it
/// was started as.
pub fn named(name: &str) -> Vec<Identity> {
    let own = Pid::from_u32(std::process::id());
    let system = all(least().with_cmd(UpdateKind::Always));
    let called = system.processes().values().filter(|it| it.pid() != own && is_called(it, name));
    let mut found: Vec<Identity> =
        called.filter_map(|it| Identity::of(it.pid().as_u32())).collect();
    found.sort_by_key(|it| (it.started_ticks, it.pid));
    found
}

/// The pids of all processes.
pub fn pids() -> Vec<u32> {
    all(least()).processes().keys().map(|pid| pid.as_u32()).collect()
}

/// The least that sysinfo looks up: what a process is called and when it was started. Its threads
/// would be listed as processes of their own otherwise.
fn least() -> ProcessRefreshKind {
    ProcessRefreshKind::nothing().without_tasks()
}

/// All processes, with no more looked up than `kind` says.
fn all(kind: ProcessRefreshKind) -> System {
    look_up(ProcessesToUpdate::All, kind)
}

/// Those of `which` that are there, with no more looked up than `kind` says.
fn look_up(which: ProcessesToUpdate<'_>, kind: ProcessRefreshKind) -> System {
    let mut system = System::new().expect("sysinfo has Linux, where memlog runs");
    system.refresh_processes_specifics(which, true, kind);
    system
}

/// Whether `process` is called `name`.
fn is_called(process: &sysinfo::Process, name: &str) -> bool {
    // The kernel keeps 15 bytes of a process's name, so a longer one is never equal to it.
    if process.name() == OsStr::new(name) {
        return true;
    }
    let program = process.cmd().first().map(Path::new);
    program.and_then(Path::file_name) == Some(OsStr::new(name))
}

/// The descendants of `roots`, without these.
pub fn descendants(roots: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut open: Vec<u32> = roots.collect();
    // What is found is looked up, since a server may have thousands of children.
    let mut known: BTreeSet<u32> = open.iter().copied().collect();
    let mut found = Vec::new();
    while let Some(pid) = open.pop() {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            // A child may move to another parent while this reads; it counts once all the same.
            for child in text.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                if known.insert(child) {
                    found.push(child);
                    open.push(child);
                }
            }
        }
    }
    found
}

/// Calls `take` with the inode of every socket that the process `pid` has open. This walks its
/// descriptors: at the start and after a change, and never with every sample.
pub fn each_socket(pid: u32, mut take: impl FnMut(u32)) -> io::Result<()> {
    #[cfg(test)]
    tests::WALKED.with_borrow_mut(|walked| walked.push(pid));
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A descriptor that is closed in the meantime is none of its any more.
        let Ok(link) = entry.and_then(|entry| fs::read_link(entry.path())) else { continue };
        let inode = link.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
        if let Some(inode) = inode.and_then(|text| text.parse().ok()) {
            take(inode);
        }
    }
    Ok(())
}

/// The inodes of all sockets that the process `pid` has open. It walks as [`each_socket`] does.
pub fn sockets(pid: u32) -> io::Result<BTreeSet<u32>> {
    let mut inodes = BTreeSet::new();
    each_socket(pid, |inode| {
        inodes.insert(inode);
    })?;
    Ok(inodes)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        /// The processes whose descriptors this thread has walked.
        pub(crate) static WALKED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    }

    #[test]
    fn this_process_has_vitals() {
        let identity = Identity::of(std::process::id()).unwrap();
        let vitals = identity.vitals().unwrap();
        assert!(vitals.rss_kb > 100 && vitals.anon_kb < Some(vitals.rss_kb), "{vitals:?}");
        assert!(vitals.n_threads >= 1, "{vitals:?}");
        assert_ne!(vitals.n_fds, Some(0));
    }

    #[test]
    fn a_later_process_with_the_same_pid_is_another_one() {
        let identity = Identity::of(std::process::id()).unwrap();
        let earlier = Identity { started_ticks: identity.started_ticks - 1, ..identity };
        assert_eq!(earlier.vitals(), None);
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) b) S 1 7 7 0 -1 0 1 2 3 4 50 6 7 8 20 0 3 0 999 1 1\n";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.started_ticks, stat.cpu_ticks, stat.n_threads), (999, 56, 3));
        assert!(Stat::parse(&line.replace(") S", ") Z")).is_none(), "a zombie has ended");
    }

    #[test]
    fn this_process_has_a_pss_a_program_and_a_user() {
        let identity = Identity::of(std::process::id()).unwrap();
        assert!(identity.pss_kb().unwrap() > 100);
        assert_eq!(identity.program(), Some(std::env::current_exe().unwrap()));
        assert_eq!(identity.user(), Some(rustix::process::geteuid().as_raw()));
        assert!(!identity.name().is_empty());
    }

    #[test]
    fn a_pid_that_is_gone_is_none() {
        assert_eq!(Identity::of(u32::MAX), None);
    }
}
