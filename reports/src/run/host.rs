//! The machine of a run: what a doubter asks first.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files;
use super::folder::{RunError, read_toml, write_toml};

/// The machine of a run: `host.toml`. What could not be found out is absent. The machine's name is
/// not kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// The processor's name.
    pub cpu_model: Option<String>,
    /// Processors that a program may use here.
    pub cpus: Option<u64>,
    /// Memory of the machine, in KB of 1,024 bytes.
    pub memory_kb: Option<u64>,
    /// The kernel, as `uname -sr` prints it.
    pub kernel: Option<String>,
    /// The distribution.
    pub os: Option<String>,
    /// Whether it is a virtual machine.
    #[serde(rename = "virtual")]
    pub is_virtual: Option<bool>,
    /// Open files that a process may have unless it asks for more.
    pub open_files_soft: Option<u64>,
    /// Open files that a process may ask for.
    pub open_files_hard: Option<u64>,
    /// TCP's congestion control.
    pub congestion_control: Option<String>,
    /// Least, default and greatest receive buffer of a socket, in bytes.
    pub tcp_rmem: Option<[u64; 3]>,
    /// The same of the send buffer.
    pub tcp_wmem: Option<[u64; 3]>,
    /// Memory of all TCP sockets, in pages: no pressure below, pressure above, limit.
    pub tcp_mem: Option<[u64; 3]>,
    /// The longest queue of connections that are not accepted yet.
    pub somaxconn: Option<u64>,
    /// Packets that a processor's queue of received ones takes; those of loopback pass it too.
    pub netdev_max_backlog: Option<u64>,
    /// First and last port that the kernel chooses by itself.
    pub ip_local_port_range: Option<[u64; 2]>,
    /// When the kernel uses huge pages: they make memory resident that was never asked for.
    pub huge_pages: Option<String>,
    /// What the kernel's clocks are read from.
    pub clock_source: Option<String>,
    /// The load averages over 1, 5 and 15 minutes, before anything was started.
    pub load_before: Option<[f64; 3]>,
    /// The compiler's version.
    pub rustc: Option<String>,
}

impl Host {
    /// Reads the machine of the run in `folder`.
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        read_toml(&folder.join(files::HOST))
    }

    /// Writes it into `folder`.
    pub fn write(&self, folder: &Path) -> Result<(), RunError> {
        write_toml(&folder.join(files::HOST), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_read_back_without_what_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let known = Host {
            cpu_model: Some("AMD EPYC".to_owned()),
            is_virtual: Some(true),
            tcp_rmem: Some([4_096, 131_072, 6_291_456]),
            ip_local_port_range: Some([32_768, 60_999]),
            load_before: Some([0.25, 0.5, 1.0]),
            ..Host::default()
        };
        for host in [known, Host::default()] {
            host.write(folder.path()).unwrap();
            assert_eq!(Host::read(folder.path()).unwrap(), host);
        }
    }
}
