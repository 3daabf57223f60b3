//! The workers of a host that the parent is not on, behind one pair of pipes.
//!
//! Worker 0 is this process itself, the engine in a thread of its own; the others are processes, as
//! they are where there are no hosts. The main thread relays between the pipes and the sockets of
//! all of them. It is the one that returns, and with it the process ends whatever the engine is at:
//! so nothing stays behind on a host whose parent is gone.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Seek, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use memchr::memchr;
use reports::causes::with_causes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;

use super::child::work;
use super::lines::Lines;
use super::monotonic;
use super::wire::{ASK, HELLO, Hello, OfAgent, PROTOCOL, ToAgent};
use crate::job::Job;
use crate::limits;
use crate::prepare::Demand;
use crate::share::Share;

/// How long a host goes on without a word from its parent, which says something each second. A
/// network that is cut says nothing, and connections that nobody counts are a load on a server that
/// nobody can stop.
const SILENCE: Duration = Duration::from_secs(10);

/// Bytes of a file: it is held in the memory of its host.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// Files that a host may be given: the URL file, certificates, and one of each sender.
pub(super) const MAX_FILES: usize = 1_000;

/// How often a host looks at the memory of its processes at the most.
const MEMORY_EVERY: Duration = Duration::from_secs(1);

/// Lines that may wait for the parent to read them. Workers speak when they are asked, so that many
/// wait only where a parent asks and does not read.
const MAX_WAITING: usize = 4 * 1_024;

/// How long the parent may take to read why there is no run.
const LAST_WORD_TIME: Duration = Duration::from_secs(1);

/// Answers for this host: does what comes in through `orders`, and says what comes of it through
/// `answers`, until `orders` ends. `program` is floodtest, for further workers.
///
/// Raises this process's soft limit on open files. The caller is to end the process when this has
/// returned, and with it what is still held. An error, which the parent was told as well, says why
/// it could not go on.
pub fn run_agent(program: &Path, orders: File, answers: File) -> io::Result<()> {
    let (say, said) = sync_channel(MAX_WAITING);
    let (has_said_all, all_said) = sync_channel(1);
    thread::Builder::new().name("answers".to_owned()).spawn(move || {
        write_all(answers, &said);
        // Nobody waits for it unless there is a last word.
        let _ = has_said_all.try_send(());
    })?;
    let mut agent = Agent {
        program: program.to_owned(),
        orders,
        say,
        received: Lines::default(),
        coming: None,
        files: Vec::new(),
        job: None,
        workers: Vec::new(),
        memory: (None, 0),
    };
    let result = agent.run();
    if let Err(error) = &result {
        // Where it cannot be said, the end of the pipe says enough.
        let _ = agent.answer(&OfAgent::Failed(error.to_string()));
        drop(agent);
        let _ = all_said.recv_timeout(LAST_WORD_TIME);
    }
    result
}

/// Writes what there is to say, which may take as long as the parent does not read.
fn write_all(mut answers: File, said: &Receiver<Vec<u8>>) {
    for line in said {
        if answers.write_all(&line).is_err() {
            return;
        }
    }
}

/// One worker of this host.
#[derive(Debug)]
struct Worker {
    /// The way to it; `None` once it has ended.
    stream: Option<UnixStream>,
    /// What it has said.
    received: Lines,
    /// Where it runs.
    place: Place,
}

/// Where a worker runs.
#[derive(Debug)]
enum Place {
    /// In this process.
    Here(Option<JoinHandle<io::Result<()>>>),
    /// In its own.
    Process(Child),
}

impl Worker {
    /// How it ended: its stream has, which only its end does.
    fn how(&mut self) -> String {
        match &mut self.place {
            Place::Here(thread) => match thread.take().map(JoinHandle::join) {
                Some(Err(_)) => "it panicked".to_owned(),
                Some(Ok(Err(error))) => error.to_string(),
                Some(Ok(Ok(()))) | None => "it has ended".to_owned(),
            },
            Place::Process(child) => {
                child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
            }
        }
    }
}

/// A host that is left leaves no process behind.
impl Drop for Worker {
    fn drop(&mut self) {
        if let Place::Process(child) = &mut self.place {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What answers for a host.
struct Agent {
    /// The program of further workers.
    program: PathBuf,
    /// Where orders come from.
    orders: File,
    /// Where answers go.
    say: SyncSender<Vec<u8>>,
    /// What came of orders.
    received: Lines,
    /// Which file comes, and how many of its bytes have not.
    coming: Option<(usize, u64)>,
    /// Files in memory: there is nothing to remove whichever way this process ends.
    files: Vec<File>,
    /// The job of this host, and how many workers it takes.
    job: Option<(Box<Job>, u64)>,
    /// The workers, in the order of their shares.
    workers: Vec<Worker>,
    /// When the memory of its processes was looked at, and their RSS then in KB.
    memory: (Option<Instant>, u64),
}

impl Agent {
    /// Does what it is told until there is nobody who could tell it more.
    fn run(&mut self) -> io::Result<()> {
        let hello = Hello::of_this_process();
        let line = format!("{HELLO}{}\n", serde_json::to_string(&hello)?);
        self.say(line.into_bytes())?;
        let mut heard_at = Instant::now();
        loop {
            let left = SILENCE.saturating_sub(heard_at.elapsed());
            if left.is_zero() {
                let problem = "heard nothing from the parent for 10 s";
                return Err(io::Error::new(ErrorKind::TimedOut, problem));
            }
            let (has_orders, ready) = self.wait(left)?;
            for k in ready {
                self.listen(k)?;
            }
            if has_orders {
                heard_at = Instant::now();
                if !self.received.fill(&self.orders)? {
                    return Ok(());
                }
                self.take_orders()?;
                self.look_at_memory();
            }
        }
    }

    /// Waits until there is something to read, `left` at the longest: whether there are orders, and
    /// which workers have said something.
    fn wait(&self, left: Duration) -> io::Result<(bool, Vec<usize>)> {
        let running = self.workers.iter().enumerate();
        let running: Vec<_> =
            running.filter_map(|(k, worker)| Some((k, worker.stream.as_ref()?))).collect();
        let mut fds = vec![PollFd::new(&self.orders, PollFlags::IN)];
        fds.extend(running.iter().map(|(_, stream)| PollFd::new(*stream, PollFlags::IN)));
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok((false, Vec::new())),
            Err(errno) => return Err(errno.into()),
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let ready = running.iter().zip(&fds[1..]).filter(|(_, fd)| is_ready(fd));
        Ok((is_ready(&fds[0]), ready.map(|((k, _), _)| *k).collect()))
    }

    /// Passes on what worker `k` has said.
    fn listen(&mut self, k: usize) -> io::Result<()> {
        let worker = &mut self.workers[k];
        let Some(stream) = &worker.stream else { return Ok(()) };
        // A worker that was killed while it was spoken to resets its stream.
        let is_open = worker.received.fill(stream).unwrap_or(false);
        while let Some(line) = self.workers[k].received.next()? {
            let mut whole = format!("{k} ").into_bytes();
            whole.extend_from_slice(&line);
            whole.push(b'\n');
            self.say(whole)?;
        }
        if !is_open {
            self.workers[k].stream = None;
            let how = self.workers[k].how();
            self.answer(&OfAgent::Ended { worker: k, how })?;
        }
        Ok(())
    }

    /// Does all that was ordered.
    fn take_orders(&mut self) -> io::Result<()> {
        loop {
            if let Some((file, left)) = self.coming {
                let n_there = self.received.bytes.len();
                let n = usize::try_from(left).map_or(n_there, |left| left.min(n_there));
                self.files[file].write_all(&self.received.bytes[..n])?;
                self.received.bytes.drain(..n);
                let left = left - n as u64;
                if left > 0 {
                    self.coming = Some((file, left));
                    return Ok(());
                }
                self.coming = None;
                let path = self.path_of(file);
                self.answer(&OfAgent::Filed { file, path })?;
            }
            let Some(line) = self.received.next()? else { return Ok(()) };
            self.obey(&line)?;
        }
    }

    /// Does what one line says.
    fn obey(&mut self, line: &[u8]) -> io::Result<()> {
        if line.starts_with(b"{") || line.starts_with(b"\"") {
            return match serde_json::from_slice(line)? {
                ToAgent::File { file, bytes } => self.expect_file(file, bytes),
                ToAgent::Prepare(job) => self.prepare(job),
                ToAgent::Spawn => self.spawn(),
                ToAgent::Ping { sent_us } => {
                    let (there_us, rss_kb) = (monotonic::now_us(), self.memory.1);
                    self.answer(&OfAgent::Pong { sent_us, there_us, rss_kb })
                }
            };
        }
        let no_order = || invalid("what came is no order");
        let space = memchr(b' ', line).ok_or_else(no_order)?;
        let k = str::from_utf8(&line[..space]).ok().and_then(|k| k.parse::<usize>().ok());
        let (k, said) = (k.ok_or_else(no_order)?, &line[space + 1..]);
        let worker = self.workers.get(k).ok_or_else(|| invalid("there is no such worker"))?;
        let Some(mut stream) = worker.stream.as_ref() else { return Ok(()) };
        // One that is gone is found out about by what it does not say.
        match said {
            b"?" => drop(stream.write(&[ASK])),
            b"stop" => drop(stream.shutdown(Shutdown::Write)),
            // The start of the run, or how receipts are to be corrected.
            said => drop(stream.write_all(&[said, b"\n"].concat())),
        }
        Ok(())
    }

    /// Makes room for a file, which comes next.
    fn expect_file(&mut self, file: usize, bytes: u64) -> io::Result<()> {
        if bytes > MAX_FILE_BYTES {
            return Err(invalid("a file of more than 4 GiB is not held in memory"));
        }
        if file > self.files.len() || file >= MAX_FILES {
            return Err(invalid("files are numbered from 0 on, to 999"));
        }
        if file == self.files.len() {
            self.files.push(File::from(memfd_create("floodtest", MemfdFlags::CLOEXEC)?));
        } else {
            self.files[file].set_len(0)?;
            self.files[file].rewind()?;
        }
        self.coming = Some((file, bytes));
        Ok(())
    }

    /// Where processes of this host find a file. Each opens it anew, so that each reads from a
    /// place of its own.
    fn path_of(&self, file: usize) -> PathBuf {
        let fd = self.files[file].as_raw_fd();
        PathBuf::from(format!("/proc/{}/fd/{fd}", std::process::id()))
    }

    /// Finds out what this host's share of a run takes, and says it.
    fn prepare(&mut self, mut job: Box<Job>) -> io::Result<()> {
        if self.files.is_empty() || !self.workers.is_empty() {
            return Err(invalid("a run is prepared once, when its URL file is there"));
        }
        let urls = self.path_of(0);
        let is_measured = job.streams.is_measured;
        let demand = Demand {
            asked: job.share.host_n_of(job.n_asked),
            urls: &urls,
            shape: &job.shape,
            is_measured,
            source_ips: job.source_ips.as_ref(),
        };
        let met = demand.meet(&mut job.targets).and_then(|plan| {
            // What is wrong with certificates is to be known before the first connect.
            job.trust()?;
            Ok(plan)
        });
        let plan = met.map_err(|error| io::Error::other(with_causes(&error)))?;
        self.job = Some((job, plan.workers.max(1)));
        self.answer(&OfAgent::Prepared(Box::new(plan)))
    }

    /// Starts all workers and gives them their jobs.
    fn spawn(&mut self) -> io::Result<()> {
        let none = || invalid("no run was prepared");
        let (mut job, n_workers) = self.job.take().ok_or_else(none)?;
        for index in 0..n_workers {
            job.share = Share { index, of: n_workers, ..job.share };
            let mut line = serde_json::to_vec(&job)?;
            line.push(b'\n');
            self.start_worker(&line)?;
        }
        Ok(())
    }

    /// Starts the next worker, and gives it its job, which is a line.
    fn start_worker(&mut self, job: &[u8]) -> io::Result<()> {
        let path = self.path_of(0);
        let (mut stream, theirs) = UnixStream::pair()?;
        stream.set_write_timeout(Some(SILENCE))?;
        let place = if self.workers.is_empty() {
            let engine = thread::Builder::new().name("engine".to_owned());
            Place::Here(Some(engine.spawn(move || work(&path, &theirs, true))?))
        } else {
            let mut command = Command::new(&self.program);
            command.arg("worker").arg(path);
            command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
            Place::Process(command.process_group(0).spawn()?)
        };
        // One that ends before it knows its job says by its end that it does not.
        let _ = stream.write_all(job);
        let received = Lines::default();
        self.workers.push(Worker { stream: Some(stream), received, place });
        Ok(())
    }

    /// Looks at the memory of its processes, if that is some time ago: not before the answer to a
    /// ping, whose time it would change.
    fn look_at_memory(&mut self) {
        let (looked_at, _) = self.memory;
        if looked_at.is_some_and(|at| at.elapsed() < MEMORY_EVERY) {
            return;
        }
        let workers = self.workers.iter().filter_map(|worker| match &worker.place {
            Place::Process(child) => Some(child.id()),
            Place::Here(_) => None,
        });
        let pids: Vec<u32> = workers.chain([std::process::id()]).collect();
        self.memory = (Some(Instant::now()), limits::rss_kb(&pids));
    }

    /// Says something that is not a worker's.
    fn answer(&self, answer: &OfAgent) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        self.say(line)
    }

    /// Says a line.
    fn say(&self, line: Vec<u8>) -> io::Result<()> {
        self.say.try_send(line).map_err(|_| {
            io::Error::new(ErrorKind::BrokenPipe, "the parent does not read what it is told")
        })
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Hello {
    /// What this process says of itself and its host.
    fn of_this_process() -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            protocol: PROTOCOL,
            version: about::version().to_owned(),
            hostname: name.trim().to_owned(),
            open_files: limits::raise_open_files(),
            open_files_of_machine: limits::open_files_of_machine(),
            available_memory_kb: limits::available_memory_kb(),
        }
    }
}

/// The error of an order that makes no sense.
fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests;
