//! Streams that end, and what is measured of each: the time to its first item, the gaps between its
//! items, the time to its end, and whether it was as it should be.
//!
//! Nothing here runs unless a flag asks for it. Then each row has [`pacing::Pacing`]'s 12 bytes
//! beside it, in a table of their own.
//!
//! - `args`: the flags
//! - `plan`: what they ask for
//! - `field`: the number that `--count` takes from an item
//! - `goodput`: what `--goodput` asks of each stream
//! - `pacing`: what is kept of each stream while it goes on
//! - `counts`: what is counted and measured over all of them
//! - `summary`: how that is reported

pub mod args;
pub(crate) mod counts;
pub mod field;
pub mod goodput;
pub(crate) mod pacing;
pub mod plan;
pub(crate) mod summary;
