//! Workers as the run sees them, wherever they are.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use reports::books::HostReport;
use reports::latency::Latency;

use super::counted::Counted;
use crate::clocks::origin::Origin;
use crate::error::Error;

/// A way to one worker or several.
pub(super) trait Link {
    /// What becomes readable when something was said.
    fn fd(&self) -> BorrowedFd<'_>;

    /// What is known of the workers there.
    fn counted(&self) -> &[Counted];

    /// The same, to take from.
    fn counted_mut(&mut self) -> &mut [Counted];

    /// Whether a word may still come from there.
    fn is_open(&self) -> bool;

    /// Tells the workers when the run begins, by this machine's monotonic clock.
    fn begin(&mut self, start_us: i64) -> Result<(), Error>;

    /// Asks for the counts.
    fn ask(&mut self);

    /// Asks all to end.
    fn stop(&mut self);

    /// Takes in what was said; whether that was more than an answer.
    fn listen(&mut self) -> Result<bool, Error>;

    /// Does what is due; whether there is news.
    fn tend(&mut self, _: Instant) -> bool {
        false
    }

    /// When something is due.
    fn next_at(&self) -> Option<Instant> {
        None
    }

    /// Ends it by force.
    fn kill(&mut self);

    /// What is to be said of what went wrong there, once.
    fn notices(&mut self) -> Vec<String>;

    /// Whether it has something left to do when its workers have ended.
    fn is_ending(&self) -> bool {
        false
    }

    /// Sends word of how its clock is to be read by that of the sender, if there is news of either.
    fn correct(&mut self, _: &Origin, _has_new_origin: bool) {}

    /// What is reported of the host by itself, if it is another one.
    fn report(&self) -> Option<HostReport> {
        None
    }

    /// The delays from due to receipt there, under the host's name, if it is another one.
    fn delays(&self) -> Option<(String, Latency)> {
        None
    }

    /// Whether one of its workers has not ended.
    fn is_running(&self) -> bool {
        self.counted().iter().any(Counted::is_running)
    }
}
