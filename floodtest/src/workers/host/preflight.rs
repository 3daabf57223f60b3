//! All hosts before the first connect: what each can do, and all that is wrong in one answer.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use super::super::link::Link;
use super::super::listen::listen;
use super::{Files, Host, Phase, Role};
use crate::config::Config;
use crate::dry_run::DryRunHost;
use crate::error::Error;
use crate::job::Job;
use crate::prepare::Prepared;
use crate::share::{HostShare, Share};

/// Speaks with all hosts of `config` until each knows what its share takes, and writes that into
/// the dry run. An error names what is wrong with each of them.
pub(in crate::workers) fn hosts(
    config: &Config,
    prepared: &mut Prepared,
    stop: BorrowedFd<'_>,
) -> Result<Vec<Host>, Error> {
    let mut job = Job::whole(config, prepared);
    let tls = [&config.tls.ca, &config.tls.cert, &config.tls.key, &config.accounting.follows];
    let mut now: Vec<PathBuf> = vec![config.urls.clone()];
    now.extend(tls.into_iter().flatten().cloned());
    let files = Files { now: &now, sent: &config.accounting.sent };
    let period = config.hosts.iter().map(|host| host.weight).sum();
    let mut from = 0;
    let mut hosts = Vec::new();
    for spec in &config.hosts {
        let share = HostShare { from, weight: spec.weight, period };
        from += spec.weight;
        job.share = Share { host: share, index: 0, of: 1 };
        let mut host = Host::start(&spec.host, &config.remote_program, Role::Load(share), files);
        host.job = Some(serde_json::to_vec(&job).map_err(std::io::Error::from)?);
        hosts.push(host);
    }
    if let Some(spec) = &config.sender_host {
        let nothing = Files { now: &[], sent: &[] };
        hosts.push(Host::start(spec, &config.remote_program, Role::Sender, nothing));
    }
    until(&mut hosts, |host| host.phase >= Phase::Prepared, stop)?;
    for host in &mut hosts {
        let Some(plan) = &mut host.plan else { continue };
        let name = host.spec.to_string();
        prepared.dry_run.workers += plan.workers.max(1);
        let warnings = plan.warnings.drain(..).map(|warning| format!("{name}: {warning}"));
        prepared.dry_run.warnings.extend(warnings);
        prepared.dry_run.hosts.push(DryRunHost { host: name, plan: plan.clone() });
    }
    Ok(hosts)
}

/// Waits until the workers of all hosts know their jobs and the clocks are known.
pub(in crate::workers) fn until_ready(
    hosts: &mut [Host],
    stop: BorrowedFd<'_>,
) -> Result<(), Error> {
    until(hosts, Host::is_ready, stop)
}

/// Listens until each of the hosts `is_there` or is lost. An error names what is wrong with all
/// that are lost.
fn until(
    hosts: &mut [Host],
    is_there: impl Fn(&Host) -> bool,
    stop: BorrowedFd<'_>,
) -> Result<(), Error> {
    while hosts.iter().any(|host| host.lost_why.is_none() && !is_there(host)) {
        let mut links: Vec<&mut dyn Link> =
            hosts.iter_mut().map(|it| it as &mut dyn Link).collect();
        if listen(&mut links, Some(stop), None)?.is_stopped {
            return Err(Error::Interrupted);
        }
    }
    let faults: Vec<String> = hosts.iter().filter_map(|host| host.lost_why.clone()).collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::Hosts(faults)) }
}
