//! One sample: the target, its connections, and the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use reports::memory_log::{Mark, OnPort, Sample, Share};

use crate::process::Vitals;
use crate::sockets::{Door, SockDiag};
use crate::target::{Choice, Look, Target};
use crate::{Error, kernel};

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
    doors: BTreeSet<Door>,
    /// Samples of each process since it was first seen.
    looks: BTreeMap<u32, u64>,
    /// Marks for the next sample that succeeds.
    marks: Vec<Mark>,
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
        let target = Target::find(choice, with_tree)?;
        let diag = SockDiag::open().map_err(Error::SockDiag)?;
        let doors = ports.iter().flat_map(|port| Door::on_port(*port)).collect();
        let (looks, marks) = (BTreeMap::new(), Vec::new());
        let mut sampler = Self { target, diag, ports, doors, looks, marks };
        if let Look::Alive { processes, .. } = sampler.target.look() {
            sampler.find_doors(&processes).map_err(|source| {
                let target = sampler.target.label();
                match source.kind() {
                    io::ErrorKind::PermissionDenied => Error::Ports { target, source },
                    _ => Error::SockDiag(source),
                }
            })?;
        }
        Ok(sampler)
    }

    /// Takes a sample.
    pub fn take(&mut self) -> Taken {
        let mut is_second = false;
        loop {
            let (processes, is_restarted, ended) = match self.target.look() {
                Look::Alive { processes, is_restarted, ended } => (processes, is_restarted, ended),
                Look::Away => return Taken::Away,
                Look::Ended => return Taken::Ended,
            };
            let ended = ended.iter().map(|pid| Mark::new(&format!("process {pid} ended"), None));
            self.marks.extend(ended);
            if is_restarted {
                self.marks.push(Mark::new("restart", None));
                self.forget_doors();
            }
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

    /// Puts a sample together.
    fn sample(&mut self, processes: &[(u32, Vitals)], counts: &BTreeMap<u16, u64>) -> Sample {
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
    fn forget_doors(&mut self) {
        self.looks.clear();
        if self.ports.is_empty() {
            self.doors.clear();
        }
    }

    /// Counts connections by port, and finds new ports first.
    fn count(&mut self, processes: &[(u32, Vitals)]) -> io::Result<BTreeMap<u16, u64>> {
        self.find_doors(processes)?;
        self.diag.established(&self.doors)
    }

    /// Finds where processes listen that may have begun to since they were looked at.
    ///
    /// A server opens its doors one after the other, some time after it was started; a program that
    /// never listens must not have its descriptors walked with every sample. So each process is
    /// looked at with its first two samples and, as long as there is no door, with its 4th, 8th, …
    fn find_doors(&mut self, processes: &[(u32, Vitals)]) -> io::Result<()> {
        if !self.ports.is_empty() {
            return Ok(());
        }
        self.looks.retain(|pid, _| processes.iter().any(|(it, _)| it == pid));
        let mut pids = Vec::new();
        for (pid, _) in processes {
            let n_looks = self.looks.entry(*pid).or_default();
            *n_looks += 1;
            if *n_looks <= 2 || (self.doors.is_empty() && n_looks.is_power_of_two()) {
                pids.push(*pid);
            }
        }
        if pids.is_empty() {
            return Ok(());
        }
        let inodes = Target::socket_inodes(pids.into_iter());
        match inodes.and_then(|inodes| self.diag.doors(&inodes)) {
            Ok(doors) => {
                self.doors.extend(doors);
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

    /// The ports on which connections are counted, in order.
    pub fn ports(&self) -> Vec<u16> {
        let ports: BTreeSet<u16> = self.doors.iter().map(|door| door.port).collect();
        ports.into_iter().collect()
    }
}

/// The sum over the processes, and their shares when there are several.
fn sum(processes: &[(u32, Vitals)]) -> Sample {
    let total = |of: fn(&Vitals) -> u64| processes.iter().map(|(_, it)| of(it)).sum();
    let known = |of: fn(&Vitals) -> Option<u64>| processes.iter().map(|(_, it)| of(it)).sum();
    let share =
        |(pid, it): &(u32, Vitals)| Share { pid: *pid, rss_kb: it.rss_kb, anon_kb: it.anon_kb };
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
    use super::*;

    #[test]
    fn several_processes_are_summed_and_kept_apart() {
        let vitals =
            Vitals { rss_kb: 10, anon_kb: Some(4), n_threads: 2, cpu_ms: 30, n_fds: Some(5) };
        let other = Vitals { n_fds: None, ..vitals };
        let both = sum(&[(7, vitals), (8, other)]);
        assert_eq!((both.rss_kb, both.anon_kb, both.n_threads), (20, Some(8), Some(4)));
        assert_eq!((both.cpu_ms, both.n_fds), (Some(60), None));
        assert_eq!(both.shares[1], Share { pid: 8, rss_kb: 10, anon_kb: Some(4) });
        assert!(sum(&[(7, vitals)]).shares.is_empty());
    }
}
