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
use crate::interrupts::Interrupts;
use crate::job::Job;
use crate::place;
use crate::preflight::Preflight;
use crate::process::Process;
use crate::programs::{Programs, is_through_cargo};
use crate::progress::Progress;
use crate::scenario::fill::fill;
use crate::scenario::{Messages, Nodes, ProcessOf, Scenario, Started, Urls};
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
        let opened = self.all_opened(&mut flood, &mut memory, servers).await?;
        if opened.connected == 0 && !servers.have_died() {
            return Err(nothing_established(flood).await);
        }
        self.plan.connections = opened.asked;
        self.plan.write(&self.folder)?;
        self.begins(marks::CONNECTED, &mut memory).await?;
        self.look(marks::CONNECTED, servers, Some(&flood), false).await?;

        self.mark(marks::SENDING).await?;
        let mut exits = Vec::new();
        let scenario = &self.job.scenario;
        is_sending.set(true);
        if let Some(messages) = scenario.messages.as_ref().filter(|_| !servers.have_died()) {
            let mut sender = self.start_sender(messages, servers)?;
            self.send_all(&mut sender, &mut flood, &mut memory, servers).await?;
            exits.push(sender.exit().await?);
        } else {
            self.hold(scenario.connections.hold, &mut flood, &mut memory, servers).await?;
        }
        is_sending.set(false);
        self.mark(marks::SENT).await?;
        let received = self.settle(servers, &mut flood).await?;
        memory.sampled(marks::SENT).await?;
        self.look(marks::SENT, servers, Some(&flood), true).await?;
        self.expect_messages(&received)?;

        self.begins(marks::DISCONNECTING, &mut memory).await?;
        exits.insert(0, end(&mut flood, Signal::INT).await?);
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
    async fn start_flood(&mut self, servers: &Servers) -> anyhow::Result<Process> {
        let connections = &self.job.scenario.connections;
        let file = self.url_file()?;
        let count = connections.count.map(|count| count.to_string());
        let mut is_repeated = true;
        if let Urls::Patterns(patterns) = &connections.urls {
            let patterns = servers.filled(patterns);
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
        if let Some(regex) = &connections.id_in_url {
            flags.extend(words(["--id-in-url", regex]));
        }
        if self.job.scenario.messages.is_some() {
            // Read at the end, so that messages are judged from the first to the last.
            flags.extend(words(["--sent", &self.sent_file()?]));
        }
        if let Some(expected) = self.job.scenario.expected_of_flood() {
            flags.extend(words(["--expect", &expected]));
        }
        flags.extend(self.log_flags()?);
        self.start("floodtest", &flags)
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
    fn expect_messages(&self, received: &FloodReport) -> anyhow::Result<()> {
        if self.job.scenario.messages.is_none() {
            return Ok(());
        }
        let (sent, urls) = (self.sent_file()?, self.url_file()?);
        let expected = if Path::new(&sent).exists() {
            let id_in_url = self.job.scenario.connections.id_in_url.as_deref();
            expected(Path::new(&sent), Path::new(&urls), id_in_url, received)?
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
        flood: &mut Process,
        memory: &mut Memory,
        servers: &Servers,
    ) -> anyhow::Result<FloodReport> {
        let mut report = FloodReport::default();
        loop {
            let line = tokio::select! {
                line = flood.next_line() => line?,
                sample = memory.sample() => {
                    if sample?.is_none() {
                        self.is_log_over = true;
                        return Ok(report);
                    }
                    continue;
                }
                () = servers.death() => {
                    self.is_log_over = true;
                    return Ok(report);
                }
            };
            report = read_report(&line)?;
            self.progress.show(&format!("{} of {} connected", report.connected, report.asked));
            let is_done = report.established + report.failed + report.waiting >= report.asked
                && report.begun >= report.asked;
            if is_done || report.is_final {
                return Ok(report);
            }
        }
    }

    /// Holds the connections for a while, where nothing is sent to them by msggen.
    async fn hold(
        &mut self,
        time: Duration,
        flood: &mut Process,
        memory: &mut Memory,
        servers: &Servers,
    ) -> anyhow::Result<()> {
        let mut interrupts = Interrupts::new()?;
        let end = tokio::time::Instant::now() + time;
        let mut rss_kb = 0;
        loop {
            tokio::select! {
                line = flood.next_line() => {
                    let received: FloodReport = read_report(&line?)?;
                    let items = received.items.max(received.chunks);
                    self.progress.show(&format!(
                        "{items} {} received by {} connections, server RSS {rss_kb} KB",
                        received.item_kind, received.connected,
                    ));
                }
                sample = memory.sample() => match sample? {
                    Some(sample) => rss_kb = sample.rss_kb,
                    None => break,
                },
                () = servers.death() => break,
                () = interrupts.next() => return Ok(()),
                () = tokio::time::sleep_until(end) => return Ok(()),
            }
        }
        self.is_log_over = true;
        Ok(())
    }

    /// Follows msggen to its end, and the others beside it. The first signal to end ends msggen.
    /// How it ended is looked at with the rest of the run: hours of it are there to be seen, even
    /// if msggen was killed.
    async fn send_all(
        &mut self,
        sender: &mut Process,
        flood: &mut Process,
        memory: &mut Memory,
        servers: &Servers,
    ) -> anyhow::Result<()> {
        let mut interrupts = Interrupts::new()?;
        let mut is_dead = false;
        let mut received = FloodReport::default();
        let (mut rss_kb, mut has_reported) = (0, false);
        loop {
            tokio::select! {
                line = flood.next_line() => received = read_report(&line?)?,
                sample = memory.sample(), if !is_dead => match sample? {
                    Some(sample) => rss_kb = sample.rss_kb,
                    None => is_dead = true,
                },
                () = servers.death(), if !is_dead => is_dead = true,
                () = interrupts.next() => sender.signal(Signal::INT)?,
                line = sender.line() => {
                    let Some(line) = line? else {
                        return if has_reported { Ok(()) } else { Err(sender.died().await) };
                    };
                    has_reported = true;
                    let sent: SendReport = read_report(&line)?;
                    self.progress.show(&format!(
                        "{} of {} sent, {} {} received by {} connections, server RSS {rss_kb} KB",
                        sent.sent,
                        sent.asked,
                        received.items.max(received.chunks),
                        received.item_kind,
                        received.connected,
                    ));
                }
            }
            if is_dead && !self.is_log_over {
                // There is nobody left to send to: what is known by now is the result.
                self.is_log_over = true;
                sender.signal(Signal::INT)?;
            }
        }
    }

    /// Waits until what the servers sent has arrived and no more comes, or until it will not any
    /// more. Keeps the counts of servers that give them, of that moment. The last report.
    async fn settle(
        &mut self,
        servers: &Servers,
        flood: &mut Process,
    ) -> anyhow::Result<FloodReport> {
        let stats = match &self.job.scenario.server.stats {
            Some(stats) if !servers.have_died() => servers.filled(std::slice::from_ref(stats)),
            _ => return settle_foreign(flood).await,
        };
        let client = reqwest::Client::builder().no_proxy().timeout(SETTLE_TIME).build()?;
        let deadline = Instant::now() + SETTLE_TIME;
        let mut last_written = None;
        loop {
            let received: FloodReport = read_report(&flood.next_line().await?)?;
            let text = match read_stats(&client, &stats).await {
                Ok(text) => text,
                // It died just now.
                Err(_) if servers.have_died() => return Ok(received),
                Err(error) => return Err(error),
            };
            let stats = ServerStats::sum(&text)
                .context("a server's counts are not those that are known here")?;
            let is_quiet = stats.chunks_queued == 0
                && received.chunks >= stats.chunks_written
                && last_written.replace(stats.chunks_written) == Some(stats.chunks_written);
            if is_quiet || received.is_final || Instant::now() > deadline {
                let path = self.folder.join(files::SERVER_STATS);
                fs::write(&path, text)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                return Ok(received);
            }
        }
    }
}

/// Waits until nothing comes any more, where nobody says whether anything will.
async fn settle_foreign(flood: &mut Process) -> anyhow::Result<FloodReport> {
    let deadline = Instant::now() + SETTLE_TIME;
    let (mut last, mut n_same) = (None, 0);
    loop {
        let received: FloodReport = read_report(&flood.next_line().await?)?;
        let now = (received.messages, received.bytes);
        n_same = if last.replace(now) == Some(now) { n_same + 1 } else { 0 };
        if n_same >= QUIET_REPORTS || received.is_final || Instant::now() > deadline {
            return Ok(received);
        }
    }
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
async fn nothing_established(mut flood: Process) -> anyhow::Error {
    let mut report = FloodReport::default();
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
