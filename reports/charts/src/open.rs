//! The chart of open connections: how many there were, with storms and what was done to the server
//! marked, and below it how many connects were begun a second.

use plotters::style::RGBColor;

use super::canvas::{Canvas, Pen};
use super::scale::Scale;
use super::segment::{Segment, highest, last_s};
use super::sheet::{CONNECTIONS, Entry, Mark, Phase, Sheet};
use super::traffic::{counted, panel};
use super::{ChartError, Format, Options, drawn};
use reports::books::FloodReport;
use reports::run::{Fault, FaultKind};

/// Storms, and what was done to the server.
const CAUSES: RGBColor = RGBColor(190, 50, 20);

/// Connects begun.
const CONNECTS: Pen = Pen::solid(RGBColor(0, 140, 100), 2);

/// How many connections were open, and what closed many of them at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Open {
    /// Connections open.
    pub connections: Vec<Segment>,
    /// Connects begun a second.
    pub connects_per_s: Vec<Segment>,
    /// What closed many of them, and when the server was back.
    pub causes: Vec<Phase>,
}

impl Open {
    /// From floodtest's reports, which began `flood_s` seconds after the chart does, and what was
    /// done to the server. `first_s` is the chart's beginning in seconds since the Unix epoch.
    pub fn of(flood: &[FloodReport], flood_s: f64, faults: &[Fault], first_s: f64) -> Self {
        let (connections, _) = counted(flood, flood_s, |it| (it.elapsed_s, it.connected));
        let (_, connects_per_s) = counted(flood, flood_s, |it| (it.elapsed_s, it.begun));
        let settles = flood.last().map(|last| &last.settles[..]).unwrap_or_default();
        // When the server was away because it was killed, the mark of that says more. Its sockets
        // may be seen to close a moment before the signal's return.
        let is_known = |at_s: f64| {
            let at_ms = (at_s + first_s) * 1e3;
            faults.iter().any(|fault| {
                let until_ms = fault.back_unix_ms.unwrap_or(u64::MAX);
                (fault.unix_ms as f64 - 1e3..=until_ms as f64).contains(&at_ms)
            })
        };
        let mut causes: Vec<Phase> = settles
            .iter()
            .map(|settle| Phase { at_s: flood_s + settle.at_s, text: settle.cause.clone() })
            .filter(|cause| cause.text.starts_with("storm") || !is_known(cause.at_s))
            .collect();
        for fault in faults {
            let (down, back) = match fault.what {
                FaultKind::Kill => ("server killed", "server back"),
                FaultKind::Stop => ("server stopped", "server continued"),
            };
            let moments = [(Some(fault.unix_ms), down), (fault.back_unix_ms, back)];
            causes.extend(moments.into_iter().filter_map(|(unix_ms, text)| {
                let at_s = (unix_ms? as f64 / 1e3 - first_s).max(0.0);
                Some(Phase { at_s, text: text.to_owned() })
            }));
        }
        causes.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        Self { connections, connects_per_s, causes }
    }
}

/// Draws open connections and connects over time.
pub fn open(open: &Open, options: &Options, format: Format) -> Result<Vec<u8>, ChartError> {
    drawn(options, format, |canvas| draw(canvas, open, options))
}

/// Draws them.
pub(super) fn draw(canvas: &mut Canvas, open: &Open, options: &Options) {
    let Open { connections, connects_per_s, causes } = open;
    let mut sheet = Sheet::new(canvas, options.title.as_deref().unwrap_or("Open connections"));
    let pen = Pen::solid(CONNECTIONS, 2);
    sheet.legend(&[Entry::new("connections", pen), Entry::new("connects begun", CONNECTS)]);
    let (most, rates) = (highest(connections), highest(connects_per_s));
    let xs = sheet.sides(sheet.widest_up_to(rates).max(sheet.widest_up_to(most)), 0);
    let lasts = [connections, connects_per_s].map(|it| last_s(it));
    let span_s = causes.iter().map(|it| it.at_s).chain(lasts).fold(0.0, f64::max);
    let time = Scale::new(span_s, xs.0, xs.1);
    let marks = Mark::all(causes, span_s, CAUSES);
    sheet.phase_names(&marks, &time);
    let (upper, lower) = sheet.panels(xs, true);
    panel(&mut sheet, upper, &[(connections, pen)], (&time, &marks), "Connections");
    panel(&mut sheet, lower, &[(connects_per_s, CONNECTS)], (&time, &marks), "");
    sheet.heading(lower, &["Connects begun a second".to_owned()]);
    if span_s > 0.0 {
        sheet.time_axis(lower, &time);
    }
}

#[cfg(test)]
mod tests {
    use reports::books::Settle;

    use super::*;

    #[test]
    fn storms_and_what_was_done_to_the_server_are_marked_once_each() {
        let settle =
            |cause: &str, at_s| Settle { cause: cause.to_owned(), at_s, ..Settle::default() };
        let report = |elapsed_s, connected, begun| FloodReport {
            elapsed_s,
            connected,
            begun,
            settles: vec![settle("storm 50%", 1.0), settle("server away", 4.1)],
            ..FloodReport::default()
        };
        let flood = [report(1.0, 100, 100), report(2.0, 50, 130)];
        let kill = Fault { unix_ms: 1_006_000, back_unix_ms: Some(1_008_500), ..Fault::default() };
        let texts = |open: &Open| -> Vec<(f64, String)> {
            open.causes.iter().map(|it| (it.at_s, it.text.clone())).collect()
        };
        let drawn = Open::of(&flood, 2.0, &[kill], 1_000.0);
        let storm = (3.0, "storm 50%".to_owned());
        let killed = [(6.0, "server killed".to_owned()), (8.5, "server back".to_owned())];
        assert_eq!(texts(&drawn), [&[storm.clone()][..], &killed].concat());
        assert_eq!(drawn.connects_per_s[1], Segment::flat(3.0, 4.0, 30.0));
        assert_eq!(
            drawn.connections[1],
            Segment { begin_s: 3.0, end_s: 4.0, begin: 100.0, end: 50.0 }
        );
        // Somebody else's doing has no other mark.
        let drawn = Open::of(&flood, 2.0, &[], 1_000.0);
        assert_eq!(texts(&drawn), [storm, (6.1, "server away".to_owned())]);
    }
}
