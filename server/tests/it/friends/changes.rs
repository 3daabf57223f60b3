//! Following, and asking who follows whom.

use serde_json::json;

use super::{Folder, NDJSON, change, counts, follows_and_followers, lines, list};
use crate::support::Server;

#[test]
fn what_is_changed_is_there_and_what_changes_nothing_is_counted() {
    let folder = Folder::new();
    let server = folder.server(&[]);
    assert_eq!(change(&server, &[(1, 9), (2, 9), (9, 1), (3, 9)]), 4);
    assert_eq!(counts(&server, 9), follows_and_followers(1, 3));
    assert_eq!(list(&server, 9, "followers", 2), [1, 2, 3]);
    assert_eq!(list(&server, 9, "follows", 1), [1]);
    // Twice, of nothing, and of oneself.
    assert_eq!(change(&server, &[(1, 9), (-4, 9), (9, 9), (-2, 9), (2, 9), (2, 9)]), 2);
    assert_eq!(counts(&server, 9), follows_and_followers(1, 3));
    assert_eq!(counts(&server, 77), follows_and_followers(0, 0));
    assert!(list(&server, 77, "follows", 10).is_empty());
    assert_eq!(change(&server, &[(-1, 9)]), 1);
    assert_eq!(list(&server, 9, "followers", 4_096), [2, 3]);
    let stats = server.stats();
    assert_eq!(
        (&stats["follow_changes"], &stats["follow_changes_unchanged"]),
        (&json!(7), &json!(4))
    );
    let (_, metrics) = server.door().ask("GET", "/metrics", "");
    assert!(metrics.lines().any(|line| line == "comet_follow_changes_total 7"), "{metrics}");
    drop(server);
    assert_eq!(folder.say("dump"), (Some(0), "2 9\n3 9\n9 1\n".to_owned()));
    let (code, said) = folder.say("check");
    assert_eq!((code, said.lines().last()), (Some(0), Some("both directions agree")), "{said}");
}

#[test]
fn a_bad_line_is_named_and_what_was_before_it_is_done() {
    let folder = Folder::new();
    let server = folder.server(&[]);
    for (n, bad) in [
        "nonsense",
        "[7,9]",
        "{\"follow\":[7]}",
        "{\"follow\":[7,9,11]}",
        "{\"follow\":[0,9]}",
        "{\"follow\":[7,9223372036854775808]}",
        "{\"follow\":[-7,9]}",
        "{\"follow\":7}",
        "{\"befriend\":[7,9]}",
        "{\"follow\":[7,9],\"unfollow\":[7,9]}",
        "{}",
    ]
    .into_iter()
    .enumerate()
    {
        let follower = i64::try_from(n).unwrap() + 1;
        let body = format!("{}{bad}\n{}", lines(&[(follower, 99)]), lines(&[(100, 99)]));
        let (status, answer) = server.ask("POST", "/friends", NDJSON, &body);
        assert_eq!((status, &answer["changed"]), (400, &json!(1)), "{bad}: {answer}");
        assert!(answer["error"].as_str().unwrap().starts_with("line 2: "), "{answer}");
    }
    assert_eq!(list(&server, 99, "followers", 100), (1..=11).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_asked_is_refused_with_a_sentence() {
    let folder = Folder::new();
    let server = folder.server(&[]);
    for (method, path, fields, status, word) in [
        ("POST", "/friends", "", 415, "application/x-ndjson"),
        ("GET", "/friends", "", 405, "POST"),
        ("POST", "/friends/7", NDJSON, 405, "GET, HEAD"),
        ("GET", "/friends/0", "", 400, "not an id"),
        ("GET", "/friends/x", "", 400, "not an id"),
        ("GET", "/friends/9223372036854775808", "", 400, "not an id"),
        ("GET", "/friends/7?list=enemies", "", 400, "list=followers"),
        ("GET", "/friends/7?list=follows&limit=0", "", 400, "4096"),
        ("GET", "/friends/7?list=follows&limit=10000000", "", 400, "4096"),
        ("GET", "/friends/7?list=follows&after=-1", "", 400, "not an id"),
        ("GET", "/friends/7?limits=1", "", 400, "list=followers"),
        ("POST", "/send/7?to=everybody", "", 400, "to=followers"),
        ("POST", "/send/7?to=followers&count=exact", "", 400, "to=followers"),
    ] {
        let (answered, answer) = server.ask(method, path, fields, "");
        let why = answer["error"].as_str().unwrap();
        assert!(answered == status && why.contains(word), "{method} {path}: {answered} {why}");
    }
    let body = "{\"id\":7,\"msg\":\"x\",\"to\":\"everybody\"}\n";
    let (status, answer) = server.ask("POST", "/send", NDJSON, body);
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().starts_with("line 1: "), "{answer}");
}

#[test]
fn without_a_store_friends_are_refused_and_nothing_else_is() {
    let server = Server::start(&[]);
    let mut seven = server.follow("7");
    let line = "{\"id\":7,\"msg\":\"one\"}\n{\"id\":7,\"msg\":\"two\",\"to\":\"followers\"}\n";
    for (method, path, fields, body) in [
        ("GET", "/friends/7", "", ""),
        ("GET", "/friends/7?list=follows", "", ""),
        ("POST", "/friends", NDJSON, "{\"follow\":[7,9]}\n"),
        ("POST", "/send/7?to=followers", "", "about 7"),
        ("POST", "/send", NDJSON, line),
    ] {
        let (status, answer) = server.ask(method, path, fields, body);
        let why = answer["error"].as_str().unwrap();
        assert!(status == 503 && why.contains("--friends DIR"), "{method} {path}: {status} {why}");
    }
    seven.expect_message(1, "one");
    assert!(server.stats().get("followers").is_none());
}

#[test]
fn a_list_of_many_thousands_comes_in_parts() {
    let folder = Folder::new();
    let server = folder.server(&[]);
    let changes: Vec<_> = (1..=20_000).map(|n| (n * 3, 9_000_000)).collect();
    assert_eq!(change(&server, &changes), 20_000);
    let expected: Vec<u64> = (1..=20_000).map(|n| n * 3).collect();
    assert_eq!(list(&server, 9_000_000, "followers", 4_096), expected);
    let (_, answer) = server.ask("GET", "/friends/9000000?list=followers", "", "");
    assert_eq!(answer["ids"].as_array().unwrap().len(), 4_096, "the most at a time");
    assert_eq!(counts(&server, 9_000_000), follows_and_followers(0, 20_000));
}
