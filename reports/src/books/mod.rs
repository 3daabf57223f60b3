//! What the three programs report, and the identities that must hold between their figures.
//!
//! At every quiet moment (DESIGN.md §3.4): whatever was accepted is open or was closed for a named
//! reason; every message reached somebody or went into the void; every delivery was written, waits,
//! or was dropped for a named reason. Between the programs: what msggen was answered is what the
//! server counted, and what the server wrote is what floodtest received. A run whose books do not
//! balance is a failed run.

mod flood;
mod server;
mod shapes;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use flood::{
    ClockReport, Example, Extent, FloodReport, ItemKind, Judged, JudgedBy, Recent, WorstConnection,
};
pub use server::{ClusterStats, ServerStats};
pub use shapes::{Counted, Goodput, HostReport, Own, Settle, SlowReader, SlowReaders, Streams};

use crate::latency::LatencySummary;
use crate::stamp::Sender;

/// Counts by reason, in the order of the reasons' names.
pub type ByReason = BTreeMap<String, u64>;

/// What msggen reports with `--json`: one object a line, the last one final.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SendReport {
    /// Seconds since the first message was due.
    pub elapsed_s: f64,
    /// Whether this is the last report of the run.
    pub is_final: bool,
    /// Messages that were asked for: sources × messages a source.
    pub asked: u64,
    /// Messages handed to the network: `answered + written + failed + unanswered` at the end.
    pub sent: u64,
    /// Messages that the server accepted.
    pub answered: u64,
    /// Messages that the kernel took, where no server answers: whether anybody read them is not
    /// known. `None` where servers answer.
    #[serde(default)]
    pub written: Option<u64>,
    /// Of the answered, messages that are known to have reached at least one connection; `None`
    /// where the servers do not say.
    pub reached: Option<u64>,
    /// Of the answered, messages that are known to have reached nobody; `None` likewise.
    pub void: Option<u64>,
    /// Connections that all messages are known to have reached; `None` likewise.
    pub connections: Option<u64>,
    /// Followers that the users have whom the answered messages were about, as the server says,
    /// logged in or not; `None` where messages go to ids alone.
    #[serde(default)]
    pub followers: Option<u64>,
    /// Of the answered, messages of which it is not known whether they reached anybody.
    #[serde(default)]
    pub reach_unknown: u64,
    /// Messages that were refused, or that could not be sent at all.
    pub failed: u64,
    /// Why messages failed.
    pub failures: ByReason,
    /// Messages that were sent and never answered: the server may or may not have them.
    pub unanswered: u64,
    /// Times that bytes came on a connection that owed no answer, such as an answer to a request
    /// that was never sent. The connection was closed.
    #[serde(default)]
    pub stray_answers: u64,
    /// Messages sent more than 1 ms after they were due.
    pub late: u64,
    /// Achieved messages a second: those sent after the first, over the time from the first due to
    /// the last send. When they had no due times: all sent, over the time until the last answer.
    pub achieved_per_s: f64,
    /// Asked messages a second; 0 when they were due at once.
    pub asked_per_s: f64,
    /// How much later than due messages were sent.
    pub lateness: LatencySummary,
    /// How long numbered messages waited for those before them to the same id: a part of their
    /// lateness. Empty where messages have no numbers.
    #[serde(default)]
    pub order_wait: LatencySummary,
    /// From when a message was due to its answer.
    pub send_from_due: LatencySummary,
    /// From when a message was sent to its answer.
    pub send_from_send: LatencySummary,
    /// Who sent the messages, as in their stamps; `None` where they have none.
    #[serde(default)]
    pub sender: Option<Sender>,
    /// Whether messages to one id may have overtaken each other.
    #[serde(default)]
    pub is_unordered: bool,
    /// What msggen itself adds.
    #[serde(default)]
    pub own: Own,
    /// `msggen` if it was the limit, so that the latencies are not the server's.
    #[serde(default)]
    pub limited_by: Option<String>,
}

/// One identity: two figures that must agree, to within a named number of messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What is said to be equal.
    pub what: &'static str,
    /// The left side.
    pub left: u64,
    /// The right side.
    pub right: u64,
    /// How far apart they may be, because that many messages were never confirmed.
    pub slack: u64,
}

impl Line {
    /// Whether the identity holds.
    pub fn holds(&self) -> bool {
        self.left.abs_diff(self.right) <= self.slack
    }

    /// `=`, `≈` where the sides differ by what was never confirmed, or `≠`.
    pub fn sign(&self) -> &'static str {
        match (self.left == self.right, self.holds()) {
            (true, _) => "=",
            (false, true) => "≈",
            (false, false) => "≠",
        }
    }
}

/// `name  left = right`, or `≠` where it does not hold.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = self.sign();
        write!(f, "{:<60} {:>12} {sign} {:<12}", self.what, self.left, self.right)?;
        if self.slack > 0 {
            write!(f, " (unconfirmed: {})", self.slack)?;
        }
        Ok(())
    }
}

/// That messages came as they were sent.
const NO_FAULTS: &str = "floodtest lost + duplicated + reordered = 0";

/// The books of a run: every identity with its two figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Books {
    /// The identities, those within the server first.
    pub lines: Vec<Line>,
}

impl Books {
    /// The identities that hold inside the server by itself.
    pub fn of_server(server: &ServerStats) -> Self {
        let mut books = Self::default();
        let n_closed = sum(&server.connections_closed);
        books.exact(
            "connections_accepted = connections_open + connections_closed",
            server.connections_accepted,
            server.connections_open + n_closed,
        );
        books.exact(
            "messages = messages_void + messages_reached",
            server.messages,
            server.messages_void + server.messages_reached,
        );
        books.exact(
            "chunks = chunks_written + chunks_queued + chunks_dropped",
            server.chunks,
            server.chunks_written + server.chunks_queued + sum(&server.chunks_dropped),
        );
        books
    }

    /// All identities of a run with comet-server in which `flood` held the only connections and
    /// `send` was the only sender, taken when both were quiet.
    pub fn of_run(server: &ServerStats, flood: &FloodReport, send: &SendReport) -> Self {
        let mut books = Self::of_server(server);
        let unconfirmed = send.unanswered;
        books.of_sender(send);
        let (reached, void) = (send.reached.unwrap_or_default(), send.void.unwrap_or_default());
        if let Some(nodes) = &server.cluster {
            let arrived = nodes.received + nodes.echoed;
            let in_doubt = unconfirmed + nodes.unconfirmed;
            let n_messages = nodes.published + nodes.received;
            books.exact("server messages = published + received", server.messages, n_messages);
            books.within(
                "msggen answered = published",
                send.answered,
                nodes.published,
                unconfirmed,
            );
            // An id has one connection here, and so one node that hears of it, where nobody else
            // listens at the broker. What is not void reached it there or elsewhere, and what is
            // known to have reached it did so on the node that was asked.
            let told = send.answered.saturating_sub(void);
            books.within("msggen answered - void = received + echoed", told, arrived, in_doubt);
            books.within("msggen reached = echoed", reached, nodes.echoed, in_doubt);
        } else {
            let told = void.saturating_add(reached);
            books.exact("msggen answered = void + reached", send.answered, told);
            let (answered, messages) = (send.answered, server.messages);
            books.within("msggen answered = server messages", answered, messages, unconfirmed);
            let there = server.messages_reached;
            books.within("msggen reached = server messages_reached", reached, there, unconfirmed);
        }
        // What was written to a connection that then closed may never have been read. How many
        // chunks that were is not known, only that none was received without being written.
        // What comes for slow readers is counted in bytes alone, and one that the server has closed
        // may not have read so far.
        let n_slow = flood.slow_readers.as_ref().map_or(0, |slow| slow.connections);
        let has_closed = flood.closed + flood.failed + n_slow > 0;
        let delivered = flood.delivered();
        let torn = if has_closed { server.chunks_written.saturating_sub(delivered) } else { 0 };
        books.within(
            if flood.item_kind == ItemKind::Frames {
                "floodtest frames = server chunks_written"
            } else {
                "floodtest chunks = server chunks_written"
            },
            delivered,
            server.chunks_written,
            torn,
        );
        books.of_clients(flood);
        // A server may have closed what its client takes for open, as when the reset was lost.
        books.within(
            "floodtest connected = server connections_parked",
            flood.connected,
            server.connections_parked,
            n_slow,
        );
        // Reports from before messages were counted have none of them, and were judged always.
        let is_counted = flood.judged_by != JudgedBy::Nothing;
        if is_counted {
            let torn =
                if has_closed { server.chunks_written.saturating_sub(flood.messages) } else { 0 };
            books.within(
                "floodtest messages = server chunks_written",
                flood.messages,
                server.chunks_written,
                torn,
            );
        } else if flood.lost.is_none() {
            books.exact("messages written and not judged = 0", server.chunks_written, 0);
        }
        books.exact(NO_FAULTS, flood.n_faults(), 0);
        books
    }

    /// The identities that can be known of a run with a server that gives no counts of its own:
    /// what the sender was answered, and what floodtest judged.
    pub fn of_foreign(flood: &FloodReport, send: Option<&SendReport>) -> Self {
        let mut books = Self::default();
        if let Some(send) = send {
            books.of_sender(send);
        }
        books.of_clients(flood);
        if flood.lost.is_some() {
            books.exact(NO_FAULTS, flood.n_faults(), 0);
        } else if let Some(send) = send {
            // What was not judged is never right.
            let n_sent = send.answered.saturating_add(send.written.unwrap_or_default());
            books.exact("messages sent and not judged = 0", n_sent, 0);
        }
        books
    }

    /// The identities of a run in which the server was killed and started again: what it counted
    /// before went with it. Its own must hold since its last start; between sender and receivers
    /// they are those of a foreign server.
    pub fn of_restarted(
        server: &ServerStats,
        flood: &FloodReport,
        send: Option<&SendReport>,
    ) -> Self {
        let mut books = Self::of_server(server);
        books.lines.extend(Self::of_foreign(flood, send).lines);
        // Whoever is connected now is so with the process that was asked.
        books.exact(
            "floodtest connected = server connections_parked",
            flood.connected,
            server.connections_parked,
        );
        books
    }

    /// Adds what was to come, as the rig computed it from the sender's file and the URLs: each
    /// message that was answered, once for each connection that follows its id.
    #[must_use]
    pub fn with_expected(mut self, flood: &FloodReport, messages: u64, unanswered: u64) -> Self {
        if let Some(lost) = flood.lost {
            let accounted = flood.messages.saturating_add(lost);
            self.within(
                "messages expected = floodtest messages + lost",
                messages,
                accounted,
                unanswered,
            );
        }
        self
    }

    /// Adds what must hold of the sender by itself. Where nobody answers, what was written is all
    /// that is known.
    fn of_sender(&mut self, send: &SendReport) {
        let ended = [send.answered, send.failed, send.unanswered].into_iter();
        let ended = ended.fold(send.written.unwrap_or_default(), u64::saturating_add);
        let what = match send.written {
            None => "msggen sent = answered + failed + unanswered",
            Some(_) => "msggen sent = written + failed + unanswered",
        };
        self.exact(what, send.sent, ended);
    }

    /// Adds what must hold of the connections by themselves. Where places had several, one after
    /// another, all of them are counted, and one that waits for its next connection is none.
    fn of_clients(&mut self, flood: &FloodReport) {
        let once_open = flood.connected.saturating_add(flood.closed).saturating_add(flood.unknown);
        if !flood.has_lives() {
            let all = once_open.saturating_add(flood.failed);
            self.exact("floodtest asked = connected + closed + failed", flood.asked, all);
            return;
        }
        let all = flood.established.saturating_add(flood.failed);
        self.within("floodtest begun = established + failed", flood.begun, all, flood.waiting);
        self.exact("floodtest established = connected + closed", flood.established, once_open);
        let reasons = sum(&flood.closures);
        self.exact("floodtest closed = closed, by reason", flood.closed, reasons);
    }

    /// Whether every identity holds.
    pub fn balance(&self) -> bool {
        self.lines.iter().all(Line::holds)
    }

    /// A sentence for every identity that does not hold.
    pub fn shortfalls(&self) -> impl Iterator<Item = String> {
        let broken = self.lines.iter().filter(|line| !line.holds());
        broken.map(|line| format!("{}: {} against {}", line.what, line.left, line.right))
    }

    /// Adds an identity that must hold exactly.
    fn exact(&mut self, what: &'static str, left: u64, right: u64) {
        self.within(what, left, right, 0);
    }

    /// Adds an identity that must hold to within `slack`.
    fn within(&mut self, what: &'static str, left: u64, right: u64, slack: u64) {
        self.lines.push(Line { what, left, right, slack });
    }
}

/// One identity a line.
impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// The sum over all reasons.
fn sum(by_reason: &ByReason) -> u64 {
    by_reason.values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of 3 connections and 10 messages, 2 of them to nobody, in which all went well.
    fn good_run() -> (ServerStats, FloodReport, SendReport) {
        let server = ServerStats {
            connections_accepted: 5,
            connections_open: 3,
            connections_parked: 3,
            connections_closed: ByReason::from([
                ("peer".to_owned(), 1),
                ("bad_request".to_owned(), 1),
            ]),
            messages: 10,
            messages_void: 2,
            messages_reached: 8,
            chunks: 8,
            chunks_written: 8,
            ..Default::default()
        };
        let flood = FloodReport {
            asked: 3,
            connected: 3,
            chunks: 8,
            messages: 8,
            judged_by: JudgedBy::Numbers,
            lost: Some(0),
            duplicated: Some(0),
            reordered: Some(0),
            ..Default::default()
        };
        let send = SendReport {
            asked: 10,
            sent: 10,
            answered: 10,
            reached: Some(8),
            void: Some(2),
            ..Default::default()
        };
        (server, flood, send)
    }

    fn broken(run: &(ServerStats, FloodReport, SendReport)) -> Vec<String> {
        Books::of_run(&run.0, &run.1, &run.2).shortfalls().collect()
    }

    #[test]
    fn the_books_of_a_good_run_balance() {
        assert_eq!(broken(&good_run()), Vec::<String>::new());
    }

    #[test]
    fn every_figure_that_is_off_by_one_is_noticed() {
        type Break = fn(&mut (ServerStats, FloodReport, SendReport));
        let breaks: [(&str, Break); 13] = [
            ("accepted", |run| run.0.connections_accepted += 1),
            ("open", |run| run.0.connections_open -= 1),
            ("void", |run| run.0.messages_void += 1),
            ("deliveries", |run| run.0.chunks += 1),
            ("written", |run| run.0.chunks_written -= 1),
            ("dropped", |run| _ = run.0.chunks_dropped.insert("peer".to_owned(), 1)),
            ("messages", |run| (run.0.messages, run.0.messages_void) = (11, 3)),
            ("chunks", |run| run.1.chunks -= 1),
            ("connected", |run| run.1.connected -= 1),
            ("lost", |run| run.1.lost = Some(1)),
            ("sent", |run| run.2.sent += 1),
            ("written, with nobody to answer", |run| run.2.written = Some(1)),
            ("reached", |run| (run.2.reached, run.2.void) = (Some(9), Some(1))),
        ];
        for (figure, break_it) in breaks {
            let mut run = good_run();
            break_it(&mut run);
            assert!(!broken(&run).is_empty(), "{figure}");
        }
    }

    #[test]
    fn in_a_cluster_every_message_is_published_and_arrives_at_a_node() {
        let (server, flood, mut send) = good_run();
        // Of the five that another node had it is not known here whether they reached anybody.
        send.reached = Some(3);
        let cluster = ClusterStats { published: 10, received: 5, echoed: 3, unconfirmed: 0 };
        // The five that another node had are counted twice: as void here, and as reached there.
        let (messages, messages_void, cluster) = (15, 7, Some(cluster));
        let run = (ServerStats { messages, messages_void, cluster, ..server }, flood, send);
        assert_eq!(broken(&run), Vec::<String>::new());
        let cluster = |change: fn(&mut ClusterStats)| {
            let mut run = run.clone();
            change(run.0.cluster.as_mut().unwrap());
            broken(&run)
        };
        assert_eq!(
            cluster(|it| it.echoed = 2),
            [
                "msggen answered - void = received + echoed: 8 against 7",
                "msggen reached = echoed: 3 against 2"
            ]
        );
        assert_eq!(cluster(|it| (it.echoed, it.unconfirmed) = (2, 1)), Vec::<String>::new());
        assert_eq!(cluster(|it| it.published = 9).len(), 2);
    }

    #[test]
    fn of_a_foreign_server_the_books_are_those_of_the_tools() {
        let (_, mut flood, send) = good_run();
        let broken = |flood: &FloodReport, expected| {
            let books = Books::of_foreign(flood, Some(&send)).with_expected(flood, expected, 1);
            books.shortfalls().collect::<Vec<_>>()
        };
        assert_eq!(broken(&flood, 8), Vec::<String>::new());
        assert_eq!(broken(&flood, 7), Vec::<String>::new(), "one was never answered");
        let said = "messages expected = floodtest messages + lost: 10 against 8";
        assert_eq!(broken(&flood, 10), [said]);
        (flood.messages, flood.lost) = (7, Some(1));
        let said = "floodtest lost + duplicated + reordered = 0: 1 against 0";
        assert_eq!(broken(&flood, 8), [said]);
        (flood.lost, flood.duplicated, flood.reordered) = (None, None, None);
        assert_eq!(broken(&flood, 8), ["messages sent and not judged = 0: 10 against 0"]);
        assert!(Books::of_foreign(&flood, None).balance(), "nothing was sent");
    }

    #[test]
    fn what_slow_readers_leave_unread_is_no_loss_and_excuses_nobody_else() {
        let mut run = good_run();
        let slow = SlowReaders { connections: 1, ..SlowReaders::default() };
        (run.1.chunks, run.1.messages, run.1.slow_readers) = (5, 5, Some(slow));
        assert_eq!(broken(&run), Vec::<String>::new(), "three came for the slow one");
        run.0.connections_parked = 2;
        assert_eq!(broken(&run), Vec::<String>::new(), "it was closed, and does not know it yet");
        run.0.connections_parked = 1;
        let said = "floodtest connected = server connections_parked: 3 against 1";
        assert_eq!(broken(&run), [said], "the other ones read");
        run.0.connections_parked = 3;
        run.1.chunks = 9;
        assert_eq!(broken(&run), ["floodtest chunks = server chunks_written: 9 against 8"]);
    }

    #[test]
    fn connections_of_places_are_all_accounted_for() {
        type Break = fn(&mut FloodReport);
        let (server, flood, send) = good_run();
        // Three places: one closed twice, two tries failed, and one waits for its next connection.
        let flood = FloodReport {
            begun: 6,
            established: 4,
            connected: 2,
            closed: 2,
            failed: 2,
            away: 1,
            reopened: 1,
            closures: ByReason::from([("storm".to_owned(), 1), ("reset".to_owned(), 1)]),
            lost_in_gaps: Some(7),
            ..flood
        };
        let server = ServerStats { connections_parked: 2, ..server };
        let broken = |flood: &FloodReport| {
            Books::of_restarted(&server, flood, Some(&send)).shortfalls().collect::<Vec<_>>()
        };
        assert_eq!(broken(&flood), Vec::<String>::new(), "what was sent in a gap is not lost");
        let breaks: [(&str, Break); 5] = [
            ("begun", |it| it.begun += 1),
            ("established", |it| it.established += 1),
            ("connected", |it| it.connected -= 1),
            ("closures", |it| _ = it.closures.insert("reset".to_owned(), 2)),
            ("lost", |it| it.lost = Some(1)),
        ];
        for (figure, break_it) in breaks {
            let mut flood = flood.clone();
            break_it(&mut flood);
            assert!(!broken(&flood).is_empty(), "{figure}");
        }
    }

    #[test]
    fn unanswered_messages_may_be_on_either_side() {
        let mut run = good_run();
        (run.2.sent, run.2.unanswered) = (12, 2);
        assert_eq!(broken(&run), Vec::<String>::new(), "the server has neither");
        (run.0.messages, run.0.messages_void) = (12, 4);
        assert_eq!(broken(&run), Vec::<String>::new(), "the server has both");
        (run.0.messages, run.0.messages_void) = (13, 5);
        assert_eq!(broken(&run).len(), 1, "the server has one that nobody sent");
    }

    #[test]
    fn chunks_may_be_missing_only_where_connections_closed_and_never_be_too_many() {
        let mut run = good_run();
        (run.1.chunks, run.1.connected, run.1.closed) = (5, 2, 1);
        run.0.connections_parked = 2;
        assert_eq!(broken(&run), Vec::<String>::new());
        let text = Books::of_run(&run.0, &run.1, &run.2).to_string();
        assert!(text.contains("5 ≈ 8            (unconfirmed: 3)"), "{text}");
        run.1.chunks = 9;
        assert_eq!(broken(&run), ["floodtest chunks = server chunks_written: 9 against 8"]);
        run.0.connections_parked = 3;
        assert_eq!(broken(&run)[1], "floodtest connected = server connections_parked: 2 against 3");
    }
}
