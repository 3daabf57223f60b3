//! What is asked of an experiment: a scenario, and the command lines of `run`, `c10k`, `cluster`,
//! `c1m`, `friends`, `storm` and `llm`, which override some of it.

use std::path::PathBuf;
use std::time::Duration;

use reports::units;

use crate::scenario::{MOST_NODES, Place, Scenario, Sheet, Transport, built_in};

/// What is asked of an experiment.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// What is to be done.
    pub(crate) scenario: Scenario,
    /// The folder to keep the run in. `None`: a new one in `runs`.
    pub(crate) out: Option<PathBuf>,
    /// Whether the summary is printed as JSON.
    pub(crate) json: bool,
    /// The cargo profile to build the programs with.
    pub(crate) profile: Option<String>,
}

/// What is asked of a scenario file.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RunArgs {
    /// The scenario file, or the name of a built-in scenario: c10k, cluster, c1m,
    /// friends, storm, llm
    file: String,
    /// Override a value of it; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Print the scenario instead of running it, with what was overridden
    #[arg(long)]
    pub(crate) print: bool,
    #[command(flatten)]
    kept: KeptArgs,
}

impl RunArgs {
    /// What they ask for; as text where it is only to be printed.
    pub(crate) fn job(self) -> anyhow::Result<Job> {
        let (name, mut sheet) = Scenario::sheet(&self.file)?;
        sheet.set_all(&self.set)?;
        Ok(self.kept.job(Scenario::of(name, sheet)?))
    }
}

/// What is asked of a run beside a server that runs already.
#[derive(Debug, Clone, clap::Args)]
#[command(group = clap::ArgGroup::new("server").required(true))]
#[command(group = clap::ArgGroup::new("connections_to").required(true))]
pub(crate) struct AttachArgs {
    /// The server's process, or several with commas; their descendants are watched as well
    #[arg(long, value_name = "PID,…", value_delimiter = ',', group = "server")]
    pid: Vec<u32>,
    /// The port that the server listens on: whoever owns it is watched
    #[arg(long, value_name = "PORT", group = "server")]
    listen: Option<u16>,
    /// The name of the server's processes
    #[arg(long, value_name = "NAME", group = "server")]
    process: Option<String>,
    /// File with the URLs to connect to, one a line
    #[arg(long, value_name = "FILE", group = "connections_to")]
    urls: Option<PathBuf>,
    /// A URL with {id}, or one for all connections
    #[arg(long, value_name = "URL", group = "connections_to", requires = "connections")]
    pattern: Option<String>,
    /// Connections to hold [default: one for each URL of --urls]
    #[arg(long, value_name = "N", value_parser = positive)]
    connections: Option<u64>,
    /// Connections opened a second, or max: as fast as they are answered
    #[arg(long, value_name = "N|max", default_value = "100", value_parser = rate)]
    rate: u64,
    /// The URL that takes a message for an id, with {id}, as in msggen's --to. Without it nothing
    /// is sent, and what the server sends by itself is looked at
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Messages sent a second, over all sources
    #[arg(long, value_name = "N", default_value = "100", value_parser = positive, requires = "to")]
    messages_per_second: u64,
    /// Concurrent sources of messages
    #[arg(long, value_name = "K", default_value = "10", value_parser = positive, requires = "to")]
    sources: u64,
    /// How long messages are sent, or connections held if none are
    #[arg(long = "for", value_name = "TIME", default_value = "5m", value_parser = duration)]
    time: Duration,
    /// A further value of the scenario that this stands for, such as connections.sse=true; may be
    /// repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Print the scenario that this stands for instead of running it
    #[arg(long)]
    pub(crate) print: bool,
    #[command(flatten)]
    kept: KeptArgs,
}

impl AttachArgs {
    /// What they ask for.
    pub(crate) fn job(self) -> anyhow::Result<Job> {
        let mut sheet = Overrides(Sheet::parse("", "attach")?);
        let pids: Vec<toml::Value> = self.pid.iter().map(|pid| i64::from(*pid).into()).collect();
        sheet.set("server", "pid", (!pids.is_empty()).then_some(pids));
        sheet.set("server", "listen", self.listen.map(i64::from));
        sheet.set("server", "process", self.process);
        sheet.set("connections", "urls", self.urls.map(|path| path.to_string_lossy().into_owned()));
        sheet.set("connections", "pattern", self.pattern);
        sheet.count("connections", "count", self.connections);
        sheet.rate(Some(self.rate));
        let time = humantime::format_duration(self.time).to_string();
        if let Some(to) = self.to {
            sheet.set("messages", "to", Some(to));
            sheet.count("messages", "rate", Some(self.messages_per_second));
            sheet.count("messages", "sources", Some(self.sources));
            sheet.set("messages", "for", Some(time));
        } else {
            sheet.set("connections", "hold", Some(time));
        }
        let Overrides(mut sheet) = sheet;
        sheet.set_all(&self.set)?;
        Ok(self.kept.job(Scenario::of("attach".to_owned(), sheet)?))
    }
}

/// Where a run is kept, and how its programs are found.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct KeptArgs {
    /// The folder to keep the run in, which must be empty. [default: a new one in runs]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Build the programs of the checkout that it is started in, with this cargo profile; figures
    /// to publish need `release`. [default: `cargo rig` builds with `quick`, like itself; an
    /// installed rig takes the programs beside itself, or those on PATH]
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

impl KeptArgs {
    /// A run of `scenario`.
    pub(crate) fn job(self, scenario: Scenario) -> Job {
        let Self { out, json, profile } = self;
        Job { scenario, out, json, profile }
    }
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
    server_threads: Option<u64>,
    #[command(flatten)]
    kept: KeptArgs,
}

/// Overrides of a built-in scenario.
struct Overrides(Sheet);

impl Overrides {
    /// The built-in scenario `name`.
    fn of(name: &str) -> Self {
        let text = built_in::text(name).expect("it is one of the built-in ones");
        Self(Sheet::parse(text, name).expect("a test reads the built-in ones"))
    }

    /// Overrides a value, if there is one to do it with.
    fn set(&mut self, section: &str, key: &str, value: Option<impl Into<toml::Value>>) {
        if let Some(value) = value {
            let place = Place::Flag(format!("the command line's {key}"));
            self.0.put(section, key, value, &place);
        }
    }

    /// Overrides a count.
    fn count(&mut self, section: &str, key: &str, value: Option<u64>) {
        self.set(section, key, value.map(whole));
    }

    /// Connections a second; 0 for as fast as they are answered.
    fn rate(&mut self, rate: Option<u64>) {
        match rate {
            Some(0) => self.set("connections", "rate", Some("max")),
            rate => self.count("connections", "rate", rate),
        }
    }

    /// The run that it comes to.
    fn job(mut self, name: &str, common: CommonArgs) -> anyhow::Result<Job> {
        let CommonArgs { minutes, hours, server_threads, kept } = common;
        let duration = hours.or(minutes);
        self.set("messages", "for", duration.map(|it| humantime::format_duration(it).to_string()));
        let threads = server_threads.map(|n| vec!["--threads".to_owned(), n.to_string()]);
        self.set("server", "args", threads);
        Ok(kept.job(Scenario::of(name.to_owned(), self.0)?))
    }
}

/// A count as TOML has it.
fn whole(n: u64) -> toml::Value {
    toml::Value::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

/// What is asked of friends.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FriendsArgs {
    /// Users. [default: 1m]
    #[arg(long, value_name = "N", value_parser = positive)]
    users: Option<u64>,
    /// Others that each user follows. [default: 15]
    #[arg(long, value_name = "N", value_parser = positive)]
    follows: Option<u64>,
    /// How users choose whom they follow: ba, uniform or ring, as in msggen friends. [default: ba]
    #[arg(long, value_name = "SHAPE")]
    shape: Option<String>,
    /// Users that are logged in, on a connection each. [default: 10k, or all users if they are
    /// fewer]
    #[arg(long, value_name = "N", value_parser = positive)]
    connections: Option<u64>,
    /// What the connections are [default: chunks]
    #[arg(long, value_name = "KIND")]
    transport: Option<Transport>,
    /// Connections opened a second, or max: as fast as they are answered. [default: 1000]
    #[arg(long, value_name = "N|max", value_parser = rate)]
    rate: Option<u64>,
    /// Messages sent a second, over all sources. [default: 16666]
    #[arg(long, value_name = "N", value_parser = positive)]
    messages_per_second: Option<u64>,
    /// Concurrent sources of messages. [default: 1000]
    #[arg(long, value_name = "K", value_parser = positive)]
    sources: Option<u64>,
    /// Overdue messages that a source may send in one request. [default: 100]
    #[arg(long, value_name = "N", value_parser = positive)]
    batch: Option<u64>,
    /// Print the scenario instead of running it, with what was overridden
    #[arg(long)]
    pub(crate) print: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// Users that are logged in unless it is said: as many as a process holds nearly everywhere.
const FRIENDS_LOGGED_IN: u64 = 10_000;

impl FriendsArgs {
    /// What they ask for.
    pub(crate) fn job(self) -> anyhow::Result<Job> {
        let mut sheet = Overrides::of("friends");
        sheet.count("friends", "users", self.users);
        sheet.count("friends", "follows", self.follows);
        sheet.set("friends", "shape", self.shape);
        let fewer = self.users.filter(|users| *users < FRIENDS_LOGGED_IN);
        sheet.count("connections", "count", self.connections.or(fewer));
        sheet.set("connections", "transport", self.transport.map(Transport::name));
        sheet.rate(self.rate);
        // Messages are about any of the users.
        sheet.count("messages", "max", self.users);
        sheet.count("messages", "rate", self.messages_per_second);
        sheet.count("messages", "sources", self.sources);
        sheet.count("messages", "batch", self.batch);
        sheet.job("friends", self.common)
    }
}

/// What is asked of the C10K experiment.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct C10kArgs {
    /// Connections to hold, each logged in as an id of its own. [default: 10k]
    #[arg(long, value_name = "N", value_parser = positive)]
    connections: Option<u64>,
    /// What the connections are [default: chunks]
    #[arg(long, value_name = "KIND")]
    transport: Option<Transport>,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    common: CommonArgs,
}

impl C10kArgs {
    /// What they ask for.
    pub(crate) fn job(self) -> anyhow::Result<Job> {
        let mut sheet = Overrides::of("c10k");
        sheet.count("connections", "count", self.connections);
        sheet.set("connections", "transport", self.transport.map(Transport::name));
        self.load.put(&mut sheet);
        sheet.job("c10k", self.common)
    }
}

/// What a run with ten thousand connections is asked for beside them.
#[derive(Debug, Clone, clap::Args)]
struct LoadArgs {
    /// Connections opened a second, or max: as fast as they are answered. [default: 1000]
    #[arg(long, value_name = "N|max", value_parser = rate)]
    rate: Option<u64>,
    /// Messages sent a second, over all sources. [default: 1000]
    #[arg(long, value_name = "N", value_parser = positive)]
    messages_per_second: Option<u64>,
    /// Concurrent sources of messages. [default: 100]
    #[arg(long, value_name = "K", value_parser = positive)]
    sources: Option<u64>,
}

impl LoadArgs {
    /// Puts them into a scenario.
    fn put(self, sheet: &mut Overrides) {
        sheet.rate(self.rate);
        sheet.count("messages", "rate", self.messages_per_second);
        sheet.count("messages", "sources", self.sources);
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
    /// Puts them into a scenario.
    fn put(self, sheet: &mut Overrides) {
        sheet.set("server", "redis", self.redis);
        if self.no_cluster {
            sheet.0.remove("server", "redis");
            sheet.set("messages", "to-another-node", Some(false));
            sheet.set("server", "command", Some(ON_ITS_OWN));
        }
    }
}

/// The command of a server that knows nothing of others.
const ON_ITS_OWN: &str = "comet-server --listen {address}:{port} --control {address}:0";

/// What is asked of several servers.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ClusterArgs {
    /// Servers, which share the ids by their hash. [default: 3]
    #[arg(long, value_name = "N", value_parser = nodes)]
    nodes: Option<u64>,
    /// Connections to hold in all, each logged in as an id of its own. [default: 10k]
    #[arg(long, value_name = "N", value_parser = positive)]
    connections: Option<u64>,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    common: CommonArgs,
}

impl ClusterArgs {
    /// What they ask for.
    pub(crate) fn job(self) -> anyhow::Result<Job> {
        let mut sheet = Overrides::of("cluster");
        sheet.count("server", "nodes", self.nodes);
        sheet.count("connections", "count", self.connections);
        self.load.put(&mut sheet);
        self.broker.put(&mut sheet);
        sheet.job("cluster", self.common)
    }
}

/// What is asked of a million.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct C1mArgs {
    /// Connections to hold in all, each logged in as an id of its own. [default: 1m]
    #[arg(long, value_name = "N", value_parser = positive)]
    connections: Option<u64>,
    /// What the connections are [default: chunks]
    #[arg(long, value_name = "KIND")]
    transport: Option<Transport>,
    /// Connections of a server at most. [default: the open-file limit - 256]
    #[arg(long, value_name = "N", value_parser = positive)]
    per_node: Option<u64>,
    /// Connections opened a second, or max: as fast as they are answered. [default: max]
    #[arg(long, value_name = "N|max", value_parser = rate)]
    rate: Option<u64>,
    /// Messages sent a second, over all sources; the article's third part has 16,666. [default:
    /// 16666]
    #[arg(long, value_name = "N", value_parser = positive)]
    messages_per_second: Option<u64>,
    /// Concurrent sources of messages, each of which sends at random times. [default: 1000]
    #[arg(long, value_name = "K", value_parser = positive)]
    sources: Option<u64>,
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
    pub(crate) fn job(self) -> anyhow::Result<Job> {
        let mut sheet = Overrides::of("c1m");
        sheet.count("connections", "count", self.connections);
        sheet.count("server", "per-node", self.per_node);
        sheet.set("connections", "transport", self.transport.map(Transport::name));
        let (rate, messages_per_second, sources) =
            (self.rate, self.messages_per_second, self.sources);
        LoadArgs { rate, messages_per_second, sources }.put(&mut sheet);
        self.broker.put(&mut sheet);
        sheet.job("c1m", self.common)
    }
}

/// What is asked of reconnect storms.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StormArgs {
    /// Connections to hold, each logged in as an id of its own. [default: 10k]
    #[arg(long, value_name = "N", value_parser = positive)]
    connections: Option<u64>,
    /// When so many of the connections are closed at once, as in floodtest's --storm; may be
    /// repeated. [default: 60s:50%]
    #[arg(long, value_name = "TIME:PERCENT")]
    storm: Vec<String>,
    /// When the server is killed, after the first connection was due. [default: 90s]
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "no_kill")]
    kill_at: Option<Duration>,
    /// How long after that it is started again. [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "no_kill")]
    back_after: Option<Duration>,
    /// Leave the server alone
    #[arg(long)]
    no_kill: bool,
    /// When connections come back, as in floodtest's --reopen. [default: backoff:100ms..5s]
    #[arg(long, value_name = "WHEN")]
    reopen: Option<String>,
    /// One run for each back-off window, and a page with how fast all were back in each:
    /// backoff=0,1s,5s,30s. A connection comes back at a random time within the window; 0: at once
    #[arg(long, value_name = "backoff=TIME,…", conflicts_with = "reopen", value_parser = windows)]
    pub(crate) sweep: Option<Windows>,
    /// Print the scenario instead of running it, with what was overridden
    #[arg(long)]
    pub(crate) print: bool,
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// Back-off windows to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Windows(pub(crate) Vec<Duration>);

/// The most windows of one comparison: each is a run of minutes.
const MOST_WINDOWS: usize = 20;

/// Windows as they are written: `backoff=0,1s,5s`.
fn windows(text: &str) -> Result<Windows, String> {
    let list = text.strip_prefix("backoff=").ok_or("write backoff=0,1s,5s,30s")?;
    let window = |text: &str| match text.trim() {
        "0" => Ok(Duration::ZERO),
        text => units::parse_duration(text).map_err(|error| error.to_string()),
    };
    let windows = list.split(',').map(window).collect::<Result<Vec<_>, _>>()?;
    if windows.len() > MOST_WINDOWS {
        return Err(format!("these are {} windows; give {MOST_WINDOWS} at most", windows.len()));
    }
    if windows.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err("give each window once, the shortest first".to_owned());
    }
    Ok(Windows(windows))
}

/// How floodtest is told that connections come back within a window.
pub(crate) fn within(window: Duration) -> String {
    if window.is_zero() {
        return "at-once".to_owned();
    }
    let window = humantime::format_duration(window).to_string().replace(' ', "");
    format!("backoff:{window}..{window}")
}

impl StormArgs {
    /// What they ask for, with connections that come back as `reopen` says.
    fn with(&self, reopen: Option<String>, kept: Option<KeptArgs>) -> anyhow::Result<Job> {
        let this = self.clone();
        let mut sheet = Overrides::of("storm");
        sheet.count("connections", "count", this.connections);
        sheet.set("connections", "storm", (!this.storm.is_empty()).then_some(this.storm));
        sheet.set("connections", "reopen", reopen);
        this.load.put(&mut sheet);
        let text = |time: Duration| humantime::format_duration(time).to_string();
        if this.no_kill {
            sheet.0.top_remove("faults");
        } else if this.kill_at.is_some() || this.back_after.is_some() {
            let mut fault = toml::Table::new();
            fault.insert("at".to_owned(), text(this.kill_at.unwrap_or(KILL_AT)).into());
            fault.insert("do".to_owned(), "kill".into());
            if let Some(back_after) = this.back_after {
                fault.insert("back-after".to_owned(), text(back_after).into());
            }
            let place = Place::Flag("the command line's --kill-at".to_owned());
            let faults = toml::Value::Array(vec![fault.into()]);
            sheet.0.top_put("faults", faults, place);
        }
        let common = CommonArgs { kept: kept.unwrap_or(this.common.kept), ..this.common };
        sheet.job("storm", common)
    }

    /// What they ask for.
    pub(crate) fn job(self) -> anyhow::Result<Job> {
        self.with(self.reopen.clone(), None)
    }

    /// The run with a back-off window, in a folder of its own.
    pub(crate) fn job_within(&self, window: Duration, out: PathBuf) -> anyhow::Result<Job> {
        let kept = KeptArgs { out: Some(out), ..self.kept().clone() };
        self.with(Some(within(window)), Some(kept))
    }

    /// Where the runs are kept.
    pub(crate) fn kept(&self) -> &KeptArgs {
        &self.common.kept
    }
}

/// When the server is killed unless it is said otherwise: as in the built-in scenario.
const KILL_AT: Duration = Duration::from_secs(90);

/// What is asked of streams that end.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LlmArgs {
    /// Streams at a time, each of which is followed by the next at once: a closed loop.
    /// [default: 1000]
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with = "rate")]
    streams: Option<u64>,
    /// Streams begun a second, whatever comes of them: an open loop
    #[arg(long, value_name = "N", value_parser = positive)]
    rate: Option<u64>,
    /// For how long: that the closed loop goes on, or that streams are begun. [default: 1m]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,
    /// A further value of the scenario, such as server.command="…"; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Print the scenario instead of running it, with what was overridden
    #[arg(long)]
    pub(crate) print: bool,
    #[command(flatten)]
    kept: KeptArgs,
}

impl LlmArgs {
    /// What they ask for.
    pub(crate) fn job(self) -> anyhow::Result<Job> {
        let mut sheet = Overrides::of("llm");
        sheet.count("connections", "count", self.streams);
        let time = self.time.map(|time| humantime::format_duration(time).to_string());
        if self.rate.is_some() {
            sheet.count("connections", "rate", self.rate);
            for key in ["count", "reopen", "hold"] {
                sheet.0.remove("connections", key);
            }
            sheet.set("connections", "for", Some(time.unwrap_or_else(|| "1m".to_owned())));
        } else {
            sheet.set("connections", "hold", time);
        }
        sheet.0.set_all(&self.set)?;
        Ok(self.kept.job(Scenario::of("llm".to_owned(), sheet.0)?))
    }
}

/// A count of servers.
fn nodes(text: &str) -> Result<u64, String> {
    match positive(text)? {
        n if n <= MOST_NODES => Ok(n),
        _ => Err(format!("it must be at most {MOST_NODES}: each server has its own address")),
    }
}

/// A time with its unit, above 0.
fn duration(text: &str) -> Result<Duration, String> {
    match units::parse_duration(text) {
        Ok(time) if time.is_zero() => Err("it must be above 0".to_owned()),
        time => time.map_err(|error| error.to_string()),
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
