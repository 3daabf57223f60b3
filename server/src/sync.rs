//! The lock that the router uses. A test compiles the router with another one, which tries out
//! orders of locking.

pub(crate) use std::sync::{Mutex, MutexGuard};
