//! Flags, exit codes and signals.

use std::net::TcpListener;
use std::process::Command;

use crate::support::{Server, imbalance, run};

fn fails(flags: &[&str], message: &str) {
    let output = run(flags);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{flags:?}: {stderr}");
    assert!(stderr.contains(message), "{flags:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{flags:?}");
}

#[test]
fn the_allocator_is_set_to_give_memory_back_unless_somebody_set_it() {
    let in_its_environment = |wanted: &str, given: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_comet-server"));
        given.map(|value| command.env("GLIBC_TUNABLES", value));
        let server = Server::start_command(&mut command);
        let environment = server.proc_file("environ");
        let found = environment.split('\0').find(|variable| variable.starts_with("GLIBC_TUNABLES"));
        // Some versions of glibc cut it at its first colon while they read it.
        assert_eq!(found.and_then(|found| found.split(':').next()), Some(wanted));
        // The same process under the same name: it is found by both.
        assert_eq!(server.proc_file("comm"), "comet-server\n");
    };
    in_its_environment("GLIBC_TUNABLES=glibc.malloc.mmap_threshold=131072", None);
    let own = "glibc.malloc.arena_max=2";
    in_its_environment(&format!("GLIBC_TUNABLES={own}"), Some(own));
}

#[test]
fn bad_flags_name_the_cause_and_exit_with_2() {
    fails(&["--listen", "here"], "invalid value 'here' for '--listen <ADDRESS>'");
    fails(&with(&["--threads", "0"]), "'--threads <N>'");
    fails(&with(&["--threads", "100000"]), "100000 threads are too many");
    fails(&with(&["--head-timeout", "10"]), "'--head-timeout <TIME>'");
    fails(&with(&["--backlog", "64"]), "write a size, like 64KiB");
    fails(&with(&["--backlog", "0.184467440737095516155MiB"]), "write a size, like 64KiB");
    fails(&with(&["--max-connections", "0"]), "write a count, like 10000 or 10k");
    fails(
        &with(&["--max-connections", "100m"]),
        "cannot hold 100000000 connections: the open-file limit is",
    );
    fails(&with(&["--max-ids", "0"]), "write a count, like 10000 or 10k");
    fails(&with(&["--max-ids", "10g"]), "cannot follow 10000000000 ids: at most 2000000000");
    fails(&with(&["--backlog-total", "64KiB"]), "--backlog-total is less than 1 MiB");
    fails(&with(&["--backlog", "10MiB", "--backlog-total", "9MiB"]), "or than one --backlog");
    fails(&with(&["--max-connections-per-ip", "0"]), "write a count, like 10000 or 10k");
    fails(&with(&["--ping", "0s"]), "leave it out for no pings");
    let token = tempfile::NamedTempFile::new().unwrap();
    let with_token = with(&["--control-token-file", token.path().to_str().unwrap()]);
    fails(&with_token, "is empty");
    std::fs::write(token.path(), "two words").unwrap();
    fails(&with_token, "write visible ASCII, without spaces");
    std::fs::write(token.path(), "x").unwrap();
    fails(&with_token, "has 1 characters, and 16 to 1024 are allowed; make one with `head -c 24");
    std::fs::write(token.path(), "x".repeat(1_025)).unwrap();
    fails(&with_token, "has 1025 characters, and 16 to 1024 are allowed");
    std::fs::write(token.path(), "0123456789abcdef").unwrap();
    for mode in [0o604, 0o602, 0o644] {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(token.path(), permissions).unwrap();
        fails(&with_token, "everybody on this machine can read or change the token file");
    }
    fails(&with(&["--control-token-file", "/nowhere"]), "cannot read the token file /nowhere");
    for host in ["", "http://comet.example", "comet.example:8001", "a b"] {
        fails(&with(&["--control-host", host]), "write a name without scheme and port");
    }
    fails(
        &["--listen", "127.0.0.1:0", "--control", "0.0.0.0:0"],
        "the control door on 0.0.0.0:0 would be open to everybody; give --control-token-file",
    );
}

/// These flags, and free ports.
fn with<'flag>(flags: &[&'flag str]) -> Vec<&'flag str> {
    [&["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"], flags].concat()
}

#[test]
fn too_few_open_files_are_refused() {
    let binary = env!("CARGO_BIN_EXE_comet-server");
    let output = Command::new("prlimit").args(["--nofile=63:63", binary]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the open-file limit is 63, and 64 is the least"), "{stderr}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fails(
        &["--listen", &address, "--control", "127.0.0.1:0"],
        &format!("cannot listen on {address}"),
    );
}

#[test]
fn it_listens_on_several_addresses() {
    let server = Server::start(&["--listen", "127.0.0.2:0"]);
    assert_eq!(server.public.ip().to_string(), "127.0.0.2", "flags keep their order");
}

#[test]
fn a_signal_gives_everybody_the_last_chunk_and_exits_with_0() {
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::start(&[]);
        let mut clients: Vec<_> = (1..=300).map(|id| server.follow(&id.to_string())).collect();
        assert_eq!(server.send(300, "before the end"), 1);
        clients[299].expect_message(1, "before the end");
        assert_eq!(imbalance(&server.stats()), None);
        server.signal(signal);
        for client in &mut clients {
            assert_eq!(client.read_to_end(), "0\r\n\r\n");
        }
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn times_that_are_too_long_to_be_reckoned_with_are_for_ever() {
    let long = "10000000000000000000s";
    let mut server = Server::start(&["--head-timeout", long, "--grace", long]);
    let silent = crate::support::Client::connect(server.public);
    let mut client = server.follow("7");
    assert_eq!(server.send(7, "served"), 1);
    client.expect_message(1, "served");
    server.signal("-TERM");
    assert_eq!(client.read_to_end(), "0\r\n\r\n");
    assert_eq!(server.wait().code(), Some(0));
    drop(silent);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    // A connection that does not read keeps a shutdown waiting for its backlog.
    let mut server = Server::start(&["--grace", "1h", "--backlog", "10MiB"]);
    let _stuck = server.follow("1");
    let message = "x".repeat(60_000);
    while server.stats()["chunks_queued"] == 0 {
        assert_eq!(server.send(1, &message), 1);
    }
    server.signal("-TERM");
    let is_closed = || std::net::TcpStream::connect(server.public).is_err();
    testing::wait_until("it no longer listens", is_closed);
    server.signal("-TERM");
    assert_eq!(server.wait().code(), Some(1));
}
