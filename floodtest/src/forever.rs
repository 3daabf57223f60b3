//! A time that no run lasts.

use std::time::Duration;

/// "Never", in a form that can be added to an instant: ten years.
pub(crate) const FOREVER: Duration = Duration::from_hours(24 * 3_650);
