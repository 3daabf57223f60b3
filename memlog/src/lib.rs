//! Watches a server's memory and connections for days without disturbing it.
//!
//! A sample is two small files of `/proc` and the children of each process, two files of the
//! kernel's, and two questions to the kernel's `sock_diag`; it becomes a line of a log that the
//! article's own tools read.
//!
//! - [`args`]: the command line, checked once into a [`Config`](config::Config).
//! - [`target`]: which processes are watched, across restarts; [`process`]: one of them.
//! - [`holders`]: which processes hold a port; [`guard`]: a warning where they are not watched.
//! - [`provenance`]: which program a name was taken for.
//! - [`pss`]: memory in which shared pages count once, read seldom.
//! - [`sockets`] and [`kernel`]: connections, and what the kernel spends on them.
//! - [`clock`]: absolute due times, and steps of the wall clock.
//! - [`wait`]: due times, marks and signals, whichever comes first.
//! - [`log`]: whole lines, on a full disk and after a kill too.
//! - [`sampler`]: one sample; [`record`]: the run; [`kept`]: its lines; [`observer`]: who is told of
//!   it; [`plot`]: its chart, and those of old logs.
//! - [`host`]: samples that are taken on another host, and kept here.

pub mod args;
pub mod clock;
pub mod config;
pub mod error;
pub mod guard;
pub mod holders;
pub mod host;
pub mod kept;
pub mod kernel;
pub mod log;
pub mod observer;
pub mod plot;
pub mod process;
pub mod provenance;
pub mod pss;
pub mod record;
pub mod sampler;
pub mod sockets;
pub mod target;
mod text;
pub mod wait;
