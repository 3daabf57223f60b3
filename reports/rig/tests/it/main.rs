//! The workspace's promises about itself, and the rig as people start it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and says what it skips"
)]

mod abuse;
mod compare;
mod examples;
mod faults;
mod friends;
mod guides;
mod imports;
mod installed;
mod readme;
mod rig;
mod runs;
mod scenario;
mod tidy;
