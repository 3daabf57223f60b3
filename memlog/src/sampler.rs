//! One sample: the target, its connections, and the kernel.

use std::io;

use reports::memory_log::{Mark, Sample, Share};

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
    doors: Vec<Door>,
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
        let mut sampler = Self { target, diag, ports, doors: Vec::new() };
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
        let (processes, is_restarted, ended) = match self.target.look() {
            Look::Alive { processes, is_restarted, ended } => (processes, is_restarted, ended),
            Look::Away => return Taken::Away,
            Look::Ended => return Taken::Ended,
        };
        // A server may begin to listen some time after it was started. Its descriptors are few
        // then, and are not looked through again.
        if (is_restarted || self.doors.is_empty())
            && let Err(error) = self.find_doors(&processes)
        {
            return Taken::Failed(error);
        }
        let mut marks: Vec<Mark> =
            ended.iter().map(|pid| Mark::new(&format!("process {pid} ended"), None)).collect();
        if is_restarted {
            marks.push(Mark::new("restart", None));
        }
        match self.diag.established(&self.doors) {
            Ok(n_connections) => {
                let sum = Sample { n_connections, marks, ..sum(&processes) };
                Taken::Sample(Box::new(sum))
            }
            Err(error) => Taken::Failed(error),
        }
    }

    /// Finds where the target listens.
    fn find_doors(&mut self, processes: &[(u32, Vitals)]) -> io::Result<()> {
        self.doors = if self.ports.is_empty() {
            let pids = processes.iter().map(|(pid, _)| *pid);
            self.diag.doors(&Target::socket_inodes(pids)?)?
        } else {
            self.ports.iter().flat_map(|port| Door::on_port(*port)).collect()
        };
        Ok(())
    }

    /// What to call the target in a sentence.
    pub fn label(&self) -> String {
        self.target.label()
    }

    /// The ports on which connections are counted, in order.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.doors.iter().map(|door| door.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
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
