//! Figures of a program for Prometheus: the text, and a small server of it. No figure is computed
//! here.
//!
//! - [`text`]: the text format, a family of series at a time
//! - [`server`]: a thread that answers `GET /metrics` with what was published last
//!
//! Both stand here because floodtest and msggen need them, and `reports` has no network.

pub mod server;
pub mod text;

pub use server::Publisher;
pub use text::Text;
