//! Several servers and real brokers.

mod fake_broker;
mod faults;
mod friends;
mod hostile;
mod messages;
mod network;
mod strangers;
mod stress;
mod tls;

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::Server;

/// How long a node may take to notice a broker that says nothing.
const RED_WITHIN: Duration = Duration::from_secs(10);

/// A `redis-server` process, killed when it is dropped.
pub(crate) struct Broker {
    child: Child,
    pub(crate) port: u16,
    flags: Vec<String>,
}

impl Broker {
    /// Starts one on a free port, with these flags. Without a redis-server the test is skipped,
    /// unless it must not be.
    pub(crate) fn start(flags: &[&str]) -> Option<Self> {
        if Command::new("redis-server").arg("--version").output().is_err() {
            testing::skip("redis-server");
            return None;
        }
        let flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
        loop {
            // It cannot take a free port by itself. Somebody may be faster, and then it ends.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(child) = launch(port, &flags) {
                return Some(Self { child, port, flags });
            }
        }
    }

    /// Starts one that has a port for TLS as well, with these flags; returns that port too.
    pub(crate) fn start_tls(flags: &[&str]) -> (Self, u16) {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Somebody may be faster with one of the ports.
        for _ in 0..10 {
            let (port, tls_port) = (free(), free());
            let tls_flags = ["--tls-port".to_owned(), tls_port.to_string()];
            let flags: Vec<_> =
                flags.iter().map(|&flag| flag.to_owned()).chain(tls_flags).collect();
            if let Some(child) = launch(port, &flags) {
                return (Self { child, port, flags }, tls_port);
            }
        }
        panic!("redis-server does not start with TLS");
    }

    /// Starts one in a network of its own.
    pub(crate) fn start_in_network() -> Option<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "redis-server", "--port", "6379", "--protected-mode", "no"]);
        command.args(["--save", "", "--bind", "0.0.0.0"]);
        let child = command.stdout(Stdio::null()).spawn().ok()?;
        // A link to it would stay in our network before it has left that.
        let network = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
        let its = child.id().to_string();
        testing::wait_until("it has a network of its own", || network(&its) != network("self"));
        Some(Self { child, port: 6379, flags: Vec::new() })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts it again after [`kill`](Self::kill), where it was.
    pub(crate) fn start_again(&mut self) {
        self.child = launch(self.port, &self.flags).expect("its port is still free");
    }

    /// Kills it without a warning.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Asks it something and returns what it says.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// How many nodes follow an id.
    pub(crate) fn n_followers(&self, id: u64) -> u64 {
        let answer = self.ask(&["PUBSUB", "NUMSUB", &format!("comet:{id}")]);
        answer.lines().last().unwrap().parse().unwrap()
    }

    /// Its address as `--cluster` takes it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts a node and waits until it is part of the cluster.
    pub(crate) fn node(&self, flags: &[&str]) -> Server {
        node(&self.url(), flags)
    }

    /// Two nodes.
    pub(crate) fn two_nodes(&self) -> [Server; 2] {
        [self.node(&["--name", "n1"]), self.node(&["--name", "n2"])]
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Starts a `redis-server` and waits until it can be reached; `None` if its port is taken.
fn launch(port: u16, flags: &[String]) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    let mut child = command.args(flags).stdout(Stdio::null()).spawn().unwrap();
    let is_up = testing::wait_for("redis-server can be reached, or ends", || {
        if child.try_wait().unwrap().is_some() {
            return Some(false);
        }
        TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true)
    });
    is_up.then_some(child)
}

/// Starts a node of the cluster at `url` and waits until it is part of it.
pub(crate) fn node(url: &str, flags: &[&str]) -> Server {
    let server = Server::start(&[&["--cluster", url], flags].concat());
    wait_for_health(&server, 200);
    server
}

/// Waits until a node has this status, and returns what it says.
pub(crate) fn wait_for_health(server: &Server, wanted: u16) -> String {
    testing::wait_for(&format!("/healthz is {wanted}"), || {
        let (status, answer) = server.ask("GET", "/healthz", "", "");
        (status == wanted).then(|| answer.to_string())
    })
}

/// A line for `POST /send`.
pub(crate) fn line(id: u64, message: &str) -> String {
    format!("{{\"id\":{id},\"msg\":\"{message}\"}}\n")
}

/// Sends lines; returns status and answer.
pub(crate) fn send_lines(server: &Server, lines: &str) -> (u16, Value) {
    server.ask("POST", "/send", "Content-Type: application/x-ndjson\r\n", lines)
}

/// Sends a message that must be accepted; returns the answer.
pub(crate) fn send(server: &Server, path: &str, message: &str) -> Value {
    let (status, answer) = server.ask("POST", &format!("/send/{path}"), "", message);
    assert_eq!(status, 200, "{answer}");
    answer
}
