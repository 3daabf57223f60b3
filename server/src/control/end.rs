//! Why no more of a request's lines are taken, and how that is answered.

use super::head::{Ask, Denial};
use crate::answer::{BAD_REQUEST, UNAVAILABLE};

/// Why no more of a request's lines are taken.
#[derive(Debug)]
pub(super) enum End {
    /// A line is bad.
    Bad(String),
    /// The body broke off.
    BrokenOff(Denial),
    /// Some were not done: the store or the cluster did not take them.
    NotDone(String),
}

impl End {
    /// The status of the answer to `ask`, and what it says of the end.
    pub(super) fn answer(self, ask: &mut Ask) -> (&'static str, String) {
        match self {
            Self::Bad(why) => (BAD_REQUEST, why),
            Self::BrokenOff(denial) => {
                ask.frame.keeps = false;
                (denial.status, denial.why.into_owned())
            }
            Self::NotDone(why) => (UNAVAILABLE, why),
        }
    }
}
