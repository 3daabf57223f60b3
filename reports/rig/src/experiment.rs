//! The article's experiment, in order: servers, connections, messages, books.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs, mem};

use anyhow::{Context as _, anyhow, ensure};
use reports::books::{FloodReport, SendReport, ServerStats};
use reports::memory_log::{self, Sample};
use reports::run::files::{self, marks};
use reports::run::{Exit, Exits, Footprint, Footprints, Plan};
use reports::stamp;
use rustix::process::Signal;
use serde::de::DeserializeOwned;

use crate::footprint::{self, pss_kb};
use crate::host;
use crate::interrupts::Interrupts;
use crate::job::Job;
use crate::place;
use crate::process::{Process, first_death};
use crate::programs::{Programs, is_through_cargo};
use crate::progress::Progress;
use crate::servers::{Servers, address, broker_bytes};
use crate::stage::{Stage, words};

/// How long the last messages may take to arrive once the last one is answered.
const SETTLE_TIME: Duration = Duration::from_secs(10);

/// Connections for each second from one sample of memory to the next. The kernel takes 2 µs to tell
/// memlog of one, so that counting them takes 7 % of one core at the most.
const CONNECTIONS_PER_SAMPLE_SECOND: u64 = 33_333;

/// Entries of the logs of floodtest and msggen in a long run: enough for a chart as wide as a
/// page, and few enough for logs of a megabyte. A short run has one a second.
const LOG_ENTRIES: u64 = 600;

/// The seed of the ids, so that runs can be compared.
const SEED: u64 = 1;

/// Runs the experiment and returns the folder that holds it. `is_sending` is set while messages
/// are sent: whoever unsets it should know that one signal to end then ends only the sending.
pub(crate) async fn run(job: &Job, is_sending: &Cell<bool>) -> anyhow::Result<PathBuf> {
    let folder = place::make(job.common.out.as_deref(), job.name)?;
    let mut progress = Progress::new()?;
    progress.begin("getting the programs");
    let names = ["comet-server", "floodtest", "msggen", "memlog"];
    let programs = Programs::get(&names, job.common.profile.as_deref()).await?;
    // Who built installed programs, and from which commit, is not known.
    let rustc = if programs.are_built_here() { place::rustc().await } else { None };
    host::of_this_machine(rustc).write(&folder)?;
    let plan = plan(job, &programs).await;
    let temporary = tempfile::tempdir().context("cannot make a folder for the URL file")?;
    let footprints = Footprints::default();
    let mut stage = Stage { job, programs, folder, temporary, plan, footprints, progress };
    let mut repeated: Vec<String> = env::args().skip(1).collect();
    let mut program = "rig";
    if is_through_cargo() {
        repeated.insert(0, mem::replace(&mut program, "cargo").to_owned());
    }
    place::note(&mut stage.plan, &stage.folder, program, &repeated)?;

    let (broker, url) = stage.start_broker().await?;
    let (mut processes, nodes) = stage.start_servers(url.as_deref()).await?;
    processes.extend(broker);
    let servers = Servers { nodes, broker: url };
    let exits = tokio::select! {
        exits = stage.load(&servers, is_sending) => exits?,
        error = first_death(&mut processes) => return Err(error),
    };
    let exits = Exits { exits: [end_all(&mut processes).await?, exits].concat() };
    exits.write(&stage.folder)?;
    Ok(stage.folder)
}

/// What is asked for, before the first command.
async fn plan(job: &Job, programs: &Programs) -> Plan {
    let (commit, is_modified) =
        if programs.are_built_here() { place::commit().await } else { (None, false) };
    let log_interval_s = job.duration.as_secs().div_ceil(LOG_ENTRIES).max(1) as f64;
    Plan {
        experiment: job.name.to_owned(),
        toolkit: env!("CARGO_PKG_VERSION").to_owned(),
        commit,
        is_modified,
        profile: programs.profile().to_owned(),
        started_unix_s: stamp::wall_now().as_secs(),
        nodes: job.n_nodes as u64,
        connections: job.connections,
        rate: job.rate,
        messages_per_second: job.messages_per_second,
        sources: job.sources,
        duration_s: job.duration.as_secs_f64(),
        server_threads: job.common.server_threads,
        seed: SEED,
        log_interval_s,
        memory_interval_s: job.connections.div_ceil(CONNECTIONS_PER_SAMPLE_SECOND) as f64,
        ..Plan::default()
    }
}

impl Stage<'_> {
    /// Puts the load on the servers and takes it off again. How the tools ended.
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
        let opened = self.all_opened(&mut flood, &mut memory).await?;
        ensure!(opened.connected > 0, "no connection was established: {}", flood.last_words());
        self.begins(marks::CONNECTED, &mut memory).await?;
        self.look(marks::CONNECTED, servers, Some(&flood), false).await?;

        self.mark(marks::SENDING).await?;
        let mut sender = self.start_sender(servers)?;
        is_sending.set(true);
        self.send_all(&mut sender, &mut flood, &mut memory).await?;
        is_sending.set(false);
        let sender_exit = sender.exit().await?;
        self.mark(marks::SENT).await?;
        self.settle(servers, &mut flood).await?;
        self.sampled(marks::SENT, &mut memory).await?;
        self.look(marks::SENT, servers, Some(&flood), true).await?;

        self.begins(marks::DISCONNECTING, &mut memory).await?;
        let flood_exit = end(&mut flood, Signal::INT).await?;
        let memory_exit = end(&mut memory, Signal::INT).await?;
        Ok(vec![memory_exit, flood_exit, sender_exit])
    }

    /// Starts the log of the servers' memory.
    async fn start_memlog(&mut self, servers: &Servers) -> anyhow::Result<Process> {
        let pids: Vec<String> = servers.pids().iter().map(u32::to_string).collect();
        let (pids, port) = (pids.join(","), servers.nodes[0].port()?);
        let log = self.path(files::MEMORY)?;
        let interval = format!("{}s", self.plan.memory_interval_s);
        let flags = ["--pid", &pids, "--port", &port, "--log", &log, "--interval", &interval];
        let mut memory = self.start("memlog", &words(flags))?;
        memory.next_line().await?;
        Ok(memory)
    }

    /// Writes the URL file and starts floodtest on it.
    async fn start_flood(&mut self, servers: &Servers) -> anyhow::Result<Process> {
        let file = self.temporary.path().join("urls.txt");
        let file = file.to_str().context("the folder for temporary files has a strange name")?;
        let file = file.to_owned();
        let count = self.job.connections.to_string();
        let mut flags = words(["urls", "--count", &count, "--out", &file]);
        flags.extend(servers.nodes.iter().flat_map(|node| words(["--pattern", &node.urls])));
        place::note(&mut self.plan, &self.folder, "floodtest", &flags)?;
        self.programs.run("floodtest", &flags).await?;
        let rate = if self.job.rate > 0 { self.job.rate.to_string() } else { "max".to_owned() };
        let mut flags = words(["--urls", &file, "--rate", &rate]);
        let n_nodes = self.job.n_nodes;
        if n_nodes > 1 {
            // From the servers' own addresses, where their port is taken. From others a client may
            // have that port as well, and memlog would take it for one of a server's connections.
            let (first, last) = (address(0, n_nodes), address(n_nodes - 1, n_nodes));
            flags.extend(words(["--source-ip", &format!("{first}-{last}")]));
        }
        // Read at the end, so that messages are judged from the first to the last.
        flags.extend(words(["--sent", &self.sent_file()?]));
        flags.extend(self.log_flags()?);
        self.start("floodtest", &flags)
    }

    /// Starts msggen for the whole time of sending.
    fn start_sender(&mut self, servers: &Servers) -> anyhow::Result<Process> {
        let job = self.job;
        let interval = Duration::from_secs_f64(job.sources as f64 / job.messages_per_second as f64);
        let n_messages = (job.duration.as_secs_f64() / interval.as_secs_f64()).ceil().max(1.0);
        let kind = if job.is_random { "exp:" } else { "" };
        let mut flags: Vec<String> = [
            ("--num", format!("{n_messages}")),
            ("--interval", format!("{kind}{}", humantime::format_duration(interval))),
            ("--max", job.connections.to_string()),
            ("--sources", job.sources.to_string()),
            ("--seed", SEED.to_string()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
        let mut controls: Vec<&str> = servers.nodes.iter().map(|node| &*node.control).collect();
        if servers.broker.is_some() {
            // msggen shares the ids as the URL file does. One place further on, each message goes
            // to a server that has not got its id: through the broker.
            controls.rotate_left(1);
        }
        flags.extend(controls.into_iter().flat_map(|control| words(["--server", control])));
        flags.extend(words(["--stamp", "--sent", &self.sent_file()?]));
        flags.extend(self.log_flags()?);
        self.start("msggen", &flags)
    }

    /// Where msggen says what it sent. It is no part of the run's folder: for a million ids it has
    /// 30 MB, and what it shows is in floodtest's last report.
    fn sent_file(&self) -> anyhow::Result<String> {
        let file = self.temporary.path().join("sent.ndjson");
        Ok(file.to_str().context("the folder for temporary files has a strange name")?.to_owned())
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
        let log = self.path(files::MEMORY)?;
        self.programs.run("memlog", &["mark", phase, "--log", &log]).await
    }

    /// Marks that a phase begins, and waits until its memory is known.
    async fn begins(&mut self, phase: &str, memory: &mut Process) -> anyhow::Result<()> {
        self.mark(phase).await?;
        self.sampled(phase, memory).await
    }

    /// Waits until memory was sampled in a phase that has begun: once in the line that carries the
    /// mark, and once more.
    async fn sampled(&mut self, phase: &str, memory: &mut Process) -> anyhow::Result<()> {
        while !sample(&memory.next_line().await?)?.marks.iter().any(|mark| mark.text == phase) {}
        memory.next_line().await?;
        Ok(())
    }

    /// Waits until every connection is established or has failed.
    async fn all_opened(
        &mut self,
        flood: &mut Process,
        memory: &mut Process,
    ) -> anyhow::Result<FloodReport> {
        loop {
            let line = tokio::select! {
                line = flood.next_line() => line?,
                line = memory.next_line() => {
                    line?;
                    continue;
                }
            };
            let report: FloodReport = read_report(&line)?;
            self.progress.show(&format!("{} of {} connected", report.connected, report.asked));
            if report.established + report.failed >= report.asked || report.is_final {
                return Ok(report);
            }
        }
    }

    /// Follows msggen to its end, and the others beside it. The first signal to end ends msggen.
    /// How it ended is looked at with the rest of the run: hours of it are there to be seen, even
    /// if msggen was killed.
    async fn send_all(
        &mut self,
        sender: &mut Process,
        flood: &mut Process,
        memory: &mut Process,
    ) -> anyhow::Result<()> {
        let mut interrupts = Interrupts::new()?;
        let mut received = FloodReport::default();
        let (mut rss_kb, mut has_reported) = (0, false);
        loop {
            tokio::select! {
                line = flood.next_line() => received = read_report(&line?)?,
                line = memory.next_line() => rss_kb = sample(&line?)?.rss_kb,
                () = interrupts.next() => sender.signal(Signal::INT)?,
                line = sender.line() => {
                    let Some(line) = line? else {
                        return if has_reported { Ok(()) } else { Err(sender.died().await) };
                    };
                    has_reported = true;
                    let sent: SendReport = read_report(&line)?;
                    self.progress.show(&format!(
                        "{} of {} sent, {} chunks received by {} connections, server RSS {rss_kb} \
                         KB",
                        sent.sent, sent.asked, received.chunks, received.connected,
                    ));
                }
            }
        }
    }

    /// Waits until what the servers wrote has arrived and no more is written, or until it will not
    /// any more. Keeps their counts of that moment.
    async fn settle(&self, servers: &Servers, flood: &mut Process) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().no_proxy().timeout(SETTLE_TIME).build()?;
        let deadline = Instant::now() + SETTLE_TIME;
        let mut last_written = None;
        loop {
            let received: FloodReport = read_report(&flood.next_line().await?)?;
            let text = read_stats(&client, servers).await?;
            let stats = ServerStats::sum(&text)
                .context("a server's counts are not those that are known here")?;
            let is_quiet = stats.chunks_queued == 0
                && received.chunks >= stats.chunks_written
                && last_written.replace(stats.chunks_written) == Some(stats.chunks_written);
            if is_quiet || received.is_final || Instant::now() > deadline {
                let path = self.folder.join(files::SERVER_STATS);
                return fs::write(&path, text)
                    .with_context(|| format!("cannot write {}", path.display()));
            }
        }
    }
}

/// Asks each server for its counts, a line each.
async fn read_stats(client: &reqwest::Client, servers: &Servers) -> anyhow::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for node in &servers.nodes {
        let url = format!("{}/stats", node.control);
        let answer = client.get(&url).send().await.and_then(reqwest::Response::error_for_status);
        lines.extend(answer.context("a server does not give its counts")?.bytes().await?);
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Tells all programs to end, and waits until they have: the servers, and last the broker.
async fn end_all(processes: &mut [Process]) -> anyhow::Result<Vec<Exit>> {
    let mut exits = Vec::new();
    for process in processes {
        exits.push(end(process, Signal::TERM).await?);
    }
    Ok(exits)
}

/// Tells a program to end, and waits until it has.
async fn end(process: &mut Process, signal: Signal) -> anyhow::Result<Exit> {
    process.signal(signal)?;
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
