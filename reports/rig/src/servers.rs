//! The servers of a run, and the broker that joins them.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use reports::run::{COMET_SERVER, Exit};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, timeout_at};

use crate::keeper::{Again, CurrentPid, Keeper, Time};
use crate::place;
use crate::process::{LastWords, Process, tree_of};
use crate::ready::{READY_EVERY, says, try_it};
use crate::scenario::fill::{Values, fill, uses};
use crate::scenario::{Broker, Fault, ProcessOf, Started};
use crate::stage::{Stage, words};

/// How often a free port is looked for: somebody may take it before the server does.
const PORT_TRIES: usize = 5;

/// How long a server may take to end after it was told to. Closing a million sockets is a minute's
/// work for the kernel.
const END_TIME: Duration = Duration::from_mins(3);

/// How long the end of a server may take to be noticed after a tool has suffered from it.
const DEATH_TIME: Duration = Duration::from_secs(1);

/// The servers, as their clients see them.
pub(crate) struct Servers {
    /// What stands for what in the scenario, for each of them; one at least.
    pub(crate) nodes: Vec<Values>,
    /// The URL of what joins them.
    pub(crate) broker: Option<String>,
    /// The processes of a server that was not started by the run.
    foreign: Vec<u32>,
    /// Keep the servers that were started, and the broker, to their ends.
    keepers: JoinSet<(usize, anyhow::Result<Vec<Exit>>)>,
    /// Those that are kept, by number.
    kept: Vec<Kept>,
    /// When faults are done to them.
    time: watch::Sender<Time>,
    /// Whether one is being done.
    is_busy: watch::Sender<bool>,
    /// What they said last.
    said: Vec<LastWords>,
    /// Whether one of them has ended.
    has_died: watch::Sender<bool>,
}

/// A program that is kept.
struct Kept {
    /// Its process.
    pid: CurrentPid,
    /// Whether it is the broker.
    is_broker: bool,
    /// Whether it has ended.
    has_ended: bool,
}

impl Servers {
    /// None yet.
    fn new() -> Self {
        Self {
            nodes: Vec::new(),
            broker: None,
            foreign: Vec::new(),
            keepers: JoinSet::new(),
            kept: Vec::new(),
            time: watch::Sender::new(Time::Before),
            is_busy: watch::Sender::new(false),
            said: Vec::new(),
            has_died: watch::Sender::new(false),
        }
    }

    /// Keeps a process to its end, and does `faults` to it, which need a way back.
    fn keep(
        &mut self,
        process: Process,
        is_broker: bool,
        faults: VecDeque<Fault>,
        again: Option<Again>,
    ) {
        let at = self.kept.len();
        let pid = CurrentPid::new(process.pid().into());
        self.kept.push(Kept { pid: CurrentPid::clone(&pid), is_broker, has_ended: false });
        let said = process.said();
        self.said.push(said.clone());
        let (time, is_busy) = (self.time.subscribe(), self.is_busy.clone());
        let keeper = Keeper { process, pid, said, faults, again, time, is_busy };
        let has_died = self.has_died.clone();
        self.keepers.spawn(async move {
            let exits = keeper.keep().await;
            has_died.send_replace(true);
            (at, exits)
        });
    }

    /// From now on the times of faults count.
    pub(crate) fn begin_faults(&self) {
        self.time.send_replace(Time::Since(tokio::time::Instant::now()));
    }

    /// No more faults are done. One that has begun is brought to its end, which is waited for.
    pub(crate) async fn end_faults(&self) {
        self.time.send_replace(Time::Over);
        let mut is_busy = self.is_busy.subscribe();
        // Its other end is in this very structure.
        _ = is_busy.wait_for(|is_busy| !is_busy).await;
    }

    /// All their processes now.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let kept = self.kept.iter().filter(|kept| !kept.is_broker && !kept.has_ended);
        let pids = kept.map(|kept| kept.pid.load(Ordering::SeqCst)).filter(|pid| *pid > 0);
        pids.chain(self.foreign.iter().copied()).flat_map(tree_of).collect()
    }

    /// Whether one of them has ended though nobody told it to.
    pub(crate) fn have_died(&self) -> bool {
        *self.has_died.borrow()
    }

    /// Waits until one of them has ended though nobody told it to.
    pub(crate) async fn death(&self) {
        let mut has_died = self.has_died.subscribe();
        // Its other end is in this very structure.
        _ = has_died.wait_for(|has_died| *has_died).await;
    }

    /// Texts with everything filled in, for each server in turn and without repetitions.
    pub(crate) fn filled(&self, texts: &[String]) -> Vec<String> {
        let mut filled: Vec<String> = Vec::new();
        for node in &self.nodes {
            for text in texts {
                let text = fill(text, node);
                if !filled.contains(&text) {
                    filled.push(text);
                }
            }
        }
        filled
    }

    /// A text with everything filled in that is the same for all.
    pub(crate) fn fill(&self, text: &str) -> String {
        self.nodes.first().map_or_else(|| text.to_owned(), |node| fill(text, node))
    }

    /// Tells all to end, and waits until they have: the servers, and last the broker. Those that
    /// have ended before were not told to.
    pub(crate) async fn end(mut self) -> anyhow::Result<Vec<Exit>> {
        self.end_faults().await;
        let mut exits = Vec::new();
        while let Some(ended) = self.keepers.try_join_next() {
            let (at, ended) = ended?;
            self.kept[at].has_ended = true;
            let mut ended = ended?;
            if let Some(last) = ended.last_mut() {
                last.is_early = true;
            }
            exits.extend(ended);
        }
        for is_broker in [false, true] {
            let of_kind = |kept: &&Kept| kept.is_broker == is_broker && !kept.has_ended;
            let pids = self.kept.iter().filter(of_kind).map(|kept| kept.pid.load(Ordering::SeqCst));
            let pids: Vec<u32> = pids.collect();
            for pid in &pids {
                let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw);
                // It may be ending by itself just now.
                pid.map(|pid| kill_process(pid, Signal::TERM));
            }
            for _ in &pids {
                let ended = timeout(END_TIME, self.keepers.join_next()).await;
                let ended = ended.context("a server does not end")?;
                let (_at, ended) = ended.expect("there is one left")?;
                let mut ended = ended?;
                // Those before it are of the times that it was killed.
                let last = ended.pop().map(as_told);
                exits.extend(ended.into_iter().chain(last));
            }
        }
        Ok(exits)
    }
}

/// How a program ended that was told to. Of ours a signal to end leads to exit code 0; others end
/// in their own ways.
fn as_told(exit: Exit) -> Exit {
    let is_own = exit.program.starts_with(COMET_SERVER);
    let said = if exit.code == Some(0) { String::new() } else { exit.said };
    Exit { said, is_expected: !is_own, ..exit }
}

/// The address of server number `at` of `n_nodes`. Several have one each, from 127.0.1.1 on.
pub(crate) fn address(at: usize, n_nodes: usize) -> String {
    if n_nodes == 1 { "127.0.0.1".to_owned() } else { format!("127.0.1.{}", at + 1) }
}

/// A port that is free on `addresses` now, and in none of `taken`.
fn free_port(addresses: &[String], taken: &[u16]) -> anyhow::Result<u16> {
    'ports: for _ in 0..PORT_TRIES * 10 {
        let port = TcpListener::bind((&*addresses[0], 0))?.local_addr()?.port();
        if taken.contains(&port) {
            continue;
        }
        for address in addresses {
            match TcpListener::bind((&**address, port)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => continue 'ports,
                Err(error) => return Err(error).context(format!("cannot listen on {address}")),
            }
        }
        return Ok(port);
    }
    bail!("there is no free port")
}

impl Stage<'_> {
    /// Starts what is to be started, and waits until the server is ready.
    pub(crate) async fn start_all(&mut self) -> anyhow::Result<Servers> {
        let mut servers = Servers::new();
        let broker = self.start_broker().await?;
        let (broker, url) = broker;
        servers.broker = url;
        let server = self.job.scenario.server.clone();
        if let ProcessOf::Started(started) = &server.process {
            self.start_servers(started, &mut servers).await?;
        } else {
            servers.nodes.push(Values::new());
            servers.foreign = pids_of(&server.process);
        }
        if let Some(broker) = broker {
            servers.keep(broker, true, VecDeque::new(), None);
        }
        self.wait_until_ready(&servers).await?;
        Ok(servers)
    }

    /// Starts the broker, if there is to be one of the run's own. The URL of the one to use.
    async fn start_broker(&mut self) -> anyhow::Result<(Option<Process>, Option<String>)> {
        match &self.job.scenario.server.broker {
            Broker::None => Ok((None, None)),
            Broker::At(url) => {
                self.plan.broker = Some(place::without_password(url).into_owned());
                Ok((None, Some(url.clone())))
            }
            Broker::Own => {
                let version = place::said("redis-server", &["--version"]).await;
                self.plan.broker = Some(version.context(
                    "cannot run redis-server; install it (Debian: redis-server), name a broker \
                     with --redis, or do without one with --no-cluster",
                )?);
                let (process, url) = self.start_redis().await?;
                Ok((Some(process), Some(url)))
            }
        }
    }

    /// Starts a redis-server that keeps nothing, on a free port, and waits until it is ready.
    async fn start_redis(&mut self) -> anyhow::Result<(Process, String)> {
        let folder = self.temporary_path("")?;
        for _ in 0..PORT_TRIES {
            // It cannot be told to choose a port by itself.
            let port = free_port(&["127.0.0.1".to_owned()], &[])?.to_string();
            let place = ["--bind", "127.0.0.1", "--port", &port, "--dir", &folder];
            let mut flags = words(place);
            flags.extend(words(["--save", "", "--appendonly", "no"]));
            let mut redis = self.start("redis-server", &flags)?;
            while let Some(line) = redis.line().await? {
                if line.contains("Ready to accept connections") {
                    return Ok((redis, format!("redis://127.0.0.1:{port}")));
                }
            }
        }
        bail!("redis-server does not start on a free port; look at what it says when you start it")
    }

    /// Starts the servers on free ports, the same ones for all: the kernel is asked for the
    /// connections on a port with each sample.
    async fn start_servers(
        &mut self,
        started: &Started,
        servers: &mut Servers,
    ) -> anyhow::Result<()> {
        let n_nodes = self.n_nodes;
        let addresses: Vec<String> = (0..n_nodes).map(|at| address(at, n_nodes)).collect();
        let name = self.job.scenario.server.name.clone();
        for tried in 1.. {
            let port = free_port(&addresses, &[])?;
            let control_port = free_port(&addresses, &[port])?;
            let ports = [port, control_port];
            let at_work = self.start_on(started, servers, &addresses, ports, &name).await;
            match at_work {
                Ok(()) => break,
                // Somebody else took the port in between.
                Err(error) if tried < PORT_TRIES && is_port_taken(&error) => {
                    servers.nodes.clear();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Starts the servers on these ports.
    async fn start_on(
        &mut self,
        started: &Started,
        servers: &mut Servers,
        addresses: &[String],
        [port, control_port]: [u16; 2],
        name: &str,
    ) -> anyhow::Result<()> {
        let (first, last) = (&addresses[0], &addresses[addresses.len() - 1]);
        let all = if first == last { first.clone() } else { format!("{first}-{last}") };
        let deadline = Instant::now() + self.job.scenario.server.ready_timeout;
        let mut processes = Vec::new();
        for (at, address) in addresses.iter().enumerate() {
            let node = format!("n{}", at + 1);
            let mut values = Values::from([
                ("address".to_owned(), address.clone()),
                ("addresses".to_owned(), all.clone()),
                ("node".to_owned(), node.clone()),
                ("port".to_owned(), port.to_string()),
                ("control_port".to_owned(), control_port.to_string()),
            ]);
            if uses(&started.command, "dir") {
                let dir = self.temporary_path(&node)?;
                std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {dir}"))?;
                values.insert("dir".to_owned(), dir);
            }
            if uses(&started.command, "friends") {
                values.insert("friends".to_owned(), self.store_path()?);
            }
            values.extend(servers.broker.clone().map(|url| ("broker".to_owned(), url)));
            let command: Vec<String> =
                started.command.iter().map(|word| fill(word, &values)).collect();
            let mut process = self.start(&command[0], &command[1..])?;
            let called =
                if addresses.len() > 1 { format!("{name} {node}") } else { name.to_owned() };
            process = process.called(called);
            let mut said = Vec::new();
            for pattern in &started.says {
                let told = timeout_at(deadline.into(), says(&mut process, pattern)).await;
                let (key, value) = told.with_context(|| {
                    format!(
                        "{name} did not say \"{pattern}\" in {:?}; its last output: {}",
                        self.job.scenario.server.ready_timeout,
                        process.last_words()
                    )
                })??;
                said.push((pattern.clone(), value.clone()));
                values.insert(key, value);
            }
            servers.nodes.push(values);
            processes.push((process, command, said));
        }
        let faults: VecDeque<Fault> = self.job.scenario.faults.iter().copied().collect();
        for (process, command, said) in processes {
            let again = (!faults.is_empty()).then(|| Again {
                programs: self.programs.clone(),
                command,
                called: name.to_owned(),
                said,
                ready: self.ready_at(servers),
                ready_timeout: self.job.scenario.server.ready_timeout,
                folder: self.folder.clone(),
            });
            servers.keep(process, false, faults.clone(), again);
        }
        Ok(())
    }

    /// Where the server answers when it is ready: a URL or a port. `None`: it says that it is.
    fn ready_at(&self, servers: &Servers) -> Option<String> {
        let server = &self.job.scenario.server;
        let says_so = matches!(&server.process, ProcessOf::Started(it) if !it.says.is_empty());
        // A port is one of this machine.
        let is_here = !matches!(&server.process, ProcessOf::Elsewhere { .. });
        match (&server.ready, server.listen.first()) {
            (Some(ready), _) => Some(servers.fill(ready)),
            // One that says where it is listens there.
            (None, Some(port)) if !says_so && is_here => Some(servers.fill(port)),
            _ => None,
        }
    }

    /// Waits until the server answers, at the URL or port that the scenario names, or at the port
    /// that its clients connect to.
    async fn wait_until_ready(&self, servers: &Servers) -> anyhow::Result<()> {
        let server = &self.job.scenario.server;
        let Some(at) = self.ready_at(servers) else { return Ok(()) };
        let deadline = Instant::now() + server.ready_timeout;
        loop {
            let why = tokio::select! {
                tried = try_it(&at) => match tried {
                    Ok(()) => return Ok(()),
                    Err(error) => format!("{error:#}"),
                },
                () = servers.death() => {
                    return Err(servers.last_output(&server.name, "ended before it was ready"));
                }
            };
            if Instant::now() >= deadline {
                let what =
                    format!("was not ready at {at} within {:?} ({why})", server.ready_timeout);
                return Err(servers.last_output(&server.name, &what));
            }
            sleep(READY_EVERY).await;
        }
    }
}

impl Servers {
    /// The error of a run that could not be made: that a server has ended, if it has.
    pub(crate) async fn cause_of(&self, error: anyhow::Error, name: &str) -> anyhow::Error {
        match timeout(DEATH_TIME, self.death()).await {
            Ok(()) => error.context(self.last_output(name, "ended").to_string()),
            Err(_) => error,
        }
    }

    /// An error about a server that did not become ready, with what it said last.
    fn last_output(&self, name: &str, what: &str) -> anyhow::Error {
        let said: Vec<String> = self.said.iter().map(LastWords::text).collect();
        let said = said.iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>();
        let said = said.join("; ");
        let said = if said.is_empty() { "it said nothing".to_owned() } else { said };
        anyhow::anyhow!("{name} {what}; its last output: {said}")
    }
}

/// The processes of a server that runs already, as far as the scenario names them.
fn pids_of(process: &ProcessOf) -> Vec<u32> {
    let ProcessOf::Running(flags) = process else { return Vec::new() };
    match &flags[..] {
        [flag, pids, ..] if flag == "--pid" => {
            pids.split(',').filter_map(|pid| pid.parse().ok()).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a server could not start because its port is another's.
fn is_port_taken(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}").to_lowercase();
    text.contains("in use") || text.contains("eaddrinuse")
}

/// Memory in use by the brokers at `urls`, in bytes, as they say themselves. `None` without
/// redis-cli, which comes with redis-server.
pub(crate) async fn broker_bytes(urls: &str) -> Option<u64> {
    let mut sum = 0;
    for url in urls.split(',') {
        let url = if url.contains("://") { url.to_owned() } else { format!("redis://{url}") };
        // Of a password without a name redis-cli makes one for the user called nothing.
        let url = url.replacen("://:", "://default:", 1);
        let flags = ["--no-auth-warning", "-u", &url, "info", "memory"];
        let said = place::said("redis-cli", &flags).await?;
        let bytes = said.lines().find_map(|line| line.strip_prefix("used_memory:"))?;
        sum += bytes.trim().parse::<u64>().ok()?;
    }
    Some(sum)
}
