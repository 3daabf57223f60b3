//! Where a run is kept, and what is known of it before it begins.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, ensure};
use reports::run::{Command, Plan, files};
use reports::stamp;
use serde::Serialize;
use tokio::process;

/// Where runs are kept unless it is said, in the folder that the rig is started in.
const RUNS: &str = "runs";

/// A new folder for a run.
pub(crate) fn make(out: Option<&Path>, experiment: &str) -> anyhow::Result<PathBuf> {
    let folder = out.map_or_else(
        || {
            let now = humantime::format_rfc3339_seconds(UNIX_EPOCH + stamp::wall_now()).to_string();
            let name = now.replace(':', "").replace('T', "-").replace('Z', "");
            Path::new(RUNS).join(format!("{name}-{experiment}"))
        },
        Path::to_owned,
    );
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let is_empty = folder.read_dir().is_ok_and(|mut entries| entries.next().is_none());
    ensure!(is_empty, "{} is not empty; name another folder with --out", folder.display());
    Ok(folder)
}

/// Whether the run in `folder` was made.
pub(crate) fn is_made(folder: &Path) -> bool {
    folder.join(files::SUMMARY).exists()
}

/// Writes the figures of several runs to the file at `path`.
pub(crate) fn write_figures(path: &Path, figures: &impl Serialize) -> anyhow::Result<()> {
    let mut json = serde_json::to_vec_pretty(figures).expect("figures are plain JSON");
    json.push(b'\n');
    std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
}

/// The commit that is built, and whether files differ from it, published runs aside, of which
/// nothing is built. `None` outside a repository.
pub(crate) async fn commit() -> (Option<String>, bool) {
    const BUILT_FROM: &str = ":(top,exclude)reports/runs";
    let commit = said("git", &["rev-parse", "--short", "HEAD"]).await;
    let status = ["status", "--porcelain", "--untracked-files=no", "--", BUILT_FROM];
    let changes = said("git", &status).await;
    (commit, changes.is_some_and(|changes| !changes.is_empty()))
}

/// The compiler's version.
pub(crate) async fn rustc() -> Option<String> {
    said("rustc", &["--version"]).await
}

/// What a program says on stdout, if it succeeds.
pub(crate) async fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = process::Command::new(program).args(args).output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Writes a command line into the plan of a run.
pub(crate) fn note(
    plan: &mut Plan,
    folder: &Path,
    program: &str,
    args: &[String],
) -> anyhow::Result<()> {
    let args: Vec<_> = args.iter().map(|arg| without_password(arg)).collect();
    let words = args.iter().map(|arg| quoted(arg));
    let line = [Cow::from(program)].into_iter().chain(words).collect::<Vec<_>>().join(" ");
    plan.commands.push(Command { program: program.to_owned(), line });
    plan.write(folder).map_err(Into::into)
}

/// A word without the names and passwords of URLs in it: a run is published.
pub(crate) fn without_password(word: &str) -> Cow<'_, str> {
    match (word.find("://"), word.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://…{}", &word[..scheme], &word[at..]).into()
        }
        _ => word.into(),
    }
}

/// A word as it can be typed into a shell.
fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:,=@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

/// A scenario without the names and passwords of URLs in it.
pub(crate) fn without_passwords(text: &str) -> String {
    let mut lines: Vec<Cow<'_, str>> = Vec::new();
    for line in text.lines() {
        lines.push(without_password(line));
    }
    lines.join("\n") + "\n"
}

/// How long ssh may take to reach a host.
const SSH_TIMEOUT: &str = "ConnectTimeout=10";

/// What is known of another machine, by the user's own ssh: it must be reached.
pub(crate) async fn host_at(host: &str) -> anyhow::Result<String> {
    let mut ssh = process::Command::new("ssh");
    ssh.args(["-o", "BatchMode=yes", "-o", SSH_TIMEOUT]);
    // `user@host:2222`, as memlog takes it; an address of IPv6 has more colons than one.
    let place = match host.rsplit_once(':') {
        Some((place, port)) if !place.contains(':') => {
            ssh.args(["-p", port]);
            place
        }
        _ => host,
    };
    ssh.args(["--", place, "uname -srm; nproc"]);
    let output = ssh.output().await.context("cannot run ssh")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cannot reach {host} by ssh: {}; without host in [server] it is not asked for",
        said.trim()
    );
    let said = String::from_utf8_lossy(&output.stdout);
    let mut lines = said.lines();
    let (system, n) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    Ok(format!("{host}: {system}, {n} processors"))
}
