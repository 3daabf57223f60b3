//! A host that holds a part of the connections, or sends the messages, as the parent sees it.
//!
//! - this file: what is said to its agent, and what it answers, from hello to the last counts
//! - `ssh`: the way there
//! - `exchanges`: when its clock is asked for
//! - `fault`: why it cannot hold connections, in sentences
//! - `preflight`: all of them, before the first connect

mod exchanges;
mod fault;
pub(super) mod preflight;
mod ssh;

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reports::announced::Announced;
use reports::books::{ClockReport, HostReport};
use reports::latency::Latency;
use reports::remote::RemoteHost;

use super::counted::{Counted, Word};
use super::lines::Lines;
use super::link::Link;
use super::monotonic;
use super::wire::{HELLO, Hello, OfAgent, ToAgent};
use crate::clocks::correction::Correction;
use crate::clocks::origin::Origin;
use crate::dry_run::DryRun;
use crate::error::Error;
use crate::job::Job;
use crate::share::{HostShare, Share};
use exchanges::Exchanges;
use ssh::{Ssh, ToSay};

/// How long nothing may come from a host before it is lost: its clock is asked for each second, so
/// that several answers were due. A network that is cut says nothing else.
const SILENCE: Duration = Duration::from_secs(8);

/// How long a host may take to say hello: that is how long ssh takes, by way of other hosts too.
const HELLO_TIME: Duration = Duration::from_secs(30);

/// How long it may take to have its files and to find out what its share takes, and later to start
/// its workers: reading a million URLs takes a second, and a slow line some minutes to bring them.
const PREPARE_TIME: Duration = Duration::from_mins(5);

/// How often a sender's host is asked who sends there: each that lives so long is seen.
const SENDERS_EVERY: Duration = Duration::from_secs(1);

/// Bytes that may come before hello.
const MAX_BANNER_BYTES: usize = 64 * 1_024;

/// How far a host has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// It has not said hello.
    Greeting,
    /// It has, and finds out what its share takes.
    Preparing,
    /// It knows.
    Prepared,
    /// It starts its workers.
    Spawning,
    /// Its workers wait for the start, or work.
    Running,
    /// All have ended, and its clock is asked for the last time.
    Ending,
    /// Nothing more is expected of it.
    Over,
}

/// What a host is for.
#[derive(Debug)]
enum Role {
    /// It holds these of the connections.
    Load(HostShare),
    /// Messages are sent from there.
    Sender,
}

/// A host of a run.
#[derive(Debug)]
pub(super) struct Host {
    /// Which one it is.
    spec: RemoteHost,
    /// What floodtest is called there.
    program: String,
    /// What it is for.
    role: Role,
    /// How far it has come.
    phase: Phase,
    /// When it came there.
    since: Instant,
    /// The way to it; `None` if ssh could not be started, or it has ended.
    ssh: Option<Ssh>,
    /// What came of lines that are not whole.
    received: Lines,
    /// When something came last.
    heard_at: Instant,
    /// The files that it is given, and where they are there.
    files: Vec<(PathBuf, Option<PathBuf>)>,
    /// Those that are read at the end, which are not there before, and why they could not be given.
    sent: Vec<(PathBuf, Option<String>)>,
    /// Its part of the job in JSON, until it is told.
    job: Option<Vec<u8>>,
    /// What its share takes.
    pub(super) plan: Option<DryRun>,
    /// Its workers.
    workers: Vec<Counted>,
    /// How many of them know their job.
    n_ready: usize,
    /// What its clock says.
    clock: Exchanges,
    /// RSS of its processes in KB, as it said last.
    rss_kb: u64,
    /// Who sends there and by which clock, as it said last.
    senders: Option<(i64, Vec<Announced>)>,
    /// When it is asked for that.
    senders_at: Instant,
    /// Why it is lost, or never held anything.
    pub(super) lost_why: Option<String>,
    /// What is to be said of what went wrong there.
    notices: Vec<String>,
}

impl Host {
    /// Begins to speak with a host, which is to have these files and its share of a run.
    fn start(spec: &RemoteHost, program: &str, role: Role, files: Files<'_>) -> Self {
        let started = Ssh::start(spec, program);
        let now = Instant::now();
        let problem = started.as_ref().err().map(|error| fault::no_ssh(spec, error));
        Self {
            spec: spec.clone(),
            program: program.to_owned(),
            role,
            phase: if problem.is_some() { Phase::Over } else { Phase::Greeting },
            since: now,
            ssh: started.ok(),
            received: Lines::default(),
            heard_at: now,
            files: files.all().map(|path| (path.to_owned(), None)).collect(),
            sent: files.sent.iter().map(|path| (path.clone(), None)).collect(),
            job: None,
            plan: None,
            workers: Vec::new(),
            n_ready: 0,
            clock: Exchanges::default(),
            rss_kb: 0,
            senders: None,
            senders_at: now,
            lost_why: problem,
            notices: Vec::new(),
        }
    }

    /// Goes on to the next phase.
    fn enter(&mut self, phase: Phase) {
        (self.phase, self.since) = (phase, Instant::now());
    }

    /// When it has taken too long to come out of its phase.
    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Greeting => Some(self.since + HELLO_TIME),
            Phase::Preparing | Phase::Spawning => Some(self.since + PREPARE_TIME),
            _ => None,
        }
    }

    /// Says something to the agent.
    fn tell(&mut self, order: &ToAgent) {
        let mut line = serde_json::to_vec(order).expect("orders are JSON");
        line.push(b'\n');
        self.say(ToSay::Bytes(line));
    }

    /// Says something to worker `k`.
    fn tell_worker(&mut self, k: usize, what: &str) {
        self.say(ToSay::Bytes(format!("{k} {what}\n").into_bytes()));
    }

    /// Says something. A host that takes nothing is lost by its silence.
    fn say(&mut self, what: ToSay) {
        if let Some(ssh) = &self.ssh {
            ssh.say(what);
        }
    }

    /// Gives it a file.
    fn give(&mut self, number: usize, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        self.tell(&ToAgent::File { file: number, bytes });
        self.say(ToSay::File(file, bytes));
        Ok(())
    }

    /// Gives it all files. What a sender writes comes at the end, and until then is empty.
    fn give_files(&mut self) {
        let n_now = self.files.len() - self.sent.len();
        for number in 0..self.files.len() {
            let path = self.files[number].0.clone();
            if number >= n_now {
                self.tell(&ToAgent::File { file: number, bytes: 0 });
            } else if let Err(error) = self.give(number, &path) {
                self.lose(format!("{}: cannot read {}: {error}", self.spec, path.display()));
            }
        }
    }

    /// Gives it what senders have written, as far as they have.
    fn give_sent(&mut self) {
        let first = self.files.len() - self.sent.len();
        for index in 0..self.sent.len() {
            let path = self.sent[index].0.clone();
            let problem = self.give(first + index, &path).err();
            self.sent[index].1 =
                problem.map(|error| format!("cannot read {}: {error}", path.display()));
        }
    }

    /// Takes in one line, whoever of the host has said it; whether that is news.
    fn take_in(&mut self, line: &[u8]) -> Result<bool, Error> {
        if self.phase == Phase::Greeting {
            self.greet(line);
            return Ok(true);
        }
        if line.starts_with(b"{") {
            return Ok(match serde_json::from_slice(line) {
                Ok(said) => self.take_in_own(said),
                Err(_) => self.lose_nonsense(),
            });
        }
        let space = memchr::memchr(b' ', line);
        let number = space.and_then(|space| str::from_utf8(&line[..space]).ok()?.parse().ok());
        let (Some(space), Some(k)) = (space, number) else { return Ok(self.lose_nonsense()) };
        let Some(worker) = self.workers.get_mut::<usize>(k) else {
            return Ok(self.lose_nonsense());
        };
        if !worker.is_running() {
            return Ok(false);
        }
        let word = worker.take_in(&line[space + 1..]);
        let word = word.map_err(|error| {
            Error::Worker(format!("{}: {}", self.spec, self.with_our_paths(&error.to_string())))
        })?;
        match word {
            Word::Answer => return Ok(false),
            Word::News => {}
            Word::Ready => {
                self.n_ready += 1;
                if self.n_ready == self.workers.len() {
                    self.enter(Phase::Running);
                    self.clock.begin();
                    self.ask_for_time();
                }
            }
            Word::Last => {
                self.name_files(k);
                self.note_end();
            }
            Word::Nonsense => return Ok(self.lose_nonsense()),
        }
        Ok(true)
    }

    /// Takes in the first line.
    fn greet(&mut self, line: &[u8]) {
        let at = memchr::memmem::find(line, HELLO.as_bytes());
        if at != Some(0) {
            let before = fault::shown(&String::from_utf8_lossy(&line[..at.unwrap_or(line.len())]));
            self.lose(fault::banner(&self.spec, &before));
            return;
        }
        let Ok(hello) = serde_json::from_slice::<Hello>(&line[HELLO.len()..]) else {
            self.lose_nonsense();
            return;
        };
        if let Some(problem) = fault::other_version(&self.spec, &hello) {
            self.lose(problem);
            return;
        }
        match self.role {
            Role::Load(_) => {
                self.enter(Phase::Preparing);
                self.give_files();
            }
            Role::Sender => {
                self.enter(Phase::Running);
                self.clock.begin();
                self.ask_for_time();
                self.ask_for_senders(Instant::now());
            }
        }
    }

    /// Takes in what the agent says for itself; whether that is news.
    fn take_in_own(&mut self, said: OfAgent) -> bool {
        match said {
            OfAgent::Filed { file, path } => {
                let Some((_, theirs)) = self.files.get_mut(file) else {
                    return self.lose_nonsense();
                };
                *theirs = Some(path);
                let has_all = self.files.iter().all(|(_, theirs)| theirs.is_some());
                if has_all && let Some(job) = self.job.take() {
                    self.give_job(&job);
                }
            }
            OfAgent::Prepared(plan) => {
                self.plan = Some(*plan);
                self.enter(Phase::Prepared);
            }
            OfAgent::Pong { sent_us, there_us, rss_kb } => {
                self.rss_kb = rss_kb;
                self.clock.answered(sent_us, there_us, monotonic::now_us());
                self.ask_for_time();
                if self.phase == Phase::Ending && !self.clock.is_busy() {
                    self.hang_up();
                }
                return false;
            }
            OfAgent::Senders { zero_us, announced } => {
                // It stamps by what it said first: a step of its wall clock changes nothing.
                let zero_us = self.senders.as_ref().map_or(zero_us, |(first_us, _)| *first_us);
                self.senders = Some((zero_us, announced));
                return false;
            }
            OfAgent::Ended { worker, how } => {
                let Some(counted) = self.workers.get_mut(worker) else {
                    return self.lose_nonsense();
                };
                if !counted.is_running() {
                    return false;
                }
                let (number, n_open) = (counted.number, counted.tally.connected);
                counted.has_died();
                self.notices.push(format!(
                    "worker {number} (on {}) died: {}; its {n_open} open connections count as \
                     closed",
                    self.spec,
                    fault::shown(&how)
                ));
                self.note_end();
            }
            OfAgent::Failed(why) => {
                let why = fault::shown(&self.with_our_paths(&why));
                self.lose(format!("{}: {why}", self.spec));
            }
        }
        true
    }

    /// Notes that one of its workers has ended. When all have its clock is asked for once more.
    fn note_end(&mut self) {
        if !self.workers.iter().any(Counted::is_running) {
            self.finish();
        }
    }

    /// Has nothing more to say.
    fn hang_up(&mut self) {
        self.enter(Phase::Over);
        if let Some(ssh) = &mut self.ssh {
            ssh.hang_up();
        }
    }

    /// Asks for the time of its clock, if that is due.
    fn ask_for_time(&mut self) {
        if let Some(sent_us) = self.clock.question(Instant::now()) {
            self.tell(&ToAgent::Ping { sent_us });
        }
    }

    /// Asks who sends there, once a second.
    fn ask_for_senders(&mut self, now: Instant) {
        if now >= self.senders_at {
            self.senders_at = now + SENDERS_EVERY;
            self.tell(&ToAgent::Senders);
        }
    }

    /// Who sends there, as it said last.
    pub(super) fn announced(&self) -> impl Iterator<Item = Announced> {
        self.senders.iter().flat_map(|(_, announced)| announced.iter().copied())
    }

    /// The clock by which they do; `None` as long as it is not known.
    pub(super) fn origin(&self) -> Option<Origin> {
        let (zero_us, _) = self.senders.as_ref()?;
        Some(Origin::there(*zero_us, self.clock.correction()?))
    }

    /// How its clock is to be read from now on, once for each time that this changes.
    pub(super) fn news_of_clock(&mut self) -> Option<Correction> {
        self.clock.news()
    }

    /// What is known of its clock.
    pub(super) fn clock(&self) -> Option<ClockReport> {
        self.clock.report()
    }

    /// Whether messages are sent from there.
    pub(super) fn is_sender(&self) -> bool {
        matches!(self.role, Role::Sender)
    }

    /// Begins to end a host of which no worker runs: its clock is asked for once more.
    pub(super) fn finish(&mut self) {
        if self.phase == Phase::Running {
            self.enter(Phase::Ending);
            self.clock.begin();
            self.ask_for_time();
        }
    }

    /// Gives up on it, for something that it said.
    fn lose_nonsense(&mut self) -> bool {
        self.lose(format!("{}: what it says makes no sense", self.spec));
        true
    }

    /// Gives up on it: nobody knows what becomes of its connections.
    fn lose(&mut self, why: String) {
        if self.lost_why.is_some() || self.phase == Phase::Over {
            return;
        }
        let is_running = self.phase >= Phase::Spawning;
        self.enter(Phase::Over);
        self.ssh = None;
        if is_running {
            let running = self.workers.iter_mut().filter(|worker| worker.is_running());
            running.for_each(Counted::is_lost);
            let unknown: u64 = self.workers.iter().map(|worker| worker.tally.unknown).sum();
            self.notices.push(match self.role {
                Role::Load(_) => format!("lost host {why}; its {unknown} connections are unknown"),
                Role::Sender => format!("lost the sender's host {why}; latencies are unknown"),
            });
        }
        self.lost_why = Some(why);
    }

    /// Finds out why nothing more comes.
    fn find_out_end(&mut self) {
        if self.phase == Phase::Over {
            self.ssh = None;
            return;
        }
        let Some(ssh) = &mut self.ssh else { return };
        let (status, complaints) = ssh.end();
        let why = if self.phase == Phase::Greeting {
            fault::ended(&self.spec, &self.program, status, &complaints)
        } else {
            let how = status.map_or_else(|| "was killed".to_owned(), |status| status.to_string());
            let last = complaints.last().map(|line| format!(": {line}")).unwrap_or_default();
            format!("{}: its ssh ended ({how}){last}", self.spec)
        };
        self.lose(why);
    }

    /// Gives it its job, whose files are those that it was given.
    fn give_job(&mut self, job: &[u8]) {
        let mut job: Job = serde_json::from_slice(job).expect("it was written by this process");
        let theirs = |ours: &Path| {
            let known = self.files.iter().find(|(path, _)| path == ours);
            known.and_then(|(_, theirs)| theirs.clone()).unwrap_or_else(|| ours.to_owned())
        };
        job.rename_files(theirs);
        self.tell(&ToAgent::Prepare(Box::new(job)));
    }

    /// What the host says of its files, by the names that they have here.
    fn with_our_paths(&self, text: &str) -> String {
        let known = self.files.iter().filter_map(|(ours, theirs)| Some((ours, theirs.as_ref()?)));
        known.fold(text.to_owned(), |text, (ours, theirs)| {
            text.replace(&*theirs.to_string_lossy(), &ours.to_string_lossy())
        })
    }

    /// Gives the senders' files of a worker's last counts the names that they have here.
    fn name_files(&mut self, k: usize) {
        let mut joined = std::mem::take(&mut self.workers[k].tally.joined);
        for (index, it) in joined.iter_mut().enumerate() {
            let Some((path, problem)) = self.sent.get(index) else { continue };
            it.problem = it.problem.take().map(|problem| self.with_our_paths(&problem));
            it.problem = problem.clone().or(it.problem.take());
            it.path.clone_from(path);
        }
        self.workers[k].tally.joined = joined;
    }

    /// The delays from due to receipt there.
    fn delivery(&self) -> Latency {
        let mut delivery = Latency::default();
        self.workers.iter().for_each(|worker| delivery.merge(&worker.tally.delivery_from_due));
        delivery
    }

    /// Starts its workers, whose numbers in the run come after `n_before`.
    pub(super) fn spawn(&mut self, n_before: usize) -> usize {
        let (Role::Load(share), Some(plan)) = (&self.role, &self.plan) else { return 0 };
        let of = plan.workers.max(1);
        let workers = (0..of).zip(n_before + 1..).map(|(index, number)| {
            let number = u16::try_from(number).expect("64 hosts have at most 256 each");
            Counted::new(number, Share { host: *share, index, of }.number(0))
        });
        self.workers = workers.collect();
        self.enter(Phase::Spawning);
        self.tell(&ToAgent::Spawn);
        self.workers.len()
    }

    /// Whether its workers wait for the start and its clock is known.
    pub(super) fn is_ready(&self) -> bool {
        match self.role {
            Role::Load(_) => self.phase == Phase::Running && self.clock.is_known(),
            Role::Sender => self.clock.is_known() && self.senders.is_some(),
        }
    }
}

impl Link for Host {
    fn fd(&self) -> BorrowedFd<'_> {
        self.ssh.as_ref().expect("only those that are open are waited for").fd()
    }

    fn counted(&self) -> &[Counted] {
        &self.workers
    }

    fn counted_mut(&mut self) -> &mut [Counted] {
        &mut self.workers
    }

    fn is_open(&self) -> bool {
        self.ssh.is_some()
    }

    fn begin(&mut self, start_us: i64) -> Result<(), Error> {
        let there_us = self.clock.there_us(start_us);
        (0..self.workers.len()).for_each(|k| self.tell_worker(k, &format!("start {there_us}")));
        Ok(())
    }

    fn ask(&mut self) {
        (0..self.workers.len()).for_each(|k| self.tell_worker(k, "?"));
    }

    fn stop(&mut self) {
        self.give_sent();
        (0..self.workers.len()).for_each(|k| self.tell_worker(k, "stop"));
    }

    fn listen(&mut self) -> Result<bool, Error> {
        let Some(ssh) = &mut self.ssh else { return Ok(false) };
        // Whatever else than its end is wrong with the pipe comes to the same.
        let is_open = self.received.fill(&mut ssh.answers).unwrap_or(false);
        self.heard_at = Instant::now();
        let mut has_news = false;
        while self.ssh.is_some() {
            match self.received.next() {
                Ok(Some(line)) => has_news |= self.take_in(&line)?,
                Ok(None) => break,
                Err(_) => has_news |= self.lose_nonsense(),
            }
        }
        if self.phase == Phase::Greeting && self.received.bytes.len() > MAX_BANNER_BYTES {
            let line = fault::shown(&String::from_utf8_lossy(&self.received.bytes[..80]));
            self.lose(fault::banner(&self.spec, &line));
        }
        if !is_open {
            self.find_out_end();
            has_news = true;
        }
        Ok(has_news)
    }

    fn tend(&mut self, now: Instant) -> bool {
        if self.phase > Phase::Greeting {
            self.ask_for_time();
        }
        if self.is_sender() && self.phase == Phase::Running {
            self.ask_for_senders(now);
        }
        let is_silent = now.saturating_duration_since(self.heard_at) >= SILENCE;
        match self.phase {
            Phase::Ending if is_silent => self.hang_up(),
            Phase::Running if is_silent => {
                let seconds = SILENCE.as_secs();
                self.lose(format!("{}: nothing came from it for {seconds} s", self.spec));
                return true;
            }
            _ if self.deadline().is_some_and(|deadline| now >= deadline) => {
                let seconds = now.saturating_duration_since(self.since).as_secs();
                self.lose(fault::silent(&self.spec, seconds));
                return true;
            }
            _ => {}
        }
        false
    }

    fn next_at(&self) -> Option<Instant> {
        let until = self.deadline().unwrap_or(self.heard_at + SILENCE);
        let is_asked = self.phase > Phase::Greeting;
        let until = if is_asked { until.min(self.clock.next_at()) } else { until };
        let has_senders = self.is_sender() && self.phase == Phase::Running;
        Some(if has_senders { until.min(self.senders_at) } else { until })
    }

    fn kill(&mut self) {
        if self.is_running() {
            self.lose(format!("{}: its workers did not end in time", self.spec));
        }
        self.ssh = None;
    }

    fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    fn is_ending(&self) -> bool {
        self.phase == Phase::Ending
    }

    fn correct(&mut self, origin: &Origin, has_new_origin: bool) {
        let news = self.clock.news();
        let again = if has_new_origin { self.clock.correction() } else { None };
        let Some(clock) = news.or(again) else { return };
        let correction = origin.unix(clock);
        let line = serde_json::to_string(&correction).expect("numbers are JSON");
        (0..self.workers.len()).for_each(|k| self.tell_worker(k, &line));
    }

    fn report(&self) -> Option<HostReport> {
        matches!(self.role, Role::Load(_)).then(|| {
            let mut report = HostReport {
                host: self.spec.to_string(),
                lost_why: self.lost_why.clone(),
                processes: self.workers.len() as u64,
                rss_kb: self.rss_kb,
                clock: self.clock.report(),
                ..HostReport::default()
            };
            for tally in self.workers.iter().map(|worker| &worker.tally) {
                report.begun += tally.begun;
                report.connected += tally.connected;
                report.closed += tally.closed;
                report.failed += tally.failed;
                report.unknown += tally.unknown;
                report.items += tally.items;
                report.messages += tally.found.messages;
            }
            report.delivery_from_due = self.delivery().summary();
            report
        })
    }

    fn delays(&self) -> Option<(String, Latency)> {
        matches!(self.role, Role::Load(_)).then(|| (self.spec.to_string(), self.delivery()))
    }
}

/// The files of a job, by the names that they have here.
#[derive(Debug, Clone, Copy)]
struct Files<'a> {
    /// What is read before the run or at its end, and is there from the beginning; the URL file is
    /// the first.
    now: &'a [PathBuf],
    /// What senders have written by its end.
    sent: &'a [PathBuf],
}

impl<'a> Files<'a> {
    /// All, in the order in which the host has them.
    fn all(self) -> impl Iterator<Item = &'a PathBuf> {
        self.now.iter().chain(self.sent)
    }
}
