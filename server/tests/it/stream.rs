//! The public side: what a client gets, to the byte.

use std::io::Write as _;
use std::net::Shutdown;

use crate::support::{Client, HEAD, Server};

#[test]
fn a_message_is_a_chunk_with_its_number() {
    let server = Server::start(&[]);
    let mut client = server.follow("123");
    assert_eq!(server.send(123, "Hello World"), 1);
    client.expect("20\r\nRecvd msg #1: 'Hello World'<br/>\r\n");
    assert_eq!(server.send(123, "<script>alert('1')</script>"), 1);
    client.expect_message(2, "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;");
    assert_eq!(server.send(456, "into the void"), 0);
    let stats = server.wait_for_stats(|stats| stats["messages"] == 3);
    assert_eq!(
        (&stats["messages_void"], &stats["chunks_written"]),
        (&1.into(), &2.into()),
        "{stats}"
    );
}

#[test]
fn one_id_may_have_many_connections_and_one_connection_many_ids() {
    for threads in ["1", "3"] {
        let server = Server::start(&["--threads", threads]);
        let mut both = server.follow("7,8,7");
        let mut seven = server.follow("7");
        assert_eq!(server.send(7, "a"), 2);
        assert_eq!(server.send(8, "b"), 1);
        both.expect_message(1, "a");
        both.expect_message(2, "b");
        seven.expect_message(1, "a");
        drop(both);
        server.wait_for_stats(|stats| stats["connections_parked"] == 1 && stats["ids"] == 1);
        assert_eq!(server.send(8, "nobody is left"), 0);
    }
}

#[test]
fn what_browsers_send_beside_the_path_does_not_matter() {
    let server = Server::start(&[]);
    for target in ["/test/1?a[]=1", "/test/1?x|y^z", "/test/1?%zz", "/test/1?\u{e9}"] {
        let mut client = server.connect(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
        client.expect(HEAD);
    }
    let mut client = Client::connect(server.public);
    client.stream.write_all(b"GET /test/1?\xe9\xff HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    client.expect(HEAD);
    server.connect("\r\nGET /test/1 HTTP/1.1\r\nHost: x\r\n\r\n").expect(HEAD);
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let server = Server::start(&[]);
    let mut client = Client::connect(server.public);
    client.stream.set_nodelay(true).unwrap();
    for byte in b"GET /test/5 HTTP/1.1\r\nHost: x\r\n\r\n" {
        client.stream.write_all(&[*byte]).unwrap();
    }
    client.expect(HEAD);
    assert_eq!(server.send(5, "ok"), 1);
    client.expect_message(1, "ok");
}

#[test]
fn http_1_0_gets_the_same_body_without_chunks() {
    let mut server = Server::start(&[]);
    let mut client = server.connect("GET /test/5 HTTP/1.0\r\n\r\n");
    let head = HEAD.replace("Transfer-Encoding: chunked\r\n", "");
    let head = head.strip_suffix("\r\n").unwrap();
    client.expect(&format!("{head}Connection: close\r\n\r\n"));
    assert_eq!(server.send(5, "plain"), 1);
    client.expect("Recvd msg #1: 'plain'<br/>");
    server.signal("-TERM");
    assert_eq!(client.read_to_end(), "");
    assert!(server.wait().success());
}

#[test]
fn what_is_not_served_is_answered_and_closed_and_counted() {
    let server = Server::start(&[]);
    for (request, status, reason) in [
        ("PUT /test/1", "501 Not Implemented", "not_implemented"),
        ("POST /test/1", "404 Not Found", "not_found"),
        ("GET /elsewhere", "404 Not Found", "not_found"),
        ("GET /test/", "400 Bad Request", "bad_request"),
        ("GET /test/0", "400 Bad Request", "bad_request"),
        ("GET /test/abc", "400 Bad Request", "bad_request"),
        ("GET /test/%31", "400 Bad Request", "bad_request"),
        ("GET /test/9223372036854775808", "400 Bad Request", "bad_request"),
    ] {
        let before = server.stats()["connections_closed"][reason].as_u64().unwrap_or(0);
        let mut client = server.connect(&format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let answer = client.read_to_end();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        drop(client);
        server.wait_for_stats(|stats| stats["connections_closed"][reason] == before + 1);
    }
    let mut client = server.connect("nonsense\r\n\r\n");
    assert!(client.read_to_end().starts_with("HTTP/1.1 400 "));
    let mut client = server.connect(&format!("GET / HTTP/1.1\r\nX: {}\r\n", "x".repeat(8192)));
    assert!(client.read_to_end().starts_with("HTTP/1.1 431 "));
}

#[test]
fn head_gets_the_head_alone() {
    let server = Server::start(&[]);
    let mut client = server.connect("HEAD /test/1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.read_to_end(), HEAD);
    drop(client);
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 0);
    assert_eq!(stats["connections_closed"]["answered"], 1);
}

#[test]
fn a_peer_that_leaves_or_half_leaves_is_logged_out() {
    let server = Server::start(&[]);
    let whole = server.follow("1");
    let half = server.follow("2");
    server.wait_for_stats(|stats| stats["connections_parked"] == 2);
    drop(whole);
    half.stream.shutdown(Shutdown::Write).unwrap();
    let stats = server.wait_for_stats(|stats| stats["connections_parked"] == 0);
    assert_eq!(stats["connections_closed"]["peer"], 2, "{stats}");
    assert_eq!(server.send(1, "too late"), 0);
}

#[test]
fn messages_of_an_id_come_in_the_same_order_to_all() {
    let server = Server::start(&["--threads", "2"]);
    // More than two slices of a fan-out.
    let mut clients: Vec<_> = (0..600).map(|_| server.follow("1")).collect();
    std::thread::scope(|scope| {
        for sender in 0..4 {
            let server = &server;
            scope.spawn(move || {
                (0..5).for_each(|k| assert_eq!(server.send(1, &format!("{sender}.{k}")), 600));
            });
        }
    });
    let first = read_messages(&mut clients[0], 20);
    for client in &mut clients[1..] {
        assert_eq!(read_messages(client, 20), first);
    }
    for sender in 0..4 {
        let own = |text: &&String| text.contains(&format!("'{sender}."));
        let of_sender: Vec<_> = first.iter().filter(own).collect();
        assert!(of_sender.is_sorted(), "{of_sender:?}");
    }
}

fn read_messages(client: &mut Client, n: usize) -> Vec<String> {
    use std::io::{BufRead as _, BufReader};
    let mut lines = BufReader::new(&client.stream).lines();
    let mut message = || {
        let line = lines.by_ref().nth(1).unwrap().unwrap();
        line.split_once(": ").unwrap_or_else(|| panic!("{line}")).1.to_owned()
    };
    (0..n).map(|_| message()).collect()
}
