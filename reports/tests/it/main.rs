//! The workspace's promises about itself, and the rig as people start it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and says what it skips"
)]

mod bent;
mod compare;
mod extremes;
mod fixture;
mod format;
mod hdr_tools;
mod page;
mod rig;
mod run_folder;
mod tidy;
