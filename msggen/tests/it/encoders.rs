//! A stamp comes through whatever encodes the message on its way.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use reports::stamp::Stamp;

use crate::support::{FakeServer, msggen, program_is_there};

/// A message with a stamp, as it was sent.
fn message() -> String {
    let fake = FakeServer::open();
    let flags = "--num 1 --interval 1 --max 900 --stamp --message <{id}>";
    msggen(&format!("{flags} --server {}", fake.url())).code(0);
    fake.next_request().body
}

/// The stamp of a message, as it stands in its text.
fn stamp_of(message: &str) -> &str {
    let (_, stamp) = message.split_once(" @").expect(message);
    assert_eq!(Stamp::first_in(message.as_bytes()).unwrap().to_string(), format!(" @{stamp}"));
    stamp
}

/// Fails unless the stamp stands in the encoded text as it was.
#[track_caller]
fn assert_unchanged(by: &str, encoded: &str, stamp: &str) {
    assert!(encoded.contains(&format!("@{stamp}")), "{by}: {encoded}");
}

/// What a program prints when it is given `text`.
fn through(program: &str, arguments: &[&str], text: &str) -> String {
    let mut command = Command::new(program);
    command.args(arguments).arg(text).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A JSON string as `System.Text.Json` writes it by default: besides what JSON demands, it escapes
/// `"&'+<>` and the backquote, and everything that is not ASCII.
fn dot_net(text: &str) -> String {
    let mut encoded = String::new();
    for unit in text.encode_utf16() {
        match char::from_u32(u32::from(unit)) {
            Some('\\') => encoded.push_str("\\\\"),
            Some(letter) if (' '..='~').contains(&letter) && !"\"&'+<>`".contains(letter) => {
                encoded.push(letter);
            }
            _ => write!(encoded, "\\u{unit:04X}").unwrap(),
        }
    }
    encoded
}

/// Text as it stands in HTML, escaped as in comet-server and by most template engines.
fn html(text: &str) -> String {
    let escapes = [
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("\"", "&quot;"),
        ("'", "&#39;"),
        ("`", "&#96;"),
        ("=", "&#61;"),
        ("/", "&#47;"),
    ];
    escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[test]
fn a_stamp_comes_through_json_encoders_and_html_escaping_unchanged() {
    let message = message();
    let stamp = stamp_of(&message);
    assert_unchanged("serde_json", &serde_json::to_string(&message).unwrap(), stamp);
    assert_unchanged(".NET", &dot_net(&message), stamp);
    assert_unchanged("HTML", &html(&message), stamp);
    assert_unchanged("HTML in .NET's JSON", &dot_net(&html(&message)), stamp);
    assert!(dot_net(&message).contains("\\u003C"), "the message itself is escaped");
}

#[test]
fn a_stamp_comes_through_the_json_of_python_and_node_unchanged() {
    let message = message();
    let stamp = stamp_of(&message);
    let python = "import html, json, sys; text = sys.argv[1]; \
                  print(json.dumps(text, ensure_ascii=True), json.dumps(html.escape(text)))";
    let node = "console.log(JSON.stringify(process.argv[1]))";
    for (program, arguments) in [("python3", ["-c", python]), ("node", ["-e", node])] {
        if program_is_there(program) {
            let encoded = through(program, &arguments, &message);
            assert_unchanged(program, &encoded, stamp);
        }
    }
}
