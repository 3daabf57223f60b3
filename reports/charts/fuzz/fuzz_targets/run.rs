//! A run folder with two files that no program wrote so. An error, or a summary; never a panic.

#![no_main]

#[path = "../../tests/it/bent.rs"]
mod bent;
#[path = "../../tests/it/fixture.rs"]
#[allow(dead_code, reason = "the tests of the crate use all of it")]
mod fixture;

use std::sync::LazyLock;

use bent::Bent;
use fixture::Fixture;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// A very short run, whose files are bent and mended.
static RUN: LazyLock<(TempDir, Bent)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    Fixture { connections: 20, per_second: 10, sending_s: 2 }.write(folder.path());
    let bent = Bent::of(folder.path());
    (folder, bent)
});

fuzz_target!(|bytes: &[u8]| {
    let bent = &RUN.1;
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let files = [first, second].map(|bytes| bent.bend_by(bytes));
    let _ = bent.summary();
    files.into_iter().flatten().for_each(|file| bent.mend(file));
});
