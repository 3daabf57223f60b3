//! `GET /metrics`: the counts as text for Prometheus, and how long messages take.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::close::{ByReason, CloseReason};
use crate::cluster::health::ClusterStats;
use crate::control::counts::ControlStats;
use crate::stats::Stats;

/// The media type of [`text()`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The counts and how long messages took, as text.
pub(crate) fn text(stats: Stats, durations: &Histogram) -> String {
    let mut registry = Registry::with_prefix("comet");
    let help = "Time from a message's turn to its last write";
    registry.register_with_unit("send_duration", help, Unit::Seconds, durations.clone());
    registry.register_collector(Box::new(Counts(stats)));
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a string takes all");
    text
}

/// The counts, to be encoded.
#[derive(Debug)]
struct Counts(Stats);

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (out, stats) = (&mut encoder, &self.0);
        let router = &stats.router;
        let [accepted, aborted] = [stats.accepted, stats.aborted];
        counter(out, "connections_accepted", "Connections accepted.", accepted)?;
        gauge(out, "connections_open", "Connections open.", stats.open)?;
        gauge(out, "connections_parked", "Connections logged in.", router.parked)?;
        by_reason(out, "connections_closed", "Connections closed.", &router.closed)?;
        gauge(out, "ids", "Different ids logged in.", router.ids)?;
        gauge(out, "logins", "Ids of all connections together.", router.logins)?;
        counter(out, "messages", "Messages sent.", router.messages)?;
        counter(out, "messages_void", "Messages that reached nobody.", router.void)?;
        counter(out, "messages_aborted", "Messages broken off by their sender.", aborted)?;
        counter(out, "chunks", "Chunks made of messages.", router.deliveries)?;
        counter(out, "chunks_written", "Chunks that the kernel took.", router.written)?;
        gauge(out, "chunks_queued", "Chunks that wait in a backlog.", router.queued)?;
        gauge(out, "backlog_bytes", "Memory that all backlogs hold.", router.backlog_bytes)?;
        by_reason(out, "chunks_dropped", "Chunks dropped at a close.", &router.dropped)?;
        gauge(out, "accepting", "1 while connections are accepted.", u64::from(stats.accepting))?;
        encode_control(out, &stats.control)?;
        stats.cluster.as_ref().map_or(Ok(()), |cluster| encode_cluster(out, cluster))
    }
}

/// Writes what was counted at the control door.
fn encode_control(out: &mut DescriptorEncoder<'_>, stats: &ControlStats) -> fmt::Result {
    gauge(out, "control_connections", "Control connections open.", stats.open)?;
    counter(out, "control_accepted", "Control connections accepted.", stats.accepted)?;
    let help = "Control connections closed because their time was up.";
    counter(out, "control_timed_out", help, stats.timed_out)?;
    let help = "Control connections closed because another one needed the place.";
    counter(out, "control_evicted", help, stats.evicted)?;
    let help = "Answers of the control door that say why not.";
    let mut family = out.encode_descriptor("control_refused", help, None, MetricType::Counter)?;
    for (status, n) in stats.refused.all() {
        let labels = [("status", status)];
        ConstCounter::new(n).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Writes what was counted in a cluster.
fn encode_cluster(out: &mut DescriptorEncoder<'_>, stats: &ClusterStats) -> fmt::Result {
    let mut info = out.encode_descriptor("node", "The node.", None, MetricType::Info)?;
    info.encode_info(&[("name", stats.node.as_str())])?;
    gauge(out, "cluster_subscriptions", "Ids subscribed.", stats.subscriptions)?;
    counter(out, "cluster_resubscribed", "Ids subscribed again.", stats.resubscribed)?;
    gauge(out, "cluster_waiting", "Connections that wait for that.", stats.waiting)?;
    counter(out, "cluster_published", "Messages published.", stats.published)?;
    counter(out, "cluster_unfollowed", "Of these, without a subscriber.", stats.unfollowed)?;
    counter(out, "cluster_failed", "Messages that were not published.", stats.failed)?;
    counter(out, "cluster_unconfirmed", "Messages perhaps published.", stats.unconfirmed)?;
    counter(out, "cluster_received", "Messages of other nodes.", stats.received)?;
    counter(out, "cluster_echoed", "Messages of this node that came back.", stats.echoed)?;
    counter(out, "cluster_foreign", "Publications of nobody known.", stats.foreign)?;
    counter(out, "cluster_too_large", "Publications too large to deliver.", stats.too_large)?;
    let help = "Answers to count=exact that were ignored.";
    counter(out, "cluster_counts_ignored", help, stats.counts_ignored)?;
    counter(out, "cluster_gaps", "Times that messages could not come in.", stats.gaps)?;
    let help = "How long they could not.";
    let blind =
        out.encode_descriptor("cluster_blind", help, Some(&Unit::Seconds), MetricType::Counter)?;
    ConstCounter::new(stats.blind_s).encode(blind)
}

/// Writes a counter.
fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, n: u64) -> fmt::Result {
    let encoder = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(n).encode(encoder)
}

/// Writes a gauge.
fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, n: u64) -> fmt::Result {
    let encoder = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(n).encode(encoder)
}

/// Writes a counter for every reason, those that did not happen included: a series that begins with
/// its first event hides that event from `rate()`.
fn by_reason(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: &ByReason,
) -> fmt::Result {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    for reason in CloseReason::ALL {
        let labels = [("reason", reason.name())];
        ConstCounter::new(counts.get(reason)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
