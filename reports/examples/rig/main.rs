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
use reports::books::Books;
use reports::run::{Exit, Exits, files};
use reports::units;

/// Runs an experiment with the server and the tools of this workspace.
#[derive(Debug, clap::Parser)]
#[command(name = "cargo rig")]
struct Args {
    #[command(subcommand)]
    experiment: Experiment,
}

/// The experiments.
#[derive(Debug, clap::Subcommand)]
enum Experiment {
    /// The article's: 10,000 connections, 1,000 messages a second to random ones of them.
    C10k(C10kArgs),
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Experiment::C10k(args) = Args::parse().experiment;
    let is_sending = Cell::new(false);
    let run = async {
        let interrupts = Interrupts::new()?;
        tokio::select! {
            folder = c10k::run(&args, &is_sending) => folder,
            // Dropping the run ends every process that it has started.
            () = interrupts.abort(&is_sending) => anyhow::bail!("interrupted; everything is stopped"),
        }
    };
    let folder = match run.await {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("rig: {error:#}");
            return ExitCode::from(2);
        }
    };
    match judge(&folder) {
        Ok(shortfalls) => {
            for shortfall in &shortfalls {
                eprintln!("rig: {shortfall}");
            }
            ExitCode::from(u8::from(!shortfalls.is_empty()))
        }
        Err(error) => {
            eprintln!("rig: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Prints the books of the run in `folder`, and returns in what it fell short.
fn judge(folder: &Path) -> anyhow::Result<Vec<String>> {
    let read = |name| std::fs::read_to_string(folder.join(name));
    let last = |name| Ok::<_, anyhow::Error>(read(name)?.lines().last().unwrap_or("").to_owned());
    let books = Books::of_run(
        &serde_json::from_str(&read(files::SERVER_STATS)?)?,
        &serde_json::from_str(&last(files::FLOODTEST)?)?,
        &serde_json::from_str(&last(files::MSGGEN)?)?,
    );
    print!("{books}");
    println!("{}", folder.display());
    let exits = Exits::read(folder)?.exits;
    Ok(exits.iter().filter_map(Exit::shortfall).chain(books.shortfalls()).collect())
}
