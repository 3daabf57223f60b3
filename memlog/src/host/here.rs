//! Keeps the samples of another host.
//!
//! Its lines are dated by the clocks of here, so that a clock there that is wrong, or is set, bends
//! nothing, and marks of here stand where they belong.

use std::collections::VecDeque;
use std::os::fd::AsFd as _;
use std::time::Duration;

use reports::memory_log::{self, Mark, Sample};

use crate::clock::Now;
use crate::config::{Config, There};
use crate::error::Error;
use crate::host::fault::Fault;
use crate::host::offset::Offset;
use crate::host::ssh::{Ssh, other_version};
use crate::host::wire::{HELLO, Lines, Order, SAY_EVERY, SILENCE_HERE, Said, as_us, clean};
use crate::kept::Kept;
use crate::log;
use crate::observer::{Observer, Outcome};
use crate::record::{CUT_SHORT, MOST_MARKS};
use crate::wait::{Waiter, Wake};
use reports::remote::RemoteHost;

/// Bytes that may come before memlog speaks. The first line of them is shown, and nobody has more
/// to say for a greeting.
const MOST_BANNER_BYTES: usize = 64 * 1024;

/// Characters that are shown of what somebody else wrote.
const SHOWN_CHARS: usize = 80;

/// Records what `config` asks for, on the host that `there` is, until the end.
pub fn record(
    config: &Config,
    there: &There,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let mut waiter = Waiter::new(None, CUT_SHORT).map_err(Error::Wait)?;
    let ssh = Ssh::start(&there.host)?;
    let (ssh, received) = hello(ssh, &there.host, &mut waiter)?;
    let mut session = Session {
        config,
        host: &there.host,
        ssh,
        received,
        offset: Offset::default(),
        kept: None,
        marks: VecDeque::new(),
        carried: Vec::new(),
        shortfalls: Vec::new(),
        is_done: false,
    };
    // Before anything else is answered, so that the first sample can be dated.
    session.ask_the_time();
    session.ssh.say(&Order::Record(there.flags.clone()));
    let lost = session.run(&mut waiter, observer)?;
    session.outcome(lost)
}

/// Waits until memlog speaks on `host`, and checks that it is the one that is here.
fn hello(ssh: Ssh, host: &RemoteHost, waiter: &mut Waiter) -> Result<(Ssh, Lines), Error> {
    let (mut received, mut banner, mut n_bytes) = (Lines::default(), String::new(), 0);
    loop {
        while let Ok(Some(line)) = received.next() {
            n_bytes += line.len();
            // What has no end of its own stands in the same line.
            let (before, version) = match line.split_once(HELLO) {
                Some((before, version)) => (before, Some(version.trim())),
                None => (line.as_str(), None),
            };
            if banner.is_empty() {
                shown(before).clone_into(&mut banner);
            }
            match version {
                Some(theirs) if theirs != about::version() => {
                    return Err(other_version(host.clone(), shown(theirs)).into());
                }
                Some(_) if banner.is_empty() => return Ok((ssh, received)),
                Some(_) => return Err(Fault::Banner { host: host.clone(), line: banner }.into()),
                None => {}
            }
        }
        let rest = received.so_far();
        if n_bytes + rest.len() > MOST_BANNER_BYTES {
            let line = if banner.is_empty() { shown(&rest) } else { banner };
            return Err(Fault::Banner { host: host.clone(), line }.into());
        }
        // ssh has limits of its own, and may be asking for a password.
        let came = waiter.until_input(Duration::MAX, &mut Now::read, Some(ssh.as_fd()));
        match came.map_err(Error::Wait)? {
            Wake::Stop => return Err(Fault::Told { host: host.clone() }.into()),
            Wake::Input if !received.fill(&ssh) => return Err(ssh.never_spoke(&banner).into()),
            Wake::Input | Wake::Due | Wake::Mark(_) => {}
        }
    }
}

/// The beginning of a text that somebody else wrote, for a sentence.
fn shown(text: &str) -> String {
    clean(text).trim().chars().take(SHOWN_CHARS).collect()
}

/// What goes on between the two.
struct Session<'a> {
    /// What was asked for.
    config: &'a Config,
    /// The host.
    host: &'a RemoteHost,
    /// The way to it.
    ssh: Ssh,
    /// What has come from it.
    received: Lines,
    /// What time it is there.
    offset: Offset,
    /// Where its lines go; `None` until it has found what it is to watch.
    kept: Option<Kept<'a>>,
    /// Marks that it was told of, and that are in no line.
    marks: VecDeque<Mark>,
    /// Marks of a sample that found no room, for the next one.
    carried: Vec<Mark>,
    /// What it fell short of.
    shortfalls: Vec<String>,
    /// Whether it has said all.
    is_done: bool,
}

/// How a host was lost.
#[derive(Debug)]
enum Lost {
    /// Its pipe has ended.
    Ended,
    /// For some other reason.
    Because(&'static str),
}

impl Session<'_> {
    /// Keeps what comes until the end. How the host was lost, if it was.
    fn run(
        &mut self,
        waiter: &mut Waiter,
        observer: &mut dyn Observer,
    ) -> Result<Option<Lost>, Error> {
        let mut heard_at = Now::read().uptime;
        let mut say_at = heard_at + SAY_EVERY;
        while !self.is_done {
            let due = say_at.min(heard_at + SILENCE_HERE);
            let wake = waiter.until_input(due, &mut Now::read, Some(self.ssh.as_fd()));
            match wake.map_err(Error::Wait)? {
                Wake::Mark(text) => self.mark(&text, observer),
                Wake::Stop => self.ssh.say(&Order::End),
                Wake::Input => {
                    heard_at = Now::read().uptime;
                    let is_open = self.received.fill(&self.ssh);
                    if let Some(lost) = self.take_all(waiter, observer)? {
                        return Ok(Some(lost));
                    }
                    if !is_open && !self.is_done {
                        return Ok(Some(Lost::Ended));
                    }
                }
                Wake::Due => {}
            }
            let now = Now::read().uptime;
            if now >= heard_at + SILENCE_HERE {
                return Ok(Some(Lost::Because("nothing was heard of it for 8 s")));
            }
            if now >= say_at {
                self.ask_the_time();
                say_at = now + SAY_EVERY;
            }
        }
        Ok(None)
    }

    /// Asks what time it is there; that it answers is what is waited for as well.
    fn ask_the_time(&mut self) {
        self.ssh.say(&Order::Ping(as_us(Now::read().uptime)));
    }

    /// Tells the host of a mark, so that the next sample has it, with its PSS.
    fn mark(&mut self, text: &str, observer: &mut dyn Observer) {
        let unix = Now::read().unix;
        let mark = Mark::new(text, Some(unix.as_secs()));
        if self.marks.len() < MOST_MARKS {
            self.ssh.say(&Order::Mark(mark.text.clone()));
            self.marks.push_back(Mark { ms: unix.subsec_millis().into(), ..mark });
        } else {
            observer.say(&format!("the mark \"{}\" is dropped: {MOST_MARKS} wait", mark.text));
        }
    }

    /// Takes all that has come whole.
    fn take_all(
        &mut self,
        waiter: &mut Waiter,
        observer: &mut dyn Observer,
    ) -> Result<Option<Lost>, Error> {
        let nonsense = Lost::Because("it says what no memlog says");
        loop {
            let said = match self.received.next() {
                Ok(None) => return Ok(None),
                Ok(Some(line)) => Said::of(&line),
                Err(_) => None,
            };
            match said {
                Some(Said::Pong { sent_us, there_us }) => {
                    self.offset.add(sent_us, there_us, Now::read().uptime);
                }
                Some(Said::Told(text)) => {
                    self.begin(waiter, observer)?;
                    observer.say(&format!("{}: {text}", self.host));
                }
                Some(Said::Sample { there_us, line }) => {
                    self.begin(waiter, observer)?;
                    let Ok(sample) = memory_log::parse_line(&line) else {
                        return Ok(Some(nonsense));
                    };
                    self.keep(there_us, sample, observer);
                }
                Some(Said::Failed(said)) if self.kept.is_none() => {
                    return Err(Fault::There { host: self.host.clone(), said }.into());
                }
                Some(Said::Short(text) | Said::Failed(text)) => {
                    self.shortfalls.push(format!("{}: {text}", self.host));
                }
                Some(Said::Done) => self.is_done = true,
                None => return Ok(Some(nonsense)),
            }
        }
    }

    /// Opens the log, once there is something to be written into it.
    fn begin(&mut self, waiter: &mut Waiter, observer: &mut dyn Observer) -> Result<(), Error> {
        if self.kept.is_none() {
            self.kept = Some(Kept::open(self.config, observer)?);
            let mark_name = log::mark_name(&self.config.log).map_err(Error::Wait)?;
            waiter.take_marks(&mark_name).map_err(Error::Wait)?;
        }
        Ok(())
    }

    /// Keeps a sample that was taken at `there_us`.
    fn keep(&mut self, there_us: i64, mut sample: Sample, observer: &mut dyn Observer) {
        let kept = self.kept.as_mut().expect("it was opened before");
        let now = Now::read();
        // Without an answer to what time it is there, it was taken just now.
        let taken = self.offset.here(there_us, now).unwrap_or(now);
        kept.catch_up(taken);
        kept.watch_clock(taken);
        kept.n_missed += sample.n_missed;
        kept.date(taken, &mut sample);
        for mark in &mut sample.marks {
            // One without a time of its own was made there, by a change of the processes.
            if mark.unix_s.is_some() {
                let told = self.marks.iter().position(|told| told.text == mark.text);
                let told = told.and_then(|at| self.marks.remove(at));
                *mark = told.unwrap_or_else(|| Mark::new(&mark.text, None));
            }
        }
        sample.marks.splice(0..0, self.carried.drain(..));
        if !kept.push(&sample) {
            self.carried = sample.marks.iter().take(MOST_MARKS).cloned().collect();
        }
        kept.write(observer);
        observer.sample(taken, &sample);
        kept.redraw(taken, observer);
    }

    /// What came of it.
    fn outcome(self, lost: Option<Lost>) -> Result<Outcome, Error> {
        let Self { config, host, ssh, kept, marks, carried, mut shortfalls, .. } = self;
        let how = lost.map(|lost| match lost {
            Lost::Ended => ssh.end().how(),
            Lost::Because(why) => why.to_owned(),
        });
        let Some(mut kept) = kept else {
            // It has found nothing to watch, or had no time to.
            let said = how.unwrap_or_else(|| "it has ended before its first sample".to_owned());
            return Err(Fault::There { host: host.clone(), said }.into());
        };
        let n_samples = kept.n_samples;
        shortfalls.extend(how.map(|how| {
            let path = config.log.display();
            format!("lost {host} after {n_samples} samples: {how}; {path} is complete up to there")
        }));
        shortfalls.extend(kept.lacking(&carried.iter().chain(&marks).collect::<Vec<_>>()));
        shortfalls.extend(kept.draw());
        Ok(Outcome { n_samples, shortfalls })
    }
}
