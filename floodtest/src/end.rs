//! How a run ends, and what the ends of responses mean to it.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What ended a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The signal to stop.
    Stopped,
    /// The time to hold was over.
    Held,
    /// All connections had failed or closed.
    NothingOpen,
    /// All that was dialed was refused, so it gave up early.
    NobodyListens {
        /// Host and port that were dialed first.
        authority: String,
    },
    /// The observer did not want more.
    ObserverLeft,
}

/// What a response means that comes to its proper end before the run does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Ends {
    /// A shortfall: connections are to be held.
    #[default]
    Fault,
    /// Nothing: some end, some do not.
    Ok,
    /// What is to be: a response that has not ended at the end of the run is a shortfall.
    Expected,
}
