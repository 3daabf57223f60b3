//! The rig where it is installed: programs in a folder, no cargo and no sources.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::rig::{assert_held, told};

/// The folder of the programs, beside the rig that cargo has built for this test.
static FOLDER: LazyLock<PathBuf> =
    LazyLock::new(|| testing::build(env!("CARGO_BIN_EXE_rig"), &PROGRAMS));

/// What the rig runs.
pub(crate) const PROGRAMS: [&str; 4] = ["comet-server", "floodtest", "msggen", "memlog"];

/// Where cargo has put the program `name`, which it builds first if it has to.
pub(crate) fn built(name: &str) -> PathBuf {
    FOLDER.join(name)
}

/// A folder with the rig and all of `programs`, and nothing else. They are copied by another
/// process: while this one has a file open for writing, a test beside this one may be starting a
/// program, which then has it open too, and a file that is being written cannot be started.
fn install(programs: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = ["rig"].iter().chain(programs).map(|name| built(name));
    let copied = Command::new("cp").args(files).arg(folder.path()).status();
    assert!(copied.unwrap().success());
    folder
}

/// Runs a small experiment from `folder` as people do who have no checkout: there is no variable
/// of cargo's, and not even a PATH.
fn run(folder: &TempDir) -> Output {
    let small = ["--connections", "50", "--messages-per-second", "100", "--minutes", "0.02"];
    let mut rig = Command::new(folder.path().join("rig"));
    rig.env_clear().env("PATH", "").current_dir(folder.path());
    rig.arg("c10k").args(small).args(["--out", "run"]).output().unwrap()
}

#[test]
fn an_installed_rig_runs_the_programs_beside_it() {
    let folder = install(&PROGRAMS);
    let output = run(&folder);
    assert_held(output.status, &folder.path().join("run"), &told(&output));
    let read = |name| std::fs::read_to_string(folder.path().join("run").join(name)).unwrap();
    assert!(read("report.html").starts_with("<!DOCTYPE html>"));
    let plan = read("plan.toml");
    assert!(plan.contains("profile = \"installed\""), "{plan}");
    assert!(plan.contains("line = \"rig c10k --connections 50 "), "how it is repeated: {plan}");
    assert!(!plan.contains("commit ="), "nobody knows it: {plan}");
}

#[test]
fn a_program_that_is_not_installed_is_named_with_what_installs_it() {
    let folder = install(&["comet-server", "floodtest", "memlog"]);
    let output = run(&folder);
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    let told = told(&output);
    assert!(told.contains("rig: cannot find msggen, neither beside rig in "), "{told}");
    assert!(told.contains("install it: `cargo install --path msggen`"), "{told}");
}

#[test]
fn a_program_of_another_version_is_refused() {
    let folder = install(&["floodtest", "msggen", "memlog"]);
    // Written by a shell for the same reason as above.
    let script = "printf '#!/bin/sh\\necho comet-server 0.0.9\\n' > \"$0\" && chmod +x \"$0\"";
    let mut shell = Command::new("sh");
    let written = shell.args(["-c", script]).arg(folder.path().join("comet-server")).status();
    assert!(written.unwrap().success());
    let output = run(&folder);
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    let told = told(&output);
    assert!(told.contains("says that it is \"comet-server 0.0.9\", and rig is of"), "{told}");
    assert!(told.contains("`cargo install --path server`"), "{told}");
}
