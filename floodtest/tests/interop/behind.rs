//! comet-server, and node, behind the proxies that stand before most servers.

use std::process::Command;

use crate::experiment::{Heads, Outcome, run};
use crate::is_wanted;
use crate::programs::{Program, get, node, ours};
use crate::proxies::{Proxy, Tls, haproxy_before, nginx_before};
use crate::recipe::Recipe;

/// Messages that are sent flat out: by 20 sources, each as fast as it is answered.
const N_FLAT_OUT: u64 = 20_000;

/// The reference server.
struct Comet {
    /// The program.
    _program: Program,
    /// Where clients connect.
    public: String,
    /// Where messages are sent.
    control: String,
}

impl Comet {
    fn start() -> Self {
        let mut command = ours("comet-server");
        command.args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"]);
        let program = Program::start(command);
        let public = program.said("listening on ").replace("/test/{id}", "");
        let control = program.said("control on ");
        Self { _program: program, public, control }
    }
}

/// The recipe of this name for this proxy and this control door.
fn recipe(name: &str, proxy: &Proxy, control: &str) -> Recipe {
    let plain = format!("http://127.0.0.1:{}", proxy.port);
    let secure = format!("https://127.0.0.1:{}", proxy.port);
    let certificate = proxy.certificate();
    Recipe::of(name).replacing(&[
        ("http://127.0.0.1:8001", control),
        ("http://127.0.0.1:8080", &plain),
        ("https://127.0.0.1:8443", &secure),
        ("cert.pem", certificate.to_str().unwrap()),
    ])
}

/// The same, sent flat out.
fn flat_out(recipe: Recipe) -> Recipe {
    let recipe = recipe.sending("--sources", "20").sending("--interval", "0");
    recipe.sending("--num", &(N_FLAT_OUT / 20).to_string())
}

/// Requires that every message has come, and that the server says so too.
#[track_caller]
fn is_complete(outcome: &Outcome, comet: &Comet) {
    outcome.is_complete();
    let stats = get(&comet.control, "/stats");
    // The receiver and floodtest have one connection for each id.
    assert_eq!(stats["chunks_written"], 2 * outcome.flood.messages, "{stats}\n{outcome:#?}");
    assert_eq!(stats["messages"], outcome.sent.answered, "{stats}\n{outcome:#?}");
}

/// comet-server behind a proxy: as the page says, and flat out.
fn is_exact(name: &str, proxy: impl Fn(&str) -> Proxy) {
    if !is_wanted() {
        return;
    }
    let comet = Comet::start();
    let before = proxy(&comet.public);
    let recipe = recipe(name, &before, &comet.control);
    let outcome = run(&recipe, Heads::First, &[], |sent| sent.answered);
    is_complete(&outcome, &comet);

    // A server of its own, so that its counts are those of this run.
    let comet = Comet::start();
    let before = proxy(&comet.public);
    let recipe = flat_out(self::recipe(name, &before, &comet.control));
    let outcome = run(&recipe, Heads::First, &[], |sent| sent.answered);
    is_complete(&outcome, &comet);
    assert_eq!(outcome.flood.messages, N_FLAT_OUT, "{outcome:#?}");
}

#[test]
fn comet_server_behind_nginx() {
    is_exact("comet-server behind nginx", |upstream| nginx_before(upstream, Tls::Off));
}

#[test]
fn comet_server_behind_nginx_with_tls() {
    is_exact("comet-server behind nginx, TLS", |upstream| nginx_before(upstream, Tls::On));
}

#[test]
fn comet_server_behind_haproxy() {
    is_exact("comet-server behind haproxy", |upstream| haproxy_before(upstream, Tls::Off));
}

#[test]
fn comet_server_behind_haproxy_with_tls() {
    is_exact("comet-server behind haproxy, TLS", |upstream| haproxy_before(upstream, Tls::On));
}

/// node behind a proxy, flat out: its clients follow through the proxy, messages are sent to it.
fn node_is_exact(proxy: impl Fn(&str) -> Proxy) {
    if !is_wanted() {
        return;
    }
    let mut command: Command = node();
    command.arg("node_plain.mjs").env("FLUSH", "1");
    let server = Program::start(command);
    let base = server.said("listening on ");
    let before = proxy(&base);
    let through = format!("http://127.0.0.1:{}/test/", before.port);
    let recipe = Recipe::of("node").replacing(&[
        ("http://127.0.0.1:8080/test/", through.as_str()),
        ("http://127.0.0.1:8080", base.as_str()),
    ]);
    let accept = ["Accept: text/event-stream"];
    let outcome = run(&flat_out(recipe), Heads::First, &accept, |sent| sent.answered);
    outcome.is_complete();
    assert_eq!(outcome.flood.messages, N_FLAT_OUT, "{outcome:#?}");
    assert_eq!(get(&base, "/count")["delivered"], 2 * N_FLAT_OUT, "{outcome:#?}");
}

#[test]
fn node_behind_nginx() {
    node_is_exact(|upstream| nginx_before(upstream, Tls::Off));
}

#[test]
fn node_behind_haproxy() {
    node_is_exact(|upstream| haproxy_before(upstream, Tls::Off));
}
