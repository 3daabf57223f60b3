//! Limits, and what happens there.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use crate::support::{Client, DEADLINE, HEAD, Server};

#[test]
fn one_connection_too_many_is_told_so() {
    let server = Server::start(&["--max-connections", "3"]);
    let mut clients: Vec<_> = (1..=3).map(|id| server.follow(&id.to_string())).collect();
    let mut refused = server.connect("GET /test/4 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(refused.read_to_end().starts_with("HTTP/1.1 503 "));
    drop(refused);
    assert_eq!(server.send(3, "served"), 1);
    clients[2].expect_message(1, "served");
    clients.truncate(2);
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 2);
    assert_eq!(stats["connections_closed"]["full"], 1);
    server.follow("4");
}

#[test]
fn a_request_that_is_never_complete_times_out() {
    let server = Server::start(&["--head-timeout", "200ms"]);
    let mut silent = Client::connect(server.public);
    let mut slow = server.connect("GET /test/1 HTTP/1.1\r\n");
    for client in [&mut silent, &mut slow] {
        assert!(client.read_to_end().starts_with("HTTP/1.1 408 "));
    }
    drop((silent, slow));
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 0);
    assert_eq!(stats["connections_closed"]["head_timeout"], 2);
}

#[test]
fn a_reader_that_never_reads_is_closed_and_its_chunks_are_counted() {
    let server = Server::start(&["--backlog", "64KiB"]);
    let slow = server.follow("1");
    let mut good = server.follow("2");
    let message = "x".repeat(4096);
    let mut n_sent = 0;
    while server.send(1, &message) == 1 {
        n_sent += 1;
        assert!(n_sent < 2_000, "8 MB waited for one reader");
    }
    assert_eq!(server.send(2, "unharmed"), 1);
    good.expect_message(1, "unharmed");
    let stats = server.wait_for_stats(|stats| stats["connections_parked"] == 1);
    assert_eq!(stats["connections_closed"]["slow_reader"], 1, "{stats}");
    assert!(stats["chunks_dropped"]["slow_reader"].as_u64().unwrap() > 1, "{stats}");
    assert_eq!(stats["chunks_queued"], 0);
    drop(slow);
}

#[test]
fn a_reader_that_was_slow_gets_everything_in_the_end() {
    let server = Server::start(&["--backlog", "1MiB"]);
    let mut client = server.follow("1");
    let message = "x".repeat(60_000);
    let mut n_sent = 0;
    while server.stats()["chunks_queued"] == 0 {
        assert_eq!(server.send(1, &message), 1);
        n_sent += 1;
        assert!(n_sent < 1_000, "60 MB fit into the kernel");
    }
    for n in 1..=n_sent {
        client.expect_message(n, &message);
    }
    let stats = server.wait_for_stats(|stats| stats["chunks_queued"] == 0);
    assert_eq!(stats["chunks_written"], n_sent, "{stats}");
}

#[test]
fn bytes_after_the_request_are_dropped_up_to_a_limit() {
    let server = Server::start(&[]);
    let mut chatty = server.follow("1");
    chatty.stream.write_all(&vec![b'x'; 60_000]).unwrap();
    assert_eq!(server.send(1, "still here"), 1);
    chatty.expect_message(1, "still here");
    _ = chatty.stream.write_all(&vec![b'x'; 10_000]);
    assert!(chatty.is_cut());
    let stats = server.wait_for_stats(|stats| stats["connections_parked"] == 0);
    assert_eq!(stats["connections_closed"]["chatty"], 1, "{stats}");
}

#[test]
fn one_address_has_as_many_connections_as_it_may() {
    let server = Server::start(&["--max-connections-per-ip", "2"]);
    let mut clients = vec![server.follow("1"), server.follow("2")];
    let mut refused = request(&server, 3);
    assert!(refused.read_to_end().starts_with("HTTP/1.1 429 Too Many Requests\r\n"));
    drop(refused);
    let mut other = from("127.0.0.9", &server);
    other.expect(HEAD);
    // Every way to leave makes room: being reset, half-closing, and never having been parked.
    clients.pop().unwrap().reset();
    server.wait_for_stats(|stats| stats["connections_parked"] == 2);
    let half_open = Client::connect(server.public);
    let stats = server.wait_for_stats(|stats| stats["connections_pending"] == 1);
    assert_eq!(stats["connections_closed"]["full_for_address"], 1);
    drop(half_open);
    server.wait_for_stats(|stats| stats["connections_pending"] == 0);
    clients.push(server.follow("2"));
    clients[0].stream.shutdown(std::net::Shutdown::Write).unwrap();
    server.wait_for_stats(|stats| stats["connections_parked"] == 2);
    clients.push(server.follow("3"));
}

/// A connection from another address of the loopback, logged in as 9.
fn from(address: &str, server: &Server) -> Client {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address: std::net::SocketAddr = format!("{address}:0").parse().unwrap();
    socket.bind(&address.into()).unwrap();
    socket.connect(&server.public.into()).unwrap();
    let mut client = Client { stream: socket.into() };
    client.stream.set_read_timeout(Some(DEADLINE)).unwrap();
    client.stream.write_all(b"GET /test/9 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    client
}

#[test]
fn out_of_descriptors_the_served_stay_served_and_accepting_resumes() {
    // The limit is lowered behind the server's back, once it has shared out the descriptors.
    let server = Server::start(&["--max-connections", "1000"]);
    let mut clients: Vec<_> = (1..=20).map(|id| server.follow(&id.to_string())).collect();
    let mut door = server.door();
    assert_eq!(door.send(7000, "opens the door"), 0);
    server.exhaust_descriptors();

    let mut waiting: Vec<_> = (21..=40).map(|id| request(&server, id)).collect();
    let ticks = server.cpu_ticks();
    // Half a second in which nothing comes.
    let last = waiting.last_mut().unwrap();
    last.stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(last.stream.read(&mut [0; 1]).is_err());
    let spun = server.cpu_ticks() - ticks;
    assert!(spun <= 5, "it spins: {spun} ticks of 10 ms in half a second");
    assert_eq!(door.send(7, "still"), 1);
    clients[6].expect_message(1, "still");
    // The door has kept some for itself: one sender after the other, and several at once.
    for _ in 0..20 {
        assert_eq!(server.send(7000, "from a new connection"), 0);
    }
    let doors: Vec<_> = (0..4).map(|_| server.door()).collect();
    for mut door in doors {
        assert_eq!(door.ask("GET", "/healthz", "").0, 503);
    }
    assert_eq!(server.stats()["accepting"], false);
    clients.truncate(7);
    for client in &mut waiting[..5] {
        let mut head = [0; 12];
        client.stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
    }
    server.limit_descriptors(1_000);
    server.wait_for_stats(|stats| stats["accepting"] == true && stats["connections_parked"] == 27);
}

#[test]
fn all_connections_together_follow_as_many_ids_as_they_may() {
    let server = Server::start(&["--max-ids", "5"]);
    let first = server.follow("1,2,3");
    let mut second = server.follow("3,4");
    let mut refused = request(&server, 6);
    let answer = refused.read_to_end();
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.ends_with("the server follows as many ids as it may\n"), "{answer}");
    drop(refused);
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 2);
    assert_eq!(
        (&stats["connections_closed"]["ids_full"], &stats["logins"]),
        (&1.into(), &5.into())
    );
    assert_eq!(server.send(4, "served"), 1);
    second.expect_message(1, "served");
    // Whoever leaves makes room for as many ids as it had.
    drop(first);
    server.wait_for_stats(|stats| stats["logins"] == 2);
    server.follow("6,7,8");
}

#[test]
fn the_connections_of_an_address_share_its_part_of_all_ids() {
    // 2 of 1,000 connections may have 2 of 1,000 ids, but a whole request is always served.
    let flags = ["--max-connections", "1000", "--max-connections-per-ip", "2"];
    let server = Server::start(&[&flags[..], &["--max-ids", "100k"]].concat());
    let many = (1..=1_000).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    let first = server.follow(&many);
    let refused =
        server.connect(&format!("GET /test/{many} HTTP/1.1\r\nHost: x\r\n\r\n")).read_to_end();
    assert!(refused.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{refused}");
    let mut other = from("127.0.0.9", &server);
    other.expect(HEAD);
    drop(first);
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == 1);
    assert_eq!(stats["connections_closed"]["ids_full_for_address"], 1);
    server.follow(&many);
}

#[test]
fn the_oldest_unfinished_request_goes_when_others_need_its_place() {
    const N_PLACES: usize = 20;
    let server = Server::start(&["--max-connections", "20", "--head-timeout", "1h"]);
    let mut silent: Vec<_> = (0..N_PLACES).map(|_| Client::connect(server.public)).collect();
    server.wait_for_stats(|stats| stats["connections_pending"] == N_PLACES);
    let mut inside: Vec<_> = (1..=N_PLACES).map(|id| server.follow(&id.to_string())).collect();
    for client in &mut silent {
        let answer = client.read_to_end();
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    }
    drop(silent);
    let stats = server.wait_for_stats(|stats| stats["connections_open"] == N_PLACES);
    assert_eq!(stats["connections_closed"]["crowded_out"], N_PLACES);
    // Those who are logged in stay, whoever comes.
    assert!(request(&server, 99).read_to_end().starts_with("HTTP/1.1 503 "));
    assert_eq!(server.send(1, "still"), 1);
    inside[0].expect_message(1, "still");
}

#[test]
fn answered_connections_that_do_not_close_keep_nobody_out() {
    let server = Server::start(&["--max-connections", "10", "--head-timeout", "1h"]);
    let request = "GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut answered: Vec<_> = (0..10 + 64).map(|_| server.connect(request)).collect();
    for client in &mut answered {
        assert!(client.read_to_end().starts_with("HTTP/1.1 404 "));
    }
    for id in 1..=10 {
        server.follow(&id.to_string());
    }
}

fn request(server: &Server, id: u64) -> Client {
    server.connect(&format!("GET /test/{id} HTTP/1.1\r\nHost: x\r\n\r\n"))
}
