//! Published runs stay readable.

use std::fs;
use std::path::Path;

use reports::run::{Run, files};

#[test]
fn published_runs_are_read_and_their_latency_logs_under_their_former_names() {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runs");
    for name in ["2026-11-22-c19k", "2026-11-22-c1m"] {
        let folder = runs.join(name);
        let log = files::name_in(&folder, files::DELIVERY_FROM_DUE);
        assert_eq!(log, "floodtest-delivery-due.hlog", "{name}");

        let run = Run::load(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (received, sent) = (run.received().clone(), run.sent().unwrap().clone());
        let logs = [
            (&run.delivery_due, received.delivery_from_due),
            (&run.delivery_actual, received.delivery_from_send),
            (&run.send_due, sent.send_from_due),
            (&run.send_actual, sent.send_from_send),
            (&run.lateness, sent.lateness),
        ];
        for (log, reported) in logs {
            let log = log.as_ref().unwrap_or_else(|| panic!("{name} has no such log"));
            assert_eq!(log.total.count(), reported.count, "{name}");
        }
        let summary = run.summary();
        assert_eq!(summary.received.messages, run.received().messages, "{name}");
    }
}

#[test]
fn a_log_is_looked_for_under_its_present_name_first() {
    let folder = tempfile::tempdir().unwrap();
    let name = || files::name_in(folder.path(), files::SEND_FROM_SEND);
    assert_eq!(name(), "msggen-send_from_send.hlog", "there is none");
    fs::write(folder.path().join("msggen-send-actual.hlog"), "").unwrap();
    assert_eq!(name(), "msggen-send-actual.hlog");
    fs::write(folder.path().join("msggen-send_from_send.hlog"), "").unwrap();
    assert_eq!(name(), "msggen-send_from_send.hlog");
}
