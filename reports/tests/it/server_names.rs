//! What the server counts, and what the books know of it.

use std::collections::BTreeSet;

use comet_server::cluster::ClusterStats;
use comet_server::friends::FriendsStats;
use comet_server::{Config, limits, runtime, serve};
use reports::books::{self, ServerStats};
use serde_json::Value;

/// What `/stats` has and no identity needs. A key that is in neither of the two was forgotten.
const IGNORED: [&str; 28] = [
    "accepting",
    "backlog_bytes",
    "close_codes",
    "cluster.blind_s",
    "cluster.counts_ignored",
    "cluster.failed",
    "cluster.foreign",
    "cluster.gaps",
    "cluster.node",
    "cluster.resubscribed",
    "cluster.subscriptions",
    "cluster.too_large",
    "cluster.unfollowed",
    "cluster.waiting",
    "connections_pending",
    "control.accepted",
    "control.evicted",
    "control.open",
    "control.refused",
    "control.timed_out",
    "follow_changes",
    "follow_changes_unchanged",
    "followers",
    "friends_failed",
    "ids",
    "logins",
    "messages_aborted",
    "uptime_s",
];

/// Keys that are no counts.
const TEXTS: [&str; 1] = ["version"];

/// The keys of what a node of a cluster answers to `GET /stats`.
fn answered() -> BTreeSet<String> {
    let config = Config::with_descriptors(256);
    let at = "127.0.0.1:0".parse().unwrap();
    let (public, control) = (limits::listen(at).unwrap(), limits::listen(at).unwrap());
    let running = serve(config.clone(), vec![public], control, async {});
    let mut stats = runtime(&config).unwrap().block_on(running).unwrap();
    stats.cluster = Some(ClusterStats::default());
    stats.friends = Some(FriendsStats::default());
    keys(&serde_json::to_value(&stats).unwrap())
}

/// All keys, those of `control` and `cluster` with their names before them. Counts by reason are
/// one key.
fn keys(stats: &Value) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (key, value) in stats.as_object().unwrap() {
        if let "control" | "cluster" = &**key {
            let within = value.as_object().unwrap().keys();
            keys.extend(within.map(|within| format!("{key}.{within}")));
        } else {
            keys.insert(key.clone());
        }
    }
    keys
}

#[test]
fn the_books_know_every_count_of_the_server_or_say_that_they_ignore_it() {
    let cluster = Some(books::ClusterStats::default());
    let stats = ServerStats { cluster, ..ServerStats::default() };
    let mut known = keys(&serde_json::to_value(stats).unwrap());
    for ignored in IGNORED.into_iter().chain(TEXTS) {
        assert!(known.insert(ignored.to_owned()), "{ignored} is used");
    }
    assert_eq!(known, answered());
}
