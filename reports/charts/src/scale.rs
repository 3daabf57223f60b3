//! From values to pixels, and round numbers to write beside them.

/// A place on an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tick {
    /// Where.
    pub(super) px: i32,
    /// What is written there. Empty: a line only.
    pub(super) text: String,
}

/// An axis: a range of values from 0 on, along a range of pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// The value at the end.
    pub(super) highest: f64,
    /// The pixel of 0.
    begin_px: i32,
    /// The pixel of the highest value.
    end_px: i32,
}

impl Scale {
    /// An axis up to exactly `highest`.
    pub(super) fn new(highest: f64, begin_px: i32, end_px: i32) -> Self {
        // The steps of an axis that is shorter than this would be zero.
        const LEAST: f64 = 1e-9;
        Self { highest: if highest > LEAST { highest } else { 1.0 }, begin_px, end_px }
    }

    /// An axis up to the round number above `highest`, so that nothing touches its end.
    pub(super) fn rounded(highest: f64, begin_px: i32, end_px: i32, n_ticks: usize) -> Self {
        let scale = Self::new(highest, begin_px, end_px);
        let step = scale.step(n_ticks);
        let mut rounded = (scale.highest / step).ceil() * step;
        if rounded < scale.highest * 1.02 {
            rounded += step;
        }
        Self { highest: rounded, ..scale }
    }

    /// The pixel of `value`, kept on the axis.
    #[expect(clippy::cast_possible_truncation, reason = "pixels of a chart, clamped to it")]
    pub(super) fn px(&self, value: f64) -> i32 {
        let part = (value / self.highest).clamp(0.0, 1.0);
        self.begin_px + (part * f64::from(self.end_px - self.begin_px)).round() as i32
    }

    /// Round numbers from 0 on, about `n_ticks` of them.
    pub(super) fn ticks(&self, n_ticks: usize) -> Vec<Tick> {
        let step = self.step(n_ticks);
        let numbers = (0..).map(|n| f64::from(n) * step);
        let tick = |number| Tick { px: self.px(number), text: grouped(number) };
        numbers.take_while(|it| *it <= self.highest * 1.000_001).map(tick).collect()
    }

    /// From one round number to the next: 1, 2 or 5 times a power of ten.
    fn step(&self, n_ticks: usize) -> f64 {
        let rough = self.highest / n_ticks.max(1) as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough * 0.999);
        factor.unwrap_or(10.0) * power
    }
}

/// A number as it is written on an axis: `125,000`, `0.5`.
pub(super) fn grouped(value: f64) -> String {
    if value.fract().abs() > 1e-9 && value.abs() < 100.0 {
        let text = format!("{value:.6}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("−{text}") } else { text }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "round numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_above_its_highest_value_in_round_steps() {
        let scale = Scale::rounded(125_360.0, 200, 0, 5);
        assert_eq!(scale.highest, 150_000.0);
        let ticks: Vec<_> = scale.ticks(5).into_iter().map(|it| (it.px, it.text)).collect();
        let expected = [(200, "0"), (133, "50,000"), (67, "100,000"), (0, "150,000")];
        assert_eq!(ticks, expected.map(|(px, text)| (px, text.to_owned())));
        assert_eq!((scale.px(0.0), scale.px(75_000.0), scale.px(1e9)), (200, 100, 0));
        assert_eq!(Scale::rounded(10_000.0, 0, 1, 5).highest, 12_000.0, "not on the edge");
        assert_eq!(Scale::new(0.0, 0, 10).highest, 1.0);
        assert_eq!(Scale::new(1e-320, 0, 10).ticks(5).len(), 6);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0.0), "0");
        assert_eq!(grouped(999.0), "999");
        assert_eq!(grouped(1_250_000.0), "1,250,000");
        assert_eq!(grouped(0.5), "0.5");
        assert_eq!(grouped(0.002 * 3.0), "0.006");
        assert_eq!(grouped(-1_500.0), "−1,500");
    }
}
