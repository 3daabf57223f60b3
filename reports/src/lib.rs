//! What a run leaves behind, and how its figures are computed.
//!
//! This library is quiet: data goes in; numbers and text come out. It prints nothing, and opens no
//! socket but the one that is a sender's name; only [`output`] has threads, which write what a
//! program says to where it wants it.
//! Every figure that the tools publish is computed here, once.
//!
//! - [`units`]: `10k`, `100ms`, `64KiB` on the command line.
//! - [`schedule`]: when message or connection number k is due.
//! - [`share`]: which of several servers has an id.
//! - [`stamp`]: the mark that a message carries, and the one clock that it is read from.
//! - [`announced`]: what a sender says of its clock, to everybody on its machine.
//! - [`sent`]: what a sender says that it sent.
//! - [`edges`]: who follows whom, as text.
//! - [`expect`]: what a run is expected to show, and what of it it did not.
//! - [`latency`]: a histogram of delays and its summary.
//! - [`latency_log`]: a histogram an interval, in the format of HdrHistogram's own tools.
//! - [`out`]: the logs of a tool in the folder of `--out`.
//! - [`output`]: what a program says, so that nobody who reads it slowly holds it up.
//! - [`causes`]: an error in one line.
//! - [`memory_log`]: a line of the memory log, read and written; [`date`] begins it.
//! - [`books`]: what the three programs report, and the identities that must hold between them.
//! - [`replace`]: files that are replaced whole.
//! - `run`: the folder that a run leaves behind, with the feature of that name: its files are TOML,
//!   which the tools that measure do without.
//! - `compare`: runs on two sides, with the same feature.

pub mod announced;
pub mod books;
pub mod causes;
#[cfg(feature = "run")]
pub mod compare;
pub mod date;
pub mod edges;
pub mod expect;
pub mod latency;
pub mod latency_log;
pub mod memory_log;
pub mod out;
pub mod output;
pub mod remote;
pub mod replace;
#[cfg(feature = "run")]
pub mod run;
pub mod schedule;
pub mod sent;
pub mod share;
pub mod stamp;
pub mod units;
