//! Whom floodtest trusts, what it shows to servers, and what it says when either is refused.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use rustix::process::Signal;

use crate::https::{Stream, send, serve_as, urls};
use crate::support::{OUR_HEAD, UrlFile, run, start, start_command};

/// A file beside these tests. They were made with openssl and are valid for a hundred years, but
/// for the one that is not.
macro_rules! tls_file {
    ($name:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/", $name)
    };
}

/// Sends the head of a response, and waits for the end.
fn answer(stream: &mut Stream) {
    send(stream, OUR_HEAD);
    let _ = stream.read(&mut [0]);
}

/// Why the only connection to a server at `host` failed with these flags, or nothing.
fn fault(host: &str, address: SocketAddr, flags: &[&str]) -> Option<String> {
    let urls = urls(host, address, 1);
    let args = [&["--urls", urls.path(), "--json", "--hold", "0s"], flags].concat();
    let report = run(&args).report();
    assert_eq!(report.established + report.failed, 1, "{report:?}");
    report.examples.first().map(|example| {
        assert_eq!(example.reason, "bad tls");
        example.detail.clone().unwrap()
    })
}

#[test]
fn a_certificate_that_signed_itself_is_trusted_if_it_is_named() {
    // As `openssl req -x509` makes them: it says that it is an authority's.
    let address = serve_as("own", None, answer);
    assert_eq!(fault("localhost", address, &["--ca", tls_file!("own.pem")]), None);
    let other = fault("127.0.0.1", address, &["--ca", tls_file!("own.pem")]);
    assert_eq!(other.as_deref(), Some("its certificate is for another host"));
    let unnamed = fault("localhost", address, &["--ca", tls_file!("ca.pem")]).unwrap();
    assert!(unnamed.contains("--ca with this very certificate trusts it"), "{unnamed}");
    let expired = serve_as("expired", None, answer);
    let expired = fault("localhost", expired, &["--ca", tls_file!("expired.pem")]);
    assert_eq!(expired.as_deref(), Some("its certificate is not valid now"));
}

#[test]
fn any_certificate_is_taken_where_that_is_said_and_the_report_says_so() {
    for name in ["own", "expired", "server"] {
        let address = serve_as(name, None, answer);
        let urls = urls("127.0.0.1", address, 1);
        let args = ["--urls", urls.path(), "--insecure", "--json", "--hold", "0s"];
        let ended = run(&args).with_code(0);
        let note = "certificates of servers were not checked (--insecure)";
        assert_eq!(ended.report().notes, [note]);
        ended.saying(note);
    }
}

#[test]
fn a_client_certificate_is_shown_to_a_server_that_asks_for_one() {
    let address = serve_as("server", Some("client-ca.pem"), answer);
    let ca = ["--ca", tls_file!("ca.pem")];
    let shown = ["--cert", tls_file!("client.pem"), "--key", tls_file!("client.key")];
    assert_eq!(
        fault("localhost", address, &[ca, [shown[0], shown[1]], [shown[2], shown[3]]].concat()),
        None
    );
    assert_eq!(
        fault("localhost", address, &ca).as_deref(),
        Some(
            "the server asks for our certificate; --cert and --key name one \
             (certificate_required alert)"
        )
    );
    let strangers = ["--cert", tls_file!("own.pem"), "--key", tls_file!("own.key")];
    let refused = fault("localhost", address, &[&ca[..], &strangers].concat()).unwrap();
    assert!(refused.contains("our certificate (") && refused.ends_with(" alert)"), "{refused}");
}

#[test]
fn certificates_and_keys_are_checked_before_any_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let lines = urls("localhost", listener.local_addr().unwrap(), 1);
    let empty = UrlFile::of("nothing\n");
    let (cert, key) = (tls_file!("client.pem"), tls_file!("client.key"));
    for (cert, key, words) in [
        (empty.path(), key, format!("no certificate in {}; --cert names", empty.path())),
        (cert, empty.path(), format!("no private key in {}; --key names", empty.path())),
        (cert, tls_file!("own.key"), format!("cannot use the key of {}", tls_file!("own.key"))),
        ("/nowhere", key, "cannot read the certificates of /nowhere: ".to_owned()),
        (cert, "/nowhere", "cannot read the private key of /nowhere: ".to_owned()),
    ] {
        for more in [&[][..], &["--plan"]] {
            let args = ["--urls", lines.path(), "--cert", cert, "--key", key];
            let ended = run(&[&args[..], more].concat()).with_code(2);
            let ended = ended.mentioning(&format!("floodtest: {words}"));
            assert!(!ended.stderr.contains("PRIVATE KEY"), "{ended}");
        }
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn four_alerts_have_four_texts_with_their_names() {
    let alerts = [
        (42, "bad_certificate"),
        (48, "unknown_ca"),
        (70, "protocol_version"),
        (112, "unrecognized_name"),
    ];
    let mut texts = BTreeSet::new();
    for (number, name) in alerts {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 2_000]);
            stream.write_all(&[0x15, 3, 3, 0, 2, 2, number]).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let text = fault("localhost", address, &["--ca", tls_file!("ca.pem")]).unwrap();
        server.join().unwrap();
        assert!(text.ends_with(&format!("({name} alert)")), "{text}");
        texts.insert(text);
    }
    assert_eq!(texts.len(), alerts.len(), "{texts:?}");
}

#[test]
fn a_processor_that_lacks_something_is_named_before_any_connect() {
    if !cfg!(debug_assertions) {
        println!("SKIPPED: the cryptography can only be told in debug builds what it lacks");
        return;
    }
    let lines = UrlFile::of("https://localhost:1/test/1\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_floodtest"));
    command.args(["--urls", lines.path(), "--ca", tls_file!("ca.pem")]);
    for variable in ["GRAVIOLA_CPU_DISABLE_avx2", "GRAVIOLA_CPU_DISABLE_aes"] {
        command.env(variable, "1");
    }
    start_command(command).end().with_code(2).mentioning(
        "floodtest: cannot hold https:// URLs on this processor: the cryptography needs",
    );
}

#[test]
fn a_handshake_that_stands_still_costs_little() {
    const N: u64 = 1_500;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        listener.incoming().for_each(|stream| silent.push(stream));
    });
    let urls = urls("localhost", address, u32::try_from(N).unwrap());
    let flags = ["--rate", "1000", "--connect-timeout", "60s", "--json", "--report", "100ms"];
    let args = [&["--urls", urls.path(), "--ca", tls_file!("ca.pem")], &flags[..]].concat();
    let mut running = start(&args);
    let report = running.wait_for(|report| report.begun == N);
    running.signal(Signal::INT);
    running.end().with_code(2);
    // 14.5 KB before, and 2 KB of them are the program's own at so few.
    let each = (report.rss_kb - report.rss_start_kb) * 1024 / N;
    assert!(each < 9_000, "{each} bytes a connection");
}
