//! What servers count.

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::ByReason;
use crate::units::MOST;

/// What comet-server answers to `GET /stats`. Fields of it that no identity needs are left out.
/// Run folders from before these names were those of `/metrics` have the other names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStats {
    /// Connections accepted since the start.
    #[serde(alias = "accepted")]
    pub connections_accepted: u64,
    /// Connections open now, those whose request is not complete included.
    #[serde(alias = "open")]
    pub connections_open: u64,
    /// Connections logged in now.
    #[serde(alias = "parked")]
    pub connections_parked: u64,
    /// Connections closed since the start, by reason.
    #[serde(alias = "closed")]
    pub connections_closed: ByReason,
    /// Messages sent through the control door.
    pub messages: u64,
    /// Of these, messages to an id that nobody was logged in as.
    #[serde(alias = "void")]
    pub messages_void: u64,
    /// Of these, messages that reached at least one connection.
    #[serde(alias = "reached")]
    pub messages_reached: u64,
    /// Chunks that messages became: one a connection reached.
    #[serde(alias = "deliveries")]
    pub chunks: u64,
    /// Of these, chunks whose last byte the kernel took.
    #[serde(alias = "written")]
    pub chunks_written: u64,
    /// Of these, chunks that wait in a backlog now.
    #[serde(alias = "queued")]
    pub chunks_queued: u64,
    /// Of these, chunks dropped because their connection was closed, by the close's reason.
    #[serde(alias = "dropped")]
    pub chunks_dropped: ByReason,
    /// What went through the brokers. `None`: it is no node of a cluster.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cluster: Option<ClusterStats>,
}

/// What a node of a cluster says of its brokers. Fields that no identity needs are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStats {
    /// Messages that senders brought to this node and that a broker has confirmed.
    pub published: u64,
    /// Messages that were refused although a broker may have them.
    pub unconfirmed: u64,
    /// Messages that came from other nodes. They are among the server's messages too.
    pub received: u64,
    /// Messages of its own that came back.
    pub echoed: u64,
}

impl ServerStats {
    /// The sum over several servers, whose answers stand in `json` one after the other. An error as
    /// well when it is more than any server can have counted.
    pub fn sum(json: &[u8]) -> Result<Self, serde_json::Error> {
        let mut all = serde_json::Deserializer::from_slice(json).into_iter::<Self>();
        let mut sum = all.next().ok_or_else(|| serde_json::Error::custom("there are none"))??;
        let too_great = || serde_json::Error::custom(format!("there are more than {MOST}"));
        sum.check().ok_or_else(too_great)?;
        for stats in all {
            sum.add(stats?).and_then(|()| sum.check()).ok_or_else(too_great)?;
        }
        Ok(sum)
    }

    /// Adds the counts of another server. None if a sum is too great for a number.
    fn add(&mut self, other: Self) -> Option<()> {
        let sums = [
            (&mut self.connections_accepted, other.connections_accepted),
            (&mut self.connections_open, other.connections_open),
            (&mut self.connections_parked, other.connections_parked),
            (&mut self.messages, other.messages),
            (&mut self.messages_void, other.messages_void),
            (&mut self.messages_reached, other.messages_reached),
            (&mut self.chunks, other.chunks),
            (&mut self.chunks_written, other.chunks_written),
            (&mut self.chunks_queued, other.chunks_queued),
        ];
        for (sum, n) in sums {
            *sum = sum.checked_add(n)?;
        }
        for (all, one) in [
            (&mut self.connections_closed, other.connections_closed),
            (&mut self.chunks_dropped, other.chunks_dropped),
        ] {
            for (reason, n) in one {
                let sum = all.entry(reason).or_default();
                *sum = sum.checked_add(n)?;
            }
        }
        if let Some(one) = other.cluster {
            let all = self.cluster.get_or_insert_default();
            let sums = [
                (&mut all.published, one.published),
                (&mut all.unconfirmed, one.unconfirmed),
                (&mut all.received, one.received),
                (&mut all.echoed, one.echoed),
            ];
            for (sum, n) in sums {
                *sum = sum.checked_add(n)?;
            }
        }
        Some(())
    }

    /// None if a count, or the sum over all reasons, is more than [`MOST`]: the books add them up.
    fn check(&self) -> Option<()> {
        let total =
            |by_reason: &ByReason| by_reason.values().try_fold(0_u64, |sum, n| sum.checked_add(*n));
        let counts = [
            self.connections_accepted,
            self.connections_open,
            self.connections_parked,
            self.messages,
            self.messages_void,
            self.messages_reached,
            self.chunks,
            self.chunks_written,
            self.chunks_queued,
        ];
        let cluster = self.cluster.clone().unwrap_or_default();
        let of_cluster = [cluster.published, cluster.unconfirmed, cluster.received, cluster.echoed];
        let totals = [total(&self.connections_closed)?, total(&self.chunks_dropped)?];
        let mut all = counts.into_iter().chain(of_cluster).chain(totals);
        all.all(|count| count <= MOST).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_several_servers_are_summed() {
        let server = ServerStats {
            connections_accepted: 5,
            chunks_written: 8,
            connections_closed: ByReason::from([("peer".to_owned(), 1)]),
            cluster: Some(ClusterStats { published: 3, ..ClusterStats::default() }),
            ..ServerStats::default()
        };
        let json = serde_json::to_string(&server).unwrap();
        assert_eq!(ServerStats::sum(json.as_bytes()).unwrap(), server);
        let sum = ServerStats::sum(format!("{json}\n{json}").as_bytes()).unwrap();
        assert_eq!(
            (sum.connections_accepted, sum.chunks_written, sum.connections_closed["peer"]),
            (10, 16, 2)
        );
        assert_eq!(sum.cluster.unwrap().published, 6);
        assert!(ServerStats::sum(b"").is_err() && ServerStats::sum(b"{}").is_err());
    }
    #[test]
    fn the_names_in_older_run_folders_are_read() {
        let old = br#"{"version":"0.1.0","accepted":5,"open":3,"heads":0,"parked":3,"aborted":0,
            "closed":{"peer":2},"messages":10,"void":2,"reached":8,"deliveries":8,"written":7,
            "queued":0,"dropped":{"peer":1},"ids":3}"#;
        let by_peer = |n| ByReason::from([("peer".to_owned(), n)]);
        let stats = ServerStats {
            connections_accepted: 5,
            connections_open: 3,
            connections_parked: 3,
            connections_closed: by_peer(2),
            messages: 10,
            messages_void: 2,
            messages_reached: 8,
            chunks: 8,
            chunks_written: 7,
            chunks_queued: 0,
            chunks_dropped: by_peer(1),
            cluster: None,
        };
        assert_eq!(ServerStats::sum(old).unwrap(), stats);
    }
}
