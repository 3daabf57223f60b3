//! The folder that a run leaves behind; FORMAT.md describes it file by file.
//!
//! Raw files are written while the run goes on and never changed afterwards. Everything else is
//! computed from them, as often as one likes.

mod beside;
mod compare;
mod cost;
mod exits;
pub mod files;
mod folder;
mod footprint;
mod host;
mod load;
mod page;
mod pictures;
mod plan;
mod report;
mod summary;
mod text;
mod timeline;
mod verdict;
mod whole;
mod words;

pub use compare::{Comparison, Difference, Figure, compare};
pub use cost::{Cost, Moment};
pub use exits::{Exit, Exits};
pub(crate) use folder::MOST;
pub use folder::{FORMAT, RunError};
pub use footprint::{Footprint, Footprints, pss_kb};
pub use host::Host;
pub use load::{DelayInterval, Delays, Run};
pub use plan::{Command, Plan};
pub use report::report;
pub use summary::{Rates, Summary, Verdict};
pub use timeline::Phase;
pub use whole::Whole;
