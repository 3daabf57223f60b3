//! What tests of several packages share: the programs of this workspace, waiting for something that
//! no event tells, leaving out what a bare machine cannot do, and [`hosts`] that ssh reaches. A
//! dev-dependency, and nothing but that.

#![allow(clippy::print_stdout, reason = "the test harness prints what a test says")]

pub mod hosts;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before its test fails. Nothing that works takes a tenth of it, beside
/// busy processes too.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// From one look to the next. So a test that waits leaves the processor to what it waits for.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Waits until `is_so`.
///
/// # Panics
///
/// When it is not after [`DEADLINE`]; the message says that `what` did not come about.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}

/// Waits until there is what `find` looks for, and returns it.
///
/// # Panics
///
/// When there is none after [`DEADLINE`]; the message says that `what` did not come about.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the one place where tests look again and again")]
pub fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let begun_at = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(begun_at.elapsed() < DEADLINE, "in vain waited for {DEADLINE:?}: {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// Says that a test is left out, because `what` is not there or not allowed.
///
/// # Panics
///
/// Where nothing may be left out, as `REQUIRE_ALL` in the environment says.
#[track_caller]
pub fn skip(what: &str) {
    assert!(std::env::var_os("REQUIRE_ALL").is_none(), "{what} is not there, or not allowed");
    println!("SKIPPED {what}");
}

/// Builds the programs `names` of this workspace like `own`, a program of a test's package that
/// cargo has built for it, `env!("CARGO_BIN_EXE_…")`. The folder that they are in is returned.
///
/// # Panics
///
/// When they cannot be built.
#[must_use]
pub fn build(own: &str, names: &[&str]) -> PathBuf {
    let folder = Path::new(own).parent().expect("a program is in a folder");
    let target = folder.parent().expect("a profile's folder is in one");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        // Programs of the profile dev are in a folder of another name.
        Some("debug") => "dev",
        Some(profile) => profile,
        None => panic!("{own} is in no folder of a profile"),
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked", "--workspace", "--profile", profile]);
    cargo.args(names.iter().flat_map(|name| ["--bin", name]));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_TARGET_DIR", target);
    let output = cargo.output().unwrap_or_else(|error| panic!("{cargo:?}: {error}"));
    assert!(output.status.success(), "{cargo:?}: {}", String::from_utf8_lossy(&output.stderr));
    folder.to_owned()
}

/// Where `.ci/run` has installed packages of node's and Python's, for tests of servers and clients
/// that are not ours; `INTEROP_DIR` in the environment names another folder.
#[must_use]
pub fn installed() -> PathBuf {
    match std::env::var_os("INTEROP_DIR") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/interop"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_about_later_is_found() {
        let mut looks = 0;
        let found = wait_for("the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, 3);
    }
}
