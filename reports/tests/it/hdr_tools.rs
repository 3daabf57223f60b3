//! HdrHistogram's own tools read the logs of delays.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reports::latency::Latency;
use reports::latency_log;

/// Where Debian's `libhdrhistogram-java` has it.
const JAR: &str = "/usr/share/java/hdrhistogram.jar";

#[test]
fn histogram_log_processor_computes_the_same_percentiles() {
    let has_java = Command::new("java").arg("-version").output().is_ok();
    if !has_java || !Path::new(JAR).exists() {
        testing::skip("HistogramLogProcessor");
        return;
    }
    let second = Duration::from_secs(1);
    let (mut total, mut before) = (Latency::default(), Latency::default());
    let mut log = latency_log::head("test", Duration::from_secs(1_700_000_000));
    for n in 1..=5 {
        (1..=20_000).for_each(|k| total.record_us(k * n));
        let n = u32::try_from(n).unwrap();
        log += &latency_log::line((n - 1) * second, n * second, &total, &before);
        before.clone_from(&total);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.hlog");
    std::fs::write(&file, &log).unwrap();
    let output = Command::new("java")
        .args(["-cp", JAR, "org.HdrHistogram.HistogramLogProcessor", "-csv"])
        .args(["-outputValueUnitRatio", "1000", "-i"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // Value in milliseconds, percentile as a part of 1, count up to it, …
    let rows: Vec<Vec<f64>> = said
        .lines()
        .map(|line| line.split(',').filter_map(|field| field.parse().ok()).collect())
        .filter(|row: &Vec<f64>| row.len() >= 3)
        .collect();
    let last = rows.last().unwrap();
    assert!((last[2] - total.count() as f64).abs() < 0.5, "{said}");
    let summary = total.summary();
    for (part, expected_us) in [(0.5, summary.p50_us), (0.9, summary.p90_us)] {
        let row = rows.iter().find(|row| row[1] >= part).unwrap();
        let found_us = row[0] * 1_000.0;
        assert!((found_us / expected_us as f64 - 1.0).abs() < 0.01, "{part}: {row:?} {summary}");
    }
}
