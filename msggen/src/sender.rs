//! One source: counts down its messages and sends each when it is due, or as soon after as the
//! answers to those before it allow.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::foreign::{ForeignPipe, ForeignTarget};
use crate::ids::Ids;
use crate::interval::Dues;
use crate::message::Draft;
use crate::order::PipeKey;
use crate::pipe::{ControlPipe, ControlTarget};
use crate::shared::Shared;
use crate::socket::{SocketPipe, SocketTarget};
use reports::share::share_of;

/// Where messages go: one server of several, or the only one.
#[derive(Debug, Clone)]
pub enum Target {
    /// The control door of a Comet server.
    Control(Arc<ControlTarget>),
    /// Any other HTTP server.
    Foreign(Arc<ForeignTarget>),
    /// WebSockets of any server.
    Sockets(Arc<SocketTarget>),
}

impl Target {
    /// How often bytes came on a connection that owed no answer. Of other HTTP servers it is not
    /// known: the client closes such connections by itself, and gives no such answer to a request.
    pub fn n_strays(&self) -> u64 {
        match self {
            Self::Control(control) => control.pool.n_strays(),
            Self::Foreign(_) => 0,
            Self::Sockets(sockets) => sockets.n_strays(),
        }
    }

    /// Looks whether bytes have come on connections that nobody uses.
    pub fn look_for_strays(&self) {
        if let Self::Control(control) = self {
            control.pool.look_for_strays();
        }
    }

    /// Tells its WebSockets, if it has any, that nothing more is to be sent.
    pub fn close(&self) {
        if let Self::Sockets(sockets) = self {
            sockets.close();
        }
    }
}

/// What one source sends to one target.
enum Pipe {
    /// To a control door.
    Control(Box<ControlPipe>),
    /// To any other HTTP server.
    Foreign(Box<ForeignPipe>),
    /// To WebSockets.
    Sockets(SocketPipe),
}

impl Pipe {
    /// Takes a message to be sent.
    fn push(&mut self, draft: Draft) {
        match self {
            Self::Control(pipe) => pipe.push(draft),
            Self::Foreign(pipe) => pipe.push(draft),
            Self::Sockets(pipe) => pipe.push(draft),
        }
    }

    /// Requests that are on their way or wait for it.
    fn n_requests(&self) -> usize {
        match self {
            Self::Control(pipe) => pipe.n_requests(),
            Self::Foreign(pipe) => pipe.n_requests(),
            Self::Sockets(pipe) => pipe.n_requests(),
        }
    }

    /// Goes on with everything. Completes when a request has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Control(pipe) => pipe.poll(context),
            Self::Foreign(pipe) => pipe.poll(context),
            // The sockets go on by themselves, and wake the source.
            Self::Sockets(_) => Poll::Pending,
        }
    }
}

/// One of the concurrent senders of messages.
pub struct Source {
    /// Its number, 0, 1, ….
    number: u64,
    /// Messages that it has not drawn yet.
    n_left: u64,
    /// Whom it sends the next ones to.
    ids: Ids,
    /// When it sends them.
    dues: Dues,
    /// When its alarm goes off next, if it is set.
    alarm_at: Option<Instant>,
    /// Whether it has as many requests on their way as it may have.
    is_full: bool,
    /// When it last became free to send another one.
    free_at: Option<Instant>,
    /// Messages that it draws at a time, and so sends in a request at most.
    batch: u64,
    /// Requests that it may have on their way.
    in_flight: usize,
    /// Its way to each target.
    pipes: Vec<Pipe>,
    /// What it shares with the others.
    shared: Arc<Shared>,
}

/// What makes a source: how much it sends, to whom, and when.
pub struct SourceSpec {
    /// Messages that it sends.
    pub n_messages: u64,
    /// Whom it sends to.
    pub ids: Ids,
    /// When it sends.
    pub dues: Dues,
    /// Messages that it may send in a request.
    pub batch: u64,
    /// Requests that it may have on their way.
    pub in_flight: usize,
}

impl Source {
    /// Source `number`, which sends to `targets` as `spec` says.
    pub fn new(number: u64, spec: SourceSpec, targets: &[Target], shared: Arc<Shared>) -> Self {
        let pipe = |(k, target): (usize, &Target)| {
            let shared = Arc::clone(&shared);
            let source = usize::try_from(number).expect("sources are in memory");
            let key = PipeKey { source, target: k };
            match target {
                Target::Control(control) => {
                    Pipe::Control(ControlPipe::new(key, shared, Arc::clone(control)).into())
                }
                Target::Foreign(foreign) => {
                    Pipe::Foreign(ForeignPipe::new(key, shared, Arc::clone(foreign)).into())
                }
                Target::Sockets(sockets) => {
                    Pipe::Sockets(SocketPipe::new(key, Arc::clone(sockets)))
                }
            }
        };
        let pipes = targets.iter().enumerate().map(pipe).collect();
        let SourceSpec { n_messages: n_left, ids, dues, batch, in_flight } = spec;
        let (alarm_at, is_full, free_at) = (None, false, None);
        Self {
            number,
            n_left,
            ids,
            dues,
            alarm_at,
            is_full,
            free_at,
            batch,
            in_flight,
            pipes,
            shared,
        }
    }

    /// Sends all messages of this source, or those before the stop.
    pub async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let number = usize::try_from(self.number).expect("it is one of the sources");
        loop {
            // Messages that fail at once end without anything to wait for, and the others are to
            // have their turn all the same.
            tokio::task::coop::consume_budget().await;
            if let Some(stopped_at) = shared.timer.stopped_at() {
                self.stop(stopped_at);
            }
            while self.n_requests() < self.in_flight && self.draw(number) {}
            self.is_full = self.n_requests() >= self.in_flight;
            if self.n_left == 0 && self.n_requests() == 0 {
                return;
            }
            let progress = std::future::poll_fn(|context| self.poll_pipes(context));
            tokio::select! {
                biased;
                () = progress => {}
                () = shared.timer.alarm(number) => {}
            }
        }
    }

    /// Draws a batch of messages that are due, or as many as there are; if there is none, sets the
    /// alarm for the first one.
    fn draw(&mut self, number: usize) -> bool {
        let now = Instant::now();
        if std::mem::take(&mut self.is_full) {
            // The answers that it waited for came in this turn. What was due before could not have
            // been sent before: that is the server's lateness, not msggen's own.
            self.free_at = Some(now);
        }
        let n_left_before = self.n_left;
        while self.n_left > 0 && n_left_before - self.n_left < self.batch {
            let due_at = self.dues.next_at();
            if let Some(due_at) = due_at.filter(|due_at| *due_at > now) {
                if self.n_left == n_left_before && self.alarm_at != Some(due_at) {
                    self.alarm_at = Some(due_at);
                    self.shared.timer.wake(number, due_at);
                }
                break;
            }
            // They are numbered backwards, as the article's are: the last one is number 1.
            let draft = Draft::new(self.n_left, self.ids.next_id(), due_at);
            let draft = match self.free_at {
                Some(free_at) => draft.free_at(free_at),
                None => draft,
            };
            self.dues.advance();
            self.n_left -= 1;
            let target = share_of(draft.id, self.pipes.len());
            self.pipes[target].push(draft);
        }
        self.n_left < n_left_before
    }

    /// Sends nothing more.
    fn stop(&mut self, stopped_at: Instant) {
        if self.n_left > 0
            && let Some(due_at) = self.dues.next_at()
        {
            self.shared.tally().fell_behind(stopped_at.saturating_duration_since(due_at));
        }
        self.n_left = 0;
        for pipe in &mut self.pipes {
            match pipe {
                Pipe::Control(pipe) => pipe.forget_drafts(stopped_at),
                Pipe::Foreign(pipe) => pipe.forget_drafts(stopped_at),
                // The sockets see the stop by themselves.
                Pipe::Sockets(_) => {}
            }
        }
    }

    /// Requests that are on their way or wait for it.
    fn n_requests(&self) -> usize {
        self.pipes.iter().map(Pipe::n_requests).sum()
    }

    /// Goes on with everything. Completes when a request has ended.
    fn poll_pipes(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut progress = Poll::Pending;
        for pipe in &mut self.pipes {
            if pipe.poll(context).is_ready() {
                progress = Poll::Ready(());
            }
        }
        progress
    }
}
