//! Samples that are taken on another host, and kept here.
//!
//! `ssh HOST memlog worker --stdio` is all there is: the user's own ssh with its settings, and a
//! memlog that takes samples as ever, keeps no file, and ends with its pipes.
//!
//! - [`wire`]: what the two say to each other, in lines.
//! - [`ssh`]: the program between them, and why it ended; [`fault`]: why there is nothing to keep.
//! - [`there`]: the memlog on the host; [`here`]: the one that keeps its lines.
//! - [`offset`]: what time it is here when a sample is taken there.

pub mod fault;
pub mod here;
mod offset;
mod ssh;
pub mod there;
mod wire;
