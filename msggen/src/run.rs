//! A run from the first message due to the last report.

use std::io;
use std::ops::ControlFlow;
use std::os::unix::net::UnixDatagram;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reports::announced::Announced;
use reports::books::SendReport;
use reports::out::Out;
use reports::sent::{End, Header, VERSION};
use reports::stamp::{Clock, Sender};
use reqwest::Url;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use crate::config::Config;
use crate::connector::{Connector, find};
use crate::control::{ControlClient, Whom};
use crate::cores::Cores;
use crate::error::Error;
use crate::foreign::ForeignTarget;
use crate::ids::Ids;
use crate::interval::Dues;
use crate::message::Stamps;
use crate::misses::Misses;
use crate::numbers::HIGHEST_NUMBER;
use crate::order::{Numbers, Rule, UNORDERED_ON_THEIR_WAY};
use crate::pipe::ControlTarget;
use crate::pool::Pool;
use crate::report::Outcome;
use crate::route::Route;
use crate::sender::{Source, SourceSpec, Target};
use crate::shared::Shared;
use crate::socket::{Extent, Socket, SocketTarget, Unserved};
use crate::stream::Tls;
use crate::tally::{Counts, SERIES, Tally};
use crate::timer::Timer;
use crate::upgrade::Upgrade;
use crate::{descriptors, own, random, sent_file, tls, whole_file};

/// From when a schedule is made to when its first message is due: time for 10,000 sources to get
/// ready, so that the first ones are no later than the others.
const START_LEAD: Duration = Duration::from_millis(50);

/// From one call of [`Observer::progress`] to the next: a figure that changes faster cannot be
/// read.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// How long a run that is told to end waits for the answers that it is owed. A healthy server
/// needs milliseconds; whoever pressed Ctrl-C should not wait for another.
const GRACE: Duration = Duration::from_secs(2);

/// Who is told how a run goes. It is called on the thread that sends, so it should be quick.
pub trait Observer {
    /// Called before the first message is due, with a report of nothing.
    fn begun(&mut self, outcome: &Outcome) {
        let _ = outcome;
    }

    /// Called every second with the counts so far.
    fn progress(&mut self, counts: &Counts, asked: u64);

    /// Called every [`Config::report_every`], and with the last report. A break ends the run, as
    /// the shutdown does: nobody is left to report to.
    fn report(&mut self, outcome: &Outcome) -> ControlFlow<()>;

    /// Something went wrong that does not end the run, such as a full disk for its logs.
    fn trouble(&mut self, what: &str) {
        let _ = what;
    }
}

/// Sends what `config` asks for, until all is sent or `shutdown` completes. The last report has
/// been given to `observer` and is returned.
///
/// Runs within a tokio runtime with its I/O and time drivers on; one thread is enough.
pub async fn run(
    config: Config,
    observer: &mut impl Observer,
    shutdown: impl Future<Output = ()>,
) -> Result<Outcome, Error> {
    let (n_sources, n_messages) = (config.n_sources, config.n_messages);
    let too_many = Error::TooManyMessages { n_sources, n_messages };
    let asked = n_sources.checked_mul(n_messages).ok_or(too_many)?;
    if config.numbers_messages() && asked > HIGHEST_NUMBER {
        return Err(Error::TooManyNumbers { n_sources, n_messages });
    }
    config.sent.as_deref().map(whole_file::check).transpose()?;
    descriptors::make_room(&config)?;
    let (targets, unserved) = targets(&config).await?;
    let clock = Clock::start();
    let create = |folder| Out::create(folder, "msggen", &SERIES, &clock);
    let out = config.out.as_ref().map(create).transpose()?;
    let timer = Timer::new(usize::try_from(n_sources).expect("they fit into memory"))
        .map_err(Error::Timer)?;
    let lead = if config.interval.is_zero() { Duration::ZERO } else { START_LEAD };
    let started_at = Instant::now() + lead;
    #[expect(clippy::cast_possible_truncation, reason = "half of a random number is random")]
    let sender = Sender(random::from_system().map_err(Error::Random)? as u32);
    let shared = Arc::new(Shared {
        timer,
        text: config.text.clone(),
        stamps: config.has_stamps.then(|| Stamps::new(clock, sender)),
        numbers: numbers(&config).map(Mutex::new),
        scratch: Mutex::default(),
        timeout: config.timeout,
        tally: Mutex::new(Tally::new(started_at, per_second(&config), &config.route)),
    });
    let _announced = config.has_stamps.then(|| announce(sender, &clock, observer));
    let mut run = Run {
        asked,
        started_at,
        out,
        seed: config.seed,
        clock,
        sender: config.has_stamps.then_some(sender),
        is_unordered: config.is_unordered,
        targets: targets.clone(),
        cores: Cores::watch(),
        shared,
    };
    let mut sources = JoinSet::new();
    let mut alarms = JoinSet::new();
    let shared = Arc::clone(&run.shared);
    alarms.spawn(async move {
        shared.timer.run().await;
    });
    let mut sockets = JoinSet::new();
    for unserved in unserved {
        sockets.spawn(Socket::new(unserved, Arc::clone(&run.shared)).run());
    }
    for number in 0..n_sources {
        let spec = source_spec(&config, number, started_at);
        sources.spawn(Source::new(number, spec, &targets, Arc::clone(&run.shared)).run());
    }
    observer.begun(&run.outcome());
    run.watch(&mut sources, config.report_every, observer, shutdown).await;
    run.wind_down(sources, sockets).await;
    let mut outcome = run.outcome();
    outcome.figures.is_final = true;
    run.log(&outcome, observer);
    outcome.sent_shortfall = run.write_sent(&config, &outcome);
    outcome.log_shortfall = run.out.as_ref().and_then(Out::shortfall);
    // It is the last one, so there is nothing left for a break to end.
    let _ = observer.report(&outcome);
    Ok(outcome)
}

/// Lets floodtest know that this sender's stamps have the time of this machine, as long as what is
/// returned is held. A floodtest that is not told takes no latencies from other hosts.
fn announce(
    sender: Sender,
    clock: &Clock,
    observer: &mut impl Observer,
) -> io::Result<UnixDatagram> {
    let announced = Announced { sender, zero_us: clock.zero_us() }.announce();
    announced.inspect_err(|error| {
        let why = "floodtest --hosts will know no latencies of its messages";
        observer.trouble(&format!("cannot announce this sender: {error}; {why}"));
    })
}

/// Finds the servers and makes the ways to them. WebSockets are opened, and wait to be served.
async fn targets(config: &Config) -> Result<(Vec<Target>, Vec<Unserved>), Error> {
    let client_config = config.route.has_tls().then(|| tls::config(&config.trust)).transpose()?;
    let connector = async |server: &Url| {
        let host = server.host_str().expect("a checked URL has a host");
        let tls = match &client_config {
            Some(client_config) if ["https", "wss"].contains(&server.scheme()) => {
                Some(Tls::new(Arc::clone(client_config), tls::server_name(host)?))
            }
            _ => None,
        };
        let address = find(server, tls.as_ref()).await?;
        let connector = Connector::new(address, tls, config.n_connections, config.patience);
        Ok::<_, Error>((address, connector))
    };

    let (mut targets, mut all_unserved) = (Vec::new(), Vec::new());
    match &config.route {
        Route::Control { servers, batch, whom } => {
            for server in servers {
                let (_, connector) = connector(server).await?;
                let client = ControlClient::new(server, config.token.as_ref(), *whom);
                let pool = Arc::new(Pool::new(connector));
                targets.push(Target::Control(Arc::new(ControlTarget {
                    client,
                    pool,
                    batch: *batch,
                })));
            }
        }
        Route::Foreign { urls, form } => {
            let form = Arc::new(form.clone());
            for (url, sample) in urls {
                let (address, connector) = connector(sample).await?;
                let (url, form) = ((url.clone(), sample), Arc::clone(&form));
                let client_config = client_config.as_deref();
                let foreign = ForeignTarget::new(
                    url,
                    address,
                    connector,
                    form,
                    config.timeout,
                    client_config,
                )?;
                targets.push(Target::Foreign(Arc::new(foreign)));
            }
        }
        Route::Sockets { urls, form } => {
            let form = Arc::new(form.clone());
            for url in urls {
                let (_, connector) = connector(url).await?;
                let upgrade = Upgrade::new(url, &form.protocols, &form.fields);
                let extent = Extent {
                    n_sockets: config.n_sockets(),
                    n_targets: urls.len(),
                    n_messages: usize::try_from(config.n_sources)
                        .map_or(usize::MAX, |n| n.saturating_mul(config.in_flight)),
                };
                let opened = SocketTarget::open(connector, upgrade, Arc::clone(&form), extent);
                let (target, unserved) = opened.await.map_err(|(n_open, why)| Error::Upgrade {
                    url: url.to_string(),
                    n_open,
                    why,
                })?;
                targets.push(Target::Sockets(target));
                all_unserved.extend(unserved);
            }
        }
    }
    Ok((targets, all_unserved))
}

/// What source `number` sends.
fn source_spec(config: &Config, number: u64, started_at: Instant) -> SourceSpec {
    let batch = match config.route {
        Route::Control { batch, .. } => batch as u64,
        Route::Foreign { .. } | Route::Sockets { .. } => 1,
    };
    SourceSpec {
        n_messages: config.n_messages,
        ids: Ids::new(config.seed, number, Arc::clone(&config.audience)),
        dues: Dues::new(config.interval, started_at, config.seed, number, config.n_sources),
        batch,
        in_flight: config.in_flight,
    }
}

/// The numbers of the messages, if they have any.
fn numbers(config: &Config) -> Option<Numbers> {
    let rule = match config.route {
        Route::Sockets { .. } => Rule::OneWay,
        _ if config.is_unordered => Rule::Fewer(UNORDERED_ON_THEIR_WAY),
        Route::Control { .. } => Rule::BehindInPipe,
        // Each of its requests may have a connection of its own.
        Route::Foreign { .. } => Rule::Fewer(1),
    };
    let misses = config.sent.as_ref().map(|_| Misses::default());
    let population = config.audience.population();
    config.numbers_messages().then(|| Numbers::new(population, rule, misses))
}

/// Messages a second that are asked for; 0 for as many as are answered.
fn per_second(config: &Config) -> f64 {
    let interval = config.interval.mean();
    if interval.is_zero() { 0.0 } else { config.n_sources as f64 / interval.as_secs_f64() }
}

/// A run that goes on.
struct Run {
    /// Messages that it is to send.
    asked: u64,
    /// When it began.
    started_at: Instant,
    /// The logs to keep of it.
    out: Option<Out>,
    /// What its ids follow from.
    seed: u64,
    /// Turns its times into wall times.
    clock: Clock,
    /// Who sends, as the stamps say; none without stamps.
    sender: Option<Sender>,
    /// Whether messages to one id may overtake each other.
    is_unordered: bool,
    /// Where it sends.
    targets: Vec<Target>,
    /// What it has of the machine's cores.
    cores: Cores,
    /// What its sources share.
    shared: Arc<Shared>,
}

impl Run {
    /// Reports until every source has ended, or until told to end by `shutdown` or the observer.
    async fn watch(
        &mut self,
        sources: &mut JoinSet<()>,
        report_every: Duration,
        observer: &mut impl Observer,
        shutdown: impl Future<Output = ()>,
    ) {
        let ticks = |every| {
            let mut ticks = interval_at((self.started_at + every).into(), every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks
        };
        let mut reports = ticks(report_every);
        let mut progress = ticks(PROGRESS_EVERY);
        let mut ended = pin!(all_ended(sources));
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut ended => return,
                () = &mut shutdown => return,
                _ = reports.tick() => {
                    if observer.report(&self.outcome()).is_break() {
                        return;
                    }
                }
                () = log_due(self.out.as_ref()) => self.log(&self.outcome(), observer),
                _ = progress.tick() => {
                    self.cores.look();
                    let counts = self.shared.tally().counts;
                    observer.progress(&counts, self.asked);
                }
            }
        }
    }

    /// Sends nothing more, and waits for the answers that are owed, for a while.
    async fn wind_down(&mut self, mut sources: JoinSet<()>, mut sockets: JoinSet<()>) {
        self.cores.look();
        self.shared.timer.stop();
        // Sources that wait for an answer get the grace; the messages of those that are then ended
        // with their request count themselves as unanswered.
        let _ = timeout(GRACE, all_ended(&mut sources)).await;
        sources.shutdown().await;
        // The same for the other ends of WebSockets, to say that they have read everything.
        self.targets.iter().for_each(Target::close);
        let _ = timeout(GRACE, all_ended(&mut sockets)).await;
        sockets.shutdown().await;
        self.targets.iter().for_each(Target::look_for_strays);
    }

    /// Writes a report to the logs, if there are any.
    fn log(&mut self, outcome: &Outcome, observer: &mut impl Observer) {
        let Some(out) = &mut self.out else { return };
        if let Some(news) = out.log(Instant::now(), outcome, &self.shared.tally().totals()) {
            observer.trouble(&news);
        }
    }

    /// Writes the file of what was sent, if there is to be one. Returns why it could not be
    /// written.
    fn write_sent(&self, config: &Config, outcome: &Outcome) -> Option<String> {
        let (path, sender) = (config.sent.as_ref()?, self.sender.unwrap_or_default());
        let numbers = self.shared.numbers()?;
        let (first_due_at, last_answer_at) = {
            let tally = self.shared.tally();
            (tally.first_due_at(), tally.last_answer_at().unwrap_or_else(Instant::now))
        };
        let header = Header {
            sent: VERSION,
            sender,
            seed: self.seed,
            targets: config.route.targets(),
            first_due_unix_us: self.clock.unix_us(first_due_at),
            unordered: self.is_unordered,
            followers: config.route.whom() == Whom::Followers,
        };
        let figures = &outcome.figures;
        let end = End {
            end: true,
            last_answer_unix_us: self.clock.unix_us(last_answer_at),
            ids: 0,
            messages: figures.sent,
            answered: figures.answered,
            written: figures.written.unwrap_or_default(),
            failed: figures.failed,
            unanswered: figures.unanswered,
        };
        sent_file::write(path, &header, &numbers, end).err().map(|error| error.to_string())
    }

    /// The report of the run so far.
    fn outcome(&self) -> Outcome {
        let tally = self.shared.tally();
        let mut figures = SendReport {
            sender: self.sender,
            is_unordered: self.is_unordered,
            stray_answers: self.targets.iter().map(Target::n_strays).sum(),
            ..tally.report(self.asked, Instant::now())
        };
        let share = self.cores.whole();
        figures.own.busiest_thread_share = share.map(|share| share.ran);
        let mut outcome = Outcome {
            figures,
            unanswered_by: tally.unanswered_by(),
            closed_by: tally.closed_by(),
            seed: self.seed,
            planned_s: tally.planned().as_secs_f64(),
            took_s: tally.took().as_secs_f64(),
            behind_s: tally.behind().as_secs_f64(),
            busiest_second_share: self.cores.highest(),
            core_wait_share: share.map(|share| share.waited),
            limit: None,
            log_shortfall: None,
            sent_shortfall: None,
        };
        outcome.limit = own::limit(&outcome);
        outcome.figures.limited_by = outcome.limit.as_ref().map(|_| own::MSGGEN.to_owned());
        outcome
    }
}

/// Waits until an entry of the logs is due: for ever if there are none.
async fn log_due(out: Option<&Out>) {
    match out {
        Some(out) => tokio::time::sleep_until(out.next_at().into()).await,
        None => std::future::pending().await,
    }
}

/// Waits until every source, or every socket, has ended. Panics if one did: its messages are
/// missing.
async fn all_ended(sources: &mut JoinSet<()>) {
    while let Some(ended) = sources.join_next().await {
        ended.expect("a source ends by itself");
    }
}
