//! Lines that are written and read back, and those of others.

use super::*;

#[test]
fn the_line_begins_as_the_articles_log_does() {
    let sample =
        Sample { unix_s: 1_224_518_244, rss_kb: 40_388, n_connections: 1, ..Sample::default() };
    assert_eq!(sample.to_string(), "Mon Oct 20 15:57:24 UTC 2008\t1224518244\t40388\t1\tv=1");
}

#[test]
fn a_line_with_every_column_is_read_back() {
    let sample = Sample {
        unix_s: 1_700_000_000,
        ms: 7,
        rss_kb: 3_000,
        n_connections: 10_001,
        ports: vec![
            OnPort { port: 8000, n_connections: 10_000 },
            OnPort { port: 8001, n_connections: 1 },
        ],
        anon_kb: Some(2_000),
        pss_kb: Some(1_700),
        no_pss: Some(NoPss::Slow),
        kernel_tcp_kb: Some(220),
        slab_kb: Some(97_000),
        n_threads: Some(3),
        cpu_ms: Some(1_230),
        n_fds: Some(10_020),
        n_missed: 2,
        step_ms: -3_600_001,
        marks: vec![
            Mark::new("restart", None),
            Mark { ms: 250, ..Mark::new("msggen\tstarts = now", Some(1_699_999_990)) },
        ],
        shares: vec![
            Share { pid: 7, rss_kb: 1_000, anon_kb: None },
            Share { pid: 8, rss_kb: 2_000, anon_kb: Some(1_500) },
        ],
    };
    assert_eq!(parse_line(&sample.to_string()), Ok(sample.clone()));
    assert_eq!(sample.unix_ms(), 1_700_000_000_007);
    assert_eq!(sample.marks[1].unix_ms(), Some(1_699_999_990_250));
}

#[test]
fn why_there_is_no_pss_is_read_back_and_a_later_reason_is_passed_over() {
    for reason in NoPss::ALL {
        let sample = Sample { no_pss: Some(reason), ..Sample::default() };
        assert_eq!(parse_line(&sample.to_string()), Ok(sample));
    }
    assert_eq!(parse_line("d\t1\t2\t3\tno_pss=tired").unwrap().no_pss, None);
}

#[test]
fn a_change_of_processes_is_a_mark_that_ends_no_phase() {
    let mark = Mark::of_processes(usize::MAX, usize::MAX, usize::MAX);
    assert!(!mark.is_phase(), "{mark:?}");
    assert_eq!(Mark::of_processes(2, 1, 5).text, "processes: 2 new, 1 gone, 5 now");
    assert!(Mark::new("sending", None).is_phase() && Mark::new("restart", None).is_phase());
}

#[test]
fn the_articles_printed_line_and_its_four_columns_are_read() {
    let expected =
        Sample { unix_s: 1_224_518_305, rss_kb: 41_120, n_connections: 263, ..Sample::default() };
    for line in [
        "Mon Oct 20 16:58:25 BST 2008 1224518305 41120 263",
        "Mon Oct 20 16:58:25 BST 2008\t1224518305\t41120\t263",
        "Mo 20. Okt 16:58:25 CEST 2008\t1224518305\t 41120\t     263\r",
    ] {
        assert_eq!(parse_line(line), Ok(expected.clone()), "{line:?}");
    }
}

#[test]
fn damage_is_named_by_line_and_the_rest_is_read() {
    let log = "d\t1\t2\t3\n\nd\t1\t\t3\n\u{0}PNG\nd\t4\t5\t6\tfd=1\tv=1\nd\t7\t8\t9\tv=2\n\
         d\t8\t8\t8\tms=1000\nd\t9\t9";
    let (mut samples, mut damage) = (Vec::new(), Vec::new());
    read(log.as_bytes(), |it| samples.push(it.unix_s), |it| damage.push(it)).unwrap();
    assert_eq!(samples, [1, 4]);
    let damage: Vec<String> = damage.iter().map(|it| format!("{}: {}", it.line, it.why)).collect();
    assert_eq!(
        damage,
        [
            "3: its RSS is \"\", not a number",
            "4: it does not end in unix time, RSS and connections",
            "6: it is of version 2, not 1",
            "7: its column \"ms=1000\" is not understood",
            "8: it is not finished",
        ]
    );
}

#[test]
fn bytes_per_connection_are_counted_above_the_empty_server() {
    assert_eq!(bytes_per_connection(90_964.0, 40_156.0, 10_001.0).map(f64::round), Some(5202.0));
    assert_eq!(bytes_per_connection(40_156.0, 40_156.0, 0.0), None);
}
