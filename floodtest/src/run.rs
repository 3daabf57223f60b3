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
pub fn dry_run(config: &Config) -> Result<DryRun, Error> {
    Ok(Prepared::new(config)?.dry_run)
}

/// Makes one run: opens the connections of `config`, holds them and reports to `observer`, until
/// `stop` becomes readable or the run ends by itself.
///
/// Blocks the calling thread, and raises this process's soft limit on open files. Where that is
/// not enough it starts worker processes.
pub fn run(
    config: &Config,
    stop: impl AsFd,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let mut prepared = Prepared::new(config)?;
    prepared.dry_run.warnings.iter().for_each(|warning| observer.trouble(warning));
    if prepared.dry_run.workers > 0 {
        return workers::run(config, prepared, stop.as_fd(), observer);
    }
    limits::make_room(stop.as_fd(), prepared.dry_run.asked);
    let clock = Clock::start();
    let mut reporter =
        Reporter::new(config, &prepared, vec![std::process::id()], &clock, observer)?;
    let mut job = Job::whole(config, &mut prepared);
    let Prepared { urls, trust, .. } = &mut prepared;
    let (stop, started_at) = (stop.as_fd(), clock.started_at());
    let engine =
        Engine::new(&mut job, urls, trust.take(), stop, ReceiptClock::new(clock), started_at)?;
    let Finished { end, tally, worst, slow } = engine.run(&mut reporter)?;
    Ok(reporter.finish(end, &tally, Named { worst, slow }, urls))
}
