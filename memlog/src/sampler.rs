//! One sample: the target, its connections, and the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use reports::memory_log::{Mark, OnPort, Sample, Share};

use crate::clock::Seldom;
use crate::error::Error;
use crate::guard::Guard;
use crate::holders::listed;
use crate::kernel;
use crate::process::{Identity, Vitals};
use crate::provenance;
use crate::pss::{Pss, PssReader};
use crate::sockets::{ListenAddr, SockDiag};
use crate::target::{Choice, Look, Target};
use crate::text;

/// Changes of the processes that are marked at once. A server that forks for each connection has
/// others with every sample, and a chart keeps a hundred marks.
const CHANGES_AT_ONCE: u32 = 20;

/// Changes beyond these are marked this far apart at least. Each line has the pids all the same.
const CHANGES_APART: Duration = Duration::from_mins(10);

/// Takes samples of a target.
#[derive(Debug)]
pub struct Sampler {
    /// The target.
    target: Target,
    /// Asks about sockets.
    diag: SockDiag,
    /// Ports that were given, instead of those that the target listens on.
    ports: Vec<u16>,
    /// Where the target listens.
    addrs: BTreeSet<ListenAddr>,
    /// Samples of each process since it was first seen.
    looks: BTreeMap<Identity, u64>,
    /// The processes of the last sample, each with its RSS in KB.
    watched: Vec<(Identity, u64)>,
    /// ….
    guard: Guard,
    /// Reads the PSS.
    pss: PssReader,
    /// Spreads marks of changes.
    changes: Seldom,
    /// Marks for the next sample that succeeds.
    marks: Vec<Mark>,
    /// What is to be said.
    notices: Vec<String>,
}

/// What came of a sample that was due.
#[derive(Debug)]
pub enum Taken {
    /// The sample, without its time.
    Sample(Box<Sample>),
    /// The target is away, and may come back.
    Away,
    /// The target has ended for good.
    Ended,
    /// The kernel did not say how many connections there are, and a guess is no sample.
    Failed(io::Error),
}

impl Sampler {
    /// Finds the target and where it listens.
    pub fn new(choice: Choice, with_tree: bool, ports: Vec<u16>) -> Result<Self, Error> {
        let mut diag = SockDiag::open().map_err(Error::SockDiag)?;
        let target = Target::find(choice, with_tree, &mut diag)?;
        let addrs = ports.iter().flat_map(|port| ListenAddr::on_port(*port)).collect();
        let mut sampler = Self {
            target,
            diag,
            ports,
            addrs,
            looks: BTreeMap::new(),
            watched: Vec::new(),
            guard: Guard::default(),
            pss: PssReader::default(),
            changes: Seldom::new(CHANGES_AT_ONCE, CHANGES_APART),
            marks: Vec::new(),
            notices: Vec::new(),
        };
        let look = sampler.target.look(&mut sampler.diag).map_err(Error::SockDiag)?;
        if let Look::Alive { processes, .. } = look {
            sampler.find_listening(&processes).map_err(|source| {
                let target = sampler.target.label();
                match source.kind() {
                    io::ErrorKind::PermissionDenied => Error::Ports { target, source },
                    _ => Error::SockDiag(source),
                }
            })?;
            sampler.watch_out(&processes).map_err(Error::SockDiag)?;
            sampler.watched = with_rss(&processes);
        }
        sampler.say_which();
        Ok(sampler)
    }

    /// Takes a sample.
    pub fn take(&mut self) -> Taken {
        let mut is_second = false;
        loop {
            let (processes, is_restarted, ended) = match self.target.look(&mut self.diag) {
                Ok(Look::Alive { processes, is_restarted, ended }) => {
                    (processes, is_restarted, ended)
                }
                Ok(Look::Away) => return Taken::Away,
                Ok(Look::Ended) => return Taken::Ended,
                Err(error) => return Taken::Failed(error),
            };
            self.note_changes(&processes, is_restarted, &ended);
            let counts = self.count(&processes);
            // When one has ended in between, memory and connections do not belong together. A
            // second look sees what became of it; among many there may always be one.
            if is_second || self.target.is_whole() {
                return match counts {
                    Ok(counts) => Taken::Sample(Box::new(self.sample(&processes, &counts))),
                    Err(error) => Taken::Failed(error),
                };
            }
            is_second = true;
        }
    }

    /// Marks and says what is different from the processes of the look before.
    fn note_changes(
        &mut self,
        processes: &[(Identity, Vitals)],
        is_restarted: bool,
        ended: &[Identity],
    ) {
        let ended_marks =
            ended.iter().map(|it| Mark::new(&format!("process {} ended", it.pid), None));
        self.marks.extend(ended_marks);
        let before: BTreeSet<Identity> = self.watched.iter().map(|(it, _)| *it).collect();
        let now: BTreeSet<Identity> = processes.iter().map(|(it, _)| *it).collect();
        self.watched = with_rss(processes);
        if is_restarted {
            self.marks.push(Mark::new("restart", None));
            self.forget_listening();
            self.say_which();
            return;
        }
        let added: Vec<Identity> = now.difference(&before).copied().collect();
        let gone: Vec<u32> = before.difference(&now).map(|it| it.pid).collect();
        // Those of an explicit list have a mark each.
        let is_marked = gone.iter().all(|pid| ended.iter().any(|it| it.pid == *pid));
        if (added.is_empty() && is_marked) || !self.changes.is_now() {
            return;
        }
        self.marks.push(Mark::of_processes(added.len(), gone.len(), now.len()));
        let mut changes = Vec::new();
        if !added.is_empty() {
            changes.push(format!("new: {}", listed(added)));
        }
        if !gone.is_empty() {
            changes.push(format!("gone: {}", text::listed(&gone)));
        }
        let changes = changes.join("; ");
        let seldom = if self.changes.is_spent() {
            "; so many changes are marked and said once in 10 min at most, and the columns \
             rss_kb.PID have the processes of each line"
        } else {
            ""
        };
        let n_now = now.len();
        let text = format!("the watched processes change, {n_now} now; {changes}{seldom}");
        self.notices.push(text);
    }

    /// Says which program was taken, where a name was all that it was found by.
    fn say_which(&mut self) {
        if let Some((name, process)) = self.target.only() {
            self.notices.extend(provenance::of(name, process));
        }
    }

    /// What is to be said since the last time.
    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Reads the PSS of the processes of the last sample, if it `is_asked` for or due at `now`.
    pub fn pss(&mut self, now: Duration, is_asked: bool) -> Pss {
        if !is_asked && !self.pss.is_due(now) {
            return Pss::default();
        }
        self.pss.read(&self.watched, now)
    }

    /// Puts a sample together.
    fn sample(&mut self, processes: &[(Identity, Vitals)], counts: &BTreeMap<u16, u64>) -> Sample {
        let on_port = |(port, n): (&u16, &u64)| OnPort { port: *port, n_connections: *n };
        let is_several = counts.len() > 1;
        Sample {
            n_connections: counts.values().sum(),
            ports: if is_several { counts.iter().map(on_port).collect() } else { Vec::new() },
            marks: std::mem::take(&mut self.marks),
            ..sum(processes)
        }
    }

    /// Forgets where an earlier process listened.
    fn forget_listening(&mut self) {
        self.looks.clear();
        if self.ports.is_empty() {
            self.addrs.clear();
        }
    }

    /// Counts connections by port, and finds new ports first.
    fn count(&mut self, processes: &[(Identity, Vitals)]) -> io::Result<BTreeMap<u16, u64>> {
        self.find_listening(processes)?;
        self.watch_out(processes)?;
        self.diag.established(&self.addrs)
    }

    /// Warns where others hold the ports.
    fn watch_out(&mut self, processes: &[(Identity, Vitals)]) -> io::Result<()> {
        if self.target.is_by_port() || self.addrs.is_empty() {
            return Ok(());
        }
        let watched = processes.iter().map(|(it, _)| *it).collect();
        self.notices.extend(self.guard.look(&mut self.diag, &self.addrs, watched)?);
        Ok(())
    }

    /// Finds where processes listen that may have begun to since they were looked at.
    ///
    /// A server begins to listen on one address after the other, some time after it was started; a
    /// program that never listens must not have its descriptors walked with every sample. So each
    /// process is looked at with its first two samples and, as long as there is no address, with
    /// its 4th, 8th, …
    fn find_listening(&mut self, processes: &[(Identity, Vitals)]) -> io::Result<()> {
        if !self.ports.is_empty() {
            return Ok(());
        }
        self.looks.retain(|known, _| processes.iter().any(|(it, _)| it == known));
        let mut new = Vec::new();
        for (process, _) in processes {
            let n_looks = self.looks.entry(*process).or_default();
            *n_looks += 1;
            if *n_looks <= 2 || (self.addrs.is_empty() && n_looks.is_power_of_two()) {
                new.push(*process);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let inodes = Target::socket_inodes(new.into_iter());
        match inodes.and_then(|inodes| self.diag.listen_addrs(&inodes)) {
            Ok(addrs) => {
                self.addrs.extend(addrs);
                Ok(())
            }
            Err(error) => {
                // Without them a count would be a guess: the next sample looks again.
                self.looks.clear();
                Err(error)
            }
        }
    }

    /// What to call the target in a sentence.
    pub fn label(&self) -> String {
        self.target.label()
    }

    /// What is watched, in a sentence.
    pub fn watching(&self) -> String {
        let (label, ports) = (self.target.label(), self.ports_said());
        if self.target.is_by_port() {
            return format!("{label}: {}", self.target.listed());
        }
        format!("{label} on {ports}")
    }

    /// What is said when the target is back.
    pub fn back(&self) -> String {
        if self.target.is_by_port() {
            return format!("{} is back: {}", self.target.label(), self.target.listed());
        }
        format!("{} is back, on {}", self.target.label(), self.ports_said())
    }

    /// How many processes are watched.
    pub fn n_processes(&self) -> usize {
        self.watched.len()
    }

    /// The ports in a sentence.
    fn ports_said(&self) -> String {
        match self.ports().as_slice() {
            [] => "no port yet".to_owned(),
            ports => text::ports_listed(ports.iter().copied()),
        }
    }

    /// The ports on which connections are counted, in order.
    pub fn ports(&self) -> Vec<u16> {
        let ports: BTreeSet<u16> = self.addrs.iter().map(|addr| addr.port).collect();
        ports.into_iter().collect()
    }
}

/// Processes with their RSS in KB.
fn with_rss(processes: &[(Identity, Vitals)]) -> Vec<(Identity, u64)> {
    processes.iter().map(|(process, vitals)| (*process, vitals.rss_kb)).collect()
}

/// The sum over the processes, and their shares when there are several.
fn sum(processes: &[(Identity, Vitals)]) -> Sample {
    let total = |of: fn(&Vitals) -> u64| processes.iter().map(|(_, it)| of(it)).sum();
    let known = |of: fn(&Vitals) -> Option<u64>| processes.iter().map(|(_, it)| of(it)).sum();
    let share = |(process, it): &(Identity, Vitals)| Share {
        pid: process.pid,
        rss_kb: it.rss_kb,
        anon_kb: it.anon_kb,
    };
    let is_several = processes.len() > 1;
    Sample {
        rss_kb: total(|it| it.rss_kb),
        anon_kb: known(|it| it.anon_kb),
        kernel_tcp_kb: kernel::tcp_kb(),
        slab_kb: kernel::slab_kb(),
        n_threads: Some(total(|it| it.n_threads)),
        cpu_ms: Some(total(|it| it.cpu_ms)),
        n_fds: known(|it| it.n_fds),
        shares: if is_several { processes.iter().map(share).collect() } else { Vec::new() },
        ..Sample::default()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::process::tests::WALKED;

    #[test]
    fn several_processes_are_summed_and_kept_apart() {
        let vitals =
            Vitals { rss_kb: 10, anon_kb: Some(4), n_threads: 2, cpu_ms: 30, n_fds: Some(5) };
        let other = Vitals { n_fds: None, ..vitals };
        let process = |pid| Identity::of(std::process::id()).unwrap().with_pid(pid);
        let both = sum(&[(process(7), vitals), (process(8), other)]);
        assert_eq!((both.rss_kb, both.anon_kb, both.n_threads), (20, Some(8), Some(4)));
        assert_eq!((both.cpu_ms, both.n_fds), (Some(60), None));
        assert_eq!(both.shares[1], Share { pid: 8, rss_kb: 10, anon_kb: Some(4) });
        assert!(sum(&[(process(7), vitals)]).shares.is_empty());
    }

    #[test]
    fn descriptors_are_walked_at_the_start_and_not_with_every_sample() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = std::process::id();
        let by_port = || (Choice::Listening([port].into()), vec![port]);
        let by_pid = |ports: &[u16]| (Choice::Pids(vec![own]), ports.to_vec());
        for (choice, ports) in [by_pid(&[]), by_pid(&[port]), by_port()] {
            let what = format!("{choice:?} on {ports:?}");
            WALKED.take();
            let mut sampler = Sampler::new(choice, false, ports).unwrap();
            let mut take = |n_samples| {
                for _ in 0..n_samples {
                    assert!(matches!(sampler.take(), Taken::Sample(_)), "{what}");
                }
                WALKED.take()
            };
            let at_start = take(3);
            let n_own = at_start.iter().filter(|pid| **pid == own).count();
            assert!((1..=4).contains(&n_own), "{what}: {n_own}");
            // Other tests of this process open and close ports of their own: no change here.
            let later = take(20);
            assert!(!later.contains(&own) && !later.contains(&1), "{what}: {later:?}");
        }
    }
}
