//! A figure that was measured, and the bar that it must hold.

/// A figure and what it should be.
pub(crate) struct Figure {
    /// What was measured, with its unit.
    pub(crate) what: String,
    /// What came out.
    pub(crate) value: f64,
    /// The most that it may be; `None` if it is only for information.
    pub(crate) bar: Option<f64>,
}

impl Figure {
    /// A figure that may be at most `bar`.
    pub(crate) fn at_most(bar: f64, what: impl Into<String>, value: f64) -> Self {
        Self { what: what.into(), value, bar: Some(bar) }
    }

    /// A figure that says something about the others.
    pub(crate) fn info(what: impl Into<String>, value: f64) -> Self {
        Self { what: what.into(), value, bar: None }
    }
}
