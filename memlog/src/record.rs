//! The run: a sample whenever one is due, until it is told to end.

use std::io;
use std::time::Duration;

use reports::memory_log::{Mark, Sample};

use crate::clock::{Now, Schedule, Steps};
use crate::config::Config;
use crate::error::Error;
use crate::log::{self, Log};
use crate::plot::LivePlot;
use crate::sampler::{Sampler, Taken};
use crate::wait::{Waiter, Wake};

/// The exit code of a run that a second signal cuts short.
const CUT_SHORT: u8 = 1;

/// Who is told about a run while it goes on.
pub trait Observer {
    /// A sample was taken, and its line is in the log or waits for room on the disk.
    fn sample(&mut self, sample: &Sample);

    /// Something worth a line on the terminal, once.
    fn say(&mut self, text: &str);
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Samples taken.
    pub n_samples: u64,
    /// What the run fell short of, a sentence each.
    pub shortfalls: Vec<String>,
}

/// Marks that wait for the next sample. Those beyond are dropped, and that is said: a chart shows
/// no more, and a line has to end somewhere.
const MOST_MARKS: usize = 100;

/// A run.
struct Recorder<'a> {
    /// What was asked for.
    config: &'a Config,
    /// What time it is.
    clock: &'a mut dyn FnMut() -> Now,
    /// Takes samples.
    sampler: Sampler,
    /// Where lines go.
    log: Log,
    /// When samples are due.
    schedule: Schedule,
    /// Watches the wall clock.
    steps: Steps,
    /// Steps that no line has told of yet, in milliseconds.
    step_ms: i64,
    /// When the last sample of an earlier run was taken, until the first one of this run, in
    /// milliseconds since the Unix epoch.
    earlier_unix_ms: Option<u64>,
    /// Samples missed since the last line.
    n_missed: u64,
    /// Marks for the next line.
    marks: Vec<Mark>,
    /// Samples taken.
    n_samples: u64,
    /// Why no sample can be taken now, which has been said.
    trouble: Option<Trouble>,
    /// Whether the disk takes no line now, which has been said.
    is_disk_full: bool,
    /// The chart.
    plot: Option<LivePlot>,
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
pub fn record(config: &Config, observer: &mut impl Observer) -> Result<Outcome, Error> {
    let mut clock = Now::read;
    let mut recorder = Recorder::new(config, &mut clock, observer)?;
    let mark_name = log::mark_name(&config.log).map_err(Error::Wait)?;
    let mut waiter = Waiter::new(&mark_name, CUT_SHORT).map_err(Error::Wait)?;
    recorder.say_notices(observer);
    observer.say(&recorder.greeting());
    let mut outcome = recorder.run(&mut waiter, observer).map_err(Error::Wait)?;
    let drawn = recorder.plot.map_or(Ok(()), |plot| plot.draw());
    outcome.shortfalls.extend(drawn.err().map(|error| error.to_string()));
    Ok(outcome)
}

impl<'a> Recorder<'a> {
    /// Finds the target and opens the log.
    fn new(
        config: &'a Config,
        clock: &'a mut dyn FnMut() -> Now,
        observer: &mut impl Observer,
    ) -> Result<Self, Error> {
        let sampler = Sampler::new(config.choice.clone(), config.with_tree, config.ports.clone())?;
        let mut plot = config.plot.clone().map(LivePlot::new).transpose()?;
        let earlier = |sample: Sample| plot.iter_mut().for_each(|plot| plot.push(&sample));
        let (log, found) = Log::open(&config.log, config.rotate_bytes, earlier)?;
        if let Some(real) = &found.leads_to {
            let (path, real) = (config.log.display(), real.display());
            observer.say(&format!("warning: {path} is a link; the lines go to {real}"));
        }
        if found.torn_bytes > 0 {
            let (path, n_bytes) = (config.log.display(), found.torn_bytes);
            observer.say(&format!("{path}: cut off an unfinished last line, {n_bytes} bytes"));
        }
        let schedule = Schedule::new(clock().uptime, config.interval);
        Ok(Self {
            config,
            clock,
            sampler,
            log,
            schedule,
            steps: Steps::default(),
            step_ms: 0,
            earlier_unix_ms: found.last_unix_ms,
            n_missed: 0,
            marks: Vec::new(),
            n_samples: 0,
            trouble: None,
            is_disk_full: false,
            plot,
            is_last: false,
        })
    }

    /// Takes samples until the end.
    fn run(&mut self, waiter: &mut Waiter, observer: &mut impl Observer) -> io::Result<Outcome> {
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
    fn mark(&mut self, text: &str, observer: &mut impl Observer) {
        let unix = (self.clock)().unix;
        let mark = Mark::new(text, Some(unix.as_secs()));
        if self.marks.len() < MOST_MARKS {
            self.marks.push(Mark { ms: unix.subsec_millis().into(), ..mark });
        } else {
            observer.say(&format!("the mark \"{}\" is dropped: {MOST_MARKS} wait", mark.text));
        }
    }

    /// Takes the sample that is due. False: the target has ended for good.
    fn due(&mut self, observer: &mut impl Observer) -> bool {
        let now = (self.clock)();
        self.catch_up(now);
        let run_for = self.config.run_for;
        self.is_last = run_for.is_some_and(|run_for| self.schedule.elapsed() > run_for);
        self.sample(now, 1, observer)
    }

    /// Goes on to the sample that is due `now`, and counts those before it that were missed.
    fn catch_up(&mut self, now: Now) {
        let earlier_unix_ms = self.earlier_unix_ms.take();
        self.n_missed += missed_since(earlier_unix_ms, now.unix, self.config.interval);
        self.n_missed += self.schedule.take(now.uptime);
    }

    /// Takes the last sample of a run that is told to end. False: the target has ended for good,
    /// and marks are left that would have been in its line.
    fn end(&mut self, observer: &mut impl Observer) -> bool {
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
            self.step_ms += self.steps.since_last(now);
            let sample = self.keep(now, *sample, observer);
            self.write(observer);
            observer.sample(&sample);
        }
        true
    }

    /// Takes a sample, for which `n_due` were due, and writes its line. False: the target has ended
    /// for good.
    fn sample(&mut self, now: Now, n_due: u64, observer: &mut impl Observer) -> bool {
        let (now, taken) = self.take(now, n_due);
        self.step_ms += self.steps.since_last(now);
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
        self.write(observer);
        if let Some(sample) = kept {
            observer.sample(&sample);
            if let Some(error) = self.plot.as_mut().and_then(|plot| plot.redraw(now.uptime)) {
                observer.say(&format!("{error}; it is tried again"));
            }
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
                self.n_missed += n_due + self.schedule.take(after.uptime);
                (after, self.sampler.take())
            }
            taken => (now, taken),
        }
    }

    /// Gives `sample` what only the run knows, and its line to the log.
    fn keep(&mut self, now: Now, mut sample: Sample, observer: &mut impl Observer) -> Sample {
        match self.trouble.take() {
            None => {}
            Some(Trouble::NoAnswer) => observer.say("samples are taken again"),
            Some(Trouble::Away) => {
                observer.say(&self.sampler.back());
            }
        }
        sample.unix_s = now.unix.as_secs();
        sample.ms = now.unix.subsec_millis().into();
        sample.n_missed = self.n_missed;
        sample.step_ms = self.step_ms;
        sample.marks.append(&mut self.marks);
        let pss = self.sampler.pss(now.uptime, self.is_last || !sample.marks.is_empty());
        (sample.pss_kb, sample.no_pss) = (pss.kb, pss.left_out);
        pss.notice.iter().for_each(|notice| observer.say(notice));
        self.n_samples += 1;
        if self.log.push(&sample) {
            (self.n_missed, self.step_ms) = (0, 0);
            self.plot.iter_mut().for_each(|plot| plot.push(&sample));
        } else {
            self.marks.clone_from(&sample.marks);
            self.n_missed += 1;
        }
        sample
    }

    /// Writes the lines that wait.
    fn write(&mut self, observer: &mut impl Observer) {
        let was_full = self.is_disk_full;
        let written = self.log.write();
        self.is_disk_full = written.is_err();
        match written {
            Ok(()) if was_full => observer.say("the log is written again"),
            Err(error) if !was_full => {
                let path = self.config.log.display();
                observer
                    .say(&format!("cannot write {path}: {error}; lines wait in memory for room"));
            }
            _ => {}
        }
    }

    /// Counts a sample that could not be taken, and says why, once.
    fn miss(&mut self, trouble: Trouble, text: &str, observer: &mut impl Observer) {
        self.n_missed += 1;
        if self.trouble.replace(trouble) != Some(trouble) {
            observer.say(text);
        }
    }

    /// Says what the sampler has to say.
    fn say_notices(&mut self, observer: &mut impl Observer) {
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
        // What the disk did not take so far, it may take now; if not, its lines are counted below.
        let _ = self.log.write();
        let (path, n_samples) = (self.config.log.display(), self.n_samples);
        let mut shortfalls = Vec::new();
        if is_target_ended {
            let ended = format!("{} ended after {n_samples} samples", self.sampler.label());
            shortfalls.push(format!("{ended}; {path} is complete up to there"));
        }
        match self.log.n_waiting() {
            0 => {}
            n => shortfalls.push(format!("{path} lacks the last {n} lines: the disk took none")),
        }
        for mark in &self.marks {
            shortfalls.push(format!("the mark \"{}\" is in no line of {path}", mark.text));
        }
        Outcome { n_samples, shortfalls }
    }
}

/// Samples that an earlier run would have taken between its last one and `now`. At least one when
/// the clock was set back meanwhile: how long it was is not known then, but that there is a gap is.
fn missed_since(last_unix_ms: Option<u64>, now_unix: Duration, interval: Duration) -> u64 {
    let Some(last) = last_unix_ms.map(Duration::from_millis) else { return 0 };
    let Some(away) = now_unix.checked_sub(last) else { return 1 };
    let n_intervals = away.as_nanos() / interval.as_nanos();
    u64::try_from(n_intervals).unwrap_or(u64::MAX).saturating_sub(1)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
