//! The load of a scenario: what floodtest holds, and what msggen sends.

use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use super::flags;
use super::table::{Section, count};

/// How long connections are held when no messages are sent, unless the scenario says otherwise.
const HOLD: Duration = Duration::from_mins(1);

/// Connections opened a second, unless the scenario says otherwise: floodtest's default.
const RATE: u64 = 100;

/// How long messages are sent, unless the scenario says otherwise.
const SENDING: Duration = Duration::from_mins(2);

/// The seed of the ids, so that runs can be compared.
const SEED: u64 = 1;

/// The keys of `[connections]` that are no flags of floodtest.
const CONNECTION_KEYS: [&str; 8] =
    ["count", "count-field", "for", "hold", "pattern", "rate", "transport", "urls"];

/// The keys of `[messages]` that are no flags of msggen.
const MESSAGE_KEYS: [&str; 5] = ["for", "random", "rate", "sources", "to-another-node"];

/// What floodtest does.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    /// Where the URLs are from.
    pub(crate) urls: Urls,
    /// What they are; `None`: as URLs and flags say.
    pub(crate) transport: Option<Transport>,
    /// Connections to hold. `None`: one for each URL of the file.
    pub(crate) count: Option<u64>,
    /// Connections opened a second; 0 for as fast as they are answered, and where it changes.
    pub(crate) rate: u64,
    /// The same as floodtest takes it, which knows rates that change: `ramp:100..2000/60s`.
    pub(crate) rate_text: String,
    /// How long they are held when nothing is sent.
    pub(crate) hold: Duration,
    /// For how long connections are begun, whatever comes of them. `None`: until there are `count`.
    pub(crate) time: Option<Duration>,
    /// Where a URL has its ids.
    pub(crate) id_in_url: Option<String>,
    /// Further flags.
    pub(crate) flags: Vec<String>,
}

/// What connections are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Transport {
    /// Chunked responses
    Chunks,
    /// Server-sent events
    Events,
    /// WebSockets
    Ws,
}

impl Transport {
    /// All of them.
    const ALL: [Self; 3] = [Self::Chunks, Self::Events, Self::Ws];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chunks => "chunks",
            Self::Events => "events",
            Self::Ws => "ws",
        }
    }

    /// The one of this name.
    fn of(value: &Value) -> Result<Self, String> {
        let named = |name: &str| Self::ALL.into_iter().find(|it| it.name() == name);
        let transport = value.as_str().and_then(named);
        transport.ok_or_else(|| "write \"chunks\", \"events\" or \"ws\"".to_owned())
    }
}

/// Where URLs are from.
#[derive(Debug, Clone)]
pub(crate) enum Urls {
    /// Patterns with `{id}`, or one URL for all.
    Patterns(Vec<String>),
    /// A file.
    File(PathBuf),
}

/// What msggen does.
#[derive(Debug, Clone)]
pub(crate) struct Messages {
    /// Messages a second, over all sources.
    pub(crate) rate: u64,
    /// Sources that send at the same time.
    pub(crate) sources: u64,
    /// Whether a source's messages are random times apart instead of equal ones.
    pub(crate) is_random: bool,
    /// For how long.
    pub(crate) duration: Duration,
    /// Whether each message goes to another server than the one that has its id.
    pub(crate) is_to_another_node: bool,
    /// The URLs of `--server` or of `--to`, for each node of a run the same.
    pub(crate) targets: Vec<(&'static str, String)>,
    /// The seed of the ids.
    pub(crate) seed: u64,
    /// Whether the flags say which ids there are. Otherwise those are that the pattern of the URLs
    /// makes, or 1 alone.
    pub(crate) has_ids: bool,
    /// Further flags.
    pub(crate) flags: Vec<String>,
}

impl Connections {
    /// What a section asks for.
    pub(super) fn of(mut section: Section) -> anyhow::Result<Self> {
        let count = section.count("count")?;
        let (rate, rate_text) =
            section.read("rate", rate)?.unwrap_or_else(|| (RATE, RATE.to_string()));
        let hold = section.duration("hold")?.unwrap_or(HOLD);
        let time = section.duration("for")?;
        // floodtest's --count is a field of items; count is how many connections there are.
        let counted = section.text("count-field")?.map(|field| format!("--count={field}"));
        let transport = section.read("transport", Transport::of)?;
        let patterns = section.texts("pattern")?;
        let urls = match (section.text("urls")?, patterns) {
            (None, patterns) if !patterns.is_empty() => Urls::Patterns(patterns),
            (Some(file), patterns) if patterns.is_empty() => Urls::File(file.into()),
            (Some(_), _) => {
                return Err(
                    section.error("it has urls and pattern: a file, or what to write one from")
                );
            }
            (None, _) => {
                return Err(section.error(
                    "it has neither pattern, such as \"http://127.0.0.1:8080/test/{id}\", nor \
                     urls, a file with a URL a line",
                ));
            }
        };
        let is_endless = |pattern: &String| time.is_some() && !pattern.contains("{id}");
        if let (Urls::Patterns(patterns), None) = (&urls, count)
            && !patterns.iter().all(is_endless)
        {
            return Err(section.error("it has a pattern and no count: how many connections?"));
        }
        let id_in_url = section.text("id-in-url")?;
        let (known, given) = (flags::FLOODTEST, flags::FLOODTEST_GIVEN);
        let mut flags = section.flags("floodtest", known, given, &CONNECTION_KEYS)?;
        flags.extend(counted);
        Ok(Self { urls, transport, count, rate, rate_text, hold, time, id_in_url, flags })
    }
}

impl Messages {
    /// What a section asks for.
    pub(super) fn of(mut section: Section) -> anyhow::Result<Self> {
        let Some(rate) = section.count("rate")? else {
            return Err(section.error("it has no rate: messages a second, over all sources"));
        };
        let sources = section.count("sources")?.unwrap_or(1);
        let is_random = section.flag("random")?.unwrap_or(false);
        let duration = section.duration("for")?.unwrap_or(SENDING);
        let is_to_another_node = section.flag("to-another-node")?.unwrap_or(false);
        let mut targets = Vec::new();
        for flag in ["server", "to"] {
            targets.extend(section.texts(flag)?.into_iter().map(|url| (flag, url)));
        }
        if targets.is_empty() {
            return Err(section.error(
                "it has neither to, the URL that takes a message, nor server, the control API of \
                 a comet-server",
            ));
        }
        let seed = section.read("seed", |value| match value {
            Value::Integer(n) => {
                u64::try_from(*n).map_err(|_| "it must not be negative".to_owned())
            }
            _ => Err("write a number".to_owned()),
        })?;
        let has_ids = section.has("max") || section.has("ids");
        let (known, given) = (flags::MSGGEN, flags::MSGGEN_GIVEN);
        let flags = section.flags("msggen", known, given, &MESSAGE_KEYS)?;
        let seed = seed.unwrap_or(SEED);
        Ok(Self {
            rate,
            sources,
            is_random,
            duration,
            is_to_another_node,
            targets,
            seed,
            has_ids,
            flags,
        })
    }
}

/// Connections a second, and the same as floodtest takes it. 0 for as fast as they are answered,
/// and for rates that change, which floodtest itself checks.
fn rate(value: &Value) -> Result<(u64, String), String> {
    match value {
        Value::String(text) if text == "max" || text.contains(['/', ':']) => Ok((0, text.clone())),
        value => count(value).map(|rate| (rate, rate.to_string())),
    }
}
