//! How many messages each id was sent so far, and who is sending to it: one word of memory an id.
//!
//! Where ids are 1..=max and not too many, the words stand side by side, and the kernel gives
//! memory only for those that are touched. Otherwise a hash table holds those that were sent to.

use std::fmt;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry as MapEntry;

use crate::ids::Population;

/// The highest id whose word stands at its own place: 8 bytes an id, 128 MiB for all of them.
/// Above it a table holds the ids that were sent to.
pub const DENSE_IDS: u64 = 16 * 1024 * 1024;

/// The most ids in the table: as many as fit into 2²⁴ places of 17 bytes, 7/8 of them. An id costs
/// 20 to 39 bytes, and all of them 272 MiB. A message to yet another id fails: without a number a
/// receiver could not tell whether it is missing.
pub const TABLE_IDS: usize = 14_680_064;

/// Bits of a word for who sends to an id: one more than the most sources.
const CLAIM_BITS: u32 = 20;

/// The bit of a word that says whether somebody waits for the id.
const CONTENDED: u64 = 1 << CLAIM_BITS;

/// Where the number begins in a word.
const NUMBER_SHIFT: u32 = CLAIM_BITS + 1;

/// The highest number of a message to an id, 2⁴³−1: a million a second for a hundred days.
pub const HIGHEST_NUMBER: u64 = (1 << (u64::BITS - NUMBER_SHIFT)) - 1;

/// The highest claim.
pub const HIGHEST_CLAIM: u64 = (1 << CLAIM_BITS) - 1;

/// What is known of an id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Word(u64);

impl Word {
    /// The number of the last message that was sent to it; 0 if none was.
    pub fn number(self) -> u64 {
        self.0 >> NUMBER_SHIFT
    }

    /// Who sends to it, or how many messages are on their way; 0 if none is.
    pub fn claim(self) -> u64 {
        self.0 & HIGHEST_CLAIM
    }

    /// Whether somebody waits for the next place.
    pub fn is_contended(self) -> bool {
        self.0 & CONTENDED != 0
    }

    /// The same with the next number. Panics beyond the highest: a run is not begun with more
    /// messages than that.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1 << NUMBER_SHIFT).expect("no run has that many messages"))
    }

    /// The same with another claim.
    #[must_use]
    pub fn with_claim(self, claim: u64) -> Self {
        assert!(claim <= HIGHEST_CLAIM, "there are no more sources than claims");
        Self(self.0 & !HIGHEST_CLAIM | claim)
    }

    /// The same with or without somebody who waits.
    #[must_use]
    pub fn with_contended(self, is_contended: bool) -> Self {
        Self(if is_contended { self.0 | CONTENDED } else { self.0 & !CONTENDED })
    }
}

/// The words of all ids.
pub enum Table {
    /// The word of id n is at place n.
    Dense(Vec<u64>),
    /// The words of the ids that were sent to, and how many there may be.
    Sparse(HashMap<u64, u64, RandomState>, usize),
}

impl Table {
    /// A table for the ids of `population`.
    pub fn new(population: &Population) -> Self {
        let (highest, n_ids) = (population.highest(), population.n_ids());
        // A few ids far apart would each touch a page of 4 KiB.
        let is_dense = highest <= DENSE_IDS && highest / 4 <= n_ids;
        if is_dense {
            let length = usize::try_from(highest).expect("it is small") + 1;
            // Zeros that the kernel provides: a page that is never touched costs nothing.
            Self::Dense(vec![0; length])
        } else {
            Self::Sparse(HashMap::default(), TABLE_IDS)
        }
    }

    /// The word of an id.
    pub fn get(&self, id: u64) -> Word {
        let word = match self {
            Self::Dense(words) => words.get(place(id)).copied(),
            Self::Sparse(words, _) => words.get(&id).copied(),
        };
        Word(word.unwrap_or_default())
    }

    /// Whether there is room for the word of an id.
    pub fn has_room(&self, id: u64) -> bool {
        match self {
            Self::Dense(words) => place(id) < words.len(),
            Self::Sparse(words, most) => words.len() < *most || words.contains_key(&id),
        }
    }

    /// Changes the word of an id for which there is room.
    pub fn set(&mut self, id: u64, word: Word) {
        match self {
            Self::Dense(words) => words[place(id)] = word.0,
            Self::Sparse(words, _) => match words.entry(id) {
                MapEntry::Occupied(mut old) => _ = old.insert(word.0),
                MapEntry::Vacant(place) => _ = place.insert(word.0),
            },
        }
    }

    /// Every id that a message was numbered for, with the highest number.
    pub fn each(&self) -> impl Iterator<Item = (u64, u64)> {
        let (dense, sparse) = match self {
            Self::Dense(words) => (Some(words), None),
            Self::Sparse(words, _) => (None, Some(words)),
        };
        let dense = dense.into_iter().flatten().zip(0_u64..).map(|(word, id)| (id, *word));
        let sparse = sparse.into_iter().flatten().map(|(id, word)| (*id, *word));
        dense
            .chain(sparse)
            .map(|(id, word)| (id, Word(word).number()))
            .filter(|(_, number)| *number > 0)
    }

    /// Bytes that it takes, those of untouched pages included.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Dense(words) => words.capacity() * size_of::<u64>(),
            Self::Sparse(words, _) => words.allocation_size(),
        }
    }
}

/// Its kind and its size; the words would fill the screen.
impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self, Self::Dense(_)) { "dense" } else { "sparse" };
        write!(f, "a {kind} table of {} bytes", self.bytes())
    }
}

/// The place of an id among those that stand side by side.
fn place(id: u64) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_word_holds_a_number_a_way_and_whether_somebody_waits() {
        let word = Word::default().with_claim(HIGHEST_CLAIM).next().with_contended(true).next();
        assert_eq!((word.number(), word.claim(), word.is_contended()), (2, HIGHEST_CLAIM, true));
        let word = word.with_claim(0).with_contended(false);
        assert_eq!((word.number(), word.claim(), word.is_contended()), (2, 0, false));
        let highest = Word(u64::MAX);
        assert_eq!(highest.number(), HIGHEST_NUMBER);
    }

    #[test]
    fn sixteen_million_ids_take_eight_bytes_each_and_one_more_takes_a_table() {
        let dense = Table::new(&Population::UpTo(DENSE_IDS));
        assert_eq!(dense.bytes() as u64, 8 * (DENSE_IDS + 1));
        assert!(dense.has_room(1) && dense.has_room(DENSE_IDS));
        let sparse = Table::new(&Population::UpTo(DENSE_IDS + 1));
        assert!(sparse.bytes() < 1_000 && sparse.has_room(u64::MAX));
    }

    #[test]
    fn an_id_in_the_table_takes_less_than_forty_bytes() {
        let mut sparse = Table::new(&Population::UpTo(u64::MAX >> 1));
        for id in 1..=100_000_u64 {
            sparse.set(id.wrapping_mul(0x9E37_79B9_7F4A_7C15), Word::default().next());
            let n = usize::try_from(id).unwrap();
            assert!(n < 1_000 || sparse.bytes() / n < 40, "{} for {n}", sparse.bytes());
        }
    }

    #[test]
    fn a_few_listed_ids_far_apart_take_a_table_and_many_near_each_other_do_not() {
        let listed = |ids: &[u64]| Table::new(&Population::Listed(Arc::from(ids)));
        assert!(matches!(listed(&[7, 1_000_000]), Table::Sparse(..)));
        assert!(matches!(listed(&[3, 2, 8]), Table::Dense(_)));
    }

    #[test]
    fn ids_that_were_sent_to_are_listed_with_their_highest_number() {
        for population in [Population::UpTo(9), Population::UpTo(1 << 40)] {
            let mut table = Table::new(&population);
            table.set(3, table.get(3).next().next());
            table.set(9, table.get(9).next());
            table.set(4, table.get(4).with_claim(7));
            let mut each: Vec<_> = table.each().collect();
            each.sort_unstable();
            assert_eq!(each, [(3, 2), (9, 1)]);
        }
    }
}
