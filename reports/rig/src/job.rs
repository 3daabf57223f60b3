//! What is asked of an experiment: the command lines of `c10k`, `cluster` and `c1m`.

use std::path::PathBuf;
use std::time::Duration;

use reports::units;

/// What is asked of an experiment.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// Its name.
    pub(crate) name: &'static str,
    /// Connections to hold, each logged in as an id of its own.
    pub(crate) connections: u64,
    /// Servers to spread them over.
    pub(crate) n_nodes: usize,
    /// What joins the servers.
    pub(crate) broker: Broker,
    /// Connections opened a second; 0 for flat out.
    pub(crate) rate: u64,
    /// Messages sent a second, over all sources.
    pub(crate) messages_per_second: u64,
    /// Concurrent sources of messages.
    pub(crate) sources: u64,
    /// Whether a source's messages are random times apart instead of equal ones.
    pub(crate) is_random: bool,
    /// How long messages are sent.
    pub(crate) duration: Duration,
    /// All else.
    pub(crate) common: CommonArgs,
}

/// What joins the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broker {
    /// Nothing: each is on its own.
    None,
    /// A redis-server that is started for the run.
    Own,
    /// One that is there, by its URL.
    At(String),
}

/// What every experiment takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CommonArgs {
    /// How long messages are sent; may be a fraction. [default: 2; c1m: 5]
    #[arg(long, value_name = "M", conflicts_with = "hours", value_parser = minutes)]
    minutes: Option<Duration>,
    /// The same in hours: `--hours 24` is the article's whole day.
    #[arg(long, value_name = "H", value_parser = hours)]
    hours: Option<Duration>,
    /// Threads of a server. [default: the server's own]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) server_threads: Option<u64>,
    /// The folder to keep the run in, which must be empty. [default: a new one in runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Build the programs of the checkout that it is started in, with this cargo profile; figures
    /// are only good for `release`. [default: `cargo rig` builds with `release`; an installed rig
    /// takes the programs beside itself, or those on PATH]
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

impl CommonArgs {
    /// How long messages are sent: for `minutes`, if nothing is said.
    fn duration(&self, minutes: u64) -> Duration {
        self.hours.or(self.minutes).unwrap_or_else(|| Duration::from_mins(minutes))
    }
}

/// What is asked of the C10K experiment.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct C10kArgs {
    /// Connections to hold, each logged in as an id of its own.
    #[arg(long, value_name = "N", default_value = "10k", value_parser = positive)]
    connections: u64,
    /// Connections opened a second, or max: as fast as they are answered.
    #[arg(long, value_name = "N|max", default_value = "1000", value_parser = rate)]
    rate: u64,
    /// Messages sent a second, over all sources.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = positive)]
    messages_per_second: u64,
    /// Concurrent sources of messages.
    #[arg(long, value_name = "K", default_value = "100", value_parser = positive)]
    sources: u64,
    #[command(flatten)]
    common: CommonArgs,
}

impl C10kArgs {
    /// What they ask for.
    pub(crate) fn job(self) -> Job {
        Job {
            name: "c10k",
            connections: self.connections,
            n_nodes: 1,
            broker: Broker::None,
            rate: self.rate,
            messages_per_second: self.messages_per_second,
            sources: self.sources,
            is_random: false,
            duration: self.common.duration(2),
            common: self.common,
        }
    }
}

/// What joins the servers, or that nothing does.
#[derive(Debug, Clone, clap::Args)]
struct BrokerArgs {
    /// The Redis or Valkey that joins the servers. [default: a redis-server of the run's own]
    #[arg(long, value_name = "URL", conflicts_with = "no_cluster")]
    redis: Option<String>,
    /// Servers that know nothing of each other: messages go to the one that has the id.
    #[arg(long)]
    no_cluster: bool,
}

impl BrokerArgs {
    /// What they ask for.
    fn broker(self) -> Broker {
        match self.redis {
            Some(url) => Broker::At(url),
            None if self.no_cluster => Broker::None,
            None => Broker::Own,
        }
    }
}

/// What is asked of several servers.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ClusterArgs {
    /// Servers, which share the ids by their hash.
    #[arg(long, value_name = "N", default_value = "3", value_parser = nodes)]
    nodes: usize,
    /// Connections to hold in all, each logged in as an id of its own.
    #[arg(long, value_name = "N", default_value = "10k", value_parser = positive)]
    connections: u64,
    /// Connections opened a second, or max: as fast as they are answered.
    #[arg(long, value_name = "N|max", default_value = "1000", value_parser = rate)]
    rate: u64,
    /// Messages sent a second, over all sources.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = positive)]
    messages_per_second: u64,
    /// Concurrent sources of messages.
    #[arg(long, value_name = "K", default_value = "100", value_parser = positive)]
    sources: u64,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    common: CommonArgs,
}

impl ClusterArgs {
    /// What they ask for.
    pub(crate) fn job(self) -> Job {
        Job {
            name: "cluster",
            connections: self.connections,
            n_nodes: self.nodes,
            broker: self.broker.broker(),
            rate: self.rate,
            messages_per_second: self.messages_per_second,
            sources: self.sources,
            is_random: false,
            duration: self.common.duration(2),
            common: self.common,
        }
    }
}

/// What is asked of a million.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct C1mArgs {
    /// Connections to hold in all, each logged in as an id of its own.
    #[arg(long, value_name = "N", default_value = "1m", value_parser = positive)]
    connections: u64,
    /// Connections of a server at most. [default: the open-file limit - 256]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) per_node: Option<u64>,
    /// Connections opened a second, or max: as fast as they are answered.
    #[arg(long, value_name = "N|max", default_value = "max", value_parser = rate)]
    rate: u64,
    /// Messages sent a second, over all sources; the article's third part has 16,666.
    #[arg(long, value_name = "N", default_value = "16666", value_parser = positive)]
    messages_per_second: u64,
    /// Concurrent sources of messages, each of which sends at random times.
    #[arg(long, value_name = "K", default_value = "1000", value_parser = positive)]
    sources: u64,
    /// Print what would be started and what it needs of the machine, and stop.
    #[arg(long)]
    pub(crate) plan: bool,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    common: CommonArgs,
}

impl C1mArgs {
    /// What they ask for. How many servers it takes is not said yet.
    pub(crate) fn job(self) -> Job {
        Job {
            name: "c1m",
            connections: self.connections,
            n_nodes: 1,
            broker: self.broker.broker(),
            rate: self.rate,
            messages_per_second: self.messages_per_second,
            sources: self.sources,
            is_random: true,
            duration: self.common.duration(5),
            common: self.common,
        }
    }
}

/// Servers, each with an address of its own in 127.0.1.0/24.
pub(crate) const MOST_NODES: u64 = 250;

/// A count of servers.
fn nodes(text: &str) -> Result<usize, String> {
    match usize::try_from(positive(text)?) {
        Ok(n) if n as u64 <= MOST_NODES => Ok(n),
        _ => Err(format!("it must be at most {MOST_NODES}: each server has its own address")),
    }
}

/// A time in minutes.
fn minutes(text: &str) -> Result<Duration, String> {
    time(text, 60.0)
}

/// A time in hours.
fn hours(text: &str) -> Result<Duration, String> {
    time(text, 3_600.0)
}

/// A time in units of `unit_s` seconds, which is not zero.
fn time(text: &str, unit_s: f64) -> Result<Duration, String> {
    let time = text.parse::<f64>().ok();
    let time = time.and_then(|time| Duration::try_from_secs_f64(time * unit_s).ok());
    time.filter(|time| !time.is_zero()).ok_or_else(|| "it must be a number above 0".to_owned())
}

/// A count that is not zero.
fn positive(text: &str) -> Result<u64, String> {
    match units::parse_count(text) {
        Ok(0) => Err("it must be at least 1".to_owned()),
        count => count.map_err(|error| error.to_string()),
    }
}

/// Connections a second; 0 for as fast as they are answered.
fn rate(text: &str) -> Result<u64, String> {
    if text == "max" { Ok(0) } else { positive(text) }
}
