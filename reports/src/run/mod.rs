//! The folder that a run leaves behind; FORMAT.md describes it file by file.
//!
//! Raw files are written while the run goes on and never changed afterwards. Everything else is
//! computed from them, as often as one likes.

mod exits;
pub mod files;
mod folder;
mod host;
mod plan;

pub use exits::{Exit, Exits};
pub use folder::{FORMAT, RunError};
pub use host::Host;
pub use plan::{Command, Plan};
