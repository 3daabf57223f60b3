//! The file of what was sent to each id.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use reports::sent::Sent;
use reports::stamp::Stamp;
use rustix::process::Signal;

use crate::support::{FakeServer, Reply, msggen, reached, start, start_after};

/// What a server did with the messages to one id: their numbers, in the order in which they came.
#[derive(Debug, Default, PartialEq, Eq)]
struct OfId {
    taken: Vec<u64>,
    refused: Vec<u64>,
    silent: Vec<u64>,
}

/// What a server did with all messages.
type Record = Mutex<BTreeMap<u64, OfId>>;

/// A server that refuses some messages and never answers others, and what it did.
fn fickle() -> (FakeServer, &'static Record) {
    let record: &Record = Box::leak(Box::default());
    let fake = FakeServer::new(|request| {
        let mark = Stamp::first_in(request.body.as_bytes()).unwrap().mark.unwrap();
        let mut record = record.lock().unwrap();
        let of_id = record.entry(mark.id).or_default();
        match request.number % 10 {
            2 | 5 => {
                of_id.refused.push(mark.n);
                Reply::Answer(503, "busy".to_owned())
            }
            7 => {
                of_id.silent.push(mark.n);
                Reply::BytesAndClose("")
            }
            _ => {
                of_id.taken.push(mark.n);
                reached(1)
            }
        }
    });
    (fake, record)
}

/// All numbers of some ranges.
fn numbers(ranges: &[(u64, u64)]) -> Vec<u64> {
    ranges.iter().flat_map(|(from, to)| *from..=*to).collect()
}

/// What the file says.
fn read(path: &Path) -> Sent {
    Sent::read(path, |_| true).unwrap()
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_file_says_of_every_id_what_the_server_knows() {
    for more in ["--max 5", "--max 5000000000 --distribution hot:0.0000001%=99%"] {
        for way in ["--server", "--to"] {
            let (fake, record) = fickle();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("sent");
            let flags = format!(
                "--num 50 --sources 4 --interval 0 --seed 3 --stamp --json \
                 --sent {} {more} {way} {}",
                path.display(),
                fake.url()
            );
            let run = msggen(&flags).code(1);
            let report = run.balanced();
            let sent = read(&path);
            assert_eq!(report["sender"], sent.header.sender.to_string());
            assert_eq!((sent.header.seed, sent.header.targets.len()), (3, 1));
            assert!(sent.header.targets[0].starts_with(&fake.url()), "{:?}", sent.header);
            let end = sent.end.unwrap();
            let figures = [end.messages, end.answered, end.failed, end.unanswered];
            let reported = ["sent", "answered", "failed", "unanswered"];
            assert_eq!(
                figures.map(serde_json::Value::from),
                reported.map(|name| report[name].clone())
            );
            assert!(sent.header.first_due_unix_us < end.last_answer_unix_us);
            let record = record.lock().unwrap();
            assert_eq!((end.ids, sent.ids.len()), (record.len() as u64, record.len()));
            for (id, of_id) in record.iter() {
                let line = &sent.ids[id];
                let n = of_id.taken.len() + of_id.refused.len() + of_id.silent.len();
                assert_eq!(line.n, n as u64, "{line:?} {of_id:?}");
                assert_eq!(numbers(&line.failed), of_id.refused, "{line:?}");
                assert_eq!(numbers(&line.unanswered), of_id.silent, "{line:?}");
            }
            assert_eq!(names(folder.path()), ["sent"], "nothing else is left");
        }
    }
}

#[test]
fn in_a_batch_the_first_were_answered_and_the_others_failed() {
    let fake = FakeServer::new(|_| {
        let body = "{\"error\":\"line 3: busy\",\"messages\":2,\"connections\":2,\"void\":0}";
        Reply::Answer(503, body.to_owned())
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sent");
    let flags = "--num 10 --interval 0 --max 1 --batch 5 --stamp";
    msggen(&format!("{flags} --sent {} --server {}", path.display(), fake.url())).code(1);
    let line = &read(&path).ids[&1];
    assert_eq!((line.n, &line.failed[..]), (10, &[(3, 5), (8, 10)][..]));
}

#[test]
fn messages_that_never_left_have_no_number() {
    let fake = FakeServer::new(|request| if request.number < 4 { reached(1) } else { Reply::Die });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sent");
    let flags = "--num 10 --interval 0 --max 1 --reconnect 0s --stamp --json";
    let run = msggen(&format!("{flags} --sent {} --server {}", path.display(), fake.url())).code(1);
    let n_refused = run.balanced()["failures"]["refused"].as_u64().unwrap();
    run.assert(n_refused >= 4, "what the server took before it was gone is unanswered");
    let sent = read(&path);
    assert_eq!((sent.ids[&1].n, numbers(&sent.ids[&1].failed).len()), (10 - n_refused, 0));
    assert_eq!(sent.ids[&1].unanswered, [(5, 10 - n_refused)]);
    assert_eq!(sent.end.unwrap().failed, n_refused);
}

#[test]
fn an_interrupted_run_writes_it_too() {
    let fake =
        FakeServer::new(|request| if request.number < 7 { reached(1) } else { Reply::Silence });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sent");
    let flags = "--num 100k --interval 1 --max 1 --sources 3 --stamp --json";
    let run = start(&format!("{flags} --sent {} --server {}", path.display(), fake.url()));
    for _ in 0..8 {
        fake.next_request();
    }
    assert_eq!(names(folder.path()), [""; 0], "not before the end");
    run.signal(Signal::INT);
    run.finish().code(1);
    let sent = read(&path);
    assert_eq!((sent.ids[&1].n, &sent.ids[&1].unanswered[..]), (8, &[(8, 8)][..]));
    assert_eq!(sent.end.unwrap().answered, 7);
}

#[test]
fn a_disk_that_takes_it_not_is_an_error_and_nothing_else_is_lost() {
    let fake = FakeServer::open();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sent");
    fs::write(&path, "of an earlier run").unwrap();
    let flags = "--num 3k --interval 0 --max 100k --batch 100 --stamp --json";
    let flags = format!("{flags} --sent {} --server {}", path.display(), fake.url());
    // A file may have 512 bytes or a KiB, and a write beyond that is an error.
    let run = start_after("trap '' XFSZ; ulimit -f 1", &flags).finish().code(1);
    let run = run.says(&format!("msggen: cannot write {}: File too large", path.display()));
    assert_eq!(run.balanced()["answered"], 3_000);
    assert_eq!(names(folder.path()), ["sent"], "no half of a file is left");
    assert_eq!(fs::read_to_string(&path).unwrap(), "of an earlier run");
}

#[test]
fn a_file_that_cannot_be_written_is_refused_before_the_run() {
    let fake = FakeServer::open();
    let folder = tempfile::tempdir().unwrap();
    let flags = format!("--num 1 --interval 0 --max 1 --stamp --server {}", fake.url());
    for (path, why) in [
        ("/no/such/folder/sent", "msggen: cannot write /no/such/folder/sent: No such file"),
        ("/dev/null", "msggen: cannot write /dev/null: it is there and is no regular file"),
        (folder.path().to_str().unwrap(), "it is there and is no regular file; name another"),
    ] {
        msggen(&format!("{flags} --sent {path}")).code(2).says(why);
    }
    assert_eq!(fake.requests().len(), 0);
}
