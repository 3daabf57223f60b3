//! The folder that a run leaves behind; FORMAT.md describes it file by file.
//!
//! Raw files are written while the run goes on and never changed afterwards. Everything else is
//! computed from them, as often as one likes.

mod compute;
mod cost;
mod exits;
mod expected;
mod faults;
mod figures;
pub mod files;
mod folder;
mod footprint;
mod host;
mod limits;
mod load;
mod machine;
mod phases;
mod plan;
pub mod references;
mod summary;
mod text;
pub mod timeline;
mod verdict;
pub mod words;

pub use cost::{Cost, Moment};
pub use exits::{Exit, Exits};
pub use expected::Expected;
pub use faults::{Fault, FaultKind, Faults};
pub use figures::{check_expectations, is_figure_of_run};
pub use folder::{FORMAT, RunError, replace};
pub use footprint::{Footprint, Footprints};
pub use host::Host;
pub use load::{DelayInterval, Delays, Run};
pub use machine::Machine;
pub use phases::{PhaseStart, Phases};
pub use plan::{COMET_SERVER, Command, Plan, ServerPlan};
pub use summary::{Limit, Rates, Summary, Verdict};
pub use timeline::Phase;
pub use verdict::doubts;
