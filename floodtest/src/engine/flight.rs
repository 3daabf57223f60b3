//! How many connects may be on their way at once when they are made as fast as possible.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::opening::{Opening, Stage};

/// Connects that may be on their way in all processes of a run. The smallest listen backlog in use
/// is 128 (Rust's and old Linux' default); a connect that overruns it is tried again by the kernel
/// after a whole second.
const MAX_IN_FLIGHT: usize = 100;

/// How long a connection whose request was sent still counts as one on its way, unless its head
/// comes before. The kernel completes a connect before the server accepts it, so that one without a
/// head may still be in the backlog; servers that answer at once are not silent for so long unless
/// they stand still.
const GRACE: Duration = Duration::from_millis(250);

/// The shortest that it becomes, for servers that accept and send their heads late: 10,000 a
/// second.
const MIN_GRACE: Duration = Duration::from_millis(10);

/// The connects on their way.
#[derive(Debug)]
pub(super) struct Flight {
    /// How many there are.
    pub(super) n: usize,
    /// No row before this one is counted.
    pub(super) first_row: usize,
    /// How long one counts that waits for its head. Halved as long as connects do not hang: after a
    /// few rounds more of them wait for their heads than a backlog takes, so that the server does
    /// accept them.
    pub(super) grace: Duration,
    /// When the next one will no longer be counted, if that is waited for.
    pub(super) wake_at: Option<Instant>,
}

impl Default for Flight {
    fn default() -> Self {
        Self { n: 0, first_row: 0, grace: GRACE, wake_at: None }
    }
}

impl Flight {
    /// Whether another connect may be begun `now`, where at most `max` may be on their way. Those
    /// that are no longer counted are noted in `opening`, which has all that are without a head;
    /// `n_rows` connections were begun so far.
    pub(super) fn has_room(
        &mut self,
        now: Instant,
        max: usize,
        opening: &mut BTreeMap<usize, Opening>,
        n_rows: usize,
    ) -> bool {
        self.wake_at = None;
        if self.n < max {
            return true;
        }
        let (mut first_row, mut next_at, mut is_stuck) = (None, None, false);
        let n_before = self.n;
        for (row, opening) in opening.range_mut(self.first_row..) {
            if !opening.is_in_flight {
                continue;
            }
            let waited = now.saturating_duration_since(opening.since);
            match opening.stage {
                Stage::Waiting if waited >= self.grace => {
                    opening.is_in_flight = false;
                    self.n -= 1;
                    continue;
                }
                Stage::Waiting => {
                    let since = opening.since;
                    next_at = Some(next_at.map_or(since, |at: Instant| at.min(since)));
                }
                Stage::Connecting | Stage::Refused => is_stuck |= waited >= GRACE,
            }
            first_row.get_or_insert(*row);
        }
        self.first_row = first_row.unwrap_or(n_rows);
        if is_stuck {
            // The backlog may be full.
            self.grace = GRACE;
        } else if self.n < n_before {
            self.grace = (self.grace / 2).max(MIN_GRACE);
        }
        self.wake_at = next_at.map(|since| since + self.grace);
        self.n < max
    }

    /// Notes that a head has come for a connection that has waited since `since`.
    pub(super) fn note_head(&mut self, since: Instant) {
        // A server that answers at once may have a short backlog.
        if self.grace < GRACE && since.elapsed() < GRACE {
            self.grace = GRACE;
        }
    }
}

/// Connects that may be on their way in one of `n_processes`.
pub(super) fn max_in_flight(n_processes: u64) -> usize {
    let n_processes = usize::try_from(n_processes).unwrap_or(usize::MAX);
    (MAX_IN_FLIGHT / n_processes).max(1)
}
