//! Requests that are refused, and with which status. The unit tests cut them at every byte; the
//! tests with a real server send them in two parts.

/// A refused request: its bytes, and the status of the answer.
pub(crate) type Case = (Vec<u8>, u16);

/// What ends a good request.
const END: &str = " HTTP/1.1\r\nHost: x\r\n\r\n";

/// All of them, each once.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |status, head: &[u8]| cases.push((head.to_vec(), status));
    for byte in 0..=255_u8 {
        let with =
            |before: &str, after: &str| [before.as_bytes(), &[byte], after.as_bytes()].concat();
        if !is_token(byte) {
            add(400, &with("G", "ET /test/1 HTTP/1.1\r\nHost: x\r\n\r\n"));
            if byte != b':' {
                add(400, &with("GET /test/1 HTTP/1.1\r\nHost: x\r\nX", "Y: z\r\n\r\n"));
            }
        }
        if !byte.is_ascii_alphanumeric() && !b"-._~!$&'()*+,;=:@/?".contains(&byte) {
            add(400, &with("GET /elsewhere", END));
        }
        if byte <= b' ' || byte == 127 {
            add(400, &with("GET /test/1?a", END));
        }
        if !byte.is_ascii_alphanumeric() && !b"-._~!$&'()*+,;=:".contains(&byte) {
            add(400, &with("GET /test/1 HTTP/1.1\r\nHost: x", "y\r\n\r\n"));
        }
        if byte != b'\t' && (byte < b' ' || byte == 127) {
            add(400, &with("GET /test/1 HTTP/1.1\r\nHost: x\r\nX: y", "z\r\n\r\n"));
        }
    }
    for line in REQUEST_LINES {
        add(400, format!("{line}\r\nHost: x\r\n\r\n").as_bytes());
    }
    for fields in FIELDS {
        add(400, format!("GET /test/1 HTTP/1.1\r\n{fields}\r\n").as_bytes());
    }
    for (status, fields) in UPGRADES {
        add(status, format!("GET /test/1 HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes());
    }
    for head in HEADS {
        add(400, head.as_bytes());
    }
    for ids in IDS {
        add(400, format!("GET /test/{ids}{END}").as_bytes());
    }
    for (status, line) in OTHERS {
        add(status, format!("{line}{END}").as_bytes());
    }
    let gzip = "Transfer-Encoding: gzip, chunked";
    add(501, format!("GET /test/1 HTTP/1.1\r\nHost: x\r\n{gzip}\r\n\r\n").as_bytes());
    oversize(&mut add);
    cases
}

/// What is over a limit.
fn oversize(add: &mut impl FnMut(u16, &[u8])) {
    let many_ids = vec!["1"; 1_025].join(",");
    add(400, format!("GET /test/{many_ids}{END}").as_bytes());
    let field = |n| format!("X: {}\r\n", "x".repeat(n));
    let head = |fields: &str| format!("GET /test/1 HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    // 8,193 bytes, all of them good.
    let n_before = head(&field(0)).len();
    add(431, head(&field(8_193 - n_before)).as_bytes());
    add(431, head(&"A: b\r\n".repeat(100)).as_bytes());
    add(431, format!("GET /{}", "x".repeat(8_192)).as_bytes());
    add(431, "x".repeat(8_192).as_bytes());
    add(431, format!("\r\n{}", "x".repeat(8_190)).as_bytes());
    // What is wrong behind the limit is not looked at.
    add(431, format!("GET / HTTP/1.1\r\nX: {}\n\n", "x".repeat(8_192)).as_bytes());
    add(431, format!("{}\0\r\n\r\n", head(&"A: b\r\n".repeat(101)).trim_end()).as_bytes());
}

/// Whether a byte may be in a method or a field name.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Request lines that are none.
const REQUEST_LINES: [&str; 56] = [
    "GET",
    "GET ",
    "GET /test/1",
    "GET /test/1 ",
    "GET  HTTP/1.1",
    "GET HTTP/1.1",
    " GET /test/1 HTTP/1.1",
    "GET  /test/1 HTTP/1.1",
    "GET /test/1  HTTP/1.1",
    "GET /test/1 HTTP/1.1 ",
    "GET\t/test/1 HTTP/1.1",
    "GET /test/1\tHTTP/1.1",
    "GET /test/1 HTTP/1.1\t",
    "GET /test/1 x HTTP/1.1",
    "/test/1 HTTP/1.1",
    "GET/test/1 HTTP/1.1",
    "GET /test/1HTTP/1.1",
    "GET: /test/1 HTTP/1.1",
    "\"GET\" /test/1 HTTP/1.1",
    "GET /test/1 HTTP",
    "GET /test/1 HTTP/",
    "GET /test/1 HTTP/1",
    "GET /test/1 HTTP/1.",
    "GET /test/1 HTTP/.1",
    "GET /test/1 HTTP/1.2",
    "GET /test/1 HTTP/1.10",
    "GET /test/1 HTTP/1.11",
    "GET /test/1 HTTP/01.1",
    "GET /test/1 HTTP/11",
    "GET /test/1 HTTP/1,1",
    "GET /test/1 HTTP/1.1.1",
    "GET /test/1 HTTP/0.9",
    "GET /test/1 HTTP/2",
    "GET /test/1 HTTP/2.0",
    "GET /test/1 HTTP/3.0",
    "GET /test/1 HTTP/-1.1",
    "GET /test/1 HTTP/+1.1",
    "GET /test/1 HTTP/1.x",
    "GET /test/1 HTTP /1.1",
    "GET /test/1 HTTP/ 1.1",
    "GET /test/1 http/1.1",
    "GET /test/1 Http/1.1",
    "GET /test/1 HTTPS/1.1",
    "GET /test/1 ICY/1.1",
    "GET /test/1 1.1",
    "PRI * HTTP/2.0",
    "GET * HTTP/1.1",
    "GET test/1 HTTP/1.1",
    "GET ?x HTTP/1.1",
    "GET x:80 HTTP/1.1",
    "GET https://x/test/1 HTTP/1.1",
    "GET ftp://x/test/1 HTTP/1.1",
    "GET http:///test/1 HTTP/1.1",
    "GET http://u@x/test/1 HTTP/1.1",
    "GET http://[::1/test/1 HTTP/1.1",
    "GET http://x:y/test/1 HTTP/1.1",
];

/// Fields that make a good request line a bad request.
const FIELDS: [&str; 57] = [
    "",
    "X: y\r\n",
    "Hosts: x\r\n",
    "Host: x\r\nHost: x\r\n",
    "Host: x\r\nhost: y\r\n",
    "Host: x\r\nHost:\r\n",
    "Host x\r\n",
    "Host : x\r\n",
    "Host\t: x\r\n",
    " Host: x\r\n",
    "\tHost: x\r\n",
    ": x\r\n",
    "Host: x, y\r\n",
    "Host: x:80:80\r\n",
    "Host: x:port\r\n",
    "Host: x:123456\r\n",
    "Host: x:-1\r\n",
    "Host: http://x\r\n",
    "Host: x/\r\n",
    "Host: u@x\r\n",
    "Host: [::1\r\n",
    "Host: [::g]\r\n",
    "Host: [::1]x\r\n",
    "Host: ::1\r\n",
    "Host: []\r\n",
    "Host: %\r\n",
    "Host: x%2\r\n",
    "Host: x\r\n folded\r\n",
    "Host: x\r\n\tfolded\r\n",
    "Host: x\r\nX: y\r\n z\r\n",
    "Host: x\r\nX\r\n",
    "Host: x\r\nX \r\n",
    "Host: x\r\n\r: y\r\n",
    "Host: x\r\nX: \ry\r\n",
    "Host: x\r\nX: y\r\r\n",
    "Host: x\r\nX:\r\r\n",
    "Host: x\r\nContent-Length:\r\n",
    "Host: x\r\nContent-Length: x\r\n",
    "Host: x\r\nContent-Length: -1\r\n",
    "Host: x\r\nContent-Length: +1\r\n",
    "Host: x\r\nContent-Length: 0x1\r\n",
    "Host: x\r\nContent-Length: 1 2\r\n",
    "Host: x\r\nContent-Length: 1,1\r\n",
    "Host: x\r\nContent-Length: 1.0\r\n",
    "Host: x\r\nContent-Length: 18446744073709551616\r\n",
    "Host: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
    "Host: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
    "Host: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
    "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    "Host: x\r\nTransfer-Encoding:\r\n",
    "Host: x\r\nTransfer-Encoding: gzip\r\n",
    "Host: x\r\nTransfer-Encoding: identity\r\n",
    "Host: x\r\nTransfer-Encoding: xchunked\r\n",
    "Host: x\r\nTransfer-Encoding: \"chunked\"\r\n",
    "Host: x\r\nTransfer-Encoding: chunked, gzip\r\n",
    "Host: x\r\nTransfer-Encoding: chunked, chunked\r\n",
    "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
];

/// Heads that are wrong elsewhere, and bytes of other protocols.
const HEADS: [&str; 31] = [
    "\r\n\r\nGET /test/1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "\r\n\nGET /test/1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "\r\n GET /test/1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "\rGET /test/1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "\r\n\rGET /test/1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "\nGET /test/1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "\r\n\r\n",
    "\n",
    "\0",
    "GET /test/1 HTTP/1.1\nHost: x\n\n",
    "GET /test/1 HTTP/1.1\nHost: x\r\n\r\n",
    "GET /test/1 HTTP/1.1\r\nHost: x\n\r\n",
    "GET /test/1 HTTP/1.1\r\nHost: x\r\n\n",
    "GET /test/1 HTTP/1.1\r\nHost: x\r\nX:\n\r\n",
    "GET /test/1 HTTP/1.1\r\nHost:\n x\r\n\r\n",
    "GET /test/1 HTTP/1.1\rHost: x\r\r",
    "GET /test/1 HTTP/1.1\r\rHost: x\r\n\r\n",
    "GET /test/1 HTTP/1.1\r\nHost: x\r\n\r\r\n",
    "GET /test/1 HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET /test/1 HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
    "HEAD /test/1 HTTP/1.1\r\n\r\n",
    "POST /test/1 HTTP/1.1\r\n\r\n",
    "PUT /test/1 HTTP/1.1\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\n",
    "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
    "SSH-2.0-OpenSSH_9.2\r\n",
    "*1\r\n$4\r\nPING\r\n",
    "{\"id\":1,\"msg\":\"x\"}\n",
    "EHLO x\r\n",
    "\u{feff}GET /test/1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "<policy-file-request/>\0",
];

/// What are no ids.
const IDS: [&str; 33] = [
    "",
    "0",
    "00",
    "-1",
    "+1",
    "1.0",
    "1e3",
    "0x1",
    "abc",
    "1a",
    "a1",
    "%31",
    "1%2C2",
    "1%20",
    ",",
    "1,",
    ",1",
    "1,,2",
    "1,0",
    "1,x",
    "1;2",
    "1+2",
    "1-2",
    "1_000",
    "1'000",
    "1/",
    "1/2",
    "/1",
    "//1",
    "~",
    "9223372036854775808",
    "18446744073709551616",
    "1,99999999999999999999999",
];

/// Requests that are well-formed and not served.
const OTHERS: [(u16, &str); 30] = [
    (501, "PUT /test/1"),
    (501, "DELETE /test/1"),
    (501, "PATCH /test/1"),
    (501, "TRACE /test/1"),
    (501, "OPTIONS /test/1"),
    (501, "OPTIONS *"),
    (501, "CONNECT x:80"),
    (501, "get /test/1"),
    (501, "Get /test/1"),
    (501, "GETT /test/1"),
    (501, "GE /test/1"),
    (501, "PROPFIND /"),
    (501, "! /"),
    (404, "POST /test/1"),
    (404, "POST /"),
    (404, "POST /send/1"),
    (404, "GET /test"),
    (404, "GET /tests/1"),
    (404, "GET /Test/1"),
    (404, "GET /test%2F1"),
    (404, "GET /%74est/1"),
    (404, "GET //test/1"),
    (404, "GET /./test/1"),
    (404, "GET /x/../test/1"),
    (404, "GET /index.html"),
    (404, "GET /send/1"),
    (404, "GET /stats"),
    (404, "GET /favicon.ico"),
    (404, "GET http://x/y"),
    (404, "HEAD /elsewhere"),
];

/// What all requests for a WebSocket have; and the version.
macro_rules! upgrade {
    ($rest:literal) => {
        concat!("Connection: Upgrade\r\nUpgrade: websocket\r\n", $rest)
    };
    (13, $rest:literal) => {
        upgrade!("Sec-WebSocket-Version: 13\r\n", $rest)
    };
    ($first:literal, $rest:literal) => {
        concat!("Connection: Upgrade\r\nUpgrade: websocket\r\n", $first, $rest)
    };
}

/// Requests for a WebSocket that ask for it wrongly.
const UPGRADES: [(u16, &str); 16] = [
    (400, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
    (400, "Upgrade: websocket\r\nConnection: close\r\nSec-WebSocket-Version: 13\r\n"),
    (400, upgrade!(13, "")),
    (426, upgrade!("")),
    (426, upgrade!("Sec-WebSocket-Version: 8\r\n")),
    (426, upgrade!("Sec-WebSocket-Version: 013\r\n")),
    (426, upgrade!("Sec-WebSocket-Version: 13, 13\r\n")),
    (426, upgrade!("Sec-WebSocket-Version:\r\n")),
    (400, upgrade!(13, "Sec-WebSocket-Version: 13\r\n")),
    (400, upgrade!(13, "Sec-WebSocket-Key:\r\n")),
    (400, upgrade!(13, "Sec-WebSocket-Key: x\r\n")),
    (400, upgrade!(13, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA\r\n")),
    (400, upgrade!(13, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n")),
    (400, upgrade!(13, "Sec-WebSocket-Key: \u{e4}AAAAAAAAAAAAAAAAAAAAA==\r\n")),
    (400, upgrade!(13, "Content-Length: 1\r\n")),
    (400, upgrade!("Transfer-Encoding: chunked\r\nSec-WebSocket-Version: 13\r\n")),
];

/// That there are as many as were asked for, and each once.
#[test]
fn there_are_at_least_300_different_ones() {
    let cases = cases();
    let different: std::collections::BTreeSet<_> = cases.iter().map(|(head, _)| head).collect();
    assert_eq!(different.len(), cases.len());
    assert!(cases.len() >= 300, "{}", cases.len());
}
