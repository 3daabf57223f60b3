//! Who follows whom: stored in the process, and asked by whoever sends to all followers of a user.
//!
//! Read it in this order: `leaf` (how lists are written down), `recent` (changes that are not in
//! them yet), `store` (both in one file, durable), `threads` (who waits for the disk, so that no
//! delivery does), `load` and `check` (whole stores, from and to text) and `command` (what the
//! command line has of it).

mod check;
pub mod command;
mod leaf;
mod load;
mod number;
mod recent;
mod store;
#[cfg(test)]
mod store_tests;
mod threads;

pub(crate) use self::recent::{Change, Direction};
pub(crate) use self::threads::{Audience, Friends, FriendsError, PAGE_IDS};
pub use self::threads::{FriendsStats, Opened};
