//! The router against a plain model: lists that are searched from end to end.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use crate::close::CloseReason;
use crate::fake_wire::{FakeMessage, FakeStyle, FakeWire, Left, Peer, READABLE, connect, wires};
use crate::router::{FanOut, Id, Limits, Presence, Ready, Router, Sent, Sweep};

/// Small, so that a few messages fill it.
const BACKLOG_BYTES: usize = 20;

/// What all backlogs together may take where that is limited: about four of them, as each counts
/// for 256 bytes and what it holds.
const BACKLOG_TOTAL_BYTES: usize = 1_500;

/// Ids of all connections together, so that some logins find no room.
const MAX_IDS: u64 = 30;

/// What a peer may say unasked.
const CHATTY_BYTES: usize = 20;

const HEAD: &str = "head;";

const LAST: &str = "end;";

const PING: &str = "ping;";

const WRITABLE: Ready = Ready { readable: false, writable: true };

/// Something that happens. Connections are picked by a number modulo how many there are.
#[derive(Debug, Clone)]
enum Step {
    Login {
        ids: Vec<Id>,
        room: usize,
        style: FakeStyle,
    },
    /// To an id, with so many bytes more than a short message.
    Send(Id, usize),
    /// What is about the first id, to all of them.
    SendAbout(Vec<Id>),
    Logout(Id),
    PeerLeaves(usize),
    PeerBreaks(usize),
    PeerReads(usize, usize),
    StaleEvent(usize),
    /// The peer says something, all at once or in pieces.
    Say(usize, String, bool),
    Ping,
    /// So many bytes.
    Forgive(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ids = prop::collection::btree_set(1..6_u64, 1..4);
    // Most peers take everything; some take little more than the head.
    let room = prop_oneof![3 => Just(usize::MAX / 2), 1 => 0..40_usize];
    let style = prop_oneof![Just(FakeStyle::Deaf), Just(FakeStyle::Talks)];
    let login = (ids.prop_shuffle_ids(), room, style);
    let step = prop_oneof![
        4 => login.prop_map(|(ids, room, style)| Step::Login { ids, room, style }),
        7 => (1..6_u64).prop_map(|id| Step::Send(id, 0)),
        1 => (1..6_u64, 1..50_usize).prop_map(|(id, n_more)| Step::Send(id, n_more)),
        3 => prop::collection::vec(1..6_u64, 1..5).prop_map(Step::SendAbout),
        1 => (1..6_u64).prop_map(Step::Logout),
        2 => any::<usize>().prop_map(Step::PeerLeaves),
        1 => any::<usize>().prop_map(Step::PeerBreaks),
        3 => (any::<usize>(), 1..40_usize).prop_map(|(which, room)| Step::PeerReads(which, room)),
        1 => any::<usize>().prop_map(Step::StaleEvent),
        3 => (any::<usize>(), "[?!][ab]|[?!ab]{1,6}|[?!ab.#]{2}", any::<bool>())
            .prop_map(|(which, text, is_cut)| Step::Say(which, text, is_cut)),
        2 => Just(Step::Ping),
        1 => (1..30_usize).prop_map(Step::Forgive),
    ];
    prop::collection::vec(step, 1..80)
}

/// Few peers that say much, most of whom take little.
fn steps_of_talkers() -> impl Strategy<Value = Vec<Step>> {
    let room = prop_oneof![1 => Just(usize::MAX / 2), 3 => 5..25_usize];
    let style = FakeStyle::Talks;
    let login = room.prop_map(move |room| Step::Login { ids: vec![1], room, style });
    let text = prop_oneof![
        6 => "([?][ab]){1,3}",
        2 => "![ab]",
        1 => "[?!]",
        1 => "[.#]a|[?]a[.#]b",
    ];
    let step = prop_oneof![
        8 => (any::<usize>(), text, any::<bool>())
            .prop_map(|(which, text, is_cut)| Step::Say(which, text, is_cut)),
        2 => Just(Step::Send(1, 0)),
        4 => (any::<usize>(), 1..15_usize).prop_map(|(which, room)| Step::PeerReads(which, room)),
        2 => Just(Step::Ping),
        3 => (1..8_usize).prop_map(Step::Forgive),
        1 => Just(Step::Logout(1)),
    ];
    let logins = prop::collection::vec(login, 1..4);
    let steps = prop::collection::vec(step, 1..60);
    (logins, steps).prop_map(|(logins, steps)| logins.into_iter().chain(steps).collect())
}

trait ShuffleIds {
    fn prop_shuffle_ids(self) -> impl Strategy<Value = Vec<Id>>;
}

impl<S: Strategy<Value = std::collections::BTreeSet<Id>>> ShuffleIds for S {
    fn prop_shuffle_ids(self) -> impl Strategy<Value = Vec<Id>> {
        self.prop_map(|ids| ids.into_iter().collect::<Vec<_>>()).prop_shuffle()
    }
}

/// What the model knows of a connection.
struct Modelled {
    ids: Vec<Id>,
    peer: Arc<Mutex<Peer>>,
    /// The shard that watches it, and under which key.
    watched: (usize, u64),
    /// Everything that was sent to it, taken or not.
    sent: String,
    n_chunks: u64,
    is_open: bool,
    is_broken: bool,
    /// Its last chunk is in its backlog: it is logged in, but gets no more messages.
    is_ending: bool,
    /// Whether it is heard.
    style: FakeStyle,
    /// What it has begun to say.
    begun: Option<char>,
    /// The answer that it gets when it reads.
    answer: String,
    /// Bytes that it said unasked.
    n_chatty: usize,
    /// Pings since its last answer.
    n_unanswered: u32,
    /// The code with which it has left, if it has left by itself.
    code: Option<u16>,
}

impl Modelled {
    fn event(&self, router: &Router<FakeWire>, ready: Ready) {
        let (shard, key) = self.watched;
        router.on_events(shard, &[(key, ready)], &mut [0; 8]);
    }

    fn n_waiting(&self) -> usize {
        self.sent.len() - self.peer.lock().unwrap().received.len()
    }

    fn talks(&self) -> bool {
        self.style == FakeStyle::Talks
    }

    /// It is gone without a goodbye.
    fn is_lost(&mut self) {
        self.is_open = false;
        if self.talks() && !self.is_ending {
            self.code = Some(1006);
        }
    }

    /// What must come of what it says at once.
    fn say(&mut self, text: &str) {
        if !self.talks() || self.is_ending {
            self.n_chatty += text.len();
            self.is_open &= self.n_chatty <= CHATTY_BYTES;
            return;
        }
        let (mut answers, mut last, mut end) = (String::new(), String::new(), None);
        for char in text.chars() {
            let is_free = self.begun.unwrap_or(char) == '!' && self.n_unanswered > 0;
            if !is_free && self.n_chatty == CHATTY_BYTES {
                end = Some("bad;");
                break;
            }
            self.n_chatty += usize::from(!is_free);
            match self.begun.take() {
                None => self.begun = Some(char),
                Some('?') => {
                    last = format!("{char}!;");
                    answers += &last;
                }
                Some('!') => self.n_unanswered = 0,
                Some('.') => end = Some("bye;"),
                Some('#') => end = Some("bad;"),
                Some(_) => {}
            }
            if end.is_some() {
                break;
            }
        }
        let is_waiting = self.n_waiting() > 0;
        let room = self.peer.lock().unwrap().room;
        let is_goodbye = end == Some("bye;");
        if is_goodbye {
            self.code = Some(1000);
        }
        match end {
            None if answers.is_empty() => {}
            None if is_waiting => self.answer = last,
            None if self.is_broken => self.is_lost(),
            None if room >= answers.len() => self.sent += &answers,
            None => {
                // The one that is begun, and the last.
                let n_begun = answers[..room].rfind(';').map_or(0, |at| at + 1);
                let behind = &answers[n_begun..];
                let begun = if room > n_begun { behind.split_inclusive(';').next() } else { None };
                let n_begun = n_begun + begun.map_or(0, str::len);
                let n_last = answers.len() - last.len();
                self.sent += &answers[..n_begun];
                self.sent += if n_begun <= n_last { &last } else { "" };
            }
            Some(word) if is_waiting => {
                self.is_open = is_goodbye;
                self.is_ending = is_goodbye;
                self.sent += if is_goodbye { word } else { "" };
            }
            Some(word) => {
                let bytes = answers + word;
                self.is_open = is_goodbye && !self.is_broken && room < bytes.len();
                if self.is_broken {
                    self.is_lost();
                }
                self.is_ending = self.is_open;
                self.sent += &bytes;
            }
        }
    }

    /// What a send to it must do. Returns whether it is reached.
    fn send(&mut self, message: &str) -> bool {
        if self.is_ending {
            return false;
        }
        let (n_waiting, chunk) = (self.n_waiting(), format!("{}:{message};", self.n_chunks + 1));
        let is_slow = n_waiting > 0 && n_waiting + chunk.len() > BACKLOG_BYTES;
        let is_lost = n_waiting == 0 && self.is_broken;
        if is_slow || is_lost {
            self.is_open = false;
            if is_lost {
                self.is_lost();
            }
            return false;
        }
        self.n_chunks += 1;
        self.sent += &chunk;
        true
    }
}

struct Pair {
    router: Router<FakeWire>,
    /// What the router tells of who is logged in.
    presence: Arc<Presence>,
    connections: Vec<Modelled>,
    n_messages: u64,
    /// What the router said to have left.
    left: Left,
    /// The ids that were logged in after the last step.
    logged_in: Vec<Id>,
    /// What all backlogs together may take.
    backlog_total_bytes: usize,
}

impl Pair {
    fn new(backlog_total_bytes: usize) -> Self {
        let limits = Limits {
            backlog_bytes: BACKLOG_BYTES,
            backlog_total_bytes,
            chatty_bytes: CHATTY_BYTES,
            max_ids: MAX_IDS,
        };
        let (wires, left) = wires(3);
        let router = Router::new(wires, 1, limits);
        let presence = Arc::new(Presence::new(MAX_IDS, 1));
        router.tell(&presence);
        let (connections, logged_in) = (Vec::new(), Vec::new());
        Self { router, presence, connections, n_messages: 0, left, logged_in, backlog_total_bytes }
    }

    /// Ids of all open connections together.
    fn n_logins(&self) -> u64 {
        let open = self.connections.iter().filter(|one| one.is_open);
        open.map(|one| one.ids.len() as u64).sum()
    }

    fn login(&mut self, ids: Vec<Id>, room: usize, style: FakeStyle) {
        let (socket, peer) = connect(room);
        let has_room = self.n_logins() + ids.len() as u64 <= MAX_IDS;
        let room_for_ids = self.router.room(ids.len());
        assert_eq!(room_for_ids.is_some(), has_room);
        let Some(room_for_ids) = room_for_ids else { return };
        let done = self.router.login(room_for_ids, socket, style, &ids, HEAD.as_bytes(), 0);
        assert_eq!(done.is_ok(), room >= HEAD.len(), "a head that does not fit ends it");
        assert_eq!(peer.lock().unwrap().n_closings, u32::from(done.is_err()));
        if done.is_ok() {
            let watched = peer.lock().unwrap().watched.expect("a parked connection is watched");
            let sent = HEAD.to_owned();
            self.connections.push(Modelled {
                ids,
                peer,
                watched,
                sent,
                n_chunks: 0,
                is_open: true,
                is_broken: false,
                is_ending: false,
                style,
                begun: None,
                answer: String::new(),
                n_chatty: 0,
                n_unanswered: 0,
                code: None,
            });
        }
    }

    fn send(&mut self, id: Id, n_more: usize) {
        self.send_to(&[id], n_more, |router, message| match router.send(id, message) {
            Sent::Done(n_reached) => n_reached,
            Sent::Many => to_the_end(router, router.fan_out(id), message),
        });
    }

    /// A connection that has several of the ids gets it once.
    fn send_about(&mut self, ids: &[Id]) {
        self.send_to(ids, 0, |router, message| {
            let mut targets = Vec::new();
            router.add_targets(ids, &mut targets);
            to_the_end(router, router.fan_out_to(ids[0], targets), message)
        });
    }

    fn send_to(
        &mut self,
        ids: &[Id],
        n_more: usize,
        send: impl FnOnce(&Router<FakeWire>, &FakeMessage) -> u64,
    ) {
        // Before the router is asked: it changes what the peers have received.
        let (mut n_expected, mut n_closed) = (0, 0);
        let message = format!("m{}{}", self.n_messages, "x".repeat(n_more));
        let n_waiting_before: Vec<_> = self.connections.iter().map(Modelled::n_waiting).collect();
        for connection in &mut self.connections {
            if connection.is_open && connection.ids.iter().any(|id| ids.contains(id)) {
                n_expected += u64::from(connection.send(&message));
                n_closed += u64::from(!connection.is_open);
            }
        }
        self.n_messages += 1;
        let n_given_up_before =
            self.router.stats().connections_closed.get(CloseReason::BacklogTotal);
        let message = FakeMessage::new(&message);
        let n_reached = send(&self.router, &message);
        // Whoever is closed to make room may have been reached before, or not any more.
        let n_victims = self.check_given_up(&n_waiting_before);
        assert!(n_expected - n_victims.min(n_expected) <= n_reached && n_reached <= n_expected);
        let n_given_up = self.router.stats().connections_closed.get(CloseReason::BacklogTotal);
        let n_given_up = n_given_up - n_given_up_before;
        assert!((n_victims..=n_victims + n_closed).contains(&n_given_up));
    }

    /// Looks for connections that were closed because all backlogs together held too much: only
    /// those that were furthest behind may have been. Returns how many they are.
    fn check_given_up(&mut self, n_waiting_before: &[usize]) -> u64 {
        let is_victim = |one: &Modelled| one.is_open && one.peer.lock().unwrap().is_closed;
        let (victims, others): (Vec<_>, Vec<_>) =
            (0..self.connections.len()).partition(|&at| is_victim(&self.connections[at]));
        let others = others.into_iter().filter(|&at| self.connections[at].is_open);
        // Others may have come to wait for more after the victims were closed.
        let most = others.map(|at| n_waiting_before[at]).max().unwrap_or(0);
        for &at in &victims {
            let victim = &mut self.connections[at];
            assert!(victim.n_waiting() >= most.max(1), "another one is further behind");
            victim.is_open = false;
        }
        victims.len() as u64
    }

    fn logout(&mut self, id: Id) {
        for connection in &mut self.connections {
            if !connection.is_open || !connection.ids.contains(&id) || connection.is_ending {
                continue;
            }
            let is_waiting = connection.n_waiting() > 0;
            let is_taken = !is_waiting && connection.peer.lock().unwrap().room >= LAST.len();
            if !is_waiting && connection.is_broken {
                connection.is_lost();
            } else {
                connection.is_open = !is_taken;
            }
            connection.is_ending = connection.is_open;
            connection.sent += LAST;
        }
        let mut rest = self.router.log_out(id);
        while rest.step(&self.router).is_none() {}
    }

    fn ping(&mut self) {
        for one in self.connections.iter_mut().filter(|one| one.is_open) {
            let is_full = one.peer.lock().unwrap().room == 0;
            // Whoever has bytes waiting is not asked, and a full socket takes nothing.
            if one.n_waiting() > 0 {
                continue;
            }
            if one.n_unanswered == 2 {
                one.is_open = false;
            } else if one.is_broken {
                one.is_lost();
            } else if !is_full {
                one.sent += PING;
                one.n_unanswered += u32::from(one.talks());
            }
        }
        self.sweep(Sweep { pings: true, n_forgiven: 0 });
    }

    fn forgive(&mut self, n_forgiven: usize) {
        for one in self.connections.iter_mut().filter(|one| one.is_open && one.talks()) {
            one.n_chatty = one.n_chatty.saturating_sub(n_forgiven);
        }
        self.sweep(Sweep { pings: false, n_forgiven });
    }

    fn sweep(&self, sweep: Sweep) {
        for shard in 0..self.router.n_shards() {
            let mut next = Some(0);
            while let Some(slot) = next {
                next = self.router.sweep_slice(shard, slot, sweep);
            }
        }
    }

    fn with_open(&mut self, which: usize, act: impl FnOnce(&Router<FakeWire>, &mut Modelled)) {
        let mut open: Vec<_> = self.connections.iter_mut().filter(|one| one.is_open).collect();
        if !open.is_empty() {
            let which = which % open.len();
            act(&self.router, open[which]);
        }
    }

    fn take(&mut self, step: Step) {
        let failed = if let Step::Login { ids, .. } = &step { ids.clone() } else { Vec::new() };
        match step {
            Step::Login { ids, room, style } => self.login(ids, room, style),
            Step::Send(id, n_more) => self.send(id, n_more),
            Step::SendAbout(ids) => self.send_about(&ids),
            Step::Logout(id) => self.logout(id),
            Step::Ping => self.ping(),
            Step::Forgive(n_bytes) => self.forgive(n_bytes),
            Step::Say(which, text, is_cut) => self.with_open(which, |router, one| {
                // A broken connection brings nothing any more, and is found out when it is read.
                if one.is_broken {
                    one.is_lost();
                    return one.event(router, READABLE);
                }
                for piece in text.split_inclusive(|_| is_cut) {
                    if one.is_open {
                        // The reader's memory has 8 bytes, which no text is longer than.
                        one.say(piece);
                        one.peer.lock().unwrap().said.extend(piece.as_bytes());
                        one.event(router, READABLE);
                    }
                }
            }),
            Step::PeerLeaves(which) => self.with_open(which, |router, one| {
                one.peer.lock().unwrap().is_gone = true;
                one.is_lost();
                one.event(router, READABLE);
            }),
            Step::PeerBreaks(which) => self.with_open(which, |_, one| {
                // Nobody is told: the next send finds out.
                one.peer.lock().unwrap().is_broken = true;
                one.is_broken = true;
            }),
            Step::PeerReads(which, room) => self.with_open(which, |router, one| {
                if one.is_broken || one.n_waiting() == 0 {
                    return;
                }
                one.peer.lock().unwrap().room += room;
                if room >= one.n_waiting() {
                    one.is_open = !one.is_ending;
                    // What it had asked in the meantime.
                    let answer = std::mem::take(&mut one.answer);
                    if one.is_open {
                        one.sent += &answer;
                    }
                }
                one.event(router, WRITABLE);
            }),
            Step::StaleEvent(which) => {
                // An event of a connection that is gone must not touch its slot's next owner.
                let gone: Vec<_> = self.connections.iter().filter(|one| !one.is_open).collect();
                if !gone.is_empty() {
                    gone[which % gone.len()].event(&self.router, READABLE);
                }
            }
        }
        self.check();
        self.check_left(&failed);
    }

    /// What has left is said once; nothing else is, but of a login that failed.
    fn check_left(&mut self, failed: &[Id]) {
        let is_in = |id: &Id| self.router.n_logins(*id) > 0;
        let mut expected: Vec<_> = self.logged_in.iter().filter(|id| !is_in(id)).collect();
        let mut left = std::mem::take(&mut *self.left.lock().unwrap());
        left.retain(|id| self.logged_in.contains(id) || !failed.contains(id));
        left.sort_unstable();
        expected.sort_unstable();
        assert_eq!(left.iter().collect::<Vec<_>>(), expected);
        self.logged_in = (1..6).filter(is_in).collect();
        let mut shown = Vec::new();
        for shard in 0..self.router.n_shards() {
            let mut next = Some(0);
            while let Some(slot) = next {
                next = self.router.ids_slice(shard, slot, |id| shown.push(id));
            }
        }
        shown.sort_unstable();
        assert_eq!(shown, self.logged_in, "each id is shown once");
    }

    fn check(&self) {
        for id in 1..6 {
            let logged_in = |one: &&Modelled| one.is_open && one.ids.contains(&id);
            let n_expected = self.connections.iter().filter(logged_in).count();
            assert_eq!(self.router.n_logins(id), n_expected, "logins of {id}");
            assert!(n_expected == 0 || self.presence.may_have(id), "{id} is not told of");
        }
        for one in &self.connections {
            let peer = one.peer.lock().unwrap();
            assert_eq!(peer.is_closed, !one.is_open, "closed exactly when the model says so");
            assert_eq!(peer.n_closings, u32::from(peer.is_closed), "announced once");
            assert!(
                one.sent.starts_with(&peer.received),
                "{:?} was not sent as {:?}",
                peer.received,
                one.sent
            );
        }
        let stats = self.router.stats();
        let n_open = self.connections.iter().filter(|one| one.is_open).count() as u64;
        assert_eq!(stats.connections_parked, n_open);
        assert_eq!(stats.logins, self.n_logins());
        assert!(stats.backlog_bytes <= self.backlog_total_bytes as u64, "{stats:?}");
        let is_waiting = self.connections.iter().any(|one| one.is_open && one.n_waiting() > 0);
        assert_eq!(stats.backlog_bytes > 0, is_waiting, "what holds nothing takes nothing");
        let n_with = |code: &str| {
            let with_code = |one: &&Modelled| one.code.is_some_and(|its| its.to_string() == code);
            self.connections.iter().filter(with_code).count() as u64
        };
        for (code, n) in stats.close_codes.all() {
            assert_eq!(n, n_with(&code), "ends with {code}");
        }
        assert_eq!(stats.messages, self.n_messages);
        assert_eq!(stats.messages, stats.messages_void + stats.messages_reached);
        assert_eq!(
            stats.chunks,
            stats.chunks_written + stats.chunks_queued + stats.chunks_dropped.total()
        );
    }
}

/// Serves all slices of a fan-out.
fn to_the_end(router: &Router<FakeWire>, mut fan_out: FanOut, message: &FakeMessage) -> u64 {
    loop {
        if let Some(n_reached) = fan_out.step(router, message) {
            return n_reached;
        }
    }
}

/// Lets a router and the model take the same steps, and ends everything.
fn agree(steps: Vec<Step>, backlog_total_bytes: usize) {
    let mut pair = Pair::new(backlog_total_bytes);
    for step in steps {
        pair.take(step);
    }
    for shard in 0..pair.router.n_shards() {
        let mut next = Some(0);
        while let Some(slot) = next {
            next = pair.router.end_slice(shard, slot, CloseReason::Shutdown);
        }
    }
    // Those that still have to take their last chunk are let read.
    for one in &pair.connections {
        let mut peer = one.peer.lock().unwrap();
        peer.is_broken = false;
        peer.room = usize::MAX / 2;
        drop(peer);
        one.event(&pair.router, WRITABLE);
    }
    let stats = pair.router.stats();
    let left = (stats.connections_parked, stats.ids, stats.chunks_queued);
    assert_eq!(left, (0, 0, 0), "nothing is left");
    assert_eq!((stats.logins, stats.backlog_bytes), (0, 0), "nothing is left");
    assert!(pair.presence.is_empty(), "all are told to have left");
    assert!(pair.connections.iter().all(|one| one.peer.lock().unwrap().is_closed));
}

proptest! {
    #[test]
    fn the_router_does_what_the_model_does(steps in steps(), is_tight in any::<bool>()) {
        agree(steps, if is_tight { BACKLOG_TOTAL_BYTES } else { usize::MAX });
    }

    #[test]
    fn it_hears_and_answers_as_the_model_does(steps in steps_of_talkers()) {
        agree(steps, usize::MAX);
    }
}
