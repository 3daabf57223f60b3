use super::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// When there are bursts, in seconds: those that there are in a run, and one at its end.
const BURSTS_S: [u32; 9] = [0, 1, 3, 7, 17, 27, 37, 47, 52];

/// What the parent's clock says in the first of these seconds, in microseconds.
const START_US: f64 = 5e9;

/// A host whose clock is another, at the end of a line.
struct Host {
    /// Chance.
    rng: ChaCha8Rng,
    /// How much more its clock says in the first second, in microseconds.
    offset_us: f64,
    /// By how much faster it goes, in microseconds a microsecond.
    drift: f64,
    /// The shortest ways there and back, in microseconds.
    ways_us: [f64; 2],
    /// How much longer they mostly are, in microseconds.
    noise_us: f64,
    /// How often it is busy: part of the bursts.
    busy: f64,
}

impl Host {
    /// What chance makes of a host.
    fn of(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut between = |low: f64, high: f64| low + (high - low) * part(&mut rng);
        let (offset_us, drift) = (between(-2e5, 2e5), between(-50e-6, 50e-6));
        let ways_us = [between(10.0, 3_000.0), between(10.0, 3_000.0)];
        let (noise_us, busy) = (between(0.0, 2_000.0), between(0.0, 0.5));
        Self { rng, offset_us, drift, ways_us, noise_us, busy }
    }

    /// What its clock says at a time of the parent's, in microseconds.
    fn clock_us(&self, at_us: f64) -> f64 {
        at_us + self.offset_us + (at_us - START_US) * self.drift
    }

    /// Asks it at a time of the parent's, and what comes of it: all as clocks are read, in whole
    /// microseconds.
    fn ask(&mut self, at_us: f64, is_busy: bool) -> Exchange {
        let mut way_us = |shortest_us: f64| {
            let longer_us = -part(&mut self.rng).max(1e-9).ln() * self.noise_us;
            shortest_us + if is_busy { 20.0 * longer_us } else { longer_us }
        };
        let (there, back) = (way_us(self.ways_us[0]), way_us(self.ways_us[1]));
        Exchange {
            sent_us: whole(at_us),
            there_us: whole(self.clock_us(at_us + there)),
            received_us: whole(at_us + there + back),
        }
    }

    /// Asks it 16 times.
    fn burst(&mut self, at_us: f64) -> Vec<Exchange> {
        let is_busy = part(&mut self.rng) < self.busy;
        let mut at_us = at_us;
        let burst = (0..16).map(|_| {
            let exchange = self.ask(at_us, is_busy);
            // The next one follows at once.
            at_us = exchange.received_us as f64 + 1.0 + part(&mut self.rng);
            exchange
        });
        burst.collect()
    }
}

/// A number from 0 to 1.
fn part(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// A time as a clock is read.
#[expect(clippy::cast_possible_truncation, reason = "times are small")]
fn whole(us: f64) -> i64 {
    us.floor() as i64
}

/// A run with a host, and what became of its receipts.
struct Run {
    /// What was reported of its clock.
    report: ClockReport,
    /// How wrong its receipts were at the most, in microseconds.
    error_us: f64,
    /// The most vague burst, in microseconds.
    vaguest_us: f64,
}

/// Makes a run of so many bursts. Pings are told of if `has_pings`.
fn run(host: &mut Host, n_bursts: usize, has_pings: bool) -> Run {
    let mut clock = HostClock::new();
    let (mut error_us, mut vaguest_us) = (0_f64, 0_f64);
    // Two, of which either may be in force.
    let mut corrections = Vec::<Correction>::new();
    let mut at_us = START_US;
    for (n, at_s) in BURSTS_S[..n_bursts].iter().enumerate() {
        let begin_us = (START_US + f64::from(*at_s) * 1e6).max(at_us);
        let mut next_ping_us = at_us + 1e6;
        while n > 0 && at_us < begin_us {
            at_us += 1e5 * part(&mut host.rng);
            if has_pings && at_us >= next_ping_us {
                let ping = host.ask(at_us, false);
                clock.heard(ping);
                at_us = ping.received_us as f64 + 1.0;
                next_ping_us = at_us + 1e6;
                corrections.drain(..corrections.len() - 1);
            }
            for correction in &corrections {
                let told_us = correction.apply(whole(host.clock_us(at_us)));
                error_us = error_us.max((told_us as f64 - at_us).abs());
            }
        }
        let burst = host.burst(begin_us);
        vaguest_us = vaguest_us.max(Known::of(&burst).unwrap().half_width_us());
        at_us = burst[15].received_us as f64 + 1.0;
        corrections.extend(clock.add(&burst));
        corrections.drain(..corrections.len().saturating_sub(2));
    }
    Run { report: clock.finish().unwrap(), error_us, vaguest_us }
}

#[test]
fn the_truth_is_always_within_the_bound() {
    for seed in 0..1_000 {
        let mut host = Host::of(seed);
        let has_pings = seed % 2 == 0;
        let n_bursts = 2 + usize::try_from(seed % 8).unwrap();
        let Run { report, error_us, vaguest_us } = run(&mut host, n_bursts, has_pings);
        let bound_us = report.bound_us as f64;
        assert!(error_us <= bound_us, "seed {seed}: {error_us} of {bound_us}");
        // And the bound says something: what is not known is how long each way took.
        let most_us = 3.0 * vaguest_us + 250.0;
        assert!(bound_us <= most_us, "seed {seed}: {bound_us} of {most_us}");
    }
}

#[test]
fn on_a_quiet_line_a_clock_is_known_to_less_than_one_way() {
    let offset_us = 200_000.0;
    let ways_us = [100.0, 150.0];
    let rng = ChaCha8Rng::seed_from_u64(1);
    let mut host = Host { rng, offset_us, drift: 50e-6, ways_us, noise_us: 20.0, busy: 0.0 };
    let Run { report, error_us, .. } = run(&mut host, BURSTS_S.len(), true);
    // At the last burst, 52 s on.
    let truth_us = 200_000 + 52 * 50;
    assert!(report.offset_us.abs_diff(truth_us) <= report.bound_us, "{report:?}");
    assert!((report.drift_ppm - 50.0).abs() < 3.0, "{report:?}");
    assert!(report.bound_us < 300, "{report:?}, {error_us}");
}

#[test]
fn one_burst_alone_has_a_bound() {
    let burst = [Exchange { sent_us: 1_000, there_us: 201_150, received_us: 1_200 }];
    let mut clock = HostClock::new();
    assert_eq!(clock.finish(), None);
    let correction = clock.add(&burst).unwrap();
    assert_eq!(correction.apply(201_150), 1_100);
    let ClockReport { offset_us, drift_ppm, bound_us } = clock.finish().unwrap();
    assert_eq!((offset_us, drift_ppm), (200_050, 0.0));
    assert!((100..110).contains(&bound_us), "{bound_us}");
}

#[test]
fn a_busy_moment_does_not_widen_the_bound_where_the_next_burst_is_good() {
    let exchange = |at_us: i64, half_us: i64| Exchange {
        sent_us: at_us - half_us,
        there_us: at_us,
        received_us: at_us + half_us,
    };
    let mut clock = HostClock::new();
    for (at_us, half_us) in [(1_000_000, 50), (2_000_000, 50_000), (4_000_000, 50)] {
        clock.add(&[exchange(at_us, half_us)]);
    }
    assert!(clock.finish().unwrap().bound_us < 300, "{:?}", clock.finish());
    // But as long as no good one has come, less is known.
    clock.add(&[exchange(8_000_000, 50_000)]);
    assert!(clock.finish().unwrap().bound_us >= 50_000, "{:?}", clock.finish());
    // And where it was set aside in the meantime, the busy moment has seen it.
    let moved = Exchange { there_us: 8_000_000 + 200_000, ..exchange(8_100_000, 50_000) };
    let mut clock = HostClock::new();
    for burst in [exchange(1_000_000, 50), moved, exchange(9_000_000, 50)] {
        clock.add(&[burst]);
    }
    assert!(clock.finish().unwrap().bound_us >= 50_000, "{:?}", clock.finish());
}

#[test]
fn a_clock_that_is_set_in_mid_run_has_a_bound_as_large() {
    let mut clock = HostClock::new();
    for (at_us, there_us) in
        [(1_000_000, 1_000_000), (2_000_000, 2_000_000), (4_000_000, 5_000_000)]
    {
        clock.add(&[Exchange { sent_us: at_us - 50, there_us, received_us: at_us + 50 }]);
    }
    assert!(clock.finish().unwrap().bound_us >= 1_000_000, "{:?}", clock.finish());
    // Also within one burst.
    let burst = [0, 1_000_000].map(|there_us| Exchange { sent_us: 0, there_us, received_us: 10 });
    let mut clock = HostClock::new();
    clock.add(&burst);
    assert!(clock.finish().unwrap().bound_us >= 500_000, "{:?}", clock.finish());
}

#[test]
fn answers_that_no_clock_gives_are_not_taken() {
    let possible = Exchange { sent_us: 1_000, there_us: 5_000, received_us: 1_100 };
    let wild = [i64::MIN, -1, MAX_TIME_US + 1, i64::MAX];
    let wild = wild.map(|there_us| Exchange { there_us, ..possible });
    let backwards = Exchange { received_us: 999, ..possible };
    let mut clock = HostClock::new();
    assert_eq!(clock.add(&[]), None);
    assert_eq!(clock.add(&wild), None);
    assert_eq!(clock.add(&[backwards]), None);
    assert_eq!(clock.finish(), None);
    let correction = clock.add(&[wild[0], possible, wild[3]]);
    assert_eq!(correction.map(|it| it.apply(5_000)), Some(1_050));
    // A burst that is no later says nothing new.
    assert_eq!(clock.add(&[possible]), correction);
    let late = Exchange { sent_us: MAX_TIME_US, there_us: 0, received_us: MAX_TIME_US };
    clock.add(&[late]);
    assert!(clock.finish().is_some());
}
