//! Brokers with TLS, and their passwords.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;
use tempfile::TempDir;

use super::{Broker, line, node, send, send_lines, wait_for_health};
use crate::support::{DEADLINE, Server, run};

/// Certificates, made afresh.
struct Certificates(TempDir);

impl Certificates {
    /// One that signs (`ca`), one that it has signed for `localhost` and 127.0.0.1 (`signed`), and
    /// two that sign themselves, as people make them: for 127.0.0.1 (`own`), and for another host
    /// (`other`). Without openssl the test is skipped, unless it must not be.
    fn new() -> Option<Self> {
        for tool in ["openssl", "redis-server"] {
            let mut command = Command::new(tool);
            let command = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            if command.status().is_err() {
                testing::skip(tool);
                return None;
            }
        }
        let all = Self(TempDir::new().unwrap());
        let script = "
            new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2'
            openssl req -x509 $new -keyout ca.key -out ca.pem -subj /CN=ca
            openssl req $new -keyout signed.key -out signed.csr -subj /CN=broker
            echo subjectAltName=DNS:localhost,IP:127.0.0.1 >names
            openssl x509 -req -in signed.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
                -days 2 -extfile names -out signed.pem
            openssl req -x509 $new -keyout own.key -out own.pem -subj /CN=own \
                -addext subjectAltName=IP:127.0.0.1
            openssl req -x509 $new -keyout other.key -out other.pem -subj /CN=other \
                -addext subjectAltName=DNS:elsewhere";
        let mut command = Command::new("sh");
        let output = command.args(["-ec", script]).current_dir(all.0.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(all)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// A broker that shows a certificate, and where it speaks TLS.
    fn broker(&self, name: &str, more: &[&str]) -> (Broker, u16) {
        let [certificate, key, ca] =
            [format!("{name}.pem"), format!("{name}.key"), "ca.pem".into()]
                .map(|file| text(&self.path(&file)));
        let flags = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
        let flags = [&flags, &["--tls-ca-cert-file", &ca][..], more].concat();
        Broker::start_tls(&flags)
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// What a node says that does not come up.
fn refused(flags: &[&str]) -> String {
    let all = [flags, &["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"]].concat();
    let output = run(&all);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty() && !error.contains("secret"), "{error}");
    error
}

#[test]
fn nodes_and_their_broker_speak_tls() {
    let Some(certificates) = Certificates::new() else { return };
    let flags = ["--tls-auth-clients", "no", "--requirepass", "secret"];
    let (mut broker, port) = certificates.broker("signed", &flags);
    let password = certificates.path("password");
    std::fs::write(&password, "secret\n").unwrap();
    let (password, ca) = (text(&password), text(&certificates.path("ca.pem")));
    let flags = ["--cluster-password-file", &password[..], "--cluster-ca", &ca];
    let here = node(&format!("rediss://localhost:{port}"), &flags);
    let there = node(&format!("rediss://localhost:{port}"), &flags);
    let mut clients: Vec<_> = (1..=200).map(|id| there.follow(&id.to_string())).collect();
    let lines: String = (1..=200).map(|id| line(id, "by TLS")).collect();
    let (status, answer) = send_lines(&here, &lines);
    assert_eq!((status, &answer["subscribers"]), (200, &json!(200)), "{answer}");
    for client in &mut clients {
        client.expect_message(1, "by TLS");
    }
    // Larger than a record, and than what TLS holds back.
    let largest = "x".repeat(64 * 1024);
    for number in 2..=20 {
        let answer = send(&here, "7?count=exact", &largest);
        assert_eq!((&answer["connections"], &answer["exact"]), (&json!(1), &json!(true)));
        clients[6].expect_message(number, &largest);
    }
    broker.kill();
    wait_for_health(&there, 503);
    broker.start_again();
    wait_for_health(&there, 200);
    wait_for_health(&here, 200);
    send(&here, "8", "again");
    clients[7].expect_message(2, "again");
}

#[test]
fn a_certificate_that_signs_itself_is_taken_where_it_is_named() {
    let Some(certificates) = Certificates::new() else { return };
    let (_broker, port) = certificates.broker("own", &["--tls-auth-clients", "no"]);
    let url = format!("rediss://127.0.0.1:{port}");
    let own = text(&certificates.path("own.pem"));
    let node = node(&url, &["--cluster-ca", &own]);
    let mut client = node.follow("7");
    assert_eq!(send(&node, "7?count=exact", "one")["connections"], 1);
    client.expect_message(1, "one");
    // For another host it is not, nor is another one.
    let elsewhere = format!("rediss://localhost:{port}");
    let error = refused(&["--cluster", &elsewhere, "--cluster-ca", &own]);
    assert!(error.contains("another host"), "{error}");
    let other = text(&certificates.path("other.pem"));
    let error = refused(&["--cluster", &url, "--cluster-ca", &other]);
    assert!(error.contains("--cluster-ca"), "{error}");
}

#[test]
fn what_is_wrong_with_tls_is_said_in_a_sentence() {
    let Some(certificates) = Certificates::new() else { return };
    let ca = text(&certificates.path("ca.pem"));
    let (broker, port) = certificates.broker("signed", &["--tls-auth-clients", "yes"]);
    let with_ca = |url: &str| refused(&["--cluster", url, "--cluster-ca", &ca]);
    for (error, part) in [
        (refused(&["--cluster", &format!("rediss://127.0.0.1:{port}")]), "--cluster-ca FILE"),
        (with_ca(&format!("rediss://127.0.0.1:{port}")), "tls-auth-clients no"),
        (with_ca(&format!("rediss://127.0.0.1:{}", broker.port)), "no TLS"),
        (refused(&["--cluster", &format!("redis://127.0.0.1:{port}")]), "the broker at"),
        (with_ca("redis://127.0.0.1:1"), "write rediss://"),
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_password_from_the_environment_is_nowhere_to_be_seen() {
    let Some(broker) = Broker::start(&["--requirepass", "secret"]) else { return };
    let mut command = Command::new(env!("CARGO_BIN_EXE_comet-server"));
    let flags = ["--cluster", &broker.url(), "--log", "info"];
    let command = command.env("COMET_CLUSTER_PASSWORD", "secret").args(flags);
    let (stderr, log) = (TempDir::new().unwrap(), "stderr");
    let log = stderr.path().join(log);
    command.stderr(std::fs::File::create(&log).unwrap());
    let server = Server::start_command(command);
    wait_for_health(&server, 200);
    let mut client = server.follow("7");
    assert_eq!(send(&server, "7", "one")["connections"], 1);
    client.expect_message(1, "one");
    // A broker that changes its mind, and one that repeats what it was told.
    let cli = ["-a", "secret", "--no-auth-warning"];
    broker.ask(&[&cli[..], &["CONFIG", "SET", "requirepass", "other"]].concat());
    let cli = ["-a", "other", "--no-auth-warning"];
    broker.ask(&[&cli[..], &["CLIENT", "KILL", "TYPE", "pubsub"]].concat());
    let deadline = Instant::now() + DEADLINE;
    while !wait_for_health(&server, 503).contains("WRONGPASS") {
        assert!(Instant::now() < deadline);
    }
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(!log.is_empty() && !log.contains("secret"), "{log}");
    // In --cluster it can be seen, and that is said without repeating it.
    let error = refused(&["--cluster", "redis://:secret@127.0.0.1:1"]);
    assert!(error.contains("--cluster-password-file") && error.contains("ps"), "{error}");
}
