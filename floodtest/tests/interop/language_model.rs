//! The API of a language model: a request with a token and a body, answered by a stream that ends.

use std::fs;

use reports::books::{ByReason, ItemKind};

use crate::experiment::Flood;
use crate::is_wanted;
use crate::programs::{Program, get, python};
use crate::recipe::Recipe;

/// Clients, each with a token of its own.
const N_CLIENTS: u64 = 100;

/// Events of an answer: its pieces and the last one.
const N_EVENTS: u64 = 8 + 1;

#[test]
fn every_piece_of_every_answer_is_counted_and_who_is_refused_is_named() {
    if !is_wanted() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let tokens: Vec<String> = (1..=N_CLIENTS).map(|k| format!("key-{k}")).collect();
    let known = folder.path().join("tokens");
    fs::write(&known, tokens.join("\n")).unwrap();
    let mut command = python();
    command.arg("language_model.py").env("TOKENS", &known);
    let server = Program::start(command);
    let base = server.said("listening on ");
    let url = format!("{base}/v1/chat/completions");
    let write = |tokens: &[String]| {
        let lines: Vec<_> = tokens.iter().map(|token| format!("{url}\t{token}")).collect();
        fs::write(folder.path().join("urls.txt"), lines.join("\n")).unwrap();
    };

    let recipe = Recipe::of("a language model");
    write(&tokens);
    let mut flood = Flood::start(&recipe, folder.path());
    flood.wait_for(|report| report.is_final);
    let (report, code) = flood.end();
    let counts = get(&base, "/count");
    assert_eq!((report.established, report.ended), (N_CLIENTS, N_CLIENTS), "{report:#?}");
    assert_eq!((report.item_kind, report.items), (ItemKind::Events, N_CLIENTS * N_EVENTS));
    assert_eq!(counts["events"], report.items, "{counts}");
    assert_eq!(counts["answered"], N_CLIENTS, "{counts}");
    assert_eq!(counts["tokens"], N_CLIENTS, "each client had its own: {counts}");
    assert_eq!(counts["bad"], 0, "{counts}");
    // Nothing tells whether one is missing, and nobody asked.
    assert_eq!((report.lost, code), (None, Some(0)), "{report:#?}");

    write(&["key-1".to_owned(), "nobody's".to_owned()]);
    let mut flood = Flood::start(&recipe, folder.path());
    flood.wait_for(|report| report.is_final);
    let (report, code) = flood.end();
    assert_eq!(report.failures, ByReason::from([("status 401".to_owned(), 1)]), "{report:#?}");
    assert_eq!((report.ended, report.items, code), (1, N_EVENTS, Some(1)), "{report:#?}");
    assert_eq!(get(&base, "/count")["unauthorized"], 1);
}
