//! How long the turns of the loop take, and what its thread uses.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::own::{OwnCounts, Used};

/// How often the kernel is asked, which takes a microsecond or two. A shorter time would show what
/// takes a core for a moment, and that is not looked for.
const EVERY: Duration = Duration::from_secs(1);

/// What the kernel says of the thread that opens it, in nanoseconds: it ran, it waited for a core,
/// and how often it ran.
const SCHEDSTAT: &str = "/proc/thread-self/schedstat";

/// Measures the loop of the thread that makes it.
#[derive(Debug)]
pub(super) struct Meter {
    /// When the loop last had something to do.
    woke_at: Instant,
    /// When the kernel was last asked.
    looked_at: Instant,
    /// What it said.
    used: Used,
    /// Items that had been received.
    items: u64,
    /// Whether connections were being opened as fast as possible then, for which a whole core is
    /// as it should be.
    was_flat_out: bool,
    /// Where it says so. Not all kernels do.
    schedstat: Option<File>,
}

impl Meter {
    /// Begins to measure.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let schedstat = File::open(SCHEDSTAT).ok();
        let mut meter = Self {
            woke_at: now,
            looked_at: now,
            used: Used::default(),
            items: 0,
            was_flat_out: false,
            schedstat,
        };
        meter.used = meter.used_so_far();
        meter
    }

    /// Takes in that the loop has something to do from now on.
    pub(super) fn woke(&mut self) {
        self.woke_at = Instant::now();
    }

    /// Takes in that it has done it `now`.
    pub(super) fn turned(&mut self, now: Instant, own: &mut OwnCounts) {
        own.turns.record(now.saturating_duration_since(self.woke_at));
    }

    /// Asks the kernel, if it is time. `items` is how many came so far; `is_flat_out` whether
    /// connections are being opened as fast as possible.
    pub(super) fn look(
        &mut self,
        now: Instant,
        items: u64,
        is_flat_out: bool,
        own: &mut OwnCounts,
    ) {
        let time = now.saturating_duration_since(self.looked_at);
        if time < EVERY {
            return;
        }
        let used = self.used_so_far();
        if !self.was_flat_out {
            let since = Used {
                ran_s: used.ran_s - self.used.ran_s,
                waited_s: used.waited_s - self.used.waited_s,
            };
            own.second(time.as_secs_f64(), since, items - self.items);
        }
        (self.looked_at, self.used, self.items) = (now, used, items);
        self.was_flat_out = is_flat_out;
    }

    /// What the thread has used.
    fn used_so_far(&self) -> Used {
        let mut text = [0; 96];
        let n = self.schedstat.as_ref().and_then(|file| file.read_at(&mut text, 0).ok());
        let text = std::str::from_utf8(&text[..n.unwrap_or(0)]).unwrap_or_default();
        let mut numbers = text.split_ascii_whitespace().map_while(|number| number.parse().ok());
        let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
        if let (Some(ran), Some(waited)) = (numbers.next(), numbers.next()) {
            return Used { ran_s: seconds(ran), waited_s: seconds(waited) };
        }
        // Without it only that the loop takes a whole core is seen.
        let ran = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime));
        Used { ran_s: ran.unwrap_or_default().as_secs_f64(), waited_s: 0.0 }
    }
}
