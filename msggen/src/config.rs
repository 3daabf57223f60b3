//! What a run is asked to do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reports::out;
use reqwest::header::HeaderValue;

use crate::route::Route;
use crate::{ids, interval, message, tls};

/// What a run is asked to do; checked by [`args`](crate::args).
#[derive(Debug, Clone)]
pub struct Config {
    /// Messages that each source sends; at least 1.
    pub n_messages: u64,
    /// From one message of a source to its next; zero means as fast as answers come.
    pub interval: interval::Interval,
    /// The ids that messages go to.
    pub audience: Arc<ids::Audience>,
    /// Sources; at least 1, and few enough that `n_sources` × `n_messages` is a number.
    pub n_sources: u64,
    /// Requests that a source may have on their way; at least 1.
    pub in_flight: usize,
    /// What messages say.
    pub text: message::Text,
    /// Where they go.
    pub route: Route,
    /// `Bearer …`, for a control door that wants one.
    pub token: Option<HeaderValue>,
    /// Whom to trust where a URL is `https`.
    pub trust: tls::Trust,
    /// Connections to a server at a time; at least 1.
    pub n_connections: usize,
    /// What every source's ids and random intervals follow from.
    pub seed: u64,
    /// Whether messages carry a stamp.
    pub has_stamps: bool,
    /// Whether messages that have numbers may overtake others to the same id.
    pub is_unordered: bool,
    /// Where to write what was sent to each id, if anywhere. Needs stamps.
    pub sent: Option<PathBuf>,
    /// How long an answer may take before its messages count as unanswered.
    pub timeout: Duration,
    /// How long messages wait for a server that is gone before they fail.
    pub patience: Duration,
    /// From one report to the next.
    pub report_every: Duration,
    /// The logs to keep, if any.
    pub out: Option<out::Folder>,
}

impl Config {
    /// WebSockets to a server: as many as connections, and not more than there are ids.
    pub fn n_sockets(&self) -> usize {
        let n_ids = usize::try_from(self.audience.population().n_ids()).unwrap_or(usize::MAX);
        self.n_connections.min(n_ids)
    }

    /// Whether messages have numbers, and so an order.
    pub fn numbers_messages(&self) -> bool {
        self.has_stamps || self.text.template.has_number() || self.route.has_number()
    }
}
