//! `--cluster` and the flags beside it, put together and checked.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::brokers;
use super::config::ClusterConfig;
use super::tls::Tls;

/// The environment variable for the brokers' password.
pub const PASSWORD_VARIABLE: &str = "COMET_CLUSTER_PASSWORD";

/// Bytes of a password file that are read: tokens of cloud providers have up to 2 KB. More is
/// another file.
const MAX_PASSWORD_BYTES: u64 = 8 * 1024;

/// What was given on the command line, and in the environment.
#[derive(Debug)]
pub struct Options<'args> {
    /// `--cluster`.
    pub url: &'args str,
    /// `--name`.
    pub name: Option<String>,
    /// `--cluster-password-file`.
    pub password_file: Option<&'args PathBuf>,
    /// The value of [`PASSWORD_VARIABLE`].
    pub password: Option<OsString>,
    /// `--cluster-ca`.
    pub ca: Option<&'args PathBuf>,
}

impl Options<'_> {
    /// Checks and completes them. No error shows a password.
    pub fn config(self) -> anyhow::Result<ClusterConfig> {
        let password = match (self.password_file, self.password) {
            (Some(file), _) => Some(read_password(file)?),
            (None, Some(value)) => {
                let value = value.into_string().ok().filter(|value| !value.is_empty());
                Some(value.with_context(|| format!("{PASSWORD_VARIABLE} is empty or not UTF-8"))?)
            }
            (None, None) => None,
        };
        let (brokers, has_password) = brokers::parse(self.url, password.as_deref())
            .map_err(|why| anyhow::anyhow!("--cluster cannot be read: {why}"))?;
        anyhow::ensure!(
            !has_password || self.password_file.is_none(),
            "--cluster has a password, and --cluster-password-file another; take it out of \
             --cluster"
        );
        if has_password {
            tracing::warn!(
                "the password in --cluster can be read by everybody on this machine (ps); put it \
                 into a file for --cluster-password-file, or into {PASSWORD_VARIABLE}"
            );
        }
        let wants_tls = brokers.iter().any(|broker| broker.is_tls);
        anyhow::ensure!(
            wants_tls || self.ca.is_none(),
            "--cluster-ca is for brokers with TLS; write rediss:// in --cluster"
        );
        let ca = self.ca.map(PathBuf::as_path);
        let tls = if wants_tls { Some(Tls::new(ca).map_err(anyhow::Error::msg)?) } else { None };
        Ok(ClusterConfig { brokers, name: self.name, tls })
    }
}

/// The password in a file: all of it, but for the end of its line.
fn read_password(path: &Path) -> anyhow::Result<String> {
    let cannot = || format!("cannot read the password file {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let mode = file.metadata().with_context(cannot)?.permissions().mode();
    if mode & 0o007 != 0 {
        let path = path.display();
        tracing::warn!("everybody on this machine may read {path}; do `chmod o= {path}`");
    }
    let mut text = String::new();
    file.take(MAX_PASSWORD_BYTES + 1).read_to_string(&mut text).with_context(cannot)?;
    anyhow::ensure!(
        text.len() as u64 <= MAX_PASSWORD_BYTES,
        "{} is no password file: it has more than {MAX_PASSWORD_BYTES} bytes",
        path.display()
    );
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    anyhow::ensure!(!password.is_empty(), "the password file {} is empty", path.display());
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> Options<'_> {
        Options { url, name: None, password_file: None, password: None, ca: None }
    }

    #[test]
    fn a_password_comes_from_the_url_a_file_or_the_environment_and_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (file, empty) = (folder.path().join("password"), folder.path().join("empty"));
        std::fs::write(&file, "secret \n").unwrap();
        std::fs::write(&empty, "\n").unwrap();
        let of = |options: Options<'_>| {
            let config = options.config().map_err(|error| format!("{error:#}"))?;
            Ok::<_, String>(config.brokers[0].credentials.clone())
        };
        let secret = |user: Option<&str>, password: &str| {
            Ok(Some((user.map(str::to_owned), password.to_owned())))
        };
        let from_file = |url| Options { password_file: Some(&file), ..options(url) };
        let from_environment =
            |url, value: &str| Options { password: Some(value.into()), ..options(url) };
        assert_eq!(of(options("redis://h")), Ok(None));
        assert_eq!(of(from_file("redis://h")), secret(None, "secret "));
        assert_eq!(of(from_file("redis://user@h")), secret(Some("user"), "secret "));
        assert_eq!(of(from_environment("redis://h", "other")), secret(None, "other"));
        let both = Options { password: Some("other".into()), ..from_file("redis://h") };
        assert_eq!(of(both), secret(None, "secret "), "the file is what was asked for");
        assert_eq!(of(from_environment("redis://:url@h", "other")), secret(None, "url"));
        for (options, part) in [
            (from_file("redis://:secret@h"), "another"),
            (from_environment("redis://h", ""), PASSWORD_VARIABLE),
            (Options { password_file: Some(&empty), ..options("redis://h") }, "is empty"),
            (options("redis://secret@h"), "--cluster-password-file"),
            (Options { ca: Some(&file), ..options("redis://h") }, "rediss://"),
            (Options { ca: Some(&file), ..options("rediss://h") }, "PEM"),
        ] {
            let error = of(options).unwrap_err();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
        let zeros = PathBuf::from("/dev/zero");
        let error = of(Options { password_file: Some(&zeros), ..options("redis://h") });
        assert!(error.unwrap_err().contains("no password file"));
    }
}
