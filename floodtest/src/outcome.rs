//! What a run tells while it goes on, how it ended, and whether that is what was asked for.

use std::ops::ControlFlow;
use std::time::Duration;

use reports::books::{ByReason, FloodReport};

/// Who is told about a run while it goes on.
pub trait Observer {
    /// A report is due, or the run has ended (`is_final`). A break ends the run.
    fn report(&mut self, report: &FloodReport) -> ControlFlow<()>;

    /// Progress is due, if the run's config asks for it.
    fn progress(&mut self, progress: &Progress) {
        let _ = progress;
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

/// How far a run is, in a few counters.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Connections that were asked for.
    pub asked: u64,
    /// Connections begun.
    pub dialed: u64,
    /// Connections established and open.
    pub connected: u64,
    /// Connections established and closed.
    pub closed: u64,
    /// Connections never established.
    pub failed: u64,
    /// Chunks received.
    pub chunks: u64,
    /// Time since the first connection was due.
    pub elapsed: Duration,
}

/// What ended a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The signal to stop.
    Stopped,
    /// The time to hold was over.
    Held,
    /// All connections had failed or closed.
    NothingOpen,
    /// All that was dialed was refused, so it gave up early.
    NobodyListens {
        /// Host and port that were dialed first.
        authority: String,
    },
    /// The observer did not want more.
    ObserverLeft,
}

/// A run that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What ended it.
    pub end: End,
    /// The final report.
    pub report: FloodReport,
    /// Connections that were begun: fewer than were asked for if it was stopped early.
    pub n_dialed: u64,
    /// What the logs of the run lack, if anything.
    pub log_shortfall: Option<String>,
}

impl Outcome {
    /// In what the run fell short of what was asked for; nothing if it did not.
    ///
    /// Connections that floodtest closed itself at the end are no shortfall; those that the other
    /// side closed before are, however properly it did.
    pub fn shortfalls(&self) -> Vec<String> {
        let report = &self.report;
        let asked = report.asked;
        if let End::NobodyListens { authority } = &self.end {
            return vec![format!(
                "nobody is listening on {authority}: gave up after {} of {asked} connections, {} \
                 failed ({}); start the server, or correct the URLs",
                self.n_dialed,
                report.failed,
                listed(&report.failures)
            )];
        }
        let mut shortfalls = Vec::new();
        if report.failed > 0 {
            shortfalls.push(format!(
                "{} of {asked} connections failed: {}",
                report.failed,
                listed(&report.failures)
            ));
        }
        let n_pending = self.n_dialed - report.established - report.failed;
        if n_pending > 0 {
            shortfalls.push(format!(
                "{n_pending} of {asked} connections had no response head yet when it ended"
            ));
        }
        if self.n_dialed < asked {
            let n_left = asked - self.n_dialed;
            shortfalls
                .push(format!("{n_left} of {asked} connections were not begun when it ended"));
        }
        if report.closed > 0 {
            shortfalls.push(format!(
                "{} of {asked} connections closed before the end: {}",
                report.closed,
                listed(&report.closures)
            ));
        }
        let numbers = [
            (report.lost, "lost"),
            (report.duplicated, "duplicated"),
            (report.reordered, "reordered"),
        ];
        let wrong = numbers.iter().filter(|(n, _)| *n > 0);
        shortfalls.extend(wrong.map(|(n, what)| format!("{n} messages {what}")));
        shortfalls.extend(self.log_shortfall.clone());
        shortfalls
    }
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

    /// A run of ten connections that ended so.
    fn outcome(end: End, n_dialed: u64, report: FloodReport) -> Outcome {
        Outcome { end, report: FloodReport { asked: 10, ..report }, n_dialed, log_shortfall: None }
    }

    #[test]
    fn all_established_and_held_is_no_shortfall() {
        let report = FloodReport { connected: 10, established: 10, ..FloodReport::default() };
        assert_eq!(outcome(End::Stopped, 10, report).shortfalls(), Vec::<String>::new());
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
            lost: 7,
            ..FloodReport::default()
        };
        let expected = [
            "3 of 10 connections failed: 2 status 503, 1 reset",
            "1 of 10 connections had no response head yet when it ended",
            "1 of 10 connections were not begun when it ended",
            "2 of 10 connections closed before the end: 2 cut",
            "7 messages lost",
        ];
        assert_eq!(outcome(End::Stopped, 9, report).shortfalls(), expected);
    }

    #[test]
    fn nobody_listening_is_said_with_how_many_failed_and_why() {
        let failures = [("refused".to_owned(), 1)].into();
        let report = FloodReport { failed: 1, failures, ..FloodReport::default() };
        let end = End::NobodyListens { authority: "localhost:8000".into() };
        assert_eq!(
            outcome(end, 1, report).shortfalls(),
            ["nobody is listening on localhost:8000: gave up after 1 of 10 connections, 1 failed \
              (1 refused); start the server, or correct the URLs"]
        );
    }
}
