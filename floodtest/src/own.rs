//! What floodtest itself adds to what it measures, and whether it was the limit.
//!
//! What comes in one turn of the loop is received in the next one, so a message is late by a turn
//! at most; and by as long as the loop has no core. Neither is the server's. Both are measured all
//! the time and cheaply: the length of each turn, and once a second what the kernel says of the
//! thread (`/proc/thread-self/schedstat`): how long it ran, and how long it could have run and
//! waited for a core.

use reports::books::{FloodReport, Own};
use reports::latency::Latency;
use serde::{Deserialize, Serialize};

/// How late floodtest may be by itself at the 99th percentile: of its turns, and of its connects.
/// Ten times what it is on a core of its own with 50,000 messages a second, and a tenth of what
/// people begin to notice.
pub(crate) const MAX_LATENESS_US: u64 = 10_000;

/// Turns, or connects, that such a percentile takes: of a few hundred it is one or two single ones,
/// which anything on the machine may have held up.
const MIN_COUNT: u64 = 1_000;

/// The share of a second in which the loop ran or waited for a core beyond which it is *short* of
/// the core: what is left is too little to be always there in time.
const MAX_WANTED: f64 = 0.9;

/// The share of a second in which the loop waited for a core beyond which it is short as well, if
/// it ran no more than twice as long. Beside a program that takes all of its core it waits longer
/// than it runs, for 8 % of the time with 1,000 items a second; on a machine with something else to
/// do now and then, for one or two hundredths of it.
const MAX_WAITED: f64 = 0.05;

/// The share of a second that the loop must have run or waited in order to count as having had
/// something to do.
const MIN_WANTED: f64 = 0.01;

/// Seconds in which the loop must have been short for floodtest to be the limit, and of those in
/// which it had something to do, the part. Anything may take a core for a moment.
const MIN_SHORT_S: f64 = 2.0;
const MIN_SHORT_PART: f64 = 0.1;

/// The part of the items a second that came before, below which a server counts as standing still.
/// What it sends when it goes on again comes at once, and no tool takes it as fast.
const STILL_PART: f64 = 0.1;

/// How many times as long as a server has stood still its messages may take to be received, for
/// which the tool is not to blame: where it takes four fifths of a core to receive them as they
/// come, it takes four times as long to catch up.
const CATCH_UP: f64 = 4.0;

/// How the note begins that says so.
pub(crate) const LIMITED: &str = "limited by floodtest";

/// What the kernel says of a thread, in seconds since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Used {
    /// It ran.
    pub(crate) ran_s: f64,
    /// It could have run, and waited for a core.
    pub(crate) waited_s: f64,
}

/// What floodtest has measured of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct OwnCounts {
    /// The turns of the loop.
    pub(crate) turns: Latency,
    /// The largest share of a second in which it ran.
    busiest_share: Option<f64>,
    /// Seconds in which it had something to do.
    active_s: f64,
    /// Seconds in which it was short of a core.
    short_s: f64,
    /// In those it ran so long.
    short_ran_s: f64,
    /// In those it waited so long.
    short_waited_s: f64,
    /// Seconds more for which being short says nothing, as the server had stood still.
    excused_s: f64,
    /// Seconds in which items came as usual.
    usual_s: f64,
    /// The items of these.
    usual_items: f64,
}

impl OwnCounts {
    /// Takes in about a second: how long it was, what the loop has used in it, and how many items
    /// came. As long as none have come there is nothing that could be late.
    pub(crate) fn second(&mut self, seconds: f64, used: Used, items: u64) {
        let wanted = (used.ran_s + used.waited_s) / seconds;
        self.busiest_share = Some(self.busiest_share.unwrap_or(0.0).max(used.ran_s / seconds));
        if items == 0 && self.usual_s + self.short_s <= 0.0 {
            return;
        }
        let items = items as f64;
        // Of a second in which the loop was short too little may have come because of that.
        let waited_for = used.waited_s / seconds > MAX_WAITED && used.waited_s * 2.0 > used.ran_s;
        let is_short = wanted > MAX_WANTED || waited_for;
        let usual = if self.usual_s > 0.0 { self.usual_items / self.usual_s } else { 0.0 };
        let is_still = !is_short && items / seconds < usual * STILL_PART;
        if wanted >= MIN_WANTED {
            self.active_s += seconds;
        }
        if is_still {
            self.excused_s += seconds * CATCH_UP;
        } else if !is_short {
            self.excused_s = 0.0;
            self.usual_s += seconds;
            self.usual_items += items;
        } else if self.excused_s > 0.0 {
            self.excused_s -= seconds;
        } else {
            self.short_s += seconds;
            self.short_ran_s += used.ran_s;
            self.short_waited_s += used.waited_s;
        }
    }

    /// Takes in what another process has measured. Being short is that of the worst process: to its
    /// connections it makes no difference how the others are.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.turns.merge(&other.turns);
        self.busiest_share = match (self.busiest_share, other.busiest_share) {
            (Some(ours), Some(theirs)) => Some(ours.max(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        if other.short_s > self.short_s {
            self.active_s = other.active_s;
            self.short_s = other.short_s;
            self.short_ran_s = other.short_ran_s;
            self.short_waited_s = other.short_waited_s;
        }
    }

    /// Why floodtest was the limit, if it was.
    fn why_limited(&self, connect_lateness: &Latency) -> Option<String> {
        if self.short_s >= MIN_SHORT_S && self.short_s >= self.active_s * MIN_SHORT_PART {
            let percent = |s: f64| 100.0 * s / self.short_s;
            return Some(format!(
                "in {:.0} of {:.0} seconds its thread ran for {:.0} % of the time and waited for a \
                 core for {:.0} %",
                self.short_s,
                self.active_s,
                percent(self.short_ran_s),
                percent(self.short_waited_s)
            ));
        }
        let ms = |us: u64| us as f64 / 1_000.0;
        let p99_us = |latency: &Latency| latency.at_quantile_us(0.99);
        if self.turns.count() >= MIN_COUNT && p99_us(&self.turns) > MAX_LATENESS_US {
            let late_ms = ms(p99_us(&self.turns));
            return Some(format!("p99 of the turns of its loop is {late_ms:.1} ms"));
        }
        if connect_lateness.count() >= MIN_COUNT && p99_us(connect_lateness) > MAX_LATENESS_US {
            let late_ms = ms(p99_us(connect_lateness));
            return Some(format!("p99 of the lateness of its connects is {late_ms:.1} ms"));
        }
        None
    }

    /// Writes it into a report. `asked_per_s` is how many connects a second were to be begun, if
    /// not as many as possible.
    pub(crate) fn write(
        &self,
        report: &mut FloodReport,
        connect_lateness: &Latency,
        asked_per_s: Option<f64>,
    ) {
        // The rate is that of the plan: what follows an end has its own time.
        let intervals = report.places_begun.saturating_sub(1) as f64;
        let achieved_per_s =
            if report.opening_s > 0.0 { intervals / report.opening_s } else { 0.0 };
        report.own = Own {
            lateness: self.turns.summary(),
            busiest_thread_share: self.busiest_share.map(|share| share.min(1.0)),
            asked_per_s,
            achieved_per_s,
        };
        if let Some(why) = self.why_limited(connect_lateness) {
            report.limited_by = Some("floodtest".to_owned());
            report.notes.push(format!(
                "{LIMITED}: {why}; latencies are not the server's alone. Give floodtest \
                 a core of its own, or fewer connections"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was measured in seconds of which each is what the thread ran, what it waited, and the
    /// items that came.
    fn measured(seconds: &[(f64, f64, u64)]) -> OwnCounts {
        let mut own = OwnCounts::default();
        for (ran_s, waited_s, items) in seconds {
            own.second(1.0, Used { ran_s: *ran_s, waited_s: *waited_s }, *items);
        }
        own
    }

    fn is_limited(own: &OwnCounts) -> bool {
        own.why_limited(&Latency::default()).is_some()
    }

    const QUIET: (f64, f64, u64) = (0.001, 0.0, 0);
    const USUAL: (f64, f64, u64) = (0.3, 0.02, 1_000);
    const FULL: (f64, f64, u64) = (0.97, 0.01, 3_000);
    const HELD_UP: (f64, f64, u64) = (0.05, 0.3, 1_000);

    #[test]
    fn a_loop_that_takes_its_whole_core_is_the_limit_and_so_is_one_that_waits_for_it() {
        assert!(!is_limited(&measured(&[QUIET; 60])));
        assert!(!is_limited(&measured(&[USUAL; 60])));
        assert!(is_limited(&measured(&[FULL; 3])));
        assert!(is_limited(&measured(&[HELD_UP; 3])));
        assert!(!is_limited(&measured(&[USUAL, FULL, USUAL])), "for a moment");
        let seldom: Vec<_> = [[USUAL; 30].as_slice(), &[FULL; 3]].concat();
        assert!(!is_limited(&measured(&seldom)), "for a small part of the time");
        let idle = [[QUIET; 100].as_slice(), &[HELD_UP; 3]].concat();
        assert!(is_limited(&measured(&idle)), "when there was something to do");
        let opening = measured(&[(0.5, 0.5, 0); 5]);
        assert!(!is_limited(&opening), "nothing could be late: {opening:?}");
        assert_eq!(measured(&[USUAL, FULL]).busiest_share, Some(0.97));
    }

    #[test]
    fn what_a_server_sends_at_once_that_stood_still_is_not_the_tools() {
        let stalled = [[USUAL; 5].as_slice(), &[QUIET; 8], &[FULL; 10], &[USUAL; 5]].concat();
        assert!(!is_limited(&measured(&stalled)));
        // It does not excuse everything that comes behind it.
        let after = [&stalled[..], &[FULL; 5]].concat();
        assert!(is_limited(&measured(&after)));
        let for_ever = [[USUAL; 5].as_slice(), &[QUIET; 2], &[FULL; 20]].concat();
        assert!(is_limited(&measured(&for_ever)));
        // That nothing comes because the loop has no core is no server that stands still.
        let starved = [[HELD_UP; 5].as_slice(), &[(0.01, 0.9, 10); 5]].concat();
        assert!(is_limited(&measured(&starved)));
    }

    #[test]
    fn of_several_processes_the_worst_counts() {
        let (mut one, other) = (measured(&[USUAL; 60]), measured(&[HELD_UP; 10]));
        one.merge(&other);
        assert!(is_limited(&one));
        assert_eq!((one.active_s, one.short_s, one.busiest_share), (10.0, 10.0, Some(0.3)));
    }

    #[test]
    fn long_turns_and_late_connects_are_the_tools_if_there_are_enough_of_them() {
        let late = |n| {
            let mut latency = Latency::default();
            (0..n).for_each(|_| latency.record_us(2 * MAX_LATENESS_US));
            latency
        };
        let own = |turns| OwnCounts { turns, ..OwnCounts::default() };
        assert!(!is_limited(&own(late(MIN_COUNT - 1))));
        assert!(is_limited(&own(late(MIN_COUNT))));
        assert!(own(Latency::default()).why_limited(&late(MIN_COUNT)).is_some());
        let mut report = FloodReport { places_begun: 11, opening_s: 2.0, ..FloodReport::default() };
        own(late(MIN_COUNT)).write(&mut report, &Latency::default(), Some(10.0));
        assert_eq!(report.limited_by.as_deref(), Some("floodtest"));
        assert!(report.notes[0].contains("p99 of the turns of its loop is 20.0 ms"), "{report:?}");
        assert_eq!((report.own.asked_per_s, report.own.achieved_per_s), (Some(10.0), 5.0));
    }
}
