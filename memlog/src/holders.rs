//! Who holds ports: the processes that have the listening sockets open, and those of their
//! descendants that take connections from them.
//!
//! To find them descriptors must be walked, those of every process on the machine for the listening
//! sockets. So this is done at the start and after a change, and a change is noticed by what costs
//! next to nothing: with every sample the kernel is asked for the inodes of the listening sockets,
//! and each thread of the processes for its children. A process that is new is looked into when it
//! appears.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use crate::clock::uptime;
use crate::process::{self, Identity};
use crate::sockets::{ListenAddr, SockDiag};
use crate::text;

/// How many times as long as a walk took there is none after it: walks take up to 1 % of one core,
/// even where the listening sockets change all the time, or belong to nobody who can be seen.
const WALK_APART: u32 = 100;

/// A process that takes every listening socket first, and gives it to the server that it starts. It
/// keeps them open, and has none of their connections.
const SOCKET_ACTIVATOR: &str = "systemd";

/// The listening sockets that each process has open: inodes.
pub type Owners = BTreeMap<Identity, BTreeSet<u32>>;

/// Watches who holds some listening addresses.
#[derive(Debug, Default)]
pub struct Holders {
    /// The listening addresses.
    addrs: BTreeSet<ListenAddr>,
    /// The listening sockets at the last look, each with its port.
    listening: BTreeMap<u32, u16>,
    /// Whether something has changed since the last walk.
    is_walk_due: bool,
    /// When the next walk may be, in time since boot.
    next_walk: Duration,
    /// Descendants that have been looked into.
    seen: BTreeMap<Identity, Seen>,
}

/// What is known of a descendant.
#[derive(Debug, Default)]
struct Seen {
    /// Whether it has a listening socket, or a connection.
    is_holder: bool,
    /// How many looks it has been there for.
    n_looks: u64,
    /// Its descriptors when it was last looked into.
    n_fds: u64,
}

impl Seen {
    /// Whether it has to be looked into now that it has `n_fds`.
    ///
    /// A process that is just being started has what its parent has open, until it becomes another
    /// program: so each is looked into twice. One that holds nothing may be handed connections
    /// later: so it is looked into after 4, 8, 16, … looks, and when it has half as many
    /// descriptors again.
    fn is_due(&self, n_fds: u64) -> bool {
        let has_grown = n_fds > self.n_fds.saturating_add(self.n_fds / 2);
        self.n_looks <= 2 || (!self.is_holder && (self.n_looks.is_power_of_two() || has_grown))
    }
}

impl Holders {
    /// Asks the kernel which sockets listen on `addrs`.
    pub fn refresh(&mut self, diag: &mut SockDiag, addrs: &BTreeSet<ListenAddr>) -> io::Result<()> {
        let listening = diag.listening(addrs)?;
        self.is_walk_due |= listening.keys().any(|inode| !self.listening.contains_key(inode));
        self.listening = listening;
        if self.addrs != *addrs {
            self.addrs.clone_from(addrs);
        }
        Ok(())
    }

    /// The listening sockets, each with its port.
    pub fn listening(&self) -> &BTreeMap<u32, u16> {
        &self.listening
    }

    /// Has the next [`Holders::owners`] walk, although the listening sockets are the same.
    pub fn expect_change(&mut self) {
        self.is_walk_due = true;
    }

    /// Who has the listening sockets open, if something has changed since that was known. `None`
    /// otherwise, and when the last walk was a short time ago: then a later call walks.
    pub fn owners(&mut self) -> Option<Owners> {
        let begun_at = uptime();
        if !self.is_walk_due || begun_at < self.next_walk {
            return None;
        }
        let owners = walk(&self.listening);
        self.is_walk_due = false;
        let ended_at = uptime();
        let took = ended_at.saturating_sub(begun_at);
        self.next_walk = ended_at.saturating_add(took.saturating_mul(WALK_APART));
        Some(owners)
    }

    /// Whether it is known who has the listening sockets.
    pub fn is_settled(&self) -> bool {
        !self.is_walk_due
    }

    /// Those of the processes `pids` that have one of the listening sockets or a connection that
    /// came in there.
    pub fn among(
        &mut self,
        diag: &mut SockDiag,
        pids: impl Iterator<Item = u32>,
    ) -> io::Result<BTreeSet<Identity>> {
        let there: BTreeSet<Identity> = pids.filter_map(Identity::of).collect();
        self.seen.retain(|process, _| there.contains(process));
        let mut sockets: BTreeMap<Identity, BTreeSet<u32>> = BTreeMap::new();
        for process in &there {
            let seen = self.seen.entry(*process).or_default();
            seen.n_looks += 1;
            let n_fds = process.n_fds().unwrap_or_default();
            if !seen.is_due(n_fds) {
                continue;
            }
            (seen.n_fds, seen.is_holder) = (n_fds, false);
            // One that ended, or may not be looked into, has none that can be seen.
            let own = process::sockets(process.pid).unwrap_or_default();
            if own.iter().any(|inode| self.listening.contains_key(inode)) {
                seen.is_holder = true;
            } else if !own.is_empty() {
                sockets.insert(*process, own);
            }
        }
        self.add_connected(diag, &sockets)?;
        let is_holder = |process: &Identity| self.seen.get(process).is_some_and(|it| it.is_holder);
        Ok(there.into_iter().filter(is_holder).collect())
    }

    /// Notes which processes have a connection among their `sockets`.
    fn add_connected(
        &mut self,
        diag: &mut SockDiag,
        sockets: &BTreeMap<Identity, BTreeSet<u32>>,
    ) -> io::Result<()> {
        if sockets.is_empty() {
            return Ok(());
        }
        let all: BTreeSet<u32> = sockets.values().flatten().copied().collect();
        let connections = diag.connections_among(&self.addrs, &all)?;
        for (process, own) in sockets {
            if let Some(seen) = self.seen.get_mut(process) {
                seen.is_holder = own.iter().any(|inode| connections.contains_key(inode));
            }
        }
        Ok(())
    }
}

/// Walks the descriptors of all processes that may be looked into.
fn walk(listening: &BTreeMap<u32, u16>) -> Owners {
    let mut owners = Owners::new();
    if listening.is_empty() {
        return owners;
    }
    for pid in process::pids() {
        let mut own = BTreeSet::new();
        let _ = process::each_socket(pid, |inode| {
            if listening.contains_key(&inode) {
                own.insert(inode);
            }
        });
        if !own.is_empty()
            && let Some(process) = Identity::of(pid)
        {
            owners.insert(process, own);
        }
    }
    let (activators, others): (Owners, Owners) =
        owners.into_iter().partition(|(process, _)| process.name() == SOCKET_ACTIVATOR);
    // Where nobody else has it, a server is started with the first connection.
    if others.is_empty() { activators } else { others }
}

/// Processes in a sentence, those of one name together: `7 and 8 (nginx), 9 (python3)`.
pub fn listed(processes: impl IntoIterator<Item = Identity>) -> String {
    /// More are counted.
    const MOST: usize = 8;
    let mut by_name: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let mut n_more = 0;
    for (at, process) in processes.into_iter().enumerate() {
        if at < MOST {
            by_name.entry(process.name()).or_default().push(process.pid);
        } else {
            n_more += 1;
        }
    }
    let group = |(name, pids): (&String, &Vec<u32>)| format!("{} ({name})", text::listed(pids));
    let mut groups: Vec<String> = by_name.iter().map(group).collect();
    if n_more > 0 {
        groups.push(format!("{n_more} more"));
    }
    groups.join(", ")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn this_process_owns_its_port_and_is_found_by_one_walk() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addrs = ListenAddr::on_port(listener.local_addr().unwrap().port()).into();
        let mut diag = SockDiag::open().unwrap();
        let mut holders = Holders::default();
        holders.refresh(&mut diag, &addrs).unwrap();
        let own = Identity::of(std::process::id()).unwrap();
        assert!(holders.owners().unwrap().contains_key(&own));
        holders.refresh(&mut diag, &addrs).unwrap();
        assert!(holders.is_settled() && holders.owners().is_none(), "nothing has changed");
        holders.expect_change();
        assert!(holders.owners().is_none(), "not so soon after the last one");
        assert!(!holders.is_settled());
    }

    #[test]
    fn one_that_holds_nothing_is_looked_into_seldom_and_when_it_has_grown() {
        let looks = |is_holder, n_fds: fn(u64) -> u64| -> Vec<u64> {
            let mut seen = Seen { is_holder, ..Seen::default() };
            let mut due = Vec::new();
            for n in 1..=20 {
                seen.n_looks = n;
                if seen.is_due(n_fds(n)) {
                    seen.n_fds = n_fds(n);
                    due.push(n);
                }
            }
            due
        };
        assert_eq!(looks(false, |_| 10), [1, 2, 4, 8, 16]);
        assert_eq!(looks(false, |n| if n < 11 { 10 } else { 16 }), [1, 2, 4, 8, 11, 16]);
        assert_eq!(looks(true, |n| n * 100), [1, 2], "those that hold are not walked again");
    }

    #[test]
    fn processes_are_listed_by_name_and_the_rest_is_counted() {
        let own = Identity::of(std::process::id()).unwrap();
        let name = own.name();
        assert_eq!(listed([own]), format!("{} ({name})", own.pid));
        assert!(listed(std::iter::repeat_n(own, 10)).ends_with("), 2 more"));
    }
}
