//! The licences of all that the programs are built from.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use notices::licence::{self, ALLOWED};
use notices::packages::{PROGRAMS, Package, Packages};
use notices::texts::notices;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn packages() -> Packages {
    Packages::read(top()).unwrap()
}

/// A package with this licence and nothing else that matters.
fn licensed(license: Option<&str>, folder: &Path) -> Package {
    let package = serde_json::json!({
        "name": "it", "version": "1.0.0", "license": license, "authors": [],
        "source": "a registry", "manifest_path": folder.join("Cargo.toml"),
    });
    serde_json::from_value(package).unwrap()
}

#[test]
fn every_licence_is_allowed_and_every_allowed_licence_is_needed() {
    let packages = packages();
    let refused: Vec<String> = packages
        .all()
        .iter()
        .filter_map(|package| licence::check(package).err())
        .map(|error| format!("{error:#}"))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    for left_out in ALLOWED {
        let others: Vec<&str> = ALLOWED.into_iter().filter(|it| *it != left_out).collect();
        let is_usable = |it: &Package| licence::is_usable_under(it, &others).unwrap();
        assert!(!packages.all().iter().all(is_usable), "nothing needs {left_out}");
    }
}

#[test]
fn a_licence_that_is_not_allowed_is_refused() {
    let check = |license| licence::check(&licensed(license, Path::new("/")));
    for fine in ["MIT", "MIT/Apache-2.0", "GPL-3.0-only OR MIT", "(MIT OR ISC) AND Unicode-3.0"] {
        check(Some(fine)).unwrap();
    }
    for (license, saying) in [
        (Some("GPL-3.0-only"), "it 1.0.0 has the licence GPL-3.0-only, which is not among those"),
        (Some("MIT AND LGPL-2.1-only"), "it 1.0.0 has the licence MIT AND LGPL-2.1-only, which"),
        (Some("ours"), "it 1.0.0 has the licence ours, which is none"),
        (None, "it 1.0.0 names no licence"),
    ] {
        let error = format!("{:#}", check(license).unwrap_err());
        assert!(error.starts_with(saying), "{error}");
    }
}

#[test]
fn what_only_tests_and_builds_need_is_not_shipped() {
    let packages = packages();
    let names = |all: &BTreeSet<&Package>| -> BTreeSet<String> {
        all.iter().map(|package| package.name.clone()).collect()
    };
    let shipped = names(&packages.shipped());
    for name in PROGRAMS.into_iter().chain(["reports", "rustls", "graviola", "dejavu", "maud"]) {
        assert!(shipped.contains(name), "{name}");
    }
    // Some features of rustls would take ring.
    for name in ["testing", "proptest", "shuttle", "notices", "spdx", "autocfg", "ring"] {
        assert!(packages.all().iter().any(|it| it.name == name), "{name} is known");
        assert!(!shipped.contains(name), "{name}");
    }
}

#[test]
fn the_notices_name_every_package_with_a_text() {
    let output = Command::new(env!("CARGO_BIN_EXE_notices")).current_dir(top()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = String::from_utf8(output.stdout).unwrap();
    let packages = packages();
    for Package { name, version, source, .. } in packages.shipped() {
        let is_foreign = source.is_some();
        assert_eq!(written.contains(&format!("\n{name} {version}: ")), is_foreign, "{name}");
        assert_eq!(written.contains(&format!("\n    {name} {version}\n")), is_foreign, "{name}");
    }
    // The licence of the font lies deeper than that of the package that brings it.
    for text in ["Permission is hereby granted", "Bitstream Vera", "Apache License"] {
        assert!(written.contains(text), "{text}");
    }
}

#[test]
fn packages_with_the_same_text_share_it() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    std::fs::write(folders[0].path().join("COPYING"), "Do as you like.\r\n\r\n").unwrap();
    std::fs::write(folders[1].path().join("license-mit"), "Do as you like.  ").unwrap();
    let [one, mut other] = [0, 1].map(|at| licensed(Some("MIT"), folders[at].path()));
    other.version = "2.0.0".to_owned();
    let notices = notices(&BTreeSet::from([&one, &other])).unwrap();
    assert!(notices.ends_with("    it 1.0.0\n    it 2.0.0\n\nDo as you like.\n"), "{notices}");
}

#[test]
fn a_package_without_a_text_is_refused_unless_its_licence_is_at_hand() {
    let folder = tempfile::tempdir().unwrap();
    let (mit, both) =
        (licensed(Some("MIT"), folder.path()), licensed(Some("MIT OR Apache-2.0"), folder.path()));
    let error = notices(&BTreeSet::from([&mit])).unwrap_err();
    let saying = "it 1.0.0 brings no text of its licence, and is not under Apache-2.0";
    assert_eq!(error.to_string(), saying);
    assert!(notices(&BTreeSet::from([&both])).unwrap().contains("Apache License"));
    std::fs::write(folder.path().join("LICENSE.md"), "Do as you like.").unwrap();
    assert!(
        notices(&BTreeSet::from([&mit])).unwrap().ends_with("    it 1.0.0\n\nDo as you like.\n")
    );
}
