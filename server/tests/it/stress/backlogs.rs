//! Many that do not read, and large messages: what is kept for them is bounded.

use crate::stress::count;
use crate::support::{Client, Server};

/// 64 KiB that are 393 KB as HTML.
fn quotes() -> String {
    "\"".repeat(64 * 1024)
}

/// Reads message number `n`, which was [`quotes`].
fn expect_quotes(client: &mut Client, n: u64) {
    let chunk = client.next_chunk().expect("a chunk");
    assert_eq!(chunk.len(), format!("Recvd msg #{n}: ''<br/>").len() + 64 * 1024 * 6);
    assert!(chunk.starts_with(&format!("Recvd msg #{n}: '&quot;")), "{}", &chunk[..40]);
    assert!(chunk.ends_with("&quot;'<br/>"));
}

#[test]
fn a_large_message_is_held_once_for_all_that_do_not_read_it() {
    const N_SLOW: u64 = 200;
    let server = Server::start(&[]);
    // Some have had messages before: the same one has another number on each connection.
    let mut slow: Vec<_> =
        (0..N_SLOW).map(|number| server.follow(&format!("1,{}", number + 2))).collect();
    for number in (0..N_SLOW).step_by(7) {
        assert_eq!(server.send(number + 2, "before"), 1);
    }
    assert_eq!(server.send(1, &quotes()), N_SLOW);
    let stats = server.wait_for_stats(|stats| stats["chunks_queued"] == N_SLOW);
    let held = count(&stats, "backlog_bytes");
    assert!((393_216..2 * 393_216).contains(&held), "{stats}");
    for (number, client) in slow.iter_mut().enumerate() {
        let mut n = 1;
        if number % 7 == 0 {
            client.expect_message(1, "before");
            n = 2;
        }
        expect_quotes(client, n);
    }
    let stats = server.wait_for_stats(|stats| stats["chunks_queued"] == 0);
    assert_eq!(stats["backlog_bytes"], 0, "{stats}");
    assert_eq!(
        (count(&stats, "connections_parked"), &stats["connections_closed"]),
        (N_SLOW, &serde_json::json!({}))
    );
}

#[test]
fn those_furthest_behind_go_when_all_together_are_too_far_behind() {
    const N_SLOW: u64 = 30;
    const TOTAL: u64 = 2 * 1024 * 1024;
    let server = Server::start(&["--backlog-total", "2MiB"]);
    let slow: Vec<_> = (1..=N_SLOW).map(|id| server.follow(&id.to_string())).collect();
    let mut good = server.follow("1000");
    // A message for each of them, so that nothing is shared.
    for id in 1..=N_SLOW {
        assert_eq!(server.send(id, &quotes()), 1);
        let stats = server.stats();
        assert!(count(&stats, "backlog_bytes") <= TOTAL, "{stats}");
    }
    let stats = server.wait_for_stats(|stats| count(stats, "backlog_bytes") <= TOTAL);
    let n_closed = count(&stats["connections_closed"], "backlog_total");
    assert_eq!(stats["connections_closed"], serde_json::json!({ "backlog_total": n_closed }));
    assert_eq!(stats["chunks_dropped"], serde_json::json!({ "backlog_total": n_closed }));
    // Five of 393 KB fit.
    assert_eq!(count(&stats, "connections_parked"), N_SLOW - n_closed + 1);
    assert!((1..=5).contains(&(N_SLOW - n_closed)), "{stats}");
    assert_eq!(server.send(1000, "unharmed"), 1);
    good.expect_message(1, "unharmed");
    let mut n_complete = 0;
    for mut client in slow {
        // A connection that was given up is cut or reset somewhere.
        let mut bytes = Vec::new();
        client.stream.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        _ = std::io::Read::read_to_end(&mut client.stream, &mut bytes);
        n_complete += u64::from(bytes.ends_with(b"&quot;'<br/>\r\n"));
    }
    assert_eq!(n_complete, N_SLOW - n_closed);
}

#[test]
fn the_memory_of_a_crowd_is_given_back() {
    const N_CROWD: u64 = 60;
    const N_IDS: u64 = 1_000;
    let server = Server::start(&[]);
    let resident = server.follow("1");
    let follow = |number: u64| {
        let ids: Vec<_> = (0..N_IDS).map(|id| (10_000 + number * N_IDS + id).to_string()).collect();
        server.follow(&ids.join(","))
    };
    drop(follow(0));
    server.wait_for_stats(|stats| stats["connections_parked"] == 1);
    let before_kb = server.anon_kb();
    let crowd: Vec<_> = (0..N_CROWD).map(follow).collect();
    server.wait_for_stats(|stats| stats["logins"] == N_CROWD * N_IDS + 1);
    let most_kb = server.anon_kb();
    drop(crowd);
    server.wait_for_stats(|stats| stats["connections_parked"] == 1);
    let deadline = std::time::Instant::now() + crate::support::DEADLINE;
    // Of 52 bytes for each id and more, a quarter may stay: the allocator keeps some for the next.
    let may_stay_kb = (most_kb - before_kb) / 4 + 1_024;
    while server.anon_kb() > before_kb + may_stay_kb {
        let (rss_kb, stats) = (server.anon_kb(), server.stats());
        assert!(
            std::time::Instant::now() < deadline,
            "{before_kb} KB, {most_kb} KB with a crowd, {rss_kb} KB after it: {stats}"
        );
    }
    drop(resident);
}
