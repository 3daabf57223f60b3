//! Warns where what is watched is not what holds the connections.
//!
//! Connections are counted by port, and memory by process. A supervisor whose workers take the
//! connections stays as small as it was, and a port that another process owns says nothing about
//! the one that is watched: such a log is wrong without a word.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use crate::clock::Seldom;
use crate::holders::{Holders, Owners, listed};
use crate::process::{self, Identity};
use crate::sockets::{ListenAddr, SockDiag};
use crate::text;

/// Warnings that are given at once. A server that forks for each connection has other children all
/// the time.
const WARNINGS_AT_ONCE: u32 = 10;

/// Warnings beyond these are this far apart at least.
const WARNINGS_APART: Duration = Duration::from_mins(10);

/// Looks for those who hold the connections and are not watched.
#[derive(Debug)]
pub struct Guard {
    /// Who holds the ports.
    holders: Holders,
    /// Who has the listening sockets open.
    owners: Owners,
    /// Who was watched at the last look.
    watched: BTreeSet<Identity>,
    /// What the last look found.
    found: Found,
    /// What has been warned of.
    warned: Found,
    /// Spreads warnings.
    seldom: Seldom,
}

/// Who holds the ports and is not watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Found {
    /// Descendants of watched processes.
    children: BTreeSet<Identity>,
    /// Other processes.
    others: BTreeSet<Identity>,
    /// Ports of which nobody can be seen who has them.
    unseen: BTreeSet<u16>,
}

impl Found {
    /// What is in both.
    fn and(&self, other: &Self) -> Self {
        Self {
            children: &self.children & &other.children,
            others: &self.others & &other.others,
            unseen: &self.unseen & &other.unseen,
        }
    }

    /// Whether all of it is in `other`.
    fn is_in(&self, other: &Self) -> bool {
        self.and(other) == *self
    }
}

/// One that has not looked yet.
impl Default for Guard {
    fn default() -> Self {
        Self {
            holders: Holders::default(),
            owners: Owners::new(),
            watched: BTreeSet::new(),
            found: Found::default(),
            warned: Found::default(),
            seldom: Seldom::new(WARNINGS_AT_ONCE, WARNINGS_APART),
        }
    }
}

impl Guard {
    /// Looks who holds `addrs` beside those who are `watched`. A warning if it was so at the look
    /// before, too, and has not been said: what is over by then is no reason for one.
    pub fn look(
        &mut self,
        diag: &mut SockDiag,
        addrs: &BTreeSet<ListenAddr>,
        watched: BTreeSet<Identity>,
    ) -> io::Result<Option<String>> {
        self.holders.refresh(diag, addrs)?;
        if !watched.is_subset(&self.watched) {
            self.holders.expect_change();
        }
        self.watched = watched;
        if let Some(owners) = self.holders.owners() {
            self.owners = owners;
        }
        let now = self.find(diag)?;
        let lasting = now.and(&self.found);
        self.found = now;
        if lasting.is_in(&self.warned) {
            self.warned = lasting;
            return Ok(None);
        }
        if !self.seldom.is_now() {
            return Ok(None);
        }
        let warning = self.warning(&lasting, addrs);
        self.warned = lasting;
        Ok(Some(warning))
    }

    /// Who holds the ports and is not watched.
    fn find(&mut self, diag: &mut SockDiag) -> io::Result<Found> {
        let below = process::descendants(self.watched.iter().map(|it| it.pid));
        let is_watched = |pid: u32| self.watched.iter().any(|it| it.pid == pid);
        let unwatched: BTreeSet<u32> = below.into_iter().filter(|pid| !is_watched(*pid)).collect();
        let mut children = self.holders.among(diag, unwatched.iter().copied())?;
        let mut others = BTreeSet::new();
        self.owners.retain(|process, _| process.is_alive());
        for owner in self.owners.keys().filter(|it| !self.watched.contains(it)) {
            if unwatched.contains(&owner.pid) {
                children.insert(*owner);
            } else {
                others.insert(*owner);
            }
        }
        let mut unseen = BTreeSet::new();
        if self.holders.is_settled() {
            let is_seen = |inode: &u32| self.owners.values().any(|own| own.contains(inode));
            let nobodys = self.holders.listening().iter().filter(|(inode, _)| !is_seen(inode));
            unseen.extend(nobodys.map(|(_, port)| *port));
        }
        Ok(Found { children, others, unseen })
    }

    /// What to say of those that were `found`.
    fn warning(&self, found: &Found, addrs: &BTreeSet<ListenAddr>) -> String {
        let ports: BTreeSet<u16> = addrs.iter().map(|addr| addr.port).collect();
        let flags: Vec<String> = ports.iter().map(u16::to_string).collect();
        let ports = text::ports_listed(ports.iter().copied());
        let also =
            if self.owners.keys().any(|it| self.watched.contains(it)) { "also " } else { "" };
        let mut who = Vec::new();
        if !found.children.is_empty() {
            let watched = listed(self.watched.iter().copied());
            who.push(format!(
                "{}, children of the watched {watched}",
                listed(found.children.iter().copied())
            ));
        }
        if !found.others.is_empty() {
            who.push(listed(found.others.iter().copied()));
        }
        if !found.unseen.is_empty() {
            who.push("a process that this user may not see (run as root)".to_owned());
        }
        let fix = flags.join(",");
        format!(
            "warning: {ports} or connections on it are {also}held by {}: connections there are \
             counted, that memory is not; --listen {fix} watches all that hold them",
            who.join(", and by ")
        )
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_stranger_is_warned_of_at_the_second_look_and_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let addrs = ListenAddr::on_port(port).into();
        let mut diag = SockDiag::open().unwrap();
        let own = Identity::of(std::process::id()).unwrap();
        // Not one of the descendants of this process, and one that lasts.
        let other = Identity::of(1).unwrap();
        let mut look = |guard: &mut Guard, watched: Identity| {
            guard.look(&mut diag, &addrs, [watched].into()).unwrap()
        };
        let mut guard = Guard::default();
        assert_eq!(look(&mut guard, own), None);
        assert_eq!(look(&mut guard, own), None, "its own port");
        let mut guard = Guard::default();
        assert_eq!(look(&mut guard, other), None, "it may be over the next time");
        let warning = look(&mut guard, other).unwrap();
        for word in [format!("{} (", own.pid), format!("--listen {port} ")] {
            assert!(warning.contains(&word), "{word:?} is not in {warning:?}");
        }
        assert_eq!(look(&mut guard, other), None, "it has been said");
    }
}
