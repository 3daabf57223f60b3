//! `cargo run -p notices`: writes the notices of a package of binaries to stdout.

#![expect(clippy::print_stderr, reason = "this is a command")]

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use notices::packages::Packages;
use notices::{licence, texts};

fn main() -> ExitCode {
    if let Err(error) = write() {
        eprintln!("notices: {error:#}");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

/// Writes the notices of the programs of the workspace that this is started in, once all licences
/// are found to be allowed.
fn write() -> anyhow::Result<()> {
    let packages = Packages::read(Path::new("."))?;
    packages.all().iter().try_for_each(licence::check)?;
    let notices = texts::notices(&packages.shipped())?;
    io::stdout().write_all(notices.as_bytes())?;
    Ok(())
}
