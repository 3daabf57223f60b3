//! What a run is asked to do.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use reports::remote::RemoteHost;
use reports::schedule::{Schedule, Step, Steps, StepsError};
use reports::{out, units};
use serde::{Deserialize, Serialize};

use crate::accounting::Accounting;
use crate::end::Ends;
use crate::hosts::HostSpec;
use crate::request::RequestArgs;
use crate::shape::Shape;
use crate::sources::SourceIps;
use crate::streams::plan::StreamPlan;
use crate::tls::TlsArgs;

/// What a run is asked to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file with the URLs, one a line.
    pub urls: PathBuf,
    /// How many connections a second are begun.
    pub rate: Rate,
    /// How many connections there are in all; as many as URLs if it is not said.
    pub connections: Option<u64>,
    /// How long connections live, what follows their ends, and which are read slowly.
    pub shape: Shape,
    /// How long to hold them after the last attempt to open one has ended; until the signal to
    /// stop if it is not said.
    pub hold: Option<Duration>,
    /// How often there is a report; more than zero.
    pub report_every: Duration,
    /// How long a connect may take, and the handshake of TLS with it. Counted anew for each address
    /// of a host.
    pub connect_timeout: Duration,
    /// How long a response head may take after the request; for ever if it is not said.
    pub head_timeout: Option<Duration>,
    /// The addresses to dial from, in place of those that floodtest would choose.
    pub source_ips: Option<SourceIps>,
    /// How messages are known and judged.
    pub accounting: Accounting,
    /// Whether to ask for server-sent events.
    pub is_sse: bool,
    /// What is asked on every connection.
    pub request: RequestArgs,
    /// Whom to trust, and what to show.
    pub tls: TlsArgs,
    /// What an orderly end of a response means.
    pub ends: Ends,
    /// What is asked about streams that end.
    pub streams: StreamPlan,
    /// How often progress is shown, if it is.
    pub progress_every: Option<Duration>,
    /// The logs to keep, if any.
    pub out: Option<out::Folder>,
    /// The program `floodtest`, which is started as a worker when one process may not open as many
    /// files as there are connections.
    pub worker: PathBuf,
    /// The hosts that hold the connections; none if it is this one.
    pub hosts: Vec<HostSpec>,
    /// The host where messages are sent, if it is not this one; only with hosts.
    pub sender_host: Option<RemoteHost>,
    /// The program that is started on them.
    pub remote_program: String,
}

impl Config {
    /// How many connections a second are to be begun; `None` if as many as possible.
    /// Where that changes, it is the mean until the last one was begun, `opening_s` seconds after
    /// the first.
    pub(crate) fn asked_per_s(&self, opening_s: f64) -> Option<f64> {
        match &self.rate {
            Rate::PerSecond(rate) => Some(*rate),
            Rate::Max => None,
            Rate::Steps(steps) => {
                let n = steps.n_before(Duration::from_secs_f64(opening_s));
                (opening_s > 0.0).then(|| n as f64 / opening_s)
            }
        }
    }

    /// What was asked for and may not be what was meant, a sentence each.
    pub(crate) fn cautions(&self) -> Vec<String> {
        let mut cautions = Vec::new();
        let RequestArgs { method, body, body_file, .. } = &self.request;
        if method == "GET" && (body.is_some() || body_file.is_some()) {
            cautions.push(
                "the requests are GET with a body, which many servers ignore; --method POST sends \
                 them as POST"
                    .to_owned(),
            );
        }
        if self.tls.insecure {
            cautions.push("certificates of servers were not checked (--insecure)".to_owned());
        }
        cautions
    }
}

/// How many connections a second are begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Rate {
    /// So many, on a fixed schedule (open loop).
    PerSecond(f64),
    /// As many as are answered, flat out.
    Max,
    /// So many as these steps say, on a fixed schedule.
    Steps(Steps),
}

impl Rate {
    /// When connection `number` is due, counted from the start; `None` if it never is.
    pub(crate) fn due(&self, number: u64) -> Option<Duration> {
        match self {
            Self::PerSecond(rate) => Some(Schedule::per_second(*rate).due(number)),
            Self::Max => Some(Duration::ZERO),
            Self::Steps(steps) => steps.due(number),
        }
    }

    /// How many connections fall due within `time`; `None` if there is no end of them.
    pub(crate) fn n_within(&self, time: Duration) -> Option<u64> {
        match self {
            // What is due at its very end is not within it.
            Self::PerSecond(rate) => {
                let last = time.saturating_sub(Duration::from_nanos(1));
                Some(Schedule::per_second(*rate).n_due(last))
            }
            Self::Max => None,
            Self::Steps(steps) => Some(steps.n_before(time)),
        }
    }

    /// How many connections fall due at all; `None` if there is no end of them.
    pub(crate) fn n_in_all(&self) -> Option<u64> {
        match self {
            Self::Steps(steps) => steps.lasts().map(|lasts| steps.n_before(lasts)),
            Self::PerSecond(_) | Self::Max => None,
        }
    }
}

/// Connections a second that may be asked for. More than this no machine opens, and `max` is
/// the word for it.
const MAX_PER_SECOND: f64 = 1e6;

/// The slowest rate: one connection in about a quarter of an hour. A ramp may come from nothing, or
/// go down to it.
const MIN_PER_SECOND: f64 = 1e-3;

/// Steps that a rate may have: more than anybody types.
const MAX_STEPS: usize = 1_000;

/// Why a text is not a [`Rate`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// It is neither a number nor a word.
    #[error(
        "not a rate: \"{0}\"; write connections a second, 0.001 to 1m, or max, or steps: \
         100/30s,ramp:100..2000/1m,500"
    )]
    NotARate(String),
    /// Its steps make no sense together.
    #[error("not a rate: \"{text}\": {problem}; write steps as 100/30s,ramp:100..2000/1m,500")]
    Steps {
        /// All of it.
        text: String,
        /// What is wrong.
        problem: StepsError,
    },
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        if text == "max" {
            return Ok(Self::Max);
        }
        if let Some(rate) = rate_of(text, MIN_PER_SECOND) {
            return Ok(Self::PerSecond(rate));
        }
        let not_a_rate = || RateError::NotARate(text.to_owned());
        let steps: Option<Vec<Step>> = text.split(',').map(step_of).collect();
        let steps = steps.filter(|steps| steps.len() <= MAX_STEPS).ok_or_else(not_a_rate)?;
        let steps = Steps::new(steps);
        steps
            .map(Self::Steps)
            .map_err(|problem| RateError::Steps { text: text.to_owned(), problem })
    }
}

/// Reads a number of connections a second from `least` on.
fn rate_of(text: &str, least: f64) -> Option<f64> {
    let count = || units::parse_count(text).ok().map(|count| count as f64);
    let rate = text.parse::<f64>().ok().or_else(count);
    rate.filter(|rate| (least..=MAX_PER_SECOND).contains(rate))
}

/// Reads a step: `100/30s`, `ramp:100..2000/60s`, or a rate without an end.
fn step_of(text: &str) -> Option<Step> {
    let (rates, lasts) = match text.split_once('/') {
        Some((rates, lasts)) => (rates, Some(units::parse_duration(lasts).ok()?)),
        None => (text, None),
    };
    let (from_per_s, to_per_s) = if let Some(ramp) = rates.strip_prefix("ramp:") {
        // Without a time a ramp has no slope.
        lasts?;
        let (from, to) = ramp.split_once("..")?;
        (rate_of(from, 0.0)?, rate_of(to, 0.0)?)
    } else {
        let rate = rate_of(rates, MIN_PER_SECOND)?;
        (rate, rate)
    };
    Some(Step { from_per_s, to_per_s, lasts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_a_second_or_max() {
        for (text, rate) in [
            ("100", Rate::PerSecond(100.0)),
            ("0.5", Rate::PerSecond(0.5)),
            ("1.5k", Rate::PerSecond(1_500.0)),
            ("max", Rate::Max),
        ] {
            assert_eq!(text.parse(), Ok(rate), "{text}");
        }
        for text in ["", "0", "-1", "inf", "nan", "2m", "fast", "0.0001", "ramp:1..2", "1/2", "1,x"]
        {
            assert_eq!(text.parse::<Rate>(), Err(RateError::NotARate(text.into())), "{text}");
        }
    }

    #[test]
    fn a_rate_may_change_in_steps() {
        let rate: Rate = "100/30s,ramp:100..500/1m,500".parse().unwrap();
        let s = Duration::from_secs;
        assert_eq!(rate.due(3_000), Some(s(30)));
        assert_eq!(rate.n_within(s(90)), Some(3_000 + 18_000));
        assert_eq!(rate.n_in_all(), None);
        let down: Rate = "ramp:2k..0/1m".parse().unwrap();
        assert_eq!((down.n_in_all(), down.due(60_000)), (Some(60_000), None));
        let endless = "5,ramp:1..2/1s".parse::<Rate>().unwrap_err().to_string();
        assert!(endless.contains("only the last step may go without a time"), "{endless}");
        let nothing = "ramp:0..0/1s".parse::<Rate>().unwrap_err().to_string();
        assert!(nothing.contains("a rate must be more than zero"), "{nothing}");
        let rate = Rate::PerSecond(50.0);
        assert_eq!((rate.n_within(s(60)), Rate::Max.n_within(s(60))), (Some(3_000), None));
    }
}
