//! What a run has counted, over all connections of a process.

use std::collections::BTreeSet;
use std::time::Duration;

use reports::books::{ByReason, ItemKind};
use reports::latency::Latency;
use reports::out::Series;
use reports::stamp::{Sender, as_us};
use serde::{Deserialize, Serialize};

use crate::judge::joined::Joined;
use crate::judge::window::Found;
use crate::kinds::Kinds;
use crate::own::OwnCounts;
use crate::reason::Reason;
use crate::settling::Settling;
use crate::streams::counts::StreamCounts;

/// Senders whose clocks are looked for. A run has one or a few; somebody who makes up stamps makes
/// their latencies unknown, not the counts large.
pub(crate) const MAX_STAMPED_BY: usize = 64;

/// The counters of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Connections begun.
    pub(crate) begun: u64,
    /// Places whose first connection was begun.
    pub(crate) places_begun: u64,
    /// Places whose connection has ended or failed, and that wait for the next one.
    pub(crate) away: u64,
    /// Of these, those whose connection ended as it was to: we closed it, or the server did in an
    /// order that is no fault.
    pub(crate) away_in_order: u64,
    /// The first by its number of the others that wait; the final counts have it.
    pub(crate) first_away: Option<u64>,
    /// Connections without a head that are not the first of their place; the final counts have it.
    pub(crate) reopening: u64,
    /// Established connections that were not the first of their place.
    pub(crate) reopened: u64,
    /// Of these, those on which the numbers of the one before go on.
    pub(crate) went_on: u64,
    /// Of these, event streams whose server was told which event came last.
    pub(crate) resumed: u64,
    /// Established connections of slow readers.
    pub(crate) slow_connections: u64,
    /// Of these, those that are open.
    pub(crate) slow_open: u64,
    /// Why the others have ended.
    pub(crate) slow_ends: Reasons,
    /// How connections come back that were closed at once.
    pub(crate) settlings: Vec<Settling>,
    /// Connections whose head has arrived and that are open now.
    pub(crate) connected: u64,
    /// Connections that were established once and are closed now.
    pub(crate) closed: u64,
    /// Connections that were never established.
    pub(crate) failed: u64,
    /// Connections that were open when their host was lost.
    #[serde(default)]
    pub(crate) unknown: u64,
    /// Connections whose request was sent and whose response head has not come yet.
    pub(crate) waiting: u64,
    /// The most connections that were open at once.
    pub(crate) peak: u64,
    /// Established connections by their `Content-Type`.
    pub(crate) content_types: Kinds,
    /// Responses whose status line lacks the space behind the status.
    pub(crate) lenient: u64,
    /// Redirects that were followed.
    pub(crate) redirects: u64,
    /// Chunks, by framing.
    pub(crate) chunks: u64,
    /// Items.
    pub(crate) items: u64,
    /// What items are.
    pub(crate) item_kind: ItemKind,
    /// Comments of event streams.
    pub(crate) comments: u64,
    /// Bytes received.
    pub(crate) bytes: u64,
    /// Bytes of encoded bodies.
    pub(crate) encoded_bytes: u64,
    /// Connections with an encoded body.
    pub(crate) n_encoded: u64,
    /// How much later than due the connects were begun.
    pub(crate) connect_lateness: Latency,
    /// Why connections failed.
    pub(crate) failures: Reasons,
    /// Why established connections closed.
    pub(crate) closures: Reasons,
    /// What became of the messages.
    pub(crate) found: Found,
    /// Messages that could not be judged, because there are too many series or their numbers are
    /// too large.
    pub(crate) unjudged: u64,
    /// Messages that were judged.
    pub(crate) numbered: u64,
    /// Items without a mark, and marks that are too long.
    pub(crate) unnumbered: u64,
    /// Connections on which a message came.
    pub(crate) heard: u64,
    /// Of these, connections that are judged by stamps.
    pub(crate) n_by_stamps: u64,
    /// Those that are judged by numbers.
    pub(crate) n_by_numbers: u64,
    /// Of these, those whose numbers begin at 1.
    pub(crate) n_from_one: u64,
    /// Connections with two numbers and more, of which it is not known what they count.
    pub(crate) n_sequenced: u64,
    /// Of these, connections whose numbers jump.
    pub(crate) n_jumped: u64,
    /// By how much.
    pub(crate) jumps: Option<Box<Latency>>,
    /// The senders whose stamps came.
    pub(crate) senders: BTreeSet<Sender>,
    /// Whose stamps have come, where receipts have the time of another host: at most
    /// [`MAX_STAMPED_BY`]. `None` are those that name no sender, and all further ones.
    #[serde(default)]
    pub(crate) stamped_by: BTreeSet<Option<Sender>>,
    /// What the senders' own files add, once the run has ended.
    pub(crate) joined: Vec<Joined>,
    /// From a message's due time to its receipt.
    pub(crate) delivery_from_due: Latency,
    /// From a message's actual send to its receipt.
    pub(crate) delivery_from_send: Latency,
    /// What floodtest has measured of itself.
    pub(crate) own: OwnCounts,
    /// What was measured of streams, if they are.
    pub(crate) streams: Option<Box<StreamCounts>>,
    /// When the first connect and the latest one were begun, in microseconds after the start.
    pub(crate) dialed_us: Option<(u64, u64)>,
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
    /// The first of them, by its number in the run.
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

    /// How often it was an orderly end.
    pub(crate) fn n_orderly(&self) -> u64 {
        self.iter().filter(|known| known.reason.is_orderly()).map(|known| known.n).sum()
    }

    /// All that happened.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ReasonCount> {
        self.0.iter()
    }

    /// The counts under the reasons' words; several reasons may share one.
    pub(crate) fn by_word(&self) -> ByReason {
        let mut by_word = ByReason::new();
        for ReasonCount { reason, n, .. } in self.iter() {
            *by_word.entry(reason.to_string()).or_default() += n;
        }
        by_word
    }
}

/// The delays of messages that go into the logs of `--out`.
const SERIES: [Series; 2] = [
    Series {
        name: "delivery_from_due",
        what: "delivery latency, from when messages were due to their receipt",
    },
    Series {
        name: "delivery_from_send",
        what: "delivery latency, from when messages were sent to their receipt",
    },
];

/// Those of streams.
const SERIES_OF_STREAMS: [Series; 4] = [
    Series {
        name: "first_item_from_due",
        what: "time to the first item, from when connections were due",
    },
    Series {
        name: "first_item_from_send",
        what: "time to the first item, from when requests were sent",
    },
    Series { name: "gap", what: "gaps between the items of a stream, receipt to receipt" },
    Series {
        name: "stream_time",
        what: "time of streams, from when requests were sent to their orderly ends",
    },
];

/// The delays that go into the logs of `--out`, with those of streams if these are measured.
pub(crate) fn series(has_streams: bool) -> Vec<Series> {
    let of_streams = if has_streams { &SERIES_OF_STREAMS[..] } else { &[] };
    [&SERIES[..], of_streams].concat()
}

impl Tally {
    /// The delays of [`series`] so far, each of them; `no_streams` in place of those of streams, if
    /// they are measured and there are none yet.
    pub(crate) fn totals<'a>(&'a self, no_streams: Option<&'a StreamCounts>) -> Vec<&'a Latency> {
        let mut totals = vec![&self.delivery_from_due, &self.delivery_from_send];
        if let Some(streams) = self.streams.as_deref().or(no_streams) {
            let StreamCounts {
                first_item_from_due, first_item_from_send, gap, stream_time, ..
            } = streams;
            totals.extend([first_item_from_due, first_item_from_send, gap, stream_time]);
        }
        totals
    }

    /// Counts the first connect of a place, which is begun at `at` after the start.
    pub(crate) fn dialed(&mut self, at: Duration) {
        let at_us = as_us(at);
        self.begun += 1;
        self.places_begun += 1;
        let (first_us, _) = self.dialed_us.unwrap_or((at_us, at_us));
        self.dialed_us = Some((first_us, at_us));
    }

    /// How many places have a connection, or are to get one.
    pub(crate) fn n_alive(&self) -> u64 {
        self.begun - self.closed - self.failed - self.unknown + self.away
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

    /// Counts the close of connection `number`, which was established.
    pub(crate) fn closed(&mut self, reason: Reason, number: u64) {
        self.connected -= 1;
        self.closed += 1;
        self.closures.count(reason, 1, number);
    }

    /// Counts all that is open, or is being opened, as ended for `reason`. `first` is the number of
    /// the first of these connections.
    pub(crate) fn abandon(&mut self, reason: Reason, first: u64) {
        self.waiting = 0;
        // Nobody will bring them back.
        (self.away, self.away_in_order) = (0, 0);
        let n_opening = self.begun - self.connected - self.closed - self.failed - self.unknown;
        if n_opening > 0 {
            self.failed += n_opening;
            self.failures.count(reason, n_opening, first);
        }
        if self.slow_open > 0 {
            self.slow_ends.count(reason, std::mem::take(&mut self.slow_open), first);
        }
        if self.connected > 0 {
            self.closed += self.connected;
            self.closures.count(reason, std::mem::take(&mut self.connected), first);
        }
    }

    /// Takes in who has stamped a message.
    pub(crate) fn note_stamp(&mut self, sender: Option<Sender>) {
        if !self.stamped_by.contains(&sender) {
            let is_full = self.stamped_by.len() >= MAX_STAMPED_BY;
            self.stamped_by.insert(sender.filter(|_| !is_full));
        }
    }

    /// Counts all that is open as unknown, and all that is being opened as failed, because their
    /// host was lost. `first` is the number of the first of these connections.
    pub(crate) fn lose_sight(&mut self, first: u64) {
        self.unknown += std::mem::take(&mut self.connected);
        self.slow_open = 0;
        self.abandon(Reason::HostLost, first);
    }

    /// Takes in the counts of another process. The peak becomes the sum of the peaks, which may
    /// not have been at the same time.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.begun += other.begun;
        self.places_begun += other.places_begun;
        self.away += other.away;
        self.away_in_order += other.away_in_order;
        self.first_away = match (self.first_away, other.first_away) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        self.reopening += other.reopening;
        self.reopened += other.reopened;
        self.went_on += other.went_on;
        self.resumed += other.resumed;
        self.slow_connections += other.slow_connections;
        self.slow_open += other.slow_open;
        self.slow_ends.merge(&other.slow_ends);
        for settling in &other.settlings {
            settling.merge_into(&mut self.settlings, &other.delivery_from_due);
        }
        self.connected += other.connected;
        self.closed += other.closed;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.waiting += other.waiting;
        self.lenient += other.lenient;
        self.redirects += other.redirects;
        self.content_types.merge(&other.content_types);
        self.peak += other.peak;
        self.chunks += other.chunks;
        self.items += other.items;
        self.item_kind = self.item_kind.and(other.item_kind);
        self.comments += other.comments;
        self.bytes += other.bytes;
        self.encoded_bytes += other.encoded_bytes;
        self.n_encoded += other.n_encoded;
        self.merge_messages(other);
        self.connect_lateness.merge(&other.connect_lateness);
        self.delivery_from_due.merge(&other.delivery_from_due);
        self.delivery_from_send.merge(&other.delivery_from_send);
        self.own.merge(&other.own);
        if let Some(theirs) = &other.streams {
            self.streams.get_or_insert_default().merge(theirs);
        }
        self.failures.merge(&other.failures);
        self.closures.merge(&other.closures);
        self.dialed_us = match (self.dialed_us, other.dialed_us) {
            (Some((first, last)), Some((their_first, their_last))) => {
                Some((first.min(their_first), last.max(their_last)))
            }
            (ours, theirs) => ours.or(theirs),
        };
    }

    /// Takes in what another process has counted of messages.
    fn merge_messages(&mut self, other: &Self) {
        self.found.add(other.found);
        self.unjudged += other.unjudged;
        self.numbered += other.numbered;
        self.unnumbered += other.unnumbered;
        self.heard += other.heard;
        self.n_by_stamps += other.n_by_stamps;
        self.n_by_numbers += other.n_by_numbers;
        self.n_from_one += other.n_from_one;
        self.n_sequenced += other.n_sequenced;
        self.n_jumped += other.n_jumped;
        if let Some(jumps) = &other.jumps {
            self.jumps.get_or_insert_default().merge(jumps);
        }
        self.senders.extend(&other.senders);
        other.stamped_by.iter().for_each(|it| self.note_stamp(*it));
        for theirs in &other.joined {
            match self.joined.iter_mut().find(|ours| ours.path == theirs.path) {
                Some(ours) => ours.merge(theirs),
                None => self.joined.push(theirs.clone()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
