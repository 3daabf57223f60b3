//! The server of a scenario: started by the rig, running here, or elsewhere.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use toml::Value;

use super::fill::{check_pattern, uses};
use super::table::{Section, count};

/// How long a server may take until it is ready, unless the scenario says otherwise: a virtual
/// machine of some language starts in less.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Names that a scenario may use and a server may not say.
const NAMES: [&str; 11] = [
    "port",
    "control_port",
    "dir",
    "address",
    "addresses",
    "node",
    "broker",
    "friends",
    "id",
    "place",
    "message",
];

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

/// Servers, each with an address of its own in 127.0.1.0/24.
pub(crate) const MOST_NODES: u64 = 250;

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
    /// They run on another machine.
    Elsewhere {
        /// Which, as ssh knows it, if that is known.
        host: Option<String>,
        /// What is watched there, as memlog is told: flags of its. Empty: nothing is.
        watched: Vec<String>,
    },
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

impl Server {
    /// Whether the rig starts one process of it.
    pub(crate) fn is_one(&self) -> bool {
        matches!(&self.process, ProcessOf::Started(it) if it.nodes == Nodes::Count(1))
    }

    /// What a section asks for.
    pub(super) fn of(mut section: Section) -> anyhow::Result<Self> {
        let name = section.text("name")?;
        let given = |ways: &[&'static str]| {
            ways.iter().copied().filter(|way| section.has(way)).collect::<Vec<_>>()
        };
        // On another host it is looked for by the same keys, and never started.
        for ways in [given(&["command", "process", "pid"]), given(&["command", "host"])] {
            if let [one, other, ..] = ways[..] {
                return Err(section.error(format!(
                    "it has {one} and {other}: a server is started by a command, or runs already, \
                     here or on a host"
                )));
            }
        }
        let listen = section.read("listen", ports)?.unwrap_or_default();
        let process = if let Some(started) = Started::of(&mut section)? {
            ProcessOf::Started(started)
        } else {
            let watched = if let Some(pids) = section.read("pid", pids)? {
                vec!["--pid".to_owned(), pids, "--tree".to_owned()]
            } else if let Some(process) = section.text("process")? {
                vec!["--name".to_owned(), process]
            } else if listen.is_empty() {
                Vec::new()
            } else {
                vec!["--listen".to_owned(), listen.join(",")]
            };
            match section.text("host")? {
                Some(host) => {
                    let is_odd = |char: char| char.is_whitespace() || char.is_control();
                    ensure!(
                        !host.is_empty() && !host.starts_with('-') && !host.contains(is_odd),
                        section.error(format!("\"{host}\" is no host; write user@host"))
                    );
                    ProcessOf::Elsewhere { host: Some(host), watched }
                }
                None if watched.is_empty() => ProcessOf::Elsewhere { host: None, watched },
                None => ProcessOf::Running(watched),
            }
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
    /// Whether memlog watches them, here or where they are.
    pub(crate) fn is_watched(&self) -> bool {
        !matches!(self, Self::Elsewhere { watched, .. } if watched.is_empty())
    }

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
            Self::Elsewhere { host: Some(host), .. } => format!("the server on {host}"),
            Self::Elsewhere { host: None, .. } => "the server".to_owned(),
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
