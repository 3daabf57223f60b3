//! How connections come back that were closed at once: by a storm, or because the server was away.
//!
//! All of it can be added up over processes exactly: when places were back, and how many connects
//! were begun, are counts in bins of 10 ms since the start of the run, which is the same for all.

use std::collections::BTreeMap;

use reports::books::{ByReason, Settle};
use reports::latency::{Latency, LatencyCounts, LatencySummary};
use serde::{Deserialize, Serialize};

use crate::reason::Reason;

/// Milliseconds of a bin: how exact the times are.
const BIN_MS: u32 = 10;

/// Bins of one second, in which the most connects are looked for.
const BINS_PER_S: u32 = 1_000 / BIN_MS;

/// Bins that are kept for each, which take about 1 MB: ten minutes in which something happens all
/// the time. What comes later is counted in the last of them.
const MAX_BINS: usize = 60_000;

/// Two processes notice the same absence of a server at moments that are no further apart than
/// this.
const SAME_ABSENCE_MS: u32 = 2_000;

/// What closed the connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Cause {
    /// The storm of this number, of so many percent.
    Storm(usize, f64),
    /// The server was away.
    Away,
}

/// The delays of its three times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Delays {
    /// What all delays were when each time began, and when the last one ended; as far as that has
    /// happened.
    Begun {
        /// The time before.
        before: LatencyCounts,
        /// The time of it.
        during: LatencyCounts,
        /// The time after.
        after: Option<LatencyCounts>,
        /// The end.
        end: Option<LatencyCounts>,
    },
    /// Those of the time before, of it, and after.
    Known(Box<[LatencyCounts; 3]>),
}

/// How connections come back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settling {
    /// What closed them.
    pub(crate) cause: Cause,
    /// When the first of them closed, in milliseconds after the start of the run.
    pub(crate) at_ms: u32,
    /// When the latest of them closed.
    pub(crate) latest_ms: u32,
    /// How many closed.
    pub(crate) closed: u64,
    /// How many are back.
    pub(crate) back: u64,
    /// When they were back, in bins.
    back_at: BTreeMap<u32, u32>,
    /// When connects were begun.
    begun_at: BTreeMap<u32, u32>,
    /// Why connects failed.
    failed: Vec<(Reason, u64)>,
    /// The delays of messages.
    delays: Delays,
    /// What is reported of them, once they do not change any more: a run may have many of these,
    /// and reports are made between two looks at the sockets.
    #[serde(skip)]
    summaries: Option<Box<[LatencySummary; 3]>>,
}

/// Counts one in the bin of a time.
fn count(bins: &mut BTreeMap<u32, u32>, at_ms: u32) {
    let bin = at_ms / BIN_MS;
    let bin = if bins.len() >= MAX_BINS && !bins.contains_key(&bin) {
        bins.last_key_value().map_or(bin, |(last, _)| *last)
    } else {
        bin
    };
    *bins.entry(bin).or_default() += 1;
}

/// Adds the bins of another process.
fn add(bins: &mut BTreeMap<u32, u32>, others: &BTreeMap<u32, u32>) {
    for (bin, n) in others {
        *bins.entry(*bin).or_default() += n;
    }
}

/// What is reported of the delays of three times.
fn summaries(delays: &[LatencyCounts; 3]) -> [LatencySummary; 3] {
    delays.clone().map(|counts| Latency::from(counts).summary())
}

/// Delays of both.
fn sum(one: &LatencyCounts, other: &LatencyCounts) -> LatencyCounts {
    let mut sum = Latency::from(one.clone());
    sum.merge(&Latency::from(other.clone()));
    sum.counts()
}

impl Settling {
    /// One that begins at `at_ms`. The delays so far are `delivery`, and were `before` when the
    /// time before it began.
    pub(crate) fn new(cause: Cause, at_ms: u32, before: LatencyCounts, delivery: &Latency) -> Self {
        let during = delivery.counts();
        Self {
            cause,
            at_ms,
            latest_ms: at_ms,
            closed: 0,
            back: 0,
            back_at: BTreeMap::new(),
            begun_at: BTreeMap::new(),
            failed: Vec::new(),
            delays: Delays::Begun { before, during, after: None, end: None },
            summaries: None,
        }
    }

    /// Counts one that closed.
    pub(crate) fn closed(&mut self, at_ms: u32) {
        self.closed += 1;
        self.latest_ms = self.latest_ms.max(at_ms);
    }

    /// Counts one that is back.
    pub(crate) fn back(&mut self, at_ms: u32) {
        self.back += 1;
        count(&mut self.back_at, at_ms);
    }

    /// Counts a connect that is begun.
    pub(crate) fn begun(&mut self, at_ms: u32) {
        count(&mut self.begun_at, at_ms);
    }

    /// Counts a connect that failed.
    pub(crate) fn failed(&mut self, reason: Reason) {
        match self.failed.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, n)) => *n += 1,
            None => self.failed.push((reason, 1)),
        }
    }

    /// Whether it goes on.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.delays, Delays::Begun { after: None, .. })
    }

    /// Notes that all are back; the delays so far are `delivery`.
    pub(crate) fn settle(&mut self, delivery: &Latency) {
        if let Delays::Begun { after, .. } = &mut self.delays {
            after.get_or_insert_with(|| delivery.counts());
        }
    }

    /// Notes that the time after it has ended; what the delays were when that began.
    pub(crate) fn end(&mut self, delivery: &Latency) -> Option<LatencyCounts> {
        let Delays::Begun { after, end, .. } = &mut self.delays else { return None };
        let after = after.clone()?;
        end.get_or_insert_with(|| delivery.counts());
        let delays = self.delays(delivery);
        self.summaries = Some(Box::new(summaries(&delays)));
        self.delays = Delays::Known(Box::new(delays));
        Some(after)
    }

    /// The delays of the three times, of which the last that has begun lasts until now.
    fn delays(&self, delivery: &Latency) -> [LatencyCounts; 3] {
        let (before, during, after, end) = match &self.delays {
            Delays::Known(delays) => return (**delays).clone(),
            Delays::Begun { before, during, after, end } => (before, during, after, end),
        };
        let until = |end: Option<&LatencyCounts>, start: &LatencyCounts| match end {
            Some(end) => Latency::from(end.clone()).since(start).counts(),
            None => delivery.since(start).counts(),
        };
        [
            until(Some(during), before),
            until(after.as_ref(), during),
            after.as_ref().map(|after| until(end.as_ref(), after)).unwrap_or_default(),
        ]
    }

    /// Adds one of another process, whose delays are `delivery` in all, to those of a run.
    pub(crate) fn merge_into(&self, all: &mut Vec<Self>, delivery: &Latency) {
        let delays = self.delays(delivery);
        let is_same = |other: &Self| match (&self.cause, &other.cause) {
            (Cause::Storm(one, _), Cause::Storm(other, _)) => one == other,
            (Cause::Away, Cause::Away) => {
                // It may have begun in one while it went on in the other.
                let (first, second) =
                    if self.at_ms < other.at_ms { (self, other) } else { (other, self) };
                second.at_ms <= first.latest_ms.saturating_add(SAME_ABSENCE_MS)
            }
            _ => false,
        };
        let Some(known) = all.iter_mut().find(|other| is_same(other)) else {
            let known = Delays::Known(Box::new(delays));
            all.push(Self { delays: known, summaries: None, ..self.clone() });
            all.sort_by_key(|settling| settling.at_ms);
            return;
        };
        let [before, during, after] = known.delays(delivery);
        let [more_before, more_during, more_after] = &delays;
        known.delays = Delays::Known(Box::new([
            sum(&before, more_before),
            sum(&during, more_during),
            sum(&after, more_after),
        ]));
        known.at_ms = known.at_ms.min(self.at_ms);
        known.latest_ms = known.latest_ms.max(self.latest_ms);
        known.closed += self.closed;
        known.back += self.back;
        add(&mut known.back_at, &self.back_at);
        add(&mut known.begun_at, &self.begun_at);
        for (reason, n) in &self.failed {
            match known.failed.iter_mut().find(|(known, _)| known == reason) {
                Some((_, known)) => *known += n,
                None => known.failed.push((*reason, *n)),
            }
        }
    }

    /// Seconds from its beginning until so many of a hundred were back; `None` if they are not.
    fn after_s(&self, percent: u64) -> Option<f64> {
        let n_wanted = (self.closed * percent).div_ceil(100);
        if n_wanted == 0 {
            return None;
        }
        let mut n_back = 0;
        let bin = self.back_at.iter().find(|(_, n)| {
            n_back += u64::from(**n);
            n_back >= n_wanted
        });
        // They were back at the end of the bin at the latest.
        let at_ms = bin.map(|(bin, _)| (u64::from(*bin) + 1) * u64::from(BIN_MS))?;
        Some(at_ms.saturating_sub(self.at_ms.into()) as f64 / 1e3)
    }

    /// The most connects that were begun within a second, wherever that begins.
    fn peak_connects_per_s(&self) -> u64 {
        let (mut n, mut peak) = (0, 0);
        let mut first = self.begun_at.iter().peekable();
        for (bin, more) in &self.begun_at {
            n += u64::from(*more);
            while let Some((_, less)) = first.next_if(|(at, _)| **at + BINS_PER_S <= *bin) {
                n -= u64::from(*less);
            }
            peak = peak.max(n);
        }
        peak
    }

    /// What is reported of it; the delays so far are `delivery`.
    pub(crate) fn report(&self, delivery: &Latency) -> Settle {
        let known = self.summaries.as_deref().cloned();
        let [before, during, after] = known.unwrap_or_else(|| summaries(&self.delays(delivery)));
        let mut failed = ByReason::new();
        for (reason, n) in &self.failed {
            *failed.entry(reason.to_string()).or_default() += n;
        }
        Settle {
            cause: match self.cause {
                Cause::Storm(_, percent) => format!("storm {percent}%"),
                Cause::Away => "server away".to_owned(),
            },
            at_s: f64::from(self.at_ms) / 1e3,
            closed: self.closed,
            back: self.back,
            t50_s: self.after_s(50),
            t95_s: self.after_s(95),
            t100_s: self.after_s(100),
            peak_connects_per_s: self.peak_connects_per_s(),
            failed,
            delivery_before: before,
            delivery_during: during,
            delivery_after: after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Delays of so many milliseconds each.
    fn delays(ms: &[u64]) -> Latency {
        let mut delays = Latency::default();
        for ms in ms {
            delays.record_us(ms * 1_000);
        }
        delays
    }

    /// One that began at 1 s, with these that came back at those times.
    fn settling(closed: u64, back_ms: &[u32]) -> Settling {
        let mut settling =
            Settling::new(Cause::Away, 1_000, LatencyCounts::default(), &Latency::default());
        (0..closed).for_each(|_| settling.closed(1_000));
        for ms in back_ms {
            settling.back(*ms);
        }
        settling
    }

    #[test]
    fn times_are_those_of_the_last_that_it_takes() {
        let back: Vec<u32> = (1..=100).map(|n| 1_000 + n * 20).collect();
        let report = settling(100, &back).report(&Latency::default());
        let times = (report.t50_s, report.t95_s, report.t100_s);
        assert_eq!(times, (Some(1.01), Some(1.91), Some(2.01)));
        let report = settling(100, &back[..96]).report(&Latency::default());
        assert_eq!((report.t95_s, report.t100_s, report.back), (Some(1.91), None, 96));
        assert_eq!(settling(0, &[]).report(&Latency::default()).t50_s, None);
    }

    #[test]
    fn the_peak_is_that_of_any_second() {
        let mut settling = settling(1, &[]);
        for ms in [1_000, 1_900, 1_950, 2_100, 2_850, 4_000] {
            settling.begun(ms);
        }
        assert_eq!(settling.peak_connects_per_s(), 4);
    }

    #[test]
    fn delays_are_those_of_their_time() {
        let mut all = delays(&[1, 1]);
        let mut settling = Settling::new(Cause::Away, 0, LatencyCounts::default(), &all);
        all.merge(&delays(&[50]));
        let during = settling.report(&all);
        assert_eq!((during.delivery_before.count, during.delivery_during.count), (2, 1));
        assert_eq!(during.delivery_after.count, 0);
        settling.settle(&all);
        all.merge(&delays(&[2, 2, 2]));
        let after = settling.report(&all);
        assert_eq!((after.delivery_during.count, after.delivery_after.count), (1, 3));
        assert_eq!(after.delivery_during.max_us, 50_000);
        settling.end(&all);
        all.merge(&delays(&[9]));
        assert_eq!(settling.report(&all).delivery_after.count, 3);
    }

    #[test]
    fn processes_add_up_to_one_run() {
        let (mut one, mut other) = (settling(2, &[1_100, 1_300]), settling(3, &[1_200, 1_400]));
        other.at_ms = 1_050;
        one.begun(1_100);
        other.begun(1_105);
        other.failed(Reason::Refused);
        let mut all = Vec::new();
        one.merge_into(&mut all, &delays(&[5]));
        other.merge_into(&mut all, &delays(&[7, 9]));
        assert_eq!(all.len(), 1);
        let report = all[0].report(&Latency::default());
        assert_eq!((report.closed, report.back, report.at_s), (5, 4, 1.0));
        assert_eq!((report.t50_s, report.t100_s), (Some(0.31), None));
        assert_eq!((report.peak_connects_per_s, report.failed["refused"]), (2, 1));
        assert_eq!(report.delivery_during.count, 3);
        let mut later = settling(1, &[]);
        (later.at_ms, later.latest_ms) = (60_000, 60_000);
        later.merge_into(&mut all, &Latency::default());
        assert_eq!(all.len(), 2, "the server was away twice");
    }
}
