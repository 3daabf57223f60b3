//! `GET /metrics`: the counts as text for Prometheus, and how long messages take.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use strum::VariantArray as _;

use crate::close::{ByCode, ByReason, CloseReason};
use crate::cluster::health::ClusterStats;
use crate::control::counts::ControlStats;
use crate::friends::FriendsStats;
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
        let n = stats.connections_accepted;
        counter(out, "connections_accepted", "Connections accepted.", n)?;
        gauge(out, "connections_open", "Connections open.", stats.connections_open)?;
        let help = "Open connections whose request is not complete or whose answer is not read.";
        gauge(out, "connections_pending", help, stats.connections_pending)?;
        gauge(out, "connections_parked", "Connections logged in.", router.connections_parked)?;
        let help = "Connections closed.";
        by_reason(out, "connections_closed", help, &router.connections_closed)?;
        let help = "WebSockets ended by their peers.";
        by_code(out, "close_codes", help, &router.close_codes)?;
        let help = "1 while connections are accepted, 0 while descriptors have run out.";
        gauge(out, "accepting", help, u64::from(stats.accepting))?;
        gauge(out, "ids", "Different ids logged in.", router.ids)?;
        gauge(out, "logins", "Ids of all connections together.", router.logins)?;
        counter(out, "messages", "Messages sent.", router.messages)?;
        let help = "Messages that reached no connection.";
        counter(out, "messages_void", help, router.messages_void)?;
        let help = "Messages that reached at least one connection.";
        counter(out, "messages_reached", help, router.messages_reached)?;
        let help = "Messages broken off by their sender, and not sent.";
        counter(out, "messages_aborted", help, stats.messages_aborted)?;
        let help = "Chunks made of messages, one for each connection reached.";
        counter(out, "chunks", help, router.chunks)?;
        counter(out, "chunks_written", "Chunks that the kernel took.", router.chunks_written)?;
        gauge(out, "chunks_queued", "Chunks that wait in a backlog.", router.chunks_queued)?;
        let help = "Chunks dropped because their connection was closed.";
        by_reason(out, "chunks_dropped", help, &router.chunks_dropped)?;
        gauge(out, "backlog_bytes", "Memory that all backlogs hold.", router.backlog_bytes)?;
        let help = "Time since the server was started";
        let uptime =
            out.encode_descriptor("uptime", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(stats.uptime_s).encode(uptime)?;
        encode_control(out, &stats.control)?;
        if let Some(friends) = &stats.friends {
            encode_friends(out, friends)?;
        }
        stats.cluster.as_ref().map_or(Ok(()), |cluster| encode_cluster(out, cluster))
    }
}

/// Writes what happened to the store of friends.
fn encode_friends(out: &mut DescriptorEncoder<'_>, stats: &FriendsStats) -> fmt::Result {
    let help = "Followers of users whom messages to followers were about.";
    counter(out, "followers", help, stats.followers)?;
    let help = "Changes of who follows whom that were made durable.";
    counter(out, "follow_changes", help, stats.follow_changes)?;
    let help = "Changes of who follows whom that changed nothing.";
    counter(out, "follow_changes_unchanged", help, stats.follow_changes_unchanged)?;
    let help = "Requests that the store of friends did not take, or that failed on the disk.";
    counter(out, "friends_failed", help, stats.friends_failed)
}

/// Writes what was counted at the control door.
fn encode_control(out: &mut DescriptorEncoder<'_>, stats: &ControlStats) -> fmt::Result {
    counter(out, "control_accepted", "Control connections accepted.", stats.accepted)?;
    gauge(out, "control_open", "Control connections open.", stats.open)?;
    let help = "Control connections closed because their time was up.";
    counter(out, "control_timed_out", help, stats.timed_out)?;
    let help = "Control connections closed because another one needed the place.";
    counter(out, "control_evicted", help, stats.evicted)?;
    let help = "Requests to the control door that were refused.";
    let mut family = out.encode_descriptor("control_refused", help, None, MetricType::Counter)?;
    for (status, n) in stats.refused.all() {
        let labels = [("status", status)];
        ConstCounter::new(n).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Writes what was counted in a cluster.
fn encode_cluster(out: &mut DescriptorEncoder<'_>, stats: &ClusterStats) -> fmt::Result {
    let help = "The name of this node.";
    let mut info = out.encode_descriptor("cluster_node", help, None, MetricType::Info)?;
    info.encode_info(&[("name", stats.node.as_str())])?;
    let help = "Ids that this node has subscribed at the brokers.";
    gauge(out, "cluster_subscriptions", help, stats.subscriptions)?;
    let help = "Ids subscribed again because a broker had been away.";
    counter(out, "cluster_resubscribed", help, stats.resubscribed)?;
    let help = "Connections that wait until their ids are subscribed.";
    gauge(out, "cluster_waiting", help, stats.waiting)?;
    let help = "Messages that a broker has confirmed as published.";
    counter(out, "cluster_published", help, stats.published)?;
    let help = "Published messages for which the broker had no subscriber.";
    counter(out, "cluster_unfollowed", help, stats.unfollowed)?;
    counter(out, "cluster_failed", "Messages that were not published.", stats.failed)?;
    let help = "Messages refused although a broker may have published them.";
    counter(out, "cluster_unconfirmed", help, stats.unconfirmed)?;
    counter(out, "cluster_received", "Messages received from other nodes.", stats.received)?;
    let help = "Messages of this node that came back, and were dropped.";
    counter(out, "cluster_echoed", help, stats.echoed)?;
    let help = "Publications dropped because no node of this version wrote them.";
    counter(out, "cluster_foreign", help, stats.foreign)?;
    let help = "Publications dropped because they are larger than any message.";
    counter(out, "cluster_too_large", help, stats.too_large)?;
    let help = "Answers to count=exact that were ignored.";
    counter(out, "cluster_counts_ignored", help, stats.counts_ignored)?;
    let help = "Losses of a connection on which messages of other nodes come in.";
    counter(out, "cluster_gaps", help, stats.gaps)?;
    let help = "Time during which messages of other nodes could not come in";
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
    for &reason in CloseReason::VARIANTS {
        let labels = [("reason", reason.name())];
        ConstCounter::new(counts.get(reason)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// The same for every code of WebSockets.
fn by_code(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: &ByCode,
) -> fmt::Result {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (code, n) in counts.all() {
        let labels = [("code", &*code)];
        ConstCounter::new(n).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::control::counts::ControlCounts;
    use crate::pending::AcceptStats;
    use crate::router::RouterStats;

    /// Keys of `/stats` that are no counts.
    const TEXTS: [&str; 2] = ["version", "cluster_node"];

    /// Names in `/metrics` that are more than a count.
    const MORE_THAN_COUNTS: [&str; 2] = ["send_duration_seconds", "cluster_node"];

    /// Adds the keys of `value`, those of its parts behind the part's name. Counts by reason or
    /// status are one key.
    fn add_keys(before: &str, value: &Value, keys: &mut BTreeSet<String>) {
        for (key, value) in value.as_object().unwrap() {
            let key = format!("{before}{key}");
            match value {
                Value::Object(_) if key == "control" || key == "cluster" => {
                    add_keys(&format!("{key}_"), value, keys);
                }
                _ if TEXTS.contains(&&*key) => {}
                // A unit is an abbreviation in JSON and a word in Prometheus.
                _ => _ = keys.insert(key.strip_suffix("_s").map_or(key.clone(), seconds)),
            }
        }
    }

    fn seconds(name: &str) -> String {
        format!("{name}_seconds")
    }

    #[test]
    fn every_count_has_the_same_name_in_stats_and_in_metrics() {
        let cluster = Some(ClusterStats::default());
        let (accept, router) = (AcceptStats::default(), RouterStats::default());
        let control = ControlCounts::default().stats(0);
        let mut stats = Stats::new(&accept, router, 0, false, Duration::ZERO, control, cluster);
        stats.friends = Some(FriendsStats::default());
        let mut in_stats = BTreeSet::new();
        add_keys("", &serde_json::to_value(&stats).unwrap(), &mut in_stats);

        let text = text(stats, &Histogram::new([1.0]));
        // The type of a counter is said of its name without `_total`.
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE comet_"));
        let names = types.map(|line| line.split(' ').next().unwrap().to_owned());
        let in_metrics: BTreeSet<_> =
            names.filter(|name| !MORE_THAN_COUNTS.contains(&&**name)).collect();
        assert_eq!(in_stats, in_metrics, "{text}");
        assert!(in_stats.len() > 30, "{in_stats:?}");
    }
}
