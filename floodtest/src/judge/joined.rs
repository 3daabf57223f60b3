//! What one sender's file adds to the figures.

use std::collections::HashMap;
use std::path::PathBuf;

use reports::stamp::Sender;
use serde::{Deserialize, Serialize};

/// What one sender's file adds to the figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Joined {
    /// The file.
    pub(crate) path: PathBuf,
    /// Who sent; `None` if the file cannot be read.
    pub(crate) sender: Option<Sender>,
    /// Why the file cannot be read.
    pub(crate) problem: Option<String>,
    /// Whether messages to one id were sent without waiting for each other.
    pub(crate) is_unordered: bool,
    /// Whether it says when the sender ended.
    pub(crate) has_end: bool,
    /// Messages before the first and after the last that came, which were answered: lost ones.
    pub(crate) lost: u64,
    /// Messages that seemed lost and failed or were never answered.
    pub(crate) not_lost: u64,
    /// Messages after the last that came to a place that had another connection since: lost in a
    /// gap.
    pub(crate) in_gaps: u64,
    /// Messages that seemed lost in a gap and failed or were never answered.
    pub(crate) not_in_gaps: u64,
    /// Messages that are missing and were never answered.
    pub(crate) unanswered_missing: u64,
    /// Connections that messages were sent to.
    pub(crate) n_expected: u64,
    /// Of these, those whose beginning was judged.
    pub(crate) n_beginning: u64,
    /// Those whose end was judged.
    pub(crate) n_end: u64,
    /// Those that came after the first message was due.
    pub(crate) n_late: u64,
    /// Connections whose ids are not known.
    pub(crate) n_without_ids: u64,
    /// Whether there were more gaps than can be remembered.
    pub(crate) has_more_gaps: bool,
    /// What is missing on each connection, beyond what its row knows.
    #[serde(skip)]
    pub(crate) by_row: HashMap<u32, u64>,
}

impl Joined {
    /// Adds what another process found for the same file.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.sender = self.sender.or(other.sender);
        self.problem = self.problem.take().or_else(|| other.problem.clone());
        self.is_unordered |= other.is_unordered;
        self.has_end |= other.has_end;
        self.has_more_gaps |= other.has_more_gaps;
        self.lost += other.lost;
        self.not_lost += other.not_lost;
        self.in_gaps += other.in_gaps;
        self.not_in_gaps += other.not_in_gaps;
        self.unanswered_missing += other.unanswered_missing;
        self.n_expected += other.n_expected;
        self.n_beginning += other.n_beginning;
        self.n_end += other.n_end;
        self.n_late += other.n_late;
        self.n_without_ids += other.n_without_ids;
    }
}
