//! What cannot be run is refused before the first connect, with its cause and its fix.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::support::{OUR_HEAD, Server, UrlFile, deserted_address, run};

#[test]
fn a_missing_file_is_named() {
    run(&["--urls", "/nowhere/urls.txt"])
        .with_code(2)
        .mentioning("floodtest: cannot read /nowhere/urls.txt: No such file or directory")
        .mentioning("`floodtest urls` writes such files");
}

#[test]
fn a_file_without_urls_is_empty() {
    for text in ["", "\n", "# only a comment\r\n\r\n"] {
        let urls = UrlFile::of(text);
        let path = urls.path();
        run(&["--urls", path]).with_code(2).mentioning(&format!("{path} has no URL in it"));
    }
}

#[test]
fn what_cannot_be_read_twice_is_refused() {
    for path in ["/dev/null", "/tmp"] {
        run(&["--urls", path])
            .with_code(2)
            .mentioning(&format!("floodtest: {path} is not a regular file; it is read twice"));
    }
}

#[test]
fn a_bad_line_is_found_before_any_connect() {
    let server = Server::holding(OUR_HEAD);
    let good = format!("http://{}/test/1\r\n", server.address);
    let urls = UrlFile::of(&format!("{good}\n# a comment\nhtp://localhost:8000/test/17\n{good}"));
    let path = urls.path();
    run(&["--urls", path])
        .with_code(2)
        .saying(&format!("{path}:4: not an http or ws URL: \"htp://localhost:8000/test/17\""));
    assert!(server.requests().is_empty());
}

#[test]
fn an_unknown_host_is_found_before_any_connect() {
    // A name that no resolver has to ask for: its first part is longer than names may be.
    let host = format!("{}.invalid", "h".repeat(64));
    let server = Server::holding(OUR_HEAD);
    let text = format!("http://{}/test/1\nhttp://{host}/test/2\n", server.address);
    let urls = UrlFile::of(&text);
    run(&["--urls", urls.path()])
        .with_code(2)
        .mentioning(&format!("{}:2: unknown host \"{host}\"", urls.path()));
    assert!(server.requests().is_empty());
}

#[test]
fn nobody_listening_is_said_at_once() {
    let address = deserted_address();
    let urls = UrlFile::of(&format!("http://{address}/test/1"));
    for rate in ["10", "max"] {
        let ended = run(&["--urls", urls.path(), "--connections", "10k", "--rate", rate]);
        let ended = ended.with_code(2).saying(&format!(
            "nobody is listening on {address}: gave up after 1 of 10000 connections, 1 failed \
             (1 refused); start the server, or correct the URLs"
        ));
        assert!(ended.stdout.starts_with("Stats: {0,0,0}\n"), "{ended}");
    }
}

#[test]
fn a_source_address_of_another_machine_is_refused() {
    let server = Server::holding(OUR_HEAD);
    let urls = server.urls(1);
    run(&["--urls", urls.path(), "--source-ip", "192.0.2.7"])
        .with_code(2)
        .mentioning("--source-ip 192.0.2.7 is not an address of this machine");
    run(&["--urls", urls.path(), "--source-ip", "::1"])
        .with_code(2)
        .mentioning("no source address for 127.0.0.1:");
    assert!(server.requests().is_empty());
}

#[test]
fn a_bad_flag_is_2() {
    for args in [
        &["--urls", "x", "--rate", "0"][..],
        &["--urls", "x", "--hold", "10"],
        &["--urls", "x", "--connections", "0"],
        &["--urls", "x", "--expect", "delivery_from_due.p99<50"],
        &["--urls", "x", "--sequence", "[0-9]+"],
        &["completions", "tcsh"],
        &["--surls", "x"],
        &["urls", "--count", "3", "--pattern", "http://h/test"],
        &[],
    ] {
        let ended = run(args).with_code(2);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{ended}");
    }
}

#[test]
fn urls_writes_a_file_that_can_be_used() {
    let pattern = "http://127.0.0.1:8000/test/{id}";
    let ended = run(&["urls", "--count", "3", "--pattern", pattern]).with_code(0);
    let expected = "http://127.0.0.1:8000/test/1\nhttp://127.0.0.1:8000/test/2\n\
                    http://127.0.0.1:8000/test/3\n";
    assert_eq!(ended.stdout, expected, "{ended}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("urls.txt");
    let path = path.to_str().unwrap();
    let args = ["urls", "--count", "2", "--first", "1k", "--pattern", pattern, "--out", path];
    run(&args).with_code(0);
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text, "http://127.0.0.1:8000/test/1000\nhttp://127.0.0.1:8000/test/1001\n");
    let nowhere = "/nowhere/urls.txt";
    run(&["urls", "--count", "2", "--pattern", pattern, "--out", nowhere])
        .with_code(2)
        .mentioning("floodtest: cannot write /nowhere/urls.txt: No such file");
}

#[test]
fn completions_and_a_manual_page_can_be_had() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = run(&["completions", shell]).with_code(0);
        assert!(ended.stdout.contains("source-ip"), "{ended}");
    }
    let ended = run(&["man"]).with_code(0);
    assert!(ended.stdout.contains(".TH floodtest 1"), "{ended}");
    assert!(ended.stdout.contains("\\-\\-expect"), "{ended}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_floodtest"))
        .args(["urls", "--count", "1m", "--pattern", "http://h/{id}"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = [0; 11];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    assert_eq!(&start, b"http://h/1\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn errors_of_usage_begin_with_the_programs_name_and_say_what_to_do() {
    for (args, saying) in [
        (&["--no-such-flag"][..], "floodtest: unexpected argument '--no-such-flag'"),
        (&["--urls", "x", "--report", "0s"], "floodtest: invalid value '0s' for '--report"),
        (&[], "floodtest: "),
    ] {
        let ended = run(args).with_code(2);
        assert!(ended.stderr.starts_with(saying), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("--help"), "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{args:?}");
    }
}
