//! A run folder: read whole, refused where it is damaged, summed up exactly.

use std::fs;
use std::path::Path;

use reports::memory_log::{self, Sample};
use reports::run::{Exit, Exits, Plan, Run, Summary, Verdict, files};
use tempfile::TempDir;

use crate::fixture::{EMPTY_KB, FIRST_UNIX_S, Fixture, IDLE_KB};

/// A short run that went well.
pub(crate) const SMALL: Fixture = Fixture { connections: 2_000, per_second: 100, sending_s: 60 };

/// A folder with `SMALL` in it.
fn small() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    SMALL.write(folder.path());
    folder
}

/// The summary of the run in `folder`.
fn summary(folder: &Path) -> Summary {
    Run::load(folder).unwrap().summary()
}

/// Replaces `from`, which must be there, in a file.
#[track_caller]
fn edit(folder: &Path, name: &str, from: &str, to: &str) {
    let path = folder.join(name);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from:?} is not in {name}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Changes every sample of the memory log.
pub(crate) fn edit_memory(folder: &Path, change: impl Fn(&mut Sample)) {
    let path = folder.join(files::MEMORY);
    let text = fs::read_to_string(&path).unwrap();
    let edited = text.lines().map(|line| {
        let mut sample = memory_log::parse_line(line).unwrap();
        change(&mut sample);
        format!("{sample}\n")
    });
    fs::write(path, edited.collect::<String>()).unwrap();
}

#[test]
fn every_figure_of_a_run_is_exact() {
    let folder = small();
    let summary = summary(folder.path());
    assert_eq!(summary.verdict, Verdict::Held, "{:?}", summary.shortfalls);
    assert_eq!(summary.caveats, Vec::<String>::new());
    assert_eq!(summary.received.chunks, 6_000);
    let cost = &summary.cost;
    let rss = |moment: &Option<reports::run::Moment>| {
        moment.as_ref().map(|moment| (moment.rss_kb, moment.connections))
    };
    assert_eq!(rss(&cost.empty), Some((EMPTY_KB, 0)));
    assert_eq!(rss(&cost.idle), Some((IDLE_KB, 2_000)));
    assert_eq!(rss(&cost.after), Some((IDLE_KB + 10, 2_000)));
    assert_eq!(cost.highest_rss_kb, Some(IDLE_KB + 10));
    let rounded = |value: Option<f64>| value.map(|value| (value * 1_000.0).round() / 1_000.0);
    assert_eq!(rounded(cost.idle_bytes_per_connection), Some(305.152), "596 KB of 2,000");
    assert_eq!(rounded(cost.after_bytes_per_connection), Some(310.272), "606 KB of 2,000");
    assert_eq!(rounded(cost.idle_kernel_bytes_per_connection), Some(9_728.0), "9.5 KB each");
    assert_eq!(rounded(cost.cpu_share), Some(0.066));
    let slope = cost.rss_slope_kb_per_min.unwrap();
    assert!((slope - 10.0).abs() < 0.3, "{slope}");
    let machine = &summary.machine;
    assert_eq!(machine.server_base_kb, Some(EMPTY_KB as f64));
    assert_eq!(rounded(machine.server_bytes_per_connection), Some(305.152));
    assert_eq!(rounded(machine.slab_bytes_per_connection), Some(9_728.0));
    assert_eq!(rounded(machine.used_bytes_per_connection), Some(10_335.552));
    assert_eq!(machine.broker_bytes_per_id, Some(200.0));
    assert_eq!(rounded(summary.rates.opened_per_s), Some(1_000.0));
    assert_eq!(rounded(summary.rates.received_per_s), Some(100.0));
    let phases: Vec<_> = summary
        .phases
        .iter()
        .map(|it| (it.name.as_str(), it.began_unix_s - FIRST_UNIX_S, it.duration_s))
        .collect();
    assert_eq!(
        phases,
        [
            ("nobody connected", 0, 3.0),
            ("connecting", 3, 2.0),
            ("all connected", 5, 3.0),
            ("sending", 8, 60.0),
            ("sent", 68, 3.0),
            ("disconnecting", 71, 3.0),
        ]
    );
}

#[test]
fn a_terminal_shows_the_articles_figures_beside_those_of_the_run() {
    let text = summary(small().path()).to_string();
    for line in [
        "chunks = chunks_written + chunks_queued + chunks_dropped             6000 = 6000",
        "server RSS, nobody connected           40,156 KB                      3,496 KB",
        "  bytes per connection                 5,203                          305",
        "server CPU while sending               under 1 %                      6.6 % of one core",
        "lost, duplicated, reordered            not counted                    0, 0, 0",
        "servers, PSS in all                              4,092 KB   1 process of 3,496 KB with",
        "verdict: held",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
}

#[test]
fn a_million_is_set_beside_the_articles_third_part() {
    let folder = small();
    let plan = Plan::read(folder.path()).unwrap();
    Plan { experiment: "c1m".to_owned(), nodes: 52, ..plan }.write(folder.path()).unwrap();
    let text = summary(folder.path()).to_string();
    for line in [
        "servers                                1                              52",
        "servers, memory                        25 GB; in C 2 GB               4,092 KB",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
}

#[test]
fn a_run_of_before_footprints_has_none_and_had_one_server() {
    let folder = small();
    fs::remove_file(folder.path().join(files::FOOTPRINT)).unwrap();
    edit(folder.path(), files::PLAN, "nodes = 1\n", "");
    let summary = summary(folder.path());
    assert_eq!((&summary.machine.after, summary.nodes), (&None, 1));
    assert!(summary.held() && !summary.to_string().contains("PSS"));
}

#[test]
fn figures_that_cannot_be_computed_are_not_measured_and_never_zero() {
    let folder = small();
    edit_memory(folder.path(), |sample| {
        (sample.cpu_ms, sample.slab_kb) = (None, None);
        sample.marks.retain(|mark| mark.text != "connecting");
    });
    let summary = summary(folder.path());
    let cost = &summary.cost;
    assert_eq!((&cost.empty, cost.cpu_share), (&None, None));
    assert_eq!(cost.idle_kernel_bytes_per_connection, None);
    assert!(cost.idle.is_some() && cost.idle_bytes_per_connection.is_none());
    let mark = "memory.tsv has no mark \"connecting\": what it cost then is not known";
    assert_eq!(summary.shortfalls, [mark]);
    assert!(summary.to_string().contains("not measured"));
    let short = tempfile::tempdir().unwrap();
    Fixture { sending_s: 5, ..SMALL }.write(short.path());
    let cost = Run::load(short.path()).unwrap().summary().cost;
    assert!(cost.rss_slope_kb_per_min.is_none() && cost.cpu_share.is_some());
}

#[test]
fn every_shortfall_is_a_sentence() {
    let folder = small();
    let exit = |program: &str, code, said: &str| Exit {
        program: program.to_owned(),
        code: Some(code),
        said: said.to_owned(),
        ..Exit::default()
    };
    let exits = vec![exit("floodtest", 1, "1 of 2000 connections failed"), exit("msggen", 0, "")];
    Exits { exits }.write(folder.path()).unwrap();
    edit(folder.path(), files::SERVER_STATS, "\"chunks_written\":6000", "\"chunks_written\":5999");
    let path = folder.path().join(files::FLOODTEST);
    let text = fs::read_to_string(&path).unwrap();
    let (before, last) = text.trim_end().rsplit_once('\n').unwrap();
    let last = last.replace("\"connected\":2000", "\"connected\":1999");
    fs::write(&path, format!("{before}\n{last}\n")).unwrap();
    edit(folder.path(), files::FLOODTEST, "\"is_final\":true", "\"is_final\":false");
    fs::remove_file(folder.path().join(files::LATENESS)).unwrap();
    let summary = summary(folder.path());
    assert_eq!(summary.verdict, Verdict::FellShort);
    assert_eq!(
        summary.shortfalls,
        [
            "floodtest ended with exit code 1: 1 of 2000 connections failed",
            "exits.toml does not say how comet-server ended",
            "exits.toml does not say how memlog ended",
            "floodtest left no final report; its last one was made after 68.0 s",
            "1,999 of 2,000 connections were open at the end",
            "chunks = chunks_written + chunks_queued + chunks_dropped: 6000 against 5999",
            "floodtest chunks = server chunks_written: 6000 against 5999",
            "floodtest asked = connected + closed + failed: 2000 against 1999",
            "floodtest connected = server connections_parked: 1999 against 2000",
            "floodtest messages = server chunks_written: 6000 against 5999",
            "msggen-lateness.hlog has 0 delays where 6,000 were reported",
        ]
    );
}

#[test]
fn what_makes_figures_doubtful_is_said() {
    let folder = small();
    let plan = Plan::read(folder.path()).unwrap();
    Plan { profile: "dev".to_owned(), is_modified: true, ..plan }.write(folder.path()).unwrap();
    edit(folder.path(), files::HOST, "load_before = [0.02", "load_before = [1.5");
    edit_memory(folder.path(), |sample| {
        sample.n_missed = u64::from(sample.unix_s == FIRST_UNIX_S + 30) * 4;
        sample.step_ms = 1_000 * i64::from(sample.unix_s == FIRST_UNIX_S + 40);
    });
    let summary = summary(folder.path());
    let limits: Vec<_> = summary.limited_by().map(|limit| (limit.what, &*limit.seen)).collect();
    let seen = "a load of 1.50 over the minute before";
    assert_eq!(limits, [("the machine before the run", seen)]);
    assert_eq!(
        summary.caveats,
        [
            "The programs were built with the profile dev, not release.",
            "The programs were built from files that differ from commit abc1234.",
            "4 samples of the memory log are missing.",
            "The wall clock was stepped 1 times during the run.",
        ]
    );
    // What `cargo rig` builds has its price named, and what is built for release has nothing.
    for (profile, said) in [("quick", Some("about 4% more CPU than release")), ("release", None)] {
        let plan = Plan::read(folder.path()).unwrap();
        Plan { profile: profile.to_owned(), ..plan }.write(folder.path()).unwrap();
        let caveats = self::summary(folder.path()).caveats;
        let of_build: Vec<_> = caveats.iter().filter(|it| it.contains(" built with")).collect();
        assert_eq!(of_build.len(), usize::from(said.is_some()), "{caveats:?}");
        assert!(said.is_none_or(|said| of_build[0].contains(said)), "{caveats:?}");
    }
}

#[test]
fn a_step_of_the_wall_clock_bends_no_figure() {
    let (steady, stepped) = (small(), small());
    edit_memory(stepped.path(), |sample| {
        let at = sample.unix_s - FIRST_UNIX_S;
        sample.step_ms = if at == 40 { 3_600_000 } else { 0 };
        sample.unix_s += if at >= 40 { 3_600 } else { 0 };
    });
    assert_eq!(summary(steady.path()).cost, summary(stepped.path()).cost);
}

#[test]
fn damage_is_named_by_file_line_and_cause() {
    type Damage = fn(&Path);
    let cases: [(Damage, &str); 8] = [
        (|it| edit(it, files::MEMORY, "\t3496\t0\tv=1", "\tmuch\t0\tv=1"), "memory.tsv:1: its RSS"),
        (|it| edit(it, files::FLOODTEST, "{", "["), "floodtest.ndjson:1: not a report: "),
        (|it| edit(it, files::MSGGEN, "\"sent\":300", "\"sent\":-3"), "msggen.ndjson:3: not a"),
        (|it| edit(it, files::SERVER_STATS, "written", "wrote"), "server-stats.json:1: not the"),
        (
            |it| edit(it, files::SEND_FROM_DUE, "HISTFAAA", "HISTF*AA"),
            "msggen-send_from_due.hlog:6: its end",
        ),
        (|it| edit(it, files::EXITS, "code = 0", "code = \"0\""), "exits.toml:3: invalid type"),
        (|it| fs::remove_file(it.join(files::HOST)).unwrap(), "host.toml: No such file"),
        (
            |it| fs::write(it.join(files::MSGGEN), "").unwrap(),
            "msggen.ndjson:1: there is no report",
        ),
    ];
    for (damage, expected) in cases {
        let folder = small();
        damage(folder.path());
        let error = Run::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
}

#[test]
fn a_run_without_messages_has_no_latencies_and_is_read() {
    let folder = tempfile::tempdir().unwrap();
    Fixture { per_second: 0, ..SMALL }.write(folder.path());
    for name in [files::DELIVERY_FROM_DUE, files::DELIVERY_FROM_SEND] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let run = Run::load(folder.path()).unwrap();
    assert!(run.delivery_due.is_none() && run.send_due.is_some());
    let summary = run.summary();
    assert!(summary.held(), "{:?}", summary.shortfalls);
    assert_eq!(summary.rates.received_per_s, None);
}
