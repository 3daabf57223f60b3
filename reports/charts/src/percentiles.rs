//! The chart of delays by percentile, which shows the longest ones as largely as the usual ones.

use super::canvas::{Canvas, Pen, Point, width_of};
use super::log_scale::LogScale;
use super::scale::Tick;
use super::sheet::{Entry, Sheet, widest};
use super::{ChartError, Format, Options, RUNS, drawn};
use reports::latency::Latency;

/// How curves differ on paper without colours, in their order.
const DASHES: [&[i32]; 4] = [&[], &[8, 4], &[2, 4], &[7, 3, 2, 3]];

/// Points of a curve for each nine of the percentile: one every few pixels of a wide chart.
const POINTS_PER_NINE: i32 = 100;

/// By how much a whole number of nines may miss itself.
const ROUNDED: f64 = 1e-12;

/// The delays of one run, counted in one way.
#[derive(Debug, Clone, PartialEq)]
pub struct PercentileCurve {
    /// What it is called.
    pub name: String,
    /// Which colour it has. Curves of one run have the same.
    pub color: usize,
    /// How many delays there are. No percentile is drawn that less than one of them is above.
    pub count: u64,
    /// Nines, and the delay in microseconds that is not exceeded by the part of the delays that
    /// has so many nines: 1 is 90 %, 2 is 99 %, and n is 1 − 10⁻ⁿ. In ascending order, and the
    /// longest delay last, where all others are shorter.
    pub points: Vec<(f64, f64)>,
}

impl PercentileCurve {
    /// The curve of what was recorded.
    pub fn of(name: &str, color: usize, latency: &Latency) -> Self {
        let (name, count) = (name.to_owned(), latency.count());
        let nines = nines_of(count);
        let steps = (0..).map(|step| f64::from(step) / f64::from(POINTS_PER_NINE));
        let all = steps.take_while(|it| *it < nines).chain(std::iter::once(nines));
        let delay = |nines: f64| latency.at_quantile_us(1.0 - 10_f64.powf(-nines)) as f64;
        let mut points: Vec<(f64, f64)> = Vec::new();
        if count > 0 {
            points.extend(all.map(|nines| (nines, delay(nines))));
            points.push((nines, latency.at_quantile_us(1.0) as f64));
        }
        Self { name, color, count, points }
    }
}

/// The nines of 1 − 1/n: the last percentile that so many delays have.
fn nines_of(count: u64) -> f64 {
    (count.max(1) as f64).log10()
}

/// Draws curves by percentile.
pub fn percentiles(
    curves: &[PercentileCurve],
    options: &Options,
    format: Format,
) -> Result<Vec<u8>, ChartError> {
    drawn(options, format, |canvas| draw(canvas, curves, options))
}

/// Draws them.
pub(super) fn draw(canvas: &mut Canvas, curves: &[PercentileCurve], options: &Options) {
    let title = options.title.as_deref().unwrap_or("Delivery latency by percentile");
    let mut sheet = Sheet::new(canvas, title);
    let pen = |at: usize, curve: &PercentileCurve| {
        let (color, _) = RUNS[curve.color % RUNS.len()];
        Pen { color, width_px: 2, dash: DASHES[at % DASHES.len()] }
    };
    let pens: Vec<Pen> = curves.iter().enumerate().map(|(at, it)| pen(at, it)).collect();
    let entries = curves.iter().zip(&pens).map(|(curve, pen)| Entry::new(&curve.name, *pen));
    sheet.legend(&entries.collect::<Vec<_>>());
    let drawn = |curve: &PercentileCurve| {
        let (points, most) = (curve.points.clone(), nines_of(curve.count) + ROUNDED);
        points.into_iter().filter(move |it| it.0 <= most)
    };
    let scale = LogScale::around(curves.iter().flat_map(drawn).map(|it| it.1));
    // One pixel apart: all labels that there can be.
    let left_px = widest(&scale.along(0, 1_000_000).ticks(1), sheet.em);
    // At least up to 90 %, so that there is an axis.
    let most = curves.iter().map(|it| nines_of(it.count)).fold(1.0, f64::max);
    // Half of the last label is beyond the panel.
    let half_px = width_of(&percent(most.floor()), sheet.em) / 2;
    let xs = sheet.sides(left_px, (half_px - sheet.em * 2).max(0));
    let panel = sheet.panels(xs, false).0;
    let scale = scale.along(panel.ys.1, panel.ys.0);
    if curves.iter().all(|it| it.points.is_empty()) {
        sheet.frame(panel, &[], "");
        sheet.nothing(panel);
    } else {
        sheet.frame(panel, &scale.ticks(sheet.em * 3 / 2), scale.label());
        sheet.lower_axis(panel, &nines_ticks(xs, most, sheet.em), "Percentile");
    }
    for (curve, pen) in curves.iter().zip(&pens) {
        let line: Vec<Point> =
            drawn(curve).map(|(nines, us)| (nines_px(xs, most, nines), scale.px(us))).collect();
        sheet.canvas.line(&line, *pen);
    }
}

/// The pixel of a percentile, on an axis that ends at `most` nines.
#[expect(clippy::cast_possible_truncation, reason = "pixels of a chart")]
fn nines_px(xs: (i32, i32), most: f64, nines: f64) -> i32 {
    xs.0 + (nines / most * f64::from(xs.1 - xs.0)).round() as i32
}

/// The percentiles below the axis: those of whole nines, and two more where there is room. As many
/// are written as there is room for.
fn nines_ticks(xs: (i32, i32), most: f64, em: i32) -> Vec<Tick> {
    let mut ticks: Vec<Tick> = Vec::new();
    let whole = (1..).map(f64::from).take_while(|it| *it <= most + ROUNDED);
    for nines in whole.chain([2_f64.log10(), 0.0]) {
        let (px, text) = (nines_px(xs, most, nines), percent(nines));
        let half_px = width_of(&text, em) / 2;
        let is_free =
            |it: &Tick| (it.px - px).abs() >= half_px + width_of(&it.text, em) / 2 + em / 2;
        let has_room = ticks.iter().filter(|it| !it.text.is_empty()).all(is_free);
        if has_room || nines >= 1.0 {
            ticks.push(Tick { px, text: if has_room { text } else { String::new() } });
        }
    }
    ticks
}

/// A number of nines as a percentage.
fn percent(nines: f64) -> String {
    match nines {
        nines if nines < 0.1 => "0 %".to_owned(),
        nines if nines < 0.9 => "50 %".to_owned(),
        nines => {
            // Two of the nines are before the point.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a few nines"
            )]
            let digits = (nines.round() as usize).saturating_sub(2);
            let part = 100.0 * (1.0 - 10_f64.powf(-nines));
            format!("{part:.digits$} %")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_where_one_delay_is_above_it() {
        let mut latency = Latency::default();
        (1..=1_000).for_each(|us| latency.record_us(us));
        let curve = PercentileCurve::of("a", 0, &latency);
        assert_eq!(curve.points[curve.points.len() - 2..], [(3.0, 999.0), (3.0, 1_000.0)]);
        assert_eq!(curve.points.first(), Some(&(0.0, 1.0)));
        let at = |nines: f64| curve.points.iter().find(|it| it.0 >= nines).unwrap().1;
        assert_eq!((at(1.0), at(2.0)), (900.0, 990.0));
        assert_eq!(PercentileCurve::of("a", 0, &Latency::default()).points, []);
    }

    #[test]
    fn percentiles_are_written_as_far_as_the_counts_go() {
        let texts = |width_px, count| -> Vec<String> {
            let mut ticks = nines_ticks((0, width_px), nines_of(count), 12);
            ticks.sort_by_key(|it| it.px);
            ticks.into_iter().map(|it| it.text).filter(|it| !it.is_empty()).collect()
        };
        let all = ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"];
        assert_eq!(texts(1_000, 120_000), all);
        assert_eq!(texts(1_000, 99_999), all[..6]);
        assert_eq!(texts(300, 120_000), all[1..]);
    }
}
