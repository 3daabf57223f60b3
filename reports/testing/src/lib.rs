//! What tests of several packages share: waiting for something that no event tells, leaving out
//! what a bare machine cannot do, and [`hosts`] that ssh reaches. A dev-dependency, and nothing but
//! that.

#![allow(clippy::print_stdout, reason = "the test harness prints what a test says")]

pub mod hosts;

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
