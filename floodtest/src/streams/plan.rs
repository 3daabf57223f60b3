//! What is asked about streams that end.

use serde::{Deserialize, Serialize};

use super::field::Field;
use super::goodput::Goodput;

/// What is measured of streams, and what is asked of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPlan {
    /// Whether first items, gaps and ends are measured.
    pub is_measured: bool,
    /// The item that ends a stream properly, without space around it.
    pub done: Option<String>,
    /// The field whose numbers are added up.
    pub count: Option<Field>,
    /// What a stream must be like to count as good.
    pub goodput: Option<Goodput>,
}

impl StreamPlan {
    /// Whether items are looked into, so that each is needed whole.
    pub(crate) fn wants_text(&self) -> bool {
        self.done.is_some() || self.count.is_some()
    }

    /// Whether something is known of streams beside the times that are measured.
    pub(crate) fn asks_something(&self) -> bool {
        self.wants_text() || self.goodput.is_some()
    }
}
