//! The run: a sample whenever one is due, until it is told to end.

use std::io;
use std::time::Duration;

use reports::memory_log::{Mark, Sample};

use crate::clock::{Now, Schedule, Steps};
use crate::log::{self, Log};
use crate::plot::LivePlot;
use crate::sampler::{Sampler, Taken};
use crate::wait::{Waiter, Wake};
use crate::{Config, Error};

/// The exit code of a run that a second signal cuts short.
const CUT_SHORT: u8 = 1;

/// Who is told about a run while it goes on.
pub trait Observer {
    /// A sample was taken and its line goes to the log.
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

/// A run.
struct Recorder<'a> {
    /// What was asked for.
    config: &'a Config,
    /// Takes samples.
    sampler: Sampler,
    /// Where lines go.
    log: Log,
    /// When samples are due.
    schedule: Schedule,
    /// Watches the wall clock.
    steps: Steps,
    /// Steps that no line has told of yet, in seconds.
    step_s: i64,
    /// Samples missed since the last line.
    n_missed: u64,
    /// Marks for the next line.
    marks: Vec<Mark>,
    /// Samples taken.
    n_samples: u64,
    /// What goes wrong now, and has been said.
    trouble: Option<Trouble>,
    /// The chart.
    plot: Option<LivePlot>,
}

/// What can go wrong for a while. Each is said when it begins, and when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The target is away.
    Away,
    /// The kernel does not answer.
    NoAnswer,
    /// The disk takes no line.
    Disk,
}

/// Records what `config` asks for, from now until the end.
pub fn record(config: &Config, observer: &mut impl Observer) -> Result<Outcome, Error> {
    let sampler = Sampler::new(config.choice.clone(), config.with_tree, config.ports.clone())?;
    let mut plot = config.plot.clone().map(LivePlot::new).transpose()?;
    let earlier = |sample: Sample| plot.iter_mut().for_each(|plot| plot.push(&sample));
    let (log, found) = Log::open(&config.log, config.rotate_bytes, earlier)?;
    let mark_name = log::mark_name(&config.log).map_err(Error::Wait)?;
    let mut waiter = Waiter::new(&mark_name, CUT_SHORT).map_err(Error::Wait)?;
    let now = Now::read();
    let mut recorder = Recorder {
        config,
        sampler,
        log,
        schedule: Schedule::new(now.uptime, config.interval),
        steps: Steps::default(),
        step_s: 0,
        n_missed: missed_since(found.last_unix_s, now.unix, config.interval),
        marks: Vec::new(),
        n_samples: 0,
        trouble: None,
        plot,
    };
    if found.torn_bytes > 0 {
        let path = config.log.display();
        observer
            .say(&format!("{path}: cut off an unfinished last line, {} bytes", found.torn_bytes));
    }
    observer.say(&recorder.greeting());
    let mut outcome = recorder.run(&mut waiter, observer).map_err(Error::Wait)?;
    let drawn = recorder.plot.map_or(Ok(()), |plot| plot.draw());
    outcome.shortfalls.extend(drawn.err().map(|error| error.to_string()));
    Ok(outcome)
}

impl Recorder<'_> {
    /// Takes samples until the end.
    fn run(&mut self, waiter: &mut Waiter, observer: &mut impl Observer) -> io::Result<Outcome> {
        loop {
            let wake = waiter.until(self.schedule.due())?;
            let now = Now::read();
            match wake {
                Wake::Mark(text) => {
                    self.marks.push(Mark::new(&text, Some(now.unix.as_secs())));
                    continue;
                }
                Wake::Stop => {
                    // A mark without a line would be lost.
                    let is_ended = !self.marks.is_empty() && !self.sample(now, observer);
                    return Ok(self.outcome(is_ended));
                }
                Wake::Due => self.n_missed += self.schedule.take(now.uptime),
            }
            if !self.sample(now, observer) {
                return Ok(self.outcome(true));
            }
            if self.config.run_for.is_some_and(|run_for| self.schedule.elapsed() > run_for) {
                return Ok(self.outcome(false));
            }
        }
    }

    /// Takes a sample and appends its line. False: the target has ended for good.
    fn sample(&mut self, now: Now, observer: &mut impl Observer) -> bool {
        self.step_s += self.steps.since_last(now);
        let mut sample = match self.sampler.take() {
            Taken::Sample(sample) => sample,
            Taken::Ended => return false,
            Taken::Away => {
                let text =
                    format!("{} has ended; waiting for it to come back", self.sampler.label());
                self.miss(Trouble::Away, &text, observer);
                return true;
            }
            Taken::Failed(error) => {
                let text = format!("samples are missed: {error}");
                self.miss(Trouble::NoAnswer, &text, observer);
                return true;
            }
        };
        sample.unix_s = now.unix.as_secs();
        sample.n_missed = self.n_missed;
        sample.step_s = self.step_s;
        sample.marks.append(&mut self.marks);
        self.n_samples += 1;
        let (is_kept, written) = self.log.append(&sample);
        if is_kept {
            (self.n_missed, self.step_s) = (0, 0);
        } else {
            self.marks = std::mem::take(&mut sample.marks);
            self.n_missed += 1;
        }
        match written {
            Ok(()) => self.recovered(observer),
            Err(error) => {
                let path = self.config.log.display();
                let text = format!("cannot write {path}: {error}; lines wait in memory for room");
                self.trouble_begins(Trouble::Disk, &text, observer);
            }
        }
        observer.sample(&sample);
        if let Some(plot) = self.plot.as_mut().filter(|_| is_kept) {
            plot.push(&sample);
            if let Some(error) = plot.redraw(now.uptime) {
                observer.say(&format!("{error}; it is tried again"));
            }
        }
        true
    }

    /// Counts a sample that could not be taken.
    fn miss(&mut self, trouble: Trouble, text: &str, observer: &mut impl Observer) {
        self.n_missed += 1;
        self.trouble_begins(trouble, text, observer);
    }

    /// Says what goes wrong, once.
    fn trouble_begins(&mut self, trouble: Trouble, text: &str, observer: &mut impl Observer) {
        if self.trouble.replace(trouble) != Some(trouble) {
            observer.say(text);
        }
    }

    /// Says that nothing goes wrong any more.
    fn recovered(&mut self, observer: &mut impl Observer) {
        match self.trouble.take() {
            None => {}
            Some(Trouble::Disk) => observer.say("the log is written again, and complete"),
            Some(Trouble::NoAnswer) => observer.say("samples are taken again"),
            Some(Trouble::Away) => {
                observer.say(&format!("{} is back, on {}", self.sampler.label(), self.ports()));
            }
        }
    }

    /// The ports in a sentence.
    fn ports(&self) -> String {
        let ports: Vec<u32> = self.sampler.ports().into_iter().map(u32::from).collect();
        match ports.as_slice() {
            [] => "no port yet".to_owned(),
            [port] => format!("port {port}"),
            ports => format!("ports {}", crate::listed(ports)),
        }
    }

    /// What is said when a run begins.
    fn greeting(&self) -> String {
        let (label, ports, path) = (self.sampler.label(), self.ports(), self.config.log.display());
        format!("watching {label} on {ports}, every {:?}, to {path}", self.config.interval)
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
        Outcome { n_samples, shortfalls }
    }
}

/// Samples that an earlier run would have taken between its last one and `now`.
fn missed_since(last_unix_s: Option<u64>, now_unix: Duration, interval: Duration) -> u64 {
    let Some(last) = last_unix_s.map(Duration::from_secs) else { return 0 };
    let n_intervals = now_unix.saturating_sub(last).as_nanos() / interval.as_nanos();
    u64::try_from(n_intervals).unwrap_or(u64::MAX).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_run_knows_what_is_missing_before_it() {
        let minute = Duration::from_mins(1);
        let missed = |last, now| missed_since(last, Duration::from_secs(now), minute);
        assert_eq!(missed(None, 1_000), 0, "a new log");
        assert_eq!(missed(Some(1_000), 1_060), 0);
        assert_eq!(missed(Some(1_000), 1_600), 9);
        assert_eq!(missed(Some(1_000), 500), 0, "the clock was set back meanwhile");
    }
}
