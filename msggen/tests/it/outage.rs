//! A server that goes away in mid-run, and comes back or does not.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use rustix::process::Signal;

use crate::support::{
    DEADLINE, FakeServer, Reply, Request, assert_distinct, msggen, reached, start, start_unread,
    wait_for_report,
};

/// Requests as (id, body), which names a message where ids of so many are distinct.
fn messages(requests: &[Request]) -> Vec<(u64, &str)> {
    requests.iter().map(|request| (request.id(), request.body.as_str())).collect()
}

#[test]
fn sources_go_on_where_they_were_when_the_server_is_back() {
    for interval in ["5", "0"] {
        let first = FakeServer::new(|it| if it.number < 20 { reached(1) } else { Reply::Die });
        let (server, address) = (first.url(), first.address());
        let flags = "--num 50 --max 1000000000 --sources 3 --json";
        let run = start(&format!("{flags} --interval {interval} --server {server}"));
        let mut requests: Vec<Request> = (0..=20).map(|_| first.next_request()).collect();
        requests.extend(first.requests());
        drop(first);
        let second = FakeServer::at(address, |_| reached(1));
        let run = run.finish().code(1);
        let report = run.balanced();
        run.assert(report["sent"] == 150 && report["failed"] == 0, "every message was sent");
        let unanswered = report["unanswered"].as_u64().unwrap();
        // One for each source that was in flight, and one for each that was quick enough to connect
        // while the server fell shut.
        run.assert((1..=6).contains(&unanswered), "no more than were in flight");
        requests.extend(second.requests());
        let messages = messages(&requests);
        assert_distinct(&messages);
        let n_answered = report["answered"].as_u64().unwrap();
        let n_received = messages.len() as u64;
        run.assert(n_received >= n_answered && n_received <= 150, "nothing was sent twice");
    }
}

#[test]
fn what_waited_too_long_for_a_server_failed_and_the_run_ends() {
    for to in ["--server", "--to"] {
        let fake = FakeServer::new(|it| if it.number < 10 { reached(1) } else { Reply::Die });
        let flags = "--num 30 --interval 5 --max 9 --reconnect 200ms --json";
        let run = msggen(&format!("{flags} {to} http://{}", fake.address())).code(1);
        let report = run.balanced();
        run.assert(report["sent"] == 30, "nothing is left");
        run.assert(report["failures"]["refused"].as_u64() > Some(10), "they failed");
        run.assert(report["lateness"]["max_us"].as_u64() > Some(100_000), "after a while");
    }
}

#[test]
fn a_run_can_be_ended_while_it_waits_for_a_server() {
    for to in ["--server", "--to"] {
        let fake = FakeServer::new(|it| if it.number < 3 { reached(1) } else { Reply::Die });
        let flags = "--num 1k --interval 5 --max 9 --reconnect 1h --report 20ms --json";
        let mut run = start_unread(&format!("{flags} {to} http://{}", fake.address()));
        let mut reports = run.stdout_lines();
        wait_for_report(&mut reports, |it| it["unanswered"] != 0 || it["failed"] != 0);
        run.signal(Signal::INT);
        let last = reports.last().unwrap();
        let mut run = run.finish().code(1);
        run.stdout = last;
        run.assert(run.balanced()["sent"].as_u64() < Some(20), "nothing is sent to nobody");
    }
}

/// A comet-server in a process of its own, and connections to it.
struct Server {
    /// The process.
    process: Child,
    /// Where its clients connect.
    listen: String,
    /// Where messages go.
    control: String,
}

impl Server {
    /// Starts the server that cargo builds from this workspace.
    fn start() -> Self {
        let programs = testing::build(env!("CARGO_BIN_EXE_msggen"), &["comet-server"]);
        let mut process = Command::new(programs.join("comet-server"))
            .args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let listen = said.next().unwrap();
        let listen = listen.strip_prefix("listening on http://").unwrap();
        let control = said.next().unwrap();
        Self {
            process,
            listen: listen.strip_suffix("/test/{id}").unwrap().to_owned(),
            control: control.strip_prefix("control on ").unwrap().to_owned(),
        }
    }

    /// Follows `id`; the thread returns how many messages came until the connection ended.
    fn follow(&self, id: u64) -> JoinHandle<u64> {
        let mut stream = TcpStream::connect(&self.listen).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET /test/{id} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        std::thread::spawn(move || {
            let mut text = Vec::new();
            // It ends with the process: in order, or by a reset.
            let _ = reader.read_to_end(&mut text);
            String::from_utf8(text).unwrap().matches("'<br/>\r\n").count() as u64
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }
}

/// Every id has one connection, so a message that was answered was received once, and one that was
/// not answered at most once.
#[test]
fn the_totals_of_a_run_whose_server_is_killed_balance_with_what_its_clients_received() {
    for flags in ["--interval 0", "--interval 0 --batch 20 --in-flight 4", "--interval 1"] {
        let mut server = Server::start();
        let clients: Vec<_> = (1..=10).map(|id| server.follow(id)).collect();
        let control = &server.control;
        let always = "--num 10M --max 10 --sources 4 --reconnect 0s --report 20ms --json --server";
        let mut run = start_unread(&format!("{always} {control} {flags}"));
        let mut reports = run.stdout_lines();
        wait_for_report(&mut reports, |it| it["answered"].as_u64() > Some(200));
        server.process.kill().unwrap();
        wait_for_report(&mut reports, |it| it["failures"]["refused"].as_u64() > Some(0));
        run.signal(Signal::INT);
        let last = reports.last().unwrap();
        let mut run = run.finish().code(1);
        run.stdout = last;
        let report = run.balanced();
        let figure = |name: &str| report[name].as_u64().unwrap();
        run.assert(figure("void") == 0, "every id has a connection");
        let received = clients.into_iter().map(|client| client.join().unwrap()).sum();
        let (answered, unanswered) = (figure("answered"), figure("unanswered"));
        run.assert(
            (answered..=answered + unanswered).contains(&received),
            &format!("{received} received"),
        );
    }
}
