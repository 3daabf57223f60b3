//! The servers of a run, and the broker that joins them.

use std::net::TcpListener;

use anyhow::{Context as _, bail};

use crate::job::Broker;
use crate::place;
use crate::process::Process;
use crate::stage::{Stage, words};

/// How often a free port is looked for: somebody may take it before the broker does.
const PORT_TRIES: usize = 5;

/// Where a server is.
pub(crate) struct Node {
    /// Its process.
    pub(crate) pid: u32,
    /// The pattern of its URLs.
    pub(crate) urls: String,
    /// The URL of its control API.
    pub(crate) control: String,
}

impl Node {
    /// The port of its clients.
    pub(crate) fn port(&self) -> anyhow::Result<String> {
        let url = reqwest::Url::parse(&self.urls).ok();
        let port = url.and_then(|url| url.port_or_known_default());
        Ok(port.with_context(|| format!("{} names no port", self.urls))?.to_string())
    }
}

/// The servers, as their clients see them.
pub(crate) struct Servers {
    /// Where each is.
    pub(crate) nodes: Vec<Node>,
    /// The URL of what joins them.
    pub(crate) broker: Option<String>,
}

impl Servers {
    /// Their processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.pid).collect()
    }
}

/// The address of server number `at` of `n_nodes`. Several have one each, from 127.0.1.1 on.
pub(crate) fn address(at: usize, n_nodes: usize) -> String {
    if n_nodes == 1 { "127.0.0.1".to_owned() } else { format!("127.0.1.{}", at + 1) }
}

impl Stage<'_> {
    /// Starts the broker, if there is to be one of the run's own. The URL of the one to use.
    pub(crate) async fn start_broker(
        &mut self,
    ) -> anyhow::Result<(Option<Process>, Option<String>)> {
        match &self.job.broker {
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
        let folder = self.temporary.path().to_str().context("a strange name for a folder")?;
        let folder = folder.to_owned();
        for _ in 0..PORT_TRIES {
            // It cannot be told to choose a port by itself.
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
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

    /// Starts the servers, joined by `broker` if there is one, on free ports, and reads where they
    /// are. All have the same port: the kernel is asked for the connections on it with each sample.
    pub(crate) async fn start_servers(
        &mut self,
        broker: Option<&str>,
    ) -> anyhow::Result<(Vec<Process>, Vec<Node>)> {
        let n_nodes = self.job.n_nodes;
        let (mut processes, mut nodes, mut port) = (Vec::new(), Vec::new(), "0".to_owned());
        for at in 0..n_nodes {
            let address = address(at, n_nodes);
            let (listen, control) = (format!("{address}:{port}"), format!("{address}:0"));
            let mut flags = words(["--listen", &listen, "--control", &control]);
            if let Some(threads) = self.job.common.server_threads {
                flags.extend(words(["--threads", &threads.to_string()]));
            }
            let name = format!("n{}", at + 1);
            if let Some(url) = broker {
                flags.extend(words(["--cluster", url, "--name", &name]));
            }
            let mut server = self.start("comet-server", &flags)?;
            if n_nodes > 1 {
                server = server.called(format!("comet-server {name}"));
            }
            let mut said = async |before: &str| {
                let line = server.next_line().await?;
                let said = line.strip_prefix(before).map(str::to_owned);
                said.with_context(|| format!("the server says \"{line}\" instead of where it is"))
            };
            let urls = said("listening on ").await?;
            let control = said("control on ").await?;
            let node = Node { pid: server.pid(), urls, control };
            port = node.port()?;
            processes.push(server);
            nodes.push(node);
        }
        Ok((processes, nodes))
    }
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
