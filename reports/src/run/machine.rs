//! What a run took of the whole machine, by its footprints.

use serde::Serialize;

use super::files::marks;
use super::words::{grouped, kb, with_unit};
use super::{Footprint, Footprints};
use crate::books::FloodReport;

/// What a run took of the whole machine. A figure that was not measured is `None`, never 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Machine {
    /// With nobody connected.
    pub empty: Option<Footprint>,
    /// With everybody connected and nothing sent yet.
    pub idle: Option<Footprint>,
    /// After the messages.
    pub after: Option<Footprint>,
    /// PSS of a server's process with nobody connected, in KB of 1,024 bytes.
    pub server_base_kb: Option<f64>,
    /// (PSS of all servers after − empty) ÷ connections, in bytes.
    pub server_bytes_per_connection: Option<f64>,
    /// RSS of a process of floodtest that holds connections, before the first of them, in KB of
    /// 1,024 bytes.
    pub floodtest_base_rss_kb: Option<f64>,
    /// PSS of all of floodtest after ÷ connections, its processes as such included, in bytes.
    pub floodtest_bytes_per_connection: Option<f64>,
    /// (Slab after − empty) ÷ connections, in bytes: both ends, on loopback.
    pub slab_bytes_per_connection: Option<f64>,
    /// (Slab + PSS of servers and floodtest + memory of the brokers, after − empty) ÷ connections,
    /// in bytes.
    pub used_bytes_per_connection: Option<f64>,
    /// (Memory of the brokers idle − empty) ÷ connections, in bytes: each has an id of its own.
    pub broker_bytes_per_id: Option<f64>,
}

/// A figure, how it is called, and what it was computed from.
pub(super) type Row = [String; 3];

impl Machine {
    /// What `footprints` say of a run, and floodtest's last report.
    pub(crate) fn of(footprints: &Footprints, received: &FloodReport) -> Self {
        let n_connections = received.connected;
        let at = |phase| footprints.at(phase).cloned();
        let (empty, idle) = (at(marks::NOBODY), at(marks::CONNECTED));
        let after = at(marks::SENT);
        let per_connection = |more: Option<f64>, less: Option<f64>| {
            let bytes = more? - less?;
            (n_connections > 0).then(|| bytes / n_connections as f64)
        };
        let each = |more: Option<u64>, less: Option<u64>, unit: f64| {
            let bytes = |it: Option<u64>| it.map(|it| it as f64 * unit);
            per_connection(bytes(more), bytes(less))
        };
        let [none, all, end] = [&empty, &idle, &after].map(|it| it.clone().unwrap_or_default());
        let has_broker = none.broker_bytes.is_some();
        let used = |it: &Footprint| {
            let broker = if has_broker { it.broker_bytes? } else { 0 };
            let kb = [it.slab_kb?, it.server_pss_kb?, it.floodtest_pss_kb?];
            Some(kb.map(|kb| kb as f64 * KB).iter().sum::<f64>() + broker as f64)
        };
        let n_servers = none.server_processes.max(1) as f64;
        // With workers, the process that was started holds no connection itself.
        let n_holding = end.floodtest_processes.saturating_sub(1).max(1) as f64;
        let holding_kb = Some(received.rss_start_kb).filter(|kb| *kb > 0);
        Self {
            floodtest_base_rss_kb: holding_kb.map(|kb| kb as f64 / n_holding),
            server_base_kb: none.server_pss_kb.map(|kb| kb as f64 / n_servers),
            server_bytes_per_connection: each(end.server_pss_kb, none.server_pss_kb, KB),
            floodtest_bytes_per_connection: each(end.floodtest_pss_kb, Some(0), KB),
            slab_bytes_per_connection: each(end.slab_kb, none.slab_kb, KB),
            used_bytes_per_connection: per_connection(used(&end), used(&none)),
            broker_bytes_per_id: each(all.broker_bytes, none.broker_bytes, 1.0),
            empty,
            idle,
            after,
        }
    }

    /// The figures for people. None if nobody looked at the machine.
    pub fn rows(&self) -> Vec<Row> {
        let (Some(empty), Some(after)) = (&self.empty, &self.after) else { return Vec::new() };
        let idle = self.idle.clone().unwrap_or_default();
        let known = |it: Option<u64>| it.map_or_else(|| "–".to_owned(), grouped);
        let bytes = |it| with_unit(it, "bytes");
        let from = |end: Option<u64>, begin: Option<u64>, unit: &str| {
            format!("({} − {}) {unit} ÷ connections", known(end), known(begin))
        };
        let row = |what: &str, figure: String, from: String| [what.to_owned(), figure, from];
        let mut rows = vec![
            row(
                "servers, PSS in all",
                kb(after.server_pss_kb),
                match after.server_processes {
                    0 => "its processes are not known to the rig".to_owned(),
                    n => format!(
                        "{} of {} with nobody connected",
                        processes(n),
                        with_unit(self.server_base_kb, "KB")
                    ),
                },
            ),
            row(
                "  for a connection",
                bytes(self.server_bytes_per_connection),
                from(after.server_pss_kb, empty.server_pss_kb, "KB"),
            ),
            row(
                "floodtest, PSS in all",
                kb(after.floodtest_pss_kb),
                format!(
                    "{}, RSS of one before the first connect {}",
                    processes(after.floodtest_processes),
                    with_unit(self.floodtest_base_rss_kb, "KB")
                ),
            ),
            row(
                "  for a connection",
                bytes(self.floodtest_bytes_per_connection),
                "its processes as such included".to_owned(),
            ),
            row(
                "kernel objects (slab) for a connection",
                bytes(self.slab_bytes_per_connection),
                from(after.slab_kb, empty.slab_kb, "KB"),
            ),
            row(
                "TCP buffers",
                kb(after.tcp_buffers_kb),
                format!("{} sockets", known(after.tcp_sockets)),
            ),
        ];
        if self.broker_bytes_per_id.is_some() {
            rows.push(row(
                "broker, for an id",
                bytes(self.broker_bytes_per_id),
                from(idle.broker_bytes, empty.broker_bytes, "bytes"),
            ));
        }
        rows.push(row(
            "all of these, for a connection",
            bytes(self.used_bytes_per_connection),
            "slab, servers, floodtest and broker, after − before".to_owned(),
        ));
        rows
    }
}

/// So many processes.
fn processes(n: u64) -> String {
    if n == 1 { "1 process".to_owned() } else { format!("{n} processes") }
}

/// Bytes in a KB.
const KB: f64 = 1_024.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn footprint(phase: &str, server_pss_kb: u64, slab_kb: u64) -> Footprint {
        Footprint {
            phase: phase.to_owned(),
            server_processes: 4,
            server_pss_kb: Some(server_pss_kb),
            floodtest_pss_kb: Some(0),
            slab_kb: Some(slab_kb),
            ..Footprint::default()
        }
    }

    #[test]
    fn figures_are_differences_over_connections_and_unknown_ones_are_none() {
        let footprints = vec![
            Footprint { broker_bytes: Some(1_000), ..footprint(marks::NOBODY, 4_000, 80_000) },
            Footprint { broker_bytes: Some(21_000), ..footprint(marks::CONNECTED, 0, 0) },
            Footprint {
                broker_bytes: Some(21_000),
                floodtest_processes: 4,
                ..footprint(marks::SENT, 5_000, 89_000)
            },
        ];
        let received = FloodReport { connected: 100, rss_start_kb: 900, ..FloodReport::default() };
        let machine = Machine::of(&Footprints { footprints }, &received);
        assert_eq!(machine.floodtest_base_rss_kb, Some(300.0), "one of the four holds nothing");
        assert_eq!(machine.server_base_kb, Some(1_000.0));
        assert_eq!(machine.server_bytes_per_connection, Some(10_240.0));
        assert_eq!(machine.slab_bytes_per_connection, Some(92_160.0));
        assert_eq!(machine.used_bytes_per_connection, Some(92_160.0 + 10_240.0 + 200.0));
        assert_eq!(machine.broker_bytes_per_id, Some(200.0));
        let rows = machine.rows();
        let expected = ["  for a connection", "10,240 bytes", "(5,000 − 4,000) KB ÷ connections"];
        assert_eq!(rows[1], expected);
        assert_eq!(rows[6][1], "200 bytes");
        assert!(rows.iter().any(|row| row[1] == "not measured"));
        assert_eq!(Machine::default().rows(), Vec::<Row>::new());
    }
}
