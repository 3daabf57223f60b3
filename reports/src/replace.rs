//! Files that are replaced whole.

use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::Path;

/// How often another name is tried when one is taken. Two random names of 64 bits are never the
/// same by chance: whoever takes several of them knows them, and more tries would not help.
const MOST_TRIES: usize = 4;

/// Puts `bytes` in the place of the file at `path`: whoever reads it sees the old file or the new
/// one, and never a part of one. Where `path` is a link, the link is replaced, and what it leads to
/// is left alone.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (mut file, temporary) = create_beside(path)?;
    let written = file.write_all(bytes);
    drop(file);
    let replaced = written.and_then(|()| fs::rename(&temporary, path));
    if replaced.is_err() {
        // Half a file on a full disk helps nobody.
        let _ = fs::remove_file(&temporary);
    }
    replaced
}

/// Finds out whether a file can be created beside the one at `path`, and leaves none behind.
pub fn check(path: &Path) -> io::Result<()> {
    let (_, temporary) = create_beside(path)?;
    fs::remove_file(temporary)
}

/// Creates an empty file in the same folder as the one at `path`, under a name that nobody can know
/// beforehand.
///
/// In a folder where others may write, somebody could otherwise leave a link under that name, and
/// have the bytes written to any file of this user. A name that exists, a link included, is not
/// opened.
fn create_beside(path: &Path) -> io::Result<(File, OsString)> {
    let mut last = None;
    for _ in 0..MOST_TRIES {
        let name = random_name(path);
        match OpenOptions::new().write(true).create_new(true).open(&name) {
            Ok(file) => return Ok((file, name)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into()))
}

/// A name for a file beside the one at `path`.
fn random_name(path: &Path) -> OsString {
    // The keys of a hasher come from the system's source of random numbers.
    let random = RandomState::new().build_hasher().finish();
    let mut name = OsString::from(path);
    name.push(format!(".{random:016x}.tmp"));
    name
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_are_never_the_same() {
        let path = Path::new("a/m.png");
        let names: Vec<OsString> = (0..100).map(|_| random_name(path)).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(name.to_str().unwrap().starts_with("a/m.png."), "the same folder: {name:?}");
            assert!(!names[at + 1..].contains(name), "{name:?}");
        }
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.png");
        let precious = dir.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        // Under the name that was predictable, and in the place of the file itself.
        let planted = dir.path().join(format!("m.png.{}.tmp", std::process::id()));
        symlink(&precious, &planted).unwrap();
        symlink(&precious, &path).unwrap();
        check(&path).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        assert_eq!(fs::read_link(&planted).unwrap(), precious, "and it is left alone");
        assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing is left beside it");
    }

    #[test]
    fn half_a_file_is_not_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.png");
        fs::create_dir(&path).unwrap();
        replace(&path, b"new").unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace(&dir.path().join("no/m.png"), b"new").is_err());
    }
}
