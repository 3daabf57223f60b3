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
fn websockets_are_attacked_as_well() {
    let mut rig = rig_with("abuse");
    rig.args(["half-frames", "bad-frames", "unanswered", "resets", "drain", "--scale", "0.005"]);
    let output = rig.output().unwrap();
    let lines = String::from_utf8_lossy(&output.stdout);
    // No figure that takes a share of a crowd, and no time: these are for a quiet machine.
    for what in [
        "not counted as 1006, half a ping",
        "not counted as 1006, half a header",
        "not counted as 1006, half a text",
        "not answered by their code",
        "not counted as 1000",
        "not counted as 1005",
        "not counted as bad_frame",
        "not counted as bad_text",
        "not counted as frame_too_large",
        "not counted as timed_out",
        "of these lost",
        "not counted as reset, WebSockets",
        "not counted as 1006, WebSockets",
        "exit code, or 255 for a signal, WebSockets",
        "connections reset or cut, WebSockets",
        "connections without close 1001, WebSockets",
        "messages lost, WebSockets",
    ] {
        let line = lines.lines().find(|line| line.trim_start().starts_with(&format!("{what}  ")));
        let line = line.unwrap_or_else(|| panic!("{what:?} is not in {}", told(&output)));
        assert!(line.ends_with("   at most 0, held"), "{}", told(&output));
    }
}

#[test]
fn a_flood_of_pings_is_closed_and_holds_nobody_up() {
    let output = rig_with("abuse").args(["pings", "--scale", "0.005"]).output().unwrap();
    let lines = String::from_utf8_lossy(&output.stdout);
    for what in
        ["not counted as chatty", "not counted as slow_reader", "messages lost by good clients"]
    {
        let line = lines.lines().find(|line| line.contains(what));
        let is_held = line.is_some_and(|line| line.ends_with("   at most 0, held"));
        assert!(is_held, "{what}: {}", told(&output));
    }
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
