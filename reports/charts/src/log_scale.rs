//! Delays on a logarithmic axis.

use super::scale::{Tick, grouped};

/// The shortest delay that is drawn, in microseconds: what is recorded has no finer steps.
const LEAST_US: f64 = 1.0;

/// An axis of delays.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogScale {
    /// The delay at the beginning, in microseconds.
    low_us: f64,
    /// The delay at the end.
    high_us: f64,
    /// The pixel of the lowest.
    begin_px: i32,
    /// The pixel of the highest.
    end_px: i32,
    /// Whether delays are written in milliseconds: they are not when all are below one.
    is_ms: bool,
}

impl LogScale {
    /// An axis with room for all of `values_us`, from one round number to another.
    pub(super) fn around(values_us: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::MAX, LEAST_US);
        for value in values_us.map(|it| it.max(LEAST_US)) {
            (low, high) = (low.min(value), high.max(value));
        }
        let is_ms = high >= 1_000.0;
        // Nothing may lie on the upper edge.
        let (low, high) = (low.min(high), high * 1.02);
        let low_us = rounds_up_to(low).last().unwrap_or(LEAST_US);
        let high_us = rounds_up_to(high * 10.0).find(|it| *it >= high).unwrap_or(high);
        Self { low_us, high_us, begin_px: 0, end_px: 1, is_ms }
    }

    /// The same axis along other pixels.
    pub(super) fn along(self, begin_px: i32, end_px: i32) -> Self {
        Self { begin_px, end_px, ..self }
    }

    /// The pixel of a delay, kept on the axis.
    #[expect(clippy::cast_possible_truncation, reason = "pixels of a chart, clamped to it")]
    pub(super) fn px(&self, us: f64) -> i32 {
        let part = (us.max(LEAST_US) / self.low_us).log10() / (self.high_us / self.low_us).log10();
        self.begin_px
            + (part.clamp(0.0, 1.0) * f64::from(self.end_px - self.begin_px)).round() as i32
    }

    /// The name of the axis with its unit.
    pub(super) fn label(&self) -> &'static str {
        if self.is_ms { "Latency (ms)" } else { "Latency (µs)" }
    }

    /// Round numbers, those with a text at least `apart_px` from each other: 1, 2 and 5 of each
    /// power of ten where there is room, else the powers, else every second or third one of them,
    /// else the ends.
    pub(super) fn ticks(&self, apart_px: i32) -> Vec<Tick> {
        let all: Vec<(usize, f64)> =
            rounds_up_to(self.high_us).enumerate().filter(|it| it.1 >= self.low_us).collect();
        let px = |it: &(usize, f64)| self.px(it.1);
        let every = |n: usize| -> Vec<(usize, f64)> {
            all.iter().filter(|it| it.0.is_multiple_of(n)).copied().collect()
        };
        let ends: Vec<_> = all.first().into_iter().chain(all.last()).copied().collect();
        let mut choices = [1, 3, 6, 9].map(every).into_iter().chain(std::iter::once(ends));
        let is_good = |chosen: &Vec<(usize, f64)>| {
            let mut gaps = chosen.windows(2).map(|it| (px(&it[0]) - px(&it[1])).abs());
            chosen.len() >= 2 && gaps.all(|gap_px| gap_px >= apart_px)
        };
        let chosen = choices.find(is_good).unwrap_or_default();
        let text =
            |it: &(usize, f64)| if chosen.contains(it) { self.text(it.1) } else { String::new() };
        let ticks = all.iter().filter(|it| chosen.contains(it) || it.0.is_multiple_of(3));
        ticks.map(|it| Tick { px: px(it), text: text(it) }).collect()
    }

    /// A round delay in the axis' unit.
    fn text(&self, us: f64) -> String {
        let value = if self.is_ms { us / 1_000.0 } else { us };
        if value < 1.0 { format!("{value}") } else { grouped(value) }
    }
}

/// 1, 2 and 5 of each power of ten, from the shortest delay up to `most`.
fn rounds_up_to(most: f64) -> impl Iterator<Item = f64> {
    let powers = (0..).map(|power| LEAST_US * 10_f64.powi(power));
    let rounds = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * power));
    rounds.take_while(move |it| *it <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written beside an axis of 100 pixels around these delays, from the bottom up.
    fn texts(values_us: &[f64], apart_px: i32) -> String {
        let scale = LogScale::around(values_us.iter().copied()).along(100, 0);
        let texts: Vec<String> = scale.ticks(apart_px).into_iter().map(|it| it.text).collect();
        format!("{}: {}", scale.label(), texts.join(" "))
    }

    #[test]
    fn an_axis_goes_from_a_round_delay_to_another() {
        assert_eq!(texts(&[150.0, 16_000.0], 1), "Latency (ms): 0.1 0.2 0.5 1 2 5 10 20");
        assert_eq!(texts(&[7.0, 450.0], 1), "Latency (µs): 5 10 20 50 100 200 500");
        assert_eq!(texts(&[999.0], 1), "Latency (µs): 500 1,000 2,000");
        assert_eq!(texts(&[1_000.0], 1), "Latency (ms): 1 2", "all alike, and not on an edge");
        assert_eq!(texts(&[0.0], 1), "Latency (µs): 1 2", "too short to be measured");
        assert_eq!(texts(&[], 1), "Latency (µs): 1 2");
    }

    #[test]
    fn where_there_is_no_room_fewer_are_written() {
        assert_eq!(texts(&[150.0, 16_000.0], 18), "Latency (ms): 0.1 1 10");
        assert_eq!(texts(&[20.0, 450.0], 23), "Latency (µs): 20  500", "a line at 100");
        let day = texts(&[1.0, 86_400_000_000.0], 18);
        assert_eq!(day, "Latency (ms): 0.001  0.1  10  1,000  100,000  10,000,000 ");
    }

    #[test]
    fn a_delay_is_ten_times_another_by_the_same_distance() {
        let scale = LogScale::around([100.0, 9_000.0].into_iter()).along(200, 0);
        assert_eq!(
            [0.0, 100.0, 1_000.0, 10_000.0, 1e9].map(|us| scale.px(us)),
            [200, 200, 100, 0, 0]
        );
    }
}
