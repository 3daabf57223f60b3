//! The servers of a run, and the broker that joins them.

use std::net::TcpListener;
use std::time::{Duration, Instant};
use std::{io, mem};

use anyhow::{Context as _, bail};
use reports::run::{COMET_SERVER, Exit};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, timeout_at};

use crate::place;
use crate::process::{LastWords, Process, tree_of};
use crate::scenario::fill::{Values, fill, said, uses};
use crate::scenario::{Broker, ProcessOf, Started};
use crate::stage::{Stage, words};

/// How often a free port is looked for: somebody may take it before the server does.
const PORT_TRIES: usize = 5;

/// How long one try takes at most to see whether a server is ready.
const READY_TRY: Duration = Duration::from_secs(5);

/// From one try to the next.
const READY_EVERY: Duration = Duration::from_millis(50);

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
    /// Their processes, of those that were started.
    pids: Vec<u32>,
    /// Follow those processes, and the broker's, to their ends.
    followers: JoinSet<(u32, anyhow::Result<Exit>)>,
    /// The processes that are followed.
    followed: Vec<u32>,
    /// Which of them is the broker.
    broker_pid: Option<u32>,
    /// What they said last.
    said: Vec<LastWords>,
    /// Whether one of them has ended.
    has_died: watch::Sender<bool>,
}

impl Servers {
    /// None yet.
    fn new() -> Self {
        Self {
            nodes: Vec::new(),
            broker: None,
            pids: Vec::new(),
            followers: JoinSet::new(),
            followed: Vec::new(),
            broker_pid: None,
            said: Vec::new(),
            has_died: watch::Sender::new(false),
        }
    }

    /// Follows a process to its end.
    fn follow(&mut self, process: Process) {
        let pid = process.pid();
        self.followed.push(pid);
        self.said.push(process.said());
        let has_died = self.has_died.clone();
        self.followers.spawn(async move {
            let exit = process.followed().await;
            has_died.send_replace(true);
            (pid, exit)
        });
    }

    /// All their processes now.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.pids.iter().flat_map(|pid| tree_of(*pid)).collect()
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
        let mut exits = Vec::new();
        while let Some(ended) = self.followers.try_join_next() {
            let (pid, exit) = ended?;
            self.followed.retain(|followed| *followed != pid);
            exits.push(Exit { is_early: true, ..exit? });
        }
        let (brokers, servers): (Vec<u32>, Vec<u32>) = mem::take(&mut self.followed)
            .into_iter()
            .partition(|pid| Some(*pid) == self.broker_pid);
        for pids in [servers, brokers] {
            for pid in &pids {
                let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw);
                // It may be ending by itself just now.
                pid.map(|pid| kill_process(pid, Signal::TERM));
            }
            for _ in &pids {
                let ended = timeout(END_TIME, self.followers.join_next()).await;
                let ended = ended.context("a server does not end")?;
                let (_pid, exit) = ended.expect("there is one left")?;
                exits.push(as_told(exit?));
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
            servers.pids = pids_of(&server.process);
        }
        if let Some(broker) = broker {
            servers.broker_pid = Some(broker.pid());
            servers.follow(broker);
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
                    servers.pids.clear();
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
            values.extend(servers.broker.clone().map(|url| ("broker".to_owned(), url)));
            let command: Vec<String> =
                started.command.iter().map(|word| fill(word, &values)).collect();
            let mut process = self.start(&command[0], &command[1..])?;
            let called =
                if addresses.len() > 1 { format!("{name} {node}") } else { name.to_owned() };
            process = process.called(called);
            for pattern in &started.says {
                let told = timeout_at(deadline.into(), says(&mut process, pattern)).await;
                let (key, value) = told.with_context(|| {
                    format!(
                        "{name} did not say \"{pattern}\" in {:?}; its last output: {}",
                        self.job.scenario.server.ready_timeout,
                        process.last_words()
                    )
                })??;
                values.insert(key, value);
            }
            servers.pids.push(process.pid());
            servers.nodes.push(values);
            processes.push(process);
        }
        for process in processes {
            servers.follow(process);
        }
        Ok(())
    }

    /// Waits until the server answers, at the URL or port that the scenario names, or at the port
    /// that its clients connect to.
    async fn wait_until_ready(&self, servers: &Servers) -> anyhow::Result<()> {
        let server = &self.job.scenario.server;
        let says_so = matches!(&server.process, ProcessOf::Started(it) if !it.says.is_empty());
        let at = match (&server.ready, server.listen.first()) {
            (Some(ready), _) => servers.fill(ready),
            // One that says where it is listens there.
            (None, Some(port)) if !says_so => servers.fill(port),
            _ => return Ok(()),
        };
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

/// Reads lines until one is `pattern`. What it says there, by its name.
async fn says(process: &mut Process, pattern: &str) -> anyhow::Result<(String, String)> {
    loop {
        let line = process.next_line().await?;
        if let Some((key, value)) = said(&line, pattern) {
            return Ok((key, value.to_owned()));
        }
        process.keep(line);
    }
}

/// Tries whether a server answers at a port of this machine, or at a URL, whatever it says there.
async fn try_it(at: &str) -> anyhow::Result<()> {
    if let Ok(port) = at.parse::<u16>() {
        timeout(READY_TRY, TcpStream::connect(("localhost", port)))
            .await
            .context("no connection")??;
        return Ok(());
    }
    let url = reqwest::Url::parse(at).with_context(|| format!("{at} is no URL"))?;
    if url.scheme() != "http" {
        // Whether its certificate is right is for floodtest to say.
        let host = url.host_str().context("it names no host")?.trim_matches(['[', ']']).to_owned();
        let port = match url.scheme() {
            "ws" => Some(80),
            "wss" => Some(443),
            _ => None,
        };
        let port = url.port_or_known_default().or(port).context("it names no port")?;
        timeout(READY_TRY, TcpStream::connect((host, port))).await.context("no connection")??;
        return Ok(());
    }
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(READY_TRY)
        .build()?;
    client.get(url).send().await?;
    Ok(())
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
