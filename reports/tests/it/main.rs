//! What the tools write, as other programs read it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and says what it skips"
)]

mod hdr_tools;
mod server_names;
