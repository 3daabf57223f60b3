//! What servers count.

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::ByReason;

/// What comet-server answers to `GET /stats`. Fields of it that no identity needs are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStats {
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections open now, those whose request is not complete included.
    pub open: u64,
    /// Connections logged in now.
    pub parked: u64,
    /// Connections closed since the start, by reason.
    pub closed: ByReason,
    /// Messages sent through the control door.
    pub messages: u64,
    /// Of these, messages to an id that nobody was logged in as.
    pub void: u64,
    /// Of these, messages that reached at least one connection.
    pub reached: u64,
    /// Chunks that messages became: one a connection reached.
    pub deliveries: u64,
    /// Of these, chunks whose last byte the kernel took.
    pub written: u64,
    /// Of these, chunks that wait in a backlog now.
    pub queued: u64,
    /// Of these, chunks dropped because their connection was closed, by the close's reason.
    pub dropped: ByReason,
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
    /// The sum over several servers, whose answers stand in `json` one after the other.
    pub fn sum(json: &[u8]) -> Result<Self, serde_json::Error> {
        let mut all = serde_json::Deserializer::from_slice(json).into_iter::<Self>();
        let mut sum = all.next().ok_or_else(|| serde_json::Error::custom("there are none"))??;
        for stats in all {
            let stats = stats?;
            sum.accepted += stats.accepted;
            sum.open += stats.open;
            sum.parked += stats.parked;
            sum.messages += stats.messages;
            sum.void += stats.void;
            sum.reached += stats.reached;
            sum.deliveries += stats.deliveries;
            sum.written += stats.written;
            sum.queued += stats.queued;
            for (all, one) in [(&mut sum.closed, stats.closed), (&mut sum.dropped, stats.dropped)] {
                for (reason, n) in one {
                    *all.entry(reason).or_default() += n;
                }
            }
            if let Some(one) = stats.cluster {
                let all = sum.cluster.get_or_insert_default();
                all.published += one.published;
                all.unconfirmed += one.unconfirmed;
                all.received += one.received;
                all.echoed += one.echoed;
            }
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_several_servers_are_summed() {
        let server = ServerStats {
            accepted: 5,
            written: 8,
            closed: ByReason::from([("peer".to_owned(), 1)]),
            cluster: Some(ClusterStats { published: 3, ..ClusterStats::default() }),
            ..ServerStats::default()
        };
        let json = serde_json::to_string(&server).unwrap();
        assert_eq!(ServerStats::sum(json.as_bytes()).unwrap(), server);
        let sum = ServerStats::sum(format!("{json}\n{json}").as_bytes()).unwrap();
        assert_eq!((sum.accepted, sum.written, sum.closed["peer"]), (10, 16, 2));
        assert_eq!(sum.cluster.unwrap().published, 6);
        assert!(ServerStats::sum(b"").is_err() && ServerStats::sum(b"{}").is_err());
    }
}
