//! What a run would do and on what, as `--plan` prints it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::targets::Target;

/// Destinations that are printed for people.
const MAX_SHOWN: usize = 10;

/// What a run will do and on what.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DryRun {
    /// URLs in the file.
    pub urls: u64,
    /// Connections that will be opened.
    pub asked: u64,
    /// Connections begun a second; `None`: as many as are answered.
    pub rate_per_s: Option<f64>,
    /// Seconds from the first connect to the last one, where there is a rate.
    pub opening_s: Option<f64>,
    /// Files that a process may open here.
    pub open_files: u64,
    /// Worker processes; 0 when one process is enough.
    pub workers: u64,
    /// Connections of each process, at most.
    pub connections_per_process: u64,
    /// Memory that this program will need, in KB of 1,024 bytes, about.
    pub memory_kb: u64,
    /// Memory that the kernel will need for this end of the connections, about.
    pub kernel_memory_kb: u64,
    /// Memory that this machine has left, where that is known.
    pub available_memory_kb: Option<u64>,
    /// Where connections will lead, in the order of the file.
    pub targets: Vec<DryRunTarget>,
    /// What may go wrong.
    pub warnings: Vec<String>,
    /// What each host of `--hosts` will do. Where there are any, the connections are theirs, and
    /// the figures of memory, files and targets are in here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<DryRunHost>,
}

/// What a run will do on one host of `--hosts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DryRunHost {
    /// The host, as `--hosts` names it.
    pub host: String,
    /// What it will do.
    pub plan: DryRun,
}

/// What a run will do with one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DryRunTarget {
    /// Host and port as the URLs write them.
    pub authority: String,
    /// Connections to it; not too few.
    pub connections: u64,
    /// Its addresses, in the order in which they will be tried.
    pub addresses: Vec<SocketAddr>,
    /// The source addresses for the first of them.
    pub source_ips: Vec<IpAddr>,
    /// Source ports that these have.
    pub source_ports: u64,
}

impl DryRunTarget {
    /// What is planned for `target`.
    pub(crate) fn of(target: &Target) -> Self {
        let first = target.endpoints.first();
        Self {
            authority: target.authority.clone(),
            connections: target.n_connections,
            addresses: target.endpoints.iter().map(|endpoint| endpoint.address).collect(),
            source_ips: first.map(|first| first.sources.ips().to_vec()).unwrap_or_default(),
            source_ports: first.map_or(0, |first| first.sources.capacity()),
        }
    }
}

impl DryRun {
    /// That memory will not do, if so.
    pub(crate) fn memory_warning(&self) -> Option<String> {
        let (needed, left) = (self.memory_kb + self.kernel_memory_kb, self.available_memory_kb?);
        (needed > left).then(|| {
            format!(
                "about {} MB will be needed and {} MB are left on this machine; ask for fewer \
                 connections, or spread them over several machines",
                needed / 1024,
                left / 1024
            )
        })
    }
}

/// Several lines for people.
impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "connections   {} from {} URLs", self.asked, self.urls)?;
        match (self.rate_per_s, self.opening_s) {
            (Some(rate), Some(opening_s)) => {
                writeln!(f, "opening       {rate} a second, within {opening_s:.3} s")?;
            }
            _ => writeln!(f, "opening       as fast as they are answered")?,
        }
        if self.hosts.is_empty() {
            match self.workers {
                0 => write!(f, "processes     this one")?,
                n => write!(f, "processes     this one and {n} workers")?,
            }
            self.write_place(f)?;
        }
        for DryRunHost { host, plan } in &self.hosts {
            writeln!(f, "host          {host}: {} connections", plan.asked)?;
            write!(f, "processes     {}", plan.workers.max(1))?;
            plan.write_place(f)?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning       {warning}"))
    }
}

impl DryRun {
    /// Writes what it takes of the machine on which the connections are.
    fn write_place(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.workers {
            0 => writeln!(f, "; it may open {} files", self.open_files)?,
            _ => writeln!(
                f,
                ", each with {} connections at most; a process may open {} files",
                self.connections_per_process, self.open_files
            )?,
        }
        let left = self.available_memory_kb.map(|kb| format!("; {} MB are left", kb / 1024));
        writeln!(
            f,
            "memory        about {} MB here and {} MB in the kernel{}",
            self.memory_kb / 1024,
            self.kernel_memory_kb / 1024,
            left.unwrap_or_default()
        )?;
        for target in self.targets.iter().take(MAX_SHOWN) {
            let DryRunTarget { authority, connections, addresses, source_ips, source_ports } =
                target;
            let from = match source_ips.as_slice() {
                [ip] if ip.is_unspecified() => "the address that the kernel chooses".to_owned(),
                [ip] => ip.to_string(),
                [first, .., last] => format!("{first} to {last}"),
                [] => "nowhere".to_owned(),
            };
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            writeln!(f, "to            {authority}: {connections} connections")?;
            writeln!(f, "              at {}", addresses.join(", then "))?;
            writeln!(f, "              from {from}, {source_ports} source ports")?;
        }
        if let Some(n_more) = self.targets.len().checked_sub(MAX_SHOWN).filter(|n| *n > 0) {
            writeln!(f, "to            {n_more} more")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_memory_is_a_warning() {
        let dry_run = |available_memory_kb| DryRun {
            urls: 1,
            asked: 1_000_000,
            rate_per_s: None,
            opening_s: None,
            open_files: 20_000,
            workers: 51,
            connections_per_process: 19_608,
            memory_kb: 100 * 1024,
            kernel_memory_kb: 4_900 * 1024,
            available_memory_kb,
            ..DryRun::default()
        };
        assert_eq!(dry_run(None).memory_warning(), None);
        assert_eq!(dry_run(Some(5_000 * 1024)).memory_warning(), None);
        let warning = dry_run(Some(4_999 * 1024)).memory_warning().unwrap();
        assert!(
            warning.starts_with("about 5000 MB will be needed and 4999 MB are left"),
            "{warning}"
        );
    }
}
