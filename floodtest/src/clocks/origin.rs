//! The clock that messages are stamped by.

use reports::books::ClockReport;
use reports::stamp::{as_us, wall_now};

use super::Exchange;
use super::correction::Correction;
use super::host::HostClock;
use crate::workers::monotonic;

/// How often the two clocks of this machine are read to be told apart by as little as possible.
const N_READINGS: usize = 16;

/// The wall clock of this machine minus its monotonic one, now, in microseconds. A sender reads it
/// once, when it starts, and its stamps have times of its monotonic clock and this.
pub(crate) fn zero_us() -> i64 {
    let readings = (0..N_READINGS).map(|_| {
        let before_us = monotonic::now_us();
        let wall_us = i64::try_from(as_us(wall_now())).unwrap_or(i64::MAX);
        let after_us = monotonic::now_us();
        (after_us - before_us, wall_us - before_us.midpoint(after_us))
    });
    readings.min().expect("there are some").1
}

/// The clock that messages are stamped by: that of the host where msggen runs.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The wall clock of that host minus its monotonic one, in microseconds.
    zero_us: i64,
    /// Its monotonic clock, if that is not the parent's.
    clock: Option<HostClock>,
}

impl Origin {
    /// The parent's clock, which is this machine's.
    pub(crate) fn here() -> Self {
        Self { zero_us: zero_us(), clock: None }
    }

    /// The clock of another host (`--sender-host`), which said that its [`zero_us`] is this.
    pub(crate) fn at_host(zero_us: i64) -> Self {
        Self { zero_us, clock: Some(HostClock::new()) }
    }

    /// Takes in a burst of exchanges with that host. Corrections made before are to be made anew.
    pub(crate) fn add(&mut self, burst: &[Exchange]) {
        if let Some(clock) = &mut self.clock {
            clock.add(burst);
        }
    }

    /// As [`HostClock::heard`].
    pub(crate) fn heard(&mut self, exchange: Exchange) {
        if let Some(clock) = &mut self.clock {
            clock.heard(exchange);
        }
    }

    /// From a host's monotonic clock to the time of stamps, in microseconds since the Unix epoch:
    /// what the host's workers are sent. `host` is the correction to the parent's clock. `None` as
    /// long as nothing is known of the other host's clock.
    pub(crate) fn unix(&self, host: Correction) -> Option<Correction> {
        let zero = Correction::ahead(self.zero_us);
        let Some(clock) = &self.clock else { return Some(host.then(zero)) };
        Some(host.then(clock.correction()?.inverse()).then(zero))
    }

    /// The same for workers on that very host, whose clock needs no other.
    pub(crate) fn unix_there(&self) -> Correction {
        Correction::ahead(self.zero_us)
    }

    /// How far the zero of a sender, as it announced it, is from the one that was reckoned with, in
    /// microseconds.
    pub(crate) fn off_by_us(&self, announced_zero_us: i64) -> u64 {
        self.zero_us.abs_diff(announced_zero_us)
    }

    /// What is known of that host's clock when all is over; `None` if it is the parent's.
    pub(crate) fn finish(&self) -> Option<ClockReport> {
        self.clock.as_ref()?.finish()
    }
}
