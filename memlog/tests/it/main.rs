//! The program against real processes with real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::exit,
    clippy::print_stdout,
    reason = "a test may panic, and says what it skips"
)]

mod alone;
mod bad_input;
mod charts;
mod faults;
mod holders;
mod hosts;
mod recording;
mod support;
mod unread;
