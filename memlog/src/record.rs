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
                    // A mark without a line would be lost.
                    let now = (self.clock)();
                    let is_ended = !self.marks.is_empty() && !self.sample(now, observer);
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
        let earlier_unix_ms = self.earlier_unix_ms.take();
        self.n_missed += missed_since(earlier_unix_ms, now.unix, self.config.interval);
        self.n_missed += self.schedule.take(now.uptime);
        self.sample(now, observer)
    }

    /// Takes a sample and writes its line. False: the target has ended for good.
    fn sample(&mut self, now: Now, observer: &mut impl Observer) -> bool {
        let (now, taken) = self.take(now);
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
    /// It is missed, and another one is taken.
    fn take(&mut self, now: Now) -> (Now, Taken) {
        let taken = self.sampler.take();
        let after = (self.clock)();
        let is_held_up = after.uptime.saturating_sub(now.uptime) >= self.config.interval;
        match taken {
            Taken::Sample(held_up) if is_held_up => {
                self.marks.splice(0..0, held_up.marks);
                self.n_missed += 1 + self.schedule.take(after.uptime);
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
                observer.say(&format!("{} is back, on {}", self.sampler.label(), self.ports()));
            }
        }
        sample.unix_s = now.unix.as_secs();
        sample.ms = now.unix.subsec_millis().into();
        sample.n_missed = self.n_missed;
        sample.step_ms = self.step_ms;
        sample.marks.append(&mut self.marks);
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
        let is_sum = self.sampler.ports().len() > 1;
        let sum = if is_sum { "; connections are their sum, --port counts on fewer" } else { "" };
        format!("watching {label} on {ports}, every {:?}, to {path}{sum}", self.config.interval)
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
mod tests {
    use std::cell::Cell;

    use tempfile::TempDir;

    use super::*;
    use crate::target::Choice;

    /// What was said, and how many samples there were.
    #[derive(Default)]
    struct Notes {
        /// Samples.
        n_samples: usize,
        /// Sentences.
        said: Vec<String>,
    }

    impl Observer for Notes {
        fn sample(&mut self, _: &Sample) {
            self.n_samples += 1;
        }

        fn say(&mut self, text: &str) {
            self.said.push(text.to_owned());
        }
    }

    /// A run every ten seconds that watches this process, and writes a log in `dir`.
    fn config(dir: &TempDir) -> Config {
        Config {
            choice: Choice::Pids(vec![std::process::id()]),
            with_tree: false,
            ports: vec![1],
            log: dir.path().join("mem.log"),
            rotate_bytes: None,
            interval: Duration::from_secs(10),
            run_for: None,
            plot: None,
        }
    }

    /// The samples in the log of `config`.
    fn samples(config: &Config) -> Vec<Sample> {
        let text = std::fs::read_to_string(&config.log).unwrap();
        text.lines().map(|line| reports::memory_log::parse_line(line).unwrap()).collect()
    }

    /// A reading of both clocks.
    fn now(uptime_s: u64, unix_ms: u64) -> Now {
        Now { uptime: Duration::from_secs(uptime_s), unix: Duration::from_millis(unix_ms) }
    }

    #[test]
    fn a_clock_that_is_stepped_by_an_hour_bends_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (config, mut notes) = (config(&dir), Notes::default());
        let time = Cell::new(now(100, 1_000_000_500));
        let mut clock = || time.get();
        let mut recorder = Recorder::new(&config, &mut clock, &mut notes).unwrap();
        // Uptime in seconds, and by how many milliseconds the wall clock is ahead by then. From
        // 120 to 150 the machine was asleep, and the clock was set meanwhile.
        let readings = [(100, 0), (110, 3_600_250), (120, 3_600_250), (150, -3_599_750), (160, 0)];
        for (uptime_s, ahead_ms) in readings {
            let unix_ms: i64 = 1_000_000_500 + (uptime_s - 100) * 1_000 + ahead_ms;
            time.set(now(uptime_s.cast_unsigned(), unix_ms.cast_unsigned()));
            assert!(recorder.due(&mut notes));
        }
        let samples = samples(&config);
        let steps: Vec<i64> = samples.iter().map(|it| it.step_ms).collect();
        assert_eq!(steps, [0, 3_600_250, 0, -7_200_000, 3_599_750]);
        let gaps: Vec<u64> = samples.iter().map(|it| it.n_missed).collect();
        assert_eq!(gaps, [0, 0, 0, 2, 0]);
        let mut ahead_ms = 0;
        for (sample, (uptime_s, _)) in samples.iter().zip(readings) {
            ahead_ms += sample.step_ms;
            let steady_ms = sample.unix_ms().cast_signed() - ahead_ms;
            assert_eq!(steady_ms, 1_000_000_500 + (uptime_s - 100) * 1_000, "{sample}");
        }
    }

    #[test]
    fn a_sample_that_was_held_up_is_missed_and_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let (config, mut notes) = (config(&dir), Notes::default());
        // At the start, then before and after each sample. The third one is stopped for a minute.
        let mut readings = [100, 100, 101, 110, 111, 120, 180, 190, 191].into_iter();
        let mut clock = || {
            let uptime_s = readings.next().unwrap();
            now(uptime_s, uptime_s * 1_000)
        };
        let mut recorder = Recorder::new(&config, &mut clock, &mut notes).unwrap();
        assert!((0..4).all(|_| recorder.due(&mut notes)));
        let samples = samples(&config);
        let seen: Vec<(u64, u64)> = samples.iter().map(|it| (it.unix_s, it.n_missed)).collect();
        assert_eq!(seen, [(100, 0), (110, 0), (180, 6), (190, 0)], "not those of 120 to 170");
    }

    #[test]
    fn what_finds_no_room_in_memory_is_a_gap_and_its_marks_wait() {
        let dir = tempfile::tempdir().unwrap();
        let (config, mut notes) = (config(&dir), Notes::default());
        let mut clock = Now::read;
        let mut recorder = Recorder::new(&config, &mut clock, &mut notes).unwrap();
        // As after days with a full disk.
        let earlier = Sample::default();
        while recorder.log.push(&earlier) {}
        for n in 0..=MOST_MARKS {
            recorder.mark(&n.to_string(), &mut notes);
        }
        assert_eq!(notes.said, ["the mark \"100\" is dropped: 100 wait"]);
        assert!((0..2).all(|_| recorder.due(&mut notes)));
        let samples = samples(&config);
        let (last, earlier) = samples.split_last().unwrap();
        assert!(earlier.iter().all(|it| it.unix_s == 0), "the first one found no room");
        assert_eq!((last.n_missed, last.marks.len()), (1, MOST_MARKS));
        assert_eq!((notes.n_samples, recorder.n_samples), (2, 2));
    }

    #[test]
    fn a_later_run_knows_what_is_missing_before_it() {
        let minute = Duration::from_mins(1);
        let missed = |last, now| missed_since(last, Duration::from_millis(now), minute);
        assert_eq!(missed(None, 1_000_000), 0, "a new log");
        assert_eq!(missed(Some(1_000_000), 1_119_999), 0);
        assert_eq!(missed(Some(1_000_000), 1_120_000), 1);
        assert_eq!(missed(Some(1_000_000), 1_600_000), 9);
        assert_eq!(missed(Some(1_000_000), 999_999), 1, "the clock was set back meanwhile");
    }
}
