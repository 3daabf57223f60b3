//! Who holds a port: servers with workers, those that are reloaded, and those of somebody else.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reports::memory_log::{NoPss, Sample};

use crate::support::{
    DEADLINE, Done, Memlog, Target, check_gaps, connect, marks, run, samples, skip,
};

/// A supervisor, as hypercorn and uvicorn have one: it listens, and its workers take the
/// connections. It says its port and each worker's pid, and starts another worker for one that
/// ends. With `sys.argv[1]` the workers are handed connections, as node's are, and do not listen.
const SUPERVISOR: &str = r#"
import array, itertools, os, signal, socket, sys
handed = len(sys.argv) > 1
door = socket.create_server(("127.0.0.1", 0))
print(f"port={door.getsockname()[1]}", flush=True)
pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
def worker(inbox):
    if handed:
        door.close()
    held = []
    ballast = bytearray(20_000_000)
    while True:
        if handed:
            _, control, _, _ = inbox.recvmsg(1, 64)
            held.append(socket.socket(fileno=array.array("i", control[0][2])[0]))
        else:
            held.append(door.accept())
def fork(inbox):
    pid = os.fork()
    if pid == 0:
        worker(inbox)
    print(f"worker={pid}", flush=True)
for _, inbox in pairs:
    fork(inbox)
for outbox, _ in itertools.cycle(pairs):
    if handed:
        connection, _ = door.accept()
        number = array.array("i", [connection.fileno()])
        outbox.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, number)])
        connection.close()
    else:
        os.wait()
        fork(None)
"#;

/// A supervisor with its workers.
struct Supervisor {
    /// It.
    process: Child,
    /// What it says.
    says: BufReader<std::process::ChildStdout>,
    /// Its port.
    port: u16,
    /// Its workers.
    workers: Vec<u32>,
}

impl Supervisor {
    /// Starts it. `None` where there is no Python, which is said.
    fn start(dir: &Path, args: &[&str]) -> Option<Self> {
        let file = dir.join("supervisor.py");
        fs::write(&file, SUPERVISOR).unwrap();
        let mut command = Command::new("python3");
        command.arg(&file).args(args).stdout(Stdio::piped());
        let Ok(mut process) = command.spawn() else {
            skip("python3");
            return None;
        };
        let says = BufReader::new(process.stdout.take().unwrap());
        let mut it = Self { process, says, port: 0, workers: Vec::new() };
        it.port = it.hears("port=").try_into().unwrap();
        it.workers = [(); 2].map(|()| it.hears("worker=")).to_vec();
        Some(it)
    }

    /// The number behind `word` in the next line.
    fn hears(&mut self, word: &str) -> u32 {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line.trim().strip_prefix(word).unwrap_or_else(|| panic!("{line:?}")).parse().unwrap()
    }

    /// Ends its first worker, and waits until another one has taken its place.
    fn replace_worker(&mut self) {
        kill(self.workers.remove(0), "KILL");
        let next = self.hears("worker=");
        self.workers.push(next);
    }

    /// It and its workers, in order.
    fn pids(&self) -> Vec<u32> {
        let mut pids = [&[self.process.id()], &*self.workers].concat();
        pids.sort_unstable();
        pids
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.workers.iter().for_each(|pid| kill(*pid, "KILL"));
    }
}

/// Sends a signal to a process that may have ended.
fn kill(pid: u32, signal: &str) {
    let mut kill = Command::new("kill");
    let _ = kill.args(["-s", signal, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Whether a sample is the sum of just these processes.
fn is_of(sample: &Sample, pids: &[u32]) -> bool {
    let mut of: Vec<u32> = sample.shares.iter().map(|it| it.pid).collect();
    of.sort_unstable();
    of == pids
}

/// A memlog that watches who listens on `port`.
fn listen(dir: &Path, port: u16) -> Memlog {
    Memlog::start(dir, &["--listen", &port.to_string()])
}

/// The texts of the marks that say that the processes have changed.
fn changes(samples: &[Sample]) -> Vec<&str> {
    marks(samples).into_iter().filter(|text| text.starts_with("processes: ")).collect()
}

#[test]
fn a_port_has_a_supervisor_and_its_workers_and_a_new_worker_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut server) = Supervisor::start(dir.path(), &[]) else { return };
    let _clients = [(); 5].map(|()| connect(server.port));
    let mut memlog = listen(dir.path(), server.port);
    let greeting = memlog.said_until("shared pages count in each\n");
    for word in [format!("the server on port {}: ", server.port), server.workers[0].to_string()] {
        assert!(greeting.contains(&word), "{word} is not in {greeting}");
    }
    let pids = server.pids();
    let seen = memlog
        .wait(|samples| samples.last().is_some_and(|it| is_of(it, &pids) && it.n_connections == 5));
    assert!(seen.last().unwrap().rss_kb > 40_000, "the workers' memory is in it: {seen:?}");
    // A worker ends, and another one takes its place.
    server.replace_worker();
    let pids = server.pids();
    let said = memlog.said_until("new: ");
    assert!(said.contains("the watched processes change, "), "{said}");
    let seen = memlog.wait(|samples| samples.last().is_some_and(|it| is_of(it, &pids)));
    assert!(changes(&seen).iter().any(|text| text.ends_with("3 now")), "{seen:?}");
    assert!(!marks(&seen).contains(&"restart"), "{seen:?}");
    check_gaps(&seen);
    assert_eq!(memlog.interrupt().code, Some(0));
}

#[test]
fn a_port_is_found_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "restarted");
    let port = target.ports[0];
    let mut memlog = listen(dir.path(), port);
    memlog.said_until(&format!("watching the server on port {port}: {} (", target.pid()));
    target.kill();
    memlog.said_until(&format!("the server on port {port} has ended; waiting for it"));
    let again = Target::start_at(port, dir.path(), "restarted");
    let _client = again.connect();
    memlog.said_until(&format!("the server on port {port} is back: {} (", again.pid()));
    let seen = memlog.wait(|samples| samples.last().is_some_and(|it| it.n_connections == 1));
    assert_eq!(marks(&seen), ["restart"]);
    assert_eq!(memlog.interrupt().code, Some(0));
    let port = again.ports[0].to_string();
    again.kill();
    run(dir.path(), &["--listen", &port])
        .is(2, &format!("memlog: nobody listens on port {port}; "));
}

#[test]
fn workers_that_are_handed_connections_belong_to_the_port() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = Supervisor::start(dir.path(), &["handed"]) else { return };
    let memlog = listen(dir.path(), server.port);
    // Without a connection they are children like any other.
    memlog.wait(|samples| samples.len() >= 3 && samples.iter().all(|it| it.shares.is_empty()));
    let _clients = [(); 40].map(|()| connect(server.port));
    let pids = server.pids();
    let seen = memlog.wait(|samples| samples.last().is_some_and(|it| is_of(it, &pids)));
    assert!(!changes(&seen).is_empty(), "{seen:?}");
    assert_eq!(memlog.interrupt().code, Some(0));
}

#[test]
fn a_supervisor_that_is_watched_alone_is_warned_of_with_its_workers() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut server) = Supervisor::start(dir.path(), &[]) else { return };
    let pid = server.process.id();
    let mut memlog = Memlog::start(dir.path(), &["--pid", &pid.to_string()]);
    let fix = format!("--listen {} watches all that hold them\n", server.port);
    let said = memlog.said_until(&fix);
    let mut workers = server.workers.clone();
    workers.sort_unstable();
    let [one, other] = workers[..] else { panic!("two workers") };
    let held = format!(
        "memlog: warning: port {} or connections on it are also held by {one} and {other} (",
        server.port
    );
    assert!(said.contains(&held) && said.contains(", children of the watched "), "{said}");
    // Another child is another warning, and the same ones are none.
    server.replace_worker();
    let said = memlog.said_until(&fix);
    assert!(said.contains(&server.workers[1].to_string()), "{said}");
    let n_lines = samples(&memlog.log).len();
    memlog.wait(|samples| samples.len() >= n_lines + 5);
    let done = memlog.interrupt();
    assert!(done.code == Some(0) && !done.stderr.contains("warning"), "{done:?}");
    // With its children it is all there.
    let done = run(
        dir.path(),
        &["--pid", &pid.to_string(), "--tree", "--for", "400ms", "--interval", "100ms"],
    );
    assert!(done.code == Some(0) && !done.stderr.contains("warning"), "{done:?}");
}

#[test]
fn a_port_that_another_process_owns_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let [watched, owner] = ["watched", "owner"].map(|name| Target::start(dir.path(), name));
    let port = owner.ports[0].to_string();
    let pid = watched.pid().to_string();
    let mut memlog = Memlog::start(dir.path(), &["--pid", &pid, "--port", &port]);
    let held = format!("warning: port {port} or connections on it are held by {} (", owner.pid());
    memlog.said_until(&held);
    memlog.said_until(&format!("counted, that memory is not; --listen {port} watches all"));
    let n_lines = samples(&memlog.log).len();
    memlog.wait(|samples| samples.len() >= n_lines + 5);
    let done = memlog.interrupt();
    assert!(done.code == Some(0) && !done.stderr.contains("warning"), "said once: {done:?}");
}

/// nginx with two workers.
struct Nginx {
    /// Its master process.
    master: Child,
    /// Where it listens.
    port: u16,
    /// Its configuration and what it writes.
    folder: tempfile::TempDir,
}

impl Nginx {
    /// Starts it and waits until it answers. `None` where it is not installed, which is said.
    fn start() -> Option<Self> {
        if Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_err() {
            skip("nginx");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        // nginx takes no port 0: a port that was free a moment ago has to do.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = folder.path().display();
        let config = format!(
            "daemon off; worker_processes 2; pid {at}/pid; error_log {at}/error.log;
             events {{ worker_connections 64; }}
             http {{
                 access_log off; keepalive_timeout 600s;
                 client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
                 fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi;
                 scgi_temp_path {at}/scgi;
                 server {{ listen 127.0.0.1:{port}; location / {{ return 200 'there\\n'; }} }}
             }}"
        );
        let path = folder.path().join("nginx.conf");
        fs::write(&path, config).unwrap();
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(&path);
        let mut master = command.spawn().unwrap();
        testing::wait_until("nginx listens", || {
            assert!(master.try_wait().unwrap().is_none(), "nginx ended");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(Self { master, port, folder })
    }

    /// A connection that a worker has answered and keeps.
    fn client(&self) -> TcpStream {
        let mut client = connect(self.port);
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(client, "GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let (mut answer, mut byte) = (Vec::new(), [0; 1]);
        while !answer.ends_with(b"there\n") {
            client.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        client
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master ends its workers.
        kill(self.master.id(), "TERM");
        let _ = self.master.wait();
        drop(fs::read_dir(self.folder.path()));
    }
}

#[test]
fn nginx_is_watched_with_its_workers_and_a_reload_is_marked() {
    let Some(nginx) = Nginx::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut memlog = listen(dir.path(), nginx.port);
    memlog.said_until("shared pages count in each\n");
    let client = nginx.client();
    let seen = memlog.wait(|samples| {
        samples.last().is_some_and(|it| it.shares.len() == 3 && it.n_connections == 1)
    });
    let before: Vec<u32> = seen.last().unwrap().shares.iter().map(|it| it.pid).collect();
    assert!(before.contains(&nginx.master.id()), "{before:?}");
    kill(nginx.master.id(), "HUP");
    memlog.said_until("the watched processes change");
    // Two new workers; of the old ones, that with a connection may stay until it is closed.
    drop(client);
    let master = nginx.master.id();
    let is_new = |sample: &Sample| {
        let is_known = |pid: u32| pid != master && before.contains(&pid);
        sample.shares.len() == 3 && !sample.shares.iter().any(|it| is_known(it.pid))
    };
    let seen = memlog.wait(|samples| samples.last().is_some_and(is_new));
    assert!(!changes(&seen).is_empty() && !marks(&seen).contains(&"restart"), "{seen:?}");
    check_gaps(&seen);
    // The sum is more than there is: they have most pages in common.
    let known = seen.iter().find(|it| it.pss_kb.is_some() && it.shares.len() == 3);
    match known {
        Some(sample) => assert!(sample.pss_kb.unwrap() < sample.rss_kb, "{sample}"),
        None => assert!(seen.iter().any(|it| it.no_pss == Some(NoPss::Slow)), "{seen:?}"),
    }
    assert_eq!(memlog.interrupt().code, Some(0));
}

#[test]
fn nginx_by_name_is_followed_too_and_its_reload_is_marked() {
    let Some(nginx) = Nginx::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let pid = nginx.master.id().to_string();
    let memlog = Memlog::start(dir.path(), &["--pid", &pid, "--tree"]);
    memlog.wait(|samples| samples.last().is_some_and(|it| it.shares.len() == 3));
    kill(nginx.master.id(), "HUP");
    let seen = memlog.wait(|samples| !changes(samples).is_empty());
    assert!(changes(&seen)[0].starts_with("processes: "), "{seen:?}");
    let done: Done = memlog.interrupt();
    assert!(done.code == Some(0) && !done.stderr.contains("warning"), "{done:?}");
}
