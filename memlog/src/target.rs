//! Which processes are watched, and whether they are still the same ones.

use std::collections::BTreeSet;
use std::io;

use crate::error::Error;
use crate::holders::{Holders, listed};
use crate::process::{self, Identity, Vitals};
use crate::sockets::{ListenAddr, SockDiag};
use crate::text;

/// What to watch, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The one process of this name.
    Only(String),
    /// All processes of this name, summed.
    Named(String),
    /// These processes, summed.
    Pids(Vec<u32>),
    /// Those that own these ports and their workers, summed.
    Listening(BTreeSet<u16>),
}

/// The watched processes.
#[derive(Debug)]
pub struct Target {
    /// What was asked for.
    choice: Choice,
    /// Whether their descendants are watched too.
    with_tree: bool,
    /// Those found, without descendants; with [`Choice::Listening`] those that own the ports.
    roots: Vec<Identity>,
    /// With [`Choice::Listening`]: their descendants that take connections, and those that owned a
    /// port before and still have connections.
    workers: Vec<Identity>,
    /// With [`Choice::Listening`]: who holds the ports.
    holders: Holders,
}

/// What one look at the target shows.
#[derive(Debug, PartialEq)]
pub enum Look {
    /// Its processes and their vitals, at least one.
    Alive {
        /// Each process.
        processes: Vec<(Identity, Vitals)>,
        /// Whether it is another one than at the look before.
        is_restarted: bool,
        /// Processes of an explicit list that have ended since.
        ended: Vec<Identity>,
    },
    /// It is not there now, and may come back.
    Away,
    /// It has ended, and nothing else can have its pid.
    Ended,
}

impl Target {
    /// Finds what was asked for.
    pub fn find(choice: Choice, with_tree: bool, diag: &mut SockDiag) -> Result<Self, Error> {
        let mut target = Self {
            choice,
            with_tree,
            roots: Vec::new(),
            workers: Vec::new(),
            holders: Holders::default(),
        };
        target.roots = match &target.choice {
            Choice::Only(name) => {
                let found = process::named(name);
                if found.len() > 1 {
                    let pids = found.iter().map(|it| it.pid).collect();
                    return Err(Error::SeveralNamed { name: name.clone(), pids });
                }
                found
            }
            Choice::Named(name) => process::named(name),
            Choice::Pids(pids) => {
                let of = |pid: &u32| Identity::of(*pid).ok_or(Error::NoPid(*pid));
                pids.iter().map(of).collect::<Result<_, _>>()?
            }
            Choice::Listening(ports) => {
                let ports = ports.clone();
                target.find_holders(diag, &ports)?
            }
        };
        match &target.choice {
            Choice::Only(name) | Choice::Named(name) if target.roots.is_empty() => {
                Err(Error::NoneNamed { name: name.clone() })
            }
            _ => Ok(target),
        }
    }

    /// The owners of `ports`, each of which must have one.
    fn find_holders(
        &mut self,
        diag: &mut SockDiag,
        ports: &BTreeSet<u16>,
    ) -> Result<Vec<Identity>, Error> {
        self.holders.refresh(diag, &addrs(ports)).map_err(Error::SockDiag)?;
        let listening = self.holders.listening().clone();
        let without = |inodes: &mut dyn Iterator<Item = &u32>| -> Vec<u16> {
            let having: BTreeSet<u16> =
                inodes.filter_map(|it| listening.get(it)).copied().collect();
            ports.difference(&having).copied().collect()
        };
        let unheard = without(&mut listening.keys());
        if !unheard.is_empty() {
            return Err(Error::NobodyListens(unheard));
        }
        let owners = self.holders.owners().unwrap_or_default();
        let unseen = without(&mut owners.values().flatten());
        if !unseen.is_empty() {
            return Err(Error::UnseenOwner(unseen));
        }
        Ok(owners.into_keys().collect())
    }

    /// Looks at it, and for it when it is gone. An error: the kernel does not say who holds a port.
    pub fn look(&mut self, diag: &mut SockDiag) -> io::Result<Look> {
        if let Choice::Listening(ports) = &self.choice {
            let addrs = addrs(ports);
            return self.look_at_holders(diag, &addrs);
        }
        let mut vitals = vitals(self.roots.iter().copied());
        let mut ended = Vec::new();
        let mut is_restarted = false;
        match &self.choice {
            Choice::Pids(_) => {
                let is_alive = |root: &Identity| vitals.iter().any(|(it, _)| it == root);
                ended = self.roots.iter().filter(|it| !is_alive(it)).copied().collect();
                if vitals.is_empty() {
                    return Ok(Look::Ended);
                }
                self.roots.retain(is_alive);
            }
            Choice::Only(name) if vitals.is_empty() => {
                let found = process::named(name);
                // With several there is no telling which one is meant, until one is left.
                if let [one] = found.as_slice()
                    && let Some(its) = one.vitals()
                {
                    (self.roots, vitals) = (vec![*one], vec![(*one, its)]);
                    is_restarted = true;
                }
            }
            Choice::Only(_) | Choice::Listening(_) => {}
            Choice::Named(name) => {
                is_restarted = vitals.is_empty();
                self.roots = process::named(name);
                vitals = self::vitals(self.roots.iter().copied());
            }
        }
        Ok(self.alive(vitals, is_restarted, ended))
    }

    /// Looks at those who hold `addrs`, and for others when they have become others.
    fn look_at_holders(
        &mut self,
        diag: &mut SockDiag,
        addrs: &BTreeSet<ListenAddr>,
    ) -> io::Result<Look> {
        self.holders.refresh(diag, addrs)?;
        let before: Vec<Identity> = self.roots.iter().chain(&self.workers).copied().collect();
        self.roots.retain(Identity::is_alive);
        if self.roots.is_empty() && !self.holders.listening().is_empty() {
            // The same socket may be in other hands: it was passed on, or inherited.
            self.holders.expect_change();
        }
        let mut candidates: BTreeSet<u32> = self.workers.iter().map(|it| it.pid).collect();
        if let Some(owners) = self.holders.owners() {
            // One that owned a port may have connections still, as a worker that shuts down.
            candidates.extend(self.roots.iter().map(|it| it.pid));
            self.roots = owners.into_keys().collect();
        }
        let known = self.roots.iter().map(|it| it.pid).chain(candidates.iter().copied());
        candidates.extend(process::descendants(known.collect::<Vec<_>>().into_iter()));
        let is_root = |pid: &u32| self.roots.iter().any(|it| it.pid == *pid);
        let candidates = candidates.into_iter().filter(|pid| !is_root(pid));
        self.workers = self.holders.among(diag, candidates)?.into_iter().collect();
        let vitals = vitals(self.roots.iter().chain(&self.workers).copied());
        let is_of_before = |(process, _): &(Identity, Vitals)| before.contains(process);
        let is_restarted = !vitals.iter().any(is_of_before);
        Ok(self.alive(vitals, is_restarted, Vec::new()))
    }

    /// What a look shows that found these alive.
    fn alive(
        &self,
        mut processes: Vec<(Identity, Vitals)>,
        is_restarted: bool,
        ended: Vec<Identity>,
    ) -> Look {
        if processes.is_empty() {
            return Look::Away;
        }
        self.add_descendants(&mut processes);
        Look::Alive { processes, is_restarted, ended }
    }

    /// Whether the processes of the last look are all still there, descendants aside.
    pub fn is_whole(&self) -> bool {
        self.roots.iter().chain(&self.workers).all(Identity::is_alive)
    }

    /// Appends the descendants of `processes`, when they are watched too.
    fn add_descendants(&self, processes: &mut Vec<(Identity, Vitals)>) {
        if !self.with_tree {
            return;
        }
        let known: Vec<u32> = processes.iter().map(|(it, _)| it.pid).collect();
        let below = process::descendants(known.into_iter());
        processes.extend(vitals(below.into_iter().filter_map(Identity::of)));
    }

    /// The inodes of all sockets that `processes` have open.
    pub fn socket_inodes(processes: impl Iterator<Item = Identity>) -> io::Result<BTreeSet<u32>> {
        let mut inodes = BTreeSet::new();
        for process in processes {
            match process::sockets(process.pid) {
                // It ended in between, which the next look says.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => inodes.extend(found?),
            }
        }
        Ok(inodes)
    }

    /// The name of which it is the only process, and the process.
    pub fn only(&self) -> Option<(&str, Identity)> {
        match (&self.choice, self.roots.as_slice()) {
            (Choice::Only(name), [process]) => Some((name, *process)),
            _ => None,
        }
    }

    /// Whether it is found by the ports that it owns.
    pub fn is_by_port(&self) -> bool {
        matches!(self.choice, Choice::Listening(_))
    }

    /// What to call it in a sentence.
    pub fn label(&self) -> String {
        match &self.choice {
            Choice::Only(name) | Choice::Named(name) => name.clone(),
            Choice::Pids(pids) => match pids.as_slice() {
                [pid] => format!("process {pid}"),
                pids => format!("processes {}", text::listed(pids)),
            },
            Choice::Listening(ports) => {
                format!("the server on {}", text::ports_listed(ports.iter().copied()))
            }
        }
    }

    /// The processes in a sentence, with their names.
    pub fn listed(&self) -> String {
        listed(self.roots.iter().chain(&self.workers).copied())
    }
}

/// The listening addresses of `ports` on every address.
fn addrs(ports: &BTreeSet<u16>) -> BTreeSet<ListenAddr> {
    ports.iter().flat_map(|port| ListenAddr::on_port(*port)).collect()
}

/// Those of `processes` that are alive, with their vitals.
fn vitals(processes: impl IntoIterator<Item = Identity>) -> Vec<(Identity, Vitals)> {
    processes.into_iter().filter_map(|it| Some((it, it.vitals()?))).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_pid_that_somebody_else_has_now_has_ended() {
        let mut diag = SockDiag::open().unwrap();
        let own = std::process::id();
        let mut target = Target::find(Choice::Pids(vec![own]), false, &mut diag).unwrap();
        assert!(matches!(target.look(&mut diag).unwrap(), Look::Alive { .. }));
        // As if the one that was watched had been started at another time.
        target.roots[0] = Identity::of(1).map(|it| it.with_pid(own)).unwrap();
        assert_eq!(target.look(&mut diag).unwrap(), Look::Ended);
    }

    #[test]
    fn a_pid_without_a_process_is_an_error() {
        let mut diag = SockDiag::open().unwrap();
        let found = Target::find(Choice::Pids(vec![u32::MAX]), false, &mut diag);
        assert_eq!(found.unwrap_err().to_string(), format!("no process {}", u32::MAX));
    }

    #[test]
    fn the_owner_of_a_port_is_found_and_a_port_without_one_is_an_error() {
        let mut diag = SockDiag::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let choice = Choice::Listening([address.port()].into());
        let mut target = Target::find(choice.clone(), false, &mut diag).unwrap();
        let own = Identity::of(std::process::id()).unwrap();
        assert_eq!(target.roots, [own]);
        let Look::Alive { processes, is_restarted, .. } = target.look(&mut diag).unwrap() else {
            panic!("it is there");
        };
        assert_eq!((processes[0].0, is_restarted), (own, false));
        drop(listener);
        let error = Target::find(choice, false, &mut diag).unwrap_err();
        let said = format!("nobody listens on port {}; start the server first", address.port());
        assert!(error.to_string().starts_with(&said), "{error}");
    }
}
