//! Looks at what a run takes of the whole machine. These figures are the kernel's own: sysinfo
//! tells of no PSS, no slab and no TCP buffers.

use std::fs;

use reports::run::Footprint;
use rustix::param::page_size;

/// The machine as it is now, at the end of `phase`, without any process.
pub(crate) fn of_this_machine(phase: &str) -> Footprint {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    Footprint {
        phase: phase.to_owned(),
        slab_kb: kb_of(&meminfo, "Slab:"),
        tcp_sockets: of_tcp(&sockstat, "inuse"),
        tcp_buffers_kb: tcp_buffers_kb(&sockstat),
        ..Footprint::default()
    }
}

/// Memory in TCP buffers now, of the whole machine, in KB.
pub(crate) fn tcp_buffers_kb_now() -> Option<u64> {
    tcp_buffers_kb(&fs::read_to_string("/proc/net/sockstat").ok()?)
}

/// The PSS of `pids` in all, in KB. To be asked rarely: the kernel walks all memory of a process
/// for it, and holds up the process meanwhile. `None` when one is gone or may not be looked at, and
/// when none is known.
pub(crate) fn pss_kb(pids: &[u32]) -> Option<u64> {
    if pids.is_empty() {
        return None;
    }
    let of =
        |pid: &u32| kb_of(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:");
    pids.iter().map(of).sum()
}

/// The value of a line such as `Slab:   1234 kB`.
fn kb_of(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The memory in TCP buffers in the text of `/proc/net/sockstat`, which counts pages.
fn tcp_buffers_kb(text: &str) -> Option<u64> {
    of_tcp(text, "mem").map(|pages| pages.saturating_mul(page_size() as u64 / 1_024))
}

/// The value behind `key` in the line of TCP in the text of `/proc/net/sockstat`.
fn of_tcp(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    line.split_whitespace().skip_while(|word| *word != key).nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_the_kernels_files() {
        let meminfo = "MemTotal: 9 kB\nSlab:   24210000 kB\nSReclaimable:  5 kB\n";
        assert_eq!(kb_of(meminfo, "Slab:"), Some(24_210_000));
        assert_eq!(kb_of("Rss: 9 kB\nPss:   812 kB\nPss_Dirty: 7 kB\n", "Pss:"), Some(812));
        assert_eq!(kb_of(meminfo, "Pss:"), None);
        let sockstat = "sockets: used 9\nTCP: inuse 4 orphan 0 tw 1 alloc 5 mem 55\nUDP: mem 9\n";
        assert_eq!((of_tcp(sockstat, "inuse"), of_tcp(sockstat, "mem")), (Some(4), Some(55)));
    }

    #[test]
    fn this_machine_and_this_process_are_looked_at() {
        let footprint = of_this_machine("sent");
        assert!(footprint.slab_kb.is_some() && footprint.tcp_buffers_kb.is_some());
        assert!(pss_kb(&[std::process::id()]).is_some_and(|kb| kb > 0));
        assert_eq!(pss_kb(&[u32::MAX]), None, "no sum without one of them");
        assert_eq!(pss_kb(&[]), None, "nobody is not known to take nothing");
    }
}
