//! Every figure by which runs are compared, by name.
//!
//! A figure has one name, that of `--expect` where a tool has it there. What begins with `server.`
//! is the server's cost; what begins with `machine.`, that of everything on the machine.

use std::time::Duration;

use serde::Serialize;

use crate::latency::LatencySummary;
use crate::run::{Summary, files};
use crate::units::{UnitError, parse_bytes, parse_count, parse_duration};

/// What a figure is counted in. It stands behind the figure, and says how a value of it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Things.
    Count,
    /// Things a second.
    PerSecond,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Bytes.
    Bytes,
    /// KB of 1,024 bytes.
    Kb,
    /// KB of 1,024 bytes a minute.
    KbPerMin,
    /// Processor cores: CPU time over elapsed time.
    Cores,
}

impl Unit {
    /// As it stands behind a figure. Empty for things that the figure's name says.
    pub fn label(self) -> &'static str {
        match self {
            Self::Count | Self::PerSecond => "",
            Self::Ms => "ms",
            Self::Us => "µs",
            Self::Bytes => "bytes",
            Self::Kb => "KB",
            Self::KbPerMin => "KB/min",
            Self::Cores => "cores",
        }
    }

    /// Reads a value that somebody has typed, into this unit.
    pub fn parse(self, text: &str) -> Result<f64, UnitError> {
        match self {
            Self::Count => parse_count(text).map(|n| n as f64),
            Self::PerSecond | Self::Cores => match plain_number(text) {
                Some(number) => Ok(number),
                None => parse_count(text).map(|n| n as f64),
            },
            Self::Ms => parse_duration(text).map(|it| it.as_secs_f64() * 1e3),
            Self::Us => parse_duration(text).map(|it: Duration| it.as_secs_f64() * 1e6),
            Self::Bytes => parse_bytes(text).map(|bytes| bytes as f64),
            Self::Kb | Self::KbPerMin => parse_bytes(text).map(|bytes| bytes as f64 / 1_024.0),
        }
    }
}

/// Reads digits with at most one point. `f64` alone would read `inf`, `1e999` and `-0` too.
pub(super) fn plain_number(text: &str) -> Option<f64> {
    let is_plain = text.len() <= 20 && text.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    is_plain.then(|| text.parse().ok()).flatten()
}

/// In what direction a figure is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Worse {
    /// The more of it, the worse.
    More,
    /// The less of it, the worse.
    Less,
}

/// How a figure is taken from what is published of a run.
#[derive(Clone, Copy)]
enum Taken {
    /// At once.
    Plain(Of),
    /// From delays, of which one figure in microseconds is taken, if there are any.
    Delay(Delays, OfDelays),
}

/// A figure by which runs are compared.
#[derive(Clone)]
pub struct Figure {
    /// Its name.
    pub name: String,
    /// What it is, in words.
    pub what: String,
    /// What it is counted in.
    pub unit: Unit,
    /// In what direction it is worse.
    pub worse: Worse,
    /// The file of the run folder that it is computed from.
    pub file: &'static str,
    /// Whether a table for people has it without being asked.
    pub is_key: bool,
    /// How it is taken.
    taken: Taken,
}

impl Figure {
    /// The figure of a run. `None`: it was not measured, or not judged.
    pub fn of(&self, summary: &Summary) -> Option<f64> {
        let value = match self.taken {
            Taken::Plain(of) => of(summary)?,
            Taken::Delay(of, which) => {
                let delays = of(summary)?;
                (delays.count > 0).then(|| which(delays) / 1_000.0)?
            }
        };
        value.is_finite().then_some(value)
    }
}

/// The figures that a table for people has without being asked.
const KEYS: [&str; 24] = [
    "connected",
    "opened_per_s",
    "achieved_per_s",
    "chunks",
    "lost",
    "duplicated",
    "reordered",
    "server.rss_empty",
    "server.rss_idle",
    "server.rss_per_connection",
    "server.rss_after",
    "server.rss_per_connection_after",
    "server.rss_highest",
    "server.rss_growth",
    "server.kernel_per_connection",
    "server.cpu_share",
    "server.cpu_per_message",
    "delivery_from_due.p50",
    "delivery_from_due.p99",
    "delivery_from_due.p99.9",
    "delivery_from_due.max",
    "delivery_from_send.p99",
    "send_from_due.p99",
    "lateness.p99",
];

/// How a figure of a run is taken.
type Of = fn(&Summary) -> Option<f64>;

/// How a figure of delays is taken, in microseconds.
type OfDelays = fn(&LatencySummary) -> f64;

/// Where delays of a run stand.
type Delays = fn(&Summary) -> Option<&LatencySummary>;

/// All figures, in the order in which they are shown.
pub fn all() -> Vec<Figure> {
    let mut all = [received(), settled(), streams(), sent(), memory(), machine()].concat();
    let received: [(&str, &str, Delays); 7] = [
        ("first_item_from_due", "from when a stream was due to its first item", |it| {
            Some(&it.received.first_item_from_due)
        }),
        ("first_item_from_send", "from when its request was sent to its first item", |it| {
            Some(&it.received.first_item_from_send)
        }),
        ("gap", "from an item of a stream to the next", |it| Some(&it.received.gap)),
        ("stream_time", "from when a stream's request was sent to its orderly end", |it| {
            Some(&it.received.stream_time)
        }),
        ("delivery_from_due", "from a message's due time to its receipt", |it| {
            Some(&it.received.delivery_from_due)
        }),
        ("delivery_from_send", "from a message's actual send to its receipt", |it| {
            Some(&it.received.delivery_from_send)
        }),
        ("connect_lateness", "from when a connect was due to when it was begun", |it| {
            Some(&it.received.connect_lateness)
        }),
    ];
    let sent: [(&str, &str, Delays); 3] = [
        ("send_from_due", "from a message's due time to the server's answer", |it| {
            Some(&it.sent.as_ref()?.send_from_due)
        }),
        ("send_from_send", "from a message's actual send to the server's answer", |it| {
            Some(&it.sent.as_ref()?.send_from_send)
        }),
        ("lateness", "from a message's due time to its actual send", |it| {
            Some(&it.sent.as_ref()?.lateness)
        }),
    ];
    for (file, families) in [(files::FLOODTEST, &received[..]), (files::MSGGEN, &sent[..])] {
        for (name, what, of) in families {
            all.extend(delays(name, what, file, *of));
        }
    }
    all
}

/// A figure that is taken at once.
fn plain(
    name: &str,
    what: &str,
    (unit, worse): (Unit, Worse),
    file: &'static str,
    of: Of,
) -> Figure {
    let is_key = KEYS.contains(&name);
    let (name, what) = (name.to_owned(), what.to_owned());
    Figure { name, what, unit, worse, file, is_key, taken: Taken::Plain(of) }
}

/// What floodtest counted.
fn received() -> Vec<Figure> {
    let (good, bad) = ((Unit::Count, Worse::Less), (Unit::Count, Worse::More));
    let rate = (Unit::PerSecond, Worse::Less);
    let figure = |name, what, kind, of| plain(name, what, kind, files::FLOODTEST, of);
    vec![
        figure("connected", "connections open at the end", good, |it| {
            Some(it.received.connected as f64)
        }),
        figure("closed", "connections that closed", bad, |it| Some(it.received.closed as f64)),
        figure("failed", "connections never established", bad, |it| {
            Some(it.received.failed as f64)
        }),
        figure("opened_per_s", "connections opened a second", rate, |it| it.rates.opened_per_s),
        figure("messages", "messages received", good, |it| Some(it.received.messages as f64)),
        figure("chunks", "chunks received", good, |it| Some(it.received.chunks as f64)),
        figure("lost", "messages lost", bad, |it| it.received.lost.map(|n| n as f64)),
        figure("duplicated", "messages that came again", bad, |it| {
            it.received.duplicated.map(|n| n as f64)
        }),
        figure("reordered", "messages that came after a later one", bad, |it| {
            it.received.reordered.map(|n| n as f64)
        }),
    ]
}

/// How connections came back: the worst of all storms and times without the server.
fn settled() -> Vec<Figure> {
    let figure =
        |name, what, unit, of| plain(name, what, (unit, Worse::More), files::FLOODTEST, of);
    vec![
        figure("settle.t50", "until half of the connections were back", Unit::Ms, |it| {
            it.worst_settle(|settle| settle.t50_s).map(|time_s| time_s * 1e3)
        }),
        figure("settle.t95", "until 95 % of them were back", Unit::Ms, |it| {
            it.worst_settle(|settle| settle.t95_s).map(|time_s| time_s * 1e3)
        }),
        figure("settle.t100", "until all of them were back", Unit::Ms, |it| {
            it.worst_settle(|settle| settle.t100_s).map(|time_s| time_s * 1e3)
        }),
        figure(
            "settle.peak_connects_per_s",
            "most connects in a second meanwhile",
            Unit::PerSecond,
            |it| it.worst_settle(|settle| Some(settle.peak_connects_per_s as f64)),
        ),
        figure("settle.failed", "connects that failed meanwhile", Unit::Count, |it| {
            it.worst_settle(|settle| {
                Some(settle.failed.values().fold(0, |sum: u64, n| sum.saturating_add(*n)) as f64)
            })
        }),
        figure(
            "lost_in_gaps",
            "messages sent while a place had no connection",
            Unit::Count,
            |it| it.received.lost_in_gaps.map(|n| n as f64),
        ),
    ]
}

/// What is known of streams that end.
fn streams() -> Vec<Figure> {
    let rate = (Unit::PerSecond, Worse::Less);
    let figure = |name, what, of| plain(name, what, rate, files::FLOODTEST, of);
    vec![
        figure("goodput.per_s", "streams a second that met what was asked of each", |it| {
            Some(it.received.streams.as_ref()?.goodput.as_ref()?.per_s)
        }),
        figure("counted.per_s", "counted in a field a second, such as tokens", |it| {
            it.received.streams.as_ref()?.counted.as_ref()?.per_s
        }),
    ]
}

/// What msggen counted.
fn sent() -> Vec<Figure> {
    let (good, bad) = ((Unit::Count, Worse::Less), (Unit::Count, Worse::More));
    let rate = (Unit::PerSecond, Worse::Less);
    let figure = |name, what, kind, of| plain(name, what, kind, files::MSGGEN, of);
    vec![
        figure("answered", "messages that the server accepted", good, |it| {
            Some(it.sent.as_ref()?.answered as f64)
        }),
        figure("unanswered", "messages never answered", bad, |it| {
            Some(it.sent.as_ref()?.unanswered as f64)
        }),
        figure("void", "messages to ids that nobody had", bad, |it| {
            it.sent.as_ref()?.void.map(|n| n as f64)
        }),
        figure("achieved_per_s", "messages sent a second", rate, |it| {
            Some(it.sent.as_ref()?.achieved_per_s)
        }),
    ]
}

/// What the server cost, by its memory log.
fn memory() -> Vec<Figure> {
    use Unit::{Bytes, Cores, Kb, KbPerMin, Us};
    let figure = |name, what, unit, of| plain(name, what, (unit, Worse::More), files::MEMORY, of);
    vec![
        figure("server.rss_empty", "RSS with nobody connected", Kb, |it| {
            Some(it.cost.empty.as_ref()?.rss_kb as f64)
        }),
        figure("server.rss_idle", "RSS with all connected and nothing sent", Kb, |it| {
            Some(it.cost.idle.as_ref()?.rss_kb as f64)
        }),
        figure("server.rss_per_connection", "(RSS idle − empty) ÷ connections", Bytes, |it| {
            it.cost.idle_bytes_per_connection
        }),
        figure("server.rss_after", "RSS after the messages", Kb, |it| {
            Some(it.cost.after.as_ref()?.rss_kb as f64)
        }),
        figure(
            "server.rss_per_connection_after",
            "(RSS after the messages − empty) ÷ connections",
            Bytes,
            |it| it.cost.after_bytes_per_connection,
        ),
        figure("server.rss_highest", "highest RSS while messages are sent", Kb, |it| {
            Some(it.cost.highest_rss_kb? as f64)
        }),
        figure("server.rss_growth", "growth of the RSS in the last half", KbPerMin, |it| {
            it.cost.rss_slope_kb_per_min
        }),
        figure(
            "server.kernel_per_connection",
            "kernel memory for TCP, (idle − empty) ÷ connections",
            Bytes,
            |it| it.cost.idle_kernel_bytes_per_connection,
        ),
        figure(
            "server.kernel_per_connection_after",
            "kernel memory for TCP, (after the messages − empty) ÷ connections",
            Bytes,
            |it| it.cost.after_kernel_bytes_per_connection,
        ),
        figure(
            "server.cpu_share",
            "CPU time ÷ elapsed time while messages are sent",
            Cores,
            |it| it.cost.cpu_share,
        ),
        figure(
            "server.cpu_per_message",
            "CPU time while messages are sent ÷ messages received",
            Us,
            |it| it.cost.cpu_us_per_message,
        ),
    ]
}

/// What the machine was asked for, by the run's footprints.
fn machine() -> Vec<Figure> {
    let figure =
        |name, what, of| plain(name, what, (Unit::Bytes, Worse::More), files::FOOTPRINT, of);
    vec![
        figure(
            "server.pss_per_connection",
            "(PSS of all servers after the messages − empty) ÷ connections",
            |it| it.machine.server_bytes_per_connection,
        ),
        figure(
            "machine.used_per_connection",
            "slab, servers, floodtest and brokers, (after − empty) ÷ connections",
            |it| it.machine.used_bytes_per_connection,
        ),
    ]
}

/// The figures of delays.
fn delays(name: &str, what: &str, file: &'static str, of: Delays) -> Vec<Figure> {
    let percentiles: [(&str, &str, OfDelays); 7] = [
        ("p50", "median", |it| it.p50_us as f64),
        ("p90", "90th percentile", |it| it.p90_us as f64),
        ("p99", "99th percentile", |it| it.p99_us as f64),
        ("p99.9", "99.9th percentile", |it| it.p999_us as f64),
        ("p99.99", "99.99th percentile", |it| it.p9999_us as f64),
        ("max", "longest", |it| it.max_us as f64),
        ("mean", "mean", |it| it.mean_us),
    ];
    let figure = |(which, of_all, taken): (&str, &str, OfDelays)| {
        let name = format!("{name}.{which}");
        Figure {
            is_key: KEYS.contains(&name.as_str()),
            name,
            what: format!("{what}: {of_all}"),
            unit: Unit::Ms,
            worse: Worse::More,
            file,
            taken: Taken::Delay(of, taken),
        }
    };
    percentiles.into_iter().map(figure).collect()
}

/// The name of `all` that is most like `name`. `None` if it is like none of them.
pub fn nearest<'a>(name: &str, all: &'a [Figure]) -> Option<&'a str> {
    /// Names less alike than this are not meant. A transposed pair of letters makes about 0.95.
    const LEAST_ALIKE: f64 = 0.8;
    // Names have long beginnings in common, which Jaro and Winkler's measure would count twice.
    let alike = |figure: &&Figure| strsim::normalized_damerau_levenshtein(name, &figure.name);
    // A last part alone is the likeliest mistake: rss_per_connection.
    let is_end = |figure: &&Figure| figure.name.rsplit_once('.').is_some_and(|it| it.1 == name);
    let mut found: Vec<&Figure> = all.iter().filter(|it| alike(it) >= LEAST_ALIKE).collect();
    found.sort_by(|a, b| alike(b).total_cmp(&alike(a)));
    let found = found.first().copied().or_else(|| all.iter().find(is_end));
    found.map(|figure| figure.name.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_one_figures_only() {
        let all = all();
        let names: BTreeSet<&str> = all.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        for name in ["delivery_from_due.p99", "lost", "connected", "server.rss_per_connection"] {
            assert!(names.contains(name), "{name}");
        }
        assert_eq!(all.iter().filter(|it| it.is_key).count(), KEYS.len(), "each key is a figure");
    }

    #[test]
    fn a_name_that_is_nearly_one_is_told_from_one_that_is_not() {
        let all = all();
        for (name, expected) in [
            ("delivery_from_due.p9", Some("delivery_from_due.p90")),
            ("delivery-from-due.p99", Some("delivery_from_due.p99")),
            ("delivery_form_due.p50", Some("delivery_from_due.p50")),
            ("rss_per_connection", Some("server.rss_per_connection")),
            ("server.rss_per_conection", Some("server.rss_per_connection")),
            ("losst", Some("lost")),
            ("weather", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, &all), expected, "{name}");
        }
    }

    #[test]
    fn values_are_read_in_the_figures_unit() {
        assert_eq!(Unit::Ms.parse("2ms"), Ok(2.0));
        assert_eq!(Unit::Us.parse("2ms"), Ok(2_000.0));
        assert_eq!(Unit::Kb.parse("1MiB"), Ok(1_024.0));
        assert_eq!(Unit::Cores.parse("0.05"), Ok(0.05));
        assert_eq!(Unit::Count.parse("10k"), Ok(10_000.0));
        for (unit, text) in [
            (Unit::Cores, "inf"),
            (Unit::Cores, "nan"),
            (Unit::Ms, "2"),
            (Unit::Bytes, "100"),
            (Unit::Count, "0.5.5"),
        ] {
            assert!(unit.parse(text).is_err(), "{unit:?} {text}");
        }
    }
}
