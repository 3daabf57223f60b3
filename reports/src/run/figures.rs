//! The figures of a whole run that can be expected of it, beside those of its tools: the server's
//! and the machine's, by the names under which runs are compared.

use std::time::Duration;

use super::Run;
use super::files;
use super::summary::Summary;
use crate::compare::figures::{self, Unit as Counted};
use crate::expect::{ExpectError, Expectations, Figure, Figures, Unit, name_of};
use crate::stamp::as_us;

/// What stands for a figure that the run does not have.
const NOT_MEASURED: &str = "not measured";

/// The figures by name. `None`: of a run that has none of them yet.
fn figures(summary: Option<&Summary>) -> Figures {
    let of_run = figures::all().into_iter().filter(|figure| is_figure_of_run(&figure.name));
    of_run.fold(Figures::default(), |all, figure| {
        let value = summary.and_then(|summary| figure.of(summary));
        let unit = if figure.unit == Counted::Ms { Unit::Time } else { Unit::Number };
        let value = value.map_or(Figure::Null(unit, NOT_MEASURED), |value| match figure.unit {
            // Sizes are written in bytes, as on the command line, and times with their unit.
            Counted::Kb | Counted::KbPerMin => Figure::Number(value * 1_024.0),
            Counted::Ms => {
                let time = Duration::try_from_secs_f64(value / 1e3).unwrap_or_default();
                Figure::Time(as_us(time))
            }
            _ => Figure::Number(value),
        });
        all.with(&figure.name, value)
    })
}

/// Checks that `expectations` name such figures and are written as they should be.
pub fn check_expectations(expectations: &[String]) -> Result<(), ExpectError> {
    Expectations::parse(&expectations.join(","), &figures(None)).map(drop)
}

/// Whether `name` is that of such a figure, whether there is one or not.
pub fn is_figure_of_run(name: &str) -> bool {
    name == "opened_per_s"
        || ["server.", "machine.", "settle."].iter().any(|part| name.starts_with(part))
}

/// The expectations of the whole run that its figures do not meet.
pub(super) fn unmet(run: &Run, summary: &Summary) -> Vec<String> {
    let of_run = run.plan.expect.iter().filter(|text| is_figure_of_run(name_of(text)));
    let of_run: Vec<&str> = of_run.map(String::as_str).collect();
    if of_run.is_empty() {
        return Vec::new();
    }
    let figures = figures(Some(summary));
    match Expectations::parse(&of_run.join(","), &figures) {
        Ok(expectations) => expectations.shortfalls(&figures),
        Err(error) => vec![format!("{}: {error}", files::PLAN)],
    }
}
