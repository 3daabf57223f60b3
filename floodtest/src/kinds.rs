//! What established responses consist of, by their media types.

use reports::books::ByReason;
use serde::{Deserialize, Serialize};

/// Kinds of content that are counted by name. Servers choose the names, and each costs memory.
const MAX_KINDS: usize = 20;

/// Established connections by their media type. There are few, so that they are searched in order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kinds(Vec<(String, u64)>);

impl Kinds {
    /// Counts `n` responses of this media type; an empty one is malformed or too long.
    pub(crate) fn count(&mut self, kind: &str, n: u64) {
        let kind = if kind.is_empty() { "other" } else { kind };
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| known == kind) {
            *count += n;
        } else if self.0.len() < MAX_KINDS || kind == "other" {
            self.0.push((kind.to_owned(), n));
        } else {
            self.count("other", n);
        }
    }

    /// Takes in the counts of another process.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(kind, n)| self.count(kind, *n));
    }

    /// The counts under their names.
    pub(crate) fn by_name(&self) -> ByReason {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_make_more_names_than_there_is_room_for() {
        let (mut one, mut other) = (Kinds::default(), Kinds::default());
        for n in 0..100 {
            one.count(&format!("x/{n}"), 1);
            other.count(&format!("y/{n}"), 1);
        }
        one.count("", 1);
        one.merge(&other);
        let counts = one.by_name();
        assert_eq!((counts.len(), counts["other"]), (MAX_KINDS + 1, 181));
        assert_eq!(counts.values().sum::<u64>(), 201);
    }
}
