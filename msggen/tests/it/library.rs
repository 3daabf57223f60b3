//! The library by itself, as a rig calls it.

use std::ops::ControlFlow;
use std::time::Duration;

use clap::Parser as _;
use msggen::args::Args;
use msggen::tally::Counts;
use msggen::{Observer, Outcome};

use crate::support::FakeServer;

/// Keeps the reports, and ends the run when it has enough of them.
struct Reader {
    /// The reports so far.
    reports: Vec<Outcome>,
    /// How many are enough.
    enough: usize,
}

impl Observer for Reader {
    fn progress(&mut self, _counts: &Counts, _asked: u64) {}

    fn report(&mut self, outcome: &Outcome) -> ControlFlow<()> {
        self.reports.push(outcome.clone());
        if self.reports.len() < self.enough {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

/// A run in this process until its second report, or until `shutdown`.
async fn run(shutdown: impl Future<Output = ()>) -> (Outcome, Vec<Outcome>) {
    let fake = FakeServer::open();
    let server = fake.url();
    let flags = ["msggen", "--num", "1M", "--interval", "2", "--max", "9", "--report", "20ms"];
    let args = Args::parse_from(flags.into_iter().chain(["--server", &server]));
    let mut reader = Reader { reports: Vec::new(), enough: 2 };
    let outcome = msggen::run(args.check().unwrap(), &mut reader, shutdown).await.unwrap();
    (outcome, reader.reports)
}

#[tokio::test]
async fn an_observer_can_end_the_run() {
    let (outcome, reports) = run(std::future::pending()).await;
    assert_eq!(reports.len(), 3, "two, and the last one");
    assert_eq!(reports[2], outcome);
    assert!(outcome.figures.is_final && outcome.figures.sent > 0);
    assert_eq!(outcome.figures.answered, outcome.figures.sent);
}

#[tokio::test]
async fn a_shutdown_ends_the_run() {
    let (outcome, reports) = run(tokio::time::sleep(Duration::from_millis(10))).await;
    assert_eq!(reports, [outcome], "the last one alone");
}
