//! Which processes are watched, and whether they are still the same ones.

use std::collections::BTreeSet;
use std::io;

use crate::Error;
use crate::process::{self, Identity, Vitals};

/// What to watch, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The one process of this name.
    Only(String),
    /// All processes of this name, summed.
    Named(String),
    /// These processes, summed.
    Pids(Vec<u32>),
}

/// The watched processes.
#[derive(Debug)]
pub struct Target {
    /// What was asked for.
    choice: Choice,
    /// Whether their descendants are watched too.
    with_tree: bool,
    /// Those found, without descendants.
    roots: Vec<Identity>,
}

/// What one look at the target shows.
#[derive(Debug, PartialEq)]
pub enum Look {
    /// Its processes and their vitals, at least one.
    Alive {
        /// Each process.
        processes: Vec<(u32, Vitals)>,
        /// Whether it is another one than at the look before.
        is_restarted: bool,
        /// Processes of an explicit list that have ended since.
        ended: Vec<u32>,
    },
    /// It is not there now, and may come back.
    Away,
    /// It has ended, and nothing else can have its pid.
    Ended,
}

impl Target {
    /// Finds what was asked for.
    pub fn find(choice: Choice, with_tree: bool) -> Result<Self, Error> {
        let roots = match &choice {
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
        };
        match &choice {
            Choice::Only(name) | Choice::Named(name) if roots.is_empty() => {
                Err(Error::NoneNamed { name: name.clone() })
            }
            _ => Ok(Self { choice, with_tree, roots }),
        }
    }

    /// Looks at it, and for it when it is gone.
    pub fn look(&mut self) -> Look {
        let mut vitals: Vec<(Identity, Vitals)> = self.alive();
        let mut ended = Vec::new();
        let mut is_restarted = false;
        match &self.choice {
            Choice::Pids(_) => {
                let is_alive = |root: &Identity| vitals.iter().any(|(it, _)| it == root);
                ended = self.roots.iter().filter(|it| !is_alive(it)).map(|it| it.pid).collect();
                if vitals.is_empty() {
                    return Look::Ended;
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
            Choice::Only(_) => {}
            Choice::Named(name) => {
                is_restarted = vitals.is_empty();
                self.roots = process::named(name);
                vitals = self.alive();
            }
        }
        if vitals.is_empty() {
            return Look::Away;
        }
        let mut processes: Vec<(u32, Vitals)> =
            vitals.into_iter().map(|(it, vitals)| (it.pid, vitals)).collect();
        self.add_descendants(&mut processes);
        Look::Alive { processes, is_restarted, ended }
    }

    /// Whether the processes of the last look are all still there, descendants aside.
    pub fn is_whole(&self) -> bool {
        self.roots.iter().all(Identity::is_alive)
    }

    /// The roots that are alive.
    fn alive(&self) -> Vec<(Identity, Vitals)> {
        self.roots.iter().filter_map(|it| Some((*it, it.vitals()?))).collect()
    }

    /// Appends the descendants of `processes`, when they are watched too.
    fn add_descendants(&self, processes: &mut Vec<(u32, Vitals)>) {
        if !self.with_tree {
            return;
        }
        let known: Vec<u32> = processes.iter().map(|(pid, _)| *pid).collect();
        for pid in known.into_iter().flat_map(process::descendants) {
            if processes.iter().all(|(known, _)| *known != pid)
                && let Some(vitals) = Identity::of(pid).and_then(|it| it.vitals())
            {
                processes.push((pid, vitals));
            }
        }
    }

    /// The inodes of all sockets that `pids` have open.
    pub fn socket_inodes(pids: impl Iterator<Item = u32>) -> io::Result<BTreeSet<u32>> {
        let mut inodes = BTreeSet::new();
        for pid in pids {
            match process::socket_inodes(pid) {
                // It ended in between, which the next look says.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => inodes.extend(found?),
            }
        }
        Ok(inodes)
    }

    /// What to call it in a sentence.
    pub fn label(&self) -> String {
        match &self.choice {
            Choice::Only(name) | Choice::Named(name) => name.clone(),
            Choice::Pids(pids) => match pids.as_slice() {
                [pid] => format!("process {pid}"),
                pids => format!("processes {}", crate::listed(pids)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_that_somebody_else_has_now_has_ended() {
        let own = std::process::id();
        let mut target = Target::find(Choice::Pids(vec![own]), false).unwrap();
        assert!(matches!(target.look(), Look::Alive { .. }));
        // As if the one that was watched had been started at another time.
        target.roots[0] = Identity::of(1).map(|it| it.with_pid(own)).unwrap();
        assert_eq!(target.look(), Look::Ended);
    }

    #[test]
    fn a_pid_without_a_process_is_an_error() {
        let error = Target::find(Choice::Pids(vec![u32::MAX]), false).unwrap_err();
        assert_eq!(error.to_string(), format!("no process {}", u32::MAX));
    }
}
