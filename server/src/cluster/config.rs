//! How a node is part of a cluster.

use super::brokers::Broker;
use super::tls::Tls;

/// How a node is part of a cluster.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The brokers. All nodes must name the same ones in the same words.
    pub brokers: Vec<Broker>,
    /// What this node is called in logs and counts.
    pub name: Option<String>,
    /// How TLS is spoken, if any broker wants it.
    pub tls: Option<Tls>,
}
