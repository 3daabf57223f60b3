//! When what happened, by the marks in the memory log.

use serde::Serialize;

use super::Run;
use crate::memory_log::Sample;

/// A phase of a run: from a mark in the memory log to the next one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// The mark.
    pub name: String,
    /// When it began, in seconds since the Unix epoch.
    pub began_unix_s: u64,
    /// How long it took, in seconds.
    pub duration_s: f64,
}

/// The samples and marks of a run, by seconds since its first sample.
pub struct Timeline<'a> {
    /// Each sample and when it was taken.
    samples: Vec<(f64, &'a Sample)>,
    /// Each mark, when it was set, and when that was by the wall clock.
    marks: Vec<(f64, &'a str, u64)>,
}

impl<'a> Timeline<'a> {
    /// The timeline of a run. Steps of the wall clock are taken out.
    pub fn of(run: &'a Run) -> Self {
        if run.memory.is_empty() {
            return Self::without_memory(run);
        }
        let first_ms = run.memory.first().map_or(0, |sample| sample.unix_ms().cast_signed());
        let mut timeline = Self { samples: Vec::new(), marks: Vec::new() };
        let mut zero_ms = first_ms;
        for sample in &run.memory {
            zero_ms = zero_ms.saturating_add(sample.step_ms);
            let since_first =
                |unix_ms: u64| unix_ms.cast_signed().saturating_sub(zero_ms) as f64 / 1_000.0;
            timeline.samples.push((since_first(sample.unix_ms()), sample));
            for mark in sample.marks.iter().filter(|mark| mark.is_phase()) {
                let unix_ms = mark.unix_ms().unwrap_or(sample.unix_ms());
                timeline.marks.push((since_first(unix_ms), &mark.text, unix_ms / 1_000));
            }
        }
        timeline
    }

    /// The timeline of a run that has no memory log, since its first phase.
    fn without_memory(run: &'a Run) -> Self {
        let phases = &run.phases.phases;
        let first_ms = phases.first().map_or(0, |phase| phase.unix_ms);
        let marks = phases.iter().map(|phase| {
            let since_first = phase.unix_ms.saturating_sub(first_ms) as f64 / 1_000.0;
            (since_first, phase.name.as_str(), phase.unix_ms / 1_000)
        });
        Self { samples: Vec::new(), marks: marks.collect() }
    }

    /// Every mark and when it was set.
    pub fn marks(&self) -> impl Iterator<Item = (f64, &'a str)> {
        self.marks.iter().map(|(at_s, text, _)| (*at_s, *text))
    }

    /// When `mark` was set.
    pub fn at_s(&self, mark: &str) -> Option<f64> {
        self.marks.iter().find(|(_, text, _)| *text == mark).map(|(at_s, ..)| *at_s)
    }

    /// The last sample before `mark`.
    pub fn before(&self, mark: &str) -> Option<&'a Sample> {
        let end_s = self.at_s(mark)?;
        self.samples.iter().rfind(|(at_s, _)| *at_s < end_s).map(|(_, sample)| *sample)
    }

    /// The samples from mark `from` to mark `to`. None without both of them.
    pub fn between(&self, from: &str, to: &str) -> Vec<(f64, &'a Sample)> {
        let (Some(begin_s), Some(end_s)) = (self.at_s(from), self.at_s(to)) else {
            return Vec::new();
        };
        let is_between = |(at_s, _): &&(f64, &Sample)| (begin_s..=end_s).contains(at_s);
        self.samples.iter().filter(is_between).copied().collect()
    }

    /// The phases, each of them up to the next mark and the last one up to the last sample.
    pub fn phases(&self) -> Vec<Phase> {
        let last_s = self.samples.last().map_or(0.0, |(at_s, _)| *at_s);
        let ends = self.marks.iter().skip(1).map(|(at_s, ..)| *at_s).chain([last_s]);
        let phase = |((at_s, name, unix_s), end_s): (&(f64, &str, u64), f64)| Phase {
            name: (*name).to_owned(),
            began_unix_s: *unix_s,
            duration_s: (end_s - at_s).max(0.0),
        };
        self.marks.iter().zip(ends).map(phase).collect()
    }
}
