//! The workspace's promises about itself, and the rig as people start it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and says what it skips"
)]

mod about;
mod abuse;
mod architecture;
mod compare;
mod examples;
mod faults;
mod friends;
mod hosts;
mod guides;
mod imports;
mod installed;
mod pages;
mod readme;
mod rig;
mod scenario;
mod tidy;
