//! Messages about users (`msggen --followers`): a connection is to get what is about its own ids
//! and about all whom these follow (`--follows`).

use std::io::Write as _;
use std::net::TcpListener;

use reports::books::{Extent, FloodReport};
use reports::sent::{End, Header, IdLine};
use reports::stamp::{Mark, Sender, Stamp, as_us, wall_now};
use rustix::process::Signal;
use tempfile::NamedTempFile;

use crate::support::{Ended, Server, UrlFile, hold, run, send, start, start_limited};

/// A body that lasts until the close: nothing but the marks tells messages apart.
const HEAD: &str = "HTTP/1.1 200 OK\r\nServer: other/1\r\n\r\n";

const SENDER: Sender = Sender(0x0f01_1013);

/// Who follows whom: 1 follows 2 and 3, 2 follows 3, 4 follows 1 and itself, and twice.
const FRIENDS: &str = "# of four users\n1 2\n2 3\n1 3\n4 1\n4 4\n4 1\n9 1\n";

/// Messages about a user, with these numbers.
fn about(id: u64, numbers: impl IntoIterator<Item = u64>) -> String {
    let message = |n| {
        let mark = Some(Mark { id, n, sender: SENDER });
        format!("news{};", Stamp { due_unix_us: 5, late_us: 0, mark })
    };
    numbers.into_iter().map(message).collect()
}

/// A file with this text.
fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// The sender's file: so many messages about each user, first due in an hour, all answered.
fn sent(counts: &[(u64, u64)], followers: bool) -> NamedTempFile {
    let first_due_unix_us = as_us(wall_now()) + 3_600_000_000;
    let header =
        Header { sent: 1, sender: SENDER, first_due_unix_us, followers, ..Header::default() };
    let mut lines = vec![serde_json::to_string(&header).unwrap()];
    for (id, n) in counts {
        let line = IdLine { id: *id, n: *n, ..IdLine::default() };
        lines.push(serde_json::to_string(&line).unwrap());
    }
    let end = End { end: true, last_answer_unix_us: 5, ..End::default() };
    lines.push(serde_json::to_string(&end).unwrap());
    file(&(lines.join("\n") + "\n"))
}

/// The end of a run in which connections with these ids get these texts and are held. `n_files`
/// that a process may open, if there is a limit.
fn ended(
    texts: &[(&str, String)],
    sent: &NamedTempFile,
    friends: Option<&NamedTempFile>,
    n_files: Option<u32>,
) -> Ended {
    let n_bytes: u64 = texts.iter().map(|(_, text)| (HEAD.len() + text.len()) as u64).sum();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let urls: Vec<String> =
        texts.iter().map(|(ids, _)| format!("http://{address}/test/{ids}")).collect();
    let texts: Vec<(String, String)> =
        texts.iter().map(|(ids, text)| ((*ids).to_owned(), text.clone())).collect();
    let n = texts.len() as u64;
    let _server = Server::start_on_requests(listener, move |request, stream| {
        let path = request.strip_prefix("GET /test/").unwrap().split(' ').next().unwrap();
        let (_, text) = texts.iter().find(|(ids, _)| ids == path).unwrap();
        send(stream, &format!("{HEAD}{text}"));
        hold(stream);
    });
    let urls = UrlFile::of(&urls.join("\n"));
    let sent = sent.path().to_str().unwrap();
    let mut args = vec!["--urls", urls.path(), "--rate", "max", "--json", "--report", "20ms"];
    args.extend(["--settle", "0s", "--sent", sent]);
    if let Some(friends) = friends {
        args.extend(["--follows", friends.path().to_str().unwrap()]);
    }
    let mut running = match n_files {
        None => start(&args),
        Some(n_files) => start_limited(n_files, &args),
    };
    running.wait_for(|report| report.bytes == n_bytes && report.connected == n);
    running.signal(Signal::INT);
    running.end()
}

/// What is lost, duplicated and out of order.
fn faults(report: &FloodReport) -> (Option<u64>, Option<u64>, Option<u64>) {
    (report.lost, report.duplicated, report.reordered)
}

/// What connections of these ids get when 2, 3 and 4 messages are about the users 1, 2 and 3.
fn all() -> Vec<(&'static str, String)> {
    let [one, two, three] = [about(1, 1..=2), about(2, 1..=3), about(3, 1..=4)];
    vec![
        ("1", [&*one, &two, &three].concat()),
        ("2", [&*three, &two].concat()),
        ("3", three.clone()),
        ("4", one.clone()),
        // Two ids, of which one follows the other: once all the same.
        ("1,2", [&*two, &one, &three].concat()),
        // Nobody whom it follows was written about, and nobody wrote about it.
        ("5", String::new()),
    ]
}

const COUNTS: [(u64, u64); 3] = [(1, 2), (2, 3), (3, 4)];

#[test]
fn what_is_about_all_whom_an_id_follows_is_expected_and_nothing_else() {
    let ended = ended(&all(), &sent(&COUNTS, true), Some(&file(FRIENDS)), None).with_code(0);
    let report = ended.report();
    assert_eq!(faults(&report), (Some(0), Some(0), Some(0)));
    // 2, 3 and 4 messages, to the connections of the user and of its followers: 1, 4 and both of
    // 1,2; 2, 1 and both; 3, 2, 1 and both.
    assert_eq!(report.messages, 2 * 3 + 3 * 3 + 4 * 4);
    assert_eq!((report.heard, report.unheard), (5, 1));
    let judged = report.judged;
    assert_eq!([judged.beginning, judged.middle, judged.end], [Extent::All; 3]);
}

#[test]
fn in_several_processes_each_knows_whom_its_own_connections_follow() {
    // So few files that each process holds some of two hundred connections.
    let mut texts: Vec<(String, String)> = Vec::new();
    for user in 1..=200 {
        texts.push((user.to_string(), [about(user, 1..=2), about(user % 200 + 1, 1..=2)].concat()));
    }
    // One has lost one about the user that it follows.
    texts[99].1 = [about(100, 1..=2), about(101, 1..=1)].concat();
    let texts: Vec<(&str, String)> =
        texts.iter().map(|(id, text)| (id.as_str(), text.clone())).collect();
    let edges: Vec<_> = (1..=200).map(|user| format!("{user} {}\n", user % 200 + 1)).collect();
    let counts: Vec<(u64, u64)> = (1..=200).map(|user| (user, 2)).collect();
    let report = ended(&texts, &sent(&counts, true), Some(&file(&edges.concat())), Some(150))
        .with_code(1)
        .report();
    assert_eq!(faults(&report), (Some(1), Some(0), Some(0)));
    assert_eq!((report.messages, report.judged.end), (4 * 200 - 1, Extent::All));
    assert!(report.worst[0].url.ends_with("/test/100"), "{:?}", report.worst);
}

#[test]
fn what_is_missing_about_those_whom_an_id_follows_is_lost() {
    let mut texts = all();
    texts[0].1 = [about(1, 1..=2), about(2, 2..=3), about(3, 1..=2)].concat(); // 1 and 2
    texts[1].1 = about(2, 1..=3); // all four about 3
    texts[3].1 = String::new(); // both about 1
    let report =
        ended(&texts, &sent(&COUNTS, true), Some(&file(FRIENDS)), None).with_code(1).report();
    assert_eq!(faults(&report), (Some(1 + 2 + 4 + 2), Some(0), Some(0)));
}

#[test]
fn without_the_list_nothing_is_judged_by_the_senders_file_and_it_says_so() {
    let ended = ended(&all(), &sent(&COUNTS, true), None, None).with_code(1);
    let report = ended.report();
    let [note] = report.notes.as_slice() else { panic!("{:?}", report.notes) };
    assert!(note.ends_with("went to followers; --follows FILE says who they are"), "{note}");
    assert_eq!(report.judged.end, Extent::None);
}

#[test]
fn of_messages_to_ids_alone_it_does_not_matter_who_follows_whom() {
    let texts = [("1", about(1, 1..=2)), ("2", about(2, 1..=3))];
    let report = ended(&texts, &sent(&COUNTS, false), Some(&file(FRIENDS)), None).with_code(0);
    assert_eq!(faults(&report.report()), (Some(0), Some(0), Some(0)));
}

#[test]
fn a_bad_list_is_named_before_the_first_connect() {
    let urls = UrlFile::of("http://127.0.0.1:9/test/1");
    let sent = sent(&COUNTS, true);
    let friends = file("1 2\n\n3 0\n");
    let path = friends.path().to_str().unwrap();
    let args = ["--urls", urls.path(), "--sent", sent.path().to_str().unwrap(), "--follows"];
    let flags = [&args[..], &[path]].concat();
    run(&flags)
        .with_code(2)
        .mentioning(&format!("floodtest: --follows: {path}:3: not an edge: \"3 0\""));
    let flags = [&args[..], &["/nowhere/friends"]].concat();
    run(&flags).with_code(2).mentioning("--follows: cannot read /nowhere/friends: No such file");
    let flags = ["--urls", urls.path(), "--follows", path];
    run(&flags).with_code(2).mentioning("--sent <FILE>");
}
