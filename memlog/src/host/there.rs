//! The memlog on a host: takes samples for the one at the other end of its pipes.
//!
//! It keeps nothing, and ends with its pipes, or when nothing comes for 10 s.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use clap::Parser as _;
use reports::memory_log::Sample;

use crate::args::Args;
use crate::clock::Now;
use crate::config::Config;
use crate::host::wire::{HELLO, Lines, Order, SILENCE_THERE, Said, as_us};
use crate::observer::Observer;
use crate::record::{CUT_SHORT, record_for_another};
use crate::wait::{Wait, Waiter, Wake};

/// Lines that may wait for the other side to read them: what is said in seven minutes with the
/// shortest interval. Whoever does not read for that long is not there.
const MAX_WAITING: usize = 4 * 1024;

/// How long the other side may take to read the last of it.
const LAST_WORD_TIME: Duration = Duration::from_secs(2);

/// Takes samples as `orders` says, and says them through `answers`. An error: it could not wait.
pub fn serve(orders: OwnedFd, answers: File) -> io::Result<()> {
    let (send, lines) = sync_channel(MAX_WAITING);
    let (tell, all_said) = sync_channel(1);
    thread::Builder::new().name("answers".to_owned()).spawn(move || {
        write_all(answers, &lines);
        // Nobody waits for it but at the end.
        let _ = tell.try_send(());
    })?;
    let mut say = Say { send, is_unheard: Arc::new(AtomicBool::new(false)) };
    say.line(format!("{HELLO}{}", about::version()));
    let mut parent = Parent {
        orders,
        received: Lines::default(),
        say: say.clone(),
        waiter: Waiter::new(None, CUT_SHORT)?,
        heard_at: Now::read().uptime,
        is_gone: false,
    };
    if let Some(flags) = parent.task()? {
        let outcome = config(&flags).and_then(|config| {
            let done = record_for_another(&config, &mut parent, &mut say);
            done.map_err(|error| error.to_string())
        });
        match outcome {
            Ok(outcome) => {
                outcome.shortfalls.into_iter().for_each(|it| say.say_as(&Said::Short(it)));
            }
            Err(why) => say.say_as(&Said::Failed(why)),
        }
        say.say_as(&Said::Done);
    }
    drop((say, parent));
    // Where it is not read there is nobody to tell that.
    let _ = all_said.recv_timeout(LAST_WORD_TIME);
    Ok(())
}

/// What `flags` ask for.
fn config(flags: &[String]) -> Result<Config, String> {
    let words = std::iter::once("memlog").chain(flags.iter().map(String::as_str));
    let args = Args::try_parse_from(words).map_err(|error| error.to_string())?;
    if args.command.is_some() || args.record.host.is_some() {
        return Err("it can only record here".to_owned());
    }
    args.record.check()
}

/// Writes lines as they come, which may take as long as nobody reads.
fn write_all(mut answers: File, lines: &Receiver<String>) {
    for line in lines {
        if answers.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

/// Says things to the other side.
#[derive(Debug, Clone)]
struct Say {
    /// To whoever writes them.
    send: SyncSender<String>,
    /// Whether a line found no room, or nobody.
    is_unheard: Arc<AtomicBool>,
}

impl Say {
    /// Says something.
    fn say_as(&self, said: &Said) {
        self.line(said.line());
    }

    /// Says a line.
    fn line(&self, line: String) {
        if self.send.try_send(line + "\n").is_err() {
            self.is_unheard.store(true, Ordering::SeqCst);
        }
    }
}

impl Observer for Say {
    fn sample(&mut self, now: Now, sample: &Sample) {
        self.say_as(&Said::Sample { there_us: as_us(now.uptime), line: sample.to_string() });
    }

    fn say(&mut self, text: &str) {
        self.say_as(&Said::Told(text.to_owned()));
    }
}

/// The other side, as far as it says what is to be done.
#[derive(Debug)]
struct Parent {
    /// Where its orders come from.
    orders: OwnedFd,
    /// What has come.
    received: Lines,
    /// Answers it.
    say: Say,
    /// Waits for it, and for signals.
    waiter: Waiter,
    /// When it was last heard of, since boot.
    heard_at: Duration,
    /// Whether it has nothing more to say.
    is_gone: bool,
}

/// What comes next.
enum Next {
    /// An order, but for questions about the time, which were answered.
    Order(Order),
    /// It is time.
    Due,
    /// It is the end.
    End,
}

impl Parent {
    /// What it wants to have recorded. `None`: nothing any more.
    fn task(&mut self) -> io::Result<Option<Vec<String>>> {
        let never = Duration::MAX;
        match self.next(never, &mut Now::read)? {
            Next::Order(Order::Record(flags)) => Ok(Some(flags)),
            _ => Ok(None),
        }
    }

    /// Waits until it is `due`, or for what it says before that.
    fn next(&mut self, due: Duration, clock: &mut dyn FnMut() -> Now) -> io::Result<Next> {
        loop {
            match self.received.next().map(|line| line.map(|line| Order::of(&line))) {
                Ok(None) => {}
                Ok(Some(Some(Order::Ping(sent_us)))) => {
                    let there_us = as_us(clock().uptime);
                    self.say.say_as(&Said::Pong { sent_us, there_us });
                    continue;
                }
                Ok(Some(Some(order))) => return Ok(Next::Order(order)),
                // Whoever says that is no memlog.
                Ok(Some(None)) | Err(_) => self.is_gone = true,
            }
            let silent_at = self.heard_at + SILENCE_THERE;
            let now = clock().uptime;
            if self.is_gone || self.say.is_unheard.load(Ordering::SeqCst) {
                return Ok(Next::End);
            }
            if now >= due {
                return Ok(Next::Due);
            }
            let fd = self.orders.as_fd();
            match self.waiter.until_input(due.min(silent_at), clock, Some(fd))? {
                Wake::Input => {
                    self.is_gone = !self.received.fill(&self.orders);
                    self.heard_at = clock().uptime;
                }
                Wake::Mark(text) => return Ok(Next::Order(Order::Mark(text))),
                Wake::Stop => return Ok(Next::End),
                // What came while this process stood still was not looked at yet.
                Wake::Due if now >= silent_at => return Ok(Next::End),
                Wake::Due => {}
            }
        }
    }
}

impl Wait for Parent {
    fn until(&mut self, due: Duration, clock: &mut dyn FnMut() -> Now) -> io::Result<Wake> {
        Ok(match self.next(due, clock)? {
            Next::Due => Wake::Due,
            Next::Order(Order::Mark(text)) => Wake::Mark(text),
            // It can be asked to record once.
            Next::Order(_) | Next::End => Wake::Stop,
        })
    }
}
