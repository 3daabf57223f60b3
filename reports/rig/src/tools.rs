//! The tools of a run: how they are started for a scenario.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use reports::books::FloodReport;
use reports::run::{COMET_SERVER, Expected, files};

use crate::expected::{UrlIds, expected};
use crate::ids::id_regex;
use crate::place;
use crate::process::Process;
use crate::scenario::fill::fill;
use crate::scenario::{Messages, ProcessOf, Transport, Urls};
use crate::servers::Servers;
use crate::stage::{Stage, words};
use crate::watched::{Flood, Memory};

/// Where URLs have the ids that their connections follow.
#[derive(Debug, PartialEq, Eq)]
enum Ids {
    /// Where this regular expression finds them.
    At(String),
    /// Where floodtest looks for them unless it is told otherwise.
    Usual,
    /// They have none.
    None,
}

impl Stage<'_> {
    /// Starts the log of the servers' memory, if they are here or on a host that is known.
    pub(crate) async fn start_memlog(&mut self, servers: &Servers) -> anyhow::Result<Memory> {
        let server = &self.job.scenario.server;
        let mut flags = match &server.process {
            ProcessOf::Elsewhere { host: Some(host), watched } if !watched.is_empty() => {
                [words(["--host", host]), watched.clone()].concat()
            }
            ProcessOf::Elsewhere { .. } => return Ok(Memory { memlog: None }),
            ProcessOf::Running(flags) => flags.clone(),
            // A server that is started again has another process, and the same port.
            ProcessOf::Started(_) if !self.job.scenario.faults.is_empty() => {
                words(["--listen", &servers.filled(&server.listen).join(",")])
            }
            ProcessOf::Started(_) => {
                let pids: Vec<String> = servers.pids().iter().map(u32::to_string).collect();
                // It starts no others.
                let tree = if server.name == COMET_SERVER { vec![] } else { words(["--tree"]) };
                [words(["--pid", &pids.join(",")]), tree].concat()
            }
        };
        let ports = servers.filled(&server.listen);
        if !ports.is_empty() && !flags.contains(&"--listen".to_owned()) {
            flags.extend(words(["--port", &ports.join(",")]));
        }
        let log = self.path(files::MEMORY)?;
        let interval = format!("{}s", self.plan.memory_interval_s);
        flags.extend(words(["--log", &log, "--interval", &interval]));
        flags.extend(self.job.scenario.memory.iter().cloned());
        let mut memlog = self.start("memlog", &flags)?;
        memlog.next_line().await?;
        Ok(Memory { memlog: Some(memlog) })
    }

    /// Where the URL file is: the scenario's own, or one that is written for the run.
    fn url_file(&self) -> anyhow::Result<String> {
        match &self.job.scenario.connections.urls {
            Urls::Patterns(_) => self.temporary_path("urls.txt"),
            Urls::File(path) => {
                path.to_str().map(str::to_owned).context("the URL file has a strange name")
            }
        }
    }

    /// Writes the URL file, if there is none, and starts floodtest on it.
    pub(crate) async fn start_flood(&mut self, servers: &Servers) -> anyhow::Result<Flood> {
        let connections = &self.job.scenario.connections;
        let file = self.url_file()?;
        let count = connections.count.map(|count| count.to_string());
        let mut is_repeated = true;
        if let Urls::Patterns(patterns) = &connections.urls {
            let mut patterns = servers.filled(patterns);
            if connections.transport == Some(Transport::Ws) {
                patterns = patterns.iter().map(|it| as_websocket(it)).collect();
            }
            if patterns.iter().all(|pattern| pattern.contains("{id}")) {
                is_repeated = false;
                let count = count.as_deref().expect("a pattern has a count");
                let mut flags = words(["urls", "--count", count, "--out", &file]);
                flags.extend(patterns.iter().flat_map(|it| words(["--pattern", it])));
                place::note(&mut self.plan, &self.folder, "floodtest", &flags)?;
                self.programs.run("floodtest", &flags).await?;
            } else {
                // One URL for all: floodtest goes through the file again and again.
                fs::write(&file, patterns.join("\n") + "\n")
                    .with_context(|| format!("cannot write {file}"))?;
            }
        }
        let mut flags = words(["--urls", &file, "--rate", &connections.rate_text]);
        if let Some(count) = count.filter(|_| is_repeated) {
            flags.extend(words(["--connections", &count]));
        }
        if let Some(time) = connections.time {
            flags.extend(words(["--for", &humantime::format_duration(time).to_string()]));
        }
        flags.extend(connections.flags.iter().map(|flag| servers.fill(flag)));
        if connections.transport == Some(Transport::Events) && !flags.contains(&SSE.to_owned()) {
            flags.push(SSE.to_owned());
        }
        let ids = self.id_in_url(servers);
        if let Ids::At(regex) = &ids {
            flags.extend(words(["--id-in-url", regex]));
        }
        if self.job.scenario.messages.is_some() && ids != Ids::None {
            // Read at the end, so that messages are judged from the first to the last. Without
            // ids in the URLs nobody can: then they are judged between those that came.
            flags.extend(words(["--sent", &self.sent_file()?]));
            if let Some(list) = self.list()? {
                let list = list.to_str().context("the list has a strange name")?;
                flags.extend(words(["--follows", list]));
            }
        }
        if let Some(expected) = self.job.scenario.expected_of_flood() {
            flags.extend(words(["--expect", &expected]));
        }
        flags.extend(self.log_flags()?);
        let process = self.start("floodtest", &flags)?;
        Ok(Flood { process, last: FloodReport::default(), is_over: false })
    }

    /// Where the URLs have the ids that their connections follow.
    fn id_in_url(&self, servers: &Servers) -> Ids {
        let connections = &self.job.scenario.connections;
        match (&connections.id_in_url, &connections.urls) {
            (Some(regex), _) => Ids::At(regex.clone()),
            // floodtest has a default.
            (None, Urls::File(_)) => Ids::Usual,
            (None, Urls::Patterns(_)) => match self.pattern_with_id(servers) {
                Some(pattern) if pattern.contains("/test/{id}") => Ids::Usual,
                Some(pattern) => Ids::At(id_regex(&pattern)),
                None => Ids::None,
            },
        }
    }

    /// A pattern that gives each connection an id of its own, if there is one.
    fn pattern_with_id(&self, servers: &Servers) -> Option<String> {
        match &self.job.scenario.connections.urls {
            Urls::Patterns(patterns) => {
                servers.filled(patterns).into_iter().find(|pattern| pattern.contains("{id}"))
            }
            Urls::File(_) => None,
        }
    }

    /// The greatest id that messages go to, where the scenario does not say it: each connection has
    /// one of its own, or all have the same.
    fn max_id(&self, servers: &Servers) -> u64 {
        let count = self.job.scenario.connections.count;
        count.filter(|_| self.pattern_with_id(servers).is_some()).unwrap_or(1)
    }

    /// Starts msggen for the whole time of sending.
    pub(crate) fn start_sender(
        &mut self,
        messages: &Messages,
        servers: &Servers,
    ) -> anyhow::Result<Process> {
        let interval = Duration::from_secs_f64(messages.sources as f64 / messages.rate as f64);
        let n_messages = messages.duration.as_secs_f64() / interval.as_secs_f64();
        let n_messages = n_messages.ceil().max(1.0);
        let kind = if messages.is_random { "exp:" } else { "" };
        let mut flags: Vec<String> = [
            ("--num", format!("{n_messages}")),
            ("--interval", format!("{kind}{}", humantime::format_duration(interval))),
            ("--sources", messages.sources.to_string()),
            ("--seed", messages.seed.to_string()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        let mut targets: Vec<(&str, String)> = Vec::new();
        for node in &servers.nodes {
            for (flag, url) in &messages.targets {
                let target = (*flag, fill(url, node));
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
        }
        if messages.is_to_another_node {
            // msggen shares the ids as the URL file does. One place further on, each message goes
            // to a server that has not got its id: through the broker.
            targets.rotate_left(1);
        }
        flags.extend(targets.iter().flat_map(|(flag, url)| words([&format!("--{flag}"), url])));
        flags.extend(messages.flags.iter().map(|flag| servers.fill(flag)));
        if !messages.has_ids {
            flags.extend(words(["--max", &self.max_id(servers).to_string()]));
        }
        if let Some(expected) = self.job.scenario.expected_of_sender() {
            flags.extend(words(["--expect", &expected]));
        }
        flags.extend(words(["--stamp", "--sent", &self.sent_file()?]));
        flags.extend(self.log_flags()?);
        self.start("msggen", &flags)
    }

    /// Where msggen says what it sent. It is no part of the run's folder: for a million ids it has
    /// 30 MB, and what it shows is in floodtest's last report.
    fn sent_file(&self) -> anyhow::Result<String> {
        self.temporary_path("sent.ndjson")
    }

    /// Computes how many messages were to come, where any were sent.
    pub(crate) fn expect_messages(
        &self,
        received: &FloodReport,
        servers: &Servers,
    ) -> anyhow::Result<()> {
        if self.job.scenario.messages.is_none() {
            return Ok(());
        }
        let (sent, urls) = (self.sent_file()?, self.url_file()?);
        let expected = if Path::new(&sent).exists() {
            let regex = match self.id_in_url(servers) {
                Ids::At(regex) => Some(regex),
                Ids::Usual | Ids::None => None,
            };
            let list = self.list()?;
            let urls = UrlIds { file: Path::new(&urls), id_in_url: regex.as_deref() };
            expected(Path::new(&sent), &urls, list.as_deref(), received)?
        } else {
            Expected::unknown("the sender has written down nothing")
        };
        Ok(expected.write(&self.folder)?)
    }

    /// The flags of floodtest and msggen for reports to the rig, and logs in the folder.
    fn log_flags(&self) -> anyhow::Result<Vec<String>> {
        let folder = self.folder.to_str().context("the folder's name is no text")?;
        let interval = format!("{}s", self.plan.log_interval_s);
        let flags = ["--report", "1s", "--json", "--out", folder, "--log-interval", &interval];
        Ok(words(flags))
    }
}

/// The flag that asks for event streams.
const SSE: &str = "--sse";

/// A URL with the scheme of WebSockets.
fn as_websocket(url: &str) -> String {
    url.strip_prefix("http").map_or_else(|| url.to_owned(), |rest| format!("ws{rest}"))
}
