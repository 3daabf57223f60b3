//! What an experiment is: a scenario file, read and checked.

pub(crate) mod built_in;
mod faults;
pub(crate) mod fill;
pub(crate) mod flags;
mod friends;
mod load;
mod server;
mod table;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reports::run::COMET_SERVER;

pub(crate) use faults::Fault;
use fill::uses;
use flags::{Judge, judge_of};
pub(crate) use friends::Friends;
pub(crate) use load::{Connections, Messages, Transport, Urls};
pub(crate) use server::{Broker, MOST_NODES, Nodes, ProcessOf, Server, Started};
use table::Section;
pub(crate) use table::{Place, Sheet};

/// The most that a scenario file may have, in bytes: it is written by hand.
const MAX_BYTES: u64 = 1024 * 1024;

/// The sections of a file.
const SECTIONS: [&str; 6] = ["friends", "server", "connections", "messages", "memory", "expect"];

/// An experiment.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// What it is called in names of folders.
    pub(crate) name: String,
    /// What its report is called. `None`: by its figures.
    pub(crate) title: Option<String>,
    /// Who follows whom, if the server has a store of it.
    pub(crate) friends: Option<Friends>,
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
    /// What is done to the server while the run goes on.
    pub(crate) faults: Vec<Fault>,
    /// What the run is to show.
    pub(crate) expect: Vec<String>,
    /// The file with everything that was overridden.
    pub(crate) text: String,
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
        let faults = sheet.top.read("faults", faults::faults)?.unwrap_or_default();
        let known = ["title", "[[faults]]", "[server]", "[connections]", "[messages]"];
        sheet.top.clone().finish(&known)?;
        sheet.check_names(&SECTIONS)?;
        let friends = sheet.take("friends").map(Friends::of).transpose()?;
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
            friends,
            server,
            connections,
            messages,
            memory,
            memory_interval,
            faults,
            expect,
            text,
        };
        this.check()?;
        Ok(this)
    }

    /// Refuses what does not go together.
    fn check(&self) -> anyhow::Result<()> {
        if !self.faults.is_empty() {
            ensure!(
                self.server.is_one(),
                "faults are done to one server that the rig starts: [server] needs a command, and \
                 no other nodes"
            );
            // The log of its memory goes on with whoever owns the port then.
            ensure!(
                !self.server.listen.is_empty(),
                "faults need listen in [server]: the port by which its processes are found again"
            );
        }
        if self.friends.is_some() {
            let is_used = match &self.server.process {
                ProcessOf::Started(it) if it.command[0] == COMET_SERVER => {
                    uses(&it.command, "friends")
                }
                _ => false,
            };
            ensure!(
                is_used,
                "[friends] makes a store for comet-server: [server] needs a command of it with \
                 --friends {{friends}}"
            );
            ensure!(
                self.server.is_one(),
                "[friends] is for one server: others would not have the store"
            );
        }
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
        let connections = &self.connections;
        let held = connections.time.unwrap_or(connections.hold);
        self.messages.as_ref().map_or(held, |messages| messages.duration)
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
