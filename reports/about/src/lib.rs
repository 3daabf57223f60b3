//! What each program says about itself: its version, its manual, and completions for shells.
//!
//! Every program has [`About`] among its subcommands, so that all of them do it alike, and a
//! package of them can be made without knowing any of them.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Command, CommandFactory, Subcommand};
use clap_complete::Shell;

/// The version that all programs have, as people compare it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that is built and its date, such as `bbfb171 of 2026-11-29`, as whoever builds has
/// put it into the environment. A build script could ask git; but then every commit, were it one
/// of documents alone, would build all programs anew.
const COMMIT: Option<&str> = option_env!("COMET_COMMIT");

/// What `--version` says behind the name of a program: `0.1.0 (commit bbfb171 of 2026-11-29)`. What
/// `-V` says ends before the bracket.
pub fn version() -> &'static str {
    static LINE: LazyLock<String> = LazyLock::new(|| version_of(COMMIT));
    &LINE
}

/// The version of a program that is built from `commit`.
fn version_of(commit: Option<&str>) -> String {
    let commit = commit.filter(|it| !it.is_empty()).unwrap_or("unknown");
    format!("{VERSION} (commit {commit})")
}

/// What a program tells instead of doing something.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum About {
    /// Writes completions of its commands and flags for a shell to stdout; those for bash belong
    /// into ~/.local/share/bash-completion/completions/, in a file with the program's name
    Completions {
        /// The shell they are for
        shell: Shell,
    },
    /// Writes its manual page to stdout
    Man {
        /// Write the pages of all its commands into this folder instead
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

impl About {
    /// Writes what is asked for about the program with the command line `C` to `out`, or into the
    /// folder that is named.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn write<C: CommandFactory>(&self, out: &mut dyn Write) -> io::Result<()> {
        let command = C::command();
        match self {
            Self::Completions { shell } => {
                let mut command = without_hidden(&command);
                // Straight to a pipe that is closed it would panic.
                let mut script = Vec::new();
                let name = command.get_name().to_owned();
                clap_complete::generate(*shell, &mut command, name, &mut script);
                out.write_all(&script)
            }
            Self::Man { out: None } => {
                let mut page = Vec::new();
                clap_mangen::Man::new(command).render(&mut page)?;
                out.write_all(&page)
            }
            Self::Man { out: Some(folder) } => {
                let context = |error: io::Error| {
                    let said = format!("cannot write into {}: {error}", folder.display());
                    io::Error::new(error.kind(), said)
                };
                clap_mangen::generate_to(command, folder).map_err(context)
            }
        }
    }
}

/// A command line as far as completions need it, without the subcommands that programs alone start:
/// those for bash would offer them.
fn without_hidden(command: &Command) -> Command {
    let shown = command.get_subcommands().filter(|it| !it.is_hide_set()).cloned();
    Command::new(command.get_name().to_owned())
        .version(VERSION)
        .args(command.get_arguments().cloned())
        .subcommands(shown)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Holds connections.
    #[derive(Debug, clap::Parser)]
    #[command(name = "flood", version, long_version = version())]
    struct Flood {
        #[command(subcommand)]
        command: Commands,
    }

    #[derive(Debug, Subcommand)]
    enum Commands {
        /// Opens some
        Open {
            /// How many
            #[arg(long)]
            count: u32,
        },
        #[command(hide = true)]
        Worker,
        #[command(flatten)]
        About(About),
    }

    fn written(about: &About) -> String {
        let mut out = Vec::new();
        about.write::<Flood>(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_commit_is_said_where_it_is_known() {
        let known = version_of(Some("bbfb171 of 2026-11-29"));
        assert_eq!(known, format!("{VERSION} (commit bbfb171 of 2026-11-29)"));
        for unknown in [None, Some("")] {
            assert_eq!(version_of(unknown), format!("{VERSION} (commit unknown)"));
        }
        let command = Flood::command();
        assert_eq!(command.render_version(), format!("flood {VERSION}\n"));
        assert_eq!(command.render_long_version(), format!("flood {}\n", version()));
    }

    #[test]
    fn shells_are_told_of_every_flag() {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            let script = written(&About::Completions { shell });
            assert!(script.contains("count") && script.contains("flood"), "{shell}: {script}");
            assert!(!script.contains("worker"), "{shell}: {script}");
        }
    }

    #[test]
    fn the_manual_has_a_page_for_each_command_that_people_type() {
        let page = written(&About::Man { out: None });
        assert!(page.contains(".TH flood 1") && page.contains("flood \\- Holds connections"));
        let folder = tempfile::tempdir().unwrap();
        let nothing = written(&About::Man { out: Some(folder.path().to_owned()) });
        assert_eq!(nothing, "");
        let files = folder.path().read_dir().unwrap();
        let mut names: Vec<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["flood-completions.1", "flood-man.1", "flood-open.1", "flood.1"]);
        let page = std::fs::read_to_string(folder.path().join("flood-open.1")).unwrap();
        assert!(page.contains("\\-\\-count"), "{page}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let nowhere = About::Man { out: Some(Path::new("/nowhere").to_owned()) };
        let error = nowhere.write::<Flood>(&mut io::sink()).unwrap_err();
        assert!(error.to_string().starts_with("cannot write into /nowhere: No such"), "{error}");
    }
}
