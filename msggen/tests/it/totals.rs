//! Every message is answered, failed or unanswered, whatever the server does.

use std::fs;

use reports::latency::Latency;
use reports::latency_log;
use serde_json::Value;

use crate::support::{FakeServer, Reply, all_reached, assert_distinct, msggen, reached};

#[test]
fn answered_messages_reached_somebody_or_went_into_the_void() {
    let fake = FakeServer::new(|request| reached([0, 1, 3][request.number % 3]));
    let run =
        msggen(&format!("--num 9 --interval 0 --max 9 --json --server {}", fake.url())).code(0);
    let report = run.balanced();
    assert_eq!((&report["sent"], &report["answered"]), (&9.into(), &9.into()));
    assert_eq!((&report["reached"], &report["void"]), (&6.into(), &3.into()));
    assert_eq!(report["connections"], 12);
}

#[test]
fn a_run_is_judged_by_what_is_expected_of_it() {
    let fake = FakeServer::new(|request| reached([0, 1, 3][request.number % 3]));
    let flags = format!("--num 9 --interval 1 --max 9 --server {}", fake.url());
    msggen(&format!("{flags} --expect void=3,answered>=9,achieved_per_s>1,send_from_due.max<1h"))
        .code(0);
    msggen(&format!("{flags} --expect void=0,connections=12,lateness.p50>1h"))
        .code(1)
        .says("msggen: expected void=0, found 3\nmsggen: expected lateness.p50>1h, found ");
}

#[test]
fn the_table_for_people_holds_the_same_figures() {
    let fake = FakeServer::new(|request| reached([0, 1, 3][request.number % 3]));
    let flags = format!("--num 9 --interval 2 --max 9 --seed 4 --server {}", fake.url());
    let run = msggen(&flags).code(0);
    for line in [
        "asked                 9  at 500.000/s\n",
        "answered              9\n",
        "  reached             6  12 connections\n",
        "  void                3\n",
        "failed                0\n",
        "unanswered            0\n",
        "seed                  4\n",
        "ms      own.lateness       lateness  send_from_due send_from_send\n",
        "        part of that    due to send  due to answer send to answer\n",
    ] {
        run.assert(run.stdout.contains(line), line);
    }
}

#[test]
fn a_refused_message_failed_with_its_status() {
    let fake = FakeServer::new(|request| match request.number % 2 {
        0 => reached(1),
        _ => Reply::Answer(503, "busy".to_owned()),
    });
    let run = msggen(&format!("--num 6 --interval 0 --max 9 --json --server {}", fake.url()))
        .code(1)
        .says("msggen: 3 of 6 messages failed: status 503 3\n");
    assert_eq!(run.balanced()["failures"]["status 503"], 3);
}

#[test]
fn a_server_that_answers_nothing_is_no_run() {
    let fake = FakeServer::new(|_| Reply::Answer(401, String::new()));
    msggen(&format!("--num 2 --interval 0 --max 9 --server {}", fake.url()))
        .code(2)
        .says("msggen: 2 of 2 messages failed: status 401 2\n")
        .says("nothing was answered: is this the right server");
}

#[test]
fn a_redirect_is_not_followed() {
    let fake = FakeServer::new(|request| match request.number {
        0 => {
            // It says that it closes, or the next message may rightly go out on this connection.
            Reply::BytesAndClose(
                "HTTP/1.1 307 R\r\nLocation: /send/1\r\nConnection: close\r\n\
                 Content-Length: 0\r\n\r\n",
            )
        }
        _ => reached(1),
    });
    let run =
        msggen(&format!("--num 3 --interval 0 --max 9 --json --server {}", fake.url())).code(1);
    assert_eq!(run.balanced()["failures"]["status 307"], 1);
    assert_eq!(fake.requests().len(), 3);
}

#[test]
fn an_answer_that_is_not_the_servers_is_a_bad_answer() {
    for bad in ["hello", "{}", "{\"connections\":-1}", "[1]", ""] {
        let fake = FakeServer::new(move |request| match request.number {
            0 => Reply::Answer(200, bad.to_owned()),
            _ => reached(1),
        });
        let flags = format!("--num 3 --interval 0 --max 9 --json --server {}", fake.url());
        assert_eq!(msggen(&flags).code(1).balanced()["failures"]["bad answer"], 1, "{bad}");
    }
}

#[test]
fn an_answer_that_is_not_http_is_a_bad_answer() {
    let fake = FakeServer::new(|request| match request.number {
        0 => Reply::BytesAndClose("220 smtp.example.com ESMTP\r\n\r\n"),
        _ => reached(1),
    });
    let run =
        msggen(&format!("--num 3 --interval 0 --max 9 --json --server {}", fake.url())).code(1);
    assert_eq!(run.balanced()["failures"]["bad answer"], 1);
}

#[test]
fn a_batch_is_counted_as_the_answer_says() {
    let fake = FakeServer::new(|_| {
        Reply::Answer(200, "{\"messages\":5,\"connections\":9,\"void\":2}".to_owned())
    });
    let flags = format!("--num 10 --interval 0 --max 9 --batch 5 --json --server {}", fake.url());
    let report = msggen(&flags).code(0).balanced();
    assert_eq!((&report["answered"], &report["reached"]), (&10.into(), &6.into()));
    assert_eq!((&report["void"], &report["connections"]), (&4.into(), &18.into()));
}

#[test]
fn of_a_batch_with_a_bad_line_the_lines_before_it_are_answered() {
    let fake = FakeServer::new(|request| match request.number {
        0 => {
            let answer = r#"{"error":"line 3: no","messages":2,"connections":2,"void":0}"#;
            Reply::Answer(400, answer.to_owned())
        }
        _ => all_reached(request),
    });
    let flags = format!("--num 10 --interval 0 --max 9 --batch 5 --json --server {}", fake.url());
    let report = msggen(&flags).code(1).says("3 of 10 messages failed: status 400 3").balanced();
    assert_eq!((&report["answered"], &report["send_from_send"]["count"]), (&7.into(), &7.into()));
}

#[test]
fn a_connection_closed_in_mid_answer_leaves_its_message_unanswered() {
    for torn in
        ["", "HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"con"]
    {
        let fake = FakeServer::new(move |request| match request.number {
            1 => Reply::BytesAndClose(torn),
            _ => reached(1),
        });
        let flags = format!("--num 4 --interval 0 --max 9 --json --server {}", fake.url());
        let run = msggen(&flags).code(1).says("1 of 4 messages unanswered: cut 1");
        assert_eq!(run.balanced()["answered"], 3, "{torn:?}");
        assert_eq!(fake.requests().len(), 4, "it is not sent again: {torn:?}");
    }
}

#[test]
fn a_reset_connection_leaves_its_message_unanswered() {
    let fake = FakeServer::new(|request| match request.number {
        1 => Reply::Reset,
        _ => reached(1),
    });
    let flags = format!("--num 4 --interval 0 --max 9 --json --server {}", fake.url());
    assert_eq!(msggen(&flags).code(1).balanced()["unanswered_by"]["reset"], 1);
    assert_eq!(fake.requests().len(), 4, "it is not sent again");
}

#[test]
fn a_message_without_an_answer_in_time_is_unanswered() {
    let fake = FakeServer::new(|request| match request.number {
        1 => Reply::Silence,
        _ => reached(1),
    });
    let flags = "--num 4 --interval 0 --max 9 --timeout 1s --json";
    let run = msggen(&format!("{flags} --server {}", fake.url()))
        .code(1)
        .says("1 of 4 messages unanswered: timed out 1");
    assert_eq!(run.balanced()["answered"], 3);
}

#[test]
fn a_server_that_dies_leaves_exact_totals() {
    for batch in [1, 4] {
        let fake = FakeServer::new(|request| match request.number {
            n if n < 20 => {
                if request.head.starts_with("POST /send ") {
                    all_reached(request)
                } else {
                    reached(1)
                }
            }
            _ => Reply::Die,
        });
        let flags = "--num 30 --interval 2 --max 9 --sources 4 --reconnect 0s --json";
        let run = msggen(&format!("{flags} --batch {batch} --server {}", fake.url())).code(1);
        let report = run.balanced();
        run.assert(report["sent"] == 120, "a dead server does not stop the schedule");
        run.assert(report["failures"]["refused"].as_u64() > Some(0), "refused");
        run.assert(report["unanswered"].as_u64() > Some(0), "those in flight");
    }
}

/// A connection that its server closes right after an answer may be found closed before the next
/// request is begun on it, in its middle, or after. Only in the first case may another one carry
/// it.
#[test]
fn no_message_is_sent_twice_over_connections_that_close_between_requests() {
    let fake = FakeServer::new(|_| Reply::AnswerAndClose(200, "{\"connections\":1}".to_owned()));
    let flags = "--num 200 --interval 0 --max 1000000000 --sources 4 --json";
    let run = msggen(&format!("{flags} --server {}", fake.url()));
    let report = run.balanced();
    let requests = fake.requests();
    // Ids of so many are distinct, so a head and body name a message.
    let messages: Vec<_> = requests.iter().map(|request| (request.id(), &request.body)).collect();
    assert_distinct(&messages);
    let (answered, n_received) = (report["answered"].as_u64().unwrap(), messages.len() as u64);
    run.assert(answered > 0 && n_received >= answered, "what was answered was received");
    let unanswered = report["unanswered"].as_u64().unwrap();
    run.assert(n_received <= answered + unanswered, "what was received was answered or may be so");
}

#[test]
fn the_logs_hold_every_report_and_all_delays() {
    let fake = FakeServer::new(|_| reached(1));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let flags = format!(
        "--allow-late --num 30 --interval 5 --max 9 --json --log-interval 20ms --out {} \
         --server {}",
        path.display(),
        fake.url()
    );
    let report = msggen(&flags).code(0).balanced();
    let logged = fs::read_to_string(path.join("msggen.ndjson")).unwrap();
    let logged: Vec<Value> =
        logged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(logged.last(), Some(&report));
    assert!(logged.len() > 2, "{logged:?}");
    let figures = [
        ("send_from_due", "send_from_due"),
        ("send_from_send", "send_from_send"),
        ("lateness", "lateness"),
    ];
    for (series, figure) in figures {
        let log = fs::read(path.join(format!("msggen-{series}.hlog"))).unwrap();
        let mut total = Latency::default();
        latency_log::read(&log).unwrap().iter().for_each(|it| total.merge(&it.latency));
        assert_eq!(total.count(), 30, "{series}");
        assert_eq!(
            report[figure]["p50_us"],
            total.summary().p50_us.min(report[figure]["max_us"].as_u64().unwrap()),
            "{series}"
        );
    }
    // A second run must not mix its figures into those of the first.
    msggen(&flags).code(2).says("msggen.ndjson exists already; name another folder");
}
