//! Servers that are killed in the middle of changes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{Folder, lines};
use crate::support::{Client, Server};

/// How often a server is killed, if the environment does not say.
const KILLS: u64 = 6;

/// The variable that says how often.
const KILLS_VARIABLE: &str = "COMET_FRIENDS_KILLS";

/// Askers that change something at the same time, each users of its own.
const ASKERS: u64 = 4;

/// What an asker knows: what was acknowledged, and what was asked and not answered.
#[derive(Debug, Default)]
struct Known {
    acknowledged: BTreeSet<(u64, u64)>,
    in_doubt: Option<BTreeSet<(u64, u64)>>,
}

impl Known {
    /// Asks for changes until the server is gone.
    fn go_on(&mut self, server: &Server, rng: &mut StdRng, asker: u64, is_off: &AtomicBool) {
        let mut client = Client::connect(server.control);
        while !is_off.load(Ordering::Relaxed) {
            let mut after = self.acknowledged.clone();
            let mut changes = Vec::new();
            for _ in 0..rng.random_range(1..30) {
                // No two askers have a user who follows in common, so that each knows its own.
                let follower = 1 + asker + ASKERS * rng.random_range(0..10_u64);
                let friend = rng.random_range(1_000..1_020_u64);
                let begins = rng.random_range(0..3) > 0;
                let pair = (follower, friend);
                if begins {
                    after.insert(pair)
                } else {
                    after.remove(&pair)
                };
                let signed = |id: u64| i64::try_from(id).unwrap();
                let sign = if begins { 1 } else { -1 };
                changes.push((sign * signed(follower), signed(friend)));
            }
            if ask(&mut client, &lines(&changes)) {
                self.acknowledged = after;
            } else {
                self.in_doubt = Some(after);
                return;
            }
        }
    }

    /// What is there is what was acknowledged, or with all of what was not answered.
    fn check(&mut self, there: BTreeSet<(u64, u64)>) {
        let in_doubt = self.in_doubt.take();
        assert!(
            there == self.acknowledged || Some(&there) == in_doubt.as_ref(),
            "{there:?} is neither {:?} nor {in_doubt:?}",
            self.acknowledged
        );
        self.acknowledged = there;
    }
}

/// Posts changes on a kept connection. Returns whether they were acknowledged.
fn ask(client: &mut Client, body: &str) -> bool {
    use std::io::{Read as _, Write as _};
    let head = "POST /friends HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/x-ndjson\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    if client.stream.write_all(request.as_bytes()).is_err() {
        return false;
    }
    let mut answer = Vec::new();
    let mut bytes = [0; 512];
    // A small answer, which ends in the only brace.
    while !answer.ends_with(b"}") {
        match client.stream.read(&mut bytes) {
            Ok(0) | Err(_) => return false,
            Ok(n) => answer.extend_from_slice(&bytes[..n]),
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    true
}

#[test]
fn a_server_that_is_killed_loses_nothing_that_it_acknowledged() {
    let n_kills = std::env::var(KILLS_VARIABLE).map_or(KILLS, |n| n.parse().unwrap());
    let folder = Folder::new();
    let mut askers: Vec<Known> = (0..ASKERS).map(|_| Known::default()).collect();
    let mut n_before = 0;
    for kill in 0..n_kills {
        let server = folder.server(&[]);
        let is_off = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for (asker, known) in (0..).zip(&mut askers) {
                let mut rng = StdRng::seed_from_u64(kill * ASKERS + asker);
                let (server, is_off) = (&server, &is_off);
                scope.spawn(move || known.go_on(server, &mut rng, asker, is_off));
            }
            // At another moment each time: after so many commits, wherever it is in the next.
            let wanted = kill % 7 * 40;
            let mut door = server.door();
            testing::wait_until("some changes", || {
                let (_, stats) = door.ask("GET", "/stats", "");
                let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
                stats["follow_changes"].as_u64().unwrap() >= wanted
            });
            server.signal("-KILL");
            is_off.store(true, Ordering::Relaxed);
        });
        drop(server);
        let (code, said) = folder.say("check");
        assert_eq!(code, Some(0), "after kill {kill}: {said}");
        let (_, dumped) = folder.say("dump");
        let edges = dumped.lines().map(|line| {
            let (follower, friend) = line.split_once(' ').unwrap();
            (follower.parse::<u64>().unwrap(), friend.parse::<u64>().unwrap())
        });
        let edges: BTreeSet<_> = edges.collect();
        for (asker, known) in (0..).zip(&mut askers) {
            let own = edges.iter().filter(|edge| (edge.0 - 1) % ASKERS == asker);
            known.check(own.copied().collect());
        }
        n_before += edges.len();
    }
    assert!(n_before > 0, "nothing was ever there");
}
