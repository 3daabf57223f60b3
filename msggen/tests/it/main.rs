//! The real `msggen`, run against small control doors that answer, stall, refuse and die on cue.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod announced;
mod bad_input;
mod encoders;
mod ending;
mod foreign;
mod friends;
mod https;
mod library;
mod lies;
mod limit;
mod metrics;
mod nchan;
mod numbering;
mod outage;
mod real_server;
mod sent;
mod sockets;
mod support;
mod timing;
mod totals;
mod unread;
mod websocket;
mod wire;
