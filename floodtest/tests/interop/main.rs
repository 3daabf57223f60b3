//! floodtest and msggen with servers and proxies that nobody here wrote.
//!
//! What they say is compared with what the server and a receiver that is not ours have counted. The
//! commands are those of the page "Your own server". `.ci/run` installs the programs and sets
//! `INTEROP=1`; without it the tests only say that they were skipped.

#![allow(clippy::unwrap_used, reason = "a test fails where something is not as expected")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

mod behind;
mod experiment;
mod frameworks;
mod language_model;
mod nchan;
mod programs;
mod proxies;
mod recipe;
mod websockets;

/// Whether the servers are there. If not, the test is skipped and says so.
fn is_wanted() -> bool {
    let is_wanted = std::env::var_os("INTEROP").is_some_and(|value| value == "1");
    if !is_wanted {
        println!("SKIPPED interop: INTEROP=1 is not set; .ci/run installs the servers and sets it");
    }
    is_wanted
}
