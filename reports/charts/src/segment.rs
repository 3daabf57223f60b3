//! Figures over time, as pieces of a line.

use super::canvas::Point;
use super::scale::Scale;

/// Pieces that are no further apart than this are joined. Interval logs round both the beginning
/// and the length of an interval to milliseconds, and no interval is as short as this.
const JOINED_S: f64 = 0.01;

/// A figure from one moment to another: a piece of a line. Where the next piece begins later than
/// this one ends, nothing was measured, and the line has a gap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// Where it begins, in seconds since the chart's beginning.
    pub begin_s: f64,
    /// Where it ends.
    pub end_s: f64,
    /// The figure at its beginning.
    pub begin: f64,
    /// The figure at its end.
    pub end: f64,
}

impl Segment {
    /// A figure of a whole interval, such as a rate.
    pub fn flat(begin_s: f64, end_s: f64, value: f64) -> Self {
        Self { begin_s, end_s, begin: value, end: value }
    }
}

/// The lines through `segments`, one for each piece without a gap: in a column of pixels no more
/// points than its first, lowest, highest and last one, so that no peak is lost.
pub(super) fn lines(
    segments: &[Segment],
    time: &Scale,
    px: impl Fn(f64) -> i32,
) -> Vec<Vec<Point>> {
    let mut lines: Vec<Vec<Point>> = Vec::new();
    let mut until_s = f64::NEG_INFINITY;
    for segment in segments {
        if segment.begin_s > until_s + JOINED_S {
            lines.push(Vec::new());
        }
        until_s = segment.end_s;
        if let Some(line) = lines.last_mut() {
            line.push((time.px(segment.begin_s), px(segment.begin)));
            line.push((time.px(segment.end_s), px(segment.end)));
        }
    }
    lines.iter().map(|line| thinned(line)).collect()
}

/// The last moment of any of `segments`, in seconds.
pub(super) fn last_s(segments: &[Segment]) -> f64 {
    segments.iter().map(|it| it.end_s).fold(0.0, f64::max)
}

/// The highest figure of `segments`.
pub(super) fn highest(segments: &[Segment]) -> f64 {
    segments.iter().map(|it| it.begin.max(it.end)).fold(0.0, f64::max)
}

/// The same line through at most four points a column.
fn thinned(points: &[Point]) -> Vec<Point> {
    let column = |column: &[Point]| {
        let ys = column.iter().map(|(_, y)| *y);
        let (low, high) = (ys.clone().min(), ys.max());
        match (column, low, high) {
            ([(x, first), .., (_, last)], Some(low), Some(high)) => {
                let (next, then) = if first <= last { (low, high) } else { (high, low) };
                vec![(*x, *first), (*x, next), (*x, then), (*x, *last)]
            }
            _ => column.to_vec(),
        }
    };
    points.chunk_by(|a, b| a.0 == b.0).flat_map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_time_is_a_gap_in_the_line() {
        let segments = [
            Segment::flat(0.0, 1.0, 5.0),
            Segment::flat(1.001, 2.0, 6.0),
            Segment::flat(3.0, 4.0, 7.0),
        ];
        let time = Scale::new(4.0, 0, 40);
        let lines = lines(&segments, &time, |value| i32::from(value > 5.5));
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0][0], *lines[0].last().unwrap()), ((0, 0), (20, 1)));
        assert_eq!((lines[1][0], *lines[1].last().unwrap()), ((30, 1), (40, 1)));
    }

    #[test]
    fn one_high_second_of_a_day_is_in_the_line() {
        let value = |second| if second == 43_210 { 100.0 } else { 1.0 };
        let second =
            |second: i32| Segment::flat(f64::from(second), f64::from(second + 1), value(second));
        let segments: Vec<Segment> = (0..86_400).map(second).collect();
        let time = Scale::new(last_s(&segments), 0, 400);
        let value = Scale::new(highest(&segments), 100, 0);
        let lines = lines(&segments, &time, |it| value.px(it));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].len() <= 401 * 4, "{}", lines[0].len());
        assert_eq!(
            lines[0].iter().filter(|it| it.1 == 0).map(|it| it.0).collect::<Vec<_>>(),
            [200]
        );
    }
}
