//! Opens and holds many HTTP connections from a URL file, and accounts for all that arrives.
//!
//! A run ([`run()`]) goes through these files:
//!
//! - [`args`]: the command line, checked into a [`Config`].
//! - [`urls`], [`url`]: the URL file, read twice and never held; one line of it.
//! - [`request`]: what is asked on each connection, put together once.
//! - `prepare` and `dry_run`, with `targets`, [`sources`] and `limits`: where connections go, where
//!   they come from, and how many processes that takes. All that can be refused is refused before
//!   the first connect.
//! - `engine`, `job`, `dial`, [`tls`], `redirect`: the one loop that opens, holds and listens, and
//!   what it is to do.
//! - [`shape`], `dice`: how long connections live, what follows their ends, storms and slow
//!   readers; what chance decides, by `--seed`.
//! - `workers`, `share`, [`hosts`]: the same in several processes, where one may not open as many
//!   files, and on several hosts.
//! - `clocks`: the times of one host by the clock of another.
//! - [`decode`]: responses, read strictly and counted by framing; pure.
//! - [`items`]: from the bytes of a body to its items and the marks of messages; pure.
//! - [`judge`], [`accounting`]: which messages have come, what is missing, and how much of that is
//!   known; what the user says about it.
//! - `outbox`: the frames that are sent on WebSockets; `again`: what servers have said about how to
//!   come back.
//! - `receipt`: from what one `recv` brought into both.
//! - `tally`, `settling`, `slow_end`, `kinds`, [`reason`], `report`: what is counted, why
//!   connections ended, and which figures come of it.
//! - `reporter`: the reports while it goes on, and when it was held long enough.
//! - [`end`], [`outcome`], [`figures`]: how it ended, and whether that is what was asked for.
//! - [`text`], [`live`], [`metrics`](mod@metrics), `shown`: how it is said, at the end, on a
//!   terminal and to Prometheus.
//! - [`generate`]: `floodtest urls`.
//!
//! Nothing here prints or chooses an exit code.

pub mod accounting;
mod again;
pub mod args;
mod clocks;
pub mod config;
pub mod decode;
mod dial;
mod dice;
mod dry_run;
pub mod end;
mod engine;
mod error;
pub mod figures;
mod forever;
pub mod generate;
pub mod hosts;
pub mod items;
mod job;
pub mod judge;
mod kinds;
mod limits;
pub mod live;
pub mod metrics;
mod outbox;
pub mod outcome;
mod own;
mod prepare;
pub mod reason;
mod receipt;
mod redirect;
mod report;
mod reporter;
pub mod request;
mod run;
mod settling;
pub mod shape;
mod share;
mod shown;
mod slow_end;
pub mod sources;
pub mod streams;
mod tally;
mod targets;
pub mod text;
pub mod tls;
pub mod url;
pub mod urls;
mod workers;
mod worst;

pub use config::{Config, Rate};
pub use dry_run::{DryRun, DryRunHost, DryRunTarget};
pub use end::End;
pub use error::Error;
pub use outcome::{Observer, Outcome};
pub use request::RequestError;
pub use run::{dry_run, run};
pub use targets::TargetError;
pub use tls::TrustError;
pub use tls::fault::TlsFault;
pub use workers::agent::run_agent;
pub use workers::child::run_worker;
