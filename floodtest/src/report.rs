//! The report of what was counted: which figures there are, and which are not known.

use std::time::Duration;

use reports::books::{Extent, FloodReport, Judged, JudgedBy, SlowReaders};

use crate::judge::NumbersAre;
use crate::judge::joined::Joined;
use crate::tally::Tally;

/// What the user said about judging, as far as the report depends on it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Judging {
    /// What the server's numbers count, if it was said.
    pub(crate) numbers_are: Option<NumbersAre>,
    /// Whether some connections are to be read slowly.
    pub(crate) has_slow: bool,
}

impl Judging {
    /// Everything that is counted, as it is reported.
    pub(crate) fn report(self, tally: &Tally, asked: u64, elapsed: Duration) -> FloodReport {
        let opening_us = tally.dialed_us.map_or(0, |(first_us, last_us)| last_us - first_us);
        let established = tally.connected + tally.closed + tally.unknown;
        let mut report = FloodReport {
            elapsed_s: elapsed.as_secs_f64(),
            asked,
            begun: tally.begun,
            places_begun: tally.places_begun,
            away: tally.away,
            reopened: tally.reopened,
            resumed: tally.resumed,
            replayed: tally.found.replayed,
            settles: tally.settlings.iter().map(|it| it.report(&tally.delivery_from_due)).collect(),
            connected: tally.connected,
            closed: tally.closed,
            established,
            unknown: tally.unknown,
            ended: tally.closures.n_orderly(),
            waiting: tally.waiting,
            content_types: tally.content_types.by_name(),
            peak: tally.peak,
            failed: tally.failed,
            failures: tally.failures.by_word(),
            closures: tally.closures.by_word(),
            chunks: tally.chunks,
            items: tally.items,
            item_kind: tally.item_kind,
            messages: tally.found.messages,
            comments: tally.comments,
            bytes: tally.bytes,
            encoded_bytes: tally.encoded_bytes,
            too_old: tally.found.too_old,
            unjudged: tally.unjudged,
            numbered: tally.numbered,
            unnumbered: tally.unnumbered,
            heard: tally.heard,
            // What goes on was heard before.
            unheard: established.saturating_sub(tally.went_on).saturating_sub(tally.heard),
            slow_readers: self.has_slow.then(|| SlowReaders {
                connections: tally.slow_connections,
                open: tally.slow_open,
                ends: tally.slow_ends.by_word(),
                readers: Vec::new(),
            }),
            opening_s: Duration::from_micros(opening_us).as_secs_f64(),
            connect_lateness: tally.connect_lateness.summary(),
            delivery_from_due: tally.delivery_from_due.summary(),
            delivery_from_send: tally.delivery_from_send.summary(),
            ..FloodReport::default()
        };
        self.judge(tally, &mut report);
        report
    }

    /// Says what is lost, duplicated and out of order, as far as that is known.
    fn judge(self, tally: &Tally, report: &mut FloodReport) {
        report.judged_by = match (tally.n_by_stamps > 0, tally.n_by_numbers > 0) {
            (true, true) => JudgedBy::Both,
            (true, false) => JudgedBy::Stamps,
            (false, true) => JudgedBy::Numbers,
            (false, false) => JudgedBy::Nothing,
        };
        let joined: Vec<&Joined> = tally.joined.iter().filter(|it| is_known(it, tally)).collect();
        let n_expected = joined.iter().map(|it| it.n_expected).max().unwrap_or(0);
        if report.judged_by == JudgedBy::Nothing && n_expected == 0 {
            self.note(tally, report);
            return;
        }
        let not_lost: u64 = joined.iter().map(|it| it.not_lost).sum();
        let lost_beyond: u64 = joined.iter().map(|it| it.lost).sum();
        let lost = tally.found.lost.saturating_sub(not_lost).saturating_add(lost_beyond);
        let is_lost_known = !self.hides_losses(tally) && !joined.iter().any(|it| it.has_more_gaps);
        report.lost = is_lost_known.then_some(lost);
        report.duplicated = Some(tally.found.duplicated);
        if tally.n_by_stamps > 0 || tally.went_on > 0 {
            let in_gaps: u64 = joined.iter().map(|it| it.in_gaps).sum();
            let not_in_gaps: u64 = joined.iter().map(|it| it.not_in_gaps).sum();
            let n = tally.found.lost_in_gaps().saturating_sub(not_in_gaps);
            report.lost_in_gaps = is_lost_known.then_some(n.saturating_add(in_gaps));
        }
        let is_unordered = joined.iter().any(|it| it.is_unordered);
        report.reordered = (!is_unordered).then_some(tally.found.reordered);
        report.unanswered_missing = joined.iter().map(|it| it.unanswered_missing).sum();
        report.late_joiners = joined.iter().map(|it| it.n_late).max().unwrap_or(0);
        report.judged = extents(tally, &joined, n_expected);
        if self.numbers_jump(tally) {
            report.median_jump = tally.jumps.as_ref().map(|jumps| jumps.at_quantile_us(0.5));
        }
        self.note(tally, report);
    }

    /// Whether what is left out of the server's numbers says nothing about lost messages.
    fn hides_losses(self, tally: &Tally) -> bool {
        let has_unknown = tally.n_by_numbers > tally.n_from_one;
        self.numbers_are == Some(NumbersAre::Rising) && has_unknown || self.numbers_jump(tally)
    }

    /// Whether the numbers of most connections leave some out, and nobody said that this means a
    /// loss: global counters and times are such numbers.
    fn numbers_jump(self, tally: &Tally) -> bool {
        self.numbers_are.is_none() && tally.n_jumped * 2 > tally.n_sequenced
    }

    /// Says what a reader must know, a sentence each.
    fn note(self, tally: &Tally, report: &mut FloodReport) {
        let notes = &mut report.notes;
        if tally.n_encoded > 0 {
            notes.push(format!(
                "{} connections sent an encoded body (Content-Encoding) although identity was \
                 asked for: its bytes are counted, its messages are not",
                tally.n_encoded
            ));
        }
        if self.numbers_jump(tally) {
            notes.push(format!(
                "the numbers of {} of {} connections jump, by {} at the median: they seem to count \
                 something else than a connection's messages, so lost is not judged; \
                 --numbers consecutive counts what they leave out as lost",
                tally.n_jumped,
                tally.n_sequenced,
                report.median_jump.unwrap_or_default()
            ));
        }
        for joined in &tally.joined {
            notes.extend(problem(joined, tally));
        }
    }
}

/// Whether a sender's file says something about messages of this run.
fn is_known(joined: &Joined, tally: &Tally) -> bool {
    joined.sender.is_some_and(|sender| tally.senders.contains(&sender))
}

/// Why a sender's file says nothing, or not all, about messages of this run.
fn problem(joined: &Joined, tally: &Tally) -> Option<String> {
    let path = joined.path.display();
    if let Some(problem) = &joined.problem {
        return Some(format!("--sent: {problem}"));
    }
    if !is_known(joined, tally) {
        let sender = joined.sender.map(|sender| sender.to_string()).unwrap_or_default();
        return Some(format!(
            "--sent {path}: no message that came has a stamp of its sender {sender}, so nothing is \
             judged by it"
        ));
    }
    if joined.has_more_gaps {
        return Some(format!(
            "--sent {path}: too many messages are missing to compare each with what was sent"
        ));
    }
    if !joined.has_end {
        return Some(format!(
            "--sent {path}: the sender did not come to its end, so the end is not judged"
        ));
    }
    (joined.n_expected == 0).then(|| {
        format!(
            "--sent {path}: nothing was sent to an id of these URLs; --id-in-url says where a URL \
             has its ids"
        )
    })
}

/// What was judged of all connections that heard something, or should have.
fn extents(tally: &Tally, joined: &[&Joined], n_expected: u64) -> Judged {
    let least = |of: fn(&Joined) -> u64| joined.iter().map(|it| of(it)).min().unwrap_or(0);
    let n_judged = tally.n_by_stamps + tally.n_by_numbers;
    let of = n_expected.max(tally.heard);
    let n_middle = if tally.n_encoded > 0 { n_judged.min(of.saturating_sub(1)) } else { n_judged };
    Judged {
        beginning: Extent::of(least(|it| it.n_beginning) + tally.n_from_one, of),
        middle: Extent::of(n_middle, tally.heard),
        end: Extent::of(least(|it| it.n_end), of),
    }
}
