//! The run: a sample whenever one is due, until it is told to end.

use std::io;

use reports::memory_log::{Mark, Sample};

use crate::clock::{Now, Schedule};
use crate::config::Config;
use crate::error::Error;
use crate::kept::Kept;
use crate::log;
use crate::observer::{Observer, Outcome};
use crate::sampler::{Sampler, Taken};
use crate::wait::{Wait, Waiter, Wake};

/// The exit code of a run that a second signal cuts short.
pub const CUT_SHORT: u8 = 1;

/// Marks that wait for the next sample. Those beyond are dropped, and that is said: a chart shows
/// no more, and a line has to end somewhere.
pub const MOST_MARKS: usize = 100;

/// A run.
struct Recorder<'a> {
    /// What was asked for.
    config: &'a Config,
    /// What time it is.
    clock: &'a mut dyn FnMut() -> Now,
    /// Takes samples.
    sampler: Sampler,
    /// Where lines go, and what they have to tell of.
    kept: Kept<'a>,
    /// When samples are due.
    schedule: Schedule,
    /// Marks for the next line.
    marks: Vec<Mark>,
    /// Why no sample can be taken now, which has been said.
    trouble: Option<Trouble>,
    /// Whether the sample that is taken now is the last one.
    is_last: bool,
}

/// Why no sample can be taken for a while. It is said when it begins, and when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The target is away.
    Away,
    /// The kernel does not answer.
    NoAnswer,
}

/// Records what `config` asks for, from now until the end.
pub fn record(config: &Config, observer: &mut dyn Observer) -> Result<Outcome, Error> {
    let sampler = sampler_of(config)?;
    let kept = Kept::open(config, observer)?;
    let mark_name = log::mark_name(&config.log).map_err(Error::Wait)?;
    let mut waiter = Waiter::new(Some(&mark_name), CUT_SHORT).map_err(Error::Wait)?;
    run(config, sampler, kept, &mut waiter, observer)
}

/// Records what `config` asks for and keeps none of it: `observer` does, elsewhere. When it is to
/// end, and what is marked, is what `waiter` says.
pub fn record_for_another(
    config: &Config,
    waiter: &mut dyn Wait,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    run(config, sampler_of(config)?, Kept::nothing(config)?, waiter, observer)
}

/// Finds what is to be watched.
fn sampler_of(config: &Config) -> Result<Sampler, Error> {
    Sampler::new(config.choice.clone(), config.with_tree, config.ports.clone())
}

/// Takes samples until `waiter` says that it is the end.
fn run(
    config: &Config,
    sampler: Sampler,
    kept: Kept<'_>,
    waiter: &mut dyn Wait,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let mut clock = Now::read;
    let mut recorder = Recorder::new(config, &mut clock, sampler, kept);
    recorder.say_notices(observer);
    observer.say(&recorder.greeting());
    let mut outcome = recorder.run(waiter, observer).map_err(Error::Wait)?;
    outcome.shortfalls.extend(recorder.kept.draw());
    Ok(outcome)
}

impl<'a> Recorder<'a> {
    /// From now on.
    fn new(
        config: &'a Config,
        clock: &'a mut dyn FnMut() -> Now,
        sampler: Sampler,
        kept: Kept<'a>,
    ) -> Self {
        let schedule = Schedule::new(clock().uptime, config.interval);
        let (marks, trouble, is_last) = (Vec::new(), None, false);
        Self { config, clock, sampler, kept, schedule, marks, trouble, is_last }
    }

    /// Takes samples until the end.
    fn run(&mut self, waiter: &mut dyn Wait, observer: &mut dyn Observer) -> io::Result<Outcome> {
        loop {
            match waiter.until(self.schedule.due(), self.clock)? {
                Wake::Mark(text) => {
                    self.mark(&text, observer);
                    continue;
                }
                Wake::Stop => {
                    let is_ended = !self.end(observer);
                    return Ok(self.outcome(is_ended));
                }
                // Nothing is read here.
                Wake::Input => continue,
                Wake::Due => {}
            }
            if !self.due(observer) {
                return Ok(self.outcome(true));
            }
            if self.config.run_for.is_some_and(|run_for| self.schedule.elapsed() > run_for) {
                return Ok(self.outcome(false));
            }
        }
    }

    /// Keeps a mark for the next line.
    fn mark(&mut self, text: &str, observer: &mut dyn Observer) {
        let unix = (self.clock)().unix;
        let mark = Mark::new(text, Some(unix.as_secs()));
        if self.marks.len() < MOST_MARKS {
            self.marks.push(Mark { ms: unix.subsec_millis().into(), ..mark });
        } else {
            observer.say(&format!("the mark \"{}\" is dropped: {MOST_MARKS} wait", mark.text));
        }
    }

    /// Takes the sample that is due. False: the target has ended for good.
    fn due(&mut self, observer: &mut dyn Observer) -> bool {
        let now = (self.clock)();
        self.catch_up(now);
        let run_for = self.config.run_for;
        self.is_last = run_for.is_some_and(|run_for| self.schedule.elapsed() > run_for);
        self.sample(now, 1, observer)
    }

    /// Goes on to the sample that is due `now`, and counts those before it that were missed.
    fn catch_up(&mut self, now: Now) {
        self.kept.catch_up(now);
        self.kept.n_missed += self.schedule.take(now.uptime);
    }

    /// Takes the last sample of a run that is told to end. False: the target has ended for good,
    /// and marks are left that would have been in its line.
    fn end(&mut self, observer: &mut dyn Observer) -> bool {
        let now = (self.clock)();
        self.is_last = true;
        // On a busy machine one may be due, and others before it.
        let is_due = self.schedule.due() <= now.uptime;
        if is_due {
            self.catch_up(now);
        }
        let n_due = u64::from(is_due);
        if !self.marks.is_empty() {
            // A mark without a line would be lost.
            return self.sample(now, n_due, observer);
        }
        // What the PSS is at the end. Whether there is an end to be seen is no matter any more.
        if let (now, Taken::Sample(sample)) = self.take(now, n_due) {
            self.kept.watch_clock(now);
            let sample = self.keep(now, *sample, observer);
            self.kept.write(observer);
            observer.sample(now, &sample);
        }
        true
    }

    /// Takes a sample, for which `n_due` were due, and writes its line. False: the target has ended
    /// for good.
    fn sample(&mut self, now: Now, n_due: u64, observer: &mut dyn Observer) -> bool {
        let (now, taken) = self.take(now, n_due);
        self.kept.watch_clock(now);
        let kept = match taken {
            Taken::Sample(sample) => Some(self.keep(now, *sample, observer)),
            Taken::Ended => return false,
            Taken::Away => {
                let text =
                    format!("{} has ended; waiting for it to come back", self.sampler.label());
                self.miss(Trouble::Away, &text, observer);
                None
            }
            Taken::Failed(error) => {
                let text = format!("samples are missed: {error}");
                self.miss(Trouble::NoAnswer, &text, observer);
                None
            }
        };
        self.say_notices(observer);
        // Also without a sample: lines may wait for room.
        self.kept.write(observer);
        if let Some(sample) = kept {
            observer.sample(now, &sample);
            self.kept.redraw(now, observer);
        }
        true
    }

    /// Takes a sample, and says when.
    ///
    /// One that was held up for an interval or more, as by SIGSTOP, would be of two times at once.
    /// It is missed, if one of `n_due` was due then, and another one is taken.
    fn take(&mut self, now: Now, n_due: u64) -> (Now, Taken) {
        let taken = self.sampler.take();
        let after = (self.clock)();
        let is_held_up = after.uptime.saturating_sub(now.uptime) >= self.config.interval;
        match taken {
            Taken::Sample(held_up) if is_held_up => {
                self.marks.splice(0..0, held_up.marks);
                self.kept.n_missed += n_due + self.schedule.take(after.uptime);
                (after, self.sampler.take())
            }
            taken => (now, taken),
        }
    }

    /// Gives `sample` what only the run knows, and its line to the log.
    fn keep(&mut self, now: Now, mut sample: Sample, observer: &mut dyn Observer) -> Sample {
        match self.trouble.take() {
            None => {}
            Some(Trouble::NoAnswer) => observer.say("samples are taken again"),
            Some(Trouble::Away) => {
                observer.say(&self.sampler.back());
            }
        }
        self.kept.date(now, &mut sample);
        sample.marks.append(&mut self.marks);
        let pss = self.sampler.pss(now.uptime, self.is_last || !sample.marks.is_empty());
        (sample.pss_kb, sample.no_pss) = (pss.kb, pss.left_out);
        pss.notice.iter().for_each(|notice| observer.say(notice));
        if !self.kept.push(&sample) {
            self.marks.clone_from(&sample.marks);
        }
        sample
    }

    /// Counts a sample that could not be taken, and says why, once.
    fn miss(&mut self, trouble: Trouble, text: &str, observer: &mut dyn Observer) {
        self.kept.n_missed += 1;
        if self.trouble.replace(trouble) != Some(trouble) {
            observer.say(text);
        }
    }

    /// Says what the sampler has to say.
    fn say_notices(&mut self, observer: &mut dyn Observer) {
        self.sampler.notices().iter().for_each(|notice| observer.say(notice));
    }

    /// What is said when a run begins.
    fn greeting(&self) -> String {
        let (watching, path) = (self.sampler.watching(), self.config.log.display());
        let mut notes = String::new();
        if self.sampler.ports().len() > 1 {
            notes += "; connections are their sum, --port counts on fewer";
        }
        if self.sampler.n_processes() > 1 {
            notes += "; RSS is the sum over all processes, and shared pages count in each";
        }
        format!("watching {watching}, every {:?}, to {path}{notes}", self.config.interval)
    }

    /// The outcome of the run so far.
    fn outcome(&mut self, is_target_ended: bool) -> Outcome {
        let (path, n_samples) = (self.config.log.display(), self.kept.n_samples);
        let mut shortfalls = Vec::new();
        if is_target_ended {
            let ended = format!("{} ended after {n_samples} samples", self.sampler.label());
            shortfalls.push(format!("{ended}; {path} is complete up to there"));
        }
        shortfalls.extend(self.kept.lacking(&self.marks.iter().collect::<Vec<_>>()));
        Outcome { n_samples, shortfalls }
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
