//! What `rig compare` finds in runs whose spread is known: made from the histogram of a published
//! run, of which each run has all delays times a factor drawn by a seed.

use std::f64::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reports::books::FloodReport;
use reports::compare::condition::Outcome;
use reports::compare::difference::{Difference, Finding};
use reports::compare::ranks::median;
use reports::latency::Latency;
use reports::latency_log;
use reports::run::files;
use serde_json::Value;

use crate::compare::judged;
use crate::fixture::{FIRST_UNIX_S, Fixture};
use crate::run_folder::SMALL;

/// Runs on each side.
const N_RUNS: usize = 5;

/// The delays of a published run.
fn recorded() -> Value {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = top.join("runs/2026-11-28-c10k-hour");
    let log = folder.join(files::name_in(&folder, files::DELIVERY_FROM_DUE));
    let mut all = Latency::default();
    latency_log::each(&fs::read(log).unwrap(), |it| all.merge(&it.latency)).unwrap();
    assert_eq!(all.count(), 3_600_000);
    serde_json::to_value(all).unwrap()
}

/// All delays of `recorded` times `factor`.
fn times(recorded: &Value, factor: f64) -> Latency {
    let mut scaled = recorded.clone();
    #[expect(clippy::cast_possible_truncation, reason = "at most a day")]
    #[expect(clippy::cast_sign_loss, reason = "a delay times a factor")]
    let by_factor = |us: &mut Value| *us = ((us.as_f64().unwrap() * factor).round() as u64).into();
    for count in scaled["counts"].as_array_mut().unwrap() {
        by_factor(&mut count[0]);
    }
    by_factor(&mut scaled["max_us"]);
    serde_json::from_value(scaled).unwrap()
}

/// A run whose delays are these, otherwise as the run in `like`.
fn write(folder: &Path, like: &Path, delays: &Latency) {
    fs::create_dir_all(folder).unwrap();
    for entry in fs::read_dir(like).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let reports = fs::read_to_string(like.join(files::FLOODTEST)).unwrap();
    let last: FloodReport = serde_json::from_str(reports.lines().last().unwrap()).unwrap();
    let last = FloodReport { delivery_from_due: delays.summary(), ..last };
    fs::write(folder.join(files::FLOODTEST), serde_json::to_string(&last).unwrap()).unwrap();
    let log = latency_log::head("delivery, from due", Duration::from_secs(FIRST_UNIX_S))
        + &latency_log::line(Duration::ZERO, Duration::from_secs(1), delays, &Latency::default());
    fs::write(folder.join(files::DELIVERY_FROM_DUE), log).unwrap();
}

/// Makes runs, and compares them.
struct Maker {
    dir: tempfile::TempDir,
    recorded: Value,
}

impl Maker {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let like = dir.path().join("like");
        fs::create_dir(&like).unwrap();
        // Few intervals: what is looked at is written anew for every run.
        Fixture { sending_s: 2, ..SMALL }.write(&like);
        Self { dir, recorded: recorded() }
    }

    /// What is found of the p99 of two sides that differ by `change`, and what came of a limit of
    /// 10 %. The factors of the runs are spread by `spread`, the logarithm's standard deviation.
    fn found(&self, seed: u64, spread: f64, change: f64) -> (Difference, Outcome) {
        let mut state = seed;
        // splitmix64: runs of one seed and of the next have nothing in common.
        let mut uniform = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (((mixed ^ (mixed >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        };
        let mut side = |name: &str, change: f64| -> Vec<PathBuf> {
            let run = |at: usize| {
                // Of the normal distribution, by Box and Muller.
                let normal = (-2.0 * uniform().ln()).sqrt() * (TAU * uniform()).cos();
                let delays = times(&self.recorded, change * (spread * normal).exp());
                let folder = self.dir.path().join(format!("{name}-{at}"));
                write(&folder, &self.dir.path().join("like"), &delays);
                folder
            };
            (1..=N_RUNS).map(run).collect()
        };
        let (a, b) = (side("a", 1.0), side("b", change));
        let began = Instant::now();
        let compared = judged([&a, &b], "delivery_from_due.p99>+10%", false);
        // For whoever asks how long it takes: `cargo test -p charts spread -- --nocapture`.
        println!("{} folders compared in {:?}", 2 * N_RUNS, began.elapsed());
        assert_eq!(compared.objections, Vec::<String>::new());
        let outcome = compared.judgements[0].outcome;
        let name = "delivery_from_due.p99";
        let p99 = compared.figures.into_iter().find(|it| it.name == name).unwrap();
        (p99, outcome)
    }
}

#[test]
fn with_a_spread_of_3_percent_5_runs_a_side_find_a_change_of_10_percent() {
    let maker = Maker::new();
    let found: Vec<_> = (1..=10).map(|seed| maker.found(seed, 0.03, 1.1).0.finding).collect();
    assert_eq!(found, [Finding::More; 10]);
    let (more, outcome) = maker.found(11, 0.03, 1.25);
    assert_eq!((more.finding, outcome), (Finding::More, Outcome::Broken), "{more:?}");
}

#[test]
fn with_a_spread_of_3_percent_and_no_change_none_is_said_in_19_of_20() {
    let maker = Maker::new();
    let found: Vec<_> = (1..=20).map(|seed| maker.found(seed, 0.03, 1.0)).collect();
    let n_none = found.iter().filter(|(it, _)| it.finding == Finding::None).count();
    assert!(n_none >= 19, "{n_none} of 20: {found:?}");
    let n_kept = found.iter().filter(|(_, outcome)| *outcome == Outcome::Kept).count();
    assert!(n_kept >= 19, "{n_kept} of 20: {found:?}");
    let sentence = "none that these runs could show; 10 % would have been seen";
    let n_would = found.iter().filter(|(it, _)| it.sentence() == sentence).count();
    assert!(n_would >= 18, "{n_would} of 20: {found:?}");
}

#[test]
fn with_a_spread_of_20_percent_5_runs_a_side_cannot_tell_10_percent_and_it_is_said_how_many_could()
{
    let maker = Maker::new();
    let found: Vec<_> = (1..=10).map(|seed| maker.found(seed, 0.2, 1.1)).collect();
    let (mut n_said, mut all_needed) = (0, Vec::new());
    for (it, _) in &found {
        let needed = it.runs_needed.unwrap();
        assert!(needed > N_RUNS as u64, "{needed}: {it:?}");
        all_needed.push(needed as f64);
        let sentence = format!(
            "none that these runs could show; 5 a side cannot tell 10 %, about {needed} could"
        );
        n_said += usize::from(it.sentence() == sentence);
    }
    // 98 by the spread that the runs are drawn from. Ten runs know it to a quarter, and the number
    // is its square.
    let needed = median(&all_needed).unwrap();
    assert!((60.0..=160.0).contains(&needed), "{all_needed:?}");
    // A change that is there may be found by luck, and one of exactly the limit be called kept or
    // broken, each in one of 20.
    assert!(n_said >= 9, "{n_said} of 10: {found:?}");
    let n_told = found.iter().filter(|(_, outcome)| *outcome != Outcome::CannotTell).count();
    assert!(n_told <= 1, "{n_told} of 10: {found:?}");
}
