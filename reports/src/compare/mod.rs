//! Runs on two sides: whether they differ, and by more than may be.
//!
//! - [`figures`]: every figure by name, and where it comes from.
//! - [`ranks`]: what a few runs a side can show.
//! - [`difference`]: what the runs show of one figure.
//! - [`condition`]: `--fail-if`, and what came of it.

pub mod condition;
pub mod difference;
pub mod figures;
pub mod ranks;
