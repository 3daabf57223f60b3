//! Files that are replaced whole.

use std::ffi::OsString;
use std::path::Path;
use std::{fs, io};

/// Puts `bytes` in the place of the file at `path`: whoever reads it sees the old file or the new
/// one, and never a part of one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = beside(path);
    let replaced = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if replaced.is_err() {
        // Half a file on a full disk helps nobody.
        let _ = fs::remove_file(&temporary);
    }
    replaced
}

/// The name of a file beside the one at `path`, of this process only.
pub(crate) fn beside(path: &Path) -> OsString {
    let mut name = OsString::from(path);
    name.push(format!(".{}.tmp", std::process::id()));
    name
}
