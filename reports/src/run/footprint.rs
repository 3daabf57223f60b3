//! What a run takes of the whole machine at one moment: all its processes, the kernel, the brokers.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files;
use super::folder::{RunError, read_toml, write_toml};

/// Looks at the machine at some moments of a run: `footprint.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprints {
    /// One for each moment.
    #[serde(rename = "footprint", default)]
    pub footprints: Vec<Footprint>,
}

/// The machine at one moment. What was not looked at is `None`. KB are 1,024 bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Footprint {
    /// The phase that ends then: a mark of the memory log.
    pub phase: String,
    /// Processes of the servers.
    pub server_processes: u64,
    /// Their PSS in all: what they share with others is divided by those who share it.
    pub server_pss_kb: Option<u64>,
    /// Processes of floodtest.
    pub floodtest_processes: u64,
    /// Their PSS in all.
    pub floodtest_pss_kb: Option<u64>,
    /// The kernel's objects, such as sockets, files and poll items. What is available to new programs
    /// (`MemAvailable`) says less: the kernel counts the inodes of open sockets as if it could reclaim
    /// them.
    pub slab_kb: Option<u64>,
    /// TCP sockets in use. On loopback a connection has two.
    pub tcp_sockets: Option<u64>,
    /// Memory in TCP buffers.
    pub tcp_buffers_kb: Option<u64>,
    /// Memory that the brokers have in use, by their own account, in bytes.
    pub broker_bytes: Option<u64>,
}

impl Footprint {
    /// The machine as it is now, at the end of `phase`, without any process.
    pub fn of_this_machine(phase: &str) -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let sockstat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        Self {
            phase: phase.to_owned(),
            slab_kb: kb_of(&meminfo, "Slab:"),
            tcp_sockets: of_tcp(&sockstat, "inuse"),
            tcp_buffers_kb: of_tcp(&sockstat, "mem").map(|pages| pages.saturating_mul(PAGE_KB)),
            ..Self::default()
        }
    }
}

impl Footprints {
    /// The one at the end of `phase`.
    pub fn at(&self, phase: &str) -> Option<&Footprint> {
        self.footprints.iter().find(|it| it.phase == phase)
    }

    /// Reads those of the run in `folder`; none if nobody looked.
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join(files::FOOTPRINT);
        if path.exists() { read_toml(&path) } else { Ok(Self::default()) }
    }

    /// Writes them into `folder`.
    pub fn write(&self, folder: &Path) -> Result<(), RunError> {
        write_toml(&folder.join(files::FOOTPRINT), self)
    }
}

/// The PSS of `pids` in all, in KB. To be asked rarely: the kernel walks all memory of a process for
/// it, and holds up the process meanwhile. `None` when one is gone or may not be looked at.
pub fn pss_kb(pids: &[u32]) -> Option<u64> {
    let of =
        |pid: &u32| kb_of(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:");
    pids.iter().map(of).sum()
}

/// KB in a page, as the processors have it that this is run on.
const PAGE_KB: u64 = 4;

/// The value of a line such as `Slab:   1234 kB`.
fn kb_of(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The value behind `key` in the line of TCP in `/proc/net/sockstat`.
fn of_tcp(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    line.split_whitespace().skip_while(|word| *word != key).nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_the_systems_files() {
        let meminfo = "MemTotal: 9 kB\nSlab:   24210000 kB\nSReclaimable:  5 kB\n";
        assert_eq!(kb_of(meminfo, "Slab:"), Some(24_210_000));
        assert_eq!(kb_of("Rss: 9 kB\nPss:   812 kB\nPss_Dirty: 7 kB\n", "Pss:"), Some(812));
        assert_eq!(kb_of(meminfo, "Pss:"), None);
        let sockstat = "sockets: used 9\nTCP: inuse 4 orphan 0 tw 1 alloc 5 mem 55\nUDP: mem 9\n";
        assert_eq!((of_tcp(sockstat, "inuse"), of_tcp(sockstat, "mem")), (Some(4), Some(55)));
    }

    #[test]
    fn this_machine_and_this_process_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Footprints::read(folder.path()).unwrap(), Footprints::default());
        let footprint = Footprint {
            server_pss_kb: pss_kb(&[std::process::id()]),
            ..Footprint::of_this_machine("sent")
        };
        assert!(footprint.server_pss_kb.is_some_and(|kb| kb > 0), "{footprint:?}");
        assert!(footprint.slab_kb.is_some() && footprint.tcp_buffers_kb.is_some());
        assert_eq!(pss_kb(&[u32::MAX]), None, "no sum without one of them");
        let footprints = Footprints { footprints: vec![footprint] };
        footprints.write(folder.path()).unwrap();
        assert_eq!(Footprints::read(folder.path()).unwrap(), footprints);
        assert!(footprints.at("sent").is_some() && footprints.at("connecting").is_none());
    }
}
