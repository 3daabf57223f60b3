//! The packages that the programs are built from, as cargo tells them.

use std::collections::BTreeSet;
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
#[derive(Debug)]
pub struct Packages {
    all: Vec<Package>,
    /// The name and version of each package whose code is in the programs.
    shipped: BTreeSet<(String, String)>,
}

/// The part of what `cargo metadata` says that matters here.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

impl Packages {
    /// Asks cargo about the workspace in `folder`. Nothing is fetched: its packages must be there.
    ///
    /// # Errors
    ///
    /// When cargo cannot be run, a package of `Cargo.lock` was never fetched, or cargo says
    /// something else than expected.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let of_targets = |flag| TARGETS.map(|target| [flag, target]).concat();
        let known = ["metadata", "--format-version", "1"];
        let known = cargo(folder, &[&known[..], &of_targets("--filter-platform")].concat())?;
        let Metadata { packages } = serde_json::from_str(&known).context(STRANGE)?;
        // `cargo metadata` tells as well what only tests switch on; `cargo tree` does not.
        let tree = ["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
        let programs = PROGRAMS.map(|name| ["--package", name]).concat();
        let tree = cargo(folder, &[&tree[..], &of_targets("--target"), &programs].concat())?;
        let lines = tree.lines().filter(|line| !line.is_empty());
        let shipped = lines.map(package_of).collect::<Option<_>>().context(STRANGE)?;
        Ok(Self { all: packages, shipped })
    }

    /// Every package that the programs, their tests and their builds need, and some that cargo
    /// would need if other features were chosen.
    pub fn all(&self) -> &[Package] {
        &self.all
    }

    /// The packages whose code is in the programs, in order of name and version. Macros are among
    /// them: what they write is theirs as well. Packages that only run during a build are not.
    pub fn shipped(&self) -> BTreeSet<&Package> {
        let is_shipped =
            |it: &&Package| self.shipped.contains(&(it.name.clone(), it.version.clone()));
        self.all.iter().filter(is_shipped).collect()
    }
}

/// Why what cargo said could not be read.
const STRANGE: &str = "cargo says something else than expected";

/// What cargo says to these arguments, without a network.
fn cargo(folder: &Path, args: &[&str]) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).args(["--locked", "--offline"]);
    let output = command.current_dir(folder).output().context("cannot run cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cargo cannot tell the packages: {}\n`cargo fetch --locked` fetches those that are not \
         there",
        said.trim()
    );
    String::from_utf8(output.stdout).context(STRANGE)
}

/// The name and version in a line like `anyhow v1.0.104` or `syn v3.0.1 (proc-macro) (*)`.
fn package_of(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace();
    let (name, version) = (words.next()?, words.next()?);
    Some((name.to_owned(), version.strip_prefix('v')?.to_owned()))
}
