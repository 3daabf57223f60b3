//! The invariants of ARCHITECTURE.md that cargo can be asked about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::imports::{Imports, said};

/// The folders of the packages, which are also the top level's only folders.
pub(crate) const FOLDERS: [&str; 5] = ["floodtest", "memlog", "msggen", "reports", "server"];

/// The packages.
const PACKAGES: [&str; 11] = [
    "floodtest",
    "memlog",
    "msggen",
    "reports",
    "reports/about",
    "reports/charts",
    "reports/metrics",
    "reports/notices",
    "reports/rig",
    "reports/testing",
    "server",
];

/// The top level's files, and the folders that begin with a dot.
const TOP_LEVEL: [&str; 12] = [
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".git",
    ".gitignore",
    ".rustfmt.toml",
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
];

pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// The names of each package's normal dependencies: not those of its tests and examples.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(top())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let normal = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap().iter();
        all.filter(|one| one["kind"].is_null()).map(|one| text(&one["name"])).collect()
    };
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.map(|package| (text(&package["name"]), normal(package))).collect()
}

#[test]
fn the_measured_never_depends_on_the_measuring() {
    let dependencies = dependencies();
    let ours: BTreeSet<_> = dependencies.keys().cloned().collect();
    for (package, its) in &dependencies {
        let of_ours: Vec<_> = its.intersection(&ours).map(String::as_str).collect();
        let allowed: &[&str] = match package.as_str() {
            "about" | "metrics" | "notices" | "reports" | "testing" => &[],
            // It is told what every program is told about itself, and measures nothing.
            "comet-server" => &["about"],
            "floodtest" | "msggen" => &["about", "metrics", "reports"],
            "memlog" | "rig" => &["about", "charts", "reports"],
            _ => &["reports"],
        };
        assert_eq!(of_ours, allowed, "{package}");
    }
}

#[test]
fn reports_is_quiet_and_draws_nothing() {
    let loud = [
        "tokio", "clap", "reqwest", "hyper", "mio", "socket2", "rustix", "tracing", "plotters",
        "png", "maud", "dejavu",
    ];
    let its = &dependencies()["reports"];
    for package in loud {
        assert!(!its.contains(package), "reports depends on {package}");
    }
}

#[test]
fn the_top_level_holds_what_was_agreed() {
    let ignored = std::fs::read_to_string(top().join(".gitignore")).unwrap();
    for entry in std::fs::read_dir(top()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_agreed = FOLDERS.contains(&name.as_str()) || TOP_LEVEL.contains(&name.as_str());
        let is_ignored = ignored.lines().any(|line| line == format!("/{name}"));
        assert!(is_agreed || is_ignored, "{name} is not in the agreed top level");
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let workspace = std::fs::read_to_string(top().join("Cargo.toml")).unwrap();
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    for folder in PACKAGES {
        let manifest = std::fs::read_to_string(top().join(folder).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{folder}");
        assert!(manifest.contains("license.workspace = true"), "{folder}");
    }
}

#[test]
fn the_router_knows_no_http_and_http_knows_no_tables() {
    let imports = Imports::of_crate(&top().join("server"));
    let module = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    // Of the router, HTTP knows ids and how a rendered message is shared.
    let http = ["request", "strict", "framing"];
    for name in http {
        let named = &imports.named[&module(&[name])];
        for table in ["Router", "Shard", "RowRef", "Rows"] {
            assert!(!named.contains(&module(&["router", table])), "{name} imports {table}");
        }
    }
    let foreign = [&http[..], &["control", "pending"]].concat();
    let of_router: Vec<_> =
        imports.arrows.iter().filter(|(it, _)| it.starts_with(&module(&["router"]))).collect();
    assert!(of_router.len() > 3, "the router's files are looked at");
    for (file, others) in of_router {
        for other in others.iter().filter_map(|it| it.first()) {
            assert!(!foreign.contains(&other.as_str()), "{} imports {other}", said(file));
        }
        for other in ["httparse", "tokio", "rustix"] {
            assert!(!imports.outside[file].contains(other), "{} uses {other}", said(file));
        }
    }
}

#[test]
fn no_files_of_a_crate_import_each_other_in_a_circle() {
    for package in PACKAGES {
        let circles = Imports::of_crate(&top().join(package)).circles();
        assert!(circles.is_empty(), "{package}: {}", circles.join(", "));
    }
}

#[test]
fn lines_have_100_columns_at_most() {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.rs"])
        .current_dir(top())
        .output()
        .unwrap();
    let files = String::from_utf8(output.stdout).unwrap();
    let mut long = Vec::new();
    for file in files.split_terminator('\0') {
        // One that git knows may have been deleted and not yet committed.
        let Ok(text) = std::fs::read_to_string(top().join(file)) else { continue };
        let is_long = |line: &&str| line.chars().count() > 100;
        let n_long = text.lines().filter(is_long).count();
        if n_long > 0 {
            long.push(format!("{file}: {n_long}"));
        }
    }
    assert!(files.contains("tidy.rs"), "git lists the sources");
    assert!(long.is_empty(), "lines that are longer: {}", long.join(", "));
}

#[test]
fn the_two_ends_of_the_wire_share_no_code() {
    for folder in ["server", "floodtest"] {
        let manifest = std::fs::read_to_string(top().join(folder).join("Cargo.toml")).unwrap();
        let other = if folder == "server" { "floodtest" } else { "comet-server" };
        let normal = manifest.split("[dev-dependencies]").next().unwrap();
        let uses = normal.lines().any(|line| line.starts_with(other));
        assert!(!uses, "{folder} depends on {other}");
    }
}
