//! The server as its users meet it: real binaries, real sockets, bytes on the wire.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod binary;
mod control;
mod limits;
mod stream;
mod support;
