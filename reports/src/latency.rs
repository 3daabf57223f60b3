//! Delays, recorded whole and summarised once.

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

use crate::stamp::as_us;

/// The longest delay that is told from a longer one, in microseconds: 24 hours, a whole run.
const HIGHEST_US: u64 = 24 * 60 * 60 * 1_000_000;

/// Significant digits of a recorded delay: an error of at most 0.1 %.
const SIGNIFICANT_DIGITS: u8 = 3;

/// A histogram of delays, in microseconds.
///
/// Its memory is fixed and does not grow with the number of delays: about 30 × 1,024 counts.
#[derive(Debug, Clone)]
pub struct Latency {
    /// The recorded delays.
    histogram: Histogram<u64>,
    /// The exact largest one; the histogram's own is rounded up to its bucket's end.
    max_us: u64,
    /// Delays that came out negative because two clocks differ. They are in no percentile.
    n_negative: u64,
}

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, HIGHEST_US, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that the crate allows");
        Self { histogram, max_us: 0, n_negative: 0 }
    }
}

impl Latency {
    /// Records one delay. One of more than 24 hours counts as 24 hours in the percentiles.
    pub fn record(&mut self, delay: Duration) {
        self.record_us(as_us(delay));
    }

    /// Records one delay given in microseconds.
    pub fn record_us(&mut self, delay_us: u64) {
        self.histogram.saturating_record(delay_us);
        self.max_us = self.max_us.max(delay_us);
    }

    /// Records the delay between two wall times of possibly different clocks, in microseconds. A
    /// negative one is counted as `negative`, never clamped to zero.
    pub fn record_between_us(&mut self, from_unix_us: u64, to_unix_us: u64) {
        match to_unix_us.checked_sub(from_unix_us) {
            Some(delay_us) => self.record_us(delay_us),
            None => self.n_negative += 1,
        }
    }

    /// Takes in all that `other` has recorded.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("both have the same bounds");
        self.max_us = self.max_us.max(other.max_us);
        self.n_negative += other.n_negative;
    }

    /// All of it, for the log.
    pub(crate) fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// The delays that a log has. The largest is as exact as the histogram. `None` if they are too
    /// long for a histogram of this kind.
    pub(crate) fn from_histogram(histogram: Histogram<u64>) -> Option<Self> {
        let max_us = histogram.max();
        let bounds = (histogram.low(), histogram.high(), histogram.sigfig());
        // One of our own is taken as it is. A log of an hour has thousands, of 230 KB each.
        if bounds == (1, HIGHEST_US, SIGNIFICANT_DIGITS) {
            return Some(Self { histogram, max_us, n_negative: 0 });
        }
        let mut latency = Self { max_us, ..Self::default() };
        latency.histogram.add(&histogram).ok()?;
        Some(latency)
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.histogram.reset();
        (self.max_us, self.n_negative) = (0, 0);
    }

    /// How many delays were recorded, the negative ones not counted.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The delay that this part of all delays, from 0 to 1, did not exceed, in microseconds. 0 if
    /// there are none.
    pub fn at_quantile_us(&self, quantile: f64) -> u64 {
        self.histogram.value_at_quantile(quantile).min(self.max_us)
    }

    /// The figures that are published.
    pub fn summary(&self) -> LatencySummary {
        if self.count() == 0 {
            // Each figure is looked for in all of the histogram, and a report has many of these.
            return LatencySummary { negative: self.n_negative, ..LatencySummary::default() };
        }
        let at = |quantile| self.at_quantile_us(quantile);
        LatencySummary {
            count: self.histogram.len(),
            negative: self.n_negative,
            mean_us: self.histogram.mean(),
            p50_us: at(0.50),
            p90_us: at(0.90),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: self.max_us,
            is_unknown: false,
        }
    }
}

/// All that a [`Latency`] has recorded, in as much memory as that takes. It is how one process
/// tells another, and how a moment is kept to be compared with a later one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyCounts {
    /// Delays in microseconds as they are told apart, each with how often it was recorded; the
    /// shortest first.
    counts: Vec<(u64, u64)>,
    /// The exact largest one.
    max_us: u64,
    /// Delays that came out negative.
    n_negative: u64,
}

impl Latency {
    /// All of it.
    pub fn counts(&self) -> LatencyCounts {
        let recorded = self.histogram.iter_recorded();
        let counts = recorded.map(|it| (it.value_iterated_to(), it.count_at_value())).collect();
        LatencyCounts { counts, max_us: self.max_us, n_negative: self.n_negative }
    }

    /// What was recorded since `before`, of which this is a later state. A largest delay that is
    /// not the largest of all is as exact as the histogram.
    #[must_use]
    pub fn since(&self, before: &LatencyCounts) -> Self {
        let mut since = Self { n_negative: self.n_negative - before.n_negative, ..Self::default() };
        let mut before = before.counts.iter().peekable();
        for it in self.histogram.iter_recorded() {
            let (delay_us, n) = (it.value_iterated_to(), it.count_at_value());
            let n_before =
                before.next_if(|(known_us, _)| *known_us == delay_us).map_or(0, |it| it.1);
            if n > n_before {
                since.histogram.saturating_record_n(delay_us, n - n_before);
                since.max_us = delay_us.min(self.max_us);
            }
        }
        since
    }
}

impl From<LatencyCounts> for Latency {
    fn from(LatencyCounts { counts, max_us, n_negative }: LatencyCounts) -> Self {
        let mut latency = Self { max_us, n_negative, ..Self::default() };
        for (delay_us, n) in counts {
            latency.histogram.saturating_record_n(delay_us, n);
        }
        latency
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.counts().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LatencyCounts::deserialize(deserializer).map(Self::from)
    }
}

/// The figures of a [`Latency`] that are published, in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// How many delays there were.
    pub count: u64,
    /// How many more came out negative because two clocks differ.
    #[serde(alias = "clock")]
    pub negative: u64,
    /// Their mean.
    pub mean_us: f64,
    /// The median.
    pub p50_us: u64,
    /// 90 % were no longer than this.
    pub p90_us: u64,
    /// 99 % were no longer than this.
    pub p99_us: u64,
    /// 99.9 % were no longer than this.
    pub p999_us: u64,
    /// 99.99 % were no longer than this. Older reports do not have it.
    #[serde(default)]
    pub p9999_us: u64,
    /// The longest.
    pub max_us: u64,
    /// Whether there were delays between clocks of which too little is known to tell them. Then
    /// there is no figure, and in a report this is null.
    #[serde(skip)]
    pub is_unknown: bool,
}

impl LatencySummary {
    /// That of delays that cannot be told.
    pub fn unknown() -> Self {
        Self { is_unknown: true, ..Self::default() }
    }
}

/// For a field of a report that is null where delays are unknown.
pub(crate) mod or_null {
    use super::{Deserialize, Deserializer, LatencySummary, Serialize, Serializer};

    /// Writes null for what is unknown.
    pub(crate) fn serialize<S: Serializer>(
        summary: &LatencySummary,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if summary.is_unknown { serializer.serialize_none() } else { summary.serialize(serializer) }
    }

    /// Reads what is unknown from null.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<LatencySummary, D::Error> {
        let summary = Option::<LatencySummary>::deserialize(deserializer)?;
        Ok(summary.unwrap_or_else(LatencySummary::unknown))
    }
}

/// One line for people, in milliseconds.
impl std::fmt::Display for LatencySummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_unknown {
            write!(f, "unknown: the clocks are")?;
        } else if self.count == 0 {
            write!(f, "none recorded")?;
        } else {
            let ms = |us: u64| us as f64 / 1_000.0;
            write!(
                f,
                "p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms, max {:.3} ms (n = {})",
                ms(self.p50_us),
                ms(self.p90_us),
                ms(self.p99_us),
                ms(self.p999_us),
                ms(self.max_us),
                self.count
            )?;
        }
        if self.negative > 0 {
            write!(f, "; {} negative: the clocks differ", self.negative)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_recorded_delays() {
        let mut latency = Latency::default();
        (1..=1_000).for_each(|us| latency.record_us(us));
        let summary = latency.summary();
        assert_eq!((summary.p50_us, summary.p99_us, summary.max_us), (500, 990, 1_000));
        assert_eq!(summary.count, 1_000);
    }

    #[test]
    fn a_negative_delay_is_counted_and_in_no_percentile() {
        let mut latency = Latency::default();
        latency.record_between_us(1_000, 900);
        latency.record_between_us(1_000, 1_250);
        let summary = latency.summary();
        assert_eq!((summary.negative, summary.count, summary.p50_us), (1, 1, 250));
        assert!(summary.to_string().ends_with("1 negative: the clocks differ"));
    }

    #[test]
    fn the_maximum_is_exact_and_no_percentile_is_above_it() {
        let mut latency = Latency::default();
        latency.record_us(1_234_567);
        let summary = latency.summary();
        assert_eq!(
            (summary.p50_us, summary.p999_us, summary.max_us),
            (1_234_567, 1_234_567, 1_234_567)
        );
    }

    #[test]
    fn what_one_process_tells_another_is_all_of_it() {
        let mut latency = Latency::default();
        (1..=1_000).for_each(|k| latency.record_us(k * k * k));
        latency.record(Duration::from_hours(100));
        latency.record_between_us(2, 1);
        let told: Latency =
            serde_json::from_str(&serde_json::to_string(&latency).unwrap()).unwrap();
        assert_eq!(told.summary(), latency.summary());
        assert_eq!(told.counts(), latency.counts());
    }

    #[test]
    fn an_interval_is_what_came_since_its_beginning() {
        let mut latency = Latency::default();
        for delay_us in [10, 10, 5_000_000] {
            latency.record_us(delay_us);
        }
        let before = latency.counts();
        assert_eq!(latency.since(&before).summary(), Latency::default().summary());
        for delay_us in [10, 20, 30] {
            latency.record_us(delay_us);
        }
        latency.record_between_us(2, 1);
        let since = latency.since(&before).summary();
        assert_eq!((since.count, since.negative, since.p50_us, since.max_us), (3, 1, 20, 30));
    }

    #[test]
    fn merged_histograms_hold_what_both_had() {
        let (mut left, mut right) = (Latency::default(), Latency::default());
        left.record_us(10);
        right.record_us(30);
        left.merge(&right);
        assert_eq!((left.count(), left.summary().max_us), (2, 30));
    }
}
