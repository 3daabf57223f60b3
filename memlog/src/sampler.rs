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
    /// Samples since the target was started, or found.
    n_looks: u64,
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
        let (doors, marks) = (Vec::new(), Vec::new());
        let mut sampler = Self { target, diag, ports, doors, n_looks: 0, marks };
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
        let ended = ended.iter().map(|pid| Mark::new(&format!("process {pid} ended"), None));
        self.marks.extend(ended);
        if is_restarted {
            self.marks.push(Mark::new("restart", None));
            self.doors.clear();
            self.n_looks = 0;
        }
        self.n_looks += 1;
        match self.count(&processes) {
            Ok(n_connections) => {
                let marks = std::mem::take(&mut self.marks);
                let sample = Sample { n_connections, marks, ..sum(&processes) };
                Taken::Sample(Box::new(sample))
            }
            Err(error) => Taken::Failed(error),
        }
    }

    /// Counts connections, on doors that are looked for as long as there are none.
    ///
    /// A server may begin to listen some time after it was started; a program that never does must
    /// not have its descriptors walked with every sample. So it is with the 1st, 2nd, 4th, 8th, …
    fn count(&mut self, processes: &[(u32, Vitals)]) -> io::Result<u64> {
        if self.doors.is_empty() && self.n_looks.is_power_of_two() {
            self.find_doors(processes)?;
        }
        self.diag.established(&self.doors)
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
