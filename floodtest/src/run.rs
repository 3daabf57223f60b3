//! A run, from its config to its outcome.

use std::os::fd::AsFd;

use reports::stamp::Clock;

use crate::clocks::receipts::ReceiptClock;
use crate::config::Config;
use crate::dry_run::DryRun;
use crate::engine::Engine;
use crate::engine::listener::Finished;
use crate::error::Error;
use crate::job::Job;
use crate::outcome::{Observer, Outcome};
use crate::prepare::Prepared;
use crate::reporter::{Named, Reporter};
use crate::{limits, workers};

/// What a run of `config` would do, or why it cannot be made. Nothing is connected.
///
/// Raises this process's soft limit on open files.
///
/// The hosts of `config` are asked, until `stop` becomes readable.
pub fn dry_run(config: &Config, stop: impl AsFd) -> Result<DryRun, Error> {
    let mut prepared = Prepared::new(config)?;
    if !config.hosts.is_empty() {
        workers::plan_hosts(config, &mut prepared, stop.as_fd())?;
    }
    Ok(prepared.dry_run)
}

/// Makes one run: opens the connections of `config`, holds them and reports to `observer`, until
/// `stop` becomes readable or the run ends by itself.
///
/// Blocks the calling thread, and raises this process's soft limit on open files. Where that is
/// not enough it starts worker processes. Where `config` names hosts their workers hold all
/// connections.
pub fn run(
    config: &Config,
    stop: impl AsFd,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let mut prepared = Prepared::new(config)?;
    if !config.hosts.is_empty() {
        return workers::run_on_hosts(config, prepared, stop.as_fd(), observer);
    }
    prepared.dry_run.warnings.iter().for_each(|warning| observer.trouble(warning));
    if prepared.dry_run.workers > 0 {
        return workers::run(config, prepared, stop.as_fd(), observer);
    }
    limits::make_room(stop.as_fd(), prepared.dry_run.asked);
    let clock = Clock::start();
    let here = (vec![std::process::id()], Vec::new());
    let mut reporter = Reporter::new(config, &prepared, here, &clock, observer)?;
    let mut job = Job::whole(config, &mut prepared);
    let Prepared { urls, trust, .. } = &mut prepared;
    let (stop, started_at) = (stop.as_fd(), clock.started_at());
    let engine =
        Engine::new(&mut job, urls, trust.take(), stop, ReceiptClock::new(clock), started_at)?;
    let Finished { end, tally, worst, slow } = engine.run(&mut reporter)?;
    Ok(reporter.finish(end, &tally, Named { worst, slow, delays: Vec::new() }, urls))
}
