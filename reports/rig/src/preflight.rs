//! What a run with many connections needs of the machine, before anything is started.
//!
//! Not asked for, because idle connections need nothing of it: `vm.max_map_count` (a process here
//! has some 60 mappings, whatever it holds), `net.core.somaxconn` (clients wait for each other's
//! heads), `tcp_max_orphans` and `tcp_max_tw_buckets` (they bound what is left after the run).

use std::fmt;
use std::fs;
use std::net::{TcpListener, TcpStream};

use anyhow::{bail, ensure};
use reports::share::share_of;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::scenario::{Broker, MOST_NODES, Scenario};
use crate::servers::address;

/// Descriptors that a server keeps for other things than clients: comet-server's reserve.
const SERVER_RESERVE: u64 = 256;

/// The same of floodtest and of msggen.
const TOOL_RESERVE: u64 = 64;

/// Workers that floodtest starts at most.
const MOST_WORKERS: u64 = 256;

/// Connections that msggen has to a server at most.
const SENDER_CONNECTIONS: u64 = 128;

/// Bytes of the kernel for both ends of a connection on loopback: 9.0 to 9.8 KB were measured at
/// 10,000, and 10.3 KB at a million.
const KERNEL_BYTES: u64 = 10_500;

/// Bytes of a server for a connection with its id: 42 to 217 were measured, and 256 is the bar in a
/// cluster.
const SERVER_BYTES: u64 = 256;

/// Bytes of floodtest for a connection, 46 as measured, and of its line in the URL file, which may
/// be in memory.
const CLIENT_BYTES: u64 = 48 + 48;

/// Bytes of a broker for an id: about 200 were measured.
const BROKER_BYTES: u64 = 256;

/// Bytes of a process without connections, as measured.
const PROCESS_BYTES: u64 = 5_000_000;

/// Threads and tasks of a process, its kernel's included, rather too many.
const TASKS: u64 = 4;

/// Pages of TCP buffers for each 16 sockets. Idle ones have none; at 16,666 messages/s to 40,000
/// connections there was less than one for 20.
const SOCKETS_PER_PAGE: u64 = 16;

/// Connections for each packet that the queue of the loopback interface must have room for. A
/// server asks idle peers whether they are there, from one to two minutes after the last packet.
/// The kernel rounds such times to 2.0 s (`CONFIG_HZ=250`) or 4.1 s (1000), and sends what is due
/// together: of connections spread over a minute, one of 29 or of 15. What does not fit is dropped
/// and sent again 15 s later, five times at least, before the peer counts as gone; so a third of
/// the most is enough. With room for 1,000 packets 150,000 connections stayed (HZ=250, two cores),
/// and of a million a fifth was gone after 3 min.
const CONNECTIONS_PER_PACKET: u64 = 45;

/// The ports that floodtest leaves for others to connect from.
const LEFT_PORTS: std::ops::Range<u64> = 60_000..61_000;

/// What is planned, and what it needs.
#[derive(Debug, Serialize)]
pub(crate) struct Preflight {
    /// Connections in all.
    connections: u64,
    /// Servers.
    pub(crate) nodes: usize,
    /// The address of the first.
    first_address: String,
    /// The address of the last.
    last_address: String,
    /// Connections of the server that gets the most of them.
    most_on_a_node: u64,
    /// Worker processes of floodtest; 0 when one process is enough.
    floodtest_workers: u64,
    /// All processes.
    processes: u64,
    /// What joins the servers, if something does.
    is_joined: bool,
    /// Messages a second.
    messages_per_second: u64,
    /// For how long they are sent, in seconds.
    duration_s: f64,
    /// What it needs.
    needs: Vec<Need>,
}

/// Something that a run needs of the machine.
#[derive(Debug, Serialize)]
struct Need {
    /// What it is.
    what: &'static str,
    /// How much of it there is.
    has: u64,
    /// How much is needed.
    needs: u64,
    /// How that was computed.
    because: String,
    /// What helps.
    fix: String,
}

impl Preflight {
    /// A run of `scenario` with as many servers as it takes, each with at most `per_node`
    /// connections.
    pub(crate) fn with_enough_nodes(
        scenario: &Scenario,
        per_node: Option<u64>,
    ) -> anyhow::Result<Self> {
        let connections = scenario.connections.count.unwrap_or_default();
        let per_node = per_node.unwrap_or_else(|| of_a_server(open_files()));
        let fewest = connections.div_ceil(per_node.max(1)).max(1);
        // A hash does not share out evenly: a few servers more than the fewest.
        let enough = (fewest..=MOST_NODES)
            .filter_map(|n| usize::try_from(n).ok())
            .find(|n| most_on_a_node(connections, *n) <= per_node);
        match enough {
            Some(n_nodes) => Ok(Self::of(scenario, n_nodes, Some(per_node))),
            None => bail!(
                "cannot hold {} connections: with {per_node} of them on a server it takes more \
                 than {MOST_NODES} servers; raise the open-file limit with `ulimit -n` (now {}), \
                 or ask for fewer with --connections",
                connections,
                open_files()
            ),
        }
    }

    /// A run of `scenario` with `n_nodes` servers, each with at most `per_node` connections.
    pub(crate) fn of(scenario: &Scenario, n_nodes: usize, per_node: Option<u64>) -> Self {
        let connections = scenario.connections.count.unwrap_or_default();
        let (nodes, open_files) = (n_nodes as u64, open_files());
        let broker = &scenario.server.broker;
        let is_joined = *broker != Broker::None;
        let messages = scenario.messages.as_ref();
        let workers = match connections.div_ceil(open_files.saturating_sub(TOOL_RESERVE).max(1)) {
            1 => 0,
            n => n,
        };
        let processes = nodes + 1 + workers + 2 + u64::from(*broker == Broker::Own);
        let server_limit = per_node.unwrap_or_else(|| of_a_server(open_files));
        let most_on_a_node = if connections > server_limit.saturating_mul(nodes) {
            // Too many for any hash: no need to go through them.
            connections.div_ceil(nodes)
        } else {
            most_on_a_node(connections, n_nodes)
        };
        let mut this = Self {
            connections,
            nodes: n_nodes,
            first_address: address(0, n_nodes),
            last_address: address(n_nodes - 1, n_nodes),
            most_on_a_node,
            floodtest_workers: workers,
            processes,
            is_joined,
            messages_per_second: messages.map_or(0, |messages| messages.rate),
            duration_s: scenario.duration().as_secs_f64(),
            needs: Vec::new(),
        };
        let raise = |limit: u64| format!("raise the open-file limit: `ulimit -n {limit}`");
        this.need(
            "connections of a server",
            Some(server_limit),
            most_on_a_node,
            "the fullest; the \
            limit is the open files of a process less 256",
            raise(most_on_a_node + SERVER_RESERVE),
        );
        let sender = SENDER_CONNECTIONS.min(messages.map_or(0, |messages| messages.sources))
            * nodes
            + TOOL_RESERVE;
        this.need(
            "open files of a process",
            Some(open_files),
            sender,
            "msggen: 128 connections to \
            each server, and 64",
            raise(sender),
        );
        this.need(
            "workers of floodtest",
            Some(MOST_WORKERS),
            workers,
            "connections ÷ (open files \
            of a process less 64)",
            raise(connections.div_ceil(MOST_WORKERS) + TOOL_RESERVE),
        );
        this.need_of_the_machine();
        this.need_of_the_network();
        this
    }

    /// Memory, files and processes.
    fn need_of_the_machine(&mut self) {
        let (n, processes) = (self.connections, self.processes);
        let broker = if self.is_joined { BROKER_BYTES } else { 0 };
        let each = KERNEL_BYTES + SERVER_BYTES + CLIENT_BYTES + broker;
        let memory_kb = (n.saturating_mul(each) + processes * PROCESS_BYTES) / 1_024;
        let ram = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let available = System::new_with_specifics(ram).map(|system| system.available_memory());
        // 0 is not known: it has a program running.
        let available_kb = available.ok().filter(|bytes| *bytes > 0).map(|bytes| bytes / 1_024);
        let because = format!(
            "{each} bytes a connection ({KERNEL_BYTES} of them the kernel's, for both ends), 5 MB \
             a process"
        );
        self.need("memory, KB", available_kb, memory_kb, &because, fewer());
        let files = fs::read_to_string("/proc/sys/fs/file-nr").ok();
        let files = files.and_then(|text| {
            let numbers: Vec<u64> = text.split_whitespace().flat_map(str::parse).collect();
            numbers[2].checked_sub(numbers[0])
        });
        let both = n.saturating_mul(2);
        let n_files = both.saturating_add(processes * TOOL_RESERVE);
        self.need(
            "open files of the machine",
            files,
            n_files,
            "two a connection, 64 a process",
            set("fs.file-max", n_files.saturating_mul(2)),
        );
        self.need(
            "fs.epoll.max_user_watches",
            setting("fs/epoll/max_user_watches", 0),
            both,
            "two a connection",
            set("fs.epoll.max_user_watches", both.saturating_mul(2)),
        );
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let n_tasks = load.split('/').nth(1).and_then(first).unwrap_or_default();
        let pids = setting("kernel/pid_max", 0).map(|most| most.saturating_sub(n_tasks));
        self.need(
            "kernel.pid_max less tasks",
            pids,
            processes * TASKS,
            "4 tasks a process",
            set("kernel.pid_max", 4_194_304),
        );
    }

    /// Settings of the network.
    fn need_of_the_network(&mut self) {
        let n = self.connections;
        let pages = n.saturating_mul(2) / SOCKETS_PER_PAGE;
        self.need(
            "net.ipv4.tcp_mem, pressure, pages",
            setting("net/ipv4/tcp_mem", 1),
            pages,
            "a page for 16 sockets, two sockets a connection",
            format!("`sysctl -w net.ipv4.tcp_mem=\"{pages} {} {}\"`", pages * 2, pages * 3),
        );
        let packets = n.div_ceil(CONNECTIONS_PER_PACKET);
        self.need(
            "net.core.netdev_max_backlog, packets",
            setting("net/core/netdev_max_backlog", 0),
            packets,
            "keepalive probes that are sent together: a third of one in 15 connections",
            set("net.core.netdev_max_backlog", packets),
        );
        let range = (
            setting("net/ipv4/ip_local_port_range", 0),
            setting("net/ipv4/ip_local_port_range", 1),
        );
        let ports = range.0.zip(range.1).map(|(first, last)| {
            (last + 1).min(LEFT_PORTS.end).saturating_sub(first.max(LEFT_PORTS.start))
        });
        self.need(
            "ip_local_port_range, of 60000 to 60999",
            ports,
            2 * SENDER_CONNECTIONS,
            "msggen, and all other programs, connect from them: floodtest takes the others",
            "`sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"`".to_owned(),
        );
        if let Some(room) = conntrack_room() {
            self.need(
                "nf_conntrack_max less tracked",
                Some(room),
                n,
                "connections are tracked here",
                format!("`sysctl -w net.netfilter.nf_conntrack_max={}`", n.saturating_mul(2)),
            );
        }
    }

    /// Notes a need. What is not known of the machine is not needed of it.
    fn need(
        &mut self,
        what: &'static str,
        has: Option<u64>,
        needs: u64,
        because: &str,
        fix: String,
    ) {
        if let Some(has) = has {
            self.needs.push(Need { what, has, needs, because: because.to_owned(), fix });
        }
    }

    /// Refuses what does not fit, with every cause and how it is fixed.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let short = self.needs.iter().filter(|need| need.needs > need.has);
        let short: Vec<String> = short
            .map(|need| {
                let Need { what, has, needs, fix, .. } = need;
                format!("{what}: {needs} needed, {has} there; {fix}")
            })
            .collect();
        ensure!(
            short.is_empty(),
            "cannot hold {} connections on this machine: {}; or {}",
            self.connections,
            short.join("; "),
            fewer()
        );
        Ok(())
    }
}

/// How a setting of the kernel is changed.
fn set(name: &str, to: u64) -> String {
    format!("`sysctl -w {name}={to}`")
}

/// What always helps.
fn fewer() -> String {
    "ask for fewer with --connections".to_owned()
}

/// Several lines for people.
impl fmt::Display for Preflight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, nodes, most_on_a_node, processes, floodtest_workers, .. } = self;
        writeln!(f, "connections  {connections}, at most {most_on_a_node} on a server")?;
        let joined = if self.is_joined { "joined by Redis" } else { "each on its own" };
        writeln!(
            f,
            "servers      {nodes}, {joined}, at {} to {}; ids are shared by their hash",
            self.first_address, self.last_address
        )?;
        writeln!(
            f,
            "processes    {processes}: servers, floodtest with {floodtest_workers} workers, \
            msggen, memlog{}",
            if self.is_joined { ", redis-server" } else { "" }
        )?;
        writeln!(
            f,
            "messages     {} a second for {:.0} s",
            self.messages_per_second, self.duration_s
        )?;
        writeln!(f, "\n{:<40} {:>12} {:>12}", "", "here", "needed")?;
        for Need { what, has, needs, because, .. } in &self.needs {
            let sign = if needs > has { "✗" } else { " " };
            writeln!(f, "{what:<40} {has:>12} {needs:>12} {sign} {because}")?;
        }
        Ok(())
    }
}

/// Files that a process may open here.
fn open_files() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Clients that a server takes where it may open `open_files` files.
fn of_a_server(open_files: u64) -> u64 {
    open_files.saturating_sub(SERVER_RESERVE).max(open_files / 2)
}

/// Ids of the server that gets the most of `connections`, among `n_nodes`.
fn most_on_a_node(connections: u64, n_nodes: usize) -> u64 {
    if n_nodes == 1 {
        return connections;
    }
    let mut counts = vec![0; n_nodes];
    for id in 1..=connections {
        counts[share_of(id, n_nodes)] += 1;
    }
    counts.into_iter().max().unwrap_or_default()
}

/// The first number of a text.
fn first(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// A number of a setting of the kernel.
fn setting(name: &str, at: usize) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    text.split_whitespace().nth(at)?.parse().ok()
}

/// Connections that netfilter can still track. `None` when it tracks none: a connection is made to
/// see that, and counted if it does.
fn conntrack_room() -> Option<u64> {
    let most = setting("net/netfilter/nf_conntrack_max", 0)?;
    let listener = TcpListener::bind("127.0.0.1:0").ok()?;
    let _client = TcpStream::connect(listener.local_addr().ok()?).ok()?;
    let n_tracked = setting("net/netfilter/nf_conntrack_count", 0).filter(|n| *n > 0)?;
    Some(most.saturating_sub(n_tracked))
}
