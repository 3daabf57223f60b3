//! Stores as a whole: loaded, refused, opened by one server at a time.

use super::{Folder, list};
use crate::support::run;

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
