//! Who follows whom in a scenario: the section `[friends]`.

use super::table::Section;

/// The keys of `[friends]`.
const KEYS: [&str; 4] = ["follows", "seed", "shape", "users"];

/// How many a user follows, unless the scenario says otherwise: as in the article.
const FOLLOWS: u64 = 15;

/// The seed of the graph, so that runs can be compared.
const SEED: u64 = 1;

/// A graph that msggen is to write: what it may be is msggen's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Friends {
    /// Users.
    pub(crate) users: u64,
    /// How many each follows.
    pub(crate) follows: u64,
    /// How they choose whom.
    pub(crate) shape: String,
    /// What that follows from.
    pub(crate) seed: u64,
}

impl Friends {
    /// What a section asks for.
    pub(super) fn of(mut section: Section) -> anyhow::Result<Self> {
        let Some(users) = section.count("users")? else {
            return Err(section.error("it has no users: how many there are"));
        };
        let follows = section.count("follows")?.unwrap_or(FOLLOWS);
        let shape = section.text("shape")?.unwrap_or_else(|| "ba".to_owned());
        let seed = section.count("seed")?.unwrap_or(SEED);
        section.finish(&KEYS)?;
        Ok(Self { users, follows, shape, seed })
    }
}
