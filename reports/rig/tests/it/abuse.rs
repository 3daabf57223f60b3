//! `rig abuse`: the server under bad clients, in small.

use crate::rig::{rig_with, told};

#[test]
fn figures_are_said_beside_their_bars() {
    let output = rig_with("abuse").args(["resets", "crowd", "--scale", "0.01"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = lines.lines().collect();
    let at = |name| lines.iter().position(|line| *line == name).unwrap();
    assert!(at("Resets") < at("Crowd"), "in the order in which they are asked for: {lines:?}");
    let held =
        |what: &str| lines.iter().any(|line| line.contains(what) && line.ends_with(", held"));
    assert!(held("not counted as reset"), "{lines:?}");
    assert!(held("seconds until a newcomer is served, at most"), "{lines:?}");
}

#[test]
fn a_server_that_is_none_is_named() {
    for (server, why) in
        [("/nonexistent", "it ended before it said where it is"), ("echo", "it says \"--listen")]
    {
        let mut rig = crate::rig::rig_command(&["abuse", "resets", "--server", server]);
        let output = rig.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
        let told = told(&output);
        assert!(told.contains(&format!("{server} does not start as a comet-server")), "{told}");
        assert!(told.contains(why), "{told}");
    }
}
