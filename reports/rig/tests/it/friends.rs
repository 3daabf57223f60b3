//! `rig friends` in small: who follows whom, a store of it, and messages to all who follow.

use std::fs;

use serde_json::Value;

use crate::rig::{assert_held, rig_command, rig_with, told};

/// A run of 2,000 users who follow 15 each, of whom 200 are logged in, with these flags: its
/// summary and what it kept of its commands.
fn run(flags: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = rig_with("friends");
    rig.args(["--users", "2000", "--connections", "200", "--messages-per-second", "300"]);
    rig.args(["--sources", "30", "--minutes", "0.05", "--json", "--out"]).arg(folder.path());
    let output = rig.args(flags).output().unwrap();
    assert_held(output.status, folder.path(), &told(&output));
    let plan = fs::read_to_string(folder.path().join("plan.toml")).unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), plan)
}

#[test]
fn what_reaches_the_followers_is_what_the_graph_says() {
    let (summary, plan) = run(&[]);
    let (sent, received) = (&summary["sent"], &summary["received"]);
    // 3 s of 300 a second, about any of the users.
    assert_eq!((&sent["answered"], &received["connected"]), (&900.into(), &200.into()));
    let expected = &summary["expected"]["messages"];
    assert_eq!((expected, &received["lost"]), (&received["messages"], &0.into()), "{summary}");
    // 16 hear of each, of whom one in ten is there.
    let n_expected = expected.as_u64().unwrap();
    assert!((900..2_200).contains(&n_expected), "{n_expected}");
    assert!(sent["void"].as_u64() > Some(0), "that nobody is there is no fault: {sent}");
    for word in ["msggen friends --users 2000", "comet-server friends load", "--friends /"] {
        assert!(plan.contains(word), "how it is made again: {word}: {plan}");
    }
}

#[test]
fn in_a_ring_each_message_has_as_many_followers_as_users_follow() {
    let (summary, _) = run(&["--shape", "ring", "--follows", "7"]);
    let (sent, received) = (&summary["sent"], &summary["received"]);
    assert_eq!((&sent["answered"], &sent["followers"]), (&900.into(), &(7 * 900).into()));
    assert_eq!(summary["expected"]["messages"], received["messages"], "{summary}");
}

#[test]
fn friends_are_for_one_server_of_ours_that_has_the_store() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("friends.toml");
    let command = "comet-server --listen {address}:{port} --control {address}:0";
    let rest = "\n[connections]\npattern = 'http://h/test/{id}'\ncount = 5\n";
    for (text, why) in [
        (format!("[friends]\nfollows = 3\n[server]\ncommand = '{command}'"), "it has no users"),
        ("[friends]\nusers = 0\n".to_owned(), ":2: users: it must be at least 1"),
        ("[friends]\nuser = 5\nusers = 5\n".to_owned(), "has no key user; did you mean users?"),
        (
            format!("[friends]\nusers = 5\n[server]\ncommand = '{command}'"),
            "needs a command of it with --friends {friends}",
        ),
        (
            format!("[friends]\nusers = 5\n[server]\nnodes = 2\ncommand = '{command} {{friends}}'"),
            "[friends] is for one server",
        ),
        (
            "[friends]\nusers = 5\n[server]\ncommand = 'other {friends}'".to_owned(),
            "makes a store for comet-server",
        ),
    ] {
        fs::write(&file, format!("{text}{rest}")).unwrap();
        let output = rig_command(&["run"]).arg(&file).output().unwrap();
        let said = told(&output);
        assert!(output.status.code() == Some(2) && said.contains(why), "{text}: {said}");
    }
}
