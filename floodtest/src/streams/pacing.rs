//! What is kept of each stream while it goes on: 12 bytes beside its row.

use std::collections::HashMap;
use std::time::Instant;

use reports::stamp::as_us;

use super::counts::StreamCounts;
use super::plan::StreamPlan;

/// Microseconds of the unit in which times are kept. In 32 bits they repeat themselves after 11.9
/// hours, so that a longer gap, or a stream that takes longer, is measured too short by as much.
const UNIT_US: u64 = 10;

/// The request was sent.
const SENT: i32 = 1;
/// The first item has come.
const CAME: i32 = 2;
/// The item of `--done` has come.
const DONE: i32 = 4;
/// What `--goodput` asks cannot be met any more.
const MISSED: i32 = 8;
/// The credit of the gaps is in the bits from here on.
const CREDIT_BIT: u32 = 4;
/// The largest credit, and less than the smallest one. Where a stream has more, it is taken for
/// this; where it has less, for one that has missed. So no stream seems good that is not.
const MAX_CREDIT: i32 = i32::MAX >> CREDIT_BIT;

/// What is kept of a stream.
#[derive(Debug, Clone, Copy, Default)]
struct Stream {
    /// When its request was sent, in units after the start.
    sent: u32,
    /// When its last item came; before there is one, when its connection was due.
    last: u32,
    /// What is so, in the lowest bits, and the credit above them.
    state: i32,
}

impl Stream {
    /// Whether something is so.
    fn has(self, bit: i32) -> bool {
        self.state & bit != 0
    }

    /// Adds to the credit.
    fn add_credit(&mut self, more: i32) {
        let bits = self.state & ((1 << CREDIT_BIT) - 1);
        let credit = (self.state >> CREDIT_BIT).saturating_add(more).min(MAX_CREDIT);
        if credit < -MAX_CREDIT {
            self.state |= MISSED;
        } else {
            self.state = credit << CREDIT_BIT | bits;
        }
    }
}

/// All streams of a process that measures them.
#[derive(Debug)]
pub(crate) struct Pacing {
    /// What is asked of them.
    plan: StreamPlan,
    /// When the run started.
    started_at: Instant,
    /// What is kept of each, by row.
    streams: Vec<Stream>,
    /// The last number that `--count` found, of those streams that go on, by row.
    counted: HashMap<u32, u64>,
}

impl Pacing {
    /// Measures about `n_rows` streams of a run that starts at `started_at`; `None` if they are not
    /// to be measured.
    pub(crate) fn new(plan: &StreamPlan, started_at: Instant, n_rows: usize) -> Option<Box<Self>> {
        plan.is_measured.then(|| {
            let streams = Vec::with_capacity(n_rows);
            let (plan, counted) = (plan.clone(), HashMap::new());
            Box::new(Self { plan, started_at, streams, counted })
        })
    }

    /// Takes in that the connection of `row`, which may have had others before, was due at
    /// `due_at`.
    pub(crate) fn begin(&mut self, row: usize, due_at: Instant) {
        if row >= self.streams.len() {
            self.streams.resize(row + 1, Stream::default());
        }
        self.streams[row] = Stream { sent: 0, last: self.units(due_at), state: 0 };
    }

    /// Takes in that its request was sent `now`. After a redirect that is the last one.
    pub(crate) fn sent(&mut self, row: usize, now: Instant) {
        let sent = self.units(now);
        let stream = &mut self.streams[row];
        stream.sent = sent;
        stream.state |= SENT;
    }

    /// Takes in that a response head came `now`. A server may answer before it has the whole
    /// request, which counts as sent then.
    pub(crate) fn answered(&mut self, row: u32, now: Instant) {
        if !self.streams[row as usize].has(SENT) {
            self.sent(row as usize, now);
        }
    }

    /// Takes in that an item was received `now`.
    pub(crate) fn item(&mut self, row: u32, now: Instant, counts: &mut StreamCounts) {
        let after_us = as_us(now.saturating_duration_since(self.started_at));
        let units = truncated(after_us / UNIT_US);
        let stream = &mut self.streams[row as usize];
        let goodput = self.plan.goodput.as_ref();
        let last_us = us_between(stream.last, units);
        if stream.has(CAME) {
            counts.gap.record_us(last_us);
            if let Some(goodput) = goodput {
                stream.add_credit(goodput.credit(last_us, UNIT_US));
                if !goodput.allows_gap(last_us) {
                    stream.state |= MISSED;
                }
            }
        } else {
            let from_send_us = stream.has(SENT).then(|| us_between(stream.sent, units));
            counts.first_item_from_due.record_us(last_us);
            if let Some(us) = from_send_us {
                counts.first_item_from_send.record_us(us);
            }
            if goodput.is_some_and(|goodput| !goodput.first_item(last_us, from_send_us)) {
                stream.state |= MISSED;
            }
            stream.state |= CAME;
        }
        stream.last = units;
        counts.last_item_us = after_us;
    }

    /// Whether items are looked into.
    pub(crate) fn wants_text(&self) -> bool {
        self.plan.wants_text()
    }

    /// Looks into an item; `None` if it is too long for that.
    pub(crate) fn text(&mut self, row: u32, item: Option<&[u8]>, counts: &mut StreamCounts) {
        let Some(item) = item else {
            counts.n_too_long += 1;
            return;
        };
        if let Some(done) = &self.plan.done
            && item.trim_ascii() == done.as_bytes()
        {
            self.streams[row as usize].state |= DONE;
        }
        if let Some(number) = self.plan.count.as_ref().and_then(|field| field.value_in(item)) {
            self.counted.insert(row, number);
        }
    }

    /// Takes in that a stream that had a response head is over `now`. `is_orderly` if it came to
    /// the end that the server meant.
    pub(crate) fn over(
        &mut self,
        row: u32,
        now: Instant,
        is_orderly: bool,
        counts: &mut StreamCounts,
    ) {
        let now = self.units(now);
        let stream = self.streams[row as usize];
        let StreamPlan { done, count, goodput, .. } = &self.plan;
        counts.over += 1;
        let mut is_good = is_orderly && !stream.has(MISSED) && stream.state >> CREDIT_BIT >= 0;
        if is_orderly && stream.has(SENT) {
            let stream_time_us = us_between(stream.sent, now);
            counts.stream_time.record_us(stream_time_us);
            is_good &= goodput.as_ref().is_none_or(|goodput| goodput.ends(stream_time_us));
        }
        if done.is_some() {
            is_good &= stream.has(DONE);
            counts.done += u64::from(is_orderly && stream.has(DONE));
            counts.not_done += u64::from(is_orderly && !stream.has(DONE));
        }
        if count.is_some() {
            match self.counted.remove(&row) {
                Some(number) => counts.count(number),
                None => counts.n_not_counted += 1,
            }
        }
        if let Some(goodput) = goodput {
            is_good &= stream.has(CAME) || !goodput.needs_item();
            counts.met += u64::from(is_good);
        }
    }

    /// Takes in that a stream is left while it goes on: nothing is known of its end.
    pub(crate) fn leave(&mut self, row: u32, counts: &mut StreamCounts) {
        if let Some(number) = self.counted.remove(&row) {
            counts.count(number);
        }
    }

    /// Counts what was found in streams that go on when the run ends.
    pub(crate) fn finish(&mut self, counts: &mut StreamCounts) {
        self.counted.drain().for_each(|(_, number)| counts.count(number));
    }

    /// A time in units after the start.
    fn units(&self, at: Instant) -> u32 {
        truncated(as_us(at.saturating_duration_since(self.started_at)) / UNIT_US)
    }
}

/// The lowest 32 bits of a time.
fn truncated(units: u64) -> u32 {
    let low = units & u64::from(u32::MAX);
    u32::try_from(low).expect("it has 32 bits")
}

/// The microseconds between two times that are less than 11.9 hours apart.
fn us_between(from: u32, to: u32) -> u64 {
    u64::from(to.wrapping_sub(from)) * UNIT_US
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    fn pacing(plan: StreamPlan, started_at: Instant) -> Pacing {
        *Pacing::new(&StreamPlan { is_measured: true, ..plan }, started_at, 1).unwrap()
    }

    #[test]
    fn a_stream_has_12_bytes() {
        assert_eq!(size_of::<Stream>(), 12);
    }

    #[test]
    fn a_stream_is_measured_from_when_it_was_due_and_from_when_it_was_sent() {
        let start = Instant::now();
        let mut counts = StreamCounts::default();
        let mut pacing = pacing(StreamPlan::default(), start);
        pacing.begin(0, start + 10 * MS);
        pacing.sent(0, start + 30 * MS);
        for after in [50, 57, 57, 77] {
            pacing.item(0, start + after * MS, &mut counts);
        }
        pacing.over(0, start + 80 * MS, true, &mut counts);
        let only = |latency: &reports::latency::Latency| {
            let summary = latency.summary();
            (summary.count, summary.max_us)
        };
        assert_eq!(only(&counts.first_item_from_due), (1, 40_000));
        assert_eq!(only(&counts.first_item_from_send), (1, 20_000));
        assert_eq!(only(&counts.gap), (3, 20_000));
        assert_eq!(counts.gap.summary().p50_us, 7_003, "as exact as the histogram");
        assert_eq!(only(&counts.stream_time), (1, 50_000));
        assert_eq!((counts.over, counts.last_item_us), (1, 77_000));
    }

    #[test]
    fn times_go_on_where_32_bits_begin_again() {
        let start = Instant::now();
        let mut counts = StreamCounts::default();
        let mut pacing = pacing(StreamPlan::default(), start);
        let before_wrap = Duration::from_micros(u64::from(u32::MAX) * UNIT_US - 5_000);
        pacing.begin(0, start + before_wrap);
        pacing.sent(0, start + before_wrap + MS);
        pacing.item(0, start + before_wrap + 10 * MS, &mut counts);
        assert_eq!(counts.first_item_from_due.summary().max_us, 10_000);
        assert_eq!(counts.first_item_from_send.summary().max_us, 9_000);
    }

    #[test]
    fn a_stream_is_good_that_meets_everything_and_ends_in_order() {
        let plan = StreamPlan {
            done: Some("[DONE]".to_owned()),
            goodput: Some("first_item_from_due<20ms,gap.p50<5ms,gap.max<50ms".parse().unwrap()),
            ..StreamPlan::default()
        };
        // When items come after the due time, whether the last one is the one that ends it, whether
        // it ends in order; whether that is good.
        for (items, is_done, is_orderly, is_good) in [
            (&[10, 14, 40, 41][..], true, true, true),
            (&[10, 14, 40, 41], false, true, false),
            (&[10, 14, 40, 41], true, false, false),
            (&[20, 21], true, true, false),
            (&[10, 16, 20, 26], true, true, false),
            (&[10, 11, 12, 62], true, true, false),
            (&[10], true, true, true),
            (&[], true, true, false),
        ] {
            let start = Instant::now();
            let (mut counts, mut pacing) = (StreamCounts::default(), pacing(plan.clone(), start));
            pacing.begin(0, start);
            pacing.sent(0, start);
            for after in items {
                pacing.item(0, start + *after * MS, &mut counts);
            }
            if is_done {
                pacing.text(0, Some(b" [DONE]\r\n"), &mut counts);
            }
            pacing.over(0, start + 100 * MS, is_orderly, &mut counts);
            assert_eq!((counts.met, counts.over), (u64::from(is_good), 1), "{items:?} {is_done}");
            let n_done = u64::from(is_orderly && is_done);
            let n_not_done = u64::from(is_orderly && !is_done);
            assert_eq!((counts.done, counts.not_done), (n_done, n_not_done));
        }
    }

    #[test]
    fn the_last_number_of_each_stream_counts_once() {
        let plan = StreamPlan { count: Some("n".parse().unwrap()), ..StreamPlan::default() };
        let start = Instant::now();
        let (mut counts, mut pacing) = (StreamCounts::default(), pacing(plan, start));
        for row in 0..3 {
            pacing.begin(row, start);
        }
        for (row, item) in
            [(0, "{\"n\":1}"), (0, "{\"n\":2}"), (0, "{\"n\":null}"), (1, "{\"n\":4}")]
        {
            pacing.text(row, Some(item.as_bytes()), &mut counts);
        }
        pacing.text(2, None, &mut counts);
        assert_eq!(counts.counted, None, "at its end");
        pacing.over(0, start, true, &mut counts);
        pacing.over(2, start, false, &mut counts);
        assert_eq!((counts.counted, counts.n_counted, counts.n_not_counted), (Some(2), 1, 1));
        pacing.finish(&mut counts);
        assert_eq!((counts.counted, counts.n_counted, counts.n_too_long), (Some(6), 2, 1));
    }

    #[test]
    fn a_credit_beyond_its_bits_never_makes_a_stream_good() {
        let mut stream = Stream::default();
        stream.add_credit(i32::MAX);
        stream.add_credit(i32::MAX);
        assert_eq!((stream.state >> CREDIT_BIT, stream.has(MISSED)), (MAX_CREDIT, false));
        stream.add_credit(-MAX_CREDIT);
        stream.add_credit(-MAX_CREDIT - 1);
        assert!(stream.has(MISSED));
        stream.add_credit(5);
        assert!(stream.has(MISSED), "for ever");
    }
}
