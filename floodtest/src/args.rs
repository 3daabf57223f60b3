//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use about::About;
use clap::{Args, Parser, Subcommand};
use reports::expect::Expectations;
use reports::remote::RemoteHost;
use reports::{out, units};

use crate::accounting::{Accounting, DEFAULT_ID_IN_URL, IdInUrl};
use crate::config::{Config, Rate};
use crate::end::Ends;
use crate::figures;
use crate::generate::Pattern;
use crate::hosts::{Hosts, RemoteProgram};
use crate::items::{Sequence, Stream};
use crate::judge::{JudgeBy, NumbersAre};
use crate::request::RequestArgs;
use crate::shape::{Lifetime, Reopen, Shape, Slow, Storm};
use crate::sources::SourceIps;
use crate::streams::args::{Profile, StreamArgs};
use crate::tls::TlsArgs;

/// Opens and holds many HTTP connections from a URL file, counts what arrives on them and judges
/// it.
///
/// It holds them until Ctrl-C, and prints a line `Stats: {connected,closed,items}` every 10
/// seconds. Exit code 0: all connections were established and held, no message is missing; 1:
/// the run fell short of that; 2: it could not be made.
#[derive(Debug, Parser)]
#[command(version, long_version = about::version())]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of holding connections.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of a run.
    #[command(flatten)]
    pub hold: Option<HoldArgs>,
    /// Further flags of a run.
    #[command(flatten)]
    pub accounting: AccountingArgs,
    /// Flags about streams that end.
    #[command(flatten)]
    pub streams: StreamArgs,
    /// Flags about the shape of its load.
    #[command(flatten)]
    pub shape: ShapeArgs,
}

/// What floodtest does besides holding connections.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Writes a URL file to hold connections from.
    Urls(UrlsArgs),
    /// What it tells about itself.
    #[command(flatten)]
    About(About),
    /// Holds a share of the connections for the process that started it.
    #[command(hide = true)]
    Worker {
        /// The URL file.
        #[arg(required_unless_present = "stdio")]
        urls: Option<PathBuf>,
        /// Answer for this host, to a floodtest at the other end of stdin and stdout.
        #[arg(long, conflicts_with = "urls")]
        stdio: bool,
    },
}

/// The flags of a run.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// File with the URLs, one http://, https://, ws:// or wss:// URL a line, with further fields
    /// after tabs if need be; # begins a comment line.
    // A struct that has others flattened into it is no group by itself; that this one is there is
    // known by the flag that it cannot be without.
    #[arg(long, value_name = "FILE", group = "HoldArgs")]
    pub urls: PathBuf,

    /// Connections to begin a second, whatever the server does; or max: as fast as they are
    /// answered; or steps, of which the last may be without an end: 100/30s,ramp:100..2000/1m,500.
    /// The default is the article's.
    #[arg(long, value_name = "N|max|STEPS", default_value = "100")]
    pub rate: Rate,

    /// Connections in all [default: one for each URL]. More than there are URLs: the file is
    /// gone through again.
    #[arg(long, value_name = "N", value_parser = positive_count)]
    pub connections: Option<u64>,

    /// How long to hold the connections after the last one was opened [default: until Ctrl-C].
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    pub hold: Option<Duration>,

    /// How often to report.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    pub report: Duration,

    // Ten seconds are three tries of TCP.
    /// How long a connect may take, the handshake of TLS included.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    pub connect_timeout: Duration,

    /// How long a connection may wait for its response head once its request is sent; or none, for
    /// servers that answer when they have something to say.
    #[arg(long, value_name = "TIME|none", default_value = "10s", value_parser = limit)]
    pub head_timeout: Limit,

    /// What is asked.
    #[command(flatten)]
    pub request: RequestArgs,

    /// Addresses to dial from, 62000 connections each: 127.0.0.2-127.0.0.60,10.0.0.7 [default:
    /// as the kernel would choose; on loopback as many as it takes].
    #[arg(long, value_name = "IP[-IP][,…]")]
    pub source_ip: Option<SourceIps>,

    /// Hold the connections on these hosts, reached with ssh as you would reach them yourself,
    /// each with floodtest installed: a,user@b:2222. c=2 has twice the load of the others.
    #[arg(long, value_name = "HOST[:PORT][=WEIGHT][,…]")]
    pub hosts: Option<Hosts>,

    /// The host where msggen runs, if it is not this one: delays go by its clock. It needs
    /// floodtest as well, and may be one of --hosts.
    #[arg(long, value_name = "HOST[:PORT]", requires = "hosts")]
    pub sender_host: Option<RemoteHost>,

    /// What floodtest is called on the hosts of --hosts, where it is not on the PATH of a shell
    /// without a terminal.
    #[arg(long, value_name = "PATH", default_value = "floodtest", requires = "hosts")]
    pub floodtest_path: RemoteProgram,

    /// Ask for server-sent events (Accept: text/event-stream).
    #[arg(long)]
    pub sse: bool,

    /// Whom to trust.
    #[command(flatten)]
    pub tls: TlsArgs,

    /// What a response means that comes to its proper end before the run does: its last chunk, all
    /// of its Content-Length, or the close where that alone is its end [default: fault].
    #[arg(long, value_name = "WHAT")]
    pub ends: Option<Ends>,

    /// What the final report must say for exit code 0, instead of all connections held and no
    /// message missing: `connected>=10000,closed=0,lost=0,delivery_from_due.p99<50ms`
    #[arg(long, value_name = "EXPECTATION[,…]", value_parser = figures::parse)]
    pub expect: Option<Expectations>,

    /// Print what would be done, with how many processes, addresses and ports, and stop.
    #[arg(long)]
    pub plan: bool,

    /// Print a JSON object for each report instead of text; floodtest/SCHEMA.md describes it.
    #[arg(long)]
    pub json: bool,

    /// Answer GET /metrics on this address, as 127.0.0.1:9464, with the figures of the last report
    /// for Prometheus; with port 0 any port, which is said on stderr. Whoever reaches the port may
    /// read them.
    #[arg(long, value_name = "IP:PORT")]
    pub metrics: Option<SocketAddr>,

    /// Keep logs in this folder: the reports, and the delays as HdrHistogram logs.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    // A day is 8,640 entries then, about 15 MB.
    /// How often to write to the logs of --out.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = positive_duration)]
    #[arg(requires = "out")]
    pub log_interval: Duration,
}

/// The flags about the shape of a load.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Shape of the load")]
pub struct ShapeArgs {
    /// How long to begin connections at the rate; they are as many as fall due, or --connections
    /// if those are fewer, and the URL file is gone through again if need be.
    #[arg(long = "for", value_name = "TIME", value_parser = positive_duration)]
    pub begins_for: Option<Duration>,

    /// Close each connection after this time and open it anew (churn): 30s, exp:30s (distributed
    /// exponentially, with this mean) or uniform:10s..60s.
    #[arg(long, value_name = "TIME")]
    pub lifetime: Option<Lifetime>,

    /// What follows an end that was not ours, a failed connect, and a storm: never, at-once,
    /// after:1s, backoff:100ms..30s (a time between zero and the first, which doubles with each
    /// connect that fails, up to the second), or server (retry: of an event stream, Retry-After;
    /// 3 s without).
    #[arg(long, value_name = "WHEN", default_value = "never")]
    pub reopen: Reopen,

    /// Close so many of the open connections at this time after the start: 60s:50%, or
    /// 60s:50%:reset to throw them away. May be repeated; needs --reopen.
    #[arg(long, value_name = "TIME:PERCENT[:reset]")]
    pub storm: Vec<Storm>,

    /// Read so many of the connections slowly: 1%:1KiB/s, or 1%:0 for never. What comes on them
    /// is counted in bytes, and its messages are neither judged nor timed. May be repeated.
    #[arg(long, value_name = "PERCENT:BYTES/s")]
    pub slow: Vec<Slow>,

    /// What all choices depend on: lifetimes, waits, whom a storm closes, who is slow. Runs with
    /// the same seed make the same ones.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

impl ShapeArgs {
    /// What these flags say.
    fn shape(&self) -> Shape {
        Shape {
            begins_for: self.begins_for,
            lifetime: self.lifetime,
            reopen: self.reopen,
            storms: self.storm.clone(),
            slow: self.slow.clone(),
            seed: self.seed,
        }
    }
}

/// The flags about messages.
#[derive(Debug, Args)]
#[command(next_help_heading = "Messages")]
pub struct AccountingArgs {
    /// What items, the third figure of Stats, are: auto, chunks, events (server-sent events), lines
    /// (NDJSON), frames (messages of WebSockets) or bytes (messages, by their marks alone). auto
    /// goes by the URL and the response's Content-Type [default: auto].
    #[arg(long, value_name = "KIND")]
    pub stream: Option<Stream>,

    /// Where the server numbers its messages: comet (as comet-server does, for behind a proxy that
    /// hides it), event-id (the id field of events), or a regular expression with one group around
    /// the digits, as in 'seq=([0-9]+)'.
    #[arg(long, value_name = "WHERE|REGEX")]
    pub sequence: Option<Sequence>,

    /// What these numbers count: consecutive (the messages of a connection, so that one left out is
    /// lost) or rising (anything else: only duplicates and order are judged).
    #[arg(long, value_name = "KIND", requires = "sequence")]
    pub numbers: Option<NumbersAre>,

    /// Judge messages by the stamps of msggen --stamp, or by the server's numbers [default: stamps
    /// where the first message of a connection has one; comet-server's numbers without --sent].
    #[arg(long, value_name = "stamps|numbers")]
    pub judge: Option<JudgeBy>,

    /// The file of msggen --sent, read at the end: what was sent and never came is lost, from the
    /// first message to the last. Several for several senders.
    #[arg(long, value_name = "FILE")]
    pub sent: Vec<PathBuf>,

    /// Who follows whom, `A B` a line: A follows B. With --sent of msggen --followers a connection
    /// is to get what is about its ids and about all whom these follow.
    #[arg(long, value_name = "FILE", requires = "sent")]
    pub follows: Option<PathBuf>,

    /// How long after the sender's last answer a message may still come, with --sent.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = units::parse_duration)]
    pub settle: Duration,

    /// Where a URL has the ids that its connection follows, with --sent: a regular expression with
    /// one group, around an id or ids with commas between them.
    #[arg(long, value_name = "REGEX", default_value = DEFAULT_ID_IN_URL)]
    pub id_in_url: IdInUrl,

    /// Series of stamps (a sender and an id on a connection) beyond the first of each connection
    /// that a process follows, 32 bytes each; messages of further ones are not judged.
    #[arg(long, value_name = "N", default_value = "1m", value_parser = units::parse_count)]
    pub max_windows: u64,
}

impl AccountingArgs {
    /// What these flags say.
    fn accounting(&self, profile: Option<Profile>) -> Accounting {
        let stream = self.stream.or(profile.map(Profile::stream));
        Accounting {
            stream: stream.unwrap_or_default(),
            sequence: self.sequence.clone(),
            numbers: self.numbers,
            judge: self.judge,
            sent: self.sent.clone(),
            follows: self.follows.clone(),
            settle: self.settle,
            id_in_url: self.id_in_url.clone(),
            max_windows: self.max_windows,
        }
    }
}

/// The flags of `floodtest urls`.
#[derive(Debug, Args)]
pub struct UrlsArgs {
    /// How many URLs to write.
    #[arg(long, value_name = "N", value_parser = positive_count)]
    pub count: u64,

    /// The URL, with {id} where the number goes; several share the ids by their hash, as msggen's
    /// --server do.
    #[arg(long, value_name = "URL", required = true)]
    pub pattern: Vec<Pattern>,

    /// The first number.
    #[arg(long, value_name = "N", default_value = "1", value_parser = count)]
    pub first: u64,

    /// File to write to [default: stdout].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl HoldArgs {
    /// What these flags ask for. On a terminal progress is shown once a second.
    pub fn config(
        &self,
        accounting: &AccountingArgs,
        streams: &StreamArgs,
        shape: &ShapeArgs,
        is_terminal: bool,
    ) -> Config {
        let ends = self.ends.or(streams.profile.map(Profile::ends)).unwrap_or_default();
        // Whoever says that streams end, or expects something of their times, wants to know them.
        let expected = self.expect.iter().flat_map(Expectations::names);
        let is_expected = expected.into_iter().any(figures::is_of_streams);
        Config {
            urls: self.urls.clone(),
            rate: self.rate.clone(),
            shape: shape.shape(),
            connections: self.connections,
            hold: self.hold,
            report_every: self.report,
            connect_timeout: self.connect_timeout,
            head_timeout: self.head_timeout.0,
            source_ips: self.source_ip.clone(),
            accounting: accounting.accounting(streams.profile),
            is_sse: self.sse,
            request: self.request.clone(),
            tls: self.tls.clone(),
            ends,
            streams: streams.plan(ends != Ends::Fault || is_expected),
            progress_every: is_terminal.then_some(Duration::from_secs(1)),
            // Itself, also when the file was replaced since it was started.
            worker: "/proc/self/exe".into(),
            hosts: self.hosts.clone().unwrap_or_default().0,
            sender_host: self.sender_host.clone(),
            remote_program: self.floodtest_path.0.clone(),
            out: self.out.clone().map(|path| out::Folder { path, every: self.log_interval }),
        }
    }
}

/// A time after which something has taken too long, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub Option<Duration>);

/// Reads a time of more than zero, or `none`.
fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        text => match positive_duration(text) {
            Ok(time) => Ok(Limit(Some(time))),
            Err(error) => Err(format!("{error}; or none, for no limit")),
        },
    }
}

/// The largest count and the largest id, so that their sum is still a number: the server's limit.
const MAX_COUNT: u64 = i64::MAX as u64;

/// Reads a count or an id from 0 on.
fn count(text: &str) -> Result<u64, String> {
    match units::parse_count(text) {
        Ok(count) if count > MAX_COUNT => Err(format!("it must be at most {MAX_COUNT}")),
        result => result.map_err(|error| error.to_string()),
    }
}

/// Reads a count of at least 1.
fn positive_count(text: &str) -> Result<u64, String> {
    match count(text) {
        Ok(0) => Err("it must be at least 1".to_owned()),
        result => result,
    }
}

/// Reads a time of more than zero.
fn positive_duration(text: &str) -> Result<Duration, String> {
    match units::parse_duration(text) {
        Ok(Duration::ZERO) => Err("it must be more than zero".to_owned()),
        result => result.map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_run_needs_only_urls() {
        let cli = Cli::try_parse_from(["floodtest", "--urls", "mochi-urls.txt"]).unwrap();
        let config = cli.hold.unwrap().config(&cli.accounting, &cli.streams, &cli.shape, false);
        assert_eq!(config.rate, Rate::PerSecond(100.0));
        assert_eq!((config.connections, config.hold), (None, None));
        assert_eq!(config.report_every, Duration::from_secs(10));
        assert!(Cli::try_parse_from(["floodtest"]).is_err());
    }

    #[test]
    fn urls_is_a_command_of_its_own() {
        let pattern = "http://127.0.0.1:8000/test/{id}";
        let line = ["floodtest", "urls", "--count", "10k", "--pattern", pattern];
        let Some(Command::Urls(args)) = Cli::try_parse_from(line).unwrap().command else {
            panic!("the command was not understood");
        };
        assert_eq!((args.count, args.first, args.out), (10_000, 1, None));
    }

    #[test]
    fn a_bad_number_is_refused_with_what_to_write() {
        for (flag, value, words) in [
            ("--report", "10", "write 10s or 10ms"),
            ("--head-timeout", "0s", "or none, for no limit"),
            ("--ends", "well", "[possible values: fault, ok, expected]"),
            ("--status", "204", "[possible values: 200, 2xx]"),
            ("--follow", "21", "21 is not in 1..=20"),
            ("--cert", "file", "--key <FILE>"),
            ("--report", "0s", "more than zero"),
            ("--connections", "0", "at least 1"),
            ("--connections", "18446744073709551615", "at most 9223372036854775807"),
            ("--rate", "0", "or max"),
            ("--lifetime", "0s", "a time of more than zero"),
            ("--reopen", "backoff:1s", "backoff:100ms..30s"),
            ("--storm", "60s:150%", "at most 100 %"),
            ("--slow", "1%:1KiB", "1%:1KiB/s"),
            ("--source-ip", "localhost", "127.0.0.2-127.0.0.60"),
            ("--expect", "conected>1", "there is no figure \"conected\""),
            ("--sequence", "seq=[0-9]+", "into a group, as in 'seq=([0-9]+)'"),
            ("--sequence", "seq=([0-9]+", "not a regular expression"),
        ] {
            let line = ["floodtest", "--urls", "x", flag, value];
            let error = Cli::try_parse_from(line).unwrap_err().to_string();
            assert!(error.contains(words), "{flag} {value}: {error}");
        }
    }
}
