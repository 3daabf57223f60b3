//! Run folders: read, reported, compared, and refused where they are not what they should be.

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
mod old_runs;
mod page;
mod run_folder;
mod shapes;
mod spread;
