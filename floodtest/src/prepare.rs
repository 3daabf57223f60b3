//! What a run will do and on what, worked out before the first connect.

use std::path::Path;
use std::time::Duration;

use reports::edges;

use crate::config::{Config, Rate};
use crate::dry_run::{DryRun, DryRunTarget};
use crate::error::Error;
use crate::limits;
use crate::request::{RequestError, Requests};
use crate::shape::{Shape, ShapeError};
use crate::sources::{SourceIps, is_local};
use crate::targets::{Target, Targets};
use crate::tls::Trust;
use crate::urls::{LineIndex, UrlFile};

/// Bytes of the kernel for this end of an idle connection: 9 to 10 KB were measured for both ends
/// on loopback, from sockets, inodes, file and epoll entries.
const KERNEL_BYTES: u64 = 5_000;

/// Bytes of this program for a connection, as measured with 19,000 of them.
const OUR_BYTES: u64 = 48;

/// Bytes beside that for a connection whose stream is measured.
const STREAM_BYTES: u64 = 12;

/// Bytes of this program beside that, where a place has more than one connection: a column.
const COLUMN_BYTES: u64 = 12;

/// Bytes of this program for a slow reader: its part of a table.
const SLOW_BYTES: u64 = 150;

/// Bytes of this program for the TLS of a connection, in addition, as measured with 5,000 by
/// the step `tls` of bench/bars.sh.
const TLS_BYTES: u64 = 5_300;

/// Bytes of a process of this program without connections, as measured.
const PROCESS_BYTES: u64 = 4_500_000;

/// What a run will do, and what it takes to carry it out.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What it will do.
    pub(crate) dry_run: DryRun,
    /// The URLs.
    pub(crate) urls: UrlFile,
    /// What is asked.
    pub(crate) requests: Requests,
    /// Where they lead.
    pub(crate) targets: Targets,
    /// How TLS is spoken, if it is.
    pub(crate) trust: Option<Trust>,
    /// The shape of the load, checked.
    pub(crate) shape: Shape,
    /// Where the URLs are, if places have more than one connection.
    pub(crate) lines: LineIndex,
}

impl Prepared {
    /// Reads the URL file and all others, finds out about its hosts and this machine, and refuses
    /// what cannot be done. Raises this process's soft limit on open files.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let requests = Requests::new(&config.request, config.is_sse, config.accounting.stream)?;
        let mut urls = UrlFile::open(&config.urls)?;
        if let Some(path) = &config.accounting.follows {
            // It is read at the end; a bad line is to be known before the first connect.
            edges::each(path, |_, _| {})?;
        }
        let n_due = n_due(config)?;
        let (mut targets, index, asked) = Targets::survey(&mut urls, &requests, n_due)?;
        let n_urls = index.n_urls;
        // A rate whose last step comes to its end leaves the rest out.
        let asked = config.rate.n_in_all().map_or(asked, |n_due| asked.min(n_due));
        if !targets.has_sockets && requests.sockets.is_asked_for() {
            return Err(RequestError::NoSockets.into());
        }
        let n_tls = targets.n_tls();
        let trust = Trust::if_needed(&config.tls, n_tls, requests.max_redirects > 0)?;
        let opening = config.rate.due(asked.saturating_sub(1)).unwrap_or_default();
        let (rate_per_s, opening_s) = match config.rate {
            Rate::PerSecond(rate) => (Some(rate), Some(opening.as_secs_f64())),
            Rate::Max => (None, None),
            // On the average.
            Rate::Steps(_) => {
                let seconds = opening.as_secs_f64();
                let rate = (seconds > 0.0).then(|| asked.saturating_sub(1) as f64 / seconds);
                (rate, Some(seconds))
            }
        };
        let mut shape = config.shape.clone();
        shape.check(lasts(config, opening))?;
        let demand = Demand {
            asked,
            urls: &config.urls,
            shape: &shape,
            is_measured: config.streams.is_measured,
            source_ips: config.source_ips.as_ref(),
        };
        // Where others hold the connections it is they who find out what that takes.
        let here =
            if config.hosts.is_empty() { demand.meet(&mut targets)? } else { DryRun::default() };
        let mut warnings = config.cautions();
        warnings.extend(here.warnings);
        let dry_run = DryRun { urls: n_urls, asked, rate_per_s, opening_s, warnings, ..here };
        let lines = if shape.has_lives() { index } else { LineIndex::default() };
        Ok(Self { dry_run, urls, requests, targets, trust, shape, lines })
    }

    /// Whether a destination is on another machine.
    pub(crate) fn is_remote(&self) -> bool {
        let mut addresses = self.dry_run.targets.iter().flat_map(|target| &target.addresses);
        !self.dry_run.hosts.is_empty() || addresses.any(|address| !is_local(address.ip()))
    }
}

/// What a run, or a host's share of one, takes of the machine on which it is made.
#[derive(Debug)]
pub(crate) struct Demand<'a> {
    /// Connections.
    pub(crate) asked: u64,
    /// The URL file, for what is said about it.
    pub(crate) urls: &'a Path,
    /// How long they live, and which are read slowly.
    pub(crate) shape: &'a Shape,
    /// Whether their streams are measured.
    pub(crate) is_measured: bool,
    /// The addresses to dial from, if they were named.
    pub(crate) source_ips: Option<&'a SourceIps>,
}

impl Demand<'_> {
    /// Finds out about this machine and the addresses of `targets`, and refuses what cannot be done
    /// here. Raises this process's soft limit on open files.
    ///
    /// The answer says nothing of URLs and rates, which are those of the whole run.
    pub(crate) fn meet(&self, targets: &mut Targets) -> Result<DryRun, Error> {
        let asked = self.asked;
        let open_files = limits::raise_open_files();
        let workers = n_workers(asked, open_files)?;
        if let Some(left) = limits::open_files_of_machine().filter(|left| asked > *left) {
            return Err(Error::MachineFiles { asked, left });
        }
        if let Some(ip) = self.source_ips.and_then(SourceIps::first_foreign) {
            return Err(Error::ForeignSource(ip));
        }
        let n_ports = asked.saturating_add(self.shape.n_ports_held(asked));
        targets.limit_to(asked);
        targets.resolve(self.urls, (asked, n_ports), self.source_ips)?;
        let mut dry_run = DryRun {
            asked,
            open_files,
            workers,
            connections_per_process: asked.div_ceil(workers.max(1)),
            memory_kb: kb(asked, OUR_BYTES + beside_rows(self.shape))
                + kb(if self.is_measured { asked } else { 0 }, STREAM_BYTES)
                + kb(targets.n_tls().min(asked), TLS_BYTES)
                + kb(workers + 1, PROCESS_BYTES),
            kernel_memory_kb: kb(asked, KERNEL_BYTES),
            available_memory_kb: limits::available_memory_kb(),
            targets: targets.dialed().map(DryRunTarget::of).collect(),
            ..DryRun::default()
        };
        dry_run.warnings.extend(dry_run.memory_warning());
        dry_run.warnings.extend(ports_warning(targets, n_ports));
        Ok(dry_run)
    }
}

/// How many connections are asked for, if it is not one for each URL: `--connections`, or as many
/// as fall due in the time of `--for` if those are fewer.
fn n_due(config: &Config) -> Result<Option<u64>, ShapeError> {
    let Some(time) = config.shape.begins_for else { return Ok(config.connections) };
    let n_due = config.rate.n_within(time).ok_or(ShapeError::ForMax)?;
    Ok(Some(config.connections.map_or(n_due, |asked| asked.min(n_due))))
}

/// How long the run of `config` lasts after its first connection was due, if that is known: until
/// its last one is due, and `--hold`. What that one takes to be opened comes on top.
fn lasts(config: &Config, opening: Duration) -> Option<Duration> {
    let hold = config.hold.filter(|_| config.rate != Rate::Max)?;
    Some(opening.saturating_add(hold))
}

/// Bytes for each connection beside its row, on the average, that the shape of the load takes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a small number is none that is larger"
)]
fn beside_rows(shape: &Shape) -> u64 {
    let columns = if shape.has_lives() { COLUMN_BYTES } else { 0 };
    let slow: f64 = shape.slow.iter().map(|slow| slow.part).sum();
    columns + (slow.min(1.0) * SLOW_BYTES as f64).ceil() as u64
}

/// That there may be too few source ports to a target, where what we close holds its port for a
/// while.
fn ports_warning(targets: &Targets, n_ports: u64) -> Option<String> {
    let n_of = |target: &Target| target.endpoints.first().map(|it| it.sources.capacity());
    let target = targets.dialed().min_by_key(|target| n_of(target))?;
    let n_there = n_of(target)?;
    let n_held = n_ports.min(n_ports.saturating_sub(target.n_connections));
    (n_there < target.n_connections + n_held && n_held > 0).then(|| {
        format!(
            "{} has {n_there} source ports, and about {} will be taken: what is closed here holds \
             its port for a minute, unless the kernel gives it away before (tcp_tw_reuse); where \
             there are no more, connects fail with \"no ports\"; name more source addresses with \
             --source-ip",
            target.authority,
            target.n_connections + n_held
        )
    })
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
    fn more_than_the_workers_can_hold_are_refused_with_a_fix() {
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
}
