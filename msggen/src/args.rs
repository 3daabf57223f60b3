//! The command line, checked once into a [`Config`].

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use reports::out;
use reports::units::{parse_count, parse_duration, parse_interval};
use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::{Config, Error};

/// The largest id that a server takes.
const HIGHEST_ID: u64 = i64::MAX as u64;

/// The most sources. Each is a few hundred bytes and at worst a connection; ports and descriptors
/// end far below it.
const HIGHEST_SOURCES: u64 = 1_000_000;

/// The most messages in a request: some 5 MB, which every source may hold at the same time.
const HIGHEST_BATCH: u64 = 100_000;

/// The longest time for a report or an answer: past any run, and far from where clocks overflow.
const LONGEST_TIME: Duration = Duration::from_hours(365 * 24);

/// Sends messages to random ids through a Comet server's control door, on schedule.
///
/// Exit code: 0 when every message was answered, at the rate asked for; 1 when some were not or
/// the rate was missed; 2 when nothing could be sent or nothing was answered.
#[derive(Debug, Clone, Parser)]
#[command(name = "msggen", version)]
pub struct Args {
    /// Messages that each source sends, such as 1000 or 10k
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub num: u64,

    /// From one message of a source to its next; a bare number is milliseconds. 0: as fast as
    /// answers come
    #[arg(long, value_name = "MS", value_parser = parse_interval)]
    pub interval: Duration,

    /// Send to random ids in 1..=MAX
    #[arg(long, value_name = "MAX", value_parser = max_id)]
    pub max: u64,

    /// Sources, each sending --num messages and waiting for at most one answer at a time
    #[arg(long, value_name = "K", default_value = "1", value_parser = sources)]
    pub sources: u64,

    /// The server's control door
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8001")]
    pub server: String,

    /// File with the control door's token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Send up to N overdue messages in one request
    #[arg(long, value_name = "N", default_value = "1", value_parser = batch)]
    pub batch: u64,

    /// Repeat the ids of the run that had this seed [default: a random one, which is reported]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,

    /// Append to each message when it was due and how late it was sent
    #[arg(long)]
    pub stamp: bool,

    /// Count messages as unanswered after this time
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub timeout: Duration,

    /// From one report to the next
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub report: Duration,

    /// Print every report as a line of JSON
    #[arg(long)]
    pub json: bool,

    /// Keep logs in this folder: the reports, and the delays as HdrHistogram logs
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    // A day is 8,640 entries then, about 15 MB.
    /// How often to write to the logs of --out
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time, requires = "out")]
    pub log_interval: Duration,
}

impl Args {
    /// Checks what the flags cannot check each by itself, and reads the token.
    pub fn check(&self) -> Result<Config, Error> {
        let (n_sources, n_messages) = (self.sources, self.num);
        if n_sources.checked_mul(n_messages).is_none() {
            return Err(Error::TooManyMessages { n_sources, n_messages });
        }
        Ok(Config {
            n_messages,
            interval: self.interval,
            max_id: self.max,
            n_sources,
            server: parse_server(&self.server)?,
            token: self.token_file.as_deref().map(read_token).transpose()?,
            batch: self.batch,
            seed: self.seed.unwrap_or_else(random_seed),
            has_stamps: self.stamp,
            timeout: self.timeout,
            report_every: self.report,
            out: self.out.clone().map(|path| out::Folder { path, every: self.log_interval }),
        })
    }
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

/// Reads a count of at least 1.
fn at_least_one(text: &str) -> Result<u64, String> {
    count_in(text, u64::MAX, "more cannot be counted")
}

/// Reads the largest id.
fn max_id(text: &str) -> Result<u64, String> {
    count_in(text, HIGHEST_ID, "larger ids do not exist")
        .map_err(|error| format!("{error}; ids are drawn from 1..=MAX"))
}

/// Reads the number of sources.
fn sources(text: &str) -> Result<u64, String> {
    count_in(text, HIGHEST_SOURCES, "each may need a connection")
}

/// Reads the number of messages in a request.
fn batch(text: &str) -> Result<u64, String> {
    count_in(text, HIGHEST_BATCH, "a request is held in memory")
}

/// Reads a time that is not zero.
fn time(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be more than 0s".to_owned()),
        Ok(time) if time > LONGEST_TIME => Err("must be at most 365days".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads the URL of a control door.
fn parse_server(text: &str) -> Result<Url, Error> {
    let error = |why: String| Error::Server { text: text.to_owned(), why };
    // `localhost:8001` would otherwise be a URL of the scheme `localhost`.
    if !text.contains("://") {
        return Err(error(format!("write http://{text}")));
    }
    let url = Url::parse(text).map_err(|cause| error(cause.to_string()))?;
    let why = match url.scheme() {
        "https" => "https is not supported; name the control door itself, over plain http",
        "http" if !url.username().is_empty() || url.password().is_some() => {
            "a user name is not supported; put the token into a file and name it with --token-file"
        }
        "http" if url.query().is_some() || url.fragment().is_some() => {
            "it ends in a query or fragment; write http://host:port"
        }
        "http" => return Ok(url),
        _ => "write http://host:port",
    };
    Err(error(why.to_owned()))
}

/// Reads the token in the file at `path`, as the header that carries it.
fn read_token(path: &Path) -> Result<HeaderValue, Error> {
    let error = |why| Error::Token { path: path.to_owned(), why };
    let content = std::fs::read_to_string(path)
        .map_err(|source| Error::TokenFile { path: path.to_owned(), source })?;
    let token = content.trim();
    if token.is_empty() {
        return Err(error("the file is empty"));
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| error("a header cannot carry its content; it should be one line of text"))?;
    header.set_sensitive(true);
    Ok(header)
}
