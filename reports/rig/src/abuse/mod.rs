//! Measures what `comet-server` does under bad clients, and says each figure beside its bar.
//!
//! Nothing else should run meanwhile: the figures are of one machine at one time.

#![expect(clippy::disallowed_methods, reason = "its senders are threads that sleep until due")]

mod bars;
mod crowd;
mod figure;
mod memory;
mod server;
mod sockets;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::figure::Figure;
use self::server::Launcher;

/// What is to be measured, and of which server.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AbuseArgs {
    /// Which bars. [default: all but silence, about nine minutes]
    #[arg(value_enum)]
    bars: Vec<Bar>,
    /// How many connections and how long, beside what the bars ask for.
    #[arg(long, default_value = "1", value_parser = scale)]
    scale: f64,
    /// The server. [default: the one that other experiments run]
    #[arg(long, value_name = "FILE")]
    pub(crate) server: Option<PathBuf>,
    /// Another server, for bars that compare two.
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// Build the server of the checkout that it is started in, with this cargo profile; figures to
    /// publish need `release`. [default: as for other experiments]
    #[arg(long, value_name = "NAME", conflicts_with = "server")]
    pub(crate) profile: Option<String>,
}

/// A factor above 0.
fn scale(text: &str) -> Result<f64, String> {
    let factor = text.parse::<f64>().ok().filter(|factor| *factor > 0.0 && factor.is_finite());
    factor.ok_or_else(|| "it must be a number above 0".to_owned())
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Bar {
    /// 3,000 connects and disconnects a second beside steady connections.
    Churn,
    /// 1,000 of 10,000 never read.
    Slow,
    /// 10,000 connections are reset within a second, and 10,000 WebSockets.
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
    /// 10,000 WebSockets that send half a frame, and nothing more.
    HalfFrames,
    /// 10,000 WebSockets that break the RFC, or say goodbye.
    BadFrames,
    /// 1,000 WebSockets that ping and never read, beside good clients.
    Pings,
    /// 10,000 WebSockets that answer no ping.
    Unanswered,
    /// 10,000 connections at the end, and 10,000 WebSockets.
    Drain,
    /// Bytes of an idle connection, and messages flat out, of this server and of --base; beside
    /// them, bytes of an idle WebSocket.
    Cost,
    /// The network dies without a word. Takes 240 s, and a network of its own: run it with
    /// `unshare --net`.
    Silence,
}

/// All bars that need nothing but time.
const ALL: [Bar; 14] = [
    Bar::Churn,
    Bar::Slow,
    Bar::Resets,
    Bar::Descriptors,
    Bar::HalfOpen,
    Bar::Backlogs,
    Bar::Ids,
    Bar::Crowd,
    Bar::HalfFrames,
    Bar::BadFrames,
    Bar::Pings,
    Bar::Unanswered,
    Bar::Drain,
    Bar::Cost,
];

/// Measures `server`, and writes each figure as it comes. Returns whether every bar was held.
pub(crate) fn run(args: AbuseArgs, server: PathBuf, out: &mut dyn Write) -> anyhow::Result<bool> {
    raise_open_files();
    let launcher = Launcher { server, scale: args.scale };
    let base = args.base.map(|server| Launcher { server, scale: args.scale });
    let wanted = if args.bars.is_empty() { ALL.to_vec() } else { args.bars };
    let mut is_held = true;
    for bar in wanted {
        writeln!(out, "{bar:?}").context(NOBODY_READS)?;
        let figures = match bar {
            Bar::Churn => bars::churn(&launcher)?,
            Bar::Slow => bars::slow(&launcher)?,
            Bar::Resets => bars::resets(&launcher)?,
            Bar::Descriptors => bars::descriptors(&launcher)?,
            Bar::HalfOpen => bars::half_open(&launcher)?,
            Bar::Backlogs => memory::backlogs(&launcher)?,
            Bar::Ids => memory::ids(&launcher)?,
            Bar::Crowd => memory::crowd(&launcher)?,
            Bar::HalfFrames => sockets::half_frames(&launcher)?,
            Bar::BadFrames => sockets::bad_frames(&launcher)?,
            Bar::Pings => sockets::pings(&launcher)?,
            Bar::Unanswered => sockets::unanswered(&launcher)?,
            Bar::Drain => bars::drain(&launcher)?,
            Bar::Cost => bars::cost(&launcher, base.as_ref())?,
            Bar::Silence => bars::silence(&launcher)?,
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
            writeln!(out, "    {what:60} {value:12.3}   {verdict}").context(NOBODY_READS)?;
        }
    }
    Ok(is_held)
}

/// Why nothing more is measured.
const NOBODY_READS: &str = "cannot write the figures";

/// Raises the limit on open files to what may be asked for: half of the connections are here.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Without it there are fewer connections than asked for, and it is said which one failed.
    _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
