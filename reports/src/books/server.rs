//! What servers count.

use serde::de::Error as _;
use serde::{Deserialize, Serialize};

use super::ByReason;
use crate::units::MOST;

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
            (&mut self.accepted, other.accepted),
            (&mut self.open, other.open),
            (&mut self.parked, other.parked),
            (&mut self.messages, other.messages),
            (&mut self.void, other.void),
            (&mut self.reached, other.reached),
            (&mut self.deliveries, other.deliveries),
            (&mut self.written, other.written),
            (&mut self.queued, other.queued),
        ];
        for (sum, n) in sums {
            *sum = sum.checked_add(n)?;
        }
        for (all, one) in [(&mut self.closed, other.closed), (&mut self.dropped, other.dropped)] {
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
        let Self { accepted, open, parked, messages, void, reached, .. } = *self;
        let Self { deliveries, written, queued, .. } = *self;
        let cluster = self.cluster.clone().unwrap_or_default();
        let counts = [accepted, open, parked, messages, void, reached, deliveries, written, queued];
        let of_cluster = [cluster.published, cluster.unconfirmed, cluster.received, cluster.echoed];
        let totals = [total(&self.closed)?, total(&self.dropped)?];
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
