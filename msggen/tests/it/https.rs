//! Servers with `https` URLs. The certificates in `tls` were made with openssl for these tests and
//! are valid for a hundred years: `server.pem` is signed by `ca.pem`, and `own.pem` is what
//! `openssl req -x509` makes, which says that it is an authority's.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::{FakeServer, msggen, read_request};

/// A file beside these tests.
pub(crate) fn file(name: &str) -> String {
    format!("{}/tests/it/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A control door that speaks TLS with the certificate `name`, and answers every request alike.
fn serve(name: &str) -> SocketAddr {
    serve_tls(name, |mut stream| {
        while read_request(&mut BufReader::with_capacity(1, &mut stream)).is_some() {
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"connections\":1}";
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// A connection within TLS, at the server's end.
type TlsStream = StreamOwned<ServerConnection, TcpStream>;

/// A server that speaks TLS with the certificate `name`, and does with connections what `script`
/// says.
pub(crate) fn serve_tls(
    name: &str,
    script: impl Fn(TlsStream) + Send + Sync + 'static,
) -> SocketAddr {
    let certificate = CertificateDer::from_pem_file(file(&format!("{name}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap();
    let provider = Arc::new(rustls_graviola::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (config, script) = (Arc::new(config), Arc::new(script));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = StreamOwned::new(connection, stream.unwrap());
            let script = Arc::clone(&script);
            std::thread::spawn(move || script(stream));
        }
    });
    address
}

#[test]
fn messages_go_over_tls_to_control_doors_and_to_other_servers() {
    let flags = "--num 20 --interval 0 --max 9 --sources 3 --stamp --json";
    for (certificate, trust) in [
        ("server", format!("--ca {}", file("ca.pem"))),
        ("server", "--insecure".to_owned()),
        // The very certificate that the server has.
        ("own", format!("--ca {}", file("own.pem"))),
    ] {
        let address = serve(certificate);
        for way in ["--in-flight 4 --server", "--to"] {
            let port = address.port();
            let run = msggen(&format!("{flags} {trust} {way} https://localhost:{port}")).code(0);
            run.assert(run.balanced()["answered"] == 60, "all answered");
        }
    }
}

#[test]
fn a_server_that_is_not_trusted_or_speaks_no_tls_is_named_before_the_run() {
    let flags = "--num 1 --interval 0 --max 9";
    let (server, own) = (serve("server").port(), serve("own").port());
    let plain = FakeServer::open();
    for way in ["--server", "--to"] {
        for (trust, port, host, why) in [
            (format!("--ca {}", file("own.pem")), server, "localhost", "UnknownIssuer"),
            (format!("--ca {}", file("ca.pem")), own, "localhost", "invalid peer certificate"),
            (format!("--ca {}", file("ca.pem")), plain.address().port(), "localhost", "no TLS"),
            (format!("--ca {}", file("own.pem")), own, "[::ffff:127.0.0.1]", "certificate"),
        ] {
            let run = msggen(&format!("{flags} {trust} {way} https://{host}:{port}")).code(2);
            let run = run.says("msggen: no TLS with https://").says(&format!(":{port}: "));
            run.says(why).says("--ca names a certificate to trust, --insecure trusts all");
        }
    }
    let flags = format!("{flags} --server https://localhost:{server}");
    for (ca, why) in [
        ("/no/ca".to_owned(), "msggen: cannot read the certificates of /no/ca: "),
        (file("server.key"), "msggen: no certificates to trust in "),
    ] {
        msggen(&format!("{flags} --ca {ca}")).code(2).says(why);
    }
}
