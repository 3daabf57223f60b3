//! SCHEMA.md is what is printed: every field, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

use floodtest::figures;
use reports::stamp::{Clock, Stamp};
use rustix::process::Signal;
use serde_json::Value;

use crate::hosts::Ssh;
use crate::support::{OUR_HEAD, Server, children, chunk, run, send, signal};

/// The fields of a JSON value, with their types: `recent.bytes` is an integer.
fn fields(value: &Value) -> BTreeMap<String, &'static str> {
    let mut fields = BTreeMap::new();
    collect(value, "", &mut fields);
    fields
}

/// Adds the fields of `value`, whose name is `name`.
fn collect(value: &Value, name: &str, fields: &mut BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Object(object) => {
            for (key, value) in object {
                // The keys of these are reasons, and media types.
                let key = match name {
                    "failures" | "closures" | "settles[].failed" | "slow_readers.ends" => "REASON",
                    "content_types" => "TYPE",
                    _ => key,
                };
                let dot = if name.is_empty() { "" } else { "." };
                collect(value, &format!("{name}{dot}{key}"), fields);
            }
            return;
        }
        Value::Array(array) => {
            assert!(!array.is_empty(), "there is no {name} to look at");
            return array.iter().for_each(|value| collect(value, &format!("{name}[]"), fields));
        }
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Null => "null",
    };
    fields.insert(name.to_owned(), kind);
}

/// The fields in the table under a heading of SCHEMA.md.
fn documented(heading: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/SCHEMA.md")).unwrap();
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut fields = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, names, kind, meaning, _] = cells[..] else { panic!("not three cells: {row}") };
        assert!(!meaning.is_empty(), "{row}");
        for name in names.split(", ") {
            let twice = fields.insert(name.trim_matches('`').to_owned(), kind.to_owned());
            assert_eq!(twice, None, "{name}");
        }
    }
    fields
}

/// Compares what is printed with what is documented.
#[track_caller]
fn compare(printed: &Value, heading: &str) {
    let documented = documented(heading);
    let printed = fields(printed);
    for (name, kind) in &printed {
        let said = documented.get(name).unwrap_or_else(|| panic!("{name} is not in SCHEMA.md"));
        let is_so = said == kind || said.strip_suffix(" or null").is_some_and(|it| it == *kind);
        assert!(is_so || *kind == "null" && said.ends_with(" or null"), "{name} is {kind}");
    }
    for name in documented.keys() {
        assert!(printed.contains_key(name), "SCHEMA.md has {name}, and it is not printed");
    }
}

#[test]
fn a_report_has_the_fields_of_the_schema() {
    // One connection that fails for a detailed reason, and one whose messages are not in order.
    let server = Server::start(|k, stream| {
        let due_unix_us = Clock::start().unix_us(Instant::now());
        let stamp = Stamp { due_unix_us, late_us: 0, mark: None };
        let good = format!("{OUR_HEAD}{}", chunk(&format!("Recvd msg #2: 'x{stamp}'<br/>")));
        send(stream, if k == 0 { "HTTP/1.1 20\r\n\r\n" } else { &good });
    });
    let urls = server.urls(2);
    // A file that is not there is worth a note.
    let args = ["--urls", urls.path(), "--json", "--sent", "/nowhere/sent"];
    let streams = ["--done", "end", "--count", "n", "--goodput", "stream_time<1s"];
    let ended = run(&[&args[..], &streams].concat()).with_code(1);
    let report = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
    compare(&report, "A report");
}

#[test]
fn a_report_of_hosts_has_the_fields_of_the_schema() {
    let server = Server::start_by_id(|id, stream| {
        if id == 3 {
            return send(stream, "HTTP/1.1 20\r\n\r\n");
        }
        let stamp = crate::hosts::stamp();
        let gap = chunk("Recvd msg #2: 'x'<br/>");
        send(
            stream,
            &format!("{OUR_HEAD}{}{gap}", chunk(&format!("Recvd msg #4: 'x{stamp}'<br/>"))),
        );
        crate::support::hold(stream);
    });
    let (urls, ssh) = (server.urls(3), Ssh::new(""));
    let flags = ["--rate", "max", "--json", "--report", "50ms", "--hosts", "a,b"];
    let mut running = ssh.start(&[&["--urls", urls.path()], &flags[..]].concat());
    running.wait_for(|report| report.items == 4 && report.failed == 1);
    signal(children(running.pid())[1], Signal::KILL);
    running.wait_for(|report| report.unknown > 0);
    running.signal(Signal::INT);
    let ended = running.end().with_code(1);
    let report: Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
    let mut of_hosts = serde_json::Map::new();
    for name in ["hosts", "unknown", "clock_bound_us"] {
        of_hosts.insert(name.to_owned(), report[name].clone());
    }
    for name in ["worst", "examples"] {
        let host = report[name][0]["host"].clone();
        of_hosts.insert(name.to_owned(), serde_json::json!([{ "host": host }]));
    }
    compare(&Value::Object(of_hosts), "Hosts");
}

#[test]
fn a_report_of_a_shape_has_the_fields_of_the_schema() {
    // The first connection is a mute reader's that the server ends, the second one stays open until
    // a storm closes it, and finds the server gone.
    let server = Server::start(|k, stream| match k {
        0 | 1 => {
            send(stream, OUR_HEAD);
            crate::support::hold(stream);
        }
        _ => send(stream, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
    });
    let urls = server.urls(2);
    let flags =
        ["--rate", "max", "--json", "--hold", "1700ms", "--report", "50ms", "--slow", "50%:0"];
    // One try fails, and the next one is not due before the end: none is on its way then.
    let storm = ["--storm", "200ms:100%", "--reopen", "after:1s"];
    let storm = [&["--urls", urls.path()], &flags[..], &storm].concat();
    // The end of a run with a rate that is not known beforehand is not either.
    let ended = run(&storm).with_code(1);
    let report: Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
    let mut shape = serde_json::Map::new();
    for name in ["settles", "slow_readers"] {
        shape.insert(name.to_owned(), report[name].clone());
    }
    compare(&Value::Object(shape), "Shapes of a load");
}

#[test]
fn a_plan_has_the_fields_of_the_schema() {
    let server = Server::holding(OUR_HEAD);
    let urls = server.urls(2);
    let ended = run(&["--urls", urls.path(), "--plan", "--json"]).with_code(0);
    let mut plan: Value = serde_json::from_str(&ended.stdout).unwrap();
    // How much memory there is depends on the machine.
    plan["warnings"].as_array_mut().unwrap().push("too little memory".into());
    compare(&plan, "A plan");
}

#[test]
fn expectations_have_the_names_of_the_schema_and_no_others() {
    let mut names = BTreeSet::new();
    for (field, kind) in documented("A report") {
        // What came since the report before, and single connections, are no figures of a run; the
        // jump is there only where something is wrong.
        let others = ["recent.", "worst[]", "content_types."];
        let is_other = others.iter().any(|it| field.starts_with(it));
        let is_number = kind.starts_with("integer") || kind.starts_with("number");
        if is_number && !is_other && field != "median_jump" {
            let name = field.replace("failures.REASON", "failed.REASON");
            let name = name.replace("closures.REASON", "closed.REASON");
            let name = name.strip_suffix("_us").unwrap_or(&name);
            names.insert(name.replace(".p9999", ".p99.99").replace(".p999", ".p99.9"));
        }
    }
    for name in &names {
        let parsed = figures::parse(&format!("{}>=0", name.replace("REASON", "cut")));
        assert!(parsed.is_ok(), "{name}: {parsed:?}");
    }
    for name in ["settles", "slow_readers.connections", "slow_readers.open", "unknown"] {
        names.insert(name.to_owned());
    }
    for name in ["settle.t50", "settle.t95", "settle.t100"] {
        assert!(figures::parse(&format!("{name}<10s")).is_ok(), "{name} is a time");
        names.insert(name.to_owned());
    }
    let error = figures::parse("no-such-figure=0").unwrap_err().to_string();
    let (_, listed) = error.split_once("there are ").unwrap();
    // p999 is another name of p99.9.
    for name in listed.split(", ").map(|name| name.replace(".p999", ".p99.9")) {
        assert!(names.contains(&name), "SCHEMA.md has no {name}");
    }
}
