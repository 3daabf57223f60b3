//! The command line.

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use about::About;
use humantime::parse_duration;

use crate::cluster;
use crate::config::{Config, DEFAULT_MAX_IDS};
use crate::friends;
use crate::friends::command::FriendsCommand;
use crate::limits::MIN_OPEN_FILES;
use crate::token;

/// Threads that may be asked for: more than any machine has cores, and a shard's number is 16 bits.
const MAX_THREADS: usize = 1_024;

/// The least that all backlogs together must be allowed: a message of 64 KiB takes up to 400 KB as
/// HTML, and has to fit.
const MIN_BACKLOG_TOTAL_BYTES: usize = 1024 * 1024;

/// Ids that may be asked for: slots of rows are numbered in 31 bits.
const MAX_MAX_IDS: u64 = 2_000_000_000;

/// A Comet server whose idle connections cost a row in a table.
///
/// Clients follow ids at /test/{id}; messages come in at the control door.
#[derive(Debug, clap::Parser)]
#[command(version, long_version = about::version(), args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What is done instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where clients connect; may be repeated. Port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: Vec<SocketAddr>,
    /// Where messages come in and counts go out.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8001")]
    pub control: SocketAddr,
    /// Threads. [default: 1, which is the fastest on two cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Connections held at a time; one more is answered 503. [default: the open-file limit - 256]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub max_connections: Option<NonZeroU64>,
    /// Connections held at a time from one IPv4 address or IPv6 /64 network; one more is answered
    /// 429. [default: no limit]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub max_connections_per_ip: Option<NonZeroU64>,
    /// How long a request may take from accept to its last byte; 408 after that.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub head_timeout: Duration,
    /// Bytes that may wait for one connection; a reader further behind is closed.
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = parse_size)]
    pub backlog: usize,
    /// Memory that all backlogs together may take; beyond it the readers furthest behind are
    /// closed. [default: 64MiB, or --backlog where that is more]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub backlog_total: Option<usize>,
    /// Ids that all connections together may follow, each counted for each connection; a request
    /// with more than are left is answered 503. [default: 1048576, or --max-connections where that
    /// is more]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub max_ids: Option<NonZeroU64>,
    /// How often an event stream gets a comment and a WebSocket a ping, so that a dead peer is
    /// found: a WebSocket that has not answered two of them when the next one is due is closed.
    /// HTML has nothing of the kind. [default: never; the kernel asks after 1 to 2 minutes of
    /// silence]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub ping: Option<Duration>,
    /// How long a shutdown may take.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub grace: Duration,
    /// A file with the token that senders must show (Authorization: Bearer …): at least 16
    /// characters, in a file that not everybody on this machine can read. Needed to bind --control
    /// beyond loopback.
    #[arg(long, value_name = "FILE")]
    pub control_token_file: Option<PathBuf>,
    /// A name that requests to the control door may have as their Host, besides localhost and
    /// loopback addresses; may be repeated. Without a token no other Host is answered, so that web
    /// pages cannot send. With a token every Host is.
    #[arg(long, value_name = "NAME", value_parser = parse_host)]
    pub control_host: Vec<String>,
    /// Makes this server a node of a cluster, by the pub/sub of a Redis or Valkey server:
    /// redis://host:port, redis://user@host:port, or rediss:// for TLS. Several share the ids:
    /// redis://host:port,host:port. List the same brokers, spelled the same way, on every node.
    #[arg(long, value_name = "URL")]
    pub cluster: Option<String>,
    /// A file with the password of the brokers. [default: what the environment has as
    /// `COMET_CLUSTER_PASSWORD`, or none]
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub cluster_password_file: Option<PathBuf>,
    /// A PEM file of the certificates that brokers with TLS are trusted by. [default: those that
    /// this system trusts]
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub cluster_ca: Option<PathBuf>,
    /// What this node is called in logs and counts. [default: a random number]
    #[arg(long, value_name = "NAME", requires = "cluster")]
    pub name: Option<String>,
    /// The folder of a store of who follows whom, which is made if it is not there. With it
    /// messages can be sent to all followers of a user, and the control door has /friends.
    #[arg(long, value_name = "DIR")]
    pub friends: Option<PathBuf>,
    /// Memory in which pages of that store are kept, beside what the system keeps of its file.
    #[arg(long, value_name = "SIZE", default_value = "24MiB", value_parser = parse_size)]
    #[arg(requires = "friends")]
    pub friends_cache: usize,
    /// What is logged to stderr.
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Log::Warn)]
    pub log: Log,
}

/// What is done instead of serving.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Makes, writes out and checks stores of who follows whom.
    #[command(subcommand)]
    Friends(FriendsCommand),
    /// What it tells about itself.
    #[command(flatten)]
    About(About),
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Log {
    /// What an operator should look into.
    Warn,
    /// Start and end as well.
    Info,
    /// Every login; at thousands a second that is the load.
    Logins,
}

impl Args {
    /// Checks what clap cannot, and completes it for a process that may open `n_descriptors`.
    pub fn config(&self, n_descriptors: u64) -> anyhow::Result<Config> {
        anyhow::ensure!(
            n_descriptors >= MIN_OPEN_FILES,
            "the open-file limit is {n_descriptors}, and {MIN_OPEN_FILES} is the least; raise it \
             with `ulimit -n`"
        );
        let mut config = Config::with_descriptors(n_descriptors);
        config.threads = self.threads.unwrap_or(config.threads);
        anyhow::ensure!(
            config.threads.get() <= MAX_THREADS,
            "{} threads are too many: at most {MAX_THREADS}, and hardly more than cores",
            config.threads
        );
        config.head_timeout = self.head_timeout;
        config.backlog_bytes = self.backlog;
        config.backlog_total_bytes =
            self.backlog_total.unwrap_or(config.backlog_total_bytes.max(self.backlog));
        anyhow::ensure!(
            config.backlog_total_bytes >= self.backlog.max(MIN_BACKLOG_TOTAL_BYTES),
            "--backlog-total is less than 1 MiB or than one --backlog, so that no message could \
             wait; make it larger"
        );
        config.grace = self.grace;
        anyhow::ensure!(
            self.ping != Some(Duration::ZERO),
            "--ping 0s would do nothing else; leave it out for no pings"
        );
        config.ping = self.ping;
        config.max_connections_per_ip = self.max_connections_per_ip;
        if let Some(max_connections) = self.max_connections {
            let n_wanted = max_connections.get();
            anyhow::ensure!(
                n_wanted <= config.max_connections,
                "cannot hold {n_wanted} connections: the open-file limit is {n_descriptors}, of \
                 which {} are for clients; raise it with `ulimit -n`, or ask for fewer",
                config.max_connections
            );
            config.max_connections = n_wanted;
            config.max_ids = DEFAULT_MAX_IDS.max(n_wanted);
        }
        config.max_ids = self.max_ids.map_or(config.max_ids, NonZeroU64::get);
        anyhow::ensure!(
            config.max_ids <= MAX_MAX_IDS,
            "cannot follow {} ids: at most {MAX_MAX_IDS}; ask for fewer",
            config.max_ids
        );
        if let Some(file) = &self.control_token_file {
            config.control_token = Some(token::read(file)?);
        }
        config.control_hosts.clone_from(&self.control_host);
        anyhow::ensure!(
            self.control.ip().is_loopback() || config.control_token.is_some(),
            "the control door on {} would be open to everybody; give --control-token-file, or \
             bind it to 127.0.0.1",
            self.control
        );
        if let Some(text) = &self.cluster {
            // Not read by clap, which would show the password of a URL that it does not understand.
            let options = cluster::Options {
                url: text,
                name: self.name.clone(),
                password_file: self.cluster_password_file.as_ref(),
                password: std::env::var_os(cluster::PASSWORD_VARIABLE),
                ca: self.cluster_ca.as_ref(),
            };
            config.cluster = Some(options.config()?);
        }
        if let Some(folder) = &self.friends {
            // Last, as it makes a folder.
            config.friends = Some(friends::Opened::open(folder, self.friends_cache)?);
        }
        Ok(config)
    }
}

/// A name or an address, as it stands in a `Host` field before the port.
fn parse_host(text: &str) -> Result<String, String> {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_name_byte) {
        return Ok(text.to_owned());
    }
    Err("write a name without scheme and port, like comet.example".to_owned())
}

/// A count, `10000` or `10k`.
fn parse_count(text: &str) -> Result<NonZeroU64, String> {
    let is_bytes = text.ends_with(['b', 'B', 'i']);
    let count = parse_number(text).filter(|_| !is_bytes);
    count.and_then(NonZeroU64::new).ok_or_else(|| "write a count, like 10000 or 10k".to_owned())
}

/// A size in bytes with its unit, `64KiB`.
fn parse_size(text: &str) -> Result<usize, String> {
    let has_unit = text.ends_with(['b', 'B']);
    let size = parse_number(text).filter(|_| has_unit);
    size.and_then(|size| usize::try_from(size).ok())
        .ok_or_else(|| "write a size, like 64KiB".to_owned())
}

/// A number with its suffix. More digits than the largest `u64` has are refused first:
/// parse-size 1.1 rounds by those that do not fit, and overflows at 0.184467440737095516155.
fn parse_number(text: &str) -> Option<u64> {
    let fits = text.bytes().filter(u8::is_ascii_digit).count() <= 20;
    fits.then(|| parse_size::parse_size(text).ok()).flatten()
}
