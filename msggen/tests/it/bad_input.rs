//! What cannot be run, each with its message and exit code 2.

use std::net::TcpListener;

use crate::support::{Finished, msggen};

/// A run that is complete but for the server, which is never reached.
const COMPLETE: &str = "--num 1 --interval 0 --max 9 --server http://127.0.0.1:1";

/// Runs with `flags` and expects this message and nothing on stdout.
#[track_caller]
fn refused(flags: &str, message: &str) -> Finished {
    let run = msggen(flags).code(2).says(message);
    run.assert(run.stderr.starts_with("msggen: "), "the program's name comes first");
    run.assert(run.stdout.is_empty(), "there is no data");
    run
}

#[test]
fn numbers_that_leave_nothing_to_do_are_refused() {
    for (flags, message) in [
        (
            "--num 1 --interval 0 --max 0",
            "'0' for '--max <MAX>': must be at least 1; ids are drawn",
        ),
        ("--num 0 --interval 0 --max 1", "'0' for '--num <N>': must be at least 1"),
        ("--num 1 --interval 0 --max 1 --sources 0", "'--sources <K>': must be at least 1"),
        ("--num 1 --interval 0 --max 1 --batch 0", "'--batch <N>': must be at least 1"),
        ("--num 1 --interval 0 --max 1 --report 0s", "'--report <TIME>': must be more than 0s"),
        ("--num 1 --interval 0 --max 1 --timeout 900000000000weeks", "'--timeout <TIME>': "),
        ("--num 1 --interval 0 --max 1 --report 9000years", "must be at most 365days"),
    ] {
        refused(flags, message);
    }
}

#[test]
fn flags_that_are_missing_unknown_or_unreadable_are_refused() {
    for (flags, message) in [
        ("--interval 0 --max 1", "--num <N>"),
        ("--num 1 --max 1", "--interval <MS>"),
        ("--num 1 --interval 0", "--max <MAX>"),
        ("--num 1 --interval 0 --max 1 --ids /dev/null", "cannot be used with '--"),
        ("--num 1 --interval 0 --max 1 --what", "unexpected argument '--what'"),
        ("--num ten --interval 0 --max 1", "not a count: \"ten\"; write 10000, 10k or 1m"),
        ("--num 1 --interval soon --max 1", "not a time: \"soon\""),
        ("--num 1 --interval uniform:9ms --max 1", "write uniform:10ms..110ms"),
        ("--num 1 --interval uniform:9ms..1ms --max 1", "the second time must be more than 0s"),
        ("--num 1 --interval exp:9000years --max 1", "must be at most 365days"),
        ("--num 1 --interval 0 --max 1 --distribution normal", "write uniform, zipf:1.1 or hot:"),
        ("--num 1 --interval 0 --max 9 --distribution hot:99%=1%", "hot leaves 9 of 9 ids hot"),
        ("--num 1 --interval 0 --max 1 --in-flight 0", "'--in-flight <N>': must be at least 1"),
        ("--num 1 --interval 0 --max 1 --connections 0", "'--connections <N>': must be at least 1"),
        ("--num 1 --interval 0 --max 1 --size 200", "not a size: \"200\"; write 64KiB"),
        ("--num 1 --interval 0 --max 1 --size 65KiB", "must be at most 64KiB, as in comet-server"),
        (
            "--num 1 --interval 0 --max 1 --message {key}",
            "there is no {key} here; there are {k}, {id}",
        ),
        ("--num 1 --interval 0 --max 1 --expect void", "--expect: not an expectation: \"void\""),
        ("--num 1 --interval 0 --max 1 --expect lost=0", "there is no figure \"lost\"; there are "),
        (
            "--num 1 --interval 0 --max 1 --size 64KiB --batch 2k",
            "more than 64 MiB; lower --batch or",
        ),
        ("--num 1 --interval 0 --max 1 --body x", "--to <URL>"),
        ("--num 1 --interval 0 --max 1 --to http://h --batch 2", "cannot be used with '--"),
        ("--num 1 --interval 0 --max 1 --report 60", "write 60s or 60ms"),
        ("--num 1 --interval 0 --max 1KiB", "not a count: \"1KiB\""),
        ("--num 1 --interval 0 --max 9223372036854775808", "must be at most 9223372036854775807"),
        ("--num 10000000000000000000 --interval 0 --max 1 --sources 2", "more than 2^64; lower"),
    ] {
        refused(flags, message);
    }
}

#[test]
fn server_urls_that_name_no_control_door_are_refused_with_a_fix() {
    for (server, message) in [
        ("localhost:8001", "not a server URL: \"localhost:8001\": write http://localhost:8001"),
        ("ftp://localhost", "write http://host:port or https://host:port"),
        ("http://", "not a server URL: \"http://\": empty host"),
        ("http://localhost:99999", "invalid port number"),
        ("http://me:secret@localhost", "name it with --token-file"),
        ("http://localhost/?a=b", "it ends in a query or fragment"),
    ] {
        refused(&format!("--num 1 --interval 0 --max 1 --server {server}"), message);
    }
}

#[test]
fn requests_to_other_servers_that_are_none_are_refused_with_a_fix() {
    for (to, more, message) in [
        (
            "h/{id}",
            "",
            "cannot send to \"h/{id}\": not a URL: \"h/1\": relative URL without a base",
        ),
        ("ftp://h/", "", "write http://host:port/path"),
        ("http://h{id}/", "", "its host and port must be the same for all messages"),
        ("http://h:{id}/", "", "invalid port number"),
        ("http://me@h/", "", "a user name is not supported; write --header 'Authorization: …'"),
        (
            "http://h/{ids}",
            "",
            "there is no {ids} here; there are {k}, {id}, {source}, {n}, {message}",
        ),
        ("http://h/", "--header=X", "write 'Name: value'"),
        ("http://h/", "--header=é:1", "no header is named \"é\""),
        ("http://h/", "--header=X:\u{1}", "--header x: a header cannot carry this value"),
        ("http://h/", "--method=A/B", "--method"),
    ] {
        refused(&format!("--num 1 --interval 0 --max 1 --to {to} {more}"), message);
    }
}

#[test]
fn a_file_of_ids_that_is_missing_or_holds_something_else_is_named_with_the_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "7\nseven\n").unwrap();
    let path = file.path().display();
    refused(
        &format!("--num 1 --interval 0 --ids {path}"),
        &format!("{path}:2: not an id: \"seven\"; write one number in"),
    );
    refused("--num 1 --interval 0 --ids /no/ids", "cannot read the ids in /no/ids: No such file");
}

#[test]
fn a_server_where_nobody_listens_is_named_at_once_with_a_fix() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    refused(
        &format!("--num 1 --interval 1h --max 9 --server http://{address}"),
        &format!("nobody is listening at http://{address}: Connection refused"),
    )
    .says("start the server, or name another with --server (a control door) or --to");
}

#[test]
fn an_unknown_host_is_named() {
    refused(
        "--num 1 --interval 0 --max 9 --server http://no-such-host.invalid",
        "unknown host no-such-host.invalid: ",
    );
}

#[test]
fn a_token_file_that_is_missing_empty_or_no_token_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let flags = format!("{COMPLETE} --token-file {}", path.display());
    refused(&flags, &format!("cannot read the token file {}: No such file", path.display()));
    std::fs::write(&path, " \n").unwrap();
    refused(&flags, &format!("no token in {}: the file is empty", path.display()));
    std::fs::write(&path, "two\nlines\n").unwrap();
    refused(&flags, "a header cannot carry its content");
}

#[test]
fn more_requests_at_once_than_descriptors_are_refused_with_the_limit_that_would_do() {
    use rustix::process::{Resource, getrlimit};
    let Some(limit) = getrlimit(Resource::Nofile).maximum.filter(|limit| *limit < 1_000_000) else {
        return; // So many are allowed here that no number of sources is too large.
    };
    refused(
        &format!("--num 1 --interval 0 --max 9 --sources {limit} --connections {limit}"),
        &format!("the open-file limit is {limit}; raise it with `ulimit -n {}`", limit + 64),
    );
}

#[test]
fn help_is_data_and_no_failure() {
    let run = msggen("--help").code(0);
    run.assert(run.stdout.contains("Usage: msggen [OPTIONS] --num <N>"), "usage on stdout");
    run.assert(run.stderr.is_empty(), "nothing on stderr");
    msggen("--version").code(0);
}
