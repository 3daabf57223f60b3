//! The limits on open files, which are the limits on connections, and what memory there is.

use std::fs;
use std::os::fd::BorrowedFd;

use rustix::process::{Resource, getrlimit, setrlimit};
use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Bytes in the unit of reports.
const KB: u64 = 1_024;

/// Descriptors kept for everything that is not a connection: the three standard streams, the URL
/// file, epoll, timer, signal pipe, logs, a resolver's sockets, and what was inherited.
pub(crate) const RESERVE: u64 = 64;

/// Worker processes that a run may have. Each costs about 1 MB and its share of a core; where this
/// many are not enough the limit on open files is too low for the job, and is to be raised.
pub(crate) const MAX_WORKERS: u64 = 256;

/// Raises the soft limit on open files to the hard one, as far as that is allowed; the limit now.
pub(crate) fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // A refusal leaves the limit as it was, and that is what is read back.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Connections that one process can hold where it may open `open_files` files.
pub(crate) fn of_one_process(open_files: u64) -> u64 {
    open_files.saturating_sub(RESERVE)
}

/// Worker processes that one process can start where it may open `open_files` files: it has a
/// descriptor for each.
pub(crate) fn n_workers(open_files: u64) -> u64 {
    open_files.saturating_sub(RESERVE).min(MAX_WORKERS)
}

/// How many more files the whole machine may open; `None` where that is not known.
pub(crate) fn open_files_of_machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let (used, _unused, most) = (numbers.next()?.ok()?, numbers.next()?, numbers.next()?.ok()?);
    Some(most.saturating_sub(used))
}

/// Memory that the machine has left, in KB of 1,024 bytes; `None` where that is not known.
pub(crate) fn available_memory_kb() -> Option<u64> {
    let mut system = System::new().ok()?;
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    Some(system.available_memory() / KB).filter(|&kb| kb > 0)
}

/// RSS of some processes together, in KB of 1,024 bytes. One that is gone has none.
pub(crate) fn rss_kb(pids: &[u32]) -> u64 {
    let Ok(mut system) = System::new() else { return 0 };
    let pids: Vec<Pid> = pids.iter().copied().map(Pid::from_u32).collect();
    let memory = ProcessRefreshKind::nothing().without_tasks().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), true, memory);
    system.processes().values().map(|process| process.memory() / KB).sum()
}

/// Makes room for `n` more descriptors in the kernel's table of this process, before the run
/// begins.
///
/// The table grows by doubling. In a process with threads, and one writes the output here, the
/// kernel waits each time until no processor can be using the old one: some 10 ms, seven times on
/// the way to 10,000 connections. Nothing is lost if it fails; the table then grows when it must.
pub(crate) fn make_room(any: BorrowedFd<'_>, n: u64) {
    let highest = i32::try_from(n.saturating_add(RESERVE / 2)).unwrap_or(i32::MAX);
    // It is closed at once. The table never becomes smaller.
    drop(rustix::io::fcntl_dupfd_cloexec(any, highest));
}
