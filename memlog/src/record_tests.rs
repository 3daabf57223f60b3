//! Runs whose clock is in the test's hands.

use std::cell::Cell;
use std::time::Duration;

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
    fn sample(&mut self, _: Now, _: &Sample) {
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
        there: None,
    }
}

/// The samples in the log of `config`.
fn samples(config: &Config) -> Vec<Sample> {
    let text = std::fs::read_to_string(&config.log).unwrap();
    text.lines().map(|line| reports::memory_log::parse_line(line).unwrap()).collect()
}

/// A run of this config.
fn recorder<'a>(
    config: &'a Config,
    clock: &'a mut dyn FnMut() -> Now,
    notes: &mut Notes,
) -> Recorder<'a> {
    let sampler = sampler_of(config).unwrap();
    Recorder::new(config, clock, sampler, Kept::open(config, notes).unwrap())
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
    let mut recorder = recorder(&config, &mut clock, &mut notes);
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
    let mut recorder = recorder(&config, &mut clock, &mut notes);
    assert!((0..4).all(|_| recorder.due(&mut notes)));
    let samples = samples(&config);
    let seen: Vec<(u64, u64)> = samples.iter().map(|it| (it.unix_s, it.n_missed)).collect();
    assert_eq!(seen, [(100, 0), (110, 0), (180, 6), (190, 0)], "not those of 120 to 170");
}

#[test]
fn the_last_sample_counts_what_was_due_before_it_and_no_more() {
    // When it is told to end, and when the sample was taken; then the last line.
    for (told_s, taken_s, last) in [
        (105, 106, (105, 0)),
        (112, 113, (112, 0)),
        (135, 136, (135, 2)),
        (105, 145, (145, 3)),
        (112, 145, (145, 3)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (config, mut notes) = (config(&dir), Notes::default());
        let mut readings = [100, 100, 101, told_s, taken_s].into_iter();
        let mut clock = || {
            let uptime_s = readings.next().unwrap();
            now(uptime_s, uptime_s * 1_000)
        };
        let mut recorder = recorder(&config, &mut clock, &mut notes);
        assert!(recorder.due(&mut notes) && recorder.end(&mut notes));
        let seen: Vec<(u64, u64)> =
            samples(&config).iter().map(|it| (it.unix_s, it.n_missed)).collect();
        assert_eq!(seen, [(100, 0), last], "told at {told_s}, taken at {taken_s}");
    }
}

#[test]
fn what_finds_no_room_in_memory_is_a_gap_and_its_marks_wait() {
    let dir = tempfile::tempdir().unwrap();
    let (config, mut notes) = (config(&dir), Notes::default());
    let mut clock = Now::read;
    let mut recorder = recorder(&config, &mut clock, &mut notes);
    // As after days with a full disk.
    let earlier = Sample::default();
    while recorder.kept.log.push(&earlier) {}
    for n in 0..=MOST_MARKS {
        recorder.mark(&n.to_string(), &mut notes);
    }
    assert_eq!(notes.said, ["the mark \"100\" is dropped: 100 wait"]);
    assert!((0..2).all(|_| recorder.due(&mut notes)));
    let samples = samples(&config);
    let (last, earlier) = samples.split_last().unwrap();
    assert!(earlier.iter().all(|it| it.unix_s == 0), "the first one found no room");
    assert_eq!((last.n_missed, last.marks.len()), (1, MOST_MARKS));
    assert_eq!((notes.n_samples, recorder.kept.n_samples), (2, 2));
}
