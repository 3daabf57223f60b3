//! Measures what `comet-server` does under bad clients, and prints each figure beside its bar.
//!
//! ```text
//! cargo build --release --package comet-server --bins --examples
//! target/release/examples/holds                       # all bars, about six minutes
//! target/release/examples/holds churn drain --scale 0.1
//! ```
//!
//! Nothing else should run meanwhile: the figures are of one machine at one time. It exits with 1
//! if a bar was not held.

#![expect(clippy::print_stdout, reason = "it is a main of its own")]
#![expect(clippy::disallowed_methods, reason = "its senders are threads that sleep until due")]

mod bars;
mod crowd;
mod memory;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;

use crate::server::Launcher;

/// Measures what comet-server does under bad clients.
#[derive(clap::Parser)]
struct Args {
    /// Which bars. [default: all]
    #[arg(value_enum)]
    bars: Vec<Bar>,
    /// How many connections and how long, beside what the bars ask for.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The server. [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,
    /// Another server, for bars that compare two.
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Bar {
    /// 3,000 connects and disconnects a second beside steady connections.
    Churn,
    /// 1,000 of 10,000 never read.
    Slow,
    /// 10,000 connections are reset within a second.
    Resets,
    /// 1,000 clients at a server with 256 descriptors.
    Descriptors,
    /// 5,000 requests that never finish.
    HalfOpen,
    /// 2,000 that never read, of one id and of an id each, and messages of 393 KB.
    Backlogs,
    /// 19,000 connections that ask for 1,024 ids each.
    Ids,
    /// 500 silent connections at a server for 500.
    Crowd,
    /// 10,000 connections at the end.
    Drain,
    /// Bytes of an idle connection, and messages flat out, of this server and of --base.
    Cost,
    /// The network dies without a word. Takes 240 s, and a network of its own: run it with
    /// `unshare --net`.
    Silence,
}

/// A figure and what it should be.
struct Figure {
    /// What was measured, with its unit.
    what: String,
    /// What came out.
    value: f64,
    /// The most that it may be; `None` if it is only for information.
    bar: Option<f64>,
}

impl Figure {
    /// A figure that may be at most `bar`.
    fn at_most(bar: f64, what: impl Into<String>, value: f64) -> Self {
        Self { what: what.into(), value, bar: Some(bar) }
    }

    /// A figure that says something about the others.
    fn info(what: impl Into<String>, value: f64) -> Self {
        Self { what: what.into(), value, bar: None }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    comet_server::limits::raise_open_files();
    let beside = || {
        let own = std::env::current_exe().expect("a running program has a file");
        own.parent()
            .and_then(|folder| folder.parent())
            .expect("it is in examples/")
            .join("comet-server")
    };
    let server = args.server.unwrap_or_else(beside);
    let launcher = Launcher { server, scale: args.scale };
    let base = args.base.map(|server| Launcher { server, scale: args.scale });
    let all = [
        Bar::Churn,
        Bar::Slow,
        Bar::Resets,
        Bar::Descriptors,
        Bar::HalfOpen,
        Bar::Backlogs,
        Bar::Ids,
        Bar::Crowd,
        Bar::Drain,
        Bar::Cost,
    ];
    let wanted = if args.bars.is_empty() { all.to_vec() } else { args.bars };
    let mut is_held = true;
    for bar in wanted {
        println!("{bar:?}");
        let figures = match bar {
            Bar::Churn => bars::churn(&launcher),
            Bar::Slow => bars::slow(&launcher),
            Bar::Resets => bars::resets(&launcher),
            Bar::Descriptors => bars::descriptors(&launcher),
            Bar::HalfOpen => bars::half_open(&launcher),
            Bar::Backlogs => memory::backlogs(&launcher),
            Bar::Ids => memory::ids(&launcher),
            Bar::Crowd => memory::crowd(&launcher),
            Bar::Drain => bars::drain(&launcher),
            Bar::Cost => bars::cost(&launcher, base.as_ref()),
            Bar::Silence => bars::silence(&launcher),
        };
        for Figure { what, value, bar } in figures {
            let verdict = match bar {
                None => String::new(),
                Some(bar) if value <= bar => format!("at most {bar}, held"),
                Some(bar) => {
                    is_held = false;
                    format!("at most {bar}, NOT HELD")
                }
            };
            println!("    {what:60} {value:12.3}   {verdict}");
        }
    }
    if is_held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
