//! An experiment, in order: servers, connections, messages, books.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, mem};

use anyhow::{Context as _, anyhow};
use reports::books::{FloodReport, SendReport, ServerStats};
use reports::memory_log::{self, Sample};
use reports::run::files::{self, marks};
use reports::run::{
    Exit, Exits, Expected, Footprint, Footprints, PhaseStart, Phases, Plan, ServerPlan,
};
use reports::stamp;
use rustix::process::Signal;
use serde::de::DeserializeOwned;

use crate::expected::expected;
use crate::footprint::{self, pss_kb};
use crate::host;
use crate::ids::id_regex;
use crate::interrupts::Interrupts;
use crate::job::Job;
use crate::place;
use crate::preflight::Preflight;
use crate::process::Process;
use crate::programs::{Programs, is_through_cargo};
use crate::progress::Progress;
use crate::scenario::fill::fill;
use crate::scenario::{Messages, Nodes, ProcessOf, Scenario, Started, Transport, Urls};
use crate::servers::{Servers, broker_bytes};
use crate::stage::{Stage, words};

/// How long the last messages may take to arrive once the last one is answered.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// Connections for each second from one sample of memory to the next. The kernel takes 2 µs to tell
/// memlog of one, so that counting them takes 7 % of one core at the most.
const CONNECTIONS_PER_SAMPLE_SECOND: u64 = 33_333;

/// Entries of the logs of floodtest and msggen in a long run: enough for a chart as wide as a
/// page, and few enough for logs of a megabyte. A short run has one a second.
const LOG_ENTRIES: u64 = 600;

/// Reports of floodtest, one a second, that must say the same until a server that gives no counts
/// has delivered all.
const QUIET_REPORTS: u32 = 2;

/// Runs the experiment and returns the folder that holds it. `is_sending` is set while messages
/// are sent: whoever unsets it should know that one signal to end then ends only the sending.
pub(crate) async fn run(job: &Job, is_sending: &Cell<bool>) -> anyhow::Result<PathBuf> {
    let scenario = &job.scenario;
    let n_nodes = n_nodes(scenario)?;
    let folder = place::make(job.out.as_deref(), &scenario.name)?;
    let mut progress = Progress::new()?;
    progress.begin("getting the programs");
    let programs = Programs::get(&needed(scenario), job.profile.as_deref()).await?;
    // Who built installed programs, and from which commit, is not known.
    let rustc = if programs.are_built_here() { place::rustc().await } else { None };
    host::of_this_machine(rustc).write(&folder)?;
    let path = folder.join(files::SCENARIO);
    fs::write(&path, place::without_passwords(&scenario.text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    let plan = plan(job, n_nodes, &programs).await?;
    let temporary = tempfile::tempdir().context("cannot make a folder for the URL file")?;
    let (footprints, phases) = (Footprints::default(), Phases::default());
    let is_log_over = false;
    let mut stage = Stage {
        job,
        n_nodes,
        programs,
        folder,
        temporary,
        plan,
        phases,
        footprints,
        is_log_over,
        progress,
    };
    let mut repeated: Vec<String> = env::args().skip(1).collect();
    let mut program = "rig";
    if is_through_cargo() {
        repeated.insert(0, mem::replace(&mut program, "cargo").to_owned());
    }
    place::note(&mut stage.plan, &stage.folder, program, &repeated)?;

    let is_started = stage.plan.server.is_started;
    stage.progress.begin(if is_started { "starting the server" } else { "looking for the server" });
    let servers = stage.start_all().await?;
    let exits = match stage.load(&servers, is_sending).await {
        Ok(exits) => exits,
        // The tools cannot do without it, and what it said is what matters.
        Err(error) => return Err(servers.cause_of(error, &scenario.server.name).await),
    };
    let exits = Exits { exits: [servers.end().await?, exits].concat() };
    exits.write(&stage.folder)?;
    Ok(stage.folder)
}

/// How many servers are started.
fn n_nodes(scenario: &Scenario) -> anyhow::Result<usize> {
    let ProcessOf::Started(Started { nodes, .. }) = &scenario.server.process else { return Ok(1) };
    let preflight = match nodes {
        Nodes::Count(1) => return Ok(1),
        Nodes::Count(n) => Preflight::of(scenario, *n, None),
        Nodes::Auto { per_node } => Preflight::with_enough_nodes(scenario, *per_node)?,
    };
    preflight.check()?;
    Ok(preflight.nodes)
}

/// The programs of ours that a scenario needs.
fn needed(scenario: &Scenario) -> Vec<&'static str> {
    let mut needed = vec!["floodtest"];
    if scenario.messages.is_some() {
        needed.push("msggen");
    }
    match &scenario.server.process {
        ProcessOf::Elsewhere(_) => return needed,
        ProcessOf::Started(it) if it.command[0] == COMET_SERVER => needed.push(COMET_SERVER),
        ProcessOf::Started(_) | ProcessOf::Running(_) => {}
    }
    needed.push("memlog");
    needed
}

/// The name of our own server.
const COMET_SERVER: &str = reports::run::COMET_SERVER;

/// What is asked for, before the first command.
async fn plan(job: &Job, n_nodes: usize, programs: &Programs) -> anyhow::Result<Plan> {
    let scenario = &job.scenario;
    let (commit, is_modified) =
        if programs.are_built_here() { place::commit().await } else { (None, false) };
    let log_interval_s = scenario.duration().as_secs().div_ceil(LOG_ENTRIES).max(1) as f64;
    let connections = scenario.connections.count.unwrap_or_default();
    let fitting = connections.div_ceil(CONNECTIONS_PER_SAMPLE_SECOND).max(1) as f64;
    let messages = scenario.messages.as_ref();
    let host = match &scenario.server.process {
        ProcessOf::Elsewhere(Some(host)) => Some(place::host_at(host).await?),
        _ => None,
    };
    Ok(Plan {
        experiment: scenario.name.clone(),
        title: scenario.title.clone(),
        toolkit: env!("CARGO_PKG_VERSION").to_owned(),
        commit,
        is_modified,
        profile: programs.profile().to_owned(),
        started_unix_s: stamp::wall_now().as_secs(),
        nodes: n_nodes as u64,
        connections,
        transport: scenario.connections.transport.map(|it| it.name().to_owned()),
        rate: scenario.connections.rate,
        messages_per_second: messages.map_or(0, |messages| messages.rate),
        sources: messages.map_or(0, |messages| messages.sources),
        duration_s: scenario.duration().as_secs_f64(),
        server_threads: threads(scenario),
        seed: messages.map_or(0, |messages| messages.seed),
        log_interval_s,
        memory_interval_s: scenario.memory_interval.map_or(fitting, |it| it.as_secs_f64()),
        expect: scenario.expect.clone(),
        server: ServerPlan {
            name: scenario.server.name.clone(),
            is_started: matches!(scenario.server.process, ProcessOf::Started(_)),
            is_watched: !matches!(scenario.server.process, ProcessOf::Elsewhere(_)),
            is_counted: scenario.server.stats.is_some(),
            host,
        },
        ..Plan::default()
    })
}

/// Threads of comet-server, if its command says so.
fn threads(scenario: &Scenario) -> Option<u64> {
    let ProcessOf::Started(started) = &scenario.server.process else { return None };
    let at = started.command.iter().position(|word| word == "--threads")?;
    started.command.get(at + 1)?.parse().ok()
}

/// floodtest, as long as it runs. It ends by itself when no connection is left, as when the server
/// has died.
struct Flood {
    /// The program.
    process: Process,
    /// Its last report.
    last: FloodReport,
    /// Whether it has ended.
    is_over: bool,
}

impl Flood {
    /// The next report; `None` once it has ended. That it never reported is an error.
    async fn report(&mut self) -> anyhow::Result<Option<&FloodReport>> {
        match self.process.line().await? {
            Some(line) => {
                self.last = read_report(&line)?;
                Ok(Some(&self.last))
            }
            None if self.last.asked == 0 => Err(self.process.died().await),
            None => {
                self.is_over = true;
                Ok(None)
            }
        }
    }

    /// What it received, for people.
    fn received(&self) -> String {
        let FloodReport { items, chunks, item_kind, connected, .. } = &self.last;
        format!("{} {item_kind} received by {connected} connections", items.max(chunks))
    }
}

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

/// The log of the server's memory, as long as there is one.
struct Memory {
    /// Who writes it; `None` if the server is elsewhere, or once its processes are gone.
    memlog: Option<Process>,
}

impl Memory {
    /// The next sample; waits forever where there is none.
    async fn sample(&mut self) -> anyhow::Result<Option<Sample>> {
        let Some(memlog) = &mut self.memlog else { return std::future::pending().await };
        match memlog.line().await? {
            Some(line) => sample(&line).map(Some),
            None => Ok(None),
        }
    }

    /// Waits until memory was sampled in a phase that has begun: once in the line that carries the
    /// mark, and once more. The log ends before if the server does.
    async fn sampled(&mut self, phase: &str) -> anyhow::Result<()> {
        let Some(memlog) = &mut self.memlog else { return Ok(()) };
        while let Some(line) = memlog.line().await? {
            if sample(&line)?.marks.iter().any(|mark| mark.text == phase) {
                memlog.line().await?;
                break;
            }
        }
        Ok(())
    }
}

impl Stage<'_> {
    /// Puts the load on the servers and takes it off again. How the tools ended. If a server dies
    /// it ends early, with all that is known by then.
    async fn load(
        &mut self,
        servers: &Servers,
        is_sending: &Cell<bool>,
    ) -> anyhow::Result<Vec<Exit>> {
        let mut memory = self.start_memlog(servers).await?;
        self.begins(marks::NOBODY, &mut memory).await?;
        self.look(marks::NOBODY, servers, None, true).await?;

        self.begins(marks::CONNECTING, &mut memory).await?;
        let mut flood = self.start_flood(servers).await?;
        self.all_opened(&mut flood, &mut memory, servers).await?;
        if flood.last.established == 0 && !servers.have_died() {
            return Err(nothing_established(flood).await);
        }
        self.plan.connections = flood.last.asked;
        self.plan.write(&self.folder)?;
        self.begins(marks::CONNECTED, &mut memory).await?;
        self.look(marks::CONNECTED, servers, Some(&flood.process), false).await?;

        self.mark(marks::SENDING).await?;
        let mut exits = Vec::new();
        let scenario = &self.job.scenario;
        is_sending.set(true);
        if let Some(messages) = scenario.messages.as_ref().filter(|_| !flood.is_over) {
            let mut sender = self.start_sender(messages, servers)?;
            self.send_all(&mut sender, &mut flood, &mut memory, servers).await?;
            exits.push(sender.exit().await?);
        } else {
            self.hold(scenario.connections.hold, &mut flood, &mut memory, servers).await?;
        }
        is_sending.set(false);
        self.mark(marks::SENT).await?;
        self.settle(servers, &mut flood).await?;
        memory.sampled(marks::SENT).await?;
        self.look(marks::SENT, servers, Some(&flood.process), true).await?;
        self.expect_messages(&flood.last, servers)?;

        self.begins(marks::DISCONNECTING, &mut memory).await?;
        exits.insert(0, end(&mut flood.process, Signal::INT).await?);
        if let Some(memlog) = &mut memory.memlog {
            exits.insert(0, end(memlog, Signal::INT).await?);
        }
        Ok(exits)
    }

    /// Starts the log of the servers' memory, if they are here.
    async fn start_memlog(&mut self, servers: &Servers) -> anyhow::Result<Memory> {
        let server = &self.job.scenario.server;
        let mut flags = match &server.process {
            ProcessOf::Elsewhere(_) => return Ok(Memory { memlog: None }),
            ProcessOf::Running(flags) => flags.clone(),
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
    async fn start_flood(&mut self, servers: &Servers) -> anyhow::Result<Flood> {
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
        let rate = if connections.rate > 0 { connections.rate.to_string() } else { "max".into() };
        let mut flags = words(["--urls", &file, "--rate", &rate]);
        if let Some(count) = count.filter(|_| is_repeated) {
            flags.extend(words(["--connections", &count]));
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
            (None, Urls::Patterns(patterns)) => {
                let patterns = servers.filled(patterns);
                match patterns.iter().find(|pattern| pattern.contains("{id}")) {
                    Some(pattern) if pattern.contains("/test/{id}") => Ids::Usual,
                    Some(pattern) => Ids::At(id_regex(pattern)),
                    None => Ids::None,
                }
            }
        }
    }

    /// The greatest id that messages go to, where the scenario does not say it: each connection has
    /// one of its own, or all have the same.
    fn max_id(&self, servers: &Servers) -> u64 {
        let connections = &self.job.scenario.connections;
        let has_own = match &connections.urls {
            Urls::Patterns(patterns) => {
                servers.filled(patterns).iter().any(|pattern| pattern.contains("{id}"))
            }
            Urls::File(_) => false,
        };
        connections.count.filter(|_| has_own).unwrap_or(1)
    }

    /// Starts msggen for the whole time of sending.
    fn start_sender(&mut self, messages: &Messages, servers: &Servers) -> anyhow::Result<Process> {
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
    fn expect_messages(&self, received: &FloodReport, servers: &Servers) -> anyhow::Result<()> {
        if self.job.scenario.messages.is_none() {
            return Ok(());
        }
        let (sent, urls) = (self.sent_file()?, self.url_file()?);
        let expected = if Path::new(&sent).exists() {
            let regex = match self.id_in_url(servers) {
                Ids::At(regex) => Some(regex),
                Ids::Usual | Ids::None => None,
            };
            expected(Path::new(&sent), Path::new(&urls), regex.as_deref(), received)?
        } else {
            Expected::unknown("the sender has written down nothing")
        };
        Ok(expected.write(&self.folder)?)
    }

    /// Looks at the whole machine at the end of `phase`, and into the processes if `has_pss`.
    async fn look(
        &mut self,
        phase: &str,
        servers: &Servers,
        flood: Option<&Process>,
        has_pss: bool,
    ) -> anyhow::Result<()> {
        let (server_pids, flood_pids) =
            (servers.pids(), flood.map(Process::pids).unwrap_or_default());
        let broker_bytes = match &servers.broker {
            Some(url) => broker_bytes(url).await,
            None => None,
        };
        self.footprints.footprints.push(Footprint {
            server_processes: server_pids.len() as u64,
            server_pss_kb: has_pss.then(|| pss_kb(&server_pids)).flatten(),
            floodtest_processes: flood_pids.len() as u64,
            floodtest_pss_kb: has_pss.then(|| pss_kb(&flood_pids)).flatten(),
            broker_bytes,
            ..footprint::of_this_machine(phase)
        });
        self.footprints.write(&self.folder).map_err(Into::into)
    }

    /// The flags of floodtest and msggen for reports to the rig, and logs in the folder.
    fn log_flags(&self) -> anyhow::Result<Vec<String>> {
        let folder = self.folder.to_str().context("the folder's name is no text")?;
        let interval = format!("{}s", self.plan.log_interval_s);
        let flags = ["--report", "1s", "--json", "--out", folder, "--log-interval", &interval];
        Ok(words(flags))
    }

    /// Marks that a phase begins.
    async fn mark(&mut self, phase: &str) -> anyhow::Result<()> {
        self.progress.begin(phase);
        let unix_ms = u64::try_from(stamp::wall_now().as_millis()).unwrap_or(u64::MAX);
        self.phases.phases.push(PhaseStart { name: phase.to_owned(), unix_ms });
        self.phases.write(&self.folder)?;
        if !self.plan.server.is_watched {
            return Ok(());
        }
        let log = self.path(files::MEMORY)?;
        let marked = self.programs.run("memlog", &["mark", phase, "--log", &log]).await;
        // A log whose processes are gone has ended, and takes no marks.
        let is_over = self.is_log_over;
        if is_over { Ok(()) } else { marked }
    }

    /// Marks that a phase begins, and waits until its memory is known.
    async fn begins(&mut self, phase: &str, memory: &mut Memory) -> anyhow::Result<()> {
        self.mark(phase).await?;
        memory.sampled(phase).await
    }

    /// Waits until every connection is established or has failed, or until the server is gone.
    async fn all_opened(
        &mut self,
        flood: &mut Flood,
        memory: &mut Memory,
        servers: &Servers,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                report = flood.report() => match report? {
                    Some(report) => {
                        let FloodReport { connected, asked, .. } = report;
                        let is_done = report.begun >= *asked
                            && report.established + report.failed + report.waiting >= *asked;
                        self.progress.show(&format!("{connected} of {asked} connected"));
                        if is_done || report.is_final {
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                },
                sample = memory.sample() => if sample?.is_none() {
                    break;
                },
                () = servers.death() => break,
            }
        }
        self.is_log_over = true;
        Ok(())
    }

    /// Holds the connections for a while, where nothing is sent to them by msggen.
    async fn hold(
        &mut self,
        time: Duration,
        flood: &mut Flood,
        memory: &mut Memory,
        servers: &Servers,
    ) -> anyhow::Result<()> {
        let mut interrupts = Interrupts::new()?;
        let end = tokio::time::Instant::now() + time;
        let mut rss_kb = 0;
        while !flood.is_over && !self.is_log_over {
            tokio::select! {
                report = flood.report() => drop(report?),
                sample = memory.sample() => match sample? {
                    Some(sample) => rss_kb = sample.rss_kb,
                    None => self.is_log_over = true,
                },
                () = servers.death() => self.is_log_over = true,
                () = interrupts.next() => break,
                () = tokio::time::sleep_until(end) => break,
            }
            self.progress.show(&format!("{}, server RSS {rss_kb} KB", flood.received()));
        }
        Ok(())
    }

    /// Follows msggen to its end, and the others beside it. The first signal to end ends msggen, and
    /// so does the end of the server, or of all connections. How it ended is looked at with the
    /// rest of the run: hours of it are there to be seen, even if msggen was killed.
    async fn send_all(
        &mut self,
        sender: &mut Process,
        flood: &mut Flood,
        memory: &mut Memory,
        servers: &Servers,
    ) -> anyhow::Result<()> {
        let mut interrupts = Interrupts::new()?;
        let (mut rss_kb, mut has_reported, mut is_told) = (0, false, false);
        loop {
            let is_dead = self.is_log_over;
            tokio::select! {
                report = flood.report(), if !flood.is_over => drop(report?),
                sample = memory.sample(), if !is_dead => match sample? {
                    Some(sample) => rss_kb = sample.rss_kb,
                    None => self.is_log_over = true,
                },
                () = servers.death(), if !is_dead => self.is_log_over = true,
                () = interrupts.next() => sender.signal(Signal::INT)?,
                line = sender.line() => {
                    let Some(line) = line? else {
                        return if has_reported { Ok(()) } else { Err(sender.died().await) };
                    };
                    has_reported = true;
                    let sent: SendReport = read_report(&line)?;
                    let (sent, asked) = (sent.sent, sent.asked);
                    let received = flood.received();
                    self.progress.show(&format!(
                        "{sent} of {asked} sent, {received}, server RSS {rss_kb} KB"
                    ));
                }
            }
            if (self.is_log_over || flood.is_over) && !mem::replace(&mut is_told, true) {
                // There is nobody left to send to: what is known by now is the result.
                sender.signal(Signal::INT)?;
            }
        }
    }

    /// Waits until what the servers sent has arrived and no more comes, or until it will not any
    /// more. Keeps the counts of servers that give them, of that moment.
    async fn settle(&mut self, servers: &Servers, flood: &mut Flood) -> anyhow::Result<()> {
        let stats = match &self.job.scenario.server.stats {
            Some(stats) if !servers.have_died() => servers.filled(std::slice::from_ref(stats)),
            _ => return settle_foreign(flood).await,
        };
        let client = reqwest::Client::builder().no_proxy().timeout(SETTLE_TIME).build()?;
        let deadline = Instant::now() + SETTLE_TIME;
        let mut last_written = None;
        loop {
            if !flood.is_over {
                flood.report().await?;
            }
            let text = match read_stats(&client, &stats).await {
                Ok(text) => text,
                // It died just now.
                Err(_) if servers.have_died() => return Ok(()),
                Err(error) => return Err(error),
            };
            let stats = ServerStats::sum(&text)
                .context("a server's counts are not those that are known here")?;
            let is_quiet = stats.chunks_queued == 0
                && flood.last.delivered() >= stats.chunks_written
                && last_written.replace(stats.chunks_written) == Some(stats.chunks_written);
            if is_quiet || flood.is_over || flood.last.is_final || Instant::now() > deadline {
                let path = self.folder.join(files::SERVER_STATS);
                return fs::write(&path, text)
                    .with_context(|| format!("cannot write {}", path.display()));
            }
        }
    }
}

/// The flag that asks for event streams.
const SSE: &str = "--sse";

/// A URL with the scheme of WebSockets.
fn as_websocket(url: &str) -> String {
    url.strip_prefix("http").map_or_else(|| url.to_owned(), |rest| format!("ws{rest}"))
}

/// Waits until nothing comes any more, where nobody says whether anything will.
async fn settle_foreign(flood: &mut Flood) -> anyhow::Result<()> {
    let deadline = Instant::now() + SETTLE_TIME;
    let (mut last, mut n_same) = (None, 0);
    while !flood.is_over && n_same < QUIET_REPORTS && Instant::now() < deadline {
        flood.report().await?;
        let now = (flood.last.messages, flood.last.bytes);
        n_same = if last.replace(now) == Some(now) { n_same + 1 } else { 0 };
    }
    Ok(())
}

/// Asks each server for its counts, a line each.
async fn read_stats(client: &reqwest::Client, urls: &[String]) -> anyhow::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for url in urls {
        let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
        lines.extend(answer.context("a server does not give its counts")?.bytes().await?);
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The error of a run in which no connection was established, with floodtest's reasons.
async fn nothing_established(flood: Flood) -> anyhow::Error {
    let Flood { process: mut flood, last: mut report, .. } = flood;
    _ = flood.signal(Signal::INT);
    while let Ok(Some(line)) = flood.line().await {
        report = read_report(&line).unwrap_or(report);
    }
    let reasons = report.failures.iter().map(|(reason, n)| format!("{n} × {reason}"));
    let mut reasons = reasons.collect::<Vec<_>>().join(", ");
    for example in &report.examples {
        let detail = example.detail.as_deref().unwrap_or_default();
        reasons = format!("{reasons}; {} {}: {detail}", example.url, example.reason);
    }
    // It says what else there is to say, such as that they all wait for a response head.
    let said = flood.exit().await.map(|exit| exit.said).unwrap_or_default();
    if !said.is_empty() {
        reasons = format!("{reasons}; {}", said.trim_start_matches("floodtest: "));
    }
    let reasons = reasons.trim_start_matches("; ");
    anyhow!("no connection was established: {reasons}")
}

/// Tells a program to end, and waits until it has.
async fn end(process: &mut Process, signal: Signal) -> anyhow::Result<Exit> {
    // One that has ended already has said how.
    _ = process.signal(signal);
    while process.line().await?.is_some() {}
    process.exit().await
}

/// Reads one report of a tool.
fn read_report<R: DeserializeOwned>(line: &str) -> anyhow::Result<R> {
    serde_json::from_str(line).with_context(|| format!("not a report: {line}"))
}

/// Reads one sample of memory.
fn sample(line: &str) -> anyhow::Result<Sample> {
    memory_log::parse_line(line).map_err(|why| anyhow!("not a sample: {line}: {why}"))
}
