//! A reader of its output that has stopped.

use std::io::{Write as _, pipe};
use std::process::{Command, Stdio};

use crate::support::{Target, samples};

/// Bytes that a pipe holds unless it is told otherwise.
const PIPE_BYTES: usize = 64 * 1024;

#[test]
fn samples_are_taken_whoever_reads_them_and_the_log_has_them_all() {
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(dir.path(), "unread");
    // Full from the beginning, so that the first line finds no room.
    let (_out, mut stdout) = pipe().unwrap();
    stdout.write_all(&vec![b'x'; PIPE_BYTES]).unwrap();
    let log = dir.path().join("mem.log");
    let mut memlog = Command::new(env!("CARGO_BIN_EXE_memlog"))
        .args(["--interval", "100ms", "--pid", &target.pid().to_string(), "--log"])
        .arg(&log)
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stdout)
        .spawn()
        .unwrap();
    testing::wait_until("five samples", || samples(&log).len() >= 5);
    let pid = memlog.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    assert_eq!(memlog.wait().unwrap().code(), Some(0), "all that it did is in the log");
}
