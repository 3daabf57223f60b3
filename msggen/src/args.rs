//! The command line, checked once into a [`Config`] and [`Demands`].

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher as _;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use about::About;
use bytes::Bytes;
use clap::{Args as ClapArgs, Parser, Subcommand};
use regex::bytes::Regex;
use reports::expect::Expectations;
use reports::out;
use reports::units::{parse_bytes, parse_count, parse_duration};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::config::Config;
use crate::control::Whom;
use crate::error::Error;
use crate::escapes::unescape;
use crate::form::{SocketForm, Wants};
use crate::graph::{HIGHEST_FOLLOWS, HIGHEST_USERS, Shape};
use crate::ids::{Audience, HIGHEST_ID, Odds, Population};
use crate::interval::Interval;
use crate::message::{DEFAULT_TEXT, Text};
use crate::report::{Outcome, figures};
use crate::route::{HeaderTemplate, Route, is_socket, read_token};
use crate::template::Template;
use crate::tls::Trust;
use crate::verdict::Demands;

/// The most sources. Each is about a kilobyte; ports and descriptors end far below it.
const HIGHEST_SOURCES: u64 = 1_000_000;

/// The most messages in a request: some 5 MB of the article's.
const HIGHEST_BATCH: u64 = 100_000;

/// The most bytes that the messages of a request may be filled up to, in MiB. Every connection may
/// hold as many at the same time.
const HIGHEST_BATCH_MIB: usize = 64;

/// The most requests of a source on their way. Beyond it a server that does not answer would be
/// sent into its memory.
const HIGHEST_IN_FLIGHT: u64 = 10_000;

/// The longest message that comet-server takes.
const HIGHEST_SIZE: u64 = 64 * 1024;

/// The most that is sent when a WebSocket has opened, in bytes. Each of them holds it until then.
const HIGHEST_ON_OPEN: u64 = 64 * 1024;

/// The longest time for anything: past any run, and far from where clocks overflow.
const LONGEST_TIME: Duration = Duration::from_hours(365 * 24);

/// Sends messages to random ids through a Comet server's control door, on schedule.
///
/// Delivery is at most once: what was sent and not answered is counted and never sent again.
///
/// Exit code: 0 when every message was answered, on schedule, and the run shows what is expected of
/// it; 1 when it fell short of that; 2 when nothing could be sent or nothing was answered.
#[derive(Debug, Parser)]
#[command(name = "msggen", version, long_version = about::version())]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of sending messages.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags of a run.
    #[command(flatten)]
    pub send: Option<Args>,
}

/// What msggen does besides sending messages.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Writes a graph of who follows whom, `A B` a line: A follows B
    Friends(FriendsArgs),
    /// What it tells about itself.
    #[command(flatten)]
    About(About),
}

/// The flags of `msggen friends`.
#[derive(Debug, Clone, ClapArgs)]
pub struct FriendsArgs {
    /// Users, with the ids from 1 to this, such as 1m
    #[arg(long, value_name = "N", value_parser = users)]
    pub users: u64,

    /// Others that each user follows
    #[arg(long, value_name = "N", default_value = "15", value_parser = follows)]
    pub follows: u64,

    /// ba: a few are followed by thousands, by preferential attachment (Barabási–Albert), which
    /// holds 4 bytes for each edge; uniform: all alike, by chance; ring: the next ones
    #[arg(long, value_name = "SHAPE", default_value = "ba")]
    pub shape: Shape,

    /// Repeat the graph that had this seed [default: a random one, which is reported]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,

    /// File to write to, there when it is complete [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl FriendsArgs {
    /// What the graph follows from.
    pub fn seed_or_random(&self) -> u64 {
        self.seed.unwrap_or_else(random_seed)
    }
}

/// The flags of a run.
#[derive(Debug, Clone, Parser)]
#[command(name = "msggen", version)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Args {
    /// Messages that each source sends, such as 1000 or 10k
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub num: u64,

    /// From one message of a source to its next; a bare number is milliseconds. 0: as fast as
    /// answers come. Also uniform:10ms..110ms, and exp:60ms for a mean of 60 ms
    #[arg(long, value_name = "MS", value_parser = interval)]
    pub interval: Interval,

    /// Send to random ids in 1..=MAX
    #[arg(long, value_name = "MAX", value_parser = max_id, required_unless_present = "ids")]
    pub max: Option<u64>,

    /// Sources, each sending --num messages
    #[arg(long, value_name = "K", default_value = "1", value_parser = sources)]
    pub sources: u64,

    /// Requests that a source may have on their way; with one it waits for each answer
    #[arg(long, value_name = "N", default_value = "1", value_parser = in_flight)]
    pub in_flight: usize,

    /// Accept a run that could not keep its schedule
    #[arg(long)]
    pub allow_late: bool,

    /// Send to the ids in this file, one a line, instead of 1..=MAX
    #[arg(long, value_name = "FILE", conflicts_with = "max", help_heading = "To whom")]
    pub ids: Option<PathBuf>,

    /// uniform; zipf:1.1, the first id being the likeliest; hot:1%=90%, the first 1 % of the ids
    /// getting 90 % of the messages
    #[arg(long, value_name = "ODDS", default_value = "uniform", help_heading = "To whom")]
    pub distribution: Odds,

    /// Repeat the ids and the random intervals of the run that had this seed [default: a random
    /// one, which is reported]
    #[arg(long, value_name = "S", help_heading = "To whom")]
    pub seed: Option<u64>,

    // In a help text clap takes an n in braces for the end of a line.
    /// What messages say, with {k} (counting down to 1), {id}, {source}, and an n in braces
    /// (counting up from 1 for each id)
    #[arg(long, value_name = "TEXT", default_value = DEFAULT_TEXT, help_heading = "What",
          value_parser = Template::of_message)]
    pub message: Template,

    /// Fill shorter messages up with dots to this size, such as 200B
    #[arg(long, value_name = "SIZE", default_value = "0B", value_parser = size,
          help_heading = "What")]
    pub size: usize,

    /// Append to each message when it was due, how late it was sent, its id, its number among the
    /// messages to that id, and who sent it; floodtest reads it. Messages to one id are then sent
    /// one after the other
    #[arg(long, help_heading = "What")]
    pub stamp: bool,

    /// With --stamp: do not wait for the answer to the last message to an id before the next one;
    /// at most 32 are on their way
    #[arg(long, requires = "stamp", help_heading = "What")]
    pub unordered: bool,

    /// The server's control door, http or https; several share the ids by their hash
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8001",
        help_heading = "Where to"
    )]
    pub server: Vec<String>,

    /// Send up to N overdue messages in one request
    #[arg(long, value_name = "N", default_value = "1", value_parser = batch,
          help_heading = "Where to")]
    pub batch: usize,

    /// Send to all who follow the id as well: each message is about a user. The server is a
    /// comet-server with --friends
    #[arg(long, conflicts_with = "to", help_heading = "To whom")]
    pub followers: bool,

    /// Any other HTTP server: the URL of a request, with {message} and what --message may have in
    /// braces; or ws:// and wss://, where --body goes over --connections WebSockets. Several share
    /// the ids by their hash
    #[arg(long, value_name = "URL", conflicts_with_all = ["server", "batch"],
          help_heading = "Where to")]
    pub to: Vec<String>,

    /// Method of the requests of --to
    #[arg(
        long,
        value_name = "NAME",
        default_value = "POST",
        requires = "to",
        help_heading = "Where to"
    )]
    pub method: reqwest::Method,

    /// A header of the requests of --to, such as 'X-Key: {id}'; may be given several times
    #[arg(long, value_name = "NAME: VALUE", requires = "to", help_heading = "Where to")]
    pub header: Vec<HeaderTemplate>,

    /// Body of the requests of --to. {message:json} stands in a JSON string, {message:url} in a
    /// form
    #[arg(long, value_name = "TEXT", default_value = "{message}", requires = "to",
          value_parser = Template::of_request, help_heading = "Where to")]
    pub body: Template,

    /// Count an answer of --to as one only if its body has a match of this; otherwise it fails
    #[arg(long, value_name = "REGEX", requires = "to", value_parser = parse_regex,
          help_heading = "Where to")]
    pub ok: Option<Regex>,

    /// How many connections a message of --to reached: the number in the one group of this, in the
    /// body of the answer. Without it whom messages reached is not known
    #[arg(long, value_name = "REGEX", requires = "to", value_parser = parse_reached,
          help_heading = "Where to")]
    pub reached: Option<Regex>,

    /// Offer this subprotocol, the best first; may be given several times, and one must be chosen
    #[arg(long, value_name = "NAME", requires = "to", value_parser = protocol,
          value_delimiter = ',', help_heading = "WebSockets")]
    pub protocol: Vec<String>,

    /// Send this when a WebSocket has opened; may be given several times. \r \n \t \\ \xHH stand
    /// for bytes, @FILE for what is in a file
    #[arg(long, value_name = "TEXT|@FILE", requires = "to", help_heading = "WebSockets")]
    pub on_open: Vec<String>,

    /// Wait for something that matches this before the first message of a WebSocket, such as ^40
    /// for socket.io: some servers drop what comes before they have taken --on-open
    #[arg(long, value_name = "REGEX", requires = "to", value_parser = parse_regex,
          help_heading = "WebSockets")]
    pub ready: Option<Regex>,

    /// Send binary frames instead of text frames
    #[arg(long, requires = "to", help_heading = "WebSockets")]
    pub binary: bool,

    /// Count what the server sends back and this matches as the answer to the oldest message of its
    /// WebSocket that has none; --ok and --reached read it. Nothing up to what --ready matches is
    /// one. Without, a message counts as written
    #[arg(long, value_name = "REGEX", requires = "to", value_parser = parse_regex,
          help_heading = "WebSockets")]
    pub ack: Option<Regex>,

    /// Send TEXT back whenever something comes that begins with PREFIX, such as 2=>3 for socket.io;
    /// the first that fits is sent, with the escapes of --on-open
    #[arg(long, value_name = "PREFIX=>TEXT", requires = "to", help_heading = "WebSockets")]
    pub answer: Vec<String>,

    /// PEM file with the certificates to trust for https and wss, instead of the system's: those of
    /// authorities, or the server's own
    #[arg(long, value_name = "FILE", help_heading = "Where to")]
    pub ca: Option<PathBuf>,

    /// Accept any certificate of a server, for https and wss
    #[arg(long, conflicts_with = "ca", help_heading = "Where to")]
    pub insecure: bool,

    /// File with a token, which is sent as `Authorization: Bearer`
    #[arg(long, value_name = "FILE", help_heading = "Where to")]
    pub token_file: Option<PathBuf>,

    // A comet-server that is not short of descriptors serves 160 senders at a time.
    /// Connections to a server at a time; more sources share them
    #[arg(long, value_name = "N", default_value = "128", value_parser = connections,
          help_heading = "Where to")]
    pub connections: usize,

    /// Count messages as unanswered after this time
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time,
          help_heading = "Where to")]
    pub timeout: Duration,

    /// How long messages wait for a server that is gone to come back before they fail
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = any_time,
          help_heading = "Where to")]
    pub reconnect: Duration,

    /// From one report to the next
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time,
          help_heading = "Reports")]
    pub report: Duration,

    /// Print every report as a line of JSON
    #[arg(long, help_heading = "Reports")]
    pub json: bool,

    /// Answer GET /metrics on this address, as 127.0.0.1:9465, with the figures of the last report
    /// for Prometheus; with port 0 any port, which is said on stderr. Whoever reaches the port may
    /// read them
    #[arg(long, value_name = "IP:PORT", help_heading = "Reports")]
    pub metrics: Option<SocketAddr>,

    /// What the run is to show at its end, such as 'void=0,lateness.p99<1ms'
    #[arg(long, value_name = "LIST", help_heading = "Reports")]
    pub expect: Option<String>,

    /// Keep logs in this folder: the reports, and the delays as HdrHistogram logs
    #[arg(long, value_name = "DIR", help_heading = "Reports")]
    pub out: Option<PathBuf>,

    /// Write what was sent to each id into this file when the run ends, for `floodtest --sent`
    #[arg(long, value_name = "FILE", requires = "stamp", help_heading = "Reports")]
    pub sent: Option<PathBuf>,

    // A day is 8,640 entries then, about 15 MB.
    /// How often to write to the logs of --out
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time, requires = "out",
          help_heading = "Reports")]
    pub log_interval: Duration,
}

impl Args {
    /// Checks what the flags cannot check each by itself, and reads the files.
    pub fn check(&self) -> Result<Config, Error> {
        let (n_sources, n_messages) = (self.sources, self.num);
        if n_sources.checked_mul(n_messages).is_none() {
            return Err(Error::TooManyMessages { n_sources, n_messages });
        }
        if self.batch.saturating_mul(self.size) > HIGHEST_BATCH_MIB * 1024 * 1024 {
            let (batch, size) = (self.batch, self.size);
            return Err(Error::BatchTooLarge { batch, size, limit_mib: HIGHEST_BATCH_MIB });
        }
        let text = Text { template: self.message.clone(), size: self.size };
        let token = self.token_file.as_deref().map(read_token).transpose()?;
        let route = if self.to.is_empty() {
            let whom = if self.followers { Whom::Followers } else { Whom::Id };
            Route::control(&self.server, self.batch, whom)?
        } else if self.to.iter().any(|url| is_socket(url)) {
            Route::sockets(&self.to, self.socket_form(token.as_ref())?)?
        } else {
            if let Some(flag) = self.socket_flag() {
                let why = format!("{flag} is for ws:// and wss://");
                return Err(Error::To { text: self.to[0].clone(), why });
            }
            let (method, headers) = (self.method.clone(), self.header.clone());
            let wants = Wants { ok: self.ok.clone(), reached: self.reached.clone() };
            let (body, token) = (self.body.clone(), token.as_ref());
            Route::foreign(&self.to, method, headers, body, token, wants, &text)?
        };
        let population = match &self.ids {
            Some(path) => Population::read(path)?,
            None => Population::UpTo(self.max.expect("it is required without --ids")),
        };
        Ok(Config {
            n_messages,
            interval: self.interval,
            audience: Arc::new(Audience::new(population, self.distribution)?),
            n_sources,
            in_flight: self.in_flight,
            text,
            route,
            token,
            trust: Trust { ca: self.ca.clone(), any: self.insecure },
            n_connections: self.connections,
            seed: self.seed.unwrap_or_else(random_seed),
            has_stamps: self.stamp,
            is_unordered: self.unordered,
            sent: self.sent.clone(),
            timeout: self.timeout,
            patience: self.reconnect,
            report_every: self.report,
            out: self.out.clone().map(|path| out::Folder { path, every: self.log_interval }),
        })
    }

    /// A flag that only WebSockets have, if one was given.
    fn socket_flag(&self) -> Option<&'static str> {
        let given = [
            ("--protocol", !self.protocol.is_empty()),
            ("--on-open", !self.on_open.is_empty()),
            ("--ready", self.ready.is_some()),
            ("--binary", self.binary),
            ("--ack", self.ack.is_some()),
            ("--answer", !self.answer.is_empty()),
        ];
        given.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }

    /// What goes over WebSockets.
    fn socket_form(&self, token: Option<&HeaderValue>) -> Result<SocketForm, Error> {
        let error = |why: &str| Error::To { text: self.to[0].clone(), why: why.to_owned() };
        if self.method != reqwest::Method::POST {
            return Err(error("WebSockets have no --method"));
        }
        if self.ack.is_none() && (self.ok.is_some() || self.reached.is_some()) {
            return Err(error("--ok and --reached read the answers that --ack finds; add --ack"));
        }
        let fields = self.header.iter().map(HeaderTemplate::of_handshake);
        let mut fields = fields.collect::<Result<Vec<_>, _>>().map_err(|why| error(&why))?;
        fields.extend(token.map(|token| (AUTHORIZATION, token.clone())));
        let wrong = |flag, text: &String, why| Error::Socket { flag, text: text.clone(), why };
        let mut on_open = Vec::new();
        for text in &self.on_open {
            let payload = match text.strip_prefix('@') {
                Some(path) => read_payload(Path::new(path)),
                None => unescape(text),
            };
            let payload = payload.and_then(|payload| self.sendable(payload));
            on_open.push(payload.map_err(|why| wrong("--on-open", text, why))?);
        }
        let mut answers = Vec::new();
        for text in &self.answer {
            let pair = text.split_once("=>").ok_or_else(|| "write PREFIX=>TEXT".to_owned());
            let pair = pair.and_then(|(prefix, answer)| {
                Ok((unescape(prefix)?.into(), self.sendable(unescape(answer)?)?))
            });
            answers.push(pair.map_err(|why| wrong("--answer", text, why))?);
        }
        Ok(SocketForm {
            protocols: self.protocol.clone(),
            fields,
            on_open,
            ready: self.ready.clone(),
            is_binary: self.binary,
            answers,
            body: self.body.clone(),
            ack: self.ack.clone(),
            wants: Wants { ok: self.ok.clone(), reached: self.reached.clone() },
        })
    }

    /// What can be sent in the frames that were asked for.
    fn sendable(&self, payload: Vec<u8>) -> Result<Bytes, String> {
        if !self.binary && std::str::from_utf8(&payload).is_err() {
            return Err("text frames are UTF-8, and this is not; --binary sends it".to_owned());
        }
        Ok(payload.into())
    }

    /// What the run is to be judged by.
    pub fn demands(&self) -> Result<Demands, Error> {
        let known = figures(&Outcome::default());
        let parse = |text: &String| Expectations::parse(text, &known);
        let expectations = self.expect.as_ref().map(parse).transpose()?.unwrap_or_default();
        Ok(Demands { allows_late: self.allow_late, expectations })
    }
}

/// Reads what is sent when a WebSocket has opened.
fn read_payload(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut payload = Vec::new();
    let mut limited = file.take(HIGHEST_ON_OPEN + 1);
    limited.read_to_end(&mut payload).map_err(|error| error.to_string())?;
    if payload.len() as u64 > HIGHEST_ON_OPEN {
        return Err(format!("the file is larger than {} KiB", HIGHEST_ON_OPEN / 1024));
    }
    Ok(payload)
}

/// Reads the name of a subprotocol: a token, as the name of a header is.
fn protocol(text: &str) -> Result<String, String> {
    let is_token = text.parse::<HeaderName>().is_ok();
    is_token.then(|| text.to_owned()).ok_or_else(|| "a name has no blanks".to_owned())
}

/// A seed nobody chose. The standard library seeds its hash maps from the system's generator; this
/// is one such seed.
fn random_seed() -> u64 {
    RandomState::new().hash_one(())
}

/// Reads a count in `1..=highest`; `why` says what the border is.
fn count_in(text: &str, highest: u64, why: &str) -> Result<u64, String> {
    let n = parse_count(text).map_err(|error| error.to_string())?;
    match n {
        0 => Err("must be at least 1".to_owned()),
        n if n > highest => Err(format!("must be at most {highest}: {why}")),
        n => Ok(n),
    }
}

/// The same for what is held in memory.
fn size_in(text: &str, highest: u64, why: &str) -> Result<usize, String> {
    let n = count_in(text, highest, why)?;
    Ok(usize::try_from(n).expect("the highest fits"))
}

/// Reads a count of at least 1.
fn at_least_one(text: &str) -> Result<u64, String> {
    count_in(text, u64::MAX, "more cannot be counted")
}

/// Reads the largest id.
fn max_id(text: &str) -> Result<u64, String> {
    count_in(text, HIGHEST_ID, "larger ids do not exist")
        .map_err(|error| format!("{error}; ids are drawn from 1..=MAX"))
}

/// Reads the number of users.
fn users(text: &str) -> Result<u64, String> {
    count_in(text, HIGHEST_USERS, "ids have 32 bits here")
}

/// Reads the number of others that a user follows.
fn follows(text: &str) -> Result<u64, String> {
    count_in(text, HIGHEST_FOLLOWS, "all that a user follows are looked through for each")
}

/// Reads the number of sources.
fn sources(text: &str) -> Result<u64, String> {
    count_in(text, HIGHEST_SOURCES, "each takes about a kilobyte")
}

/// Reads the number of requests on their way.
fn in_flight(text: &str) -> Result<usize, String> {
    size_in(text, HIGHEST_IN_FLIGHT, "a server that does not answer would be sent into its memory")
}

/// Reads the number of connections.
fn connections(text: &str) -> Result<usize, String> {
    size_in(text, HIGHEST_SOURCES, "each needs a port")
}

/// Reads the number of messages in a request.
fn batch(text: &str) -> Result<usize, String> {
    size_in(text, HIGHEST_BATCH, "a request is held in memory")
}

/// Reads the size of a message.
fn size(text: &str) -> Result<usize, String> {
    match parse_bytes(text) {
        Ok(size) if size > HIGHEST_SIZE => Err("must be at most 64KiB, as in comet-server".into()),
        Ok(size) => Ok(usize::try_from(size).expect("64 KiB fit")),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads a time.
fn any_time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).map_err(|error| error.to_string())?;
    if time > LONGEST_TIME { Err("must be at most 365days".to_owned()) } else { Ok(time) }
}

/// Reads a time that is not zero.
fn time(text: &str) -> Result<Duration, String> {
    let time = any_time(text)?;
    if time.is_zero() { Err("must be more than 0s".to_owned()) } else { Ok(time) }
}

/// Reads a regular expression.
fn parse_regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| error.to_string())
}

/// Reads a regular expression with one group.
fn parse_reached(text: &str) -> Result<Regex, String> {
    let regex = parse_regex(text)?;
    // The whole match is a group too.
    match regex.captures_len() {
        2 => Ok(regex),
        n => Err(format!(
            "it has {} groups; put the number alone into one, as in 'subscribers: ([0-9]+)'",
            n - 1
        )),
    }
}

/// Reads an interval.
fn interval(text: &str) -> Result<Interval, String> {
    let interval: Interval = text.parse().map_err(|error| format!("{error}"))?;
    let is_long = interval.longest() > LONGEST_TIME;
    if is_long { Err("must be at most 365days".to_owned()) } else { Ok(interval) }
}
