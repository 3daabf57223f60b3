//! The programs of a run: built in a checkout, or found where they are installed.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail, ensure};
use tokio::process::Command;

use crate::child;
use crate::process::Process;

/// The version of this program, and of those that it can work with: what they print for it is no
/// interface that is kept from one version to the next.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the plan of a run has for a profile when its programs were not built for it.
const INSTALLED: &str = "installed";

/// Whether cargo runs this program: `cargo rig` in a checkout, or a test there. What the cargo of
/// some other project runs sees `CARGO` as well, but not the name of this package.
pub(crate) fn is_through_cargo() -> bool {
    env::var_os("CARGO").is_some()
        && env::var_os("CARGO_PKG_NAME").is_some_and(|name| name == env!("CARGO_PKG_NAME"))
}

/// The cargo profile that this program was built with: cargo names the folder after it that the
/// program is in.
fn own_profile() -> anyhow::Result<String> {
    let own = own_path()?;
    let folder = own.parent().and_then(Path::file_name).and_then(OsStr::to_str);
    let folder =
        folder.context("rig is in no folder of a cargo profile; name one with --profile")?;
    // The one profile whose folder has another name.
    Ok(if folder == "debug" { "dev" } else { folder }.to_owned())
}

/// Where this program is.
fn own_path() -> anyhow::Result<PathBuf> {
    env::current_exe().context("cannot find out where rig itself is")
}

/// The folder of the checkout that a program is installed from.
fn folder_of(program: &str) -> &str {
    if program == "comet-server" { "server" } else { program }
}

/// The paths of the programs, by name.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    paths: BTreeMap<String, PathBuf>,
    /// The cargo profile that they were built with, or that they were not built but found.
    profile: String,
}

impl Programs {
    /// The programs `names`. They are built when `profile` says with which cargo profile, or when
    /// cargo runs this one, and then with its own; otherwise they are those that are installed.
    pub(crate) async fn get(names: &[&str], profile: Option<&str>) -> anyhow::Result<Self> {
        match profile {
            Some(profile) => Self::build(names, profile).await,
            None if is_through_cargo() => Self::build(names, &own_profile()?).await,
            None => Self::find(names).await,
        }
    }

    /// Builds the programs of the checkout that this is started in.
    async fn build(names: &[&str], profile: &str) -> anyhow::Result<Self> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = child::command(Path::new(&cargo));
        // Of the whole workspace, as the alias `cargo rig` builds this program: what they share
        // then has the same features, and is compiled once.
        command.args(["build", "--locked", "--workspace", "--profile", profile]);
        command.args(["--message-format", "json-render-diagnostics"]);
        command.args(names.iter().flat_map(|name| ["--bin", name]));
        let built = command.stdin(Stdio::null()).stderr(Stdio::inherit());
        let built = built.output().await.context("cannot run cargo")?;
        ensure!(built.status.success(), "the programs cannot be built");
        let mut paths = BTreeMap::new();
        for line in built.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let message: serde_json::Value =
                serde_json::from_slice(line).context("cargo speaks no JSON")?;
            let name = message["target"]["name"].as_str();
            if let (Some(name), Some(path)) = (name, message["executable"].as_str()) {
                paths.insert(name.to_owned(), path.into());
            }
        }
        match names.iter().find(|&&name| !paths.contains_key(name)) {
            Some(missing) => bail!("cargo built no program named {missing}"),
            None => Ok(Self { paths, profile: profile.to_owned() }),
        }
    }

    /// Finds the programs beside this one, where cargo installs all of them, and else on PATH.
    async fn find(names: &[&str]) -> anyhow::Result<Self> {
        let own = own_path()?;
        let beside = own.parent().context("rig is in no folder")?.to_owned();
        let on_path = env::var_os("PATH").unwrap_or_default();
        // An empty entry stands for the current folder, which may be anybody's.
        let on_path = env::split_paths(&on_path).filter(|folder| !folder.as_os_str().is_empty());
        let folders: Vec<PathBuf> = std::iter::once(beside.clone()).chain(on_path).collect();
        let mut paths = BTreeMap::new();
        for name in names {
            let files = folders.iter().map(|folder| folder.join(name));
            let file = files.into_iter().find(|file| is_executable(file)).with_context(|| {
                format!(
                    "cannot find {name}, neither beside rig in {} nor on PATH; install it: {}",
                    beside.display(),
                    install(folder_of(name))
                )
            })?;
            check_version(name, &file).await?;
            paths.insert((*name).to_owned(), file);
        }
        Ok(Self { paths, profile: INSTALLED.to_owned() })
    }

    /// What the plan of a run calls the profile that they were built with.
    pub(crate) fn profile(&self) -> &str {
        &self.profile
    }

    /// Whether they were built from the checkout that this is started in.
    pub(crate) fn are_built_here(&self) -> bool {
        self.profile != INSTALLED
    }

    /// Where the program `name` is: one of these or else one of the system.
    pub(crate) fn path<'a>(&'a self, name: &'a str) -> &'a Path {
        self.paths.get(name).map_or(Path::new(name), PathBuf::as_path)
    }

    /// A command that runs the program `name`. It is out of reach of the terminal's Ctrl-C: in
    /// which order programs end is for the rig to say.
    fn command(&self, name: &str) -> Command {
        let mut command = child::command(self.path(name));
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    /// Runs a program to its end; it must succeed.
    pub(crate) async fn run<A: AsRef<OsStr>>(&self, name: &str, args: &[A]) -> anyhow::Result<()> {
        let output = self.command(name).args(args).output().await;
        let output = output.with_context(|| format!("cannot start {name}"))?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{name} failed: {}", stderr.trim());
        Ok(())
    }

    /// Starts a program.
    pub(crate) fn start<A: AsRef<OsStr>>(&self, name: &str, args: &[A]) -> anyhow::Result<Process> {
        let mut command = self.command(name);
        command.args(args);
        Process::start(name, command)
    }
}

/// The command that installs the program in `folder` of the checkout.
fn install(folder: &str) -> String {
    format!("`cargo install --path {folder}` in the checkout that rig is from")
}

/// Whether `path` is a file that may be executed. A shell passes over others on PATH as well.
fn is_executable(path: &Path) -> bool {
    let metadata = path.metadata();
    metadata.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Refuses a program that is not of this version.
async fn check_version(name: &str, file: &Path) -> anyhow::Result<()> {
    let mut command = child::command(file);
    // Short: of which commit it is does not matter.
    let output = command.arg("-V").stdin(Stdio::null()).output().await;
    let output = output.with_context(|| format!("cannot start {}", file.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let said = said.trim();
    ensure!(
        output.status.success() && said == format!("{name} {VERSION}"),
        "{} says that it is \"{said}\", and rig is of version {VERSION}; install both anew: {}, \
         and `cargo install --path reports/rig`",
        file.display(),
        install(folder_of(name))
    );
    Ok(())
}
