//! What one connection costs.

use super::history::{Bucket, History, Series};
use reports::memory_log::bytes_per_connection;

/// Bytes per connection say nothing while there are less than this part of the most connections:
/// what the server needs by itself would be divided by a handful.
const LEAST_PART: f64 = 0.1;

/// What one connection costs, in one kind of memory of one log.
pub(super) struct PerConnection {
    /// The kind.
    series: Series,
    /// What is there with nobody connected. 0 when the log does not say.
    pub(super) empty_kb: f64,
    /// The fewest connections that say something.
    fewest: f64,
}

impl PerConnection {
    /// For a log and a kind of memory.
    pub(super) fn of(history: &History, series: Series) -> Self {
        let most = history.highest(Series::Connections).unwrap_or(0.0);
        let fewest = (most * LEAST_PART).max(1.0);
        Self { series, empty_kb: history.empty_kb(series).unwrap_or(0.0), fewest }
    }

    /// At the end of a bucket.
    pub(super) fn bytes(&self, bucket: &Bucket) -> Option<f64> {
        let n_connections = bucket.get(Series::Connections)?.last;
        let kb = bucket.get(self.series)?.last;
        (n_connections >= self.fewest).then_some(())?;
        bytes_per_connection(kb, self.empty_kb, n_connections).map(|bytes| bytes.max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reports::memory_log::Sample;

    #[test]
    fn a_handful_of_connections_says_nothing() {
        let mut history = History::new();
        for (unix_s, rss_kb, n_connections) in [(0, 1_000, 0), (1, 1_100, 5), (2, 2_000, 1_000)] {
            history.push(&Sample { unix_s, rss_kb, n_connections, ..Sample::default() });
        }
        let per = PerConnection::of(&history, Series::Rss);
        let columns =
            history.columns(|at_s| if at_s < 0.5 { 0 } else { 1 + i32::from(at_s > 1.5) });
        let bytes: Vec<Option<f64>> = columns.iter().map(|it| per.bytes(it)).collect();
        assert_eq!(bytes, [None, None, Some(1_024.0)]);
    }
}
