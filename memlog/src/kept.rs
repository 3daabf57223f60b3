//! What is kept of a run: the lines of its log, its chart, and what no line has told of yet.

use std::time::Duration;

use reports::memory_log::{Mark, Sample};

use crate::clock::{Now, Steps};
use crate::config::Config;
use crate::error::Error;
use crate::log::Log;
use crate::observer::Observer;
use crate::plot::LivePlot;

/// The log and the chart of a run.
#[derive(Debug)]
pub struct Kept<'a> {
    /// What was asked for.
    config: &'a Config,
    /// Where lines go.
    pub(crate) log: Log,
    /// The chart.
    plot: Option<LivePlot>,
    /// Watches the wall clock.
    steps: Steps,
    /// Steps that no line has told of yet, in milliseconds.
    step_ms: i64,
    /// When the last sample of an earlier run was taken, until the first one of this run, in
    /// milliseconds since the Unix epoch.
    earlier_unix_ms: Option<u64>,
    /// Samples missed since the last line.
    pub(crate) n_missed: u64,
    /// Samples taken.
    pub(crate) n_samples: u64,
    /// Whether the disk takes no line now, which has been said.
    is_disk_full: bool,
}

impl<'a> Kept<'a> {
    /// Opens the log and tries the chart.
    pub fn open(config: &'a Config, observer: &mut dyn Observer) -> Result<Self, Error> {
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
        Ok(Self { plot, earlier_unix_ms: found.last_unix_ms, ..Self::of(config, log) })
    }

    /// Keeps nothing: whoever observes the run does, elsewhere.
    pub fn nothing(config: &'a Config) -> Result<Self, Error> {
        Ok(Self::of(config, Log::nowhere()?))
    }

    /// With an empty log.
    fn of(config: &'a Config, log: Log) -> Self {
        Self {
            config,
            log,
            plot: None,
            steps: Steps::default(),
            step_ms: 0,
            earlier_unix_ms: None,
            n_missed: 0,
            n_samples: 0,
            is_disk_full: false,
        }
    }

    /// Counts the samples that an earlier run would have taken until `now`, with the first of this
    /// one.
    pub(crate) fn catch_up(&mut self, now: Now) {
        let earlier_unix_ms = self.earlier_unix_ms.take();
        self.n_missed += missed_since(earlier_unix_ms, now.unix, self.config.interval);
    }

    /// Notices what the wall clock did until `now`.
    pub(crate) fn watch_clock(&mut self, now: Now) {
        self.step_ms += self.steps.since_last(now);
    }

    /// Dates a sample that was taken at `now`, and says in it what was missed before it.
    pub(crate) fn date(&self, now: Now, sample: &mut Sample) {
        sample.unix_s = now.unix.as_secs();
        sample.ms = now.unix.subsec_millis().into();
        sample.n_missed = self.n_missed;
        sample.step_ms = self.step_ms;
    }

    /// Takes the line of a sample. False: there is no room, and it is missed.
    pub(crate) fn push(&mut self, sample: &Sample) -> bool {
        self.n_samples += 1;
        let is_taken = self.log.push(sample);
        if is_taken {
            (self.n_missed, self.step_ms) = (0, 0);
            self.plot.iter_mut().for_each(|plot| plot.push(sample));
        } else {
            self.n_missed += 1;
        }
        is_taken
    }

    /// Writes the lines that wait.
    pub(crate) fn write(&mut self, observer: &mut dyn Observer) {
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

    /// Draws the chart again if it is time to.
    pub(crate) fn redraw(&mut self, now: Now, observer: &mut dyn Observer) {
        if let Some(error) = self.plot.as_mut().and_then(|plot| plot.redraw(now.uptime)) {
            observer.say(&format!("{error}; it is tried again"));
        }
    }

    /// Draws the chart for the last time; what went wrong, as a shortfall.
    pub(crate) fn draw(&self) -> Option<String> {
        self.plot.as_ref().and_then(|plot| plot.draw().err()).map(|error| error.to_string())
    }

    /// What the log lacks, a sentence each; `marks` are those that waited for a line.
    pub(crate) fn lacking(&mut self, marks: &[&Mark]) -> Vec<String> {
        // What the disk did not take so far, it may take now; if not, its lines are counted below.
        let _ = self.log.write();
        let path = self.config.log.display();
        let lines = match self.log.n_waiting() {
            0 => None,
            n => Some(format!("{path} lacks the last {n} lines: the disk took none")),
        };
        let marks =
            marks.iter().map(|it| format!("the mark \"{}\" is in no line of {path}", it.text));
        lines.into_iter().chain(marks).collect()
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
    use super::*;

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
