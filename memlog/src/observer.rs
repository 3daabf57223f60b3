//! Who is told about a run while it goes on, and what is told of it at its end.

use reports::memory_log::Sample;

use crate::clock::Now;

/// Who is told about a run while it goes on.
pub trait Observer {
    /// A sample was taken at `now`, and its line is in the log or waits for room on the disk.
    fn sample(&mut self, now: Now, sample: &Sample);

    /// Something worth a line on the terminal, once.
    fn say(&mut self, text: &str);
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Samples taken.
    pub n_samples: u64,
    /// What the run fell short of, a sentence each.
    pub shortfalls: Vec<String>,
}
