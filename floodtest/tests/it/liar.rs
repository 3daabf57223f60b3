//! The tester tested: a server that lies by a seed, and knows how often.
//!
//! It drops, repeats, swaps and delays one message in 1,000 each; delays and repeats stay within
//! the window of 64 numbers, and the last message of a connection is always an honest one. What
//! floodtest reports must be exactly that, whichever way the messages are numbered.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use reports::books::FloodReport;

use crate::support::{OUR_HEAD, Server, chunk, run, send, start_limited};

/// Seeds, each a run of its own.
pub(crate) const N_SEEDS: u64 = 20;

/// Connections of a run.
pub(crate) const N_CONNECTIONS: u64 = 40;

/// Messages of each, before any are dropped.
const N_MESSAGES: u64 = 1_000;

/// How far a message is moved at most; and how many honest ones there are between two lies, so
/// that no lie hides another.
const REACH: u64 = 63;

/// How often the server has lied.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lies {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
}

/// How messages are numbered.
#[derive(Debug, Clone, Copy)]
enum Style {
    /// By the server of this project, as HTML.
    Ours,
    /// As server-sent events, by their ids.
    Events,
    /// By another server, in a place that has to be named.
    Foreign,
}

impl Style {
    /// The head of a response.
    fn head(self) -> String {
        let foreign = "HTTP/1.1 200 OK\r\nServer: other/1\r\nTransfer-Encoding: chunked\r\n";
        match self {
            Self::Ours => OUR_HEAD.to_owned(),
            Self::Events => format!("{foreign}Content-Type: text/event-stream\r\n\r\n"),
            Self::Foreign => format!("{foreign}\r\n"),
        }
    }

    /// Message number `n` as a chunk.
    fn message(self, n: u64) -> String {
        chunk(&match self {
            Self::Ours => format!("Recvd msg #{n}: 'hello'<br/>"),
            Self::Events => format!("id: {n}\ndata: see #4\n\n"),
            Self::Foreign => format!("{{\"text\":\"see #4\",\"seq\":{n}}}"),
        })
    }

    /// The flags that floodtest needs.
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Ours => &[],
            Self::Events => &["--sse", "--sequence", "event-id", "--numbers", "consecutive"],
            Self::Foreign => &["--sequence", "\"seq\":([0-9]+)", "--numbers", "consecutive"],
        }
    }

    /// The first message that may be lied about: the first number of another server is its base.
    fn first_lie(self) -> u64 {
        if matches!(self, Self::Ours) { 1 } else { 2 }
    }
}

/// The numbers that a connection is sent, in order; what is untrue about them is added to `lies`.
/// All below `first_lie` are honest.
pub(crate) fn lie(random: &mut ChaCha8Rng, first_lie: u64, lies: &mut Lies) -> Vec<u64> {
    // Places in order are even. What is moved comes right behind the message it is moved to.
    let mut sent = Vec::new();
    let mut honest_until = first_lie;
    for n in 1..=N_MESSAGES {
        let behind = |by: u64| (2 * (n + by) + 1, n);
        let may_lie = n >= honest_until && n + REACH < N_MESSAGES;
        let lie = random.next_u64() % 1_000;
        match lie {
            0 if may_lie => lies.lost += 1,
            1 if may_lie => {
                lies.duplicated += 1;
                sent.extend([(2 * n, n), behind(random.next_u64() % (REACH + 1))]);
            }
            2 if may_lie => {
                lies.reordered += 1;
                sent.push(behind(1));
            }
            3 if may_lie => {
                lies.reordered += 1;
                sent.push(behind(2 + random.next_u64() % (REACH - 1)));
            }
            _ => sent.push((2 * n, n)),
        }
        if may_lie && lie < 4 {
            honest_until = n + REACH + 1;
        }
    }
    sent.sort_unstable();
    sent.into_iter().map(|(_, n)| n).collect()
}

/// A server that lies by `seed`, how often it does, and how many messages it sends.
fn liar(seed: u64, style: Style) -> (Server, Lies, u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut lies, mut n_sent) = (Lies::default(), 0);
    let mut texts = Vec::new();
    for _ in 0..N_CONNECTIONS {
        let numbers = lie(&mut random, style.first_lie(), &mut lies);
        n_sent += numbers.len() as u64;
        let messages: String = numbers.into_iter().map(|n| style.message(n)).collect();
        texts.push(format!("{}{messages}0\r\n\r\n", style.head()));
    }
    let server = Server::start_by_id(move |id, stream| send(stream, &texts[id - 1]));
    (server, lies, n_sent)
}

/// What floodtest found.
pub(crate) fn found(report: &FloodReport) -> Lies {
    let judged = |count: Option<u64>| count.expect("all messages have numbers");
    Lies {
        lost: judged(report.lost),
        duplicated: judged(report.duplicated),
        reordered: judged(report.reordered),
    }
}

#[test]
fn every_lie_is_found_and_nothing_else() {
    let styles = [Style::Ours, Style::Events, Style::Foreign];
    for (seed, style) in (0..N_SEEDS).zip(styles.into_iter().cycle()) {
        let (server, lies, n_sent) = liar(seed, style);
        assert!(lies.lost > 0 && lies.duplicated > 0 && lies.reordered > 0, "{lies:?}");
        let urls = server.urls(N_CONNECTIONS);
        let args = [&["--urls", urls.path(), "--rate", "max", "--json"], style.flags()].concat();
        let ended = run(&args).with_code(1);
        let report = ended.report();
        assert_eq!(found(&report), lies, "seed {seed}, {style:?}\n{ended}");
        assert_eq!((report.chunks, report.unnumbered), (n_sent, 0), "seed {seed}, {style:?}");
        assert_eq!(report.closures.get("ended"), Some(&N_CONNECTIONS), "seed {seed}, {style:?}");
    }
}

#[test]
fn several_processes_find_the_same_lies_as_one() {
    let (server, lies, n_sent) = liar(N_SEEDS, Style::Ours);
    let urls = server.urls(N_CONNECTIONS);
    let args = ["--urls", urls.path(), "--rate", "max", "--json"];
    let report = start_limited(80, &args).end().with_code(1).report();
    assert_eq!((found(&report), report.chunks), (lies, n_sent));
}
