//! Run folders that nobody's run left: each is refused with a sentence, or summed up.

use std::fs;
use std::process::Command;

use charts::report;
use reports::run::{Exits, Verdict, files};
use tempfile::TempDir;

use crate::bent::{Bent, EXTREMES, FILES, ending};
use crate::fixture::Fixture;

/// A very short run.
const TINY: Fixture = Fixture { connections: 20, per_second: 10, sending_s: 2 };

/// A folder with `TINY` in it.
fn tiny() -> (TempDir, Bent) {
    let folder = tempfile::tempdir().unwrap();
    TINY.write(folder.path());
    let bent = Bent::of(folder.path());
    (folder, bent)
}

/// The places of a file's numbers that differ in kind: all in the last line of a log. The digits of
/// histograms are no numbers.
fn places(bent: &Bent, file: usize) -> Vec<(usize, usize)> {
    let text = &bent.texts[file];
    let is_log = ending(file) != "toml";
    let last_begin = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let mut numbers = bent.numbers(file);
    numbers.retain(|(begin, _)| !is_log || *begin > last_begin);
    if ending(file) == "hlog" {
        numbers.truncate(6);
    }
    numbers
}

#[test]
fn a_number_may_be_anything_and_nothing_panics() {
    let (folder, bent) = tiny();
    // To decode histograms takes a thousand times as long as all the rest.
    let is_delays = |file: usize| ending(file) == "hlog";
    for file in (0..FILES.len()).filter(|file| is_delays(*file)) {
        fs::remove_file(folder.path().join(FILES[file])).unwrap();
    }
    let of_kind = |file: &usize| !is_delays(*file) || FILES[*file] == files::DELIVERY_FROM_DUE;
    let (mut n_refused, mut n_summed) = (0, 0);
    for file in (0..FILES.len()).filter(of_kind) {
        for place in places(&bent, file) {
            for number in EXTREMES {
                bent.bend(file, place, number);
                match bent.summary() {
                    Ok(_) => n_summed += 1,
                    Err(why) => {
                        assert!(why.contains(FILES[file]), "{why}");
                        n_refused += 1;
                    }
                }
            }
        }
        bent.mend(file);
    }
    assert!(n_refused > 50 && n_summed > 50, "{n_refused} refused, {n_summed} summed up");
}

#[test]
fn what_a_fuzzer_would_try_is_refused_or_summed_up() {
    let (_folder, bent) = tiny();
    let mut noise: u64 = 1;
    for _ in 0..60 {
        let mut bytes = [0; 8];
        for byte in &mut bytes {
            noise =
                noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
            *byte = noise.to_be_bytes()[0];
        }
        let files = [bent.bend_by(&bytes[..4]), bent.bend_by(&bytes[4..])];
        let _ = bent.summary();
        files.into_iter().flatten().for_each(|file| bent.mend(file));
    }
    bent.summary().unwrap();
}

#[test]
fn the_pages_and_charts_of_strange_numbers_are_drawn() {
    let (folder, bent) = tiny();
    let of = |name| FILES.iter().position(|it| *it == name).unwrap();
    for (name, at) in [(files::MEMORY, 4), (files::FLOODTEST, 0), (files::MSGGEN, 0)] {
        let file = of(name);
        for number in ["1e-320", "9007199254740992"] {
            // The number may be refused; what is not is drawn.
            bent.bend(file, bent.numbers(file)[at], number);
            if let Err(why) = report(folder.path()) {
                assert!(why.to_string().contains(name), "{why}");
            }
        }
        bent.mend(file);
    }
}

#[test]
fn counts_in_two_files_that_have_no_sum_are_refused() {
    let (folder, bent) = tiny();
    let most = u64::MAX.to_string();
    for name in [files::SERVER_STATS, files::FLOODTEST] {
        let path = folder.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace(
            "\"connections_closed\":{}",
            &format!("\"connections_closed\":{{\"peer\":{most}}}"),
        );
        fs::write(path, text.replace("\"lost\":0", &format!("\"lost\":{most}"))).unwrap();
    }
    let why = bent.summary().unwrap_err();
    assert!(why.contains("floodtest.ndjson:1: its lost is 18446744073709551615"), "{why}");
    bent.mend(FILES.iter().position(|it| *it == files::FLOODTEST).unwrap());
    let why = bent.summary().unwrap_err();
    assert!(why.contains("server-stats.json"), "{why}");
    assert!(why.contains("there are more than 9007199254740992"), "{why}");
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
    let (folder, bent) = tiny();
    for (file, name) in FILES.iter().enumerate() {
        let path = folder.path().join(name);
        fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let why = bent.summary().unwrap_err();
        assert!(why.contains(name) && why.ends_with("it is not a regular file"), "{why}");
        fs::remove_file(&path).unwrap();
        bent.mend(file);
    }
    bent.summary().unwrap();
}

#[test]
fn a_run_does_not_hold_if_nobody_says_how_its_programs_ended() {
    let (folder, bent) = tiny();
    assert_eq!(bent.summary().unwrap().verdict, Verdict::Held);
    fs::write(folder.path().join(files::EXITS), "").unwrap();
    let summary = bent.summary().unwrap();
    assert_eq!(summary.verdict, Verdict::FellShort);
    assert_eq!(
        summary.shortfalls,
        ["comet-server", "floodtest", "msggen", "memlog"]
            .map(|program| format!("exits.toml does not say how {program} ended"))
    );
    bent.mend(FILES.iter().position(|it| *it == files::EXITS).unwrap());
    let exits = Exits::read(folder.path()).unwrap();
    let plan = fs::read_to_string(folder.path().join(files::PLAN)).unwrap();
    fs::write(folder.path().join(files::PLAN), plan.replace("nodes = 1\n", "nodes = 3\n")).unwrap();
    exits.write(folder.path()).unwrap();
    let shortfalls = bent.summary().unwrap().shortfalls;
    assert_eq!(shortfalls, ["exits.toml does not say how 2 of 3 comet-server ended"]);
}
