//! Servers that people write with frameworks, and what these do to a message.

use std::process::Command;

use crate::experiment::{Heads, Outcome, run};
use crate::is_wanted;
use crate::programs::{Program, get, node, python};
use crate::recipe::Recipe;

/// A server with these variables in its environment, and where it listens.
fn serve(mut command: Command, variables: &[(&str, &str)]) -> (Program, String) {
    command.envs(variables.iter().copied());
    let server = Program::start(command);
    let base = server.said("listening on ");
    (server, base)
}

/// sse-starlette, served by uvicorn.
fn sse_starlette() -> Command {
    let mut command = python();
    command.arg("sse_starlette_app.py");
    command
}

/// A server of node's.
fn node_with(script: &str) -> Command {
    let mut command = node();
    command.arg(script);
    command
}

/// Runs the recipe against the server at `base`; all but what it has dropped is to come.
fn judged(name: &str, base: &str, change: impl Fn(Recipe) -> Recipe) -> Outcome {
    let recipe = Recipe::of(name).replacing(&[("http://127.0.0.1:8080", base)]);
    let dropped = || get(base, "/count")["dropped"].as_u64().unwrap();
    let accept = ["Accept: text/event-stream"];
    run(&change(recipe), Heads::First, &accept, |sent| sent.answered - dropped())
}

/// Requires that the figures are the server's own and the receiver's.
#[track_caller]
fn agrees_with_server(outcome: &Outcome, base: &str) {
    outcome.agrees();
    let counts = get(base, "/count");
    let count = |name: &str| counts[name].as_u64().unwrap();
    // The receiver and floodtest have one connection for each id.
    assert_eq!(2 * outcome.flood.messages, count("delivered"), "{counts}\n{outcome:#?}");
    assert_eq!(outcome.sent.failed, count("refused"), "{counts}\n{outcome:#?}");
    assert_eq!(outcome.sent.answered, count("posted") - count("refused"), "{outcome:#?}");
    assert_eq!(outcome.flood.items, outcome.neutral.events, "{outcome:#?}");
    outcome.has_lost(count("dropped"));
}

/// The three servers, each right, and each with losses and refusals of its own.
fn is_exact(name: &str, command: impl Fn() -> Command, variables: &[(&str, &str)]) {
    if !is_wanted() {
        return;
    }
    let (_server, base) = serve(command(), variables);
    let outcome = judged(name, &base, |recipe| recipe);
    outcome.is_complete();
    agrees_with_server(&outcome, &base);

    // Each fifth message to an id is answered and dropped, and each tenth that is sent refused.
    let lossy = [variables, &[("DROP", "5"), ("REFUSE", "10")]].concat();
    let (_server, base) = serve(command(), &lossy);
    let outcome = judged(name, &base, |recipe| recipe.sending("--num", "60"));
    assert!(outcome.flood.lost > Some(50), "{outcome:#?}");
    assert_eq!(outcome.sent.failed, 60, "{outcome:#?}");
    agrees_with_server(&outcome, &base);
}

#[test]
fn uvicorn_with_sse_starlette() {
    is_exact("uvicorn and sse-starlette", sse_starlette, &[]);
}

#[test]
fn node_http() {
    is_exact("node", || node_with("node_plain.mjs"), &[("FLUSH", "1")]);
}

#[test]
fn better_sse() {
    is_exact("better-sse", || node_with("better_sse.mjs"), &[]);
}

#[test]
fn node_that_keeps_heads_back() {
    if !is_wanted() {
        return;
    }
    let (_server, base) = serve(node_with("node_plain.mjs"), &[]);
    let recipe = Recipe::of("node without flushHeaders");
    let recipe = recipe.replacing(&[("http://127.0.0.1:8080", &base)]);
    let accept = ["Accept: text/event-stream"];
    let outcome = run(&recipe, Heads::Late, &accept, |sent| sent.answered);
    outcome.agrees();
    assert_eq!(outcome.flood.messages, outcome.sent.answered, "{outcome:#?}");
    assert_eq!((outcome.flood.lost, outcome.flood.late_joiners), (Some(0), 20), "{outcome:#?}");
}
