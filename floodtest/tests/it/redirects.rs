//! Redirects: named, and followed where that is asked for.

use std::net::TcpListener;

use crate::support::{OUR_HEAD, Server, UrlFile, hold, run, send};

/// A server that redirects to `to` what does not ask for /end, and holds what does.
fn redirecting(
    status: &'static str,
    to: impl Fn(&str) -> String + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    Server::start_on_requests(listener, move |request, stream| {
        let path = request.split(' ').nth(1).unwrap();
        if path == "/end" {
            send(stream, OUR_HEAD);
        } else {
            let to = to(path).replace("{at}", &address);
            let head = format!("HTTP/1.1 {status} \r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
            send(stream, &head);
        }
        hold(stream);
    })
}

#[test]
fn a_redirect_is_named_and_not_followed_by_itself() {
    let server = redirecting("302", |_| "/end".to_owned());
    let urls = server.urls(2);
    let report = run(&["--urls", urls.path(), "--json"]).with_code(2).report();
    assert_eq!(report.failures.get("status 302"), Some(&2));
    assert_eq!(report.examples[0].detail.as_deref(), Some("Location: /end"));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn redirects_are_followed_where_that_is_asked_for() {
    let server = redirecting("302", |path| match path {
        "/test/1" => "/a/../b".to_owned(),
        _ => "http://{at}/end".to_owned(),
    });
    let urls = server.urls(3);
    let args =
        ["--urls", urls.path(), "--json", "--hold", "0s", "--header", "Authorization: {place}"];
    let report = run(&[&args[..], &["--follow"]].concat()).with_code(0).report();
    assert_eq!((report.begun, report.established, report.failed), (3, 3, 0));
    assert_eq!(report.notes, ["4 redirects were followed"]);
    let requests = server.requests();
    let last: Vec<_> = requests.iter().filter(|it| it.text.starts_with("GET /end ")).collect();
    assert_eq!(last.len(), 3);
    for request in last {
        assert!(request.text.contains("Authorization: "), "the same server: {}", request.text);
    }
    let report = run(&[&args[..], &["--follow", "1"]].concat()).with_code(1).report();
    assert_eq!((report.established, report.failed), (2, 1));
    assert_eq!(
        report.examples[0].detail.as_deref(),
        Some(format!(
            "Location: http://{}/end; not followed: --follow allows no more redirects",
            server.address
        ))
        .as_deref()
    );
}

#[test]
fn a_redirect_without_end_is_not_followed_for_ever() {
    let server = redirecting("307", |_| "/again".to_owned());
    let urls = server.urls(1);
    let report = run(&["--urls", urls.path(), "--json", "--follow"]).with_code(2).report();
    assert_eq!(report.failures.get("status 307"), Some(&1));
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn another_server_does_not_learn_who_asks() {
    let other = Server::holding(OUR_HEAD);
    let to = format!("http://{}/end", other.address);
    let server = redirecting("303", move |_| to.clone());
    let urls = UrlFile::of(&format!("http://me:secret@{}/x\tbody\n", server.address));
    let flags = ["--method", "POST", "--body", "{1}", "--header", "Cookie: secret", "--follow"];
    let args = [&["--urls", urls.path(), "--hold", "0s"], &flags[..]].concat();
    run(&args).with_code(0);
    let first = &server.requests()[0].text;
    assert!(first.starts_with("POST /x ") && first.contains("Cookie: secret"), "{first}");
    let request = &other.requests()[0].text;
    assert!(request.starts_with("GET /end HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("Host: {}\r\n", other.address)), "{request}");
    for word in ["Authorization", "Cookie", "secret", "Content-Length"] {
        assert!(!request.contains(word), "{word}: {request}");
    }
}

#[test]
fn where_a_redirect_is_not_followed_to_is_said() {
    for (to, why) in [
        ("http://elsewhere.invalid/", "the URL file does not name its host"),
        ("ftp://elsewhere.invalid/", "it has no Location that is an http URL"),
        ("http://a b/", "it has no Location that is an http URL"),
    ] {
        let server = redirecting("301", move |_| to.to_owned());
        let urls = server.urls(1);
        let report = run(&["--urls", urls.path(), "--json", "--follow"]).with_code(2).report();
        let detail = report.examples[0].detail.clone().unwrap();
        assert_eq!(detail, format!("Location: {to}; not followed: {why}"));
    }
}
