//! Who gets the counts of an engine while it runs, and what it leaves.

use std::time::Instant;

use crate::clocks::correction::Correction;
use crate::end::End;
use crate::slow_end::SlowEnd;
use crate::tally::Tally;
use crate::worst::Worst;

/// Who gets the counts of an engine, and says when the run is over.
pub(crate) trait Listener {
    /// When it wants the counts at the latest.
    fn next_at(&self) -> Instant;

    /// The counts `now`; `is_settled` when no connection will be opened any more. The end of the
    /// run if this is it.
    fn tick(&mut self, now: Instant, tally: &Tally, is_settled: bool) -> Option<End>;

    /// The control descriptor is readable. The end of the run if that is what it says.
    fn on_control(&mut self, tally: &Tally) -> Option<End>;

    /// How receipts are to be corrected from now on, if that is what it said.
    fn correction(&mut self) -> Option<Correction> {
        None
    }
}

/// What is left of an engine when it has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// What ended it.
    pub(crate) end: End,
    /// What was counted.
    pub(crate) tally: Tally,
    /// The connections with the most faults in the numbers of their messages.
    pub(crate) worst: Vec<Worst>,
    /// What became of slow readers.
    pub(crate) slow: Vec<SlowEnd>,
}
