//! What a run tells while it goes on, how it ended, and whether that is what was asked for.

use std::ops::ControlFlow;

use reports::books::{ByReason, FloodReport, JudgedBy};
use reports::expect::Expectations;

use crate::end::{End, Ends};
use crate::figures::{figures, is_latency};
use crate::judge::WINDOW_NUMBERS;
use crate::own::LIMITED;
use crate::reason::Reason;

/// Who is told about a run while it goes on.
pub trait Observer {
    /// The run begins: a report with nothing in it but what was asked for.
    fn begun(&mut self, report: FloodReport) {
        let _ = report;
    }

    /// A report is due, or the run has ended (`is_final`). A break ends the run.
    fn report(&mut self, report: &FloodReport) -> ControlFlow<()>;

    /// Progress is due, if the run's config asks for it.
    fn progress(&mut self, report: &FloodReport) {
        let _ = report;
    }

    /// Something went wrong that does not end the run, such as a full disk for its logs.
    fn trouble(&mut self, what: &str) {
        let _ = what;
    }
}

/// A closure that takes the reports is an observer that never ends the run.
impl<F: FnMut(&FloodReport)> Observer for F {
    fn report(&mut self, report: &FloodReport) -> ControlFlow<()> {
        self(report);
        ControlFlow::Continue(())
    }
}

/// A run that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What ended it.
    pub end: End,
    /// The final report.
    pub report: FloodReport,
    /// What the logs of the run lack, if anything.
    pub log_shortfall: Option<String>,
    /// Whether a server was on another machine, so that the sender of its messages may be as well.
    pub is_remote: bool,
    /// Whether messages were to be judged, so that it is a shortfall if they could not be.
    pub must_judge: bool,
    /// What an orderly end of a response means.
    pub ends: Ends,
    /// Whether connections that end are followed by others (`--reopen`), so that an end is no
    /// shortfall, but a place without a connection is.
    pub has_reopen: bool,
    /// Places without a connection at the end whose last one ended as it was to.
    pub away_in_order: u64,
    /// Places whose next connection, which was not their first one, was being opened at the end.
    pub reopening: u64,
}

impl Outcome {
    /// In what the run fell short of what was `expected`; nothing if it did not.
    ///
    /// Where nothing was said, all connections are expected to be established and held, and all
    /// messages to come once and in order. Connections that floodtest closed itself at the end are
    /// no shortfall; those that the other side closed before are, however properly it did, unless
    /// `--ends` says otherwise.
    pub fn shortfalls(&self, expected: Option<&Expectations>) -> Vec<String> {
        let mut shortfalls = match expected {
            Some(expected) => expected.shortfalls(&figures(&self.report)),
            None => self.missing(),
        };
        if !shortfalls.is_empty()
            && let End::NobodyListens { authority } = &self.end
        {
            // This is the cause of all the others.
            let FloodReport { asked, begun, failed, failures, .. } = &self.report;
            let cause = format!(
                "nobody is listening on {authority}: gave up after {begun} of {asked} \
                 connections, {failed} failed ({}); start the server, or correct the URLs",
                listed(failures)
            );
            match expected {
                Some(_) => shortfalls.insert(0, cause),
                None => shortfalls = vec![cause],
            }
        }
        shortfalls.extend(self.report.hosts.iter().filter_map(|host| {
            let why = host.lost_why.as_ref()?;
            Some(format!("{} connections are unknown: lost {why}", host.unknown))
        }));
        shortfalls.extend(self.not_judged());
        shortfalls.extend(self.not_valid(expected));
        shortfalls.extend(self.log_shortfall.clone());
        shortfalls
    }

    /// What is to be said of a run that has not fallen short: `held`, and what is not known.
    pub fn verdict(&self) -> String {
        match self.why_not_judged() {
            Some(why) => format!("held; messages not judged: {why}"),
            None => "held".to_owned(),
        }
    }

    /// A sentence if messages were to be judged and were not.
    fn not_judged(&self) -> Option<String> {
        if !self.must_judge {
            return None;
        }
        let report = &self.report;
        let problem = report.notes.iter().find(|note| note.starts_with("--sent"));
        // Rising numbers are judged as far as that was asked for: what came again or out of order.
        let why = problem.cloned().or_else(|| self.why_not_judged().filter(|why| why != RISING));
        why.map(|why| format!("messages not judged: {why}"))
    }

    /// A sentence if latencies were to be judged and are not the server's alone.
    fn not_valid(&self, expected: Option<&Expectations>) -> Option<String> {
        let report = &self.report;
        report.limited_by.as_ref()?;
        let has_goodput = report.streams.as_ref().is_some_and(|streams| streams.goodput.is_some());
        let is_expected = expected.is_some_and(|expected| expected.names().any(is_latency));
        let why = report.notes.iter().find(|note| note.starts_with(LIMITED))?;
        (has_goodput || is_expected).then(|| format!("not valid: {why}"))
    }

    /// Why nothing is known of lost messages; `None` if it is.
    fn why_not_judged(&self) -> Option<String> {
        let report = &self.report;
        if report.lost.is_some() {
            return None;
        }
        let is_why = |note: &&String| {
            ["jump", "encoded body", "too many messages"].iter().any(|words| note.contains(words))
        };
        if let Some(note) = report.notes.iter().find(is_why) {
            return Some(note.clone());
        }
        Some(match (report.judged_by, report.items, report.bytes) {
            (JudgedBy::Nothing, 0, _) if report.encoded_bytes == 0 => "none came".to_owned(),
            (JudgedBy::Nothing, items, _) => format!(
                "no stamp and no number was found in {items} {}; send with msggen --stamp, or say \
                 where the server's numbers are with --sequence",
                report.item_kind
            ),
            _ => RISING.to_owned(),
        })
    }

    /// The connections and messages that are missing.
    fn missing(&self) -> Vec<String> {
        let report = &self.report;
        let asked = report.asked;
        let mut missing = if self.has_reopen { self.without() } else { self.ended() };
        let n_left = asked.saturating_sub(report.places_begun);
        if n_left > 0 {
            missing.push(format!("{n_left} of {asked} connections were not begun when it ended"));
        }
        if self.ends == Ends::Expected && report.connected > 0 && !self.has_reopen {
            let n = report.connected;
            missing.push(format!("{n} of {asked} responses had not ended when the run did"));
        }
        let not_done = report.streams.as_ref().and_then(|streams| streams.not_done);
        if let Some(n) = not_done.filter(|n| *n > 0) {
            missing.push(format!("{n} streams ended without the item of --done"));
        }
        let numbers = [
            (report.lost, "lost"),
            (report.duplicated, "duplicated"),
            (report.reordered, "reordered"),
        ];
        missing.extend(numbers.iter().filter_map(|(n, what)| {
            let n = n.filter(|n| *n > 0)?;
            Some(format!("{n} messages {what}"))
        }));
        if report.too_old > 0 {
            missing.push(format!(
                "{} messages not judged: their numbers are more than {WINDOW_NUMBERS} older than \
                 the latest, so that they came again, or the count began anew",
                report.too_old
            ));
        }
        if report.unjudged > 0 {
            missing.push(format!(
                "{} messages not judged: more senders and ids than --max-windows",
                report.unjudged
            ));
        }
        missing
    }
}

impl Outcome {
    /// The connections that were not established, or ended, where nothing follows an end.
    fn ended(&self) -> Vec<String> {
        let report = &self.report;
        let asked = report.asked;
        let mut missing = Vec::new();
        if report.failed > 0 {
            let why = listed(&report.failures);
            missing.push(format!("{} of {asked} connections failed: {why}", report.failed));
        }
        // One that was to follow another is no more than on its way.
        let n_opening = n_headless(report);
        let n_waiting = report.waiting.saturating_sub(self.reopening);
        let n_connecting = n_opening.saturating_sub(report.waiting.max(self.reopening));
        if n_connecting > 0 {
            missing.push(format!(
                "{n_connecting} of {asked} connections were not connected yet when it ended"
            ));
        }
        if n_waiting > 0 {
            missing
                .push(format!("{n_waiting} of {asked} connections still wait for a response head"));
        }
        // What we closed ourselves, as was asked for, is none.
        let is_counted = |reason: &str| {
            !Reason::is_our_word(reason)
                && (self.ends == Ends::Fault || !Reason::is_orderly_word(reason))
        };
        let counted = report.closures.iter().filter(|(reason, _)| is_counted(reason));
        // Nor what a server does to slow readers: that is what was to be seen.
        let of_slow = |reason: &String| {
            report.slow_readers.as_ref().and_then(|it| it.ends.get(reason)).copied().unwrap_or(0)
        };
        let counted =
            counted.map(|(reason, n)| (reason.clone(), n.saturating_sub(of_slow(reason))));
        let counted: ByReason = counted.filter(|(_, n)| *n > 0).collect();
        let n_closed: u64 = counted.values().sum();
        if n_closed > 0 {
            let why = listed(&counted);
            missing.push(format!("{n_closed} of {asked} connections closed before the end: {why}"));
        }
        missing
    }

    /// The places without a connection, where each end is followed by another one.
    fn without(&self) -> Vec<String> {
        let report = &self.report;
        let n_opening = n_headless(report);
        let n = report
            .places_begun
            .saturating_sub(report.connected + n_opening)
            .saturating_sub(self.away_in_order);
        if n == 0 {
            return Vec::new();
        }
        let url = report.examples.iter().find(|it| it.reason == "away").map(|it| &it.url);
        let first = url.map(|url| format!(", the first {url}")).unwrap_or_default();
        let all: ByReason =
            report.failures.iter().chain(&report.closures).fold(ByReason::new(), |mut all, it| {
                if !Reason::is_our_word(it.0) {
                    *all.entry(it.0.clone()).or_default() += it.1;
                }
                all
            });
        vec![format!(
            "{n} of {} places had no connection when it ended{first}; connections that failed or \
             ended in all: {}",
            report.asked,
            listed(&all)
        )]
    }
}

/// Why losses are not judged where that was not asked for.
const RISING: &str = "the server's numbers are rising, not consecutive";

/// Connections that were begun and are neither established nor failed.
pub(crate) fn n_headless(report: &FloodReport) -> u64 {
    report.begun - report.established - report.failed
}

/// `990 refused, 10 reset`, the most frequent first; nothing as `none`.
pub(crate) fn listed(by_reason: &ByReason) -> String {
    let mut counts: Vec<_> = by_reason.iter().collect();
    counts.sort_by(|(_, left), (_, right)| right.cmp(left));
    let parts: Vec<String> = counts.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::parse;

    /// A run of ten connections that ended so.
    fn outcome(end: End, begun: u64, report: FloodReport) -> Outcome {
        let report = FloodReport { asked: 10, begun, places_begun: begun, ..report };
        Outcome {
            end,
            report,
            log_shortfall: None,
            is_remote: false,
            must_judge: false,
            ends: Ends::Fault,
            has_reopen: false,
            away_in_order: 0,
            reopening: 0,
        }
    }

    #[test]
    fn all_established_and_held_is_no_shortfall() {
        let report = FloodReport { connected: 10, established: 10, ..FloodReport::default() };
        assert_eq!(outcome(End::Stopped, 10, report).shortfalls(None), Vec::<String>::new());
    }

    #[test]
    fn each_shortfall_is_named() {
        let report = FloodReport {
            connected: 3,
            closed: 2,
            established: 5,
            failed: 3,
            failures: [("reset".to_owned(), 1), ("status 503".to_owned(), 2)].into(),
            closures: [("cut".to_owned(), 2)].into(),
            lost: Some(7),
            ..FloodReport::default()
        };
        let expected = [
            "3 of 10 connections failed: 2 status 503, 1 reset",
            "1 of 10 connections were not connected yet when it ended",
            "2 of 10 connections closed before the end: 2 cut",
            "1 of 10 connections were not begun when it ended",
            "7 messages lost",
        ];
        assert_eq!(outcome(End::Stopped, 9, report).shortfalls(None), expected);
    }

    #[test]
    fn those_that_wait_are_told_from_those_that_are_not_connected() {
        let report = FloodReport { waiting: 3, ..FloodReport::default() };
        assert_eq!(
            outcome(End::Stopped, 10, report).shortfalls(None),
            [
                "7 of 10 connections were not connected yet when it ended",
                "3 of 10 connections still wait for a response head",
            ]
        );
    }

    #[test]
    fn an_orderly_end_is_a_fault_or_none_or_what_is_expected() {
        let report = FloodReport {
            connected: 2,
            closed: 8,
            ended: 7,
            established: 10,
            closures: [("ended".to_owned(), 7), ("cut".to_owned(), 1)].into(),
            ..FloodReport::default()
        };
        let shortfalls = |ends| {
            let outcome = Outcome { ends, ..outcome(End::Held, 10, report.clone()) };
            outcome.shortfalls(None)
        };
        let cut = "1 of 10 connections closed before the end: 1 cut";
        assert_eq!(
            shortfalls(Ends::Fault),
            ["8 of 10 connections closed before the end: 7 ended, 1 cut"]
        );
        assert_eq!(shortfalls(Ends::Ok), [cut]);
        let open = "2 of 10 responses had not ended when the run did";
        assert_eq!(shortfalls(Ends::Expected), [cut, open]);
    }

    #[test]
    fn what_is_expected_takes_the_place_of_all_connections() {
        let report = FloodReport { connected: 9, established: 9, failed: 1, ..Default::default() };
        let outcome = outcome(End::Stopped, 10, report);
        let shortfalls = |text: &str| outcome.shortfalls(Some(&parse(text).unwrap()));
        assert_eq!(shortfalls("connected>=9"), Vec::<String>::new());
        assert_eq!(shortfalls("connected>=10"), ["expected connected>=10, found 9"]);
    }

    #[test]
    fn nobody_listening_is_said_with_how_many_failed_and_why() {
        let failures = [("refused".to_owned(), 1)].into();
        let report = FloodReport { failed: 1, failures, ..FloodReport::default() };
        let end = End::NobodyListens { authority: "localhost:8000".into() };
        let outcome = outcome(end, 1, report);
        assert_eq!(
            outcome.shortfalls(None),
            ["nobody is listening on localhost:8000: gave up after 1 of 10 connections, 1 failed \
              (1 refused); start the server, or correct the URLs"]
        );
        let expected = |text: &str| Some(parse(text).unwrap());
        assert_eq!(outcome.shortfalls(expected("failed.refused=1").as_ref()).len(), 0);
        assert_eq!(outcome.shortfalls(expected("connected=10").as_ref()).len(), 2);
    }
}
