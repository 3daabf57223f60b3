//! What is asked: header fields, bodies, tokens, fields of URL lines; and what is said about
//! answers that refuse.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Barrier};

use rustix::process::Signal;

use crate::support::{
    OUR_HEAD, Server, UrlFile, hold, messages, run, send, start, start_limited, wait_until,
};

/// The requests that a server gets in a run with these flags and lines; `{at}` is the server.
fn requests(flags: &[&str], lines: &str) -> Vec<String> {
    let server = Server::holding(OUR_HEAD);
    let urls = UrlFile::of(&lines.replace("{at}", &server.address.to_string()));
    let args = [&["--urls", urls.path(), "--hold", "0s", "--rate", "max"], flags].concat();
    run(&args).with_code(0);
    server.requests().into_iter().map(|request| request.text).collect()
}

/// A file with `text` in it.
fn file(text: &str) -> UrlFile {
    UrlFile::of(text)
}

#[test]
fn every_connection_has_header_fields_of_its_own() {
    let headers = file("# of a file\nX-Session: s-{2}\r\n\nX-Place: {place}\n");
    let flags =
        ["--header", "Authorization: Bearer {1}", "--header", &format!("@{}", headers.path())];
    let lines = "http://{at}/test/1\tone\tzwei\nhttp://{at}/test/{1}\ttwo\t\n";
    let requests = requests(&flags, lines);
    let has = |k: usize, line: &str| {
        let line = format!("\r\n{line}\r\n");
        assert!(requests[k].contains(&line), "{line:?} is not in {}", requests[k]);
    };
    assert_eq!(requests.len(), 2);
    assert!(requests[0].starts_with("GET /test/1 HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[1].starts_with("GET /test/two HTTP/1.1\r\n"), "{}", requests[1]);
    has(0, "Authorization: Bearer one");
    has(1, "Authorization: Bearer two");
    has(0, "X-Session: s-zwei");
    has(1, "X-Session: s-");
    has(0, "X-Place: 0");
    has(1, "X-Place: 1");
    has(0, "Accept-Encoding: identity");
}

#[test]
fn workers_ask_the_same_as_one_process() {
    let server = Server::holding(OUR_HEAD);
    let lines: Vec<_> =
        (0..60).map(|k| format!("http://{}/test/{{1}}\t{k}\tt{k}", server.address)).collect();
    let urls = UrlFile::of(&lines.join("\n"));
    let header = ["--header", "X-Token: {2}/{place}"];
    let args = [&["--urls", urls.path(), "--hold", "0s", "--rate", "max"], &header[..]].concat();
    start_limited(100, &args).end().with_code(0);
    let requests = server.requests();
    assert_eq!(requests.len(), 60);
    for request in requests {
        let k = request.text["GET /test/".len()..].split(' ').next().unwrap();
        assert!(request.text.contains(&format!("X-Token: t{k}/{k}\r\n")), "{}", request.text);
    }
}

#[test]
fn a_body_is_sent_whole_with_its_length() {
    const EXPECTED: &str = "{\"prompt\": \"grüß\", \"n\": {\"place\": 0}}";
    let text = "{\"prompt\": \"{1}\", \"n\": {\"place\": {place}}}";
    let in_file = file(text);
    for flags in [["--body", text], ["--body-file", in_file.path()]] {
        let server = Server::start(|_, stream| {
            let mut body = [0; EXPECTED.len()];
            stream.read_exact(&mut body).unwrap();
            assert_eq!(&body[..], EXPECTED.as_bytes());
            send(stream, OUR_HEAD);
            hold(stream);
        });
        let urls = file(&format!("http://{}/v1\tgrüß\n", server.address));
        let args = ["--urls", urls.path(), "--hold", "0s", "--method", "POST"];
        run(&[&args[..], &flags].concat()).with_code(0);
        let request = server.requests().remove(0).text;
        let length = EXPECTED.len();
        assert!(request.starts_with("POST /v1 HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("\r\nContent-Length: {length}\r\n\r\n")), "{request}");
    }
}

#[test]
fn a_large_body_goes_through_whatever_the_socket_takes_at_once() {
    let body = "0123456789abcdef".repeat(60_000);
    let in_file = file(&body);
    let n_bytes = body.len();
    let server = Server::start(move |_, stream| {
        let mut received = vec![0; n_bytes];
        stream.read_exact(&mut received).unwrap();
        assert_eq!(received, body.as_bytes());
        send(stream, OUR_HEAD);
        hold(stream);
    });
    let urls = server.urls(4);
    let flags = ["--method", "POST", "--body-file", in_file.path(), "--rate", "max"];
    let args = [&["--urls", urls.path(), "--hold", "0s", "--json"], &flags[..]].concat();
    let report = run(&args).with_code(0).report();
    assert_eq!((report.established, report.failed), (4, 0));
}

#[test]
fn a_body_is_sent_on_after_an_early_head() {
    // More than a socket takes before the server has read some of it.
    const N_FIELDS: usize = 2_000;
    let (body, field) = ("{1}".repeat(N_FIELDS), "x".repeat(4_000));
    let has_head = Arc::new(Barrier::new(3));
    let may_read = Arc::clone(&has_head);
    let server = Server::start(move |_, stream| {
        send(stream, &format!("{OUR_HEAD}{}", messages(&[1])));
        may_read.wait();
        let mut received = vec![0; N_FIELDS * 4_000];
        stream.read_exact(&mut received).unwrap();
        assert!(received.iter().all(|byte| *byte == b'x'));
        send(stream, &messages(&[2]));
        hold(stream);
    });
    let urls = file(&format!("http://{}/test/1\t{field}\n", server.address));
    let flags = ["--method", "POST", "--body", &body, "--report", "100ms", "--json"];
    let mut running = start(&[&["--urls", urls.path(), "--connections", "2"], &flags[..]].concat());
    running.wait_for(|report| report.chunks == 2);
    has_head.wait();
    running.wait_for(|report| report.chunks == 4);
    running.signal(Signal::INT);
    running.end().with_code(0);
}

#[test]
fn a_get_with_a_body_is_sent_and_said() {
    let server = Server::start(|_, stream| {
        let mut body = [0; 4];
        stream.read_exact(&mut body).unwrap();
        send(stream, OUR_HEAD);
        hold(stream);
    });
    let urls = server.urls(1);
    let args = ["--urls", urls.path(), "--body", "text", "--hold", "0s", "--json"];
    let ended = run(&args).with_code(0).mentioning("the requests are GET with a body");
    assert!(ended.report().notes[0].starts_with("the requests are GET with a body"), "{ended}");
    assert!(server.requests()[0].text.starts_with("GET /test/1 "));
}

#[test]
fn a_token_comes_from_a_file_and_is_never_shown() {
    let token = file("s3cret.To-ken_~+/==\n");
    let flags = ["--token-file", token.path()];
    let requests = requests(&flags, "http://{at}/test/1");
    assert!(requests[0].contains("\r\nAuthorization: Bearer s3cret.To-ken_~+/==\r\n"));
    for (text, words) in [
        ("", "is empty; write the token into it"),
        (" \n", "is empty; write the token into it"),
        ("s3cret one\n", "does not hold a token"),
        ("s3cret\r\nX: y", "does not hold a token"),
        ("s3cretß", "does not hold a token"),
    ] {
        let token = file(text);
        let ended = run(&["--urls", "/nowhere", "--token-file", token.path()]).with_code(2);
        let ended = ended.mentioning(&format!("floodtest: --token-file {} {words}", token.path()));
        assert!(!ended.stderr.contains("s3cret"), "{ended}");
    }
    run(&["--urls", "/nowhere", "--token-file", "/nowhere/token"])
        .with_code(2)
        .saying("cannot read /nowhere/token: No such file or directory (os error 2)");
    run(&["--urls", "/nowhere", "--token-file", token.path(), "--header", "authorization: x"])
        .with_code(2)
        .saying("--header: authorization cannot be set: --token-file sets it");
}

#[test]
fn a_name_and_password_of_a_url_are_sent_and_never_shown() {
    let server = Server::saying("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    let urls = UrlFile::of(&format!("http://me:pass%3Aword@{}/test/1", server.address));
    let ended = run(&["--urls", urls.path()]).with_code(2);
    let request = &server.requests()[0].text;
    assert!(request.contains("\r\nAuthorization: Basic bWU6cGFzczp3b3Jk\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nHost: {}\r\n", server.address)), "{request}");
    assert!(ended.stdout.contains(&format!("http://{}/test/1", server.address)), "{ended}");
    assert!(!ended.to_string().contains("pass"), "{ended}");
}

#[test]
fn what_cannot_be_asked_is_refused_before_any_connect() {
    let server = Server::holding(OUR_HEAD);
    let at = server.address;
    let line = |text: &str| file(&text.replace("{at}", &at.to_string()));
    let good = line("http://{at}/test/1\tone\n");
    for (flags, words) in [
        (&["--header", "X-A: b\nX-B: c"][..], "--header: the value of X-A has a line break"),
        (&["--header", "X-A: b\r"], "--header: the value of X-A has a line break"),
        (&["--header", "X-A"], "--header: not a header field: \"X-A\"; write 'Name: value'"),
        (&["--header", "Content-Length: 3"], "--header: Content-Length cannot be set"),
        (&["--header", "@/nowhere/headers"], "cannot read /nowhere/headers: No such file"),
        (&["--body-file", "/tmp"], "/tmp is not a regular file"),
        (&["--method", "HEAD"], "--method HEAD cannot be used"),
    ] {
        let args = [&["--urls", good.path()], flags].concat();
        run(&args).with_code(2).mentioning(&format!("floodtest: {words}"));
        run(&[&args[..], &["--plan"]].concat()).with_code(2);
    }
    let headers = file("X-A: b\nX-\x07: c\n");
    run(&["--urls", good.path(), "--header", &format!("@{}", headers.path())])
        .with_code(2)
        .saying(&format!("{}:2: not a header field; write 'Name: value'", headers.path()));
    let bad = line("http://{at}/test/1\tone\ttwo\tthree\nhttp://{at}/test/2\tone\ttwo\n");
    for flags in [&["--header", "X: {3}"][..], &["--body", "{3}", "--method", "POST"]] {
        let args = [&["--urls", bad.path()], flags].concat();
        let used_by = flags[0];
        run(&args).with_code(2).saying(&format!(
            "{}:2: no field {{3}}, which {used_by} needs; fields follow the URL, after tabs",
            bad.path()
        ));
    }
    let control = line("http://{at}/test/1\tone\x1b[2J\n");
    run(&["--urls", control.path(), "--header", "X: {1}"]).with_code(2).saying(&format!(
        "{}:1: a control character in field {{1}}, which --header sends",
        control.path()
    ));
    assert!(server.requests().is_empty());
}

/// What the report says about a server that answers so.
fn detail(answer: &str, flags: &[&str]) -> (BTreeMap<String, u64>, String) {
    let server = Server::saying(answer);
    let urls = server.urls(1);
    let report = run(&[&["--urls", urls.path(), "--json"], flags].concat()).with_code(2).report();
    let detail = report.examples[0].detail.clone().unwrap_or_default();
    (report.failures.into_iter().collect(), detail)
}

#[test]
fn an_answer_that_refuses_says_why() {
    let busy = "HTTP/1.1 503 Busy\r\nContent-Type: text/plain\r\n\r\ntry later\nor never";
    for (answer, reason, expected) in [
        (busy, "status 503", "\"try later\""),
        (
            "HTTP/1.1 302 Found\r\nLocation: /login?next=%2F\r\nContent-Length: 0\r\n\r\n",
            "status 302",
            "Location: /login?next=%2F",
        ),
        (
            "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm=\"x\"\r\n\
             Transfer-Encoding: chunked\r\n\r\n4\r\nwho?\r\n0\r\n\r\n",
            "status 401",
            "WWW-Authenticate: Bearer realm=\"x\"; \"who?\"",
        ),
        ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "status 404", ""),
    ] {
        let (failures, found) = detail(answer, &[]);
        assert_eq!(failures, BTreeMap::from([(reason.to_owned(), 1)]));
        assert_eq!(found, expected);
    }
}

#[test]
fn the_body_of_a_refusal_is_waited_for_but_not_for_ever() {
    let server = Server::start(|k, stream| {
        send(stream, "HTTP/1.1 503 Busy\r\nContent-Length: 6\r\n\r\n");
        if k == 0 {
            // In a packet of its own, as Python's servers send it.
            hold_until_quiet(stream);
            send(stream, "later\n");
        }
        hold(stream);
    });
    for expected in [Some("\"later\""), None] {
        let urls = server.urls(1);
        let report = run(&["--urls", urls.path(), "--json"]).with_code(2).report();
        assert_eq!(report.failures.get("status 503"), Some(&1), "{report:?}");
        assert_eq!(report.examples[0].detail.as_deref(), expected);
    }
}

/// Waits as long as it takes to be sure that what was sent before arrives by itself.
fn hold_until_quiet(stream: &mut std::net::TcpStream) {
    stream.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
    let _ = stream.read(&mut [0; 1]);
    stream.set_read_timeout(None).unwrap();
}

#[test]
fn neither_terminal_nor_json_are_harmed_by_what_a_server_says() {
    let answer = "HTTP/1.1 500 No\r\nLocation: /\u{202e}gpj.exe\r\nContent-Type: text/\u{202e}x\r\n\
                  \r\n\x1b]0;owned\x07\x1b[2J\u{2066}\u{9b}31m\r\n";
    let server = Server::saying(answer);
    let urls = server.urls(1);
    for flags in [&["--json"][..], &[]] {
        let ended = run(&[&["--urls", urls.path()], flags].concat()).with_code(2);
        let is_harmless = |char: char| {
            char == '\n' || !char.is_control() && !"\u{202e}\u{2066}\u{2069}".contains(char)
        };
        assert!(ended.stdout.chars().all(is_harmless), "{ended}");
        assert!(ended.stdout.contains("owned"), "{ended}");
    }
}

#[test]
fn any_success_establishes_a_connection_where_that_is_asked_for() {
    let answer = "HTTP/1.1 201 Created\r\nContent-Length: 9\r\nContent-Type: x/y\r\n\r\nhi";
    let server = Server::holding(answer);
    let urls = server.urls(2);
    let args = ["--urls", urls.path(), "--json", "--hold", "0s"];
    assert_eq!(run(&args).with_code(2).report().failures.get("status 201"), Some(&2));
    let report = run(&[&args[..], &["--status", "2xx"]].concat()).with_code(0).report();
    assert_eq!((report.established, report.content_types.get("x/y")), (2, Some(&2)));
    let (failures, _) = detail("HTTP/1.1 204 Nothing\r\n\r\n", &["--status", "2xx"]);
    assert_eq!(failures, BTreeMap::from([("status 204".to_owned(), 1)]));
}

#[test]
fn kinds_of_content_are_counted_and_bounded() {
    // Twenty kinds get a name, those of the first heads. So the others wait until the connections
    // 1 to 3, which count here, have theirs.
    let n_named = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start_by_id(move |id, stream| {
        use std::sync::atomic::Ordering::SeqCst;
        if id > 3 {
            wait_until("three heads are sent", || n_named.load(SeqCst) == 3);
        }
        let kind = match id {
            1 => String::new(),
            2 | 3 => "Content-Type: Text/Event-Stream; charset=utf-8\r\n".to_owned(),
            id => format!("Content-Type: x/{id}\r\n"),
        };
        send(stream, &format!("HTTP/1.1 200 OK\r\n{kind}\r\n"));
        if id <= 3 {
            n_named.fetch_add(1, SeqCst);
        }
        hold(stream);
    });
    let urls = server.urls(40);
    let args = ["--urls", urls.path(), "--json", "--hold", "0s", "--rate", "max"];
    let report = run(&args).with_code(0).report();
    let kinds = &report.content_types;
    assert_eq!(kinds.values().sum::<u64>(), 40, "{kinds:?}");
    assert_eq!((kinds.get("none"), kinds.get("text/event-stream")), (Some(&1), Some(&2)));
    assert!(kinds.len() <= 21 && kinds["other"] > 10, "{kinds:?}");
}

#[test]
fn a_status_line_without_its_second_space_is_taken_and_counted() {
    let server = Server::holding("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhi");
    let urls = server.urls(2);
    let args = ["--urls", urls.path(), "--json", "--hold", "0s"];
    let report = run(&args).with_code(0).report();
    assert_eq!(report.established, 2);
    assert!(report.notes[0].starts_with("2 responses began with a status that no space follows"));
}
