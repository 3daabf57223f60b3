//! A Comet server whose idle connections cost a row in a table.
//!
//! `GET /test/{id}` opens an endless response or a WebSocket; `POST /send/{id}` at the control door
//! sends a message to every connection that is logged in as that id, as a chunk, event or frame.
//!
//! Read it in this order: [`router`] (the tables, and all that happens to a parked connection),
//! `wire` (sockets and epoll under it), `accept`, `pending`, `request` and `strict` (from a new
//! connection to a parked one), `websocket` (what clients of that kind say), `control` and `send`
//! (from a message to the router), and `serve` (how they are put together and taken down).
//! [`cluster`] joins several servers.
//!
//! There is no task and no buffer for an idle connection: only its row.

mod accept;
mod addresses;
pub mod allocator;
mod answer;
pub mod args;
pub mod close;
pub mod cluster;
mod config;
mod control;
#[cfg(test)]
mod fake_wire;
mod framing;
pub mod friends;
#[cfg(any(test, fuzzing))]
pub mod fuzz_properties;
pub mod limits;
mod lines;
pub mod logging;
mod logout;
#[cfg(test)]
mod malformed;
mod metrics;
#[cfg(test)]
mod model_tests;
mod overload;
mod page;
mod pending;
mod refusal;
mod request;
pub mod router;
mod send;
mod serve;
mod shared;
mod shutdown;
mod stats;
mod strict;
mod sweep;
mod sync;
mod token;
mod websocket;
mod wire;

pub use self::config::Config;
pub use self::control::counts::{ByStatus, ControlStats};
pub use self::serve::{runtime, serve};
pub use self::stats::Stats;
