//! What an experiment is: a scenario file, read and checked.

pub(crate) mod built_in;
pub(crate) mod fill;
pub(crate) mod flags;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use toml::Value;

use fill::{check_pattern, uses};
use flags::{Judge, judge_of};
pub(crate) use table::{Place, Sheet};
use table::{Section, count};

/// The most that a scenario file may have, in bytes: it is written by hand.
const MAX_BYTES: u64 = 1024 * 1024;

/// How long a server may take until it is ready, unless the scenario says otherwise: a virtual
/// machine of some language starts in less.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long connections are held when no messages are sent, unless the scenario says otherwise.
const HOLD: Duration = Duration::from_mins(1);

/// How long messages are sent, unless the scenario says otherwise.
const SENDING: Duration = Duration::from_mins(2);

/// Names that a scenario may use and a server may not say.
const NAMES: [&str; 10] = [
    "port",
    "control_port",
    "dir",
    "address",
    "addresses",
    "node",
    "broker",
    "id",
    "place",
    "message",
];

/// The sections of a file.
const SECTIONS: [&str; 5] = ["server", "connections", "messages", "memory", "expect"];

/// The keys of `[server]`.
const SERVER_KEYS: [&str; 14] = [
    "args",
    "command",
    "host",
    "listen",
    "name",
    "nodes",
    "per-node",
    "pid",
    "process",
    "ready",
    "ready-timeout",
    "redis",
    "says",
    "stats",
];

/// The keys of `[connections]` that are no flags of floodtest.
const CONNECTION_KEYS: [&str; 6] = ["count", "hold", "pattern", "rate", "transport", "urls"];

/// The keys of `[messages]` that are no flags of msggen.
const MESSAGE_KEYS: [&str; 5] = ["for", "random", "rate", "sources", "to-another-node"];

/// An experiment.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// What it is called in names of folders.
    pub(crate) name: String,
    /// What its report is called. `None`: by its figures.
    pub(crate) title: Option<String>,
    /// The server.
    pub(crate) server: Server,
    /// What floodtest does.
    pub(crate) connections: Connections,
    /// What msggen does; `None`: nothing is sent.
    pub(crate) messages: Option<Messages>,
    /// Flags of memlog.
    pub(crate) memory: Vec<String>,
    /// From one sample of memory to the next. `None`: as fits the number of connections.
    pub(crate) memory_interval: Option<Duration>,
    /// What the run is to show.
    pub(crate) expect: Vec<String>,
    /// The file with everything that was overridden.
    pub(crate) text: String,
}

/// The server of an experiment.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// What it is called.
    pub(crate) name: String,
    /// Where its processes are.
    pub(crate) process: ProcessOf,
    /// Ports that its clients connect to, as they are written: there may be names to be filled in.
    pub(crate) listen: Vec<String>,
    /// Where comet-server's counts are asked for.
    pub(crate) stats: Option<String>,
    /// How it is seen that it is ready: a URL or a port.
    pub(crate) ready: Option<String>,
    /// How long that may take.
    pub(crate) ready_timeout: Duration,
    /// What joins several of them.
    pub(crate) broker: Broker,
}

/// Where the processes of a server are.
#[derive(Debug, Clone)]
pub(crate) enum ProcessOf {
    /// The rig starts them.
    Started(Started),
    /// They run here, as memlog is told: flags of its.
    Running(Vec<String>),
    /// They run on another machine: `user@host`, if that is known.
    Elsewhere(Option<String>),
}

/// A server that the rig starts.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    /// The command: program and arguments.
    pub(crate) command: Vec<String>,
    /// What it says on stdout of itself, a pattern a line.
    pub(crate) says: Vec<String>,
    /// How many of them.
    pub(crate) nodes: Nodes,
}

/// How many servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nodes {
    /// So many.
    Count(usize),
    /// As many as the open-file limit of a process demands, with so many connections each.
    Auto {
        /// `None`: as many as that limit lets it have.
        per_node: Option<u64>,
    },
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

/// What floodtest does.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    /// Where the URLs are from.
    pub(crate) urls: Urls,
    /// What they are; `None`: as URLs and flags say.
    pub(crate) transport: Option<Transport>,
    /// Connections to hold. `None`: one for each URL of the file.
    pub(crate) count: Option<u64>,
    /// Connections opened a second; 0 for as fast as they are answered.
    pub(crate) rate: u64,
    /// How long they are held when nothing is sent.
    pub(crate) hold: Duration,
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

impl Scenario {
    /// Reads the file `path`, or the built-in scenario of that name if there is no such file.
    pub(crate) fn sheet(path: &str) -> anyhow::Result<(String, Sheet)> {
        let file = Path::new(path);
        if !file.exists()
            && let Some(text) = built_in::text(path)
        {
            return Ok((path.to_owned(), Sheet::parse(text, path)?));
        }
        let size = fs::metadata(file).with_context(|| {
            format!(
                "cannot read the scenario {path}; the built-in ones are {}, and `rig init URL` \
                 writes a first file",
                built_in::names()
            )
        })?;
        ensure!(
            size.is_file() && size.len() <= MAX_BYTES,
            "{path} is no scenario: a file of at most 1 MiB is"
        );
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {path}"))?;
        let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        Ok((stem.unwrap_or_else(|| "run".to_owned()), Sheet::parse(&text, path)?))
    }

    /// What a sheet asks for. `name` is what the run is called.
    pub(crate) fn of(name: String, mut sheet: Sheet) -> anyhow::Result<Self> {
        let text = sheet.to_text();
        let title = sheet.top.text("title")?;
        sheet.top.clone().finish(&["title", "[server]", "[connections]", "[messages]"])?;
        sheet.check_names(&SECTIONS)?;
        let server = Server::of(sheet.take("server").unwrap_or_else(|| Section::absent("server")))?;
        let Some(connections) = sheet.take("connections") else {
            bail!("the scenario has no section [connections]: what floodtest is to hold");
        };
        let connections = Connections::of(connections)?;
        let messages = sheet.take("messages").map(Messages::of);
        let messages = messages.transpose()?;
        let mut memory_interval = None;
        let memory = sheet.take("memory").map(|mut section| {
            memory_interval = section.duration("interval")?;
            section.flags("memlog", flags::MEMLOG, flags::MEMLOG_GIVEN, &["interval"])
        });
        let memory = memory.transpose()?.unwrap_or_default();
        let expect = sheet.take("expect").map(|mut section| section.expectations());
        let expect = expect.transpose()?.unwrap_or_default();
        for (expectation, place) in &expect {
            if judge_of(expectation) == Judge::Rig {
                reports::run::check_expectations(std::slice::from_ref(expectation))
                    .with_context(|| place.to_string())?;
            }
            ensure!(
                messages.is_some() || !matches!(judge_of(expectation), Judge::Msggen(_)),
                "{place}: {expectation} is of msggen, and there is no section [messages]"
            );
        }
        let expect = expect.into_iter().map(|(expectation, _)| expectation).collect();
        let this = Self {
            name,
            title,
            server,
            connections,
            messages,
            memory,
            memory_interval,
            expect,
            text,
        };
        this.check()?;
        Ok(this)
    }

    /// Refuses what does not go together.
    fn check(&self) -> anyhow::Result<()> {
        if self.server.broker != Broker::None {
            let is_used = match &self.server.process {
                ProcessOf::Started(it) => uses(&it.command, "broker"),
                _ => false,
            };
            ensure!(is_used, "[server] has redis, and no {{broker}} in its command");
        }
        Ok(())
    }

    /// How long messages are sent, or connections held.
    pub(crate) fn duration(&self) -> Duration {
        self.messages.as_ref().map_or(self.connections.hold, |messages| messages.duration)
    }

    /// The expectations that are put to `judge`'s program, as one list.
    pub(crate) fn expected_of_flood(&self) -> Option<String> {
        let of = self.expect.iter().filter(|it| judge_of(it) == Judge::Floodtest);
        let of: Vec<&str> = of.map(String::as_str).collect();
        (!of.is_empty()).then(|| of.join(","))
    }

    /// Those of msggen.
    pub(crate) fn expected_of_sender(&self) -> Option<String> {
        let of = self.expect.iter().filter_map(|it| match judge_of(it) {
            Judge::Msggen(text) => Some(text),
            _ => None,
        });
        let of: Vec<String> = of.collect();
        (!of.is_empty()).then(|| of.join(","))
    }
}

impl Server {
    /// What a section asks for.
    fn of(mut section: Section) -> anyhow::Result<Self> {
        let name = section.text("name")?;
        let ways = ["command", "process", "pid", "host"];
        let given: Vec<&str> = ways.into_iter().filter(|way| section.has(way)).collect();
        if let [one, other, ..] = given[..] {
            return Err(section.error(format!(
                "it has {one} and {other}: a server is started by a command, or runs here, or on \
                 another host"
            )));
        }
        let listen = section.read("listen", ports)?.unwrap_or_default();
        let process = if let Some(started) = Started::of(&mut section)? {
            ProcessOf::Started(started)
        } else if let Some(pids) = section.read("pid", pids)? {
            ProcessOf::Running(vec!["--pid".to_owned(), pids, "--tree".to_owned()])
        } else if let Some(process) = section.text("process")? {
            ProcessOf::Running(vec!["--name".to_owned(), process])
        } else if let Some(host) = section.text("host")? {
            ensure!(
                !host.is_empty() && !host.starts_with('-') && !host.contains(char::is_whitespace),
                section.error(format!("\"{host}\" is no host; write user@host"))
            );
            ProcessOf::Elsewhere(Some(host))
        } else if !listen.is_empty() {
            ProcessOf::Running(vec!["--listen".to_owned(), listen.join(",")])
        } else {
            ProcessOf::Elsewhere(None)
        };
        let name = name.unwrap_or_else(|| process.own_name(&listen));
        let broker = match section.text("redis")? {
            None => Broker::None,
            Some(own) if own == "own" => Broker::Own,
            Some(url) => Broker::At(url),
        };
        let this = Self {
            name,
            process,
            listen,
            stats: section.text("stats")?,
            ready: section.read("ready", port_or_text)?,
            ready_timeout: section.duration("ready-timeout")?.unwrap_or(READY_TIMEOUT),
            broker,
        };
        section.finish(&SERVER_KEYS)?;
        Ok(this)
    }
}

impl ProcessOf {
    /// What a server is called that nobody named.
    fn own_name(&self, listen: &[String]) -> String {
        match self {
            Self::Started(it) => {
                let program = Path::new(&it.command[0]).file_name();
                program
                    .map_or_else(|| "server".to_owned(), |name| name.to_string_lossy().into_owned())
            }
            Self::Running(flags) if flags[0] == "--name" => flags[1].clone(),
            Self::Running(flags) if flags[0] == "--pid" => format!("process {}", flags[1]),
            Self::Running(_) => format!("the server on port {}", listen.join(" and ")),
            Self::Elsewhere(Some(host)) => format!("the server on {host}"),
            Self::Elsewhere(None) => "the server".to_owned(),
        }
    }
}

impl Started {
    /// What a section asks for; `None` without a command.
    fn of(section: &mut Section) -> anyhow::Result<Option<Self>> {
        let command = section.read("command", words)?;
        let args = section.texts("args")?;
        let says = section.texts("says")?;
        let per_node = section.count("per-node")?;
        let nodes = section.read("nodes", |value| match value {
            Value::String(text) if text == "auto" => Ok(None),
            value => count(value).map(Some),
        })?;
        let Some(mut command) = command else {
            for (key, is_there) in
                [("args", !args.is_empty()), ("says", !says.is_empty()), ("nodes", nodes.is_some())]
            {
                if is_there {
                    return Err(section.error(format!("it has {key}, and no command to start")));
                }
            }
            return Ok(None);
        };
        command.extend(args);
        for pattern in &says {
            check_pattern(pattern, &NAMES).map_err(|why| section.error(format!("says: {why}")))?;
        }
        let nodes = match nodes {
            Some(None) => Nodes::Auto { per_node },
            None => Nodes::Count(1),
            Some(Some(n)) => match usize::try_from(n) {
                Ok(n) if n as u64 <= MOST_NODES => Nodes::Count(n),
                _ => {
                    let why = format!("nodes: at most {MOST_NODES}: each has its own address");
                    return Err(section.error(why));
                }
            },
        };
        ensure!(
            nodes == Nodes::Count(1) || uses(&command, "address"),
            section.error("several nodes need {address} in their command: each has its own")
        );
        Ok(Some(Self { command, says, nodes }))
    }
}

/// Servers, each with an address of its own in 127.0.1.0/24.
pub(crate) const MOST_NODES: u64 = 250;

impl Connections {
    /// What a section asks for.
    fn of(mut section: Section) -> anyhow::Result<Self> {
        let count = section.count("count")?;
        let rate = section.read("rate", rate)?.unwrap_or(100);
        let hold = section.duration("hold")?.unwrap_or(HOLD);
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
                    "it has neither pattern, such as \"http://127.0.0.1:8080/test/{id}\", nor urls, \
                     a file with a URL a line",
                ));
            }
        };
        if let (Urls::Patterns(_), None) = (&urls, count) {
            return Err(section.error("it has a pattern and no count: how many connections?"));
        }
        let id_in_url = section.text("id-in-url")?;
        let (known, given) = (flags::FLOODTEST, flags::FLOODTEST_GIVEN);
        let flags = section.flags("floodtest", known, given, &CONNECTION_KEYS)?;
        Ok(Self { urls, transport, count, rate, hold, id_in_url, flags })
    }
}

impl Messages {
    /// What a section asks for.
    fn of(mut section: Section) -> anyhow::Result<Self> {
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

/// The seed of the ids, so that runs can be compared.
const SEED: u64 = 1;

/// Words of a command: a list, or text as a shell would split it.
fn words(value: &Value) -> Result<Vec<String>, String> {
    let words = match value {
        Value::String(text) => shlex::split(text).ok_or("a quote in it is not closed")?,
        Value::Array(values) => {
            let words = values.iter().map(|word| word.as_str().map(str::to_owned));
            words.collect::<Option<Vec<_>>>().ok_or("write its words in quotes")?
        }
        _ => return Err("write it in quotes".to_owned()),
    };
    if words.is_empty() { Err("it is empty".to_owned()) } else { Ok(words) }
}

/// Ports: numbers, or names of such in braces.
fn ports(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(values) => values.iter().map(port).collect(),
        value => port(value).map(|port| vec![port]),
    }
}

/// A port.
fn port(value: &Value) -> Result<String, String> {
    let port = match value {
        Value::Integer(n) => u16::try_from(*n).ok().map(|port| port.to_string()),
        Value::String(text) if text.starts_with('{') => Some(text.clone()),
        Value::String(text) => text.parse::<u16>().ok().map(|port| port.to_string()),
        _ => None,
    };
    let port = port.filter(|port| port != "0");
    port.ok_or_else(|| "write a port, such as 8080 or \"{port}\"".to_owned())
}

/// A port or a URL.
fn port_or_text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(url) if url.contains("://") => Ok(url.clone()),
        value => port(value).map_err(|why| format!("{why}, or a URL")),
    }
}

/// Process numbers.
fn pids(value: &Value) -> Result<String, String> {
    let pid = |value: &Value| match value {
        Value::Integer(n) if *n > 0 => Ok(n.to_string()),
        _ => Err("write a process number, or several in a list".to_owned()),
    };
    match value {
        Value::Array(values) => {
            values.iter().map(pid).collect::<Result<Vec<_>, _>>().map(|pids| pids.join(","))
        }
        value => pid(value),
    }
}

/// Connections a second; 0 for as fast as they are answered.
fn rate(value: &Value) -> Result<u64, String> {
    match value {
        Value::String(text) if text == "max" => Ok(0),
        value => count(value),
    }
}
