//! Servers that break the protocol: each attack ends its own connection under its own name, and
//! costs no more memory than an honest server.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use reports::books::ByReason;
use rustix::process::Signal;

use crate::support::{OUR_HEAD, Server, chunk, hold, messages, run, send, start};

/// What a server says, and what becomes of the connection: the reason, and words of its detail.
const ATTACKS: [(&str, &str, &str); 24] = [
    ("5 \r\nhello\r\n", "bad chunk", "a size line"),
    ("0x5\r\nhello\r\n", "bad chunk", "a size line"),
    ("+5\r\nhello\r\n", "bad chunk", "a size line"),
    ("-5\r\nhello\r\n", "bad chunk", "a size line"),
    ("\r\nhello\r\n", "bad chunk", "a size line"),
    ("5\nhello\r\n", "bad chunk", "a size line"),
    ("5\rhello\r\n", "bad chunk", "a size line"),
    ("ffffffffffffffff0\r\n", "bad chunk", "64 bits"),
    ("5;a=\"\n\"\r\nhello\r\n", "bad chunk", "extension"),
    ("5\r\nhello", "cut", ""),
    ("5\r\nhello0\r\n\r\n", "bad chunk", "no CRLF"),
    ("4\r\nhello\r\n", "bad chunk", "no CRLF"),
    ("6\r\nhello\r\n0\r\n\r\n", "bad chunk", "no CRLF"),
    ("0\r\nno trailer\r\n\r\n", "bad chunk", "trailer"),
    ("0\r\nX: 1\n\r\n", "bad chunk", "trailer"),
    ("0\r\nX: 1\r\n\r\n", "ended", ""),
    ("5;a=b\r\nhello\r\n0\r\n\r\n", "ended", ""),
    ("000000000000000000005\r\nhello\r\n0\r\n\r\n", "ended", ""),
    ("", "cut", ""),
    ("f", "cut", ""),
    ("ff\r", "cut", ""),
    ("1\r\nx\r", "cut", ""),
    ("1\r\nx\r\n0\r\n\r", "cut", ""),
    ("0\r\n\r\nGET / HTTP/1.1\r\n\r\n", "ended", ""),
];

#[test]
fn each_attack_ends_its_own_connection_under_its_own_name() {
    let n_attacks = ATTACKS.len() as u64;
    // The one behind the attackers is honest, and is to be heard to its end.
    let server = Server::start_by_id(move |id, stream| {
        send(stream, OUR_HEAD);
        if let Some((text, ..)) = ATTACKS.get(id - 1) {
            send(stream, text);
        } else {
            send(stream, &messages(&[1, 2, 3]));
            hold(stream);
        }
    });
    let urls = server.urls(n_attacks + 1);
    let mut running =
        start(&["--urls", urls.path(), "--rate", "max", "--json", "--report", "20ms"]);
    running.wait_for(|report| report.closed == n_attacks && report.chunks == 6);
    running.signal(Signal::INT);
    let report = running.end().with_code(1).report();

    let mut expected = ByReason::new();
    let mut first = BTreeMap::new();
    for (k, (_, reason, detail)) in ATTACKS.iter().enumerate() {
        *expected.entry((*reason).to_owned()).or_default() += 1;
        first.entry((*reason, *detail)).or_insert(k + 1);
    }
    assert_eq!(report.closures, expected);
    assert_eq!((report.connected, report.failed, report.lost.unwrap()), (1, 0, 0), "{report:?}");
    assert_eq!(report.examples.len(), first.len(), "{:?}", report.examples);
    for ((reason, detail), id) in first {
        let url = format!("http://{}/test/{id}", server.address);
        let is_so = |example: &reports::books::Example| {
            let has_detail = example.detail.as_ref().is_some_and(|it| it.contains(detail));
            example.reason == reason && example.url == url && (detail.is_empty() || has_detail)
        };
        assert!(report.examples.iter().any(is_so), "{reason} {detail}: {:?}", report.examples);
    }
}

#[test]
fn heads_of_all_kinds_are_taken_or_named() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(17_000));
    let heads: [(&str, &str, &str); 10] = [
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 \
          OK\r\n\
          Content-Length: 2\r\n\r\nab",
            "ended",
            "",
        ),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end", "ended", ""),
        ("HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\ncut", "cut", ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "ended", ""),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "status 101", ""),
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\nab", "bad head", "status line"),
        ("HTTP/1.1 200 OK\r\nNo colon\r\n\r\n", "bad head", "colon"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            "bad head",
            "contradictory",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "bad head", "contradictory"),
        (&long, "bad head", "longer than 16 KiB"),
    ];
    for (head, reason, detail) in heads {
        let server = Server::saying(head);
        let urls = server.urls(1);
        let ended = run(&["--urls", urls.path(), "--json"]);
        let report = ended.report();
        let reasons: ByReason = report.failures.into_iter().chain(report.closures).collect();
        assert_eq!(reasons, ByReason::from([(reason.to_owned(), 1)]), "{head:.60?}");
        let found = report.examples[0].detail.clone().unwrap_or_default();
        assert!(found.contains(detail), "{head:.60?}: {found}");
    }
}

#[test]
fn a_chunk_of_16_mib_is_one_chunk_and_is_never_held() {
    const N: u64 = 4;
    const CHUNK_BYTES: usize = 16 * 1024 * 1024;
    let server = Server::start(|_, stream| {
        send(stream, OUR_HEAD);
        send(stream, &format!("{CHUNK_BYTES:x}\r\nRecvd msg #1: '"));
        let piece = vec![b'x'; 1024 * 1024];
        let mut rest = CHUNK_BYTES - "Recvd msg #1: '".len();
        while rest > 0 {
            let n = rest.min(piece.len());
            stream.write_all(&piece[..n]).unwrap();
            rest -= n;
        }
        send(stream, &format!("\r\n{}", chunk("'<br/>Recvd msg #2: 'x'<br/>")));
        hold(stream);
    });
    let urls = server.urls(N);
    let mut running =
        start(&["--urls", urls.path(), "--rate", "max", "--json", "--report", "500ms"]);
    let report = running.wait_for(|report| report.chunks == 2 * N);
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most_kb: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    // A chunk would be 16,384 KB.
    let grown_kb = most_kb.saturating_sub(report.rss_start_kb);
    assert!(grown_kb < 8 * 1024, "{grown_kb} KB more than before the first connect");
    running.signal(Signal::INT);
    let report = running.end().with_code(0).report();
    assert_eq!((report.chunks, report.unnumbered, report.lost.unwrap()), (2 * N, 0, 0));
}
