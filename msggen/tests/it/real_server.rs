//! msggen and the reference server in one process: both count the same messages.

use std::ops::ControlFlow;

use clap::Parser as _;
use comet_server::{Config, Stats, limits, serve};
use msggen::args::Args;
use msggen::tally::Counts;
use msggen::{Observer, Outcome};
use tokio::sync::oneshot;

/// Keeps no reports: the run returns the last one.
struct Nobody;

impl Observer for Nobody {
    fn progress(&mut self, _counts: &Counts, _asked: u64) {}

    fn report(&mut self, _outcome: &Outcome) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Runs msggen with `flags` against a server that nobody is connected to.
async fn run(flags: &[&str]) -> (Outcome, Stats) {
    let any = "127.0.0.1:0".parse().unwrap();
    let (listener, control) = (limits::listen(any).unwrap(), limits::listen(any).unwrap());
    let url = format!("http://{}", control.local_addr().unwrap());
    let (shutdown, is_down) = oneshot::channel();
    let config = Config::with_descriptors(1_024);
    let server = tokio::spawn(serve(config, vec![listener], control, async {
        is_down.await.unwrap();
    }));
    let always = ["msggen", "--max", "50", "--sources", "7", "--server", &url];
    let args = Args::parse_from(always.iter().chain(flags));
    let config = args.check().unwrap();
    let outcome = msggen::run(config, &mut Nobody, std::future::pending()).await.unwrap();
    shutdown.send(()).unwrap();
    (outcome, server.await.unwrap().unwrap())
}

#[tokio::test]
async fn the_server_counts_every_message_that_was_answered() {
    for flags in [
        &["--num", "30", "--interval", "2ms", "--stamp"][..],
        &["--num", "30", "--interval", "0"],
        &["--num", "30", "--interval", "0", "--batch", "8"],
    ] {
        let (outcome, stats) = run(flags).await;
        let figures = &outcome.figures;
        assert_eq!(
            (figures.sent, figures.answered, figures.void),
            (210, 210, Some(210)),
            "{flags:?}"
        );
        let counts = (stats.router.messages, stats.router.messages_void, stats.messages_aborted);
        assert_eq!(counts, (210, 210, 0), "{flags:?}");
    }
}
