//! A run from the first message due to the last report.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reports::out::Out;
use reports::stamp::Clock;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use crate::door::{Door, find};
use crate::ids::Ids;
use crate::schedule::{Schedule, Scheduler};
use crate::sender::{Shared, Source};
use crate::tally::{Counts, SERIES, Tally};
use crate::{Config, Error, Outcome, descriptors};

/// From one call of [`Observer::progress`] to the next: a figure that changes faster cannot be
/// read.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// How long a run that is told to end waits for the answers that it is owed. A healthy server
/// needs milliseconds; whoever pressed Ctrl-C should not wait for another.
const GRACE: Duration = Duration::from_secs(2);

/// Who is told how a run goes. It is called on the thread that sends, so it should be quick.
pub trait Observer {
    /// Called every second with the counts so far.
    fn progress(&mut self, counts: &Counts, asked: u64);

    /// Called every [`Config::report_every`], and with the last report. A break ends the run, as
    /// the shutdown does: nobody is left to report to.
    fn report(&mut self, outcome: &Outcome) -> ControlFlow<()>;

    /// Something went wrong that does not end the run, such as a full disk for its logs.
    fn trouble(&mut self, what: &str) {
        let _ = what;
    }
}

/// Sends what `config` asks for, until all is sent or `shutdown` completes. The last report has
/// been given to `observer` and is returned.
///
/// Runs within a tokio runtime with its I/O and time drivers on; one thread is enough.
pub async fn run(
    config: Config,
    observer: &mut impl Observer,
    shutdown: impl Future<Output = ()>,
) -> Result<Outcome, Error> {
    let is_flat_out = config.interval.is_zero();
    descriptors::make_room(config.n_sources, is_flat_out)?;
    let address = find(&config.server).await?;
    let door = Door::new(&config.server, address, config.token.as_ref(), config.timeout)?;
    let asked = config.n_sources.checked_mul(config.n_messages).ok_or(Error::TooManyMessages {
        n_sources: config.n_sources,
        n_messages: config.n_messages,
    })?;
    let clock = Clock::start();
    let create = |folder| Out::create(folder, "msggen", &SERIES, &clock);
    let out = config.out.as_ref().map(create).transpose()?;
    let schedule = Arc::new(Schedule::new(config.n_sources, config.n_messages, config.interval));
    let mut run = Run {
        asked,
        out,
        seed: config.seed,
        shared: Arc::new(Shared {
            n_messages: config.n_messages,
            batch: config.batch,
            stamp_clock: config.has_stamps.then_some(clock),
            schedule: Arc::clone(&schedule),
            door,
            tally: Mutex::new(Tally::default()),
        }),
    };
    let mut sources = JoinSet::new();
    for number in 0..config.n_sources {
        let ids = Ids::new(config.seed, number, config.max_id);
        sources.spawn(Source::new(number, ids, Arc::clone(&run.shared)).run());
    }
    let scheduler = Scheduler::start(schedule).map_err(Error::Thread)?;
    run.watch(&mut sources, config.report_every, observer, shutdown).await;
    scheduler.stop();
    // Sources that wait for an answer get the grace; the messages of those that are then ended
    // with their request count themselves as unanswered.
    let _ = timeout(GRACE, all_ended(&mut sources)).await;
    sources.shutdown().await;
    let mut outcome = run.outcome();
    outcome.figures.is_final = true;
    run.log(&outcome, observer);
    outcome.log_shortfall = run.out.as_ref().and_then(Out::shortfall);
    // It is the last one, so there is nothing left for a break to end.
    let _ = observer.report(&outcome);
    Ok(outcome)
}

/// A run that goes on.
struct Run {
    /// Messages that it is to send.
    asked: u64,
    /// The logs to keep of it.
    out: Option<Out>,
    /// What its ids follow from.
    seed: u64,
    /// What its sources share.
    shared: Arc<Shared>,
}

impl Run {
    /// Reports until every source has ended, or until told to end by `shutdown` or the observer.
    async fn watch(
        &mut self,
        sources: &mut JoinSet<()>,
        report_every: Duration,
        observer: &mut impl Observer,
        shutdown: impl Future<Output = ()>,
    ) {
        let ticks = |every| {
            let first = self.shared.schedule.started_at() + every;
            let mut ticks = interval_at(first.into(), every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks
        };
        let mut reports = ticks(report_every);
        let mut progress = ticks(PROGRESS_EVERY);
        let mut ended = pin!(all_ended(sources));
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut ended => return,
                () = &mut shutdown => return,
                _ = reports.tick() => {
                    if observer.report(&self.outcome()).is_break() {
                        return;
                    }
                }
                () = log_due(self.out.as_ref()) => self.log(&self.outcome(), observer),
                _ = progress.tick() => {
                    let counts = self.shared.tally().counts;
                    observer.progress(&counts, self.asked);
                }
            }
        }
    }

    /// Writes a report to the logs, if there are any.
    fn log(&mut self, outcome: &Outcome, observer: &mut impl Observer) {
        let Some(out) = &mut self.out else { return };
        if let Some(news) = out.log(Instant::now(), outcome, &self.shared.tally().totals()) {
            observer.trouble(&news);
        }
    }

    /// The report of the run so far.
    fn outcome(&self) -> Outcome {
        let (tally, schedule) = (self.shared.tally(), &self.shared.schedule);
        Outcome {
            figures: tally.report(self.asked, schedule, Instant::now()),
            unanswered_by: tally.unanswered_by(),
            seed: self.seed,
            planned_s: schedule.planned(tally.counts.sent).as_secs_f64(),
            took_s: tally.took(schedule).as_secs_f64(),
            log_shortfall: None,
        }
    }
}

/// Waits until an entry of the logs is due: for ever if there are none.
async fn log_due(out: Option<&Out>) {
    match out {
        Some(out) => tokio::time::sleep_until(out.next_at().into()).await,
        None => std::future::pending().await,
    }
}

/// Waits until every source has ended. Panics if one did: its messages are missing.
async fn all_ended(sources: &mut JoinSet<()>) {
    while let Some(ended) = sources.join_next().await {
        ended.expect("a source ends by itself");
    }
}
