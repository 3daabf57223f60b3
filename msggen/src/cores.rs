//! How much of a core this process had, and how long it waited for one.
//!
//! A tool that shares its core with somebody else is late for a reason that no server has. The
//! kernel keeps the account: for each thread how long it ran, and how long it was ready to run and
//! had no core, the *run-queue wait* (`/proc/self/task/TID/schedstat`;
//! Documentation/scheduler/sched-stats.rst).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// The shortest time that a share of a core is told of. The kernel gives a core away for some
/// milliseconds at a time, so that a share of less says who was lucky.
pub const SHORTEST_WINDOW: Duration = Duration::from_secs(1);

/// What the kernel says of a thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Account {
    /// How long it ran, in ns.
    ran_ns: u64,
    /// How long it was ready to run and had no core, in ns.
    waited_ns: u64,
}

impl Account {
    /// Reads `ran waited turns`, as in `schedstat`. How often it got a core says nothing here.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_ascii_whitespace().map(|field| field.parse().ok());
        let mut next = || fields.next().flatten();
        Some(Self { ran_ns: next()?, waited_ns: next()? })
    }

    /// What was added since `before`.
    fn since(self, before: Self) -> Self {
        Self {
            ran_ns: self.ran_ns.saturating_sub(before.ran_ns),
            waited_ns: self.waited_ns.saturating_sub(before.waited_ns),
        }
    }
}

/// The accounts of all threads of this process by their numbers. A thread that ends meanwhile is
/// left out.
fn accounts() -> io::Result<BTreeMap<u32, Account>> {
    let mut accounts = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/task")? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let account = fs::read_to_string(entry.path().join("schedstat"));
        let account = account.ok().and_then(|text| Account::parse(&text));
        accounts.extend(number.zip(account));
    }
    Ok(accounts)
}

/// What the busiest thread had of its core in some time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Share {
    /// The share of the time in which it ran, from 0 to 1.
    pub ran: f64,
    /// The share of the time in which it was ready to run and had no core, from 0 to 1.
    pub waited: f64,
}

/// The share of the busiest of the threads `now`, of what was added since `before`, in `time`.
fn busiest(
    now: &BTreeMap<u32, Account>,
    before: &BTreeMap<u32, Account>,
    time: Duration,
) -> Option<Share> {
    let added = |(number, account): (&u32, &Account)| {
        account.since(before.get(number).copied().unwrap_or_default())
    };
    let busiest = now.iter().map(added).max_by_key(|account| account.ran_ns + account.waited_ns)?;
    // The kernel's clock and ours are not read at the same moment.
    let share = |ns: u64| (ns as f64 / 1e9 / time.as_secs_f64()).min(1.0);
    Some(Share { ran: share(busiest.ran_ns), waited: share(busiest.waited_ns) })
}

/// What this process has of its cores since it was begun to be watched.
///
/// A look reads a small file for each thread, some 20 µs in all, so it is for once a second and not
/// for every message.
#[derive(Debug)]
pub struct Cores {
    /// When watching began, and the accounts then.
    begun: (Instant, BTreeMap<u32, Account>),
    /// The same of the last look that ended a window.
    last: (Instant, BTreeMap<u32, Account>),
    /// The busiest thread's share of all the time; none before a window has ended, or where the
    /// kernel keeps no such account.
    whole: Option<Share>,
    /// The highest share that a thread had in any window.
    highest: Option<f64>,
}

impl Cores {
    /// Begins to watch.
    pub fn watch() -> Self {
        // Where there is no account, as in a kernel without it, nothing is known.
        let begun = (Instant::now(), accounts().unwrap_or_default());
        Self { last: begun.clone(), begun, whole: None, highest: None }
    }

    /// Looks, if that ends a window.
    pub fn look(&mut self) {
        let now = Instant::now();
        let window = now.saturating_duration_since(self.last.0);
        if window < SHORTEST_WINDOW {
            return;
        }
        let accounts = accounts().unwrap_or_default();
        let all = now.saturating_duration_since(self.begun.0);
        self.whole = busiest(&accounts, &self.begun.1, all);
        let ran = busiest(&accounts, &self.last.1, window).map(|share| share.ran);
        self.highest = ran.into_iter().chain(self.highest).reduce(f64::max);
        self.last = (now, accounts);
    }

    /// The busiest thread's share from the beginning to the last look.
    pub fn whole(&self) -> Option<Share> {
        self.whole
    }

    /// The highest share that a thread had of a core between two looks.
    pub fn highest(&self) -> Option<f64> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_as_the_kernel_writes_it() {
        let account = Account { ran_ns: 320_421, waited_ns: 4_077_084 };
        assert_eq!(Account::parse("320421 4077084 2\n"), Some(account));
        assert_eq!([Account::parse(""), Account::parse("1"), Account::parse("a 1 2")], [None; 3]);
    }

    #[test]
    fn the_busiest_thread_counts_and_only_what_is_new() {
        let account = |ran_ms: u64, waited_ms: u64| Account {
            ran_ns: ran_ms * 1_000_000,
            waited_ns: waited_ms * 1_000_000,
        };
        let before = BTreeMap::from([(1, account(5_000, 0)), (2, account(0, 0))]);
        let mut now = BTreeMap::from([(1, account(5_600, 0)), (2, account(500, 250))]);
        // One that waits for a core is as busy as one that has it.
        let share = Share { ran: 0.25, waited: 0.125 };
        assert_eq!(busiest(&now, &before, Duration::from_secs(2)), Some(share));
        // One that began meanwhile has run since then only.
        now.insert(3, account(1_000, 0));
        let share = Share { ran: 0.5, waited: 0.0 };
        assert_eq!(busiest(&now, &before, Duration::from_secs(2)), Some(share));
        assert_eq!(busiest(&BTreeMap::new(), &before, Duration::from_secs(2)), None);
    }

    #[test]
    fn this_process_has_an_account() {
        let accounts = accounts().unwrap();
        if accounts.is_empty() {
            return testing::skip("schedstat");
        }
        assert!(accounts.values().any(|account| account.ran_ns > 0), "{accounts:?}");
    }
}
