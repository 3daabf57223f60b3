//! An experiment, in order: servers, connections, messages, books.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs, mem};

use anyhow::Context as _;
use reports::books::{FloodReport, SendReport, ServerStats};
use reports::run::files::{self, marks};
use reports::run::{
    COMET_SERVER, Exit, Exits, Footprint, Footprints, PhaseStart, Phases, Plan, ServerPlan,
};
use reports::stamp;
use rustix::process::Signal;

use crate::footprint::{self, pss_kb};
use crate::host;
use crate::interrupts::Interrupts;
use crate::job::Job;
use crate::place;
use crate::preflight::Preflight;
use crate::process::Process;
use crate::programs::{Programs, is_through_cargo};
use crate::progress::Progress;
use crate::ready;
use crate::scenario::{Nodes, ProcessOf, Scenario, Started};
use crate::servers::{Servers, broker_bytes};
use crate::stage::Stage;
use crate::watched::{Flood, Memory, nothing_established, read_report};

/// How long the last messages may take to arrive once the last one is answered.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// Connections for each second from one sample of memory to the next. The kernel takes 2 µs to tell
/// memlog of one, so that counting them takes 7 % of one core at the most.
const CONNECTIONS_PER_SAMPLE_SECOND: u64 = 33_333;

/// Entries of the logs of floodtest and msggen in a long run: enough for a chart as wide as a
/// page, and few enough for logs of a megabyte. A short run has one a second.
const LOG_ENTRIES: u64 = 600;

/// How long floodtest may go on after it has begun its last connection (`for`), for the streams
/// that are still open to end. An answer of a language model takes minutes at most.
const MOST_STREAM_TIME: Duration = Duration::from_mins(5);

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
    stage.befriend().await?;
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
        ProcessOf::Elsewhere { .. } if !scenario.server.process.is_watched() => return needed,
        ProcessOf::Started(it) if it.command[0] == COMET_SERVER => needed.push(COMET_SERVER),
        ProcessOf::Started(_) | ProcessOf::Running(_) | ProcessOf::Elsewhere { .. } => {}
    }
    needed.push("memlog");
    needed
}

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
        ProcessOf::Elsewhere { host: Some(host), .. } => Some(place::host_at(host).await?),
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
            is_watched: scenario.server.process.is_watched(),
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

impl Stage<'_> {
    /// Puts the load on the servers and takes it off again. How the tools ended. If a server dies
    /// it ends early, with all that is known by then.
    async fn load(
        &mut self,
        servers: &Servers,
        is_sending: &Cell<bool>,
    ) -> anyhow::Result<Vec<Exit>> {
        let mut memory = self.start_memlog(servers).await?;
        self.begins(marks::NOBODY, &mut memory, servers).await?;
        self.look(marks::NOBODY, servers, None, true).await?;

        self.begins(marks::CONNECTING, &mut memory, servers).await?;
        let mut flood = self.start_flood(servers).await?;
        servers.begin_faults();
        self.all_opened(&mut flood, &mut memory, servers).await?;
        if flood.last.established == 0 && !servers.have_died() {
            return Err(nothing_established(flood).await);
        }
        self.plan.connections = flood.last.asked;
        self.plan.write(&self.folder)?;
        self.begins(marks::CONNECTED, &mut memory, servers).await?;
        self.look(marks::CONNECTED, servers, Some(&flood.process), false).await?;

        self.mark(marks::SENDING, &mut memory).await?;
        let mut exits = Vec::new();
        let scenario = &self.job.scenario;
        is_sending.set(true);
        // Once there is nobody to send to, or nothing to see of it, nothing is sent.
        let is_over = flood.is_over || self.is_log_over;
        if let Some(messages) = scenario.messages.as_ref().filter(|_| !is_over) {
            let mut sender = self.start_sender(messages, servers)?;
            self.send_all(&mut sender, &mut flood, &mut memory, servers).await?;
            exits.push(sender.exit().await?);
        } else {
            let connections = &scenario.connections;
            // One that begins connections for a time ends by itself, once the last of them have.
            let hold = connections.time.map_or(connections.hold, |time| time + MOST_STREAM_TIME);
            self.hold(hold, &mut flood, &mut memory, servers).await?;
        }
        is_sending.set(false);
        servers.end_faults().await;
        self.mark(marks::SENT, &mut memory).await?;
        self.settle(servers, &mut flood).await?;
        self.sampled(marks::SENT, &mut memory, servers).await?;
        self.look(marks::SENT, servers, Some(&flood.process), true).await?;
        self.expect_messages(&flood.last, servers)?;

        self.begins(marks::DISCONNECTING, &mut memory, servers).await?;
        exits.insert(0, end(&mut flood.process, Signal::INT).await?);
        if let Some(memlog) = &mut memory.memlog {
            exits.insert(0, end(memlog, Signal::INT).await?);
        }
        Ok(exits)
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

    /// Marks that a phase begins.
    async fn mark(&mut self, phase: &str, memory: &mut Memory) -> anyhow::Result<()> {
        self.progress.begin(phase);
        let unix_ms = stamp::wall_now_ms();
        self.phases.phases.push(PhaseStart { name: phase.to_owned(), unix_ms });
        self.phases.write(&self.folder)?;
        if !self.plan.server.is_watched {
            return Ok(());
        }
        let log = self.path(files::MEMORY)?;
        let marked = self.programs.run("memlog", &["mark", phase, "--log", &log]).await;
        // A log whose processes are all gone, or whose host is, has ended, and takes no marks; one
        // of several servers may have died and left it going on.
        if marked.is_err() && !self.is_log_over {
            self.is_log_over = memory.has_ended().await;
        }
        if self.is_log_over { Ok(()) } else { marked }
    }

    /// Marks that a phase begins, and waits until its memory is known.
    async fn begins(
        &mut self,
        phase: &str,
        memory: &mut Memory,
        servers: &Servers,
    ) -> anyhow::Result<()> {
        self.mark(phase, memory).await?;
        self.sampled(phase, memory, servers).await
    }

    /// Waits until memory was sampled in a phase. Where the log follows a port, so that the server
    /// may be killed and started again, it would wait for ever for one that does not come back.
    async fn sampled(
        &mut self,
        phase: &str,
        memory: &mut Memory,
        servers: &Servers,
    ) -> anyhow::Result<()> {
        if self.job.scenario.faults.is_empty() {
            return memory.sampled(phase).await;
        }
        tokio::select! {
            sampled = memory.sampled(phase) => sampled,
            () = servers.death() => {
                self.is_log_over = true;
                Ok(())
            }
        }
    }

    /// Waits until every connection is established or has failed, or until the server is gone.
    async fn all_opened(
        &mut self,
        flood: &mut Flood,
        memory: &mut Memory,
        servers: &Servers,
    ) -> anyhow::Result<()> {
        let connections = &self.job.scenario.connections;
        loop {
            tokio::select! {
                report = flood.report() => match report? {
                    Some(report) => {
                        let FloodReport { connected, asked, .. } = report;
                        // Those that are begun all the time have no end to be waited for.
                        let is_open_loop = connections.time.is_some() && report.established > 0;
                        let is_done = is_open_loop
                            || report.begun >= *asked
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

    /// Follows msggen to its end, and the others beside it. The first signal to end ends msggen,
    /// and so does the end of the server, or of all connections. How it ended is looked at with the
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
                        // One that is told to end as soon as it starts has nothing to report.
                        let is_known = has_reported || is_told;
                        return if is_known { Ok(()) } else { Err(sender.died().await) };
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
        let client = ready::client().timeout(SETTLE_TIME).build()?;
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

/// Tells a program to end, and waits until it has.
async fn end(process: &mut Process, signal: Signal) -> anyhow::Result<Exit> {
    // One that has ended already has said how.
    _ = process.signal(signal);
    while process.line().await?.is_some() {}
    process.exit().await
}
