//! `msggen friends`: graphs as a program writes them; `--followers`: messages about users.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use reports::sent::Sent;

use crate::support::{FakeServer, Reply, msggen};

#[test]
fn a_graph_goes_to_stdout_and_the_same_one_into_a_file() {
    let folder = tempfile::tempdir().unwrap();
    for shape in ["ba", "uniform", "ring"] {
        let flags = format!("friends --users 1k --follows 3 --shape {shape} --seed 5");
        let run = msggen(&flags).code(0);
        run.assert(run.stderr.is_empty(), "nothing is said");
        assert_eq!(run.stdout.lines().count(), 3_000);
        let path = folder.path().join(shape);
        std::fs::write(&path, "what was there before").unwrap();
        let run_to_file = msggen(&format!("{flags} --out {}", path.display())).code(0);
        run_to_file.assert(run_to_file.stdout.is_empty(), "nothing goes to stdout");
        assert!(std::fs::read_to_string(&path).unwrap() == run.stdout, "{shape}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "no other file is left");
}

#[test]
fn without_a_seed_another_graph_comes_each_time_and_can_be_repeated() {
    let first = msggen("friends --users 100 --follows 2").code(0).says("--seed ");
    let (_, seed) = first.stderr.trim().split_once("msggen: the seed is ").unwrap();
    let (seed, _) = seed.split_once(';').unwrap();
    let again = msggen(&format!("friends --users 100 --follows 2 --seed {seed}")).code(0);
    assert_eq!(first.stdout, again.stdout);
    let other = msggen("friends --users 100 --follows 2").code(0);
    assert_ne!(first.stdout, other.stdout);
}

#[test]
fn what_is_no_graph_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("friends.txt").display().to_string();
    for (flags, why) in [
        ("--follows 15".to_owned(), "--users <N>"),
        ("--users 0".to_owned(), "must be at least 1"),
        ("--users 5000m".to_owned(), "must be at most 4294967295: ids have 32 bits here"),
        ("--users 15".to_owned(), "15 users cannot follow 15 others each"),
        ("--users 9 --follows 0".to_owned(), "must be at least 1"),
        ("--users 20k --follows 10001".to_owned(), "must be at most 10000"),
        ("--users 100m".to_owned(), "1500000000 edges are more than the 250000000 that --shape ba"),
        ("--users 99 --shape star".to_owned(), "write ba (Barabási–Albert), uniform or ring"),
        ("--users 99 --num 3".to_owned(), "--num"),
        (format!("--users 99 --out {}", folder.path().display()), "is no regular file"),
    ] {
        let out = if flags.contains("--out") { String::new() } else { format!("--out {out}") };
        let run = msggen(&format!("friends {flags} {out}")).code(2).says(why);
        run.assert(run.stderr.starts_with("msggen: "), "it says who speaks");
    }
    msggen("--num 5 friends --users 99").code(2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was written");
}

#[test]
fn a_reader_that_has_read_enough_ends_it_well() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_msggen"));
    command.args(["friends", "--users", "100k", "--shape", "ring", "--seed", "1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((line.as_str(), output.status.code()), ("1 2\n", Some(0)));
    assert!(output.stderr.is_empty(), "{output:?}");
}

/// A server whose users have as many followers as their ids say, one in two of them logged in.
fn friendly() -> FakeServer {
    FakeServer::new(|request| {
        let to_followers = |id: u64| (id / 2, id);
        if request.head.starts_with("POST /send HTTP/1.1\r\n") {
            let ids: Vec<u64> = request.lines().into_iter().map(|(id, _)| id).collect();
            assert_eq!(request.body.matches(r#","to":"followers","msg":""#).count(), ids.len());
            let all = ids.iter().map(|id| to_followers(*id));
            let (connections, followers): (Vec<u64>, Vec<u64>) = all.unzip();
            let void = connections.iter().filter(|n| **n == 0).count();
            let [connections, followers] =
                [connections, followers].map(|all| all.iter().sum::<u64>());
            let told = format!("\"connections\":{connections},\"messages_void\":{void}");
            let n = ids.len();
            Reply::Answer(200, format!("{{\"messages\":{n},{told},\"followers\":{followers}}}"))
        } else {
            let path = request.head.split(' ').nth(1).unwrap();
            let id = path.strip_prefix("/send/").and_then(|it| it.strip_suffix("?to=followers"));
            let (connections, followers) = to_followers(id.unwrap().parse().unwrap());
            Reply::Answer(
                200,
                format!("{{\"connections\":{connections},\"followers\":{followers}}}"),
            )
        }
    })
}

#[test]
fn messages_about_users_are_counted_with_their_followers() {
    let folder = tempfile::tempdir().unwrap();
    for batch in ["", "--batch 7"] {
        let fake = friendly();
        let sent = folder.path().join("sent.ndjson");
        let flags = "--num 300 --interval 0 --max 9 --stamp --seed 1 --json --expect followers>0";
        let sent_flag = format!("--sent {}", sent.display());
        let server = fake.url();
        let run = msggen(&format!("{flags} --followers {batch} {sent_flag} --server {server}"));
        let report = run.code(0).balanced();
        let file = Sent::read(&sent, |_| true).unwrap();
        assert!(file.header.followers, "whoever judges what came is told");
        let sum =
            |of: fn(u64) -> u64| -> u64 { file.ids.values().map(|it| it.n * of(it.id)).sum() };
        let expected = [
            ("followers", sum(|id| id)),
            ("connections", sum(|id| id / 2)),
            ("void", sum(|id| u64::from(id == 1))),
            ("reached", sum(|id| u64::from(id > 1))),
        ];
        for (name, n) in expected {
            assert_eq!(report[name], n, "{name}, {batch}");
        }
    }
}

#[test]
fn a_server_that_knows_nothing_of_followers_is_not_taken_for_one_that_does() {
    let fake = FakeServer::open();
    for batch in ["", "--batch 5"] {
        let flags = format!("--num 5 --interval 0 --max 9 --followers {batch}");
        msggen(&format!("{flags} --server {}", fake.url()))
            .code(2)
            .says("5 of 5 messages failed: bad answer 5");
    }
    let without = "{\"error\":\"this server has no --friends\"}";
    let fake = FakeServer::new(move |_| Reply::Answer(503, without.to_owned()));
    msggen(&format!("--num 1 --interval 0 --max 9 --followers --server {}", fake.url()))
        .code(2)
        .says("1 of 1 message failed: status 503 1");
    let fake = FakeServer::open();
    let report = msggen(&format!("--num 5 --interval 0 --max 9 --json --server {}", fake.url()));
    assert!(report.balanced()["followers"].is_null(), "without --followers nothing is said");
}

#[test]
fn followers_are_asked_for_only_where_somebody_can_know_them() {
    let always = "--num 5 --interval 0 --max 9 --followers";
    for (flags, why) in [
        ("--to http://127.0.0.1:9/{id}", "cannot be used with"),
        (
            "--server http://127.0.0.1:9 --server http://127.0.0.1:10",
            "--followers goes to one server",
        ),
    ] {
        msggen(&format!("{always} {flags}")).code(2).says(why);
    }
}
