//! Samples of any number of days in a bounded amount of memory.
//!
//! Samples are kept in buckets. When there are too many buckets, neighbours are merged in pairs. A
//! bucket keeps the first, the lowest, the highest and the last value of each series, so that no
//! peak is lost, however many samples there are to a column of pixels.

use super::Phase;
use reports::memory_log::Sample;

/// The most buckets: a few for every column of the widest chart, in a megabyte.
const MOST_BUCKETS: usize = 4096;

/// The most marks that are kept. More cannot be read on a chart.
const MOST_MARKS: usize = 100;

/// What is drawn over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Series {
    /// Resident memory.
    Rss,
    /// The anonymous part of it.
    Anon,
    /// The proportional part of it, in which shared pages count once.
    Pss,
    /// Kernel memory for TCP.
    Kernel,
    /// Established connections.
    Connections,
}

/// How many kinds of [`Series`] there are.
const N_SERIES: usize = 5;

/// The values of a series in a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Extent {
    /// The first one.
    pub(crate) first: f64,
    /// The lowest.
    pub(crate) low: f64,
    /// The highest.
    pub(crate) high: f64,
    /// The last one.
    pub(crate) last: f64,
}

impl Extent {
    /// The extent of one value.
    fn of(value: f64) -> Self {
        Self { first: value, low: value, high: value, last: value }
    }

    /// The extent of this and of what follows it.
    fn then(self, next: Self) -> Self {
        let (low, high) = (self.low.min(next.low), self.high.max(next.high));
        Self { first: self.first, low, high, last: next.last }
    }
}

/// Neighbouring samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bucket {
    /// When the first one was taken, in seconds since the log's first.
    pub(crate) begin_s: f64,
    /// When the last one was taken.
    pub(crate) end_s: f64,
    /// Whether samples are missing before it.
    pub(crate) is_after_gap: bool,
    /// How many there are.
    n_samples: u64,
    /// The values of each series that has any.
    extents: [Option<Extent>; N_SERIES],
}

impl Bucket {
    /// The values of a series.
    pub(crate) fn get(&self, series: Series) -> Option<Extent> {
        self.extents[series as usize]
    }

    /// This bucket with the next one in it.
    pub(crate) fn then(&self, next: &Self) -> Self {
        let mut merged = *self;
        merged.end_s = next.end_s;
        merged.n_samples += next.n_samples;
        for (extent, next) in merged.extents.iter_mut().zip(next.extents) {
            *extent = match (*extent, next) {
                (Some(extent), Some(next)) => Some(extent.then(next)),
                (extent, next) => extent.or(next),
            };
        }
        merged
    }
}

/// The samples of a log, in bounded memory.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Neighbouring samples, oldest first.
    buckets: Vec<Bucket>,
    /// Samples that go into a bucket.
    n_per_bucket: u64,
    /// When the first sample was taken, in milliseconds since the Unix epoch.
    first_unix_ms: i64,
    /// Milliseconds by which the wall clock was stepped since then.
    step_ms: i64,
    /// The ports of the last sample, if they are several.
    ports: Vec<u16>,
    /// The most processes that a sample is the sum of.
    n_processes: usize,
    /// Phases that began.
    phases: Vec<Phase>,
    /// Samples so far.
    n_samples: u64,
}

impl History {
    /// A history without samples.
    pub fn new() -> Self {
        Self { n_per_bucket: 1, ..Self::default() }
    }

    /// How many samples it has taken.
    pub fn n_samples(&self) -> u64 {
        self.n_samples
    }

    /// Takes the next sample of the log.
    pub fn push(&mut self, sample: &Sample) {
        let unix_ms = sample.unix_ms().cast_signed();
        if self.n_samples == 0 {
            (self.first_unix_ms, self.n_per_bucket) = (unix_ms, self.n_per_bucket.max(1));
        } else {
            self.step_ms = self.step_ms.saturating_add(sample.step_ms);
        }
        let (zero_ms, last_s) = (self.first_unix_ms.saturating_add(self.step_ms), self.span_s());
        let since_first = |unix_ms: i64| unix_ms.saturating_sub(zero_ms) as f64 / 1_000.0;
        // A clock that was set back between two runs: the log does not say by how much.
        let at_s = since_first(unix_ms).max(last_s);
        self.ports.clear();
        self.ports.extend(sample.ports.iter().map(|on| on.port));
        // One process has no shares: it would be the same figures again.
        self.n_processes = self.n_processes.max(sample.shares.len()).max(1);
        for mark in &sample.marks {
            if self.phases.len() < MOST_MARKS {
                let at_s = mark.unix_ms().map_or(at_s, |it| since_first(it.cast_signed()));
                self.phases.push(Phase { at_s: at_s.max(0.0), text: mark.text.clone() });
            }
        }
        self.n_samples += 1;
        self.add(Bucket {
            begin_s: at_s,
            end_s: at_s,
            is_after_gap: sample.n_missed > 0,
            n_samples: 1,
            extents: [
                Some(Extent::of(sample.rss_kb as f64)),
                sample.anon_kb.map(|kb| Extent::of(kb as f64)),
                sample.pss_kb.map(|kb| Extent::of(kb as f64)),
                sample.kernel_kb().map(|kb| Extent::of(kb as f64)),
                Some(Extent::of(sample.n_connections as f64)),
            ],
        });
    }

    /// Adds a bucket of one sample.
    fn add(&mut self, bucket: Bucket) {
        match self.buckets.last_mut() {
            Some(last) if last.n_samples < self.n_per_bucket && !bucket.is_after_gap => {
                *last = last.then(&bucket);
            }
            _ => self.buckets.push(bucket),
        }
        if self.buckets.len() > MOST_BUCKETS {
            self.n_per_bucket *= 2;
            self.merge(false);
            // With a gap before every other sample, gaps become too narrow to be seen.
            if self.buckets.len() > MOST_BUCKETS / 4 * 3 {
                self.merge(true);
            }
        }
    }

    /// Merges neighbours in pairs; across gaps too, if `with_gaps`. In place: a logger's memory is
    /// to stay what it is.
    fn merge(&mut self, with_gaps: bool) {
        let mut is_pair = false;
        self.buckets.dedup_by(|bucket, last| {
            is_pair = !is_pair && (with_gaps || !bucket.is_after_gap);
            if is_pair {
                *last = last.then(bucket);
            }
            is_pair
        });
    }

    /// When the last sample was taken, in seconds since the first.
    pub(crate) fn span_s(&self) -> f64 {
        self.buckets.last().map_or(0.0, |bucket| bucket.end_s)
    }

    /// The ports whose connections are summed, if they are several.
    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// The most processes whose memory is summed at a time.
    pub(crate) fn n_processes(&self) -> usize {
        self.n_processes
    }

    /// Phases that began.
    pub(crate) fn phases(&self) -> &[Phase] {
        &self.phases
    }

    /// The buckets merged into columns, `column_of` a time; neighbours across a gap stay apart.
    pub(crate) fn columns(&self, column_of: impl Fn(f64) -> i32) -> Vec<Bucket> {
        let mut columns: Vec<Bucket> = Vec::new();
        for bucket in &self.buckets {
            match columns.last_mut() {
                Some(last)
                    if !bucket.is_after_gap
                        && column_of(last.begin_s) == column_of(bucket.begin_s) =>
                {
                    *last = last.then(bucket);
                }
                _ => columns.push(*bucket),
            }
        }
        columns
    }

    /// The highest value of a series. `None` if it has none.
    pub(crate) fn highest(&self, series: Series) -> Option<f64> {
        let values = self.buckets.iter().filter_map(|bucket| Some(bucket.get(series)?.high));
        values.reduce(f64::max)
    }

    /// The lowest value of a series with nobody connected: what is there without connections.
    ///
    /// One connection in a thousand is nobody. The article's log begins with its author's browser.
    pub(crate) fn empty_kb(&self, series: Series) -> Option<f64> {
        /// Part of the most connections that counts as none.
        const NOBODY: f64 = 0.001;
        let nobody = self.highest(Series::Connections)? * NOBODY;
        let is_empty =
            |it: &&Bucket| it.get(Series::Connections).is_some_and(|it| it.low <= nobody);
        let empty = self.buckets.iter().filter(is_empty);
        empty.filter_map(|bucket| Some(bucket.get(series)?.low)).reduce(f64::min)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers, and nothing is computed from them")]
mod tests {
    use super::*;
    use crate::scale::Scale;
    use reports::memory_log::Mark;

    /// A sample at a time.
    fn sample(unix_s: u64, rss_kb: u64) -> Sample {
        Sample { unix_s, rss_kb, n_connections: 1, ..Sample::default() }
    }

    #[test]
    fn a_day_of_seconds_stays_small_and_keeps_its_peak() {
        let mut history = History::new();
        for second in 0..86_400 {
            let rss_kb = if second == 43_210 { 999_999 } else { 40_000 + second % 7 };
            history.push(&sample(1_000_000 + second, rss_kb));
        }
        assert!(history.buckets.len() <= MOST_BUCKETS);
        assert_eq!(history.span_s(), 86_399.0);
        assert_eq!(history.highest(Series::Rss), Some(999_999.0));
        let columns = history.columns(|at_s| Scale::new(86_400.0, 0, 432).px(at_s - 100.0));
        assert!(columns.len() <= 433, "{}", columns.len());
        let n_peaks =
            columns.iter().filter(|it| it.get(Series::Rss).unwrap().high > 50_000.0).count();
        assert_eq!(n_peaks, 1);
        assert_eq!(columns[1].get(Series::Rss).unwrap().low, 40_000.0);
    }

    #[test]
    fn gaps_stay_gaps_and_too_many_stay_bounded() {
        let mut history = History::new();
        for second in 0..100_000 {
            history.push(&Sample { n_missed: 1, ..sample(second, 1) });
        }
        assert!(history.buckets.len() <= MOST_BUCKETS);
        let mut history = History::new();
        for second in 0..100_000 {
            history.push(&Sample { n_missed: u64::from(second == 50_000), ..sample(second, 1) });
        }
        assert_eq!(history.buckets.iter().filter(|it| it.is_after_gap).count(), 1);
    }

    #[test]
    fn steps_of_the_wall_clock_do_not_bend_time() {
        let mut history = History::new();
        history.push(&sample(1_000, 1));
        history.push(&Sample {
            step_ms: 3_600_000,
            marks: vec![Mark::new("now", None), Mark::new("before", Some(4_650))],
            ..sample(4_660, 1)
        });
        history.push(&Sample { step_ms: -3_600_000, ..sample(1_120, 1) });
        assert_eq!(history.span_s(), 120.0);
        let at: Vec<f64> = history.phases().iter().map(|it| it.at_s).collect();
        assert_eq!(at, [60.0, 50.0]);
        history.push(&sample(900, 1));
        assert_eq!(history.span_s(), 120.0, "set back without a word");
    }

    #[test]
    fn samples_of_one_second_keep_their_distance() {
        let mut history = History::new();
        for (unix_s, ms) in [(1_000, 950), (1_001, 50), (1_001, 150)] {
            history.push(&Sample { ms, ..sample(unix_s, 1) });
        }
        let begins: Vec<f64> = history.buckets.iter().map(|it| it.begin_s).collect();
        assert_eq!(begins, [0.0, 0.1, 0.2]);
    }

    #[test]
    fn the_empty_server_is_the_one_with_nobody_connected() {
        let mut history = History::new();
        for (at, rss_kb, n_connections) in [(0, 40_388, 1), (1, 41_120, 263), (2, 90_964, 10_001)] {
            history.push(&Sample { n_connections, ..sample(at, rss_kb) });
        }
        assert_eq!(history.empty_kb(Series::Rss), Some(40_388.0));
        assert_eq!(history.empty_kb(Series::Kernel), None);
    }
}
