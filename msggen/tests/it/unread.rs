//! Readers of its output that have stopped: it goes on sending, and ends when it is told to.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{FakeServer, Running, start_unread, wait_until};

/// Starts a run with logs in `folder` and a stdout that nobody reads, and waits until more was said
/// than waits for a reader and it has sent a message after that.
fn unread(fake: &FakeServer, folder: &Path) -> Running {
    let run = start_unread(&format!(
        "--num 100m --interval 50 --max 9 --allow-late --report 1ms --log-interval 1ms --json \
         --server {} --out {}",
        fake.url(),
        folder.display()
    ));
    // As many reports are in the log, and these are more bytes than a pipe and the queue hold.
    let log = folder.join("msggen.ndjson");
    wait_until("it has said much", || fs::metadata(&log).is_ok_and(|it| it.len() >= 256 * 1024));
    fake.requests();
    fake.next_request();
    run
}

#[test]
fn a_run_whose_stdout_is_not_read_sends_on_and_ends_when_it_is_told_to() {
    let (fake, folder) = (FakeServer::open(), tempfile::tempdir().unwrap());
    let run = unread(&fake, folder.path());
    run.signal(Signal::INT);
    let run = run.finish().code(1).says("msggen: the end of stdout is missing: nobody read it");
    let run = run.says("reports were dropped: nobody read stdout in time");
    let log = fs::read_to_string(folder.path().join("msggen.ndjson")).unwrap();
    let report: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    run.assert(report["is_final"] == true, "the log has the final report");
    run.assert(report["answered"] == report["sent"], "all were answered");
}

#[test]
fn a_reader_that_comes_back_gets_the_number_of_dropped_reports_and_the_last_one() {
    let (fake, folder) = (FakeServer::open(), tempfile::tempdir().unwrap());
    let mut run = unread(&fake, folder.path());
    run.signal(Signal::INT);
    let lines = run.stdout_lines();
    let reports: Vec<Value> = lines.map(|line| serde_json::from_str(&line).unwrap()).collect();
    let run = run.finish().code(0);
    let dropped = reports.iter().filter_map(|report| report["dropped_reports"].as_u64());
    run.assert(dropped.sum::<u64>() > 0, "it is said how many are missing");
    run.assert(reports.last().unwrap()["is_final"] == true, "the last report is there");
}
