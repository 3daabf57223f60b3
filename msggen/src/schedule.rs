//! When each source's next message is due, and the one thread that says so.
//!
//! Event k of the [`Plan`] belongs to source k mod sources, so the sources take turns and the total
//! rate is smooth. The scheduler thread sleeps until an absolute due time, on the monotonic clock,
//! and then tells the source. It is a thread because a runtime's timers are too coarse for this:
//! tokio's wheel turns once a millisecond, and a load tool must not be later than what it measures.
//! What nobody tells the source is *how many* are due: that is the number of released events, which
//! every source reads for itself. So a wake-up that comes late, or that finds its source waiting
//! for an answer, loses nothing.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reports::plan::Plan;
use tokio::sync::Notify;

/// From when the schedule is made to when its first message is due: time for the thread to start
/// and for 10,000 sources to get ready, so that the first ones are no later than the others.
const START_LEAD: Duration = Duration::from_millis(50);

/// How far the kernel may put off the end of the scheduler's sleep to save a wake-up, in
/// nanoseconds. The default is 50,000; this is the least there is.
const TIMER_SLACK_NS: NonZeroU64 = NonZeroU64::MIN;

/// The due times of a run, and how far it has come.
#[derive(Debug)]
pub struct Schedule {
    /// When every event is due, counted from `started_at`.
    plan: Plan,
    /// When event 0 is due.
    started_at: Instant,
    /// Events in the whole run.
    n_events: u64,
    /// Events that are due by now: those numbered below this.
    n_released: AtomicU64,
    /// Set once: nothing more is to be sent.
    is_stopped: AtomicBool,
    /// Where each source waits for its next event.
    sources: Box<[Notify]>,
}

impl Schedule {
    /// A schedule by which each of `n_sources` sends `n_messages`, one every `interval`. An
    /// interval of zero makes every message due when it is sent.
    pub fn new(n_sources: u64, n_messages: u64, interval: Duration) -> Self {
        let plan = Plan::new(n_sources, interval);
        let lead = if plan.is_at_once() { Duration::ZERO } else { START_LEAD };
        Self {
            plan,
            started_at: Instant::now() + lead,
            n_events: n_sources * n_messages,
            n_released: AtomicU64::new(if plan.is_at_once() { u64::MAX } else { 0 }),
            is_stopped: AtomicBool::new(false),
            sources: (0..n_sources).map(|_| Notify::new()).collect(),
        }
    }

    /// When the first message is due.
    pub fn started_at(&self) -> Instant {
        self.started_at
    }

    /// Whether messages have due times at all; without, each is due when it is sent.
    pub fn has_due_times(&self) -> bool {
        !self.plan.is_at_once()
    }

    /// Messages a second that the schedule asks for; 0 without due times.
    pub fn per_second(&self) -> f64 {
        let interval = self.plan.due(self.n_sources());
        if interval.is_zero() { 0.0 } else { self.n_sources() as f64 / interval.as_secs_f64() }
    }

    /// How long after the start `n` messages take, the last one's own interval not counted.
    pub fn planned(&self, n: u64) -> Duration {
        self.plan.due(n.saturating_sub(1))
    }

    /// When message number `n` (0, 1, …) of `source` is due, if it is sent at `sent_at`.
    pub fn due_at(&self, source: u64, n: u64, sent_at: Instant) -> Instant {
        if !self.has_due_times() {
            return sent_at;
        }
        self.started_at + self.plan.due(source + n * self.n_sources())
    }

    /// Waits until message number `n_sent` of `source` is due, and says how many are due from it
    /// on; 0 means that nothing more is to be sent.
    pub async fn n_overdue(&self, source: u64, n_sent: u64) -> u64 {
        let notified = &self.sources[usize::try_from(source).expect("it is one of the sources")];
        loop {
            if self.is_stopped.load(Ordering::Acquire) {
                return 0;
            }
            let n_released = self.n_released.load(Ordering::Acquire);
            // The source's events are source, source + n_sources, …: these are below n_released.
            let n_due = n_released.saturating_sub(source).div_ceil(self.n_sources());
            if n_due > n_sent {
                return n_due - n_sent;
            }
            notified.notified().await;
        }
    }

    /// Sources that share the plan.
    fn n_sources(&self) -> u64 {
        self.sources.len() as u64
    }

    /// Releases every event when it is due, until the last one or the stop.
    fn release_on_time(&self) {
        // Refused only where the kernel has no such setting; sleeps then end 50 µs later.
        let _ = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK_NS));
        let mut n_released = 0;
        while n_released < self.n_events && !self.is_stopped.load(Ordering::Acquire) {
            let due_at = self.started_at + self.plan.due(n_released);
            let now = Instant::now();
            if now < due_at {
                // Parked rather than asleep, so that a stop need not wait for the next due time.
                // It is the same precise wait, and one that ends early is begun again.
                std::thread::park_timeout(due_at - now);
                continue;
            }
            let n_due = self.plan.n_due(now - self.started_at).min(self.n_events);
            self.n_released.store(n_due, Ordering::Release);
            let n_to_wake = (n_due - n_released).min(self.n_sources());
            for event in n_released..n_released + n_to_wake {
                let source = event % self.n_sources();
                self.sources[usize::try_from(source).expect("it is one of the sources")]
                    .notify_one();
            }
            n_released = n_due;
        }
    }
}

/// The scheduler thread. Dropping it stops the schedule and ends the thread.
#[derive(Debug)]
pub struct Scheduler {
    /// The schedule that it keeps.
    schedule: Arc<Schedule>,
    /// The thread; none when nothing has a due time.
    thread: Option<JoinHandle<()>>,
}

impl Scheduler {
    /// Starts releasing the events of `schedule`.
    pub fn start(schedule: Arc<Schedule>) -> std::io::Result<Self> {
        let thread = if schedule.has_due_times() {
            let schedule = Arc::clone(&schedule);
            let builder = std::thread::Builder::new().name("scheduler".to_owned());
            Some(builder.spawn(move || schedule.release_on_time())?)
        } else {
            None
        };
        Ok(Self { schedule, thread })
    }

    /// Makes every source stop after the request that it has in flight.
    pub fn stop(&self) {
        self.schedule.is_stopped.store(true, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        self.schedule.sources.iter().for_each(Notify::notify_one);
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already, and the run has ended.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A schedule of 4 sources that has come to event `n_released`.
    fn at(n_released: u64) -> Schedule {
        let schedule = Schedule::new(4, 10, Duration::from_millis(100));
        schedule.n_released.store(n_released, Ordering::Release);
        schedule
    }

    #[tokio::test]
    async fn a_source_has_as_many_due_as_its_turns_have_come() {
        // Events 0..=9 are due: sources 0 and 1 have had three turns, 2 and 3 two.
        let schedule = at(10);
        assert_eq!(schedule.n_overdue(0, 0).await, 3);
        assert_eq!(schedule.n_overdue(1, 2).await, 1);
        assert_eq!(schedule.n_overdue(2, 0).await, 2);
        assert_eq!(schedule.n_overdue(3, 1).await, 1);
    }

    #[tokio::test]
    async fn sources_are_staggered_over_the_interval() {
        let schedule = Schedule::new(4, 10, Duration::from_millis(100));
        let due = |source, n| schedule.due_at(source, n, Instant::now()) - schedule.started_at();
        assert_eq!(due(0, 0), Duration::ZERO);
        assert_eq!(due(1, 0), Duration::from_millis(25));
        assert_eq!(due(3, 2), Duration::from_millis(275));
        assert_eq!(schedule.planned(5), Duration::from_millis(100));
    }

    #[tokio::test]
    async fn without_an_interval_everything_is_due_when_it_is_sent() {
        let schedule = Schedule::new(2, 10, Duration::ZERO);
        assert!(schedule.n_overdue(1, 9).await > 1_000_000);
        let now = Instant::now();
        assert_eq!(schedule.due_at(1, 9, now), now);
    }

    #[tokio::test]
    async fn the_thread_releases_each_source_in_its_turn_and_not_before() {
        let schedule = Arc::new(Schedule::new(2, 2, Duration::from_millis(10)));
        let _scheduler = Scheduler::start(Arc::clone(&schedule)).unwrap();
        for (source, n_sent) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            assert!(schedule.n_overdue(source, n_sent).await >= 1);
            assert!(Instant::now() >= schedule.due_at(source, n_sent, Instant::now()));
        }
    }

    #[tokio::test]
    async fn a_stop_wakes_sources_and_thread_long_before_the_next_due_time() {
        let schedule = Arc::new(Schedule::new(2, 2, Duration::from_hours(1)));
        let scheduler = Scheduler::start(Arc::clone(&schedule)).unwrap();
        let waiting = schedule.n_overdue(1, 0);
        scheduler.stop();
        assert_eq!(waiting.await, 0);
        drop(scheduler);
    }
}
