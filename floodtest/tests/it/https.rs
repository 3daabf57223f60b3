//! `https://` URLs: the same counts over TLS.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use reports::books::ByReason;
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::support::{OUR_HEAD, Server, UrlFile, messages, run, start, start_limited};

/// Whom to trust, for the certificate of the server below. Made with openssl for these tests, and
/// valid for a hundred years.
pub(crate) const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.pem");

/// One connection of a server that speaks TLS.
pub(crate) type Stream = StreamOwned<ServerConnection, TcpStream>;

/// A server that speaks TLS, and does to each connection what its script says.
fn serve(script: impl Fn(&mut Stream) + Send + Sync + 'static) -> SocketAddr {
    serve_as("server", None, script)
}

/// The same with a certificate by its name; it asks for those that `clients` have signed.
pub(crate) fn serve_as(
    name: &str,
    clients: Option<&str>,
    script: impl Fn(&mut Stream) + Send + Sync + 'static,
) -> SocketAddr {
    serve_requests(name, clients, move |_, stream| script(stream))
}

/// The same with a script that gets the request.
pub(crate) fn serve_requests(
    name: &str,
    clients: Option<&str>,
    script: impl Fn(&str, &mut Stream) + Send + Sync + 'static,
) -> SocketAddr {
    let file = |name: &str| format!("{}/tests/it/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let certificate = CertificateDer::from_pem_file(file(&format!("{name}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls_graviola::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(file(clients)).unwrap()).unwrap();
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            config.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let config = config.with_single_cert(vec![certificate], key).unwrap();
    let (config, script) = (Arc::new(config), Arc::new(script));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (config, script) = (Arc::clone(&config), Arc::clone(&script));
            std::thread::spawn(move || {
                let connection = ServerConnection::new(config).unwrap();
                let mut stream = StreamOwned::new(connection, stream.unwrap());
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") {
                    match stream.read(&mut byte) {
                        Ok(1) => request.push(byte[0]),
                        _ => return,
                    }
                }
                script(&String::from_utf8(request).unwrap(), &mut stream);
            });
        }
    });
    address
}

/// URLs of ids 1 to `n` at `host`.
pub(crate) fn urls(host: &str, address: SocketAddr, n: u32) -> UrlFile {
    let port = address.port();
    let lines: Vec<_> = (1..=n).map(|id| format!("https://{host}:{port}/test/{id}")).collect();
    UrlFile::of(&lines.join("\n"))
}

/// Sends `text`, if the client is still there.
pub(crate) fn send(stream: &mut Stream, text: &str) {
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}

/// Failures and closures of a run against a server.
#[track_caller]
fn endings(args: &[&str]) -> (ByReason, ByReason, Option<String>) {
    let report = run(&[args, &["--json"]].concat()).report();
    let detail = report.examples.first().and_then(|example| example.detail.clone());
    (report.failures, report.closures, detail)
}

#[test]
fn chunks_are_counted_by_framing_over_tls_as_well() {
    // In one record, in several, and with a record's border in every place of a chunk.
    let address = serve(|stream| {
        send(stream, OUR_HEAD);
        send(stream, &messages(&[1, 2, 3]));
        messages(&[4, 6, 5]).chars().for_each(|char| send(stream, &char.to_string()));
        let _ = stream.read(&mut [0]);
    });
    for host in ["localhost", "127.0.0.1"] {
        let urls = urls(host, address, 20);
        let args = ["--urls", urls.path(), "--ca", CA, "--rate", "max", "--json"];
        let mut running = start(&[&args[..], &["--report", "20ms"]].concat());
        running.wait_for(|report| report.connected == 20 && report.chunks == 120);
        running.signal(Signal::INT);
        let report = running.end().with_code(1).report();
        assert_eq!((report.connected, report.chunks, report.unnumbered), (20, 120, 0));
        assert_eq!((report.lost.unwrap(), report.reordered.unwrap()), (0, 20), "{report:?}");
    }
}

#[test]
fn a_chunk_larger_than_any_record_is_one_chunk() {
    let address = serve(|stream| {
        send(stream, OUR_HEAD);
        send(stream, &format!("{:x}\r\n{}\r\n0\r\n\r\n", 1_000_000, "x".repeat(1_000_000)));
        let _ = stream.read(&mut [0]);
    });
    let urls = urls("localhost", address, 2);
    let ended = run(&["--urls", urls.path(), "--ca", CA, "--json"]).with_code(1);
    let report = ended.report();
    assert_eq!((report.chunks, report.closed), (2, 2), "{ended}");
    assert_eq!(report.closures, ByReason::from([("ended".to_owned(), 2)]), "{ended}");
}

#[test]
fn ended_and_cut_are_told_apart() {
    let address = serve(|stream| {
        send(stream, &format!("{OUR_HEAD}{}", messages(&[1])));
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    let urls = urls("localhost", address, 1);
    let (_, closures, _) = endings(&["--urls", urls.path(), "--ca", CA]);
    assert_eq!(closures, ByReason::from([("cut".to_owned(), 1)]));
    // Where the close is the end, only TLS itself can say that it was the server's.
    for (says_goodbye, reason) in [(true, "ended"), (false, "cut")] {
        let address = serve(move |stream| {
            send(stream, "HTTP/1.1 200 OK\r\n\r\nuntil the close");
            if says_goodbye {
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        let urls = self::urls("localhost", address, 1);
        let (_, closures, _) = endings(&["--urls", urls.path(), "--ca", CA]);
        assert_eq!(closures, ByReason::from([(reason.to_owned(), 1)]));
    }
}

#[test]
fn a_server_that_is_not_trusted_or_speaks_no_tls_is_named() {
    let bad_tls = |n| ByReason::from([("bad tls".to_owned(), n)]);
    let address = serve(|stream| send(stream, OUR_HEAD));
    let local = urls("localhost", address, 2);
    let (failures, _, detail) = endings(&["--urls", local.path()]);
    assert_eq!(failures, bad_tls(2));
    assert!(detail.unwrap().contains("nobody who is trusted has signed"));
    let other = urls("127.0.0.2", address, 1);
    let (failures, ..) = endings(&["--urls", other.path(), "--ca", CA]);
    assert_eq!(failures, ByReason::from([("refused".to_owned(), 1)]));

    // One that speaks plain HTTP takes the hello for a bad request.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain_urls = urls("127.0.0.1", plain.local_addr().unwrap(), 1);
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let (failures, _, detail) = endings(&["--urls", plain_urls.path(), "--ca", CA]);
    assert_eq!(failures, bad_tls(1));
    assert_eq!(detail.unwrap(), "this port speaks plain HTTP; write http:// in the URL");
    answering.join().unwrap();
}

#[test]
fn a_file_of_certificates_that_has_none_is_refused_before_any_connect() {
    let file = UrlFile::of("no certificate\n");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let urls = urls("localhost", listener.local_addr().unwrap(), 1);
    run(&["--urls", urls.path(), "--ca", file.path()]).with_code(2).saying(&format!(
        "no certificates to trust in {}; name a PEM file of them with --ca",
        file.path()
    ));
    run(&["--urls", urls.path(), "--ca", "/nowhere/ca.pem"])
        .with_code(2)
        .mentioning("cannot read the certificates of /nowhere/ca.pem");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn workers_and_plain_urls_go_together_with_tls() {
    let address = serve(|stream| {
        send(stream, &format!("{OUR_HEAD}{}", messages(&[1, 2])));
        let _ = stream.read(&mut [0]);
    });
    let plain = Server::start(|_, stream| {
        crate::support::send(stream, &format!("{OUR_HEAD}{}", messages(&[1, 2])));
        crate::support::hold(stream);
    });
    let (secure, open) = (urls("localhost", address, 40), plain.urls(40));
    let both = [secure.path(), open.path()].map(|path| fs::read_to_string(path).unwrap());
    let urls = UrlFile::of(&both.join("\n"));
    let args = ["--urls", urls.path(), "--ca", CA, "--rate", "max", "--json", "--report", "20ms"];
    let mut running = start_limited(100, &args);
    running.wait_for(|report| report.connected == 80 && report.chunks == 160);
    running.signal(Signal::INT);
    running.end().with_code(0);
}
