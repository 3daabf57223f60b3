//! nchan, a server of publishers and subscribers in nginx, in all its ways to answer.

use reports::books::ItemKind;

use crate::experiment::{Heads, Outcome, run};
use crate::is_wanted;
use crate::proxies::{Proxy, nchan};
use crate::recipe::Recipe;

/// The recipe of this name for this server.
fn recipe(name: &str, server: &Proxy) -> Recipe {
    let base = format!("http://127.0.0.1:{}", server.port);
    Recipe::of(name).replacing(&[("http://127.0.0.1:8080", &base)])
}

/// Carries out a recipe of which every message comes.
fn complete(name: &str, extra: &[&str]) -> Outcome {
    let server = nchan();
    let outcome = run(&recipe(name, &server), Heads::First, extra, |sent| sent.answered);
    outcome.is_complete();
    outcome
}

#[test]
fn event_streams() {
    if !is_wanted() {
        return;
    }
    let outcome = complete("nchan, event streams", &["Accept: text/event-stream"]);
    assert_eq!(outcome.flood.item_kind, ItemKind::Events, "{outcome:#?}");
    assert_eq!(outcome.flood.items, outcome.neutral.events, "{outcome:#?}");
    assert_eq!(outcome.flood.comments, outcome.neutral.comments, "{outcome:#?}");
}

#[test]
fn raw_streams() {
    if !is_wanted() {
        return;
    }
    let outcome = complete("nchan, raw stream", &[]);
    assert_eq!(outcome.flood.items, outcome.flood.messages, "{outcome:#?}");
}

#[test]
fn chunks() {
    if !is_wanted() {
        return;
    }
    let outcome = complete("nchan, chunked", &["TE: chunked"]);
    assert_eq!(outcome.flood.item_kind, ItemKind::Chunks, "{outcome:#?}");
    assert!(outcome.flood.chunks > 0, "{outcome:#?}");
}

#[test]
fn websockets() {
    if !is_wanted() {
        return;
    }
    let server = nchan();
    let (ws, http) = ("ws://127.0.0.1:8080", format!("http://127.0.0.1:{}", server.port));
    let recipe = Recipe::of("nchan, WebSocket")
        .replacing(&[(ws, &format!("ws://127.0.0.1:{}", server.port))])
        .replacing(&[("http://127.0.0.1:8080", &http)]);
    let outcome = run(&recipe, Heads::First, &[], |sent| sent.answered);
    outcome.is_complete();
    assert_eq!(outcome.flood.item_kind, ItemKind::Frames, "{outcome:#?}");
    assert_eq!(outcome.flood.items, outcome.neutral.events, "{outcome:#?}");
}

#[test]
fn long_polls_that_are_held() {
    if !is_wanted() {
        return;
    }
    let server = nchan();
    // Each client gets the first message to its id, and no other.
    let recipe = recipe("nchan, long poll", &server);
    let outcome = run(&recipe, Heads::Late, &[], |_| 50);
    outcome.agrees();
    let flood = &outcome.flood;
    assert_eq!((flood.messages, flood.ended, flood.waiting), (50, 50, 0), "{outcome:#?}");
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
}
