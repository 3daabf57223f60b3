//! What limited a run, as far as it can be seen from its files: whether the load was the one that
//! was asked for, and whether something other than the server stood in its way.

use super::cost::Cost;
use super::summary::Limit;
use super::verdict::{expects, is_busy};
use super::words::{NOT_MEASURED, figure, grouped, ms, of_one_core, share};
use super::{Run, files};
use crate::books::{ByReason, FloodReport, Own, SendReport};

/// The share of messages sent more than 1 ms after they were due above which the load was not the
/// one that was asked for: their delays are then in the 99th percentile.
const LATE_SHARE: f64 = 0.01;

/// The part of the asked rate of messages below which the sender fell behind its schedule.
const LEAST_SENT: f64 = 0.99;

/// The part of the asked rate below which connections were opened more slowly than asked. A ramp of
/// a few tenths of a second is not told more exactly.
const LEAST_OPENED: f64 = 0.9;

/// The share of a core from which on a server with one thread may have had no more to give: the
/// samples of a second hide the moments in which it had none left.
const MOST_CPU: f64 = 0.9;

/// Everything that was looked at, whether it limited `run` or not. `opened_per_s` connections were
/// opened a second.
pub(super) fn limits(run: &Run, cost: &Cost, opened_per_s: Option<f64>) -> Vec<Limit> {
    let received = run.received();
    let mut limits = Vec::new();
    limits.extend(tool("floodtest", &received.own, received.limited_by.as_deref()));
    if let Some(sent) = run.sent() {
        limits.extend(tool("msggen", &sent.own, sent.limited_by.as_deref()));
    }
    limits.extend(run.sent().map(sender));
    limits.push(connections(run, received));
    limits.extend(opening(run, received, opened_per_s));
    limits.push(machine(run));
    limits.push(server(run, cost));
    limits
}

/// Whether a tool was the limit, by its own measure of itself. `None` of one that says nothing of
/// itself, as those of former runs.
fn tool(name: &str, own: &Own, limited_by: Option<&str>) -> Option<Limit> {
    let is_known = own.lateness.count > 0 || own.busiest_thread_share.is_some();
    if !is_known && limited_by.is_none() {
        return None;
    }
    let is_floodtest = name == "floodtest";
    let mut seen = Vec::new();
    if own.lateness.count > 0 {
        let p99 = ms(own.lateness.p99_us);
        seen.push(if is_floodtest {
            format!("99 % of the turns of its loop within {p99} ms")
        } else {
            format!("99 % of what it could send written within {p99} ms")
        });
    }
    if let Some(share) = own.busiest_thread_share {
        seen.push(format!("its busiest thread used {}", of_one_core(Some(share))));
    }
    if let Some(asked) = own.asked_per_s {
        let what = if is_floodtest { "connects begun" } else { "messages sent" };
        let (achieved, asked) = (figure(own.achieved_per_s), figure(asked));
        seen.push(format!("{achieved} of {asked} {what} a second"));
    }
    Some(Limit {
        what: if is_floodtest { "floodtest itself" } else { "msggen itself" },
        is_limit: Some(limited_by == Some(name)),
        seen: seen.join("; "),
        means: "What the tool added is in the delays: they are not the server's, and a verdict on \
                latency is not valid.",
        file: if is_floodtest { files::FLOODTEST } else { files::MSGGEN },
    })
}

/// Whether messages were sent when they were due.
fn sender(sent: &SendReport) -> Limit {
    let is_late = sent.late as f64 > sent.sent as f64 * LATE_SHARE;
    let is_behind = sent.asked_per_s > 0.0 && sent.achieved_per_s < sent.asked_per_s * LEAST_SENT;
    let rate = if sent.asked_per_s > 0.0 {
        format!(
            "{} of {} messages a second were sent",
            figure(sent.achieved_per_s),
            figure(sent.asked_per_s)
        )
    } else {
        format!("{} messages a second, as fast as answers came", figure(sent.achieved_per_s))
    };
    let (late, part) = (grouped(sent.late), share(sent.late, sent.sent));
    let mut seen = vec![format!("{rate}, {late} ({part}) more than 1 ms after they were due")];
    if sent.lateness.count > 0 {
        seen.push(format!(", 99 % of all within {} ms", ms(sent.lateness.p99_us)));
    }
    // A message that waits for the answer to the one before it is late because of the server.
    if is_late && sent.order_wait.p99_us * 2 > sent.lateness.p99_us {
        seen.push(format!(
            "; the wait for the answers to earlier messages to the same id was up to {} ms of it",
            ms(sent.order_wait.p99_us)
        ));
    }
    Limit {
        what: "sending of messages",
        is_limit: Some(is_late || is_behind),
        seen: seen.concat(),
        means: "The load was not always the one that was asked for. Delays from due have the \
                lateness in them, delays from send do not.",
        file: files::MSGGEN,
    }
}

/// Whether every place has a connection at the end, where they get one after another: those that
/// closed or failed in between are the load that was asked for, or what is measured.
fn places(received: &FloodReport) -> Limit {
    let FloodReport { asked, established, closed, failed, away, waiting, .. } = *received;
    let seen = format!(
        "{} connections of {} places: {} closed{}, {} tries failed{}; {} places have none at the \
         end",
        grouped(established),
        grouped(asked),
        grouped(closed),
        reasons(&received.closures),
        grouped(failed),
        reasons(&received.failures),
        grouped(away.saturating_add(waiting))
    );
    Limit {
        what: "connections",
        // One that ends comes back: at any moment some are on their way.
        is_limit: Some(received.settles.iter().any(|settle| settle.back < settle.closed)),
        seen,
        means: "Not all connections came back, so that the figures at the end are those of fewer.",
        file: files::FLOODTEST,
    }
}

/// Whether connections failed or closed.
fn connections(run: &Run, received: &FloodReport) -> Limit {
    if received.has_lives() {
        return places(received);
    }
    let FloodReport { failed, closed, waiting, unknown, asked, .. } = *received;
    let expects = |name| expects(&run.plan, name);
    let is_limit = [("failed", failed), ("closed", closed), ("waiting", waiting)]
        .into_iter()
        .any(|(name, count)| count > 0 && !expects(name))
        || unknown > 0;
    let mut parts = Vec::new();
    for (how, count, why) in [
        ("failed", failed, Some(&received.failures)),
        ("closed before the end", closed, Some(&received.closures)),
        ("had no answer yet", waiting, None),
        ("were on a host that was lost", unknown, None),
    ] {
        let why = why.map(reasons).unwrap_or_default();
        if count > 0 {
            parts.push(format!("{} {how}{why}", grouped(count)));
        }
    }
    let seen = if parts.is_empty() {
        format!("none of {} failed, and none closed before the end", grouped(asked))
    } else {
        format!("of {}, {}", grouped(asked), parts.join(", "))
    };
    Limit {
        what: "connections",
        is_limit: Some(is_limit),
        seen,
        means: "The figures are not those of as many connections as were asked for.",
        file: files::FLOODTEST,
    }
}

/// Reasons in brackets, the most frequent first.
fn reasons(by_reason: &ByReason) -> String {
    let mut reasons: Vec<_> = by_reason.iter().filter(|(_, count)| **count > 0).collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let named: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{reason}: {}", grouped(**count))).collect();
    if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
}

/// Whether connections were opened as fast as asked. `None` where no rate was.
fn opening(run: &Run, received: &FloodReport, opened_per_s: Option<f64>) -> Option<Limit> {
    let asked = run.plan.rate;
    let opened = opened_per_s.filter(|_| asked > 0)?;
    let late = &received.connect_lateness;
    let mut seen = vec![format!("{} of {} a second", figure(opened), grouped(asked))];
    if late.count > 0 {
        let p99 = ms(late.p99_us);
        seen.push(format!(", 99 % of them begun within {p99} ms of when they were due"));
    }
    Some(Limit {
        what: "opening of connections",
        is_limit: Some(opened < asked as f64 * LEAST_OPENED),
        seen: seen.concat(),
        means: "The server, the kernel's queue of connections, or floodtest was slower than the \
                plan.",
        file: files::FLOODTEST,
    })
}

/// Whether the machine was idle before the run.
fn machine(run: &Run) -> Limit {
    let load = run.host.load_before.map(|[load, ..]| load);
    Limit {
        what: "the machine before the run",
        is_limit: load.map(is_busy),
        seen: load.map_or_else(
            || "its load is not known".to_owned(),
            |load| format!("a load of {load:.2} over the minute before"),
        ),
        means: "Somebody else computed here, and may have gone on: delays and CPU figures may be \
                theirs.",
        file: files::HOST,
    }
}

/// In which phase of a run CPU time is counted.
fn while_what(run: &Run) -> &'static str {
    if run.sent().is_some() { "while messages were sent" } else { "while connections were held" }
}

/// Whether the server used as much CPU as one thread can.
fn server(run: &Run, cost: &Cost) -> Limit {
    let nodes = run.plan.nodes.max(1);
    let share = cost.cpu_share;
    let mut seen = Vec::new();
    if share.is_some() {
        seen.push(format!("{} {}", of_one_core(share), while_what(run)));
        let cpus = run.host.cpus.map(grouped);
        seen.extend(cpus.map(|cpus| format!("the machine has {cpus}, for all programs")));
        if nodes > 1 {
            seen.push(format!("{} servers in all", grouped(nodes)));
        }
    } else {
        seen.push(NOT_MEASURED.to_owned());
    }
    Limit {
        what: "the server's CPU",
        is_limit: share.map(|share| share >= MOST_CPU * nodes as f64),
        seen: seen.join("; "),
        means: "A server with one thread can do no more.",
        file: files::MEMORY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::LatencySummary;

    /// A sender of 1,000 messages, of which so many were late.
    fn sent(late: u64, achieved_per_s: f64) -> SendReport {
        SendReport { sent: 1_000, late, achieved_per_s, asked_per_s: 100.0, ..Default::default() }
    }

    #[test]
    fn a_sender_limits_when_it_is_late_or_behind_and_not_by_a_few_messages() {
        assert_eq!(sender(&sent(10, 100.0)).is_limit, Some(false), "one in a hundred");
        assert_eq!(sender(&sent(11, 100.0)).is_limit, Some(true));
        let behind = sender(&sent(0, 98.0));
        assert_eq!(behind.is_limit, Some(true));
        assert!(behind.seen.starts_with("98 of 100 messages a second were sent"), "{behind:?}");
    }

    #[test]
    fn what_waited_for_the_server_is_told_from_what_the_sender_did_not_manage() {
        let p99 = |p99_us| LatencySummary { count: 1, p99_us, ..LatencySummary::default() };
        let of = |order_wait| SendReport { lateness: p99(9_000), order_wait, ..sent(500, 100.0) };
        assert!(sender(&of(p99(8_000))).seen.ends_with("was up to 8.000 ms of it"));
        assert!(sender(&of(p99(100))).seen.ends_with("99 % of all within 9.000 ms"));
    }

    #[test]
    fn reasons_stand_with_the_most_frequent_first() {
        let by_reason = ByReason::from([("reset".to_owned(), 2), ("timeout".to_owned(), 3_000)]);
        assert_eq!(reasons(&by_reason), " (timeout: 3,000, reset: 2)");
        assert_eq!(reasons(&ByReason::new()), "");
    }
}
