//! What a run has counted, over all connections.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reports::books::{ByReason, FloodReport};
use reports::latency::Latency;
use reports::out::Series;
use reports::stamp::{Clock, Stamp};

use crate::decode::{self, Chunk, Head};
use crate::reason::Reason;
use crate::window::{Sequence, Window};

/// The counters of a run.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Connections whose head has arrived and that are open now.
    pub(crate) connected: u64,
    /// Connections that were established once and are closed now.
    pub(crate) closed: u64,
    /// Connections that were never established.
    pub(crate) failed: u64,
    /// Chunks, by framing.
    pub(crate) chunks: u64,
    /// Bytes received.
    pub(crate) bytes: u64,
    /// How much later than due the connects were begun.
    pub(crate) connect_late: Latency,
    /// Why connections failed.
    failures: BTreeMap<Reason, u64>,
    /// Why established connections closed.
    closures: BTreeMap<Reason, u64>,
    /// What became of the messages' numbers.
    sequence: Sequence,
    /// Chunks without a readable number.
    unnumbered: u64,
    /// From a message's due time to its receipt.
    delivery: Latency,
    /// From a message's actual send to its receipt.
    raw_delivery: Latency,
    /// When the first connect and the latest one were begun.
    dialed_at: Option<(Instant, Instant)>,
}

/// The delays that go into the logs of `--out`.
pub(crate) const SERIES: [Series; 2] = [
    Series {
        name: "delivery-due",
        what: "delivery latency, from when messages were due to their receipt",
    },
    Series {
        name: "delivery-actual",
        what: "delivery latency, from when messages were sent to their receipt",
    },
];

impl Tally {
    /// The delays of [`SERIES`] so far.
    pub(crate) fn totals(&self) -> [&Latency; SERIES.len()] {
        [&self.delivery, &self.raw_delivery]
    }

    /// Counts a connect that is begun at `at`.
    pub(crate) fn dialed(&mut self, at: Instant) {
        let (first, _) = self.dialed_at.unwrap_or((at, at));
        self.dialed_at = Some((first, at));
    }

    /// Counts a connection that was never established.
    pub(crate) fn failed(&mut self, reason: Reason) {
        self.failed += 1;
        *self.failures.entry(reason).or_default() += 1;
    }

    /// Counts the close of an established connection. The gaps in its numbers stay open for ever.
    pub(crate) fn closed(&mut self, reason: Reason, window: &Window) {
        self.connected -= 1;
        self.closed += 1;
        *self.closures.entry(reason).or_default() += 1;
        self.lose_missing(window);
    }

    /// Counts the gaps of a connection that ends as lost.
    pub(crate) fn lose_missing(&mut self, window: &Window) {
        self.sequence.lost = self.sequence.lost.saturating_add(window.n_missing());
    }

    /// Connections that were refused.
    pub(crate) fn n_refused(&self) -> u64 {
        self.failures.get(&Reason::Refused).copied().unwrap_or(0)
    }

    /// Everything that is counted, as it is reported.
    pub(crate) fn report(&self, asked: u64, elapsed: Duration, is_final: bool) -> FloodReport {
        let opening = self.dialed_at.map(|(first, last)| last - first).unwrap_or_default();
        FloodReport {
            elapsed_s: elapsed.as_secs_f64(),
            is_final,
            asked,
            connected: self.connected,
            closed: self.closed,
            chunks: self.chunks,
            established: self.connected + self.closed,
            failed: self.failed,
            failures: by_name(&self.failures),
            closures: by_name(&self.closures),
            lost: self.sequence.lost,
            duplicated: self.sequence.duplicated,
            reordered: self.sequence.reordered,
            unnumbered: self.unnumbered,
            bytes: self.bytes,
            opening_s: opening.as_secs_f64(),
            connect_late: self.connect_late.summary(),
            delivery: self.delivery.summary(),
            raw_delivery: self.raw_delivery.summary(),
        }
    }
}

/// Counts under the reasons' words.
fn by_name(counts: &BTreeMap<Reason, u64>) -> ByReason {
    counts.iter().map(|(reason, n)| (reason.to_string(), *n)).collect()
}

/// Takes what one `recv` brought for one connection.
pub(crate) struct Receipt<'a> {
    /// The run's counters.
    pub(crate) tally: &'a mut Tally,
    /// The connection's numbers.
    pub(crate) window: &'a mut Window,
    /// What time it is.
    pub(crate) clock: &'a Clock,
    /// When the bytes were received, in microseconds since the Unix epoch. Read once, and only
    /// when a stamped message is among them.
    pub(crate) received_unix_us: Option<u64>,
}

impl Receipt<'_> {
    /// Records both latencies of a stamped message.
    fn record_delays(&mut self, stamp: Stamp) {
        let clock = self.clock;
        let received = *self.received_unix_us.get_or_insert_with(|| clock.unix_us(Instant::now()));
        self.tally.delivery.record_between_us(stamp.due_unix_us, received);
        let sent_unix_us = stamp.due_unix_us.saturating_add(stamp.late_us);
        self.tally.raw_delivery.record_between_us(sent_unix_us, received);
    }
}

impl decode::Sink for Receipt<'_> {
    fn head(&mut self, head: &Head) {
        self.tally.connected += 1;
        *self.window = if head.is_ours { Window::from_one() } else { Window::from_first() };
    }

    fn chunk(&mut self, chunk: Chunk<'_>) {
        self.tally.chunks += 1;
        // The largest number has no successor, and nobody counts that far.
        match chunk.number().filter(|number| *number < u64::MAX) {
            Some(number) => self.window.record(number, &mut self.tally.sequence),
            None => self.tally.unnumbered += 1,
        }
        if let Some(stamp) = Stamp::find(chunk.last) {
            self.record_delays(stamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Response, Sink};

    /// The report after `body` came over one connection of our server.
    fn report(body: &str) -> FloodReport {
        let (mut tally, mut window, clock) = (Tally::default(), Window::default(), Clock::start());
        let text = format!(
            "HTTP/1.1 200 OK\r\nServer: comet-server/0.1.0\r\n\
             Transfer-Encoding: chunked\r\n\r\n{body}"
        );
        let mut receipt = Receipt {
            tally: &mut tally,
            window: &mut window,
            clock: &clock,
            received_unix_us: Some(5_000_000),
        };
        Response::default().feed(text.as_bytes(), &mut receipt).unwrap();
        tally.closed(Reason::Cut, &window);
        tally.report(1, Duration::ZERO, true)
    }

    /// A chunk with `text` in it.
    fn chunk(text: &str) -> String {
        format!("{:x}\r\n{text}\r\n", text.len())
    }

    #[test]
    fn chunks_are_counted_with_their_numbers() {
        let texts = ["Recvd msg #2: 'a'<br/>", "Recvd msg #4: 'b'<br/>", "hello"];
        let report = report(&texts.map(chunk).concat());
        assert_eq!((report.chunks, report.unnumbered, report.lost), (3, 1, 2));
        assert_eq!((report.connected, report.closed, report.established), (0, 1, 1));
        assert_eq!(report.closures, ByReason::from([("cut".to_owned(), 1)]));
    }

    #[test]
    fn a_stamp_gives_both_latencies() {
        let texts = ["#1 @4999000+600'<br/>", "#2 @5000100+0", "#3 @18446744073709551615+9"];
        let report = report(&texts.map(chunk).concat());
        assert_eq!((report.delivery.count, report.delivery.clock), (1, 2));
        assert_eq!((report.delivery.max_us, report.raw_delivery.max_us), (1_000, 400));
    }

    #[test]
    fn the_largest_number_is_none() {
        let report = report(&chunk("#18446744073709551615"));
        assert_eq!((report.unnumbered, report.lost), (1, 0));
    }

    #[test]
    fn a_receipt_without_stamps_reads_no_clock() {
        let (mut tally, mut window, clock) = (Tally::default(), Window::default(), Clock::start());
        let mut receipt = Receipt {
            tally: &mut tally,
            window: &mut window,
            clock: &clock,
            received_unix_us: None,
        };
        receipt.chunk(Chunk::of(b"Recvd msg #1: 'x'<br/>"));
        assert_eq!(receipt.received_unix_us, None);
    }
}
