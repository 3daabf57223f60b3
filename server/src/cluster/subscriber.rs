//! The connection to a broker on which messages come in.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::connect::{Connection, Input, Waits};
use super::health::count;
use super::ledger::Command;
use super::node::Cluster;
use super::publication::{CHANNEL_OF_ALL, Publication, channel_of, channel_of_node, id_of};
use super::replies::{Reply, said};
use super::resp;
use super::stream::Output;
use super::timing::{PATIENCE, PROBE_EVERY};
use super::tls;

/// Channels that a node subscribes for itself: its own, and that of all nodes.
const N_OWN_CHANNELS: u64 = 2;

/// Messages delivered before other tasks are let in: at 7 µs a write, half a millisecond.
const MESSAGES_AT_A_TIME: u32 = 64;

/// Subscribes at broker number `number` what the ledger says and delivers what comes, for ever.
///
/// It reads no faster than it delivers. What it does not read waits in the broker, which ends the
/// connection when that is more than its `client-output-buffer-limit pubsub`: a gap, and counted.
pub(super) async fn run(cluster: Arc<Cluster>, number: usize) -> ! {
    let broker = &cluster.brokers[number];
    let mut waits = Waits::default();
    let mut lost_at = None;
    loop {
        let why = match Connection::open(broker, cluster.tls.as_ref()).await {
            Ok(connection) => {
                let made_at = Instant::now();
                let (why, heard_at, was_ready) =
                    Subscriber::new(&cluster, number, connection).run().await;
                waits.lost(made_at);
                if was_ready {
                    lost_at = Some(heard_at);
                    let node = &cluster.name;
                    tracing::warn!(
                        %node,
                        %broker,
                        "lost the connection on which messages come in: {why}"
                    );
                }
                why
            }
            Err(error) => error.to_string(),
        };
        cluster.healths[number].receiving_failed(why, lost_at);
        sleep(waits.next()).await;
    }
}

/// One connection, from the first subscription to its loss.
struct Subscriber<'cluster> {
    /// The cluster.
    cluster: &'cluster Arc<Cluster>,
    /// The broker's number.
    number: usize,
    /// Where its replies come from.
    input: Input,
    /// Where commands to it go.
    output: Output,
    /// What is to be written to it.
    to_write: BytesMut,
    /// This node's own channel.
    own_channel: String,
    /// Whether everything was subscribed once.
    was_ready: bool,
}

impl<'cluster> Subscriber<'cluster> {
    fn new(cluster: &'cluster Arc<Cluster>, number: usize, connection: Connection) -> Self {
        let own_channel = channel_of_node(cluster.nonce);
        let mut hello = Vec::new();
        let channels = [own_channel.as_bytes(), CHANNEL_OF_ALL.as_bytes()];
        resp::command(&mut hello, &[b"SUBSCRIBE", channels[0], channels[1]]);
        let to_write = BytesMut::from(&hello[..]);
        let Connection { input, output } = connection;
        Self { cluster, number, input, output, to_write, own_channel, was_ready: false }
    }

    /// Works until the connection is lost. Returns why, when it was heard last, and whether
    /// everything had been subscribed.
    async fn run(mut self) -> (String, Instant, bool) {
        self.cluster.healths[self.number]
            .receiving_failed("subscribing what is logged in".to_owned(), None);
        self.cluster.ledger().connected(self.number);
        let Err(why) = self.work().await;
        self.cluster.ledger().lost(self.number);
        self.cluster.healths[self.number].set_subscribed(0);
        (why, self.input.heard_at, self.was_ready)
    }

    /// Reads, writes and listens for what is to be done, as it comes.
    async fn work(&mut self) -> Result<Infallible, String> {
        let mut ticks = interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let cluster = Arc::clone(self.cluster);
        let inbox = &cluster.departures.inboxes[self.number];
        loop {
            self.handle_replies().await?;
            self.fill();
            let has_work = self.output.has_work(&self.to_write);
            tokio::select! {
                // A stream of messages must not keep us from writing. It may keep us from pinging.
                biased;
                written = self.output.write(&mut self.to_write), if has_work => {
                    written.map_err(|error| tls::sentence(&error))?;
                }
                read = self.input.read() => read?,
                () = inbox.wake.notified(), if self.to_write.is_empty() => {}
                _ = ticks.tick() => {
                    let silent = self.input.heard_at.elapsed();
                    if silent > PATIENCE {
                        return Err(format!("nothing heard for {} s", silent.as_secs()));
                    }
                    self.write(&[b"PING"]);
                }
            }
        }
    }

    /// Appends a command to what is to be written.
    fn write(&mut self, arguments: &[&[u8]]) {
        let mut bytes = Vec::new();
        resp::command(&mut bytes, arguments);
        self.to_write.extend_from_slice(&bytes);
    }

    /// Puts the next command of the ledger into the empty buffer.
    fn fill(&mut self) {
        if !self.to_write.is_empty() {
            return;
        }
        let mut ledger = self.cluster.ledger();
        for id in self.cluster.departures.inboxes[self.number].take() {
            ledger.left(id);
        }
        let command = ledger.next_command(self.number);
        let is_ready = ledger.is_ready(self.number);
        drop(ledger);
        let (verb, ids) = match &command {
            Some(Command::Subscribe(ids)) => (b"SUBSCRIBE".as_slice(), ids),
            Some(Command::Unsubscribe(ids)) => (b"UNSUBSCRIBE".as_slice(), ids),
            None => {
                if is_ready && !self.was_ready {
                    self.became_ready();
                }
                return;
            }
        };
        let mut bytes = Vec::with_capacity(32 * ids.len());
        resp::begin(&mut bytes, 1 + ids.len());
        resp::argument(&mut bytes, &[verb]);
        for &id in ids {
            resp::argument(&mut bytes, &[channel_of(id).as_bytes()]);
        }
        self.to_write.extend_from_slice(&bytes);
    }

    /// Takes note that everything is subscribed.
    fn became_ready(&mut self) {
        self.was_ready = true;
        let Cluster { name: node, brokers, .. } = &**self.cluster;
        let broker = &brokers[self.number];
        if let Some(blind) = self.cluster.healths[self.number].receiving_works() {
            tracing::warn!(%node, %broker, "everything is subscribed again, after {blind:.1?}");
        }
    }

    /// Handles all replies that were read.
    async fn handle_replies(&mut self) -> Result<(), String> {
        let mut n_messages = 0;
        let mut is_ack = false;
        while let Some(reply) = self.input.next()? {
            match reply {
                Reply::Message { channel, payload } => {
                    let is_own_channel = channel == self.own_channel.as_bytes();
                    deliver(self.cluster, self.number, (channel, is_own_channel), payload).await;
                    n_messages += 1;
                    if n_messages % MESSAGES_AT_A_TIME == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Reply::Subscribed(channel, n) => {
                    let n_ids = n.saturating_sub(N_OWN_CHANNELS);
                    self.cluster.healths[self.number].set_subscribed(n_ids);
                    if channel == CHANNEL_OF_ALL.as_bytes() {
                        let publisher = &self.cluster.publishers[self.number];
                        publisher.probe();
                        publisher.greet(CHANNEL_OF_ALL.to_owned());
                    } else if channel != self.own_channel.as_bytes() {
                        is_ack = true;
                        self.cluster.acknowledged(self.number, id_of(channel))?;
                    }
                }
                Reply::Unsubscribed(n) => {
                    let n_ids = n.saturating_sub(N_OWN_CHANNELS);
                    self.cluster.healths[self.number].set_subscribed(n_ids);
                }
                Reply::TooLarge(_) => count(&self.cluster.counts.too_large),
                Reply::Error(why) => return Err(format!("it says {}", said(why))),
                Reply::Number(_) | Reply::Followers(_) => {
                    return Err("it answers what nobody asked".to_owned());
                }
                Reply::Fine => {}
            }
        }
        if is_ack {
            self.cluster.has_done.notify_one();
        }
        Ok(())
    }
}

/// Does what a publication says. With the channel comes whether it is this node's own.
async fn deliver(
    cluster: &Cluster,
    number: usize,
    (channel, is_own_channel): (&[u8], bool),
    payload: &[u8],
) {
    let counts = &cluster.counts;
    let Some((origin, publication)) = Publication::decode(payload) else {
        return count(&counts.foreign);
    };
    if publication.is_too_large() {
        return count(&counts.too_large);
    }
    let is_own = origin == cluster.nonce;
    match (publication, id_of(channel)) {
        (Publication::Message(_), Some(_)) if is_own => count(&counts.echoed),
        (Publication::Asking(request, _), Some(_)) if is_own => {
            count(&counts.echoed);
            // Its own connections are counted where the message was sent. A copy that somebody else
            // published finds that this node has answered.
            cluster.polls.answer(request, origin, 0);
        }
        (Publication::Message(text), Some(id)) => {
            count(&counts.received);
            cluster.sender.send_to(id, text).await;
        }
        (Publication::Asking(request, text), Some(id)) => {
            count(&counts.received);
            let n_reached = cluster.sender.send_to(id, text).await;
            cluster.publishers[number].answer(origin, request, n_reached);
        }
        (Publication::Count(request, n_reached), None) if is_own_channel => {
            let is_known = cluster.nodes[number].is_known(origin);
            if !is_known || !cluster.polls.answer(request, origin, n_reached) {
                count(&counts.ignored);
            }
        }
        (Publication::Probe, None) if is_own_channel && is_own => cluster.healths[number].probed(),
        (Publication::Probe, None) if is_own_channel => {
            cluster.nodes[number].heard(origin, Instant::now());
        }
        (Publication::Probe, None) if channel == CHANNEL_OF_ALL.as_bytes() => {
            if !is_own {
                cluster.nodes[number].heard(origin, Instant::now());
                cluster.publishers[number].greet(channel_of_node(origin));
            }
        }
        _ => count(&counts.foreign),
    }
}
