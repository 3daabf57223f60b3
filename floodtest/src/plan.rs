//! What a run will do and on what, worked out before the first connect.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::config::{Config, Rate};
use crate::request::Requests;
use crate::sources::{SourceIps, is_local};
use crate::targets::{Target, Targets};
use crate::tls::Trust;
use crate::urls::UrlFile;
use crate::{Error, limits};

/// Bytes of the kernel for this end of an idle connection: 9 to 10 KB were measured for both ends
/// on loopback, from sockets, inodes, file and epoll entries.
const KERNEL_BYTES: u64 = 5_000;

/// Bytes of this program for a connection, as measured with 19,000 of them.
const OUR_BYTES: u64 = 48;

/// Bytes of this program for the TLS of a connection, in addition, as measured with 5,000 by
/// the step `tls` of bench/bars.sh.
const TLS_BYTES: u64 = 5_300;

/// Bytes of a process of this program without connections, as measured.
const PROCESS_BYTES: u64 = 4_500_000;

/// Destinations that are printed for people.
const MAX_SHOWN: usize = 10;

/// What a run will do and on what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
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
    pub targets: Vec<TargetPlan>,
    /// What may go wrong.
    pub warnings: Vec<String>,
}

/// What a run will do with one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetPlan {
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

/// A plan, and what it takes to carry it out.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The plan.
    pub(crate) plan: Plan,
    /// The URLs.
    pub(crate) urls: UrlFile,
    /// What is asked.
    pub(crate) requests: Requests,
    /// Where they lead.
    pub(crate) targets: Targets,
    /// How TLS is spoken, if it is.
    pub(crate) trust: Option<Trust>,
}

impl Prepared {
    /// Reads the URL file and all others, finds out about its hosts and this machine, and refuses what cannot be
    /// done. Raises this process's soft limit on open files.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let requests = Requests::new(&config.request, config.is_sse)?;
        let mut urls = UrlFile::open(&config.urls)?;
        let (mut targets, n_urls, asked) =
            Targets::survey(&mut urls, &requests, config.connections)?;
        let open_files = limits::raise_open_files();
        let workers = n_workers(asked, open_files)?;
        if let Some(left) = limits::open_files_of_machine().filter(|left| asked > *left) {
            return Err(Error::MachineFiles { asked, left });
        }
        if let Some(ip) = config.source_ips.as_ref().and_then(SourceIps::first_foreign) {
            return Err(Error::ForeignSource(ip));
        }
        targets.resolve(&config.urls, asked, config.source_ips.as_ref())?;
        let n_tls = targets.n_tls();
        let trust = Trust::if_needed(&config.tls, n_tls, requests.max_redirects > 0)?;
        let rate_per_s = match config.rate {
            Rate::PerSecond(rate) => Some(rate),
            Rate::Max => None,
        };
        let mut plan = Plan {
            urls: n_urls,
            asked,
            rate_per_s,
            opening_s: rate_per_s.map(|rate| asked.saturating_sub(1) as f64 / rate),
            open_files,
            workers,
            connections_per_process: asked.div_ceil(workers.max(1)),
            memory_kb: kb(asked, OUR_BYTES)
                + kb(n_tls.min(asked), TLS_BYTES)
                + kb(workers + 1, PROCESS_BYTES),
            kernel_memory_kb: kb(asked, KERNEL_BYTES),
            available_memory_kb: limits::available_memory_kb(),
            targets: targets.dialed().map(TargetPlan::of).collect(),
            warnings: config.cautions(),
        };
        plan.warnings.extend(plan.memory_warning());
        Ok(Self { plan, urls, requests, targets, trust })
    }

    /// Whether a destination is on another machine.
    pub(crate) fn is_remote(&self) -> bool {
        let mut addresses = self.plan.targets.iter().flat_map(|target| &target.addresses);
        addresses.any(|address| !is_local(address.ip()))
    }
}

/// Worker processes for `asked` connections; 0 when one process is enough.
fn n_workers(asked: u64, open_files: u64) -> Result<u64, Error> {
    let of_one = limits::of_one_process(open_files);
    if asked <= of_one {
        return Ok(0);
    }
    let most = limits::n_workers(open_files).saturating_mul(of_one);
    if asked > most {
        return Err(Error::OpenFiles { asked, limit: open_files, most });
    }
    Ok(asked.div_ceil(of_one))
}

/// `n` times `bytes`, in KB.
fn kb(n: u64, bytes: u64) -> u64 {
    n.saturating_mul(bytes) / 1024
}

impl TargetPlan {
    /// What is planned for `target`.
    fn of(target: &Target) -> Self {
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

impl Plan {
    /// That memory will not do, if so.
    fn memory_warning(&self) -> Option<String> {
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
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "connections   {} from {} URLs", self.asked, self.urls)?;
        match (self.rate_per_s, self.opening_s) {
            (Some(rate), Some(opening_s)) => {
                writeln!(f, "opening       {rate} a second, within {opening_s:.3} s")?;
            }
            _ => writeln!(f, "opening       as fast as they are answered")?,
        }
        write!(f, "processes     ")?;
        match self.workers {
            0 => writeln!(f, "this one; it may open {} files", self.open_files)?,
            n => writeln!(
                f,
                "this one and {n} workers, each with {} connections at most; a process may open \
                 {} files",
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
            let TargetPlan { authority, connections, addresses, source_ips, source_ports } = target;
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
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning       {warning}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_does_it_while_it_may_open_as_many_files() {
        let workers = |asked| n_workers(asked, 20_000).unwrap();
        assert_eq!((workers(1), workers(19_936), workers(19_937)), (0, 0, 2));
        assert_eq!((workers(200_000), workers(1_000_000)), (11, 51));
    }

    #[test]
    fn more_than_the_workers_can_hold_are_refused_with_the_cure() {
        let error = n_workers(37, 70).unwrap_err().to_string();
        assert_eq!(
            error,
            "cannot hold 37 connections: with an open-file limit of 70 a run holds at most 36; \
             raise it with `ulimit -n 101`, or ask for fewer with --connections"
        );
        assert!(n_workers(36, 70).is_ok());
        assert!(n_workers(1, 64).is_err());
        assert!(n_workers(u64::MAX, 20_000).is_err());
        assert!(
            n_workers(256 * 19_936, 20_000).is_ok() && n_workers(256 * 19_937, 20_000).is_err()
        );
    }

    #[test]
    fn too_little_memory_is_a_warning() {
        let plan = |available_memory_kb| Plan {
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
            targets: Vec::new(),
            warnings: Vec::new(),
        };
        assert_eq!(plan(None).memory_warning(), None);
        assert_eq!(plan(Some(5_000 * 1024)).memory_warning(), None);
        let warning = plan(Some(4_999 * 1024)).memory_warning().unwrap();
        assert!(
            warning.starts_with("about 5000 MB will be needed and 4999 MB are left"),
            "{warning}"
        );
    }
}
