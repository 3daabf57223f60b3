//! Who follows whom, and messages to all followers.

mod changes;
mod crash;
mod sends;
mod stores;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Server, run};

/// What lines of JSON are sent as.
const NDJSON: &str = "Content-Type: application/x-ndjson\r\n";

/// A folder with a store in it, removed when it is dropped.
struct Folder(tempfile::TempDir);

impl Folder {
    /// An empty one, in which a server begins a store.
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One with a store of these edges.
    fn loaded(edges: &str) -> Self {
        let folder = Self::new();
        std::fs::write(folder.0.path().join("edges"), edges).unwrap();
        let loaded = folder.load();
        assert!(loaded.status.success(), "{loaded:?}");
        folder
    }

    /// Loads the edges that stand in it.
    fn load(&self) -> std::process::Output {
        let (edges, store) = (self.0.path().join("edges"), self.store());
        let (edges, store) = (edges.to_str().unwrap(), store.to_str().unwrap());
        run(&["friends", "load", edges, "--into", store])
    }

    /// The folder of the store.
    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    /// A server with the store.
    fn server(&self, flags: &[&str]) -> Server {
        let store = self.store();
        let own = ["--friends", store.to_str().unwrap()];
        Server::start(&[&own, flags].concat())
    }

    /// What `friends dump` or `friends check` says of it.
    fn say(&self, command: &str) -> (Option<i32>, String) {
        let output = run(&["friends", command, self.store().to_str().unwrap()]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }
}

/// Changes, as lines: `7 9` begins and `-7 9` ceases to follow.
fn lines(changes: &[(i64, i64)]) -> String {
    let line = |&(follower, friend): &(i64, i64)| {
        let verb = if follower < 0 { "unfollow" } else { "follow" };
        format!("{{\"{verb}\":[{},{friend}]}}\n", follower.abs())
    };
    changes.iter().map(line).collect()
}

/// Carries out changes. Returns how many changed something.
fn change(server: &Server, changes: &[(i64, i64)]) -> u64 {
    let (status, answer) = server.ask("POST", "/friends", NDJSON, &lines(changes));
    assert_eq!(status, 200, "{answer}");
    let count = |name: &str| answer[name].as_u64().unwrap();
    assert_eq!(count("changed") + count("unchanged"), changes.len() as u64);
    count("changed")
}

/// Sends to followers. Returns how many connections were reached, and how many followers there are.
fn send_about(server: &Server, id: u64, message: &str) -> (u64, u64) {
    let path = format!("/send/{id}?to=followers");
    let (status, answer) = server.ask("POST", &path, "", message);
    assert_eq!(status, 200, "{answer}");
    (answer["connections"].as_u64().unwrap(), answer["followers"].as_u64().unwrap())
}

/// A list, in parts of `limit`.
fn list(server: &Server, id: u64, which: &str, limit: usize) -> Vec<u64> {
    let (mut ids, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("/friends/{id}?list={which}&after={after}&limit={limit}");
        let (status, answer) = server.ask("GET", &path, "", "");
        assert_eq!(status, 200, "{answer}");
        let part = answer["ids"].as_array().unwrap();
        assert!(part.len() <= limit);
        ids.extend(part.iter().map(|id| id.as_u64().unwrap()));
        match answer["next"].as_u64() {
            Some(next) => after = next,
            None => return ids,
        }
    }
}

/// What `GET /friends/{id}` says.
fn counts(server: &Server, id: u64) -> Value {
    let (status, answer) = server.ask("GET", &format!("/friends/{id}"), "", "");
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The counts of a user.
fn follows_and_followers(follows: u64, followers: u64) -> Value {
    json!({ "follows": follows, "followers": followers })
}
