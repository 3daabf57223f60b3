//! What one process is to do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::accounting::Accounting;
use crate::config::{Config, Rate};
use crate::end::Ends;
use crate::prepare::Prepared;
use crate::request::Requests;
use crate::shape::Shape;
use crate::share::Share;
use crate::sources::SourceIps;
use crate::streams::plan::StreamPlan;
use crate::targets::Targets;
use crate::tls::{TlsArgs, Trust, TrustError};
use crate::urls::LineIndex;

/// What one process is to do: the whole run, or a share of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Connections of the whole run.
    pub(crate) n_asked: u64,
    /// Which of them are this process's.
    pub(crate) share: Share,
    /// How many the whole run begins a second.
    pub(crate) rate: Rate,
    /// How long they live, what follows their ends, and which are read slowly.
    pub(crate) shape: Shape,
    /// What an orderly end of a response means.
    pub(crate) ends: Ends,
    /// Where the URLs are in their file, if places have more than one connection.
    pub(crate) lines: LineIndex,
    /// How long a connect may take, the handshake of TLS included.
    pub(crate) connect_timeout: Duration,
    /// How long a response head may take after the request, if there is a limit.
    pub(crate) head_timeout: Option<Duration>,
    /// How messages are known and judged.
    pub(crate) accounting: Accounting,
    /// What is asked about streams that end.
    pub(crate) streams: StreamPlan,
    /// What is asked.
    pub(crate) requests: Requests,
    /// Whom to trust, and what to show.
    pub(crate) tls: TlsArgs,
    /// The addresses to dial from, for those that a redirect leads to.
    pub(crate) source_ips: Option<SourceIps>,
    /// Where the URLs lead.
    pub(crate) targets: Targets,
}

impl Job {
    /// The whole of a run. What was prepared of requests and targets goes with it.
    pub(crate) fn whole(config: &Config, prepared: &mut Prepared) -> Self {
        Self {
            n_asked: prepared.dry_run.asked,
            share: Share::WHOLE,
            rate: config.rate.clone(),
            shape: std::mem::take(&mut prepared.shape),
            ends: config.ends,
            lines: std::mem::take(&mut prepared.lines),
            connect_timeout: config.connect_timeout,
            head_timeout: config.head_timeout,
            accounting: config.accounting.clone(),
            streams: config.streams.clone(),
            requests: std::mem::take(&mut prepared.requests),
            tls: config.tls.clone(),
            source_ips: config.source_ips.clone(),
            targets: std::mem::take(&mut prepared.targets),
        }
    }

    /// Names its files anew, for a machine on which they are elsewhere.
    pub(crate) fn rename_files(&mut self, new: impl Fn(&Path) -> PathBuf) {
        let TlsArgs { ca, cert, key, .. } = &mut self.tls;
        let Accounting { sent, follows, .. } = &mut self.accounting;
        for path in [ca, cert, key, follows].into_iter().flatten().chain(sent) {
            *path = new(path);
        }
    }

    /// How TLS is spoken, if it may have to be.
    pub(crate) fn trust(&self) -> Result<Option<Trust>, TrustError> {
        Trust::if_needed(&self.tls, self.targets.n_tls(), self.requests.max_redirects > 0)
    }
}
