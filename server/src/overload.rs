//! What to do when the operating system has run out of something: wait a little, and say so once.

use std::time::{Duration, Instant};

/// How long accepting pauses when descriptors or memory have run out. Short enough that a client
/// hardly notices once there is room again, long enough to cost nothing.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// How often running out is logged, at most.
const COMPLAINT_PERIOD: Duration = Duration::from_secs(10);

/// Says when to log, once a period, what happens many times a second.
#[derive(Debug, Default)]
pub(crate) struct Complaint(Option<Instant>);

impl Complaint {
    /// Whether it is time; then it is not for a while.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.0.is_none_or(|at| now - at >= COMPLAINT_PERIOD);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}
