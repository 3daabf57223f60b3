//! The text format of Prometheus, version 0.0.4.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>. The library
//! `prometheus-client` writes `OpenMetrics` and knows no summaries, which is what percentiles are.

use std::fmt::{Display, Write as _};

/// The media type of a [`Text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that is being written. All names have one prefix.
#[derive(Debug)]
pub struct Text {
    /// What stands before every name, with its underscore.
    prefix: &'static str,
    /// What is written so far.
    text: String,
}

/// The delays of a summary, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary<'a> {
    /// Parts of all delays, from 0 to 1, and the delay that each did not exceed.
    pub quantiles: &'a [(f64, f64)],
    /// All delays together.
    pub sum_s: f64,
    /// How many there are. With none, no quantile is written.
    pub count: u64,
}

impl Text {
    /// An empty text whose names begin with `prefix`, as `floodtest_`.
    pub fn new(prefix: &'static str) -> Self {
        Self { prefix, text: String::new() }
    }

    /// All that was written.
    pub fn finish(self) -> String {
        self.text
    }

    /// A figure that only grows; its name gets `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        let name = self.begin(&format!("{name}_total"), help, "counter");
        self.sample(&name, "", value);
    }

    /// Figures that only grow, one for each value of `label`.
    pub fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (impl AsRef<str>, u64)>,
    ) {
        let name = self.begin(&format!("{name}_total"), help, "counter");
        for (of, value) in values {
            self.sample(&name, &format!("{{{label}=\"{}\"}}", escaped(of.as_ref())), value);
        }
    }

    /// A figure that rises and falls.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        let name = self.begin(name, help, "gauge");
        self.sample(&name, "", value);
    }

    /// A gauge of 1 that says something by a label.
    pub fn info(&mut self, name: &str, help: &str, label: &str, said: &str) {
        let name = self.begin(name, help, "gauge");
        self.sample(&name, &format!("{{{label}=\"{}\"}}", escaped(said)), 1);
    }

    /// Delays in seconds; the name gets `_seconds`.
    pub fn summary(&mut self, name: &str, help: &str, summary: Summary<'_>) {
        let name = self.begin(&format!("{name}_seconds"), help, "summary");
        if summary.count > 0 {
            for (quantile, delay_s) in summary.quantiles {
                self.sample(&name, &format!("{{quantile=\"{quantile}\"}}"), delay_s);
            }
        }
        self.sample(&format!("{name}_sum"), "", summary.sum_s);
        self.sample(&format!("{name}_count"), "", summary.count);
    }

    /// Begins a family; its whole name.
    fn begin(&mut self, name: &str, help: &str, kind: &str) -> String {
        let name = format!("{}{name}", self.prefix);
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
        name
    }

    /// Writes a sample.
    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        self.line(format_args!("{name}{labels} {value}"));
    }

    /// Writes a line.
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a string takes all");
    }
}

/// The value of a label as it stands between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_as_prometheus_describes_it() {
        let mut text = Text::new("x_");
        text.counter("sent", "Messages sent.", 7);
        text.counters("failed", "Failed, why\nnot.", "reason", [("status 503", 2), ("a\"\\\n", 0)]);
        text.gauge("open", "Open now.", 1.5);
        text.info("build_info", "The version.", "version", "0.1.0");
        let quantiles = [(0.5, 0.001), (1.0, 2.0)];
        let summary = Summary { quantiles: &quantiles, sum_s: 2.001, count: 2 };
        text.summary("delay", "Delays.", summary);
        text.summary("none", "None.", Summary { count: 0, sum_s: 0.0, ..summary });
        let expected = "\
# HELP x_sent_total Messages sent.
# TYPE x_sent_total counter
x_sent_total 7
# HELP x_failed_total Failed, why\\nnot.
# TYPE x_failed_total counter
x_failed_total{reason=\"status 503\"} 2
x_failed_total{reason=\"a\\\"\\\\\\n\"} 0
# HELP x_open Open now.
# TYPE x_open gauge
x_open 1.5
# HELP x_build_info The version.
# TYPE x_build_info gauge
x_build_info{version=\"0.1.0\"} 1
# HELP x_delay_seconds Delays.
# TYPE x_delay_seconds summary
x_delay_seconds{quantile=\"0.5\"} 0.001
x_delay_seconds{quantile=\"1\"} 2
x_delay_seconds_sum 2.001
x_delay_seconds_count 2
# HELP x_none_seconds None.
# TYPE x_none_seconds summary
x_none_seconds_sum 0
x_none_seconds_count 0
";
        assert_eq!(text.finish(), expected);
    }
}
