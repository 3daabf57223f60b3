//! Messages to all followers.

use std::fmt::Write as _;

use serde_json::json;

use super::{Folder, NDJSON, change, send_about};
use crate::support::Client;

#[test]
fn a_message_about_a_user_reaches_it_and_its_followers_each_connection_once() {
    let folder = Folder::loaded("1 9\n2 9\n3 9\n1 8\n9 1\n");
    for threads in ["1", "2"] {
        let server = folder.server(&["--threads", threads]);
        let (mut one, mut two_and_three) = (server.follow("1"), server.follow("2,3"));
        let (mut nine, mut stranger) = (server.web_socket("9,1"), server.follow("4"));
        assert_eq!(send_about(&server, 9, "<about nine>"), (3, 3));
        one.expect_message(1, "&lt;about nine&gt;");
        two_and_three.expect_message(1, "&lt;about nine&gt;");
        nine.expect_frame(1, "<about nine>");
        // Who is not logged in has followers all the same.
        assert_eq!(send_about(&server, 8, "about eight"), (2, 1));
        one.expect_message(2, "about eight");
        nine.expect_frame(2, "about eight");
        assert_eq!(send_about(&server, 77, "about nobody"), (0, 0));
        // Others are told nothing of it.
        assert_eq!(server.send(4, "to four"), 1);
        stranger.expect_message(1, "to four");
        // What is changed is so from the answer on.
        change(&server, &[(4, 77), (-1, 9)]);
        assert_eq!(send_about(&server, 77, "about 77"), (1, 1));
        stranger.expect_message(2, "about 77");
        assert_eq!(send_about(&server, 9, "again"), (2, 2), "the socket is 9 as well");
        two_and_three.expect_message(2, "again");
        nine.expect_frame(3, "again");
        let stats = server.wait_for_stats(|stats| stats["messages"] == 6);
        assert_eq!(stats["messages_void"], 1);
        assert_eq!(stats["chunks"], 9);
        assert_eq!(stats["followers"], 7);
        change(&server, &[(-4, 77), (1, 9)]);
        drop(one);
        server.wait_for_stats(|stats| stats["connections_parked"] == 3);
        assert_eq!(send_about(&server, 9, "without one"), (2, 3));
        two_and_three.expect_message(3, "without one");
    }
}

#[test]
fn lines_to_followers_and_to_ids_keep_their_order() {
    let folder = Folder::loaded("1 9\n2 9\n1 8\n");
    let server = folder.server(&[]);
    let (mut one, mut two) = (server.follow("1"), server.follow("2"));
    let (mut body, mut expected) = (String::new(), Vec::new());
    for n in 0..600 {
        let about = [9, 8, 1][n % 3];
        let to = if about == 1 { "" } else { ",\"to\":\"followers\"" };
        writeln!(body, "{{\"id\":{about},\"msg\":\"{n}\"{to}}}").unwrap();
        expected.push((about, n.to_string()));
    }
    let (status, answer) = server.ask("POST", "/send", NDJSON, &body);
    let whole = json!({
        "messages": 600, "connections": 800, "messages_void": 0, "followers": 600
    });
    assert_eq!((status, answer), (200, whole));
    for (n, (_, message)) in (1..).zip(&expected) {
        one.expect_message(n, message);
    }
    let of_two = expected.iter().filter(|(about, _)| *about == 9);
    for (n, (_, message)) in (1..).zip(of_two) {
        two.expect_message(n, message);
    }
}

#[test]
fn very_many_followers_get_the_messages_of_a_sender_in_its_order() {
    // More than a slice, more than a part of a list, and some with several of the ids.
    let edges: String = (1..=20_000).fold(String::new(), |mut edges, follower| {
        writeln!(edges, "{follower} 1000000").unwrap();
        edges
    });
    let folder = Folder::loaded(&edges);
    let server = folder.server(&["--threads", "2"]);
    let mut clients: Vec<Client> = (0..150)
        .map(|n| server.follow(&format!("{},{}", 1 + n * 130, 2 + n * 130)))
        .chain((0..5).map(|_| server.follow("1000000")))
        .collect();
    for n in 1..=5 {
        assert_eq!(send_about(&server, 1_000_000, &format!("number {n}")), (155, 20_000));
    }
    for n in 1..=5 {
        for client in &mut clients {
            client.expect_message(n, &format!("number {n}"));
        }
    }
    let stats = server.wait_for_stats(|stats| stats["messages"] == 5);
    assert_eq!((&stats["chunks"], &stats["followers"]), (&json!(775), &json!(100_000)));
}
