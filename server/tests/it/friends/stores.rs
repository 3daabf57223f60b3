//! Stores as a whole: loaded, refused, opened by one server at a time.

use std::process::Command;

use super::{Folder, NDJSON, change, lines, list};
use crate::support::{Server, run};

#[test]
fn a_list_is_loaded_and_written_out_again() {
    let folder = Folder::loaded("# who follows whom\n3 1\n1 2\n\n1 2\n5 5\n2 1\n");
    assert_eq!(folder.say("dump"), (Some(0), "1 2\n2 1\n3 1\n".to_owned()));
    let server = folder.server(&[]);
    assert_eq!(list(&server, 1, "followers", 10), [2, 3]);
}

#[test]
fn a_bad_list_is_named_by_its_line_and_leaves_nothing() {
    let folder = Folder::new();
    std::fs::write(folder.0.path().join("edges"), "1 2\n3 4 5\n").unwrap();
    let output = folder.load();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(error.contains("edges:2: not two ids"), "{error}");
    let left: Vec<_> = folder.0.path().read_dir().unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_store_has_one_server_at_a_time_and_is_named() {
    let folder = Folder::loaded("1 2\n");
    let server = folder.server(&[]);
    let store = folder.store();
    let store = store.to_str().unwrap();
    let at = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--friends", store];
    for flags in [&at[..], &["friends", "dump", store], &["friends", "check", store]] {
        let output = run(flags);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {error}");
        let words = format!("{store}/friends.redb is open in another server");
        assert!(error.contains(&words), "{flags:?}: {error}");
    }
    // What it would be loaded over is left as it is.
    let again = folder.load();
    assert_eq!(again.status.code(), Some(2));
    assert_eq!(list(&server, 2, "followers", 10), [1]);
}

#[test]
fn what_is_no_store_of_this_version_is_refused() {
    let folder = Folder::new();
    let store = folder.store();
    std::fs::create_dir(&store).unwrap();
    let refused = |word: &str| {
        let store = store.to_str().unwrap();
        let output =
            run(&["--control", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--friends", store]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(word), "{word} in {error}");
    };
    std::fs::write(store.join("friends.redb"), "a diary").unwrap();
    refused("friends.redb");
    std::fs::remove_file(store.join("friends.redb")).unwrap();

    let about: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("about");
    let database = redb::Database::create(store.join("friends.redb")).unwrap();
    let writing = database.begin_write().unwrap();
    writing.open_table(about).unwrap().insert("version", 2).unwrap();
    writing.commit().unwrap();
    drop(database);
    refused("is of version 2, and this server reads version 1");
    let absent = folder.0.path().join("absent");
    assert_eq!(run(&["friends", "check", absent.to_str().unwrap()]).status.code(), Some(2));
}

#[test]
fn a_full_disk_refuses_changes_and_takes_them_again_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    // A disk of its own, for this server alone.
    let script = "mount -t tmpfs -o size=6m friends \"$0\" && exec \"$@\"";
    let at = folder.path().to_str().unwrap();
    let may = Command::new("unshare").args(["--mount", "sh", "-c", script, at, "true"]).status();
    if !may.is_ok_and(|status| status.success()) {
        return testing::skip("mount");
    }
    let store = folder.path().join("store");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, at, env!("CARGO_BIN_EXE_comet-server")]);
    command.args(["--friends", store.to_str().unwrap(), "--log", "warn"]);
    let server = Server::start_command(&mut command);
    assert_eq!(change(&server, &[(1, 9), (2, 9)]), 2);
    // Its disk, as it sees it.
    let filler = format!("/proc/{}/root{at}/filler", server.pid());
    let fill = ["-c", "head -c 9m /dev/zero > \"$0\"", &filler];
    let output = Command::new("sh").args(fill).output().unwrap();
    assert!(!output.status.success(), "it is full: {output:?}");

    let mut n_done = 0;
    let refused = (0..2_000).find_map(|n| {
        let changes: Vec<_> = (0..2_000).map(|m| (1_000 + n * 2_000 + m, 10)).collect();
        let (status, answer) = server.ask("POST", "/friends", NDJSON, &lines(&changes));
        n_done += answer["changed"].as_u64().unwrap();
        (status != 200).then_some((status, answer))
    });
    let (status, answer) = refused.expect("a full disk takes no more");
    assert_eq!(status, 503, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("No space left"), "{answer}");
    // Nothing of it is half there, and what is there can be read.
    assert_eq!(list(&server, 9, "followers", 10), [1, 2]);
    assert_eq!(list(&server, 10, "followers", 4_096).len() as u64, n_done);
    std::fs::remove_file(filler).unwrap();
    assert_eq!(change(&server, &[(3, 9), (-1, 9)]), 2);
    assert_eq!(list(&server, 9, "followers", 10), [2, 3]);
}
