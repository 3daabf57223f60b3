//! `cargo rig`: starts the server and the tools, lets them meet, and balances their books.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "the rig is a command")]

mod c10k;
mod interrupts;
mod part;
mod place;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use interrupts::Interrupts;
use reports::run::{self, files};
use reports::units;

/// The run was made and fell short.
const FELL_SHORT: u8 = 1;

/// The run could not be made or read.
const COULD_NOT_RUN: u8 = 2;

/// Runs an experiment with the server and the tools of this workspace, and keeps it in a folder.
///
/// Exit code: 0 when the run held; 1 when it fell short, such as when its books do not balance; 2
/// when it could not be made or read.
#[derive(Debug, clap::Parser)]
#[command(name = "cargo rig")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What the rig does.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The article's experiment: 10,000 connections, 1,000 messages a second to random ones of them
    C10k(C10kArgs),
    /// Make the report of a run again, from its raw files
    Report {
        /// The run's folder
        folder: PathBuf,
        /// Print the summary as JSON
        #[arg(long)]
        json: bool,
    },
    /// Set two runs side by side
    Compare {
        /// The folder of the one run
        a: PathBuf,
        /// The folder of the other
        b: PathBuf,
        /// The page to write
        #[arg(long, value_name = "FILE", default_value = files::COMPARE)]
        out: PathBuf,
    },
}

/// What is asked of the C10K experiment.
#[derive(Debug, Clone, clap::Args)]
struct C10kArgs {
    /// Connections to hold, each logged in as an id of its own.
    #[arg(long, value_name = "N", default_value = "10k", value_parser = positive)]
    connections: u64,
    /// Connections opened a second.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = positive)]
    rate: u64,
    /// Messages sent a second, over all sources.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = positive)]
    messages_per_second: u64,
    /// Concurrent sources of messages.
    #[arg(long, value_name = "K", default_value = "100", value_parser = positive)]
    sources: u64,
    /// How long messages are sent; may be a fraction. [default: 2]
    #[arg(long, value_name = "M", conflicts_with = "hours")]
    minutes: Option<f64>,
    /// The same in hours: `--hours 24` is the article's whole day.
    #[arg(long, value_name = "H")]
    hours: Option<f64>,
    /// Threads of the server. [default: the server's own]
    #[arg(long, value_name = "N", value_parser = positive)]
    server_threads: Option<u64>,
    /// The folder to keep the run in, which must be empty. [default: a new one in runs]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
    /// The cargo profile that the programs are built with; figures are only good for `release`.
    #[arg(long, value_name = "NAME", default_value = "release")]
    profile: String,
}

impl C10kArgs {
    /// How long messages are sent.
    fn duration(&self) -> anyhow::Result<Duration> {
        let minutes = match (self.minutes, self.hours) {
            (_, Some(hours)) => hours * 60.0,
            (minutes, None) => minutes.unwrap_or(2.0),
        };
        Duration::try_from_secs_f64(minutes * 60.0)
            .ok()
            .filter(|duration| !duration.is_zero())
            .ok_or_else(|| anyhow::anyhow!("no time to send in: give --minutes or --hours above 0"))
    }
}

/// A count that is not zero.
fn positive(text: &str) -> Result<u64, String> {
    match units::parse_count(text) {
        Ok(0) => Err("it must be at least 1".to_owned()),
        count => count.map_err(|error| error.to_string()),
    }
}

fn main() -> ExitCode {
    let held = match Args::parse().command {
        Command::C10k(args) => experiment(&args).and_then(|folder| report(&folder, args.json)),
        Command::Report { folder, json } => report(&folder, json),
        Command::Compare { a, b, out } => compare(&a, &b, &out),
    };
    match held {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FELL_SHORT),
        Err(error) => {
            eprintln!("rig: {error:#}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

/// Makes a run and returns its folder.
#[tokio::main(flavor = "current_thread")]
async fn experiment(args: &C10kArgs) -> anyhow::Result<PathBuf> {
    let is_sending = Cell::new(false);
    let interrupts = Interrupts::new()?;
    tokio::select! {
        folder = c10k::run(args, &is_sending) => folder,
        // Dropping the run ends every process that it has started.
        () = interrupts.abort(&is_sending) => anyhow::bail!("interrupted; everything is stopped"),
    }
}

/// Makes everything that follows from the raw files of a run, and says what came of it. Returns
/// whether the run held.
fn report(folder: &Path, is_json: bool) -> anyhow::Result<bool> {
    let summary = run::report(folder)?;
    if is_json {
        println!("{}", serde_json::to_string(&summary).expect("a summary is plain JSON"));
    } else {
        print!("{summary}");
    }
    for shortfall in &summary.shortfalls {
        eprintln!("rig: {shortfall}");
    }
    eprintln!("rig: the report is {}", folder.join(files::REPORT).display());
    Ok(summary.held())
}

/// Sets two runs side by side.
fn compare(a: &Path, b: &Path, out: &Path) -> anyhow::Result<bool> {
    print!("{}", run::compare(a, b, out)?);
    eprintln!("rig: the page is {}", out.display());
    Ok(true)
}
