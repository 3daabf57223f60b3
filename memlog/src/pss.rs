//! The PSS of the watched processes, read so seldom and so carefully that it holds nobody up.
//!
//! The kernel walks all mappings of a process for it: about 20 ms for each GiB. A process that
//! needs more memory meanwhile waits for the end of that.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use reports::memory_log::NoPss;

use crate::process::Identity;

/// From one reading to the next, where nothing asks for one.
const READ_EVERY: Duration = Duration::from_mins(10);

/// The most resident memory of a process whose PSS is read. Beyond it already the first reading,
/// before anything is known of how long one takes, would hold it up for 80 ms or more.
const LARGE_KB: u64 = 4 * 1024 * 1024;

/// A reading that takes longer may have held the process up for so long, as no request should be.
const SLOW: Duration = Duration::from_millis(20);

/// How long a process is left alone after a slow reading. It may have been slow by chance, on a
/// busy machine: one in an hour still disturbs nobody.
const SLOW_AGAIN_AFTER: Duration = Duration::from_hours(1);

/// Reads PSS.
#[derive(Debug)]
pub struct PssReader {
    /// The most memory of a process that is read, in KB.
    large_kb: u64,
    /// The longest reading that is not slow.
    slow: Duration,
    /// When it was read last, or would have been, in time since boot.
    read_at: Option<Duration>,
    /// The processes whose last reading was slow, and when that was.
    slow_at: BTreeMap<Identity, Duration>,
    /// Reasons for leaving it out that have been said.
    said: BTreeSet<NoPss>,
}

/// What came of a reading.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pss {
    /// The sum over the processes.
    pub kb: Option<u64>,
    /// Why there is none. `None` without a sum: a process has ended just now.
    pub left_out: Option<NoPss>,
    /// Something to say, once.
    pub notice: Option<String>,
}

/// One that has not read yet.
impl Default for PssReader {
    fn default() -> Self {
        let (slow_at, said) = (BTreeMap::new(), BTreeSet::new());
        Self { large_kb: LARGE_KB, slow: SLOW, read_at: None, slow_at, said }
    }
}

impl PssReader {
    /// Whether it is time to read.
    pub fn is_due(&self, now: Duration) -> bool {
        self.read_at.is_none_or(|read_at| now >= read_at.saturating_add(READ_EVERY))
    }

    /// Reads the PSS of `processes`, each given with its RSS in KB, at the time `now`.
    pub fn read(&mut self, processes: &[(Identity, u64)], now: Duration) -> Pss {
        self.read_at = Some(now);
        self.slow_at.retain(|process, at| {
            let is_watched = processes.iter().any(|(it, _)| it == process);
            is_watched && now < at.saturating_add(SLOW_AGAIN_AFTER)
        });
        if let Some((process, kb)) = processes.iter().find(|(_, kb)| *kb > self.large_kb) {
            let (pid, limit_kb) = (process.pid, self.large_kb);
            return self.left_out(NoPss::Large, || {
                format!("process {pid} has {kb} KB, and reading more than {limit_kb} KB stalls it")
            });
        }
        if !self.slow_at.is_empty() {
            return Pss { left_out: Some(NoPss::Slow), ..Pss::default() };
        }
        let mut sum = Pss { kb: Some(0), ..Pss::default() };
        for (process, _) in processes {
            let begun_at = Instant::now();
            let read = process.pss_kb();
            let took = begun_at.elapsed();
            match read {
                Ok(kb) => sum.kb = sum.kb.map(|sum| sum.saturating_add(kb)),
                Err(error) => return self.failed(process, &error),
            }
            if took > self.slow {
                self.slow_at.insert(*process, now);
                let pid = process.pid;
                let why = || format!("reading that of process {pid} took {took:.0?}");
                // This reading is good all the same; it is the next ones that are left out.
                sum.notice = self.left_out(NoPss::Slow, why).notice.or(sum.notice);
            }
        }
        sum
    }

    /// One could not be read.
    fn failed(&mut self, process: &Identity, error: &io::Error) -> Pss {
        if !process.is_alive() {
            return Pss::default();
        }
        let pid = process.pid;
        self.left_out(NoPss::Denied, || {
            format!("that of process {pid} cannot be read: {error}; run as its user or root")
        })
    }

    /// It is left out, for a reason that is said the first time.
    fn left_out(&mut self, reason: NoPss, why: impl FnOnce() -> String) -> Pss {
        let is_new = self.said.insert(reason);
        let notice = is_new.then(|| format!("PSS is left out, as no_pss= says: {}", why()));
        Pss { kb: None, left_out: Some(reason), notice }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This process, with an RSS.
    fn own(rss_kb: u64) -> [(Identity, u64); 1] {
        [(Identity::of(std::process::id()).unwrap(), rss_kb)]
    }

    /// A reader on a machine that is so busy that nothing is slow.
    fn patient() -> PssReader {
        PssReader { slow: Duration::MAX, ..PssReader::default() }
    }

    #[test]
    fn it_is_read_every_ten_minutes_and_counts_shared_pages_once() {
        let mut reader = patient();
        assert!(reader.is_due(Duration::ZERO));
        let pss = reader.read(&own(1_000), Duration::ZERO);
        assert!(pss.kb.unwrap() > 100 && pss.left_out.is_none(), "{pss:?}");
        assert!(!reader.is_due(Duration::from_mins(9)) && reader.is_due(READ_EVERY));
    }

    #[test]
    fn a_large_process_is_not_read_which_is_said_once() {
        let mut reader = patient();
        let large = own(LARGE_KB + 1);
        let pss = reader.read(&large, Duration::ZERO);
        assert_eq!((pss.kb, pss.left_out), (None, Some(NoPss::Large)));
        assert!(
            pss.notice.unwrap().contains(&format!("process {} has 4194305 KB", large[0].0.pid))
        );
        assert_eq!(reader.read(&large, Duration::ZERO).notice, None);
        assert!(reader.read(&own(LARGE_KB), Duration::ZERO).kb.is_some());
    }

    #[test]
    fn a_slow_reading_is_the_last_one_for_an_hour() {
        let mut reader = PssReader { slow: Duration::ZERO, ..PssReader::default() };
        let first = reader.read(&own(1), Duration::ZERO);
        assert!(first.kb.is_some() && first.notice.unwrap().contains(" took "), "it is read");
        let hour = Duration::from_hours(1);
        let second = reader.read(&own(1), Duration::from_mins(59));
        let left_out = Pss { left_out: Some(NoPss::Slow), ..Pss::default() };
        assert_eq!(second, left_out);
        assert!(reader.read(&own(1), hour).kb.is_some());
    }

    #[test]
    fn one_that_has_ended_is_no_reason() {
        let gone = own(1).map(|(process, kb)| (process.with_pid(u32::MAX), kb));
        assert_eq!(patient().read(&gone, Duration::ZERO), Pss::default());
    }
}
