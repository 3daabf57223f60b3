//! floodtest as its users meet it: the real binary, against small servers that do as scripted.

#![allow(clippy::unwrap_used, reason = "a test fails where something is not as expected")]

mod attacks;
mod endings;
mod followers;
mod frames;
mod hosts;
mod https;
mod input;
mod liar;
mod life;
mod lives;
mod messages;
mod metrics;
mod own;
mod real_server;
mod redirects;
mod redrawn;
mod requests;
mod schema;
mod sent;
mod stall;
mod states;
mod streams;
mod support;
mod terminal;
mod trust;
mod unread;
mod verdict;
mod ways;
mod websockets;
mod workers;
