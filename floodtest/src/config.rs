//! What a run is asked to do.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use reports::{out, units};
use serde::{Deserialize, Serialize};

use crate::accounting::Accounting;
use crate::end::Ends;
use crate::request::RequestArgs;
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
}

impl Config {
    /// How many connections a second are to be begun; `None` if as many as possible.
    pub(crate) fn asked_per_s(&self) -> Option<f64> {
        match self.rate {
            Rate::PerSecond(rate) => Some(rate),
            Rate::Max => None,
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Rate {
    /// So many, on a fixed schedule (open loop).
    PerSecond(f64),
    /// As many as are answered, flat out.
    Max,
}

/// Connections a second that may be asked for. More than this no machine opens, and `max` is
/// the word for it.
const MAX_PER_SECOND: f64 = 1e6;

/// The slowest rate: one connection in about a quarter of an hour.
const MIN_PER_SECOND: f64 = 1e-3;

/// Why a text is not a [`Rate`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a rate: \"{0}\"; write connections a second, 0.001 to 1m, or max")]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let count = || units::parse_count(text).ok().map(|count| count as f64);
        let rate = text.parse::<f64>().ok().or_else(count);
        rate.filter(|rate| (MIN_PER_SECOND..=MAX_PER_SECOND).contains(rate))
            .map(Self::PerSecond)
            .ok_or_else(|| RateError(text.to_owned()))
    }
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
        for text in ["", "0", "-1", "inf", "nan", "2m", "fast", "0.0001"] {
            assert_eq!(text.parse::<Rate>(), Err(RateError(text.into())), "{text}");
        }
    }
}
