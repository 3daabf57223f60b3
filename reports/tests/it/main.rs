//! The workspace's promises about itself, and the rig as people start it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod hdr_tools;
mod rig;
mod tidy;
