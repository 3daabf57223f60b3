//! The file with the token of the control door.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Context as _;

/// Characters in a token, at least: 16 random ones cannot be tried out, and nothing that short is
/// random by accident.
const MIN_CHARACTERS: usize = 16;

/// Characters in a token, at most: it has to fit the head of a request.
const MAX_CHARACTERS: usize = 1_024;

/// Bits of a file's mode that let everybody read or change it.
const EVERYBODY: u32 = 0o006;

/// Reads the token in a file, and checks that nobody can guess it or look it up.
pub(crate) fn read(file: &Path) -> anyhow::Result<String> {
    let name = file.display();
    let cannot_read = || format!("cannot read the token file {name}");
    // The mode is that of what is read, whatever the name leads to a moment later.
    let opened = File::open(file).with_context(cannot_read)?;
    let metadata = opened.metadata().with_context(cannot_read)?;
    anyhow::ensure!(
        !metadata.is_file() || metadata.mode() & EVERYBODY == 0,
        "everybody on this machine can read or change the token file {name}; close it with \
         `chmod o-rw {name}`, and make a new token if others may have seen this one"
    );
    let mut text = String::new();
    let limit = 2 * MAX_CHARACTERS as u64;
    opened.take(limit).read_to_string(&mut text).with_context(cannot_read)?;
    let token = text.trim();
    anyhow::ensure!(!token.is_empty(), "the token file {name} is empty");
    anyhow::ensure!(
        token.bytes().all(|byte| byte.is_ascii_graphic()),
        "the token in {name} cannot be sent in a field: write visible ASCII, without spaces"
    );
    anyhow::ensure!(
        (MIN_CHARACTERS..=MAX_CHARACTERS).contains(&token.len()),
        "the token in {name} has {} characters, and {MIN_CHARACTERS} to {MAX_CHARACTERS} are \
         allowed; make one with `head -c 24 /dev/urandom | base64 > {name}`",
        token.len()
    );
    Ok(token.to_owned())
}
