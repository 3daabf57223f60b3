//! What the server says while it runs, and that nobody has to read it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::support::Server;

#[test]
fn an_unread_log_stops_nothing_and_says_what_it_dropped() {
    const N_LOGINS: usize = 700;
    let mut command = Command::new(env!("CARGO_BIN_EXE_comet-server"));
    let mut server =
        Server::start_command(command.args(["--log", "logins"]).stderr(Stdio::piped()));
    // Lines of 1.5 KB: 64 KiB of them fill a pipe, and 256 KiB more what waits for it.
    let ids: Vec<_> = (1..=200).map(|id| (1_000_000 + id).to_string()).collect();
    let ids = ids.join(",");
    for _ in 0..N_LOGINS {
        server.follow(&ids);
    }
    let mut client = server.follow("7");
    assert_eq!(server.send(7, "it goes on"), 1);
    client.expect_message(1, "it goes on");

    let mut log = BufReader::new(server.take_stderr());
    let (mut n_lines, mut n_dropped, mut line) = (0, 0, String::new());
    while n_dropped == 0 {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the log ended");
        match line.split_once(" lines of this log were dropped") {
            Some((n, _)) => n_dropped = n.parse::<usize>().unwrap(),
            None => n_lines += 1,
        }
    }
    assert_eq!(n_lines + n_dropped, N_LOGINS + 1, "all lines are accounted for");
    // It goes on where it is read again.
    server.follow("8");
    line.clear();
    log.read_line(&mut line).unwrap();
    assert!(line.contains("login") && line.contains("[8]"), "{line}");
    server.signal("-TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn an_unread_log_does_not_keep_the_server_from_ending() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_comet-server"));
    let mut server =
        Server::start_command(command.args(["--log", "logins"]).stderr(Stdio::piped()));
    let ids: Vec<_> = (1..=1_000).map(|id| (1_000_000 + id).to_string()).collect();
    for _ in 0..20 {
        server.follow(&ids.join(","));
    }
    let unread = server.take_stderr();
    server.signal("-TERM");
    assert_eq!(server.wait().code(), Some(0));
    drop(unread);
}
