//! What a run takes of the whole machine at one moment: all its processes, the kernel, the brokers.

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
    /// The kernel's objects, such as sockets, files and poll items. What is available to new
    /// programs (`MemAvailable`) says less: the kernel counts the inodes of open sockets as if it
    /// could reclaim them.
    pub slab_kb: Option<u64>,
    /// TCP sockets in use. On loopback a connection has two.
    pub tcp_sockets: Option<u64>,
    /// Memory in TCP buffers.
    pub tcp_buffers_kb: Option<u64>,
    /// Memory that the brokers have in use, by their own account, in bytes.
    pub broker_bytes: Option<u64>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_at_a_machine_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Footprints::read(folder.path()).unwrap(), Footprints::default());
        let footprint = Footprint {
            phase: "sent".to_owned(),
            server_processes: 1,
            server_pss_kb: Some(4_096),
            ..Footprint::default()
        };
        let footprints = Footprints { footprints: vec![footprint] };
        footprints.write(folder.path()).unwrap();
        assert_eq!(Footprints::read(folder.path()).unwrap(), footprints);
        assert!(footprints.at("sent").is_some() && footprints.at("connecting").is_none());
    }
}
