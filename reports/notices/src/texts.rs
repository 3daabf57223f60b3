//! The notices that a package of binaries must carry: the licences of all that is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::licence;
use crate::packages::Package;

/// How the names of files with licences and notices begin, whatever their case.
const NAMES: [&str; 7] =
    ["licence", "license", "unlicense", "copying", "copyright", "notice", "ofl"];

/// How names of source files end, which have the same beginning now and then.
const SOURCES: [&str; 5] = ["c", "h", "js", "py", "rs"];

/// The licence whose text stands for that of a package that brings none.
const APACHE: (&str, &str) = ("Apache-2.0", include_str!("../../../LICENSE-APACHE"));

/// The longest file that is taken for a licence, in bytes.
const MAX_BYTES: u64 = 256 * 1024;

/// Writes the licences of all `packages`, each text once, with the packages that it is from.
///
/// # Errors
///
/// When a package that is not ours brings no text and may not be used under Apache-2.0 either, or a
/// text cannot be read.
pub fn notices(packages: &BTreeSet<&Package>) -> anyhow::Result<String> {
    let mut owners: BTreeMap<String, BTreeSet<&Package>> = BTreeMap::new();
    let foreign = || packages.iter().filter(|package| !package.is_ours());
    for package in foreign() {
        for text in texts(package)? {
            owners.entry(text).or_default().insert(package);
        }
    }
    let mut notices = String::from(
        "These programs contain code of the packages below. Each is named with its licence and,\n\
         further down, with the texts that it brings. Of several licences with OR between them\n\
         these programs use any that is among the allowed.\n\n",
    );
    for Package { name, version, license, repository, authors, .. } in foreign() {
        let licence = license.as_deref().expect("its licence has been read");
        write!(notices, "{name} {version}: {licence}").expect("a string takes all");
        for more in repository.iter().chain(authors) {
            write!(notices, "; {more}").expect("a string takes all");
        }
        notices.push('\n');
    }
    let mut by_owners: Vec<_> = owners.iter().map(|(text, owners)| (owners, text)).collect();
    by_owners.sort();
    for (owners, text) in by_owners {
        let names: Vec<_> =
            owners.iter().map(|it| format!("    {} {}\n", it.name, it.version)).collect();
        let line = "-".repeat(80);
        write!(notices, "\n{line}\n{}\n{text}", names.concat()).expect("a string takes all");
    }
    Ok(notices)
}

/// The texts that `package` brings, each with one newline at its end.
fn texts(package: &Package) -> anyhow::Result<Vec<String>> {
    let mut files = Vec::new();
    find(package.folder(), &mut files)?;
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        texts.push(plain(&String::from_utf8_lossy(&bytes)));
    }
    if texts.is_empty() {
        let (apache, text) = APACHE;
        ensure!(
            licence::is_usable_under(package, &[apache])?,
            "{} {} brings no text of its licence, and is not under {apache}",
            package.name,
            package.version
        );
        texts.push(plain(text));
    }
    Ok(texts)
}

/// A text without what is different in copies of the same: white space around it and at the ends
/// of its lines.
fn plain(text: &str) -> String {
    let lines: Vec<&str> = text.trim_matches(['\u{feff}', '\n', '\r']).lines().collect();
    lines.iter().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Finds the files with licences in `folder` and those below it: a font lies deeper than the
/// licence of the package that brings it.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let unread = || format!("cannot read {}", folder.display());
    for entry in folder.read_dir().with_context(unread)? {
        let entry = entry.with_context(unread)?;
        let (path, kind) = (entry.path(), entry.file_type().with_context(unread)?);
        if kind.is_dir() {
            find(&path, files)?;
        } else if kind.is_file() && is_named_like_a_licence(&path) {
            let n_bytes = entry.metadata().with_context(unread)?.len();
            ensure!(n_bytes <= MAX_BYTES, "{} is too long for a licence", path.display());
            files.push(path);
        }
    }
    Ok(())
}

/// Whether a file is one with a licence, by its name.
fn is_named_like_a_licence(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let is_source = path.extension().is_some_and(|it| SOURCES.iter().any(|source| it == *source));
    NAMES.iter().any(|it| name.starts_with(it)) && !is_source
}
