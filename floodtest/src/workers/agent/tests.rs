//! An agent at the other end of plain pipes.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;

use clap::Parser;

use super::*;
use crate::args::Cli;
use crate::job::Job;
use crate::prepare::Prepared;
use crate::share::{HostShare, Share};
use crate::tally::Tally;
use crate::workers::wire::Said;

/// How long anything may take. Reached only when a test fails.
const DEADLINE: Duration = Duration::from_mins(1);

/// A parent with an agent in a thread.
struct Parent {
    /// What tells the agent what to do.
    orders: Option<io::PipeWriter>,
    /// What it says, line by line.
    lines: Receiver<String>,
    /// What became of it.
    result: Receiver<io::Result<()>>,
}

impl Parent {
    /// Starts an agent whose further workers are `program`; it has said hello.
    fn of(program: &Path) -> Self {
        let (theirs, orders) = io::pipe().unwrap();
        let (said, answers) = io::pipe().unwrap();
        let (ended, result) = sync_channel(1);
        let program = program.to_owned();
        thread::spawn(move || {
            let orders = File::from(OwnedFd::from(theirs));
            let answers = File::from(OwnedFd::from(answers));
            ended.send(run_agent(&program, orders, answers)).unwrap();
        });
        let (each, lines) = sync_channel(1_024);
        thread::spawn(move || {
            let mut whole = BufReader::new(said).lines().map_while(Result::ok);
            whole.try_for_each(|line| each.send(line))
        });
        let parent = Self { orders: Some(orders), lines, result };
        let hello = parent.line();
        let hello: Hello = serde_json::from_str(hello.strip_prefix(HELLO).unwrap()).unwrap();
        assert_eq!((hello.protocol, &*hello.version), (PROTOCOL, about::version()));
        assert!(hello.open_files > 0);
        parent
    }

    /// Tells the agent something.
    fn tell(&mut self, text: &str) {
        self.orders.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// What it says next.
    fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).unwrap()
    }

    /// What it says next, of itself.
    fn answer(&self) -> OfAgent {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// What worker `k` says next, before anybody else does.
    fn said(&self, k: usize) -> Said<Tally> {
        let line = self.line();
        serde_json::from_str(line.strip_prefix(&format!("{k} ")).expect(&line)).unwrap()
    }

    /// What became of the agent once nobody speaks to it any more.
    fn end(mut self) -> io::Result<()> {
        self.orders = None;
        self.result.recv_timeout(DEADLINE).unwrap()
    }
}

#[test]
fn a_ping_is_answered_with_the_time_and_the_end_of_orders_is_the_end() {
    let mut parent = Parent::of(Path::new("none"));
    let before = monotonic::now_us();
    parent.tell("{\"Ping\":{\"sent_us\":-7}}\n{\"Ping\":{\"sent_us\":8}}\n");
    let OfAgent::Pong { sent_us: -7, there_us, .. } = parent.answer() else { panic!() };
    assert!((before..=monotonic::now_us()).contains(&there_us));
    assert!(matches!(parent.answer(), OfAgent::Pong { sent_us: 8, .. }));
    parent.end().unwrap();
}

#[test]
fn orders_that_make_no_sense_end_it_with_the_reason() {
    let job = job(1);
    let prepare = serde_json::to_string(&ToAgent::Prepare(Box::new(job))).unwrap() + "\n";
    for (orders, reason) in [
        ("hello\n", "what came is no order"),
        ("x ?\n", "what came is no order"),
        ("0 ?\n", "there is no such worker"),
        ("\"Spawn\"\n", "no run was prepared"),
        (&prepare, "when its URL file is there"),
        ("{\"File\":{\"file\":0,\"bytes\":99999999999}}\n", "of more than 4 GiB"),
        ("{\"File\":{\"file\":1,\"bytes\":1}}\n", "numbered from 0 on, to 999"),
        ("{\"Ping\":{}}\n", "missing field `sent_us`"),
    ] {
        let mut parent = Parent::of(Path::new("none"));
        parent.tell(orders);
        let OfAgent::Failed(why) = parent.answer() else { panic!("{orders}") };
        assert!(why.contains(reason), "{orders}: {why}");
        parent.end().unwrap_err();
    }
}

/// A job of two of three connections, to this port.
fn job(port: u16) -> Job {
    let lines: Vec<String> =
        (0..9).map(|id| format!("http://127.0.0.1:{port}/test/{id}\n")).collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.concat().as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let cli = Cli::try_parse_from(["floodtest", "--urls", path, "--rate", "max", "--hosts", "a"]);
    let cli = cli.unwrap();
    let hold = cli.hold.unwrap();
    let config = hold.config(&cli.accounting, &cli.streams, &cli.shape, false);
    let mut job = Job::whole(&config, &mut Prepared::new(&config).unwrap());
    job.share = Share { host: HostShare { from: 1, weight: 2, period: 3 }, index: 0, of: 1 };
    job
}

#[test]
fn a_host_holds_its_share_by_urls_that_came_through_the_pipe() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let lines: Vec<String> =
        (0..9).map(|id| format!("http://127.0.0.1:{port}/test/{id}\n")).collect();
    let text = lines.concat();
    let prepare = serde_json::to_string(&ToAgent::Prepare(Box::new(job(port)))).unwrap();
    let mut parent = Parent::of(Path::new("none"));
    // A file may come again, as those of senders do.
    parent.tell("{\"File\":{\"file\":0,\"bytes\":3}}\nabc");
    assert!(matches!(parent.answer(), OfAgent::Filed { file: 0, .. }));
    parent.tell(&format!("{{\"File\":{{\"file\":0,\"bytes\":{}}}}}\n{text}", text.len()));
    let OfAgent::Filed { file: 0, path } = parent.answer() else { panic!() };
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
    parent.tell(&format!("{prepare}\n"));
    let OfAgent::Prepared(plan) = parent.answer() else { panic!() };
    assert_eq!((plan.asked, plan.workers), (6, 0));
    parent.tell("\"Spawn\"\n");
    assert!(matches!(parent.said(0), Said::Ready));
    let start_us = monotonic::now_us() + 50_000;
    parent.tell(&format!("0 start {start_us}\n"));
    let mut asked = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..6 {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(monotonic::now_us() >= start_us, "none is dialed before the start");
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        asked.push(line.split(' ').nth(1).unwrap().rsplit('/').next().unwrap().to_owned());
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
        stream.write_all(head).unwrap();
        streams.push(stream);
    }
    asked.sort();
    assert_eq!(asked, ["1", "2", "4", "5", "7", "8"]);
    let Said::Counts { n_asked: 0, is_settled: true, tally } = parent.said(0) else { panic!() };
    assert_eq!(tally.connected, 6);
    parent.tell("0 ?\n0 stop\n");
    assert!(matches!(parent.said(0), Said::Counts { n_asked: 1, .. }));
    let Said::Done { tally, .. } = parent.said(0) else { panic!() };
    assert_eq!(tally.connected, 6);
    let OfAgent::Ended { worker: 0, .. } = parent.answer() else { panic!() };
    parent.tell("0 ?\n{\"Ping\":{\"sent_us\":0}}\n");
    assert!(matches!(parent.answer(), OfAgent::Pong { .. }), "what is said to the dead is lost");
    parent.end().unwrap();
}
