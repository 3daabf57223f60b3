//! Whether msggen itself was the limit of a run, so that its delays are not the server's.
//!
//! What msggen adds is its *own lateness*: from when a message was due and its source free to send
//! it, until it was written. Waits for answers, for messages before it to the same id, for a
//! connection, or for a socket to take bytes are the server's and never part of it.
//!
//! Of messages that wait for answers it does not see how long an answer lay unread because msggen
//! had no core. The kernel's account of run-queue waits does (`cores`).
//!
//! Own lateness is compared with the whole delay of which it is a part. A server that stalls for
//! seconds makes the whole long and nothing of msggen's, which sleeps meanwhile and waits for no
//! core: so it is never taken for a fault of msggen.

use crate::report::Outcome;

/// The name under which it is reported.
pub const MSGGEN: &str = "msggen";

/// Own lateness up to which nobody asks: 1 ms, as for a *late* message. It is what a quiet machine
/// shows at the 99th percentile.
const SMALL_US: u64 = 1_000;

/// The part of a delay that may be msggen's own. A tenth changes no conclusion, and is less than
/// two runs on one machine differ.
const PART: f64 = 0.1;

/// The share of a core from which on the busiest thread is full. The rest is what a thread that
/// never rests loses to interrupts and others of its core.
const FULL: f64 = 0.9;

/// The share of all the time that the busiest thread may be ready to run without a core. Measured
/// on two cores: 0.01 beside a busy process that has the other core, 0.5 to 0.8 on one core with it
/// at 100 to 4,000 messages a second. A server and a receiver that share the cores fairly with
/// msggen stay below it.
const STARVED: f64 = 0.25;

/// Messages below which a 99th percentile is the longest delay, and says nothing.
const FEWEST: u64 = 100;

/// Why msggen was the limit of the run so far, as a sentence; `None` if it was not, or if too
/// little was sent to tell.
pub fn limit(outcome: &Outcome) -> Option<String> {
    let figures = &outcome.figures;
    if figures.sent < FEWEST {
        return None;
    }
    // The longest of what is measured from outside; flat out and where nobody answers some of them
    // are empty.
    let wholes = [
        ("send_from_due", &figures.send_from_due),
        ("send_from_send", &figures.send_from_send),
        ("lateness", &figures.lateness),
    ];
    let (name, whole_us) = wholes
        .map(|(name, delays)| (name, delays.p99_us))
        .into_iter()
        .reduce(|longest, it| if it.1 > longest.1 { it } else { longest })?;
    let added_us = figures.own.lateness.p99_us;
    if added_us > SMALL_US && added_us as f64 > PART * whole_us as f64 {
        let ms = |us: u64| us as f64 / 1_000.0;
        let (part, whole) = (ms(added_us), ms(whole_us));
        return Some(format!(
            "limited by msggen: it sent {part:.3} ms late by itself (own.lateness p99), of \
             {whole:.3} ms in all ({name} p99)"
        ));
    }
    if let Some(share) = outcome.core_wait_share.filter(|share| *share > STARVED) {
        return Some(format!(
            "limited by msggen: it waited for a core {:.0} % of the time (core_wait_share)",
            share * 100.0
        ));
    }
    let share = figures.own.busiest_thread_share.filter(|share| *share > FULL)?;
    Some(format!(
        "limited by msggen: it used {:.0} % of a core all the time (own.busiest_thread_share), and \
         could not send more",
        share * 100.0
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reports::books::{Own, SendReport};
    use reports::latency::LatencySummary;

    /// A run of so many messages with these 99th percentiles of own lateness and of
    /// `send_from_due`, in ms, and this share of a core.
    fn run(sent: u64, part: u64, whole: u64, share: f64) -> Outcome {
        let p99 =
            |ms: u64| LatencySummary { count: sent, p99_us: ms * 1_000, ..Default::default() };
        let busiest_thread_share = Some(share);
        let own = Own { lateness: p99(part), busiest_thread_share, ..Own::default() };
        let figures = SendReport { sent, own, send_from_due: p99(whole), ..Default::default() };
        Outcome { figures, ..Outcome::default() }
    }

    #[test]
    fn what_is_small_or_a_small_part_of_the_delay_limits_nothing() {
        for (added_ms, whole_ms) in [(0, 0), (1, 1), (2, 20), (700, 7_000)] {
            assert_eq!(
                limit(&run(1_000, added_ms, whole_ms, 0.5)),
                None,
                "{added_ms} of {whole_ms}"
            );
        }
        let said = "limited by msggen: it sent 2.000 ms late by itself (own.lateness p99), of \
                    19.000 ms in all (send_from_due p99)";
        assert_eq!(limit(&run(1_000, 2, 19, 0.5)).as_deref(), Some(said));
        assert_eq!(limit(&run(99, 2, 19, 1.0)), None, "too few messages to tell");
    }

    #[test]
    fn waits_for_a_core_count_though_answers_hide_them() {
        let waiting = |share| Outcome { core_wait_share: Some(share), ..run(1_000, 0, 12, 0.5) };
        assert_eq!(limit(&waiting(0.25)), None);
        let said = "limited by msggen: it waited for a core 50 % of the time (core_wait_share)";
        assert_eq!(limit(&waiting(0.5)).as_deref(), Some(said));
    }

    #[test]
    fn a_thread_that_never_rests_is_full() {
        assert_eq!(limit(&run(1_000, 0, 1, 0.9)), None);
        let said = "limited by msggen: it used 97 % of a core all the time \
                    (own.busiest_thread_share), and could not send more";
        assert_eq!(limit(&run(1_000, 0, 1, 0.97)).as_deref(), Some(said));
    }
}
