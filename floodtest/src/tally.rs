//! What a run has counted, over all connections of a process.

use std::time::{Duration, Instant};

use reports::books::{ByReason, FloodReport};
use reports::latency::Latency;
use reports::out::Series;
use reports::stamp::{Clock, Stamp, StampFinder, as_us};
use serde::{Deserialize, Serialize};

use crate::decode::{self, Chunk, Head, MediaType};
use crate::kinds::Kinds;
use crate::number::{SequencePattern, number};
use crate::reason::Reason;
use crate::request::Established;
use crate::window::{Sequence, Window};

/// The counters of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Connections begun.
    pub(crate) begun: u64,
    /// Connections whose head has arrived and that are open now.
    pub(crate) connected: u64,
    /// Connections that were established once and are closed now.
    pub(crate) closed: u64,
    /// Connections that were never established.
    pub(crate) failed: u64,
    /// Connections whose request was sent and whose response head has not come yet.
    pub(crate) waiting: u64,
    /// The most connections that were open at once.
    pub(crate) peak: u64,
    /// Chunks, by framing.
    pub(crate) chunks: u64,
    /// Bytes received.
    pub(crate) bytes: u64,
    /// How much later than due the connects were begun.
    pub(crate) connect_lateness: Latency,
    /// Why connections failed.
    pub(crate) failures: Reasons,
    /// Why established connections closed.
    pub(crate) closures: Reasons,
    /// What became of the messages' numbers.
    sequence: Sequence,
    /// Chunks without a readable number.
    unnumbered: u64,
    /// From a message's due time to its receipt.
    delivery_from_due: Latency,
    /// From a message's actual send to its receipt.
    delivery_from_send: Latency,
    /// When the first connect and the latest one were begun, in microseconds after the start.
    dialed_us: Option<(u64, u64)>,
    /// Established connections by their `Content-Type`.
    kinds: Kinds,
    /// Responses whose status line lacks the space behind the status.
    lenient: u64,
    /// Redirects that were followed.
    pub(crate) redirects: u64,
}

/// Counts by reason, and the first connection for each.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reasons(Vec<ReasonCount>);

/// How often one thing happened. There are few, so that they are searched in order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReasonCount {
    /// What happened.
    pub(crate) reason: Reason,
    /// To how many connections.
    n: u64,
    /// The first of them, by its number in the plan.
    pub(crate) first: u64,
    /// What was wrong with that one, where the reason leaves it open.
    pub(crate) detail: Option<String>,
}

impl Reasons {
    /// Counts `reason` for `n` connections, the first of which is `first`.
    pub(crate) fn count(&mut self, reason: Reason, n: u64, first: u64) {
        self.count_with(reason, n, first, || None);
    }

    /// The same with a detail, which is asked for only where it will be shown.
    pub(crate) fn count_with(
        &mut self,
        reason: Reason,
        n: u64,
        first: u64,
        detail: impl FnOnce() -> Option<String>,
    ) {
        if let Some(known) = self.0.iter_mut().find(|known| known.reason == reason) {
            known.n += n;
            if first < known.first {
                (known.first, known.detail) = (first, detail());
            }
        } else {
            self.0.push(ReasonCount { reason, n, first, detail: detail() });
        }
    }

    /// Whether the detail of connection `number` would be shown.
    pub(crate) fn wants_detail(&self, reason: Reason, number: u64) -> bool {
        self.iter().find(|known| known.reason == reason).is_none_or(|known| number < known.first)
    }

    /// Takes in the counts of another process.
    fn merge(&mut self, other: &Self) {
        other
            .iter()
            .for_each(|it| self.count_with(it.reason, it.n, it.first, || it.detail.clone()));
    }

    /// How often it was `reason`.
    pub(crate) fn of(&self, reason: Reason) -> u64 {
        self.iter().find(|known| known.reason == reason).map_or(0, |known| known.n)
    }

    /// All that happened.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ReasonCount> {
        self.0.iter()
    }

    /// The counts under the reasons' words; several reasons may share one.
    fn by_word(&self) -> ByReason {
        let mut by_word = ByReason::new();
        for ReasonCount { reason, n, .. } in self.iter() {
            *by_word.entry(reason.to_string()).or_default() += n;
        }
        by_word
    }
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
        [&self.delivery_from_due, &self.delivery_from_send]
    }

    /// Counts a connect that is begun at `at` after the start.
    pub(crate) fn dialed(&mut self, at: Duration) {
        let at_us = as_us(at);
        self.begun += 1;
        let (first_us, _) = self.dialed_us.unwrap_or((at_us, at_us));
        self.dialed_us = Some((first_us, at_us));
    }

    /// Counts connection `number`, which was never established. Its detail is asked for only where
    /// it will be shown.
    pub(crate) fn failed(
        &mut self,
        reason: Reason,
        number: u64,
        detail: impl FnOnce() -> Option<String>,
    ) {
        self.failed += 1;
        self.failures.count_with(reason, 1, number, detail);
    }

    /// What a reader must know before believing the figures, a sentence each.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.lenient > 0 {
            notes.push(format!(
                "{} responses began with a status that no space follows, which RFC 9112 asks for; \
                 they were taken",
                self.lenient
            ));
        }
        if self.redirects > 0 {
            notes.push(format!("{} redirects were followed", self.redirects));
        }
        notes
    }

    /// Counts the close of connection `number`, which was established. The gaps in its messages'
    /// numbers stay open for ever.
    pub(crate) fn closed(&mut self, reason: Reason, number: u64, window: &Window) {
        self.connected -= 1;
        self.closed += 1;
        self.closures.count(reason, 1, number);
        self.lose(window.n_missing());
    }

    /// Counts messages as lost.
    pub(crate) fn lose(&mut self, n: u64) {
        self.sequence.add(Sequence { lost: n, ..Sequence::default() });
    }

    /// Counts all that is open, or is being opened, as ended for `reason`. `first` is the number of
    /// the first of these connections.
    pub(crate) fn abandon(&mut self, reason: Reason, first: u64) {
        self.waiting = 0;
        let n_opening = self.begun - self.connected - self.closed - self.failed;
        if n_opening > 0 {
            self.failed += n_opening;
            self.failures.count(reason, n_opening, first);
        }
        if self.connected > 0 {
            self.closed += self.connected;
            self.closures.count(reason, std::mem::take(&mut self.connected), first);
        }
    }

    /// Takes in the counts of another process. The peak becomes the sum of the peaks, which may
    /// not have been at the same time.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.begun += other.begun;
        self.connected += other.connected;
        self.closed += other.closed;
        self.failed += other.failed;
        self.waiting += other.waiting;
        self.lenient += other.lenient;
        self.redirects += other.redirects;
        self.kinds.merge(&other.kinds);
        self.peak += other.peak;
        self.chunks += other.chunks;
        self.bytes += other.bytes;
        self.unnumbered += other.unnumbered;
        self.sequence.add(other.sequence);
        self.connect_lateness.merge(&other.connect_lateness);
        self.delivery_from_due.merge(&other.delivery_from_due);
        self.delivery_from_send.merge(&other.delivery_from_send);
        self.failures.merge(&other.failures);
        self.closures.merge(&other.closures);
        self.dialed_us = match (self.dialed_us, other.dialed_us) {
            (Some((first, last)), Some((their_first, their_last))) => {
                Some((first.min(their_first), last.max(their_last)))
            }
            (ours, theirs) => ours.or(theirs),
        };
    }

    /// Everything that is counted, as it is reported.
    pub(crate) fn report(&self, asked: u64, elapsed: Duration) -> FloodReport {
        let opening_us = self.dialed_us.map_or(0, |(first_us, last_us)| last_us - first_us);
        FloodReport {
            elapsed_s: elapsed.as_secs_f64(),
            asked,
            begun: self.begun,
            connected: self.connected,
            closed: self.closed,
            ended: self.closures.of(Reason::Ended),
            waiting: self.waiting,
            content_types: self.kinds.by_name(),
            chunks: self.chunks,
            established: self.connected + self.closed,
            peak: self.peak,
            failed: self.failed,
            failures: self.failures.by_word(),
            closures: self.closures.by_word(),
            lost: Some(self.sequence.lost),
            duplicated: Some(self.sequence.duplicated),
            reordered: Some(self.sequence.reordered),
            unnumbered: self.unnumbered,
            bytes: self.bytes,
            opening_s: Duration::from_micros(opening_us).as_secs_f64(),
            connect_lateness: self.connect_lateness.summary(),
            delivery_from_due: self.delivery_from_due.summary(),
            delivery_from_send: self.delivery_from_send.summary(),
            ..FloodReport::default()
        }
    }
}

/// Takes what one `recv` brought for one connection.
pub(crate) struct Receipt<'a> {
    /// The run's counters.
    pub(crate) tally: &'a mut Tally,
    /// The connection's numbers.
    pub(crate) window: &'a mut Window,
    /// What was wrong with them.
    pub(crate) faults: &'a mut u32,
    /// Where the numbers are, if not where they are looked for otherwise.
    pub(crate) pattern: Option<&'a SequencePattern>,
    /// What time it is.
    pub(crate) clock: &'a Clock,
    /// Which statuses establish a connection.
    pub(crate) established: Established,
    /// When the bytes were received, in microseconds since the Unix epoch. Read once, and only
    /// when a stamped message is among them.
    pub(crate) received_unix_us: Option<u64>,
}

impl Receipt<'_> {
    /// Takes in the number of a message.
    fn record_number(&mut self, number: u64) {
        let found = self.window.record(number);
        if found != Sequence::default() {
            self.tally.sequence.add(found);
            let faults = u32::try_from(found.n_faults()).unwrap_or(u32::MAX);
            *self.faults = self.faults.saturating_add(faults);
        }
    }

    /// Records both latencies of a stamped message.
    fn record_delays(&mut self, stamp: Stamp) {
        let clock = self.clock;
        let received = *self.received_unix_us.get_or_insert_with(|| clock.unix_us(Instant::now()));
        self.tally.delivery_from_due.record_between_us(stamp.due_unix_us, received);
        let sent_unix_us = stamp.due_unix_us.saturating_add(stamp.late_us);
        self.tally.delivery_from_send.record_between_us(sent_unix_us, received);
    }
}

impl decode::Sink for Receipt<'_> {
    fn accepts(&self, status: u16) -> bool {
        self.established.includes(status)
    }

    fn head(&mut self, head: &Head) {
        self.tally.kinds.count(head.media_type.as_ref().map_or("none", MediaType::as_str), 1);
        self.tally.lenient += u64::from(head.is_lenient);
        self.tally.connected += 1;
        self.tally.peak = self.tally.peak.max(self.tally.connected);
        *self.window = if head.is_ours { Window::from_one() } else { Window::from_first() };
    }

    fn chunk(&mut self, chunk: Chunk<'_>) {
        self.tally.chunks += 1;
        // The largest number has no successor, and nobody counts that far.
        match number(&chunk, self.pattern).filter(|number| *number < u64::MAX) {
            Some(number) => self.record_number(number),
            None => self.tally.unnumbered += 1,
        }
        if let (Some(stamp), _) = StampFinder::default().find(chunk.last) {
            self.record_delays(stamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{ChunkFault, Response, Sink};

    /// What a connection of our server does with a tally.
    fn tally(body: &str) -> (Tally, Window, u32) {
        let (mut tally, mut window, mut faults) = (Tally::default(), Window::default(), 0);
        let text = format!(
            "HTTP/1.1 200 OK\r\nServer: comet-server/0.1.0\r\n\
             Transfer-Encoding: chunked\r\n\r\n{body}"
        );
        let mut receipt = Receipt {
            tally: &mut tally,
            window: &mut window,
            faults: &mut faults,
            pattern: None,
            clock: &Clock::start(),
            established: Established::default(),
            received_unix_us: Some(5_000_000),
        };
        Response::default().feed(text.as_bytes(), &mut receipt).unwrap();
        (tally, window, faults)
    }

    /// The report after `body` came over one connection of our server.
    fn report(body: &str) -> FloodReport {
        let (mut tally, window, _) = tally(body);
        tally.closed(Reason::Cut, 0, &window);
        tally.report(1, Duration::ZERO)
    }

    /// A chunk with `text` in it.
    fn chunk(text: &str) -> String {
        format!("{:x}\r\n{text}\r\n", text.len())
    }

    #[test]
    fn chunks_are_counted_with_their_numbers() {
        let texts = ["Recvd msg #2: 'a'<br/>", "Recvd msg #4: 'b'<br/>", "hello"];
        let report = report(&texts.map(chunk).concat());
        assert_eq!((report.chunks, report.unnumbered, report.lost.unwrap()), (3, 1, 2));
        assert_eq!((report.connected, report.closed, report.established), (0, 1, 1));
        assert_eq!(report.closures, ByReason::from([("cut".to_owned(), 1)]));
    }

    #[test]
    fn a_stamp_gives_both_latencies() {
        let texts = ["#1 @4999000+600'<br/>", "#2 @5000100+0", "#3 @18446744073709551615+9"];
        let report = report(&texts.map(chunk).concat());
        assert_eq!((report.delivery_from_due.count, report.delivery_from_due.negative), (1, 2));
        assert_eq!(
            (report.delivery_from_due.max_us, report.delivery_from_send.max_us),
            (1_000, 400)
        );
    }

    #[test]
    fn the_largest_number_is_none() {
        let report = report(&chunk("#18446744073709551615"));
        assert_eq!((report.unnumbered, report.lost.unwrap()), (1, 0));
    }

    #[test]
    fn a_connection_knows_its_own_faults() {
        let texts = ["#2", "#1", "#1", "#70"];
        let (_, window, faults) = tally(&texts.map(chunk).concat());
        assert_eq!((faults, window.n_missing()), (2 + 4, 63), "3 to 6 have left the window");
    }

    #[test]
    fn the_counts_of_two_processes_are_those_of_one_with_all_connections() {
        let (one, two) = ("#1 @4999000+600", "#3 @5000100+0");
        let (mut all, window, _) = tally(&chunk(one));
        let (mut other, other_window, _) = tally(&chunk(two));
        all.dialed(Duration::from_secs(1));
        other.dialed(Duration::from_secs(3));
        all.closed(Reason::Cut, 4, &window);
        other.closed(Reason::Cut, 3, &other_window);
        other.failed(Reason::Refused, 5, || None);
        // What another process says goes over a wire.
        let told = serde_json::to_string(&other).unwrap();
        all.merge(&serde_json::from_str(&told).unwrap());
        let report = all.report(3, Duration::ZERO);
        assert_eq!((report.begun, report.closed, report.failed, report.chunks), (2, 2, 1, 2));
        assert_eq!((report.lost.unwrap(), report.opening_s), (2, 2.0));
        assert_eq!((report.delivery_from_due.count, report.delivery_from_due.negative), (1, 1));
        assert_eq!(report.closures, ByReason::from([("cut".to_owned(), 2)]));
        assert_eq!(all.closures.iter().map(|it| it.first).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn what_a_dead_process_held_is_closed_and_what_it_dialed_has_failed() {
        let (mut tally, ..) = tally(&chunk("#1"));
        (0..3).for_each(|_| tally.dialed(Duration::ZERO));
        tally.failed(Reason::Refused, 8, || None);
        tally.abandon(Reason::WorkerDied(2), 1);
        let report = tally.report(9, Duration::ZERO);
        assert_eq!((report.connected, report.closed, report.failed), (0, 1, 2));
        assert_eq!(report.closures, ByReason::from([("worker 2 died".to_owned(), 1)]));
        let failures = [("refused".to_owned(), 1), ("worker 2 died".to_owned(), 1)];
        assert_eq!(report.failures, ByReason::from(failures));
    }

    #[test]
    fn reasons_that_share_a_word_are_counted_together() {
        let mut tally = Tally::default();
        for (number, fault) in [(7, ChunkFault::Size), (3, ChunkFault::Trailer)] {
            tally.failed(Reason::BadChunk(fault), number, || None);
        }
        tally.failed(Reason::BadChunk(ChunkFault::Size), 2, || None);
        let report = tally.report(9, Duration::ZERO);
        assert_eq!(report.failures, ByReason::from([("bad chunk".to_owned(), 3)]));
        assert_eq!(tally.failures.iter().map(|it| it.first).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn a_receipt_without_stamps_reads_no_clock() {
        let mut receipt = Receipt {
            tally: &mut Tally::default(),
            window: &mut Window::default(),
            faults: &mut 0,
            pattern: None,
            clock: &Clock::start(),
            established: Established::default(),
            received_unix_us: None,
        };
        receipt.chunk(Chunk::of(b"Recvd msg #1: 'x'<br/>"));
        assert_eq!(receipt.received_unix_us, None);
    }
}
