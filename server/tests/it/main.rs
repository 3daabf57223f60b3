//! The server as its users meet it: real binaries, real sockets, bytes on the wire.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "a test may say what it skips")]

mod binary;
mod browser;
mod cluster;
mod control;
mod door;
mod events;
mod friends;
mod limits;
mod log;
mod malformed;
mod page;
mod stream;
mod stress;
mod support;
mod websocket;
mod websocket_clients;
