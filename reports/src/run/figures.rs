//! The figures of a whole run that can be expected of it, beside those of its tools: the server's.

use super::cost::Cost;
use super::machine::Machine;
use crate::books::FloodReport;
use crate::expect::{ExpectError, Expectations, Figure, Figures, Unit};

/// What stands for a figure that the run does not have.
const NOT_MEASURED: &str = "not measured";

/// The figures by name.
pub(super) fn figures(cost: &Cost, machine: &Machine, received: &FloodReport) -> Figures {
    let number =
        |value: Option<f64>| value.map_or(Figure::Null(Unit::Number, NOT_MEASURED), Figure::Number);
    let kb = |value: Option<u64>| number(value.map(|kb| kb as f64));
    let opened = received.established.saturating_sub(1) as f64 / received.opening_s;
    Figures::default()
        .with("server.rss_per_connection", number(cost.idle_bytes_per_connection))
        .with("server.rss_per_connection_after", number(cost.after_bytes_per_connection))
        .with("server.kernel_per_connection", number(cost.idle_kernel_bytes_per_connection))
        .with("server.rss_highest_kb", kb(cost.highest_rss_kb))
        .with("server.rss_slope_kb_per_min", number(cost.rss_slope_kb_per_min))
        .with("server.cpu_share", number(cost.cpu_share))
        .with("server.cpu_us_per_message", number(cost.cpu_us_per_message))
        .with("machine.bytes_per_connection", number(machine.used_bytes_per_connection))
        .with("opened_per_s", number(opened.is_finite().then_some(opened)))
}

/// Checks that `expectations` name such figures and are written as they should be.
pub fn check_expectations(expectations: &[String]) -> Result<(), ExpectError> {
    let none = figures(&Cost::default(), &Machine::default(), &FloodReport::default());
    Expectations::parse(&expectations.join(","), &none).map(drop)
}

/// Whether `name` is one of these figures.
pub fn is_figure_of_run(name: &str) -> bool {
    check_expectations(&[format!("{name}>=0")]).is_ok()
}
