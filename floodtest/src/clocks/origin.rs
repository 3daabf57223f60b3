//! The clock that messages are stamped by.

use reports::stamp::{as_us, wall_now};

use super::correction::Correction;
use crate::workers::monotonic;

/// How often the two clocks of this machine are read to be told apart by as little as possible.
const N_READINGS: usize = 16;

/// The wall clock of this machine minus its monotonic one, now, in microseconds. A sender reads it
/// once, when it starts, and its stamps have times of its monotonic clock and this.
fn zero_us() -> i64 {
    let readings = (0..N_READINGS).map(|_| {
        let before_us = monotonic::now_us();
        let wall_us = i64::try_from(as_us(wall_now())).unwrap_or(i64::MAX);
        let after_us = monotonic::now_us();
        (after_us - before_us, wall_us - before_us.midpoint(after_us))
    });
    readings.min().expect("there are some").1
}

/// The clock that messages are stamped by: that of the machine where msggen runs.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The wall clock of that machine minus its monotonic one, in microseconds.
    zero_us: i64,
    /// From its monotonic clock to that of the parent, if it is not the same.
    there: Option<Correction>,
}

impl Origin {
    /// The clock of this machine.
    pub(crate) fn here() -> Self {
        Self { zero_us: zero_us(), there: None }
    }

    /// The clock of another machine (`--sender-host`), which says that its [`Self::zero_us`] is
    /// this, and whose monotonic clock `there` turns into that of the parent.
    pub(crate) fn there(zero_us: i64, there: Correction) -> Self {
        Self { zero_us, there: Some(there) }
    }

    /// Takes in that the other machine's monotonic clock is to be read otherwise.
    pub(crate) fn correct(&mut self, there: Correction) {
        self.there = Some(there);
    }

    /// From a host's monotonic clock to the time of stamps, in microseconds since the Unix epoch:
    /// what the host's workers are sent. `host` is the correction to the parent's clock.
    pub(crate) fn unix(&self, host: Correction) -> Correction {
        let sender = match self.there {
            Some(there) => host.then(there.inverse()),
            None => host,
        };
        sender.then(Correction::ahead(self.zero_us))
    }

    /// What it adds to the monotonic clock, in microseconds.
    pub(crate) fn zero_us(&self) -> i64 {
        self.zero_us
    }

    /// How far the zero of a sender, as it announced it, is from the one that was reckoned with, in
    /// microseconds.
    pub(crate) fn off_by_us(&self, announced_zero_us: i64) -> u64 {
        self.zero_us.abs_diff(announced_zero_us)
    }
}
