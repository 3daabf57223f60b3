//! Servers of WebSockets that nobody here wrote.

use std::process::Command;

use reports::books::ItemKind;
use testing::wait_until;

use crate::experiment::{Heads, Outcome, run_when};
use crate::is_wanted;
use crate::programs::{Program, get, node, python};
use crate::proxies::{Tls, nginx_before};
use crate::recipe::Recipe;

/// Variables in the environment of a server.
type Variables<'a> = &'a [(&'static str, &'static str)];

/// A server, and where it is.
struct Server {
    /// The program.
    _program: Program,
    /// Where messages are sent to.
    http: String,
    /// Where its WebSockets are.
    ws: String,
}

impl Server {
    /// One that has its WebSockets where messages are sent to.
    fn at_one(mut command: Command, variables: Variables<'_>) -> Self {
        command.envs(variables.iter().copied());
        let program = Program::start(command);
        let http = program.said("listening on ");
        let ws = http.replace("http://", "ws://");
        Self { _program: program, http, ws }
    }

    /// One that has them elsewhere.
    fn at_two(mut command: Command, variables: Variables<'_>) -> Self {
        command.envs(variables.iter().copied());
        let program = Program::start(command);
        let ws = program.said("websockets on ");
        let http = program.said("listening on ");
        Self { _program: program, http, ws }
    }

    /// The recipe of this name for it.
    fn recipe(&self, name: &str) -> Recipe {
        let page = [("ws://127.0.0.1:8080", self.ws.as_str())];
        Recipe::of(name).replacing(&page).replacing(&[("http://127.0.0.1:8080", &self.http)])
    }

    /// A count of its own.
    fn count(&self, name: &str) -> u64 {
        let counts = get(&self.http, "/count");
        counts[name].as_u64().unwrap_or_else(|| panic!("there is no {name} in {counts}"))
    }

    /// Runs a recipe; all but what the server has dropped is to come. Before messages are sent, the
    /// server knows what its `n_followers` follow, if it says so.
    fn run(&self, recipe: &Recipe, n_followers: Option<u64>) -> Outcome {
        let dropped = || get(&self.http, "/count")["dropped"].as_u64().unwrap_or(0);
        let wait = || {
            if let Some(n) = n_followers {
                wait_until("all are followed", || self.count("followers") == n);
            }
        };
        run_when(recipe, Heads::First, &[], wait, |sent| sent.answered - dropped())
    }

    /// Requires that the figures are the server's own and the receiver's.
    #[track_caller]
    fn agrees(&self, outcome: &Outcome) {
        outcome.agrees();
        // The receiver and floodtest have one connection for each id.
        assert_eq!(2 * outcome.flood.messages, self.count("delivered"), "{outcome:#?}");
        assert_eq!(outcome.flood.item_kind, ItemKind::Frames, "{outcome:#?}");
        assert_eq!(outcome.flood.connected, outcome.flood.asked, "{outcome:#?}");
    }
}

/// A server of node's.
fn node_with(script: &str) -> Command {
    let mut command = node();
    command.arg(script);
    command
}

/// One of Python's.
fn python_with(script: &str) -> Command {
    let mut command = python();
    command.arg(script);
    command
}

/// A server that is right, and one with losses and refusals of its own.
fn is_exact(name: &str, start: impl Fn(Variables<'_>) -> Server, n_followers: Option<u64>) {
    if !is_wanted() {
        return;
    }
    let server = start(&[]);
    let outcome = server.run(&server.recipe(name), n_followers);
    outcome.is_complete();
    server.agrees(&outcome);

    // Each fifth message to an id is answered and dropped, and each tenth that is sent refused.
    let server = start(&[("DROP", "5"), ("REFUSE", "10")]);
    let recipe = server.recipe(name).sending("--num", "60");
    let outcome = server.run(&recipe, n_followers);
    assert!(outcome.flood.lost > Some(50), "{outcome:#?}");
    assert_eq!(outcome.sent.failed, 60, "{outcome:#?}");
    server.agrees(&outcome);
    outcome.has_lost(server.count("dropped"));
}

#[test]
fn node_ws() {
    let start = |variables: Variables<'_>| Server::at_one(node_with("node_ws.mjs"), variables);
    is_exact("node and ws", start, None);
}

#[test]
fn python_websockets() {
    let start =
        |variables: Variables<'_>| Server::at_two(python_with("websockets_app.py"), variables);
    is_exact("websockets", start, None);
}

#[test]
fn socket_io() {
    let start = |variables: Variables<'_>| Server::at_one(node_with("socket_io.mjs"), variables);
    is_exact("socket.io", start, Some(100));
}

#[test]
fn graphql_ws() {
    let start = |variables: Variables<'_>| Server::at_one(node_with("graphql_ws.mjs"), variables);
    is_exact("graphql-ws", start, Some(100));
}

#[test]
fn graphql_ws_gets_answers_to_its_pings() {
    if !is_wanted() {
        return;
    }
    let server = Server::at_one(node_with("graphql_ws.mjs"), &[]);
    let outcome = server.run(&server.recipe("graphql-ws"), Some(100));
    // The receiver answers as well: at least one ping of each of both.
    assert!(server.count("pongs") >= 100, "{outcome:#?}");
}

#[test]
fn graphql_ws_lets_go_who_subscribes_before_it_has_acknowledged() {
    if !is_wanted() {
        return;
    }
    let server = Server::at_one(node_with("graphql_ws.mjs"), &[]);
    let mut recipe = server.recipe("graphql-ws");
    let at = recipe.flood.iter().position(|flag| flag.contains("=>{\"id\"")).unwrap();
    let (_, subscribe) = recipe.flood[at].split_once("=>").unwrap();
    recipe.flood[at] = subscribe.to_owned();
    "--on-open".clone_into(&mut recipe.flood[at - 1]);
    let outcome = server.run(&recipe, None);
    assert_eq!((outcome.flood.connected, outcome.code), (0, Some(1)), "{outcome:#?}");
    let closures: Vec<_> = outcome.flood.closures.keys().collect();
    assert_eq!(closures, ["close 4401"], "{outcome:#?}");
}

#[test]
fn node_ws_answers_are_counted() {
    if !is_wanted() {
        return;
    }
    let server = Server::at_one(node_with("node_ws.mjs"), &[]);
    let outcome = server.run(&server.recipe("node and ws"), None);
    server.agrees(&outcome);
    let flood = &outcome.flood;
    assert_eq!((flood.items, flood.comments), (flood.messages, flood.messages), "{outcome:#?}");
    // Pings that come together have one answer.
    let n_pongs = server.count("pongs");
    assert!(n_pongs > flood.messages && n_pongs <= 2 * flood.messages, "{n_pongs} {outcome:#?}");
}

#[test]
fn socket_io_lets_go_who_does_not_answer_its_pings() {
    if !is_wanted() {
        return;
    }
    let server = Server::at_one(node_with("socket_io.mjs"), &[("PING_TIMEOUT", "1000")]);
    let mut recipe = server.recipe("socket.io");
    let at = recipe.flood.iter().position(|flag| flag == "--answer").unwrap();
    recipe.flood.drain(at..at + 2);
    let recipe = recipe.sending("--num", "100");
    // Some may be gone before all are there.
    let outcome = server.run(&recipe, None);
    assert_eq!((outcome.flood.connected, outcome.code), (0, Some(1)), "{outcome:#?}");
    let closures: Vec<_> = outcome.flood.closures.keys().collect();
    assert_eq!(closures, ["close 1005"], "{outcome:#?}");
    assert!(server.count("lost") >= 50, "{outcome:#?}");
}

#[test]
fn nats_server() {
    if !is_wanted() {
        return;
    }
    let server = Server::at_two(python_with("nats_bridge.py"), &[]);
    let outcome = server.run(&server.recipe("nats-server"), Some(100));
    outcome.is_complete();
    server.agrees(&outcome);
}

#[test]
fn node_ws_behind_nginx_with_tls() {
    if !is_wanted() {
        return;
    }
    let server = Server::at_one(node_with("node_ws.mjs"), &[]);
    let proxy = nginx_before(&server.http, Tls::On);
    let certificate = proxy.certificate();
    let recipe = server.recipe("node and ws behind nginx, TLS").replacing(&[
        ("wss://127.0.0.1:8443", &format!("wss://127.0.0.1:{}", proxy.port)),
        ("cert.pem", certificate.to_str().unwrap()),
    ]);
    let outcome = server.run(&recipe, None);
    outcome.is_complete();
    server.agrees(&outcome);
}
