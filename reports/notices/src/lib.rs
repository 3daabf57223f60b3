//! The licences of all that the programs are built from.
//!
//! - [`packages`]: what cargo knows of the packages, without a network.
//! - [`licence`]: which licences are allowed, and what a package says about its own.
//! - [`texts`]: the notices that a package of binaries must carry.

pub mod licence;
pub mod packages;
pub mod texts;
