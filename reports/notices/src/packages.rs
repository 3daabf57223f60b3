//! The packages that the programs are built from, as `cargo metadata` tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// The programs, named like their packages.
pub const PROGRAMS: [&str; 5] = ["comet-server", "floodtest", "memlog", "msggen", "rig"];

/// The systems that programs are built for. Packages that only others need are left out.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"];

/// A package: of this workspace, or of a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Package {
    /// What it is called.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, an expression of SPDX.
    pub license: Option<String>,
    /// The address of its sources.
    pub repository: Option<String>,
    /// Who wrote it, where that is said.
    pub authors: Vec<String>,
    /// The registry that it is from; none for those of this workspace.
    pub source: Option<String>,
    /// Its `Cargo.toml`.
    pub manifest_path: PathBuf,
    id: String,
}

impl Package {
    /// Whether it is of this workspace.
    pub fn is_ours(&self) -> bool {
        self.source.is_none()
    }

    /// The folder of its sources.
    pub fn folder(&self) -> &Path {
        self.manifest_path.parent().expect("a manifest is in a folder")
    }
}

/// What cargo knows of the packages.
#[derive(Debug, Deserialize)]
pub struct Packages {
    #[serde(rename = "packages")]
    all: Vec<Package>,
    resolve: Resolve,
}

/// Which package needs which.
#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

/// What one package needs.
#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

/// A package that another one needs.
#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

/// What it is needed for: `dev`, `build`, or nothing said for the program itself.
#[derive(Debug, Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Packages {
    /// Asks cargo about the workspace in `folder`. Nothing is fetched: its packages must be there.
    ///
    /// # Errors
    ///
    /// When cargo cannot be run, a package of `Cargo.lock` was never fetched, or cargo says
    /// something else than expected.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["metadata", "--format-version", "1", "--locked", "--offline"]);
        for target in TARGETS {
            command.args(["--filter-platform", target]);
        }
        let output = command.current_dir(folder).output().context("cannot run cargo")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cargo cannot tell the packages: {}", said.trim());
        serde_json::from_slice(&output.stdout).context("cargo says something else than expected")
    }

    /// Every package that the programs, their tests and their builds need.
    pub fn all(&self) -> &[Package] {
        &self.all
    }

    /// The packages whose code is in the programs, in order of name and version. Macros are among
    /// them: what they write is theirs as well. Packages that only run during a build are not.
    pub fn shipped(&self) -> BTreeSet<&Package> {
        let needs: BTreeMap<&str, &Node> =
            self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let by_id: BTreeMap<&str, &Package> =
            self.all.iter().map(|package| (package.id.as_str(), package)).collect();
        let is_program = |it: &&Package| it.is_ours() && PROGRAMS.contains(&it.name.as_str());
        let mut left: Vec<&Package> = self.all.iter().filter(is_program).collect();
        let mut shipped = BTreeSet::new();
        while let Some(package) = left.pop() {
            if !shipped.insert(package) {
                continue;
            }
            for needed in needs.get(package.id.as_str()).iter().flat_map(|node| &node.deps) {
                if needed.dep_kinds.iter().any(|it| it.kind.is_none()) {
                    left.extend(by_id.get(needed.pkg.as_str()));
                }
            }
        }
        shipped
    }
}
