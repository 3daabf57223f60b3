//! What the latencies between hosts are worth.

use std::collections::BTreeSet;

use reports::books::FloodReport;
use reports::latency::LatencySummary;
use reports::stamp::Sender;

use super::origin::Origin;
use super::senders::Senders;

/// Senders that a note names; of more it says how many.
const MAX_NAMED: usize = 3;

/// Whose stamps came, and how well it is known by which clocks they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Timing {
    /// By how much the clock of a stamp may be another than was reckoned with, in microseconds.
    sender_bound_us: u64,
    /// By how much the clock of the sender's host may have been wrong, in microseconds; `None` if
    /// that host is lost.
    host_bound_us: Option<u64>,
    /// The senders that did not announce themselves on the sender's host; `None` are stamps that
    /// name none, and senders beyond those that are counted.
    unknown: Vec<Option<Sender>>,
}

impl Timing {
    /// What is known of the senders whose stamps came.
    pub(crate) fn of(
        stamped_by: &BTreeSet<Option<Sender>>,
        senders: &Senders,
        origin: &Origin,
        host_bound_us: Option<u64>,
    ) -> Self {
        let zeros = |it: Option<Sender>| it.into_iter().flat_map(|it| senders.zeros_of(it));
        let known = stamped_by.iter().flat_map(|it| zeros(*it));
        let off_by_us = known.map(|zero_us| origin.off_by_us(zero_us)).max().unwrap_or(0);
        let is_unknown = |it: &&Option<Sender>| zeros(**it).next().is_none();
        Self {
            sender_bound_us: off_by_us,
            host_bound_us,
            unknown: stamped_by.iter().filter(is_unknown).copied().collect(),
        }
    }

    /// Writes into the report of a run on hosts by how much its latencies may be wrong. Those of
    /// unknown senders are not corrected but unknown, and others cannot be told from them.
    pub(crate) fn write(&self, report: &mut FloodReport) {
        let clocks = report.hosts.iter().filter_map(|host| host.clock);
        let bound_us = clocks.map(|clock| clock.bound_us).max();
        let sender_us = self.sender_bound_us.saturating_add(self.host_bound_us.unwrap_or(0));
        report.clock_bound_us = bound_us.map(|us| us.saturating_add(sender_us));
        if self.unknown.is_empty() && self.host_bound_us.is_some() {
            return;
        }
        let of_hosts = report.hosts.iter_mut().map(|host| &mut host.delivery_from_due);
        let of_all = [
            &mut report.delivery_from_due,
            &mut report.delivery_from_send,
            &mut report.recent.delivery_from_due,
        ];
        of_all.into_iter().chain(of_hosts).for_each(|it| *it = LatencySummary::unknown());
        report.clock_bound_us = None;
        report.notes.push(self.note());
    }

    /// Why latencies are unknown, and what helps.
    fn note(&self) -> String {
        if self.unknown.is_empty() {
            return "latencies are unknown: the host of --sender-host was lost, by whose clock \
                    messages are stamped"
                .to_owned();
        }
        let names = self.unknown.iter().take(MAX_NAMED).map(|it| match it {
            Some(sender) => format!("sender {sender}"),
            None => "stamps without a known sender".to_owned(),
        });
        let names = names.collect::<Vec<_>>().join(", ");
        let more = match self.unknown.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        format!(
            "latencies are unknown: {names}{more} did not announce themselves on the machine that \
             sends, so that the clock of their stamps is not known; send from this machine or name \
             the other with --sender-host, and let msggen run for a second or more"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reports::announced::Announced;
    use reports::books::{ClockReport, HostReport};

    /// A report of two hosts on which messages came.
    fn report() -> FloodReport {
        let delivery = || LatencySummary { count: 5, p50_us: 70, ..LatencySummary::default() };
        let host = |bound_us| HostReport {
            delivery_from_due: delivery(),
            clock: Some(ClockReport { bound_us, ..ClockReport::default() }),
            ..HostReport::default()
        };
        FloodReport {
            delivery_from_due: delivery(),
            delivery_from_send: delivery(),
            hosts: vec![host(40), host(60)],
            ..FloodReport::default()
        }
    }

    /// What comes of stamps of these senders where 1 and 2 have announced themselves, the latter by
    /// a clock that is 7 µs off.
    fn timed(stamped_by: &[Option<u32>]) -> FloodReport {
        let origin = Origin::here();
        let zero_us = origin.zero_us();
        let mut senders = Senders::default();
        senders.add(
            [(1, zero_us), (2, zero_us - 7)]
                .map(|(sender, zero_us)| Announced { sender: Sender(sender), zero_us }),
        );
        let stamped_by = stamped_by.iter().map(|it| it.map(Sender)).collect();
        let mut report = report();
        Timing::of(&stamped_by, &senders, &origin, Some(0)).write(&mut report);
        report
    }

    #[test]
    fn the_bound_of_a_latency_is_that_of_both_clocks() {
        assert_eq!(timed(&[]).clock_bound_us, Some(60));
        assert_eq!(timed(&[Some(1)]).clock_bound_us, Some(60));
        assert_eq!(timed(&[Some(1), Some(2)]).clock_bound_us, Some(67));
        assert_eq!(timed(&[Some(1)]).delivery_from_due.count, 5);
        assert_eq!(timed(&[Some(1)]).notes, [""; 0]);
    }

    #[test]
    fn latencies_of_a_sender_that_nobody_announced_are_null() {
        for stamped_by in [&[Some(1), Some(0x0bad_cafe)][..], &[None]] {
            let report = timed(stamped_by);
            let json = serde_json::to_value(&report).unwrap();
            for pointer in [
                "/delivery_from_due",
                "/delivery_from_send",
                "/recent/delivery_from_due",
                "/hosts/0/delivery_from_due",
                "/hosts/1/delivery_from_due",
            ] {
                assert_eq!(json.pointer(pointer), Some(&serde_json::Value::Null), "{pointer}");
            }
            assert_eq!(report.clock_bound_us, None);
            let again: FloodReport = serde_json::from_value(json).unwrap();
            assert_eq!(again, report);
        }
        let note = &timed(&[Some(0x0bad_cafe)]).notes[0];
        assert!(note.contains("sender 0badcafe did not announce themselves"), "{note}");
        let note = &timed(&[None, Some(3), Some(4), Some(5), Some(6)]).notes[0];
        assert!(note.contains("sender 00000004 and 2 more"), "{note}");
    }
}
